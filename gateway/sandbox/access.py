"""Who may see and change what the sandbox holds: its own page and programs, no other page."""

from __future__ import annotations

from email.message import Message
from ipaddress import ip_address
from urllib.parse import urlsplit

OWN_SITE = {None, "same-origin", "none"}  # in Sec-Fetch-Site, which programs don't send
LOCAL_DOMAINS = (".localhost", ".internal")  # nobody can register a name there


def is_allowed(headers: Message[str, str], listening: str) -> bool:
    """Return whether a request comes from the sandbox's own page or a program.

    A page of any name may have that name resolved to our address (DNS rebinding), and then counts
    as our own. So the Host must be an address, the one we listen on, or a name that is local.
    """
    host, origin = headers.get("Host"), headers.get("Origin")
    if headers.get("Sec-Fetch-Site") not in OWN_SITE or origin not in (None, f"http://{host}"):
        return False
    return host is None or _is_local(host, listening)


def _is_local(host: str, listening: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == listening or "." not in name or name.endswith(LOCAL_DOMAINS):
        return True  # a container's name, say, has no dot
    try:
        return bool(ip_address(name))
    except ValueError:
        return False
