"""gunicorn's own log, in the form of ours; no requests unless `--access-logfile` asks."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger

from gateway.observability import logs


class Log(Logger):  # type: ignore[misc]
    """What `logger_class` names."""

    def setup(self, cfg: Any) -> None:
        """Also called anew at each reload."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.formatter())
        for handler in self.error_log.handlers + self.access_log.handlers:
            if type(handler) is logging.StreamHandler:  # a file on disk is as good as its disk
                handler.setStream(logs.non_blocking(handler.stream))
