"""Carries out what `deploy/` says, in a folder of the test in place of a machine's own paths."""

from __future__ import annotations

import json
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
OURS = re.compile(
    r"(?<![\w./-])/(app|build|data|etc/personalize-gateway|var/lib/personalize-gateway)\b"
)


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
    """Carry out the Dockerfile's steps, in their order, under `root`, without an engine.

    Packages come from the suite's own environment, not from the lock; all stages share the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ: dict[str, str] = {}
        self.command: list[str] = []
        self.health_check: list[str] = []
        self.user = ""
        self._folder = root
        with (DEPLOY / "Dockerfile").open("rb") as file:
            for step in DockerfileParser(fileobj=file, cache_content=True).structure:
                perform = getattr(self, f"_{step['instruction'].lower()}")
                perform(relocated(step["value"], root))

    def _workdir(self, value: str) -> None:
        self._folder = Path(value)
        self._folder.mkdir(parents=True, exist_ok=True)

    def _copy(self, value: str) -> None:
        if value.startswith("--from=build "):
            source, target = value.split()[1:]
            assert Path(source) == self._folder / target  # where the build stage has made it
            return
        allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        *sources, target = shlex.split(value)
        for source in sources:
            assert f"!{source}" in allowed, source
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, self._folder / target, symlinks=True)
            else:
                shutil.copy(ROOT / source, self._folder / target)

    def _run(self, value: str) -> None:
        if "--requirement requirements.lock" in value:
            self._lend_packages()
            return
        subprocess.run(
            ["sh", "-ec", value], cwd=self._folder, env={**os.environ, **self.environ}, check=True
        )

    def _lend_packages(self) -> None:
        [packages] = (self._folder / ".venv/lib").glob("python*/site-packages")
        [lent] = Path(sys.prefix).glob("lib/python*/site-packages")
        (packages / "lent.pth").write_text(f"{lent}\n")

    def _env(self, value: str) -> None:
        for word in shlex.split(value):
            name, _, text = word.partition("=")
            self.environ[name] = text.replace("$PATH", os.environ["PATH"])

    def _cmd(self, value: str) -> None:
        self.command = json.loads(value)

    def _healthcheck(self, value: str) -> None:
        self.health_check = json.loads(value.partition("CMD ")[2])

    def _user(self, value: str) -> None:
        self.user = value

    def _nothing(self, value: str) -> None:
        """Of no consequence here."""

    _from = _comment = _volume = _expose = _nothing
