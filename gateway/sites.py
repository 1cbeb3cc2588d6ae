"""Read the sites file: a TOML table for each site, loaded as frozen dataclasses."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from gateway import origins
from gateway.events.fields import StrictBool
from gateway.strict_schema import SettingsError, load_or_raise

ANONYMOUS_USERS = (
    "visitors who are not logged in are sent to Personalize with their sessionId as userId, "
    "so what they do can never be joined to an account"
)
SITE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")  # it is part of a cookie's name


@dataclass(frozen=True, slots=True)
class Site:
    """One site; `key` is the name of its table in the sites file."""

    key: str
    tracking_id: str
    origins: tuple[str, ...]
    region: str | None
    endpoint_url: str | None
    role_arn: str | None
    session_minutes: int
    visitor_days: int
    anonymous_user_id: bool
    cookie_domain: str | None
    cookie_samesite: str
    allow_missing_origin: bool
    allow_null_origin: bool
    event_types: frozenset[str]
    user_secret: str | None = field(repr=False)
    honor_gpc: bool
    honor_dnt: bool
    drop_bots: bool
    pixel: bool
    events_per_minute: int
    calls_per_second: int
    schema: str | None


class Origin(fields.String):
    """A field for an exact origin or a wildcard for subdomains, which it normalises."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        try:
            return origins.normalise(super()._deserialize(value, attr, data, **kwargs))
        except ValueError as error:
            raise ValidationError(str(error)) from None


class SiteSchema(Schema):
    """A table `[sites.KEY]` of the sites file. Types are strict, since TOML has types."""

    tracking_id = fields.String(required=True, validate=validate.Length(1, 256))
    origins = fields.List(Origin(), required=True)
    region = fields.String(load_default=None, validate=validate.Regexp(r"[a-z]{2}(-[a-z]+)+-\d\Z"))
    endpoint_url = fields.Url(load_default=None, schemes={"http", "https"}, require_tld=False)
    role_arn = fields.String(
        load_default=None, validate=validate.Regexp(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+\Z")
    )
    session_minutes = fields.Integer(
        load_default=30, strict=True, validate=validate.Range(1, 24 * 60)
    )
    visitor_days = fields.Integer(  # no browser keeps a cookie for longer
        load_default=0, strict=True, validate=validate.Range(0, 400)
    )
    anonymous_user_id = StrictBool(load_default=False)
    cookie_domain = fields.String(load_default=None, validate=validate.Regexp(r"\.?[\w.-]+\Z"))
    cookie_samesite = fields.String(load_default="Lax", validate=validate.OneOf(["Lax", "None"]))
    allow_missing_origin = StrictBool(load_default=False)
    allow_null_origin = StrictBool(load_default=False)
    event_types = fields.List(fields.String(validate=validate.Length(1, 256)), load_default=list)
    user_secret = fields.String(load_default=None, validate=validate.Length(1))
    honor_gpc = StrictBool(load_default=True)
    honor_dnt = StrictBool(load_default=True)
    drop_bots = StrictBool(load_default=False)
    pixel = StrictBool(load_default=False)
    events_per_minute = fields.Integer(load_default=3000, strict=True, validate=validate.Range(1))
    calls_per_second = fields.Integer(
        load_default=1000, strict=True, validate=validate.Range(1, 100_000)
    )
    schema = fields.String(load_default=None, validate=validate.Length(1))


def read_sites(path: Path) -> Mapping[str, Site]:
    """Return every site by its key, in the file's order. Raises SettingsError."""
    return parse_sites(read_text(path), path)


def read_text(path: Path) -> str:
    """Return the sites file's text. Raises SettingsError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise SettingsError(f"GATEWAY_SITES: {path}: {reason}") from None


def parse_sites(text: str, path: Path) -> Mapping[str, Site]:
    """Return the sites of a text. Raises SettingsError, whose message names `path`."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for huge numbers and deep nesting
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    tables = document.pop("sites", None)
    if document or not isinstance(tables, dict) or not tables:
        raise SettingsError(f"{path}: holds tables [sites.KEY], at least one, and nothing else")
    sites = {key: make_site(f"{path}: [sites.{key}]", key, table) for key, table in tables.items()}
    _refuse_shared_names(path, sites)
    return MappingProxyType(sites)


def make_site(source: str, key: str, table: Any) -> Site:
    """Return the site of a table. Raises SettingsError, whose message begins with `where`."""
    if not SITE_KEY.fullmatch(key):
        raise SettingsError(f"{source}: a site's key is 1 to 64 letters, digits, '-' and '_'")
    if not isinstance(table, dict):
        raise SettingsError(f"{source}: not a table")
    values = load_or_raise(SiteSchema(), table, source)
    values["origins"] = tuple(values["origins"])
    values["event_types"] = frozenset(values["event_types"])
    return Site(key=key, **values)


def _refuse_shared_names(path: Path, sites: Mapping[str, Site]) -> None:
    """Raise SettingsError if a name means two sites: a trackingId may be a key or a tracking ID."""
    owners: dict[str, str] = {}
    for site in sites.values():
        for name in {site.key, site.tracking_id}:
            owner = owners.setdefault(name, site.key)
            if owner != site.key:
                raise SettingsError(
                    f"{path}: {name!r} names both [sites.{owner}] and [sites.{site.key}]"
                )


def warn_of_anonymous_users(sites: Mapping[str, Site]) -> str | None:
    """Return a line about the sites whose visitors' history no account can ever get, if any."""
    keys = ", ".join(site.key for site in sites.values() if site.anonymous_user_id)
    if not keys:
        return None
    return f"anonymous_user_id: {keys}: {ANONYMOUS_USERS}"


def find_site(sites: Mapping[str, Site], name: str) -> Site | None:
    """Return the site with this key or this tracking ID; None if there is none."""
    by_tracking_id = (site for site in sites.values() if site.tracking_id == name)
    return sites.get(name) or next(by_tracking_id, None)
