"""The last valid sites file: one that is broken at a reload leaves it in force, and that is said.

gunicorn's master keeps it for its workers and their forwarder, in a copy that is never broken; a
forwarder that was started apart keeps it in memory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gateway.settings import Settings, load
from gateway.sites import Site, parse_sites, read_text
from gateway.strict_schema import SettingsError

log = logging.getLogger(__name__)


class ReloadableSettings:
    """The settings with the sites file as it was valid last; `problem` is why it isn't now."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read it for the first time. Raises SettingsError."""
        self._environ = environ
        self.settings, self.text = self._load()
        self.problem: str | None = None

    def reread(self) -> None:
        """Take over what the file says now, if it is valid."""
        try:
            self.settings, self.text = self._load()
        except SettingsError as error:
            self.problem = str(error)
            log.error("sites_file: %s; the last valid one stays in force", error)
        else:
            self.problem = None
            log.info("The sites file is read again: %s", ", ".join(self.settings.sites))

    def _load(self) -> tuple[Settings, str | None]:
        """The settings, and the very text of the sites file, where there is one."""
        texts: list[str] = []

        def read(path: Path) -> Mapping[str, Site]:
            texts.append(read_text(path))
            return parse_sites(texts[0], path)

        settings = load(self._environ, read)
        return settings, texts[0] if texts else None


class SitesFileCopy:
    """What is in force, as a file for processes that read the sites file when they start."""

    def __init__(self, kept: ReloadableSettings, place: Path) -> None:
        """Lay it into a folder that is there."""
        self._kept = kept
        self._place = place
        self._write()

    def reread(self) -> None:
        """Read the original again; whatever happens, a valid copy stays."""
        self._kept.reread()
        try:
            self._write()
        except OSError as error:
            log.error("sites_file: %s: %s; the last copy stays in force", self._place, error)

    def environ(self) -> dict[str, str]:
        """The setting that names the copy, which is made again should it have been tidied away."""
        if self._kept.text is None:
            return {}
        if not self._place.exists():
            self._place.parent.mkdir(parents=True, exist_ok=True)
            self._write()
        return {"GATEWAY_SITES": str(self._place)}

    def _write(self) -> None:
        if self._kept.text is not None:
            _replace(self._place, self._kept.text)
        _replace(_beside(self._place), self._kept.problem or "")


def problem_of(copy: Path) -> str | None:
    """Why the sites file of which this is a copy is not in force as it stands; None where it is."""
    with suppress(OSError):
        return _beside(copy).read_text(encoding="utf-8") or None
    return None


def _beside(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.problem")


def _replace(path: Path, text: str) -> None:
    """Write a file in one step: others may be reading it, or writing it at the same moment."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
