"""`systemctl` and `systemd-run` for a root in which systemd does not run.

They run what a unit or a property names: the command, as the user and group, with the environment
file, umask and working directory. The sandboxing options of the units are not applied.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


def main() -> int:
    """Be the command under whose name this file was called."""
    if Path(sys.argv[0]).name == "systemd-run":
        return systemd_run(sys.argv[1:])
    verb, *names = [word for word in sys.argv[1:] if not word.startswith("--")]
    if verb == "enable":
        subprocess.run(["/usr/bin/systemctl", "enable", *names], check=True)
    for name in names:
        if verb in ("stop", "restart"):
            stop(name)
        if verb in ("enable", "start", "restart"):
            start(name)
        if verb == "reload":
            os.kill(int(pid_file(name).read_text()), signal.SIGHUP)
    return 0


def systemd_run(words: list[str]) -> int:
    """Run a command with its --property options, and wait for it."""
    options = [word for word in words if word.startswith("--")]
    options = options[: next((n for n, word in enumerate(words) if word[0] != "-"), 0)]
    prefix = "--property="
    pairs = [word.removeprefix(prefix) for word in options if word.startswith(prefix)]
    unit = dict(pair.split("=", 1) for pair in pairs)
    return launch(unit, words[len(options) :], None).wait()


def start(name: str) -> None:
    """Start a unit's command in the background."""
    lines = Path(f"/etc/systemd/system/{name}.service").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and line[0] != "#"]
    unit = dict(pair for pair in pairs if pair[0] != "Environment")
    process = launch(unit, unit["ExecStart"].split(), Path(f"/var/log/{name}.log"))
    pid_file(name).write_text(str(process.pid))


def stop(name: str) -> None:
    """End a unit's main process, if it runs, and wait until it is gone."""
    stat = Path(f"/proc/{(pid := int(pid_file(name).read_text()))}/stat")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    for _ in range(3000):
        try:
            is_zombie = stat.read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):  # it ends while it is looked at
            return
        if is_zombie:
            return
        time.sleep(0.01)
    raise TimeoutError(f"{name} does not stop")


def launch(unit: dict[str, str], command: list[str], log: Path | None) -> subprocess.Popen[bytes]:
    """Start a command as systemd would with these settings."""
    lines = Path(unit["EnvironmentFile"]).read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
    user = ["setpriv", f"--reuid={unit['User']}", f"--regid={unit['Group']}", "--init-groups"]
    return subprocess.Popen(
        [*user, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", *command],
        cwd=unit.get("WorkingDirectory", "/"),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environ},
        umask=int(unit["UMask"], 8),
        stdout=log.open("ab") if log else None,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=log is not None,
    )


def pid_file(name: str) -> Path:
    return Path(f"/run/{name}.pid")


if __name__ == "__main__":
    sys.exit(main())
