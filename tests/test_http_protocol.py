"""What of a request's bytes reaches an app: headers that are headers, and the body of each.

And that an answer which nobody reads does not stay.
"""

import asyncio
import json
from contextlib import suppress

import pytest
import uvicorn
from uvicorn.server import ServerState

from tiergate_sidecar.http_protocol import HttpProtocol
from tiergate_sidecar.listener import Listener

POST = b"POST /a?b=%2F HTTP/1.1\r\nHost: x\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def seen(*pieces: bytes) -> list[dict]:
    """The requests that an app was given by these pieces of one connection."""
    requests = []

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        target = f"{scope['method']} {scope['path']}?{scope['query_string'].decode()}"
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        requests.append({"target": target, "headers": headers, "body": body.decode()})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(len(requests)).encode()})

    listener, started = Listener(app, "127.0.0.1:0", "here", 1), asyncio.Event()
    serving = asyncio.create_task(listener.listen(started.set))
    async with asyncio.timeout(5):
        await started.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.address.port)
        with suppress(ConnectionError):  # what is refused is not read to its end
            for piece in (*pieces, LAST):
                writer.write(piece)
                await writer.drain()
                for _ in range(5):  # the steps until it is read: two pieces are two reads
                    await asyncio.sleep(0)
            await reader.read()
        writer.close()
        listener.should_exit = True
        await serving
    return [each for each in requests if each["target"] != "GET /last?"]


@pytest.mark.parametrize("cut", [0, 200])
async def test_a_trailer_is_no_header(cut):
    """Whoever stands before us has looked at the headers, and at those alone."""
    body = b"3\r\nabc\r\n0\r\nX-User: root\r\nAuthorization: Bearer t\r\n\r\n"
    sent = POST + b"Transfer-Encoding: chunked\r\n\r\n" + body
    (one,) = await seen(*filter(None, (sent[:cut], sent[cut:])))
    assert one["body"] == "abc"
    assert one["headers"] == {"host": "x", "transfer-encoding": "chunked"}


@pytest.mark.parametrize(
    ("framing", "body", "text"),
    [
        (b"Content-Length: 3\r\n", b"abc", "abc"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n", "abc"),
        (b"", b"", ""),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
async def test_a_request_that_asks_for_an_upgrade_is_read_as_one_that_does_not(
    framing, body, text, apart
):
    head = POST + H2C + framing + b"\r\n"
    requests = await seen(*[head, body] if apart else [head + body], head + body)
    assert [each["body"] for each in requests] == [text, text]
    for each in requests:
        assert each["target"] == "POST /a?b=%2F"
        assert each["headers"]["connection"].strip() == "HTTP2-Settings"
        assert each["headers"]["upgrade"] == "h2c"


async def test_requests_that_follow_at_once_are_read_too():
    ask = POST + H2C + b"Content-Length: 1\r\n\r\n"
    requests = await seen(ask + b"a" + ask + b"b" + POST + b"Content-Length: 1\r\n\r\nc")
    assert [each["body"] for each in requests] == ["a", "b", "c"]


async def test_the_body_of_an_upgrade_is_never_a_request():
    inner = b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"
    head = POST + H2C + b"Content-Length: %d\r\n\r\n" % len(inner)
    (one,) = await seen(head, inner)
    assert one["body"].encode() == inner


@pytest.mark.parametrize(
    "wrong",
    [
        b"CONNECT a.test:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + H2C + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        POST + b"X-A: 1\r\n folded\r\n\r\n",
        POST + b"Proxy-Connection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
async def test_what_is_wrong_reaches_no_app(wrong):
    assert await seen(wrong) == []


class Leaving(asyncio.Transport):
    """A transport with so many bytes left to send, each time that it is asked; 0 for ever after."""

    def __init__(self, *left: int, closing: bool = True) -> None:
        super().__init__()
        self.left, self.closing = list(left), closing
        self.aborted, self.asked = asyncio.Event(), asyncio.Event()

    def is_closing(self) -> bool:
        if not self.left:
            self.asked.set()
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.left.pop(0) if self.left else 0

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None:
        self.closing = True


class Quick(HttpProtocol):
    unread_seconds = 0.001


def quick() -> Quick:
    async def app(scope, receive, send):
        raise AssertionError

    return Quick(uvicorn.Config(app, interface="asgi3", log_config=None), ServerState(), {})


async def test_a_closed_connection_is_cut_once_its_client_reads_nothing_more():
    transport, protocol = Leaving(9, 7, 7, 5), quick()
    protocol.connection_made(transport)
    async with asyncio.timeout(5):
        await transport.aborted.wait()
    assert transport.left == [5]
    protocol.connection_lost(None)


@pytest.mark.parametrize("transport", [Leaving(9, 7, 5), Leaving(closing=False)])
async def test_who_reads_is_given_the_rest_and_who_is_connected_stays(transport):
    protocol = quick()
    protocol.connection_made(transport)
    async with asyncio.timeout(5):
        await transport.asked.wait()
        transport.asked.clear()
        await transport.asked.wait()
    assert not transport.aborted.is_set()
    protocol.connection_lost(None)
