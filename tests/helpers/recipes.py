"""Carries out what `deploy/` says, in a folder of the test in place of a machine's own paths."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests.helpers.support import ROOT

DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
OURS = re.compile(r"(?<![\w./-])/(app|data|etc/personalize-gateway|var/lib/personalize-gateway)\b")


def relocated(text: str, root: Path) -> str:
    """The text with the recipes' own folders under `root`."""
    return OURS.sub(rf"{root}/\1", text)


def environment(path: Path, root: Path) -> dict[str, str]:
    """What an environment file sets."""
    lines = relocated(path.read_text(), root).splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def unit(name: str, root: Path) -> dict[str, str]:
    """A systemd unit's [Service], where a key has one value."""
    text = (DEPLOY / f"systemd/personalize-gateway-{name}.service").read_text()
    text = text.replace("/opt/personalize-gateway/.venv/bin", str(BIN))
    text = text.replace("/opt/personalize-gateway", str(ROOT))
    lines = relocated(text, root).splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


@contextmanager
def running(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], umask: int = 0o022
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with this environment and nothing else of ours."""
    base = {"PATH": str(BIN), "HOME": str(folder), "WEB_CONCURRENCY": "1"}
    environ = {**base, **environ}
    with subprocess.Popen(command, cwd=folder, env=environ, umask=umask) as process:
        try:
            yield process
        finally:
            process.terminate()


class Image:
    """What `docker build` would make of the Dockerfile: its steps, in their order, under `root`.

    The packages that ours depends on are lent from the suite's own environment.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ: dict[str, str] = {}
        self.command: list[str] = []
        self._folder = root
        with (DEPLOY / "Dockerfile").open("rb") as file:
            for step in DockerfileParser(fileobj=file, cache_content=True).structure:
                perform = getattr(self, f"_{step['instruction'].lower()}")
                perform(relocated(step["value"], root))

    def _workdir(self, value: str) -> None:
        self._folder = Path(value)
        self._folder.mkdir(parents=True)

    def _copy(self, value: str) -> None:
        allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        *sources, target = shlex.split(value)
        for source in sources:
            assert f"!{source}" in allowed, source
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, self._folder / target)
            else:
                shutil.copy(ROOT / source, self._folder / target)

    def _run(self, value: str) -> None:
        environ = {**os.environ, **self.environ, "PIP_NO_DEPS": "1"}
        subprocess.run(
            ["sh", "-ec", value], cwd=self._folder, env=environ, check=True, capture_output=True
        )
        if "pip install" in value:
            self._lend_packages()

    def _lend_packages(self) -> None:
        [packages] = (self._folder / ".venv/lib").glob("python*/site-packages")
        [lent] = Path(sys.prefix).glob("lib/python*/site-packages")
        (packages / "lent.pth").write_text(f"{lent}\n")
        script = (BIN / "gunicorn").read_text().partition("\n")[2]
        (self._folder / ".venv/bin/gunicorn").write_text(
            f"#!{self._folder}/.venv/bin/python\n{script}"
        )
        (self._folder / ".venv/bin/gunicorn").chmod(0o755)

    def _env(self, value: str) -> None:
        for word in shlex.split(value):
            name, _, text = word.partition("=")
            self.environ[name] = text.replace("$PATH", os.environ["PATH"])

    def _cmd(self, value: str) -> None:
        self.command = [word.strip('"') for word in value.strip("[]").split(", ")]

    def _nothing(self, value: str) -> None:
        """Of no consequence here."""

    _from = _comment = _volume = _user = _expose = _nothing
