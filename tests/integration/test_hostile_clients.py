"""Slow, numerous and malformed clients are answered or disconnected without harm to visitors."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gateway.forwarder.metrics_server import SILENT_SECONDS
from gateway.sandbox import Sandbox
from tests.helpers.sqs_cluster import Forwarder
from tests.helpers.support import ORIGIN, Gateway, beacon, environment, event, eventually

BODY_SECONDS = 2
HEAD_SECONDS = 3  # later, as it is by default
CONNECTIONS = 60  # a worker
FLOOD = 10_000 if "SOAK_SECONDS" in os.environ else 600


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """As operators start it, only with less patience."""
    folder = tmp_path_factory.mktemp("gateway")
    with Sandbox(port=0) as sandbox:
        gateway = Gateway(folder, environment(folder), sandbox)
        limits = {"timeout": BODY_SECONDS, "keep-alive": HEAD_SECONDS}
        limits |= {"worker-connections": CONNECTIONS}
        gateway.start(*[f"--{name}={value}" for name, value in limits.items()])
        workers = gateway.workers()
        yield gateway
        assert gateway.workers() == workers, "no worker has died"
        gateway.stop()
        assert "Traceback" not in (log := gateway.log.read_text()), log


def connect(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=20)


def request(body: bytes = b"", *headers: bytes, line: bytes = b"POST /events HTTP/1.1") -> bytes:
    """A whole request in bytes; its length is given unless a header tells of the framing."""
    framed = any(h.lower().startswith((b"content-length", b"transfer-enc")) for h in headers)
    length = [] if framed else [b"Content-Length: %d" % len(body)]
    origin = f"Origin: {ORIGIN}".encode()
    return b"\r\n".join([line, b"Host: x", origin, *length, *headers, b"", body])


def answers(connection: socket.socket) -> list[tuple[int, dict[str, str], bytes]]:
    """All that is answered until the connection ends: statuses, headers and bodies."""
    with connection.makefile("rb") as stream:
        found = []
        while line := stream.readline():
            headers = {}
            while row := stream.readline().strip():
                name, _, value = row.decode().partition(": ")
                headers[name] = value
            body = stream.read(int(headers.get("Content-Length", 0)))
            found.append((int(line.split()[1]), headers, body))
        return found


def ask(gateway: Gateway, raw: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Send these bytes, and no more."""
    with connect(gateway) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        return answers(connection)


def served(gateway: Gateway) -> None:
    """A visitor who comes now is served."""
    gateway.assert_delivered(gateway.assert_accepted(event()))


# --- slow ---


def test_a_body_that_trickles_is_cut_with_a_408_and_counted(gateway: Gateway) -> None:
    begin = time.monotonic()
    with connect(gateway) as slow:
        slow.sendall(request(b"{", b"Content-Length: 1000"))
        slow.settimeout(0.2)
        answer = b""
        while not answer and time.monotonic() < begin + 10 * BODY_SECONDS:
            slow.sendall(b" ")
            try:
                answer = slow.recv(65536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"X-Gateway-Reason: request_timeout" in answer
    assert b"Connection: close" in answer
    served(gateway)


def test_a_declared_gigabyte_is_rejected_before_it_is_sent(gateway: Gateway) -> None:
    with connect(gateway) as slow:
        slow.sendall(request(b"{", b"Content-Length: 1073741824"))
        [(status, headers, _)] = answers(slow)
    assert (status, headers["Connection"]) == (413, "close")
    served(gateway)


@pytest.mark.parametrize("size", [300_000, 1_000_000])
def test_clients_that_send_everything_first_can_read_the_rejection(
    gateway: Gateway, size: int
) -> None:
    """As nginx does, which turns a connection that is reset into a 502 of its own."""
    with connect(gateway) as eager:
        eager.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # most of it is yet to be sent
        eager.sendall(request(b" " * size))
        [(status, headers, _)] = answers(eager)
    assert (status, headers["X-Gateway-Reason"]) == (413, "request_entity_too_large")
    served(gateway)


@pytest.mark.parametrize("protocol", [b"HTTP/1.0", b"HTTP/1.1"])
def test_the_last_rejection_of_a_connection_can_be_read(gateway: Gateway, protocol: bytes) -> None:
    """nginx asks for a connection to end, by its default version or by our recipe's header."""
    headers = b"Connection: close", b"Content-Encoding: gzip"
    for _ in range(20):
        with connect(gateway) as eager:
            eager.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            eager.sendall(request(b" " * 60_000, *headers, line=b"POST /events " + protocol))
            [(status, *_)] = answers(eager)
        assert status == 415


def test_a_missing_body_after_a_rejection_is_not_logged_as_an_error(gateway: Gateway) -> None:
    with connect(gateway) as slow:
        slow.sendall(request(b"{", b"Content-Length: 1000", line=b"POST /nowhere HTTP/1.1"))
        [(status, *_)] = answers(slow)  # and no other follows
    assert status == 404
    served(gateway)


def test_a_gigabyte_in_chunks_is_rejected_at_the_limit(gateway: Gateway) -> None:
    with connect(gateway) as slow:
        slow.sendall(request(b"", b"Transfer-Encoding: chunked"))
        sent = 0
        while sent < 2**30:
            try:
                slow.sendall(b"%x\r\n%s\r\n" % (65536, b" " * 65536))
            except ConnectionError:
                break
            sent += 65536
    assert sent < 2**25, "it was cut"
    served(gateway)


def test_two_hundred_half_open_connections_leave_visitors_served(gateway: Gateway) -> None:
    """Slowloris: more of them than the workers have connections."""
    halves = [
        b"",
        b"POST /ev",
        request(b"{", b"Content-Length: 100"),
        b"GET / HTTP/1.1\r\nA: b\r\n",
    ]
    with ExitStack() as stack:
        slow = []
        for number in range(200):
            connection = stack.enter_context(connect(gateway))
            connection.sendall(halves[number % len(halves)])
            slow.append(connection)
            if number % 20 == 0:
                gateway.assert_accepted(event())
        served(gateway)
        for connection in slow:
            assert all(status == 408 for status, *_ in answers(connection))  # all end by and by


def test_a_client_that_never_reads_blocks_no_other(gateway: Gateway) -> None:
    with ExitStack() as stack:
        for _ in range(2 * CONNECTIONS):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", gateway.port))
            deaf.sendall(request(line=b"GET /static/pz.js HTTP/1.1") * 40)
        served(gateway)


def test_connections_in_a_flood_leave_visitors_served(gateway: Gateway) -> None:
    held: deque[socket.socket] = deque()
    for number in range(FLOOD):
        held.append(connect(gateway))
        if len(held) > 4 * CONNECTIONS:
            held.popleft().close()
        if number % CONNECTIONS == 0:
            gateway.assert_accepted(event())
    served(gateway)
    for connection in held:
        connection.close()


# --- malformed ---

MALFORMED = {
    b"nonsense\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": 400,
    b"GET /\r\n\r\n": 400,
    b"get / HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/9.9\r\n\r\n": 400,
    b"GET /\xff HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/1.1\nHost: x\n\n": 400,
    request(b"{}", b"Content-Length: 2", b"Content-Length: 3"): 400,
    request(b"{}", b"Content-Length: -2"): 400,
    request(b"{}", b"Content-Length: +2"): 400,
    request(b"{}", b"Content-Length: 2, 2"): 400,
    request(b"{}", "Content-Length: \u00b2".encode("latin-1")): 400,
    request(b"{}", b"Content-Length: " + b"9" * 5000): 400,
    request(b"{}", b"Content-Length: 2", b"Transfer-Encoding: chunked"): 400,
    request(b"{}", b"Transfer-Encoding: gzip"): 400,
    request(b"{}", b"Transfer-Encoding: xchunked"): 400,
    request(b"{}", b"Transfer-Encoding: chunked, chunked"): 400,
    request(b"{}", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"): 400,
    request(b"{}", b"Transfer-Encoding : chunked"): 400,
    request(b"{}", b"Host: elsewhere"): 400,
    request(b"{}", b"X: a\r\n folded"): 400,
    request(b"{}", b"Cookie pz_sid_shop=stolen"): 400,
    request(b"{}", b"X: a\0b"): 400,
    request(b"{}", b"Expect: miracles"): 417,
    request(line=b"GET /" + b"a" * 9000 + b" HTTP/1.1"): 414,
    request(b"{}", b"X: " + b"a" * 9000): 431,
    request(b"{}", *[b"X-%d: a" % number for number in range(200)]): 431,
    request(b"zz\r\n{}\r\n", b"Transfer-Encoding: chunked"): 400,
    request(b"-5\r\n{}\r\n", b"Transfer-Encoding: chunked"): 400,
    request(b"2\r\n{}xx0\r\n\r\n", b"Transfer-Encoding: chunked"): 400,
    request(b"2;" + b"a" * 20000 + b"\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"): 400,
    request(b"2\r\n{}\r\n0\r\nHost: x\r\n\r\n", b"Transfer-Encoding: chunked"): 400,
}


@pytest.mark.parametrize(("raw", "status"), MALFORMED.items(), ids=lambda value: str(value)[:60])
def test_malformed_http_gets_a_clear_error(gateway: Gateway, raw: bytes, status: int) -> None:
    """One answer, and the connection ends: whatever follows could be read in two ways."""
    smuggled = request(json.dumps(beacon(event())).encode())
    [(answered, headers, body)] = ask(gateway, raw + smuggled)
    assert answered == status
    assert headers["Connection"] == "close"
    assert headers["X-Gateway-Reason"]
    assert set(json.loads(body)) == {"__type", "message"}
    assert not {"Server"} & set(headers) or headers["Server"] == "gunicorn"


def test_malformed_requests_are_logged_without_address_and_content(
    gateway: Gateway,
) -> None:
    ask(gateway, request(b"{}", b"Cookie pz_sid_shop=stolen"))
    ask(gateway, b"GET /secret\xff HTTP/1.1\r\n\r\n")
    log = gateway.log.read_text()
    assert "stolen" not in log
    assert "secret" not in log
    assert "ip=" not in log


def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    good = [event() for _ in range(5)]
    bodies = [json.dumps(body).encode() for item in good for body in (beacon(item), "not a beacon")]
    raw = b"".join(request(body) for body in bodies)
    assert [status for status, *_ in ask(gateway, raw)] == [204, 400] * 5
    gateway.assert_delivered([item["eventId"] for item in good])


def test_a_compressed_body_is_rejected_with_its_encoding(gateway: Gateway) -> None:
    [(status, headers, body)] = ask(gateway, request(b"\x1f\x8b", b"Content-Encoding: gzip"))
    assert status == 415
    assert headers["X-Gateway-Reason"] == "content_encoding"
    assert headers["Accept-Encoding"] == "identity"
    assert b"gzip" in body


def test_an_incomplete_body_is_not_stored(gateway: Gateway) -> None:
    body = json.dumps(beacon()).encode()
    [(status, *_)] = ask(gateway, request(body, b"Content-Length: %d" % (len(body) + 1)))
    assert status == 400


def test_the_forwarders_port_hides_its_version_and_survives_malformed_requests(
    tmp_path: Path, environ: dict[str, str], sandbox: Sandbox
) -> None:
    alone = Gateway(tmp_path, environ, sandbox)
    forwarder = Forwarder(alone)
    address = ("127.0.0.1", forwarder.port)
    eventually(lambda: reachable(address), "the port is open")
    with socket.create_connection(address, timeout=SILENT_SECONDS * 3) as silent:
        for raw in [b"nonsense\r\n\r\n", b"GET /healthz HTTP/9\r\n\r\n", b"", b"\0" * 70_000]:
            with socket.create_connection(address, timeout=5) as connection:
                connection.sendall(raw)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert forwarder.get("/healthz").headers["Server"] == "personalize-gateway"
        assert silent.recv(1) == b"", "who says nothing is parted with"
    assert forwarder.stop() == 0
    assert "Traceback" not in (log := alone.log.read_text()), log


def reachable(address: tuple[str, int]) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(address, timeout=5):
        return True
    return False


def test_no_path_leads_out_of_the_static_folder(gateway: Gateway) -> None:
    paths = [b"/static/../gunicorn.conf.py", b"/static/%2e%2e/sites.toml", b"//evil.example/..",
             b"/static/..%2fwsgi.py", b"/static/%00", b"*"]  # fmt: skip
    for path in paths:
        for method in (b"GET", b"POST", b"OPTIONS", b"TRACE", b"CONNECT"):
            for status, *_ in ask(gateway, request(line=b"%s %s HTTP/1.1" % (method, path))):
                assert status in (200, 400, 404, 405), (method, path)
