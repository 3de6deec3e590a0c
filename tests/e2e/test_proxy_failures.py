"""What becomes of a failure on either side of the proxy: an answer in the one shape while there is
none yet, and afterwards an end that nobody takes for a whole answer."""

import asyncio
import socket

import pytest
from e2e.proxied import App, heard, request, sidecar_before, sized, still
from e2e.support import connected, error_of, serving

from tiergate_sidecar.rawhttp import Call, RawServer

MIB = 1 << 20


async def test_an_app_that_is_not_there_is_a_502():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with sidecar_before(target=target) as proxied:
        answer = await heard(proxied, sized("POST", "/", b"abc"), "POST")
    error = error_of(answer.body)
    assert (answer.status, error["type"], error["code"]) == (502, "upstream_error", "bad_gateway")
    assert "127.0.0.1" not in error["message"]


async def test_an_app_that_says_nothing_is_a_504():
    app = App()
    async with serving(app) as direct:
        async with sidecar_before(target=direct, idle_timeout_seconds=0.1) as proxied:
            answer = await heard(proxied, request("GET", "/wait"), "GET")
        await asyncio.wait_for(app.left.wait(), 1)
    error = error_of(answer.body)
    assert (answer.status, error["type"]) == (504, "timeout_error")
    assert error["code"] == "deadline_exceeded"


async def test_a_client_that_sends_nothing_more_is_a_408():
    sent = request("POST", "/", ("Content-Length", "9")) + b"abc"
    async with (
        serving(App()) as direct,
        sidecar_before(target=direct, idle_timeout_seconds=0.1) as proxied,
    ):
        answer = await heard(proxied, sent, "POST")
    assert (answer.status, error_of(answer.body)["code"]) == (408, "request_timeout")


async def test_a_client_that_reads_nothing_more_is_let_go():
    app = App()
    async with (
        serving(app) as direct,
        sidecar_before(target=direct, idle_timeout_seconds=0.1) as proxied,
        connected(proxied, read_limit=1024) as client,
    ):
        await client.say(request("GET", "/download?1600"))
        await client.head()
        given = await still(lambda: app.given)
        async with asyncio.timeout(5):
            said = b""
            while piece := await client.reader.read(2**20):
                said += piece
        assert len(said) <= given + MIB  # and the connection has ended


OK = b"HTTP/1.1 200 OK\r\nX-App: 1\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 X\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n"

WIRES = {
    "cut in its length": (OK + b"Content-Length: 9\r\n\r\nhalf", 200, b"half", False),
    "cut in a chunk": (CHUNKED + b"9\r\nhalf", 200, b"half", False),
    "cut between chunks": (CHUNKED + b"4\r\nhalf\r\n", 200, b"half", False),
    "ended by closing": (b"HTTP/1.0 200 OK\r\n\r\nall", 200, b"all", True),
    "with hints first": (HINTS + OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
    "with trailers": (CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", 200, b"ok", True),
    "with a length for nothing": (b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    "of two lengths": (OK + b"Content-Length: 9\r\nContent-Length: 2\r\n\r\nok", 502, None, True),
    "not HTTP": (b"nonsense\r\n\r\n", 502, None, True),
    "of an upgrade": (UPGRADED, 502, None, True),
    "of no known status": (b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", 502, None, True),
    "with a control character": (OK + b"X-Bad: a\x01b\r\n\r\n", 502, None, True),
    "never begun": (b"", 502, None, True),
    "half a head": (OK, 502, None, True),
}


@pytest.mark.parametrize("kind", WIRES)
async def test_an_answer_is_what_came_or_is_refused_or_ends_where_it_ended(kind):
    wire, status, body, whole = WIRES[kind]

    async def say(call: Call) -> None:
        await call.raw(wire)
        await call.hang_up()

    async with RawServer(say) as app, sidecar_before(target=app.url) as proxied:
        answer = await heard(proxied, request("GET", "/"), "GET")
    assert (answer.status, answer.whole) == (status, whole)
    if body is None:
        assert error_of(answer.body)["code"] == "bad_gateway"
    else:
        assert answer.body == body


@pytest.mark.parametrize("target", ["/", "/v1/models", "/v1/chat/completions"])
async def test_a_websocket_is_refused_and_the_app_hears_nothing_of_it(target):
    asks = (
        ("Connection", "Upgrade"), ("Upgrade", "WebSocket"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    )  # fmt: skip
    app = App()
    async with serving(app) as direct, sidecar_before(target=direct) as proxied:
        answer = await heard(proxied, request("GET", target, *asks), "GET")
    assert (answer.status, answer.all_of("connection")) == (501, ["close"])
    assert error_of(answer.body)["code"] == "websocket_not_supported"
    assert app.scopes == []


async def test_two_hosts_are_one_too_many():
    app = App()
    async with serving(app) as direct, sidecar_before(target=direct) as proxied:
        sent = request("GET", "/", ("Host", "a.test"), ("Host", "b.test"))
        answer = await heard(proxied, sent, "GET")
    assert (answer.status, error_of(answer.body)["code"]) == (400, "invalid_request")
    assert app.scopes == []
