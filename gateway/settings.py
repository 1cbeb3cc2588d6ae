"""Read the environment and the sites file into a frozen dataclass; name each problem at start."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway import demo_site
from gateway.environment_schema import EnvironmentSchema
from gateway.secret_strength import NEW_SECRET
from gateway.sites import Site, read_sites
from gateway.strict_schema import SettingsError, load_or_raise

LONGEST_AGE_ON_SQS = 12 * 24 * 60 * 60

GUNICORNS = {"PORT", "WEB_CONCURRENCY"}  # gunicorn reads them itself; here they are checked
# Kubernetes injects these into every pod beside a service that is called "gateway".
KUBERNETES = re.compile(r"GATEWAY_(PORT(_.*)?|SERVICE_.*)")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment decides; sizes in bytes, ages in seconds."""

    sites_file: Path
    sites: Mapping[str, Site]
    queue: str
    secret_keys: tuple[str, ...] = field(repr=False)
    forwarder: str
    trusted_proxies: int
    public_url: str
    queue_max_bytes: int
    min_free_bytes: int
    max_body_bytes: int
    dead_letter_queue: str | None
    max_age: int
    dedupe_seconds: int
    demo: str | None
    rate_limit_storage: str = field(repr=False)
    admin_token: str | None = field(repr=False)
    redact: tuple[str, ...]

    def site(self, key: str) -> Site:
        """Return the site of a key. Raises SettingsError if the sites file has none."""
        if key not in self.sites:
            raise SettingsError(f"no [sites.{key}] in the sites file")
        return self.sites[key]

    @property
    def on_sqs(self) -> bool:
        """Return whether the queue is an SQS queue rather than a file on this machine."""
        return not self.queue.startswith("sqlite:")


def server_settings(environ: Mapping[str, str]) -> tuple[int, int | None]:
    """Return PORT and WEB_CONCURRENCY, which gunicorn reads too; raise SettingsError."""
    present = {name: environ[name] for name in GUNICORNS if name in environ}
    values = load_or_raise(EnvironmentSchema(only=("port", "workers")), present, "the environment")
    return values["port"], values["workers"]


def load(
    environ: Mapping[str, str], read: Callable[[Path], Mapping[str, Site]] = read_sites
) -> Settings:
    """Read and check everything; raise SettingsError with one line that names what is wrong."""
    ours = {
        name: value
        for name, value in environ.items()
        if name in GUNICORNS or (name.startswith("GATEWAY_") and not KUBERNETES.fullmatch(name))
    }
    values = load_or_raise(EnvironmentSchema(), ours, "the environment")
    port, _ = values.pop("port"), values.pop("workers")
    values["public_url"] = (values["public_url"] or f"http://127.0.0.1:{port}").rstrip("/")
    values["sites_file"] = Path(values["sites_file"])
    settings = Settings(sites=_sites(values, read, port, environ), **values)
    return _fit_for_sqs(settings, environ) if settings.on_sqs else _fit_for_sqlite(settings)


def _sites(
    values: Mapping[str, Any],
    read: Callable[[Path], Mapping[str, Site]],
    port: int,
    environ: Mapping[str, str],
) -> Mapping[str, Site]:
    path = values["sites_file"]
    if not values["demo"]:
        return read(path)
    alone = "GATEWAY_SITES" not in environ and not path.exists()
    sites = {} if alone else read(path)
    return demo_site.with_demo_site(sites, values["demo"], values["public_url"], port)


def _fit_for_sqs(settings: Settings, environ: Mapping[str, str]) -> Settings:
    if settings.dead_letter_queue == settings.queue:
        raise SettingsError("GATEWAY_DEAD_LETTER_QUEUE: the same as GATEWAY_QUEUE")
    if settings.max_age <= LONGEST_AGE_ON_SQS:
        return settings
    if "GATEWAY_MAX_AGE" in environ:
        raise SettingsError(
            f"GATEWAY_MAX_AGE: at most {LONGEST_AGE_ON_SQS} (12 days) with an SQS queue, "
            "because SQS forgets at 14 days"
        )
    return replace(settings, max_age=LONGEST_AGE_ON_SQS)


def _fit_for_sqlite(settings: Settings) -> Settings:
    if settings.dead_letter_queue is not None:
        raise SettingsError("GATEWAY_DEAD_LETTER_QUEUE: only with an SQS queue in GATEWAY_QUEUE")
    return settings


def require_secret_key(settings: Settings) -> None:
    """Raise SettingsError if the web end has no key to sign its cookies."""
    if not settings.secret_keys:
        raise SettingsError(
            f"GATEWAY_SECRET_KEY: missing; it signs the session cookies ({NEW_SECRET} makes one)"
        )
