"""Keep the last valid sites file in force when a reload finds an invalid one.

gunicorn's master copies it for the workers and the forwarder that it starts; a forwarder that was
started separately keeps it in memory.
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
    """The settings with the last valid sites file; `problem` says why the present is not."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Load the settings. Raises SettingsError."""
        self._environ = environ
        self.settings, self.text = self._load()
        self.problem: str | None = None

    @property
    def sites(self) -> Mapping[str, Site]:
        """Return the sites of the last valid sites file, by key."""
        return self.settings.sites

    def reread(self) -> None:
        """Load the settings again; if they are invalid, keep the old ones and log why."""
        try:
            self.settings, self.text = self._load()
        except SettingsError as error:
            self.problem = str(error)
            log.error("sites_file: %s; keeping the last valid one", error)
        else:
            self.problem = None
            log.info("The sites file was reloaded: %s", ", ".join(self.settings.sites))

    def _load(self) -> tuple[Settings, str | None]:
        """Return the settings and the text of the sites file (None if there is no file)."""
        texts: list[str] = []

        def read(path: Path) -> Mapping[str, Site]:
            texts.append(read_text(path))
            return parse_sites(texts[0], path)

        settings = load(self._environ, read)
        return settings, texts[0] if texts else None


class SitesFileCopy:
    """A copy of the last valid sites file, for processes that read it when they start."""

    def __init__(self, reloadable: ReloadableSettings, place: Path) -> None:
        """Write the copy; its folder must exist."""
        self._reloadable = reloadable
        self._place = place
        self._write()

    def reread(self) -> None:
        """Reload the original and write the copy again; the copy stays valid in any case."""
        self._reloadable.reread()
        try:
            self._write()
        except OSError as error:
            log.error("sites_file: %s: %s; keeping the last copy", self._place, error)

    def environ(self) -> dict[str, str]:
        """Return GATEWAY_SITES with the copy's path; write the copy again if it was deleted."""
        if self._reloadable.text is None:
            return {}
        if not self._place.exists():
            self._place.parent.mkdir(parents=True, exist_ok=True)
            self._write()
        return {"GATEWAY_SITES": str(self._place)}

    def _write(self) -> None:
        if self._reloadable.text is not None:
            _replace(self._place, self._reloadable.text)
        _replace(_beside(self._place), self._reloadable.problem or "")


def problem_of(copy: Path) -> str | None:
    """Return why the present sites file is not in force instead of this copy; None if it is."""
    with suppress(OSError):
        return _beside(copy).read_text(encoding="utf-8") or None
    return None


def _beside(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.problem")


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically: other processes may be reading or writing it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
