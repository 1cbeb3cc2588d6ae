"""`.env` of the working directory: settings for `serve` and every command."""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values

from gateway.strict_schema import SettingsError

ENV_FILE = Path(".env")


def load_env_file() -> None:
    """Add what `.env` sets to the environment, which wins. Raise SettingsError."""
    try:
        values = dotenv_values(ENV_FILE, interpolate=False, encoding="utf-8-sig")
        for name, value in values.items():
            if value is not None:
                os.environ.setdefault(name, value)
    except UnicodeDecodeError:
        raise SettingsError(f"{ENV_FILE}: not UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{ENV_FILE}: {reason}") from None
