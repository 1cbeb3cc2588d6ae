"""A root with nothing in /etc, /opt and /var, in which the deployment guide is carried out.

It has mount, network and PID namespaces of its own and borrows /usr, read-only, from this machine.
systemd does not run in it: see stub_systemd.py. Making it takes root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.support import ROOT, children, eventually

BOOT = """
mount -t tmpfs -o mode=755 tmpfs "$1"; cd "$1"
mkdir -p usr etc/systemd/system var/lib var/log opt run proc dev root repository shims "${2#/}"
mkdir --mode=1777 tmp
mount --rbind /usr usr; mount -o remount,ro,bind usr
for name in bin sbin lib lib64; do ln -s "usr/$name" "$name"; done
case $2 in /usr|/usr/*) ;; *) mount --bind "$2" "${2#/}";; esac
mkdir packages; mount --bind "$3" packages
mount -t proc proc proc
mount --rbind /dev dev
cp /etc/ld.so.cache etc/
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group
install --mode=755 "$4" shims/systemctl
install --mode=755 "$4" shims/systemd-run
sed -i "1i #!$5" shims/*
ip link set lo up
touch booted
sleep 900
"""


class Machine:
    """The root, and commands in it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = Path(f"/proc/{pid}/cwd")

    def sh(self, script: str, status: int = 0) -> str:
        """Run a script as root, which ends at the first failure; return its output."""
        run = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid",
             f"--wd={self.root}", "chroot", ".", "/bin/sh", "-euc", script],
            env={"PATH": "/shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                 "HOME": "/root"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert run.returncode == status, f"{script}\n{run.stdout}{run.stderr}"
        return run.stdout + run.stderr


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Start one; everything in it ends with it."""
    folder.mkdir()
    [packages] = Path(sys.prefix).glob("lib/python*/site-packages")
    stub = ROOT / "tests/helpers/stub_systemd.py"
    interpreter = os.path.realpath(sys.executable)
    arguments = [folder, sys.base_prefix, packages, stub, interpreter]
    with subprocess.Popen(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
         "sh", "-euc", BOOT, "sh", *map(str, arguments)],
    ) as process:  # fmt: skip
        try:
            eventually(lambda: process.poll() is not None or children(process.pid), "it starts")
            [pid] = children(process.pid)
            booted = Path(f"/proc/{pid}/cwd/booted")
            eventually(lambda: process.poll() is not None or booted.exists(), "it has booted")
            assert process.poll() is None
            yield Machine(pid)
        finally:
            process.kill()
