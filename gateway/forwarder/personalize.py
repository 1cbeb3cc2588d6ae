"""Call PutEvents, and sort what can go wrong into the failures that the forwarder knows.

boto3's own retries are off: when to try again is the forwarder's to decide, for each attempt.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

import botocore.loaders
import botocore.session
import gevent
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's, for what never arrived
    HTTPClientError,
    NoCredentialsError,
)

from gateway.forwarder.batching import Call, CallRejected, Misconfigured, Retry
from gateway.reasons import Reason
from gateway.sites import Site

# For a whole call: an answer that drips meets no read timeout. It takes effect in greenlets, which
# the command `forward` makes of all threads.
CALL_SECONDS = 15.0
CONFIG = Config(
    connect_timeout=5,
    read_timeout=10,
    retries={"total_max_attempts": 1},
    max_pool_connections=1000,  # all that the calls of many sites at once may have opened
    tcp_keepalive=True,
    parameter_validation=False,  # the events were validated before they were queued
)

THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
)
# What can be an event's own fault. Anything else that is neither passing nor known is the set-up's:
# an event is not rejected for an unforeseen answer, of a proxy, say, or of STS.
REFUSALS = frozenset(
    {
        "InvalidInputException",
        "ValidationException",
        "SerializationException",
        "RequestEntityTooLargeException",
    }
)
TRACKING_ID = re.compile(r"tracking\W?id|event\W?tracker", re.IGNORECASE)


class HasSites(Protocol):
    """Settings, or ReloadableSettings whose sites change."""

    @property
    def sites(self) -> Mapping[str, Site]:
        """Return the sites by key."""


class Personalize:
    """PutEvents for every site, each with its own tracking ID, region and role."""

    def __init__(self, settings: HasSites) -> None:
        self._settings = settings
        self._clients: dict[tuple[str | None, ...], Any] = {}
        self._outdated: set[str] = set()  # keys of sites whose next call needs a new client
        # One for each set-up, as credentials may take long to look up: others are not to wait.
        self._opening: dict[tuple[str | None, ...], threading.Lock] = {}

    def send(self, call: Call) -> str | None:
        """Make one call and return AWS's ID of the request, which AWS support asks for.

        Raises Retry, Misconfigured or CallRejected if it is not accepted.
        """
        site = self._settings.sites.get(call.site)
        if site is None:
            raise Misconfigured(Reason.UNKNOWN_SITE, f"the sites file has no [sites.{call.site}]")
        try:
            client = self._client(site)
            with gevent.Timeout(CALL_SECONDS):
                return _request_id(client.put_events(**_request(site, call)))
        except gevent.Timeout:
            message = f"no complete answer within {CALL_SECONDS:.0f} s"
            raise Retry(Reason.UNREACHABLE, message) from None
        except ClientError as error:
            failure = _failure(error, call)
            failure.request_id = _request_id(error.response)
            if isinstance(failure, Misconfigured) and failure.reason != Reason.TRACKING_ID:
                self._forget(site)
            raise failure from error
        except (ConnectionError, HTTPClientError) as error:
            raise Retry(Reason.UNREACHABLE, str(error)) from error
        except BotoCoreError as error:  # no region, no credentials, no such profile …
            self._forget(site)
            raise Misconfigured(Reason.AWS_SETUP, str(error)) from error

    def _client(self, site: Site) -> Any:
        key = _setup(site)
        if not self._has_client(key, site):
            with self._opening.setdefault(key, threading.Lock()):
                if not self._has_client(key, site):  # nobody has made it meanwhile
                    self._clients[key] = session(site).create_client(
                        "personalize-events",
                        region_name=site.region,
                        endpoint_url=site.endpoint_url,
                        config=CONFIG,
                    )
                    self._outdated.discard(site.key)
        return self._clients[key]

    def _has_client(self, key: tuple[str | None, ...], site: Site) -> bool:
        return key in self._clients and site.key not in self._outdated

    def _forget(self, site: Site) -> None:
        """Let the next attempt read AWS's set-up anew: a client keeps the credentials it found.

        Those that share it keep the old one until there is the new one.
        """
        self._outdated.add(site.key)


def _setup(site: Site) -> tuple[str | None, ...]:
    """Return what must be equal for sites to share a client."""
    return site.region, site.endpoint_url, site.role_arn


def _request_id(answer: Mapping[str, Any]) -> str | None:
    name: str | None = answer.get("ResponseMetadata", {}).get("RequestId")
    return name


def _request(site: Site, call: Call) -> dict[str, Any]:
    request = {
        "trackingId": site.tracking_id,
        "sessionId": call.session_id,
        "eventList": [_event(delivery.record.event) for delivery in call.deliveries],
    }
    return request if call.user_id is None else {**request, "userId": call.user_id}


def _event(stored: str) -> dict[str, Any]:
    """Return an event as boto3 takes it quickest: a number as a time costs ten times as much."""
    event: dict[str, Any] = json.loads(stored)
    return {**event, "sentAt": datetime.fromtimestamp(event["sentAt"], UTC)}


def session(site: Site) -> botocore.session.Session:
    """Return a session with boto3's usual credentials, or with the role that the site names."""
    if site.role_arn is None:
        return _session()
    source, assumed = _session(), _session()
    source.set_default_client_config(CONFIG)  # STS is not to take its time either
    if site.region is not None:
        source.set_config_variable("region", site.region)
    credentials = source.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    fetcher = AssumeRoleCredentialFetcher(
        source.create_client,
        credentials,
        site.role_arn,
        extra_args={"RoleSessionName": "personalize-gateway"},
    )
    assumed._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    return assumed


def _session() -> botocore.session.Session:
    """Return a session that shares AWS's descriptions of its services, 7 MiB, with all others."""
    session = botocore.session.get_session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@cache
def _loader(data_path: str | None) -> botocore.loaders.Loader:
    """Return the loader of AWS's descriptions, which caches them."""
    return botocore.loaders.create_loader(data_path)


def _failure(error: ClientError, call: Call) -> Retry | Misconfigured | CallRejected:
    code = error.response.get("Error", {}).get("Code", "")
    answer: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    status = answer.get("HTTPStatusCode", 0)
    message = str(error)
    if code in THROTTLED or status == 429:
        return Retry(Reason.THROTTLED, message, _retry_after(answer))
    if status >= 500 or status in (408, 409):
        return Retry(Reason.AWS_ERROR, message, _retry_after(answer))
    if status in (401, 403, 404):
        return Misconfigured(Reason.ACCESS_DENIED if status != 404 else Reason.NOT_FOUND, message)
    if _blames_tracking_id(message, call):
        return Misconfigured(Reason.TRACKING_ID, message)
    if error.operation_name == "PutEvents" and (code in REFUSALS or status == 413):
        return CallRejected(Reason.REFUSED, message)
    return Misconfigured(Reason.UNKNOWN_ERROR, message)


def _blames_tracking_id(message: str, call: Call) -> bool:
    """Return whether AWS speaks of the tracking ID: a message may quote what visitors sent."""
    found = TRACKING_ID.findall(message)
    if not found or "eventList" in message:
        return False
    events = [json.loads(delivery.record.event) for delivery in call.deliveries]
    properties = [json.loads(event.get("properties", "{}")) for event in events]
    visitors_texts = "\n".join(_texts([call.session_id, call.user_id, events, properties]))
    return any(name not in visitors_texts for name in found)


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, the names of members too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _retry_after(answer: Mapping[str, Any]) -> float:
    """Return the seconds of the Retry-After header; 0 if there is none (AWS never sends a date)."""
    text = answer.get("HTTPHeaders", {}).get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
