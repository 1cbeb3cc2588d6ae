"""Match a site's origins: exact ones, and `https://*.example.com` for subdomains."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
HOST = re.compile(rf"(?:\*\.)?{LABEL}(?:\.{LABEL})*", re.ASCII)


def normalise(origin: str) -> str:
    """Return an origin as browsers send it: lower case, no default port. Raises ValueError."""
    parts = urlsplit(origin.strip().lower())
    scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"{origin!r} is not an origin: it begins with http:// or https://")
    bare = f"{scheme}://{parts.netloc.rpartition('@')[2]}"
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{origin!r} is not an origin but an address: write {bare!r}")
    if ":" in host:
        try:
            host = f"[{IPv6Address(host).compressed}]"
        except AddressValueError:
            raise ValueError(f"{origin!r}: no such IPv6 address") from None
    elif not HOST.fullmatch(host):
        raise ValueError(f"{origin!r}: {host!r} is not a host name (a wildcard is a leading '*.')")
    return f"{scheme}://{host}" + ("" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}")


def pattern(origins: Iterable[str], *, null: bool = False) -> re.Pattern[str]:
    """Return one expression that matches exactly these normalised origins, at dot boundaries.

    flask-cors takes raw text with a `*` or `[` for a regular expression of its own, so everything
    is escaped and anchored here.
    """
    subdomains = rf"(?:{LABEL}\.)+"
    alternatives = [re.escape(origin).replace(r"\*\.", subdomains) for origin in origins]
    if null:  # a sandboxed frame's
        alternatives.append("null")
    return re.compile(rf"(?:{'|'.join(alternatives)})\Z" if alternatives else r"(?!)")


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """The origins whose pages may send events."""

    pattern: re.Pattern[str]
    allow_missing: bool  # requests without an Origin header, as servers send them

    @classmethod
    def build(
        cls, origins: Iterable[str], *, allow_null: bool = False, allow_missing: bool = False
    ) -> OriginPolicy:
        """Return the policy for normalised origins."""
        return cls(pattern(origins, null=allow_null), allow_missing)

    def allows(self, origin: str | None) -> bool:
        """Return whether requests with this Origin header are allowed; None: without one."""
        return self.allow_missing if origin is None else bool(self.pattern.match(origin))
