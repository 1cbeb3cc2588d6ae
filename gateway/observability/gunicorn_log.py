"""Format gunicorn's log like ours. Requests are logged only with `--access-logfile`."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger

from gateway.observability import logs


class Log(Logger):  # type: ignore[misc]
    """gunicorn's logger with our formatter and streams that never block."""

    def setup(self, cfg: Any) -> None:
        """Set up the handlers; gunicorn calls this again at each reload."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.formatter())
        for handler in self.error_log.handlers + self.access_log.handlers:
            if type(handler) is logging.StreamHandler:  # a file on disk does not block for long
                handler.setStream(logs.non_blocking(handler.stream))
