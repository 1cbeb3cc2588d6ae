"""Declare the environment: each setting's name, default and meaning, in the reference's order."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from gateway.secret_strength import NEW_SECRET, weakness

SQS_URL = r"https?://[^/\s?#]+(/[^/\s?#]+)*/[A-Za-z0-9_-]{1,80}"  # a standard queue's, no .fifo
SHORTEST_KEY = 32  # characters: a signature can be attacked without asking the gateway
SHORTEST_TOKEN = 16  # a token can't: wrong ones are answered 429 after a few


class Keys(fields.String):
    """Comma-separated keys or names → tuple."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        keys = tuple(key.strip() for key in value.split(","))
        if not all(keys):
            raise ValidationError("Holds an empty key.")
        return keys


def _strong_keys(keys: tuple[str, ...]) -> None:
    for number, key in enumerate(keys, 1):
        if problem := weakness(key, SHORTEST_KEY):
            which = "it" if len(keys) == 1 else f"key {number} of {len(keys)}"
            raise ValidationError(f"{which} {problem}; {NEW_SECRET} makes a good one")


def _strong_token(token: str) -> None:
    if problem := weakness(token, SHORTEST_TOKEN):
        raise ValidationError(f"it {problem}; {NEW_SECRET} makes a good one")


def _has_client(url: str) -> None:
    if url.startswith("redis") and find_spec("redis") is None:
        raise ValidationError("Needs pip install 'personalize-gateway[redis]'.")


class EnvironmentSchema(Schema):
    """The environment: name, default and what it means, in the order of the reference table."""

    sites_file = fields.String(
        data_key="GATEWAY_SITES",
        load_default="sites.toml",
        metadata={"description": "Path of the sites file"},
    )
    queue = fields.String(
        data_key="GATEWAY_QUEUE",
        load_default="sqlite:///data/queue.db",
        validate=validate.Regexp(
            rf"sqlite:///.*[^/]\Z|{SQS_URL}\Z",
            error="Write sqlite:///relative.db, sqlite:////absolute.db or an SQS queue's URL.",
        ),
        metadata={
            "description": "Where events wait: `sqlite:///relative.db`, `sqlite:////abs.db`, or "
            "the URL of an SQS queue"
        },
    )
    secret_keys = Keys(
        data_key="GATEWAY_SECRET_KEY",
        load_default=(),
        validate=_strong_keys,
        metadata={"description": "Keys that sign cookies, comma-separated, newest first"},
    )
    forwarder = fields.String(
        data_key="GATEWAY_FORWARDER",
        load_default="auto",
        validate=validate.OneOf(["auto", "off"]),
        metadata={"description": "`auto` runs a forwarder beside gunicorn; `off` does not"},
    )
    trusted_proxies = fields.Integer(
        data_key="GATEWAY_TRUSTED_PROXIES",
        load_default=0,
        validate=validate.Range(0, 16),
        metadata={"description": "How many reverse proxies stand in front"},
    )
    public_url = fields.Url(
        data_key="GATEWAY_PUBLIC_URL",
        load_default=None,
        schemes={"http", "https"},
        require_tld=False,
        metadata={"description": "Its address for browsers", "default": "http://127.0.0.1:PORT"},
    )
    queue_max_bytes = fields.Integer(
        data_key="GATEWAY_QUEUE_MAX_BYTES",
        load_default=1 << 30,
        validate=validate.Range(0),
        metadata={"description": "The queue's size in bytes past which events are answered 503"},
    )
    min_free_bytes = fields.Integer(
        data_key="GATEWAY_MIN_FREE_BYTES",
        load_default=256 << 20,
        validate=validate.Range(0),
        metadata={"description": "Free disk space in bytes below which events are answered 503"},
    )
    max_body_bytes = fields.Integer(
        data_key="GATEWAY_MAX_BODY_BYTES",
        load_default=1 << 18,
        validate=validate.Range(1),
        metadata={"description": "A request body's size in bytes past which it is answered 413"},
    )
    dead_letter_queue = fields.String(
        data_key="GATEWAY_DEAD_LETTER_QUEUE",
        load_default=None,
        validate=validate.Regexp(rf"{SQS_URL}\Z", error="Write an SQS queue's URL."),
        metadata={"description": "With SQS: the URL of the queue for dead letters"},
    )
    max_age = fields.Integer(
        data_key="GATEWAY_MAX_AGE",
        load_default=14 * 24 * 60 * 60,
        validate=validate.Range(1),
        metadata={"description": "Seconds after which an undeliverable event is a dead letter"},
    )
    dedupe_seconds = fields.Integer(
        data_key="GATEWAY_DEDUPE_SECONDS",
        load_default=60 * 60,
        validate=validate.Range(1),
        metadata={"description": "Seconds for which an eventId seen again is not stored again"},
    )
    rate_limit_storage = fields.String(
        data_key="GATEWAY_RATE_LIMIT_STORAGE",
        load_default="memory://",
        validate=[
            validate.Regexp(r"memory://\Z|rediss?://\S+\Z", error="Write memory:// or redis://…"),
            _has_client,
        ],
        metadata={"description": "Where events are counted for `events_per_minute`"},
    )
    admin_token = fields.String(
        data_key="GATEWAY_ADMIN_TOKEN",
        load_default=None,
        validate=[
            validate.Regexp(r"[!-~]+\Z", error="Not printable ASCII without blanks."),
            _strong_token,
        ],
        metadata={"description": "Admits to `/metrics` and `/inspect`; without one both are 404"},
    )
    redact = Keys(
        data_key="GATEWAY_REDACT",
        load_default=(),
        metadata={"description": "Property names masked in the inspector and in logs"},
    )
    demo = fields.String(
        data_key="GATEWAY_DEMO",
        load_default=None,
        validate=validate.Regexp(r"https?://[^/\s]+/?\Z", error="Write the sandbox's address."),
        metadata={
            "description": "Serves the demo shop at `/demo/`, as a site of its own whose events "
            "go to the sandbox at this address"
        },
    )
    port = fields.Integer(
        data_key="PORT",
        load_default=8000,
        validate=validate.Range(0, 65535),
        metadata={"description": "The port that gunicorn listens on"},
    )
    workers = fields.Integer(
        data_key="WEB_CONCURRENCY",
        load_default=None,
        validate=validate.Range(1),
        metadata={"description": "gunicorn's workers", "default": "cores"},
    )
