"""CORS: only a site's own pages may read the responses to its events, with credentials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.app import create_app
from gateway.settings import load
from tests.helpers.support import ORIGIN, beacon, write_sites

MEDIA = "https://media.example.com"
EXPOSED = {"retry-after", "x-amzn-errortype", "x-gateway-reason", "x-gateway-session"}
SDK_HEADERS = [
    "authorization",
    "content-type",
    "x-amz-date",
    "x-amz-user-agent",
    "x-amz-content-sha256",
    "x-amz-security-token",
    "amz-sdk-invocation-id",
    "amz-sdk-request",
]
# Origins that flask-cors by itself would read as regular expressions.
TRICKY = """
[sites.wild]
tracking_id = "t-1"
origins = ["https://*.wild.example", "http://[::1]:5000"]

[sites.dot]
tracking_id = "t-2"
origins = ["https://shop.example.com"]
"""
LET_IN = [
    "https://x.wild.example",
    "https://a.b.wild.example",
    "http://[::1]:5000",
    "https://shop.example.com",
]
LEFT_OUT = [
    "https://wild.example",
    "https://xwild.example",
    "https://xwild.example.evil.com",
    "https://x.wild.example.evil.com",
    "https://x.wild.example:8443",
    "http://x.wild.example",
    "http://::5000",
    "http://1:5000",
    "https://shopXexample.com",
    "https://shop.example.com.evil.com",
    "https://evil.com/https://shop.example.com",
    "null",
    "*",
]


@pytest.fixture
def tricky(environ: dict[str, str]) -> FlaskClient:
    write_sites(Path(environ["GATEWAY_SITES"]), TRICKY)
    return create_app(load(environ)).test_client()


def preflight(
    client: FlaskClient, origin: str | None = ORIGIN, path: str = "/events", method: str = "POST"
) -> TestResponse:
    headers = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ",".join(SDK_HEADERS),
    }
    return client.options(path, headers=headers | ({} if origin is None else {"Origin": origin}))


def post(client: FlaskClient, origin: str | None, body: str | None = None) -> TestResponse:
    text = json.dumps(beacon()) if body is None else body
    return client.post("/events", data=text, headers={} if origin is None else {"Origin": origin})


def names(response: TestResponse, header: str) -> set[str]:
    return {name.strip().lower() for name in response.headers[header].split(",")}


def assert_shared_with(response: TestResponse, origin: str) -> None:
    """A page of this origin may read the answer, and send its cookies."""
    assert response.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert response.headers.getlist("Access-Control-Allow-Credentials") == ["true"]
    assert response.headers.getlist("Vary") == ["Origin"]


def assert_shared_with_nobody(response: TestResponse) -> None:
    granted = [name for name in response.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118 - they repeat
    assert granted == []
    assert response.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("origin", [ORIGIN, MEDIA, "https://a.b.shop.example.org"])
def test_a_preflight_is_granted_to_every_sites_pages(client: FlaskClient, origin: str) -> None:
    response = preflight(client, origin)
    assert response.status_code in (200, 204)
    assert_shared_with(response, origin)
    assert names(response, "Access-Control-Allow-Methods") == {"post"}
    assert int(response.headers["Access-Control-Max-Age"]) >= 600


def test_a_preflight_grants_the_headers_that_aws_sdks_send(client: FlaskClient) -> None:
    # With credentials a "*" means nothing: each has to be named.
    assert set(SDK_HEADERS) <= names(preflight(client), "Access-Control-Allow-Headers")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://shop.example.com"])
def test_a_preflight_of_a_foreign_origin_is_not_granted(client: FlaskClient, origin: str) -> None:
    assert_shared_with_nobody(preflight(client, origin))


def test_without_an_origin_nothing_is_granted(client: FlaskClient) -> None:
    assert_shared_with_nobody(preflight(client, None))
    assert_shared_with_nobody(post(client, None))
    servers = json.dumps(beacon(trackingId="servers"))
    response = post(client, None, servers)
    assert response.status_code == 204
    assert_shared_with_nobody(response)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 204),
        (json.dumps(beacon({"eventType": "view"}, {})), 200),
        ("not JSON", 400),
        (json.dumps(beacon({})), 400),
        (json.dumps(beacon(trackingId="nobody")), 404),
        ("x" * 300_000, 413),
    ],
)
def test_a_sites_page_may_read_every_response_and_its_reason(
    client: FlaskClient, body: str | None, status: int
) -> None:
    response = post(client, ORIGIN, body)
    assert response.status_code == status
    assert_shared_with(response, ORIGIN)
    assert names(response, "Access-Control-Expose-Headers") == EXPOSED


def test_a_sites_page_may_read_that_the_queue_is_full(environ: dict[str, str]) -> None:
    client = create_app(load({**environ, "GATEWAY_QUEUE_MAX_BYTES": "0"})).test_client()
    response = post(client, ORIGIN)
    assert response.status_code == 503
    assert_shared_with(response, ORIGIN)
    assert "retry-after" in names(response, "Access-Control-Expose-Headers")


@pytest.mark.parametrize("origin", [MEDIA, "https://evil.example", "null"])
def test_a_foreign_page_may_not_read_the_response(client: FlaskClient, origin: str) -> None:
    response = post(client, origin)
    assert response.status_code == 403
    assert_shared_with_nobody(response)


def test_each_site_answers_its_own_pages(client: FlaskClient) -> None:
    response = post(client, MEDIA, json.dumps(beacon(trackingId="media")))
    assert response.status_code == 204
    assert_shared_with(response, MEDIA)


@pytest.mark.parametrize("origin", LET_IN)
def test_an_origin_with_special_characters_is_allowed(tricky: FlaskClient, origin: str) -> None:
    assert_shared_with(preflight(tricky, origin), origin)
    site = "dot" if "shop" in origin else "wild"
    response = post(tricky, origin, json.dumps(beacon(trackingId=site)))
    assert response.status_code == 204
    assert_shared_with(response, origin)


@pytest.mark.parametrize("origin", LEFT_OUT)
def test_special_characters_in_origins_match_only_themselves(
    tricky: FlaskClient, origin: str
) -> None:
    assert_shared_with_nobody(preflight(tricky, origin))
    for site in "dot", "wild":
        response = post(tricky, origin, json.dumps(beacon(trackingId=site)))
        assert response.status_code == 403
        assert_shared_with_nobody(response)


def test_the_origin_null_is_allowed_only_if_a_site_allows_it(environ: dict[str, str]) -> None:
    table = '[sites.{}]\ntracking_id = "t-{}"\norigins = ["' + ORIGIN + '"]\n'
    text = table.format("framed", 1) + "allow_null_origin = true\n" + table.format("shop", 2)
    write_sites(Path(environ["GATEWAY_SITES"]), text)
    client = create_app(load(environ)).test_client()
    assert_shared_with(preflight(client, "null"), "null")
    response = post(client, "null", json.dumps(beacon(trackingId="framed")))
    assert response.status_code == 204
    assert_shared_with(response, "null")
    response = post(client, "null")
    assert response.status_code == 403
    assert_shared_with_nobody(response)
    assert_shared_with_nobody(post(client, "nul", json.dumps(beacon(trackingId="framed"))))


def test_without_any_origins_no_page_is_allowed(environ: dict[str, str]) -> None:
    text = '[sites.servers]\ntracking_id = "t"\norigins = []\nallow_missing_origin = true\n'
    write_sites(Path(environ["GATEWAY_SITES"]), text)
    client = create_app(load(environ)).test_client()
    for origin in ORIGIN, "null", "":
        assert_shared_with_nobody(preflight(client, origin))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/nope", "/"])
def test_no_page_may_read_other_paths(client: FlaskClient, path: str) -> None:
    assert_shared_with_nobody(client.get(path, headers={"Origin": ORIGIN}))
    assert_shared_with_nobody(preflight(client, ORIGIN, path, "GET"))
