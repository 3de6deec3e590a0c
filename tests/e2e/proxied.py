"""What the tests of the proxy share: an app to stand behind it, and a client that reads raw HTTP.

The app tells what it was asked for, byte for byte, so that an answer through the proxy differs from
one without it wherever the request did.
"""

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import h11
from e2e.support import connected, serving

from tiergate import Gateway, TierMiddleware
from tiergate_sidecar.app import sidecar_app
from tiergate_sidecar.http_protocol import HttpProtocol
from tiergate_sidecar.settings import Proxy

PIECE = bytes(range(256)) * 256
"""64 kB; what `/download` sends, as often as it is asked to."""

HOST = ("Host", "app.test:8443")

_HOP = {"connection", "expect", "te", "trailer", "upgrade", "keep-alive", "transfer-encoding"}
_HOP |= {"x-hop", "http2-settings"}  # what the tests name in `Connection`
_FORWARDED = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}


class Heard(NamedTuple):
    """An answer as it came over the wire. `whole` says that it ended as its framing promised."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool = True

    def all_of(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    @property
    def compared(self) -> tuple[int, list[tuple[str, str]], bytes, bool]:
        """All that a proxy has to leave as it is."""
        own = {"date", "server", "connection"}
        headers = [pair for pair in self.headers if pair[0] not in own]
        return self.status, headers, self.body, self.whole


class App:
    """The app. `left` is set when a client has left `/wait`, `taken` counts bytes of `/upload`, and
    `given` those that `/download` has handed to its server."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()
        self.taken = 0
        self.given = 0
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self.scopes.append(scope)
        path = scope["path"].split("/")[1]
        answer = getattr(self, f"_{path}", self._echo)
        await answer(scope, receive, send)

    async def _echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = b"".join([piece async for piece in _pieces(receive)])
        seen = {
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "headers": sorted(
                [name.decode(), value.hex()]
                for name, value in scope["headers"]
                if name.decode() not in _HOP | _FORWARDED | {"content-length"}
            ),
            "body": [len(body), hashlib.sha256(body).hexdigest()],
        }
        said = json.dumps(seen).encode()
        await _answer(send, 200, said, ("Content-Type", "application/json"))

    async def _cookies(self, scope: Any, receive: Any, send: Any) -> None:
        cookies = [("set-cookie", f"{name}=1; Path=/; HttpOnly") for name in "bca"]
        await _answer(send, 200, b"ok", *cookies, ("vary", "a"), ("link", "</x>"), ("vary", "b"))

    async def _odd(self, scope: Any, receive: Any, send: Any) -> None:
        await _answer(send, 299, b"", ("x-odd", "caf\xe9"), ("x-long", "y" * 20_000), ("x-no", ""))

    async def _many(self, scope: Any, receive: Any, send: Any) -> None:
        await _answer(send, 200, b"", *[(f"x-{number}", "1") for number in range(300)])

    async def _nothing(self, scope: Any, receive: Any, send: Any) -> None:
        await _start(send, 204, ("x-app", "1"))
        await send({"type": "http.response.body"})

    async def _fresh(self, scope: Any, receive: Any, send: Any) -> None:
        await _start(send, 304, ("etag", '"1"'), ("cache-control", "max-age=60"))
        await send({"type": "http.response.body"})

    async def _moved(self, scope: Any, receive: Any, send: Any) -> None:
        status = int(scope["path"].split("/")[2])
        await _answer(send, status, b"there", ("location", "http://app.test/else?a=%2F#top"))

    async def _range(self, scope: Any, receive: Any, send: Any) -> None:
        asked = dict(scope["headers"]).get(b"range", b"")
        if asked == b"bytes=2-4":
            said = ("content-range", "bytes 2-4/10"), ("accept-ranges", "bytes")
            await _answer(send, 206, b"234", *said)
        else:
            await _answer(send, 416, b"", ("content-range", "bytes */10"))

    async def _gzip(self, scope: Any, receive: Any, send: Any) -> None:
        packed = gzip.compress(b"hello " * 100, mtime=0)
        await _answer(send, 200, packed, ("content-encoding", "gzip"), ("etag", 'W/"z"'))

    async def _failed(self, scope: Any, receive: Any, send: Any) -> None:
        await _answer(send, 503, b"<h1>later</h1>", ("retry-after", "7"), ("content-type", "x/y"))

    async def _chunks(self, scope: Any, receive: Any, send: Any) -> None:
        await _start(send, 200, ("content-type", "text/plain"))
        for piece in (b"one", b"two", b"three"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async def _early(self, scope: Any, receive: Any, send: Any) -> None:
        await _answer(send, 413, b"too much")

    async def _duplex(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers each piece before it asks for the next."""
        await _start(send, 200)
        async for piece in _pieces(receive):
            await send({"type": "http.response.body", "body": piece.upper(), "more_body": True})
        await send({"type": "http.response.body"})

    async def _events(self, scope: Any, receive: Any, send: Any) -> None:
        """An event, and the next only when it is told to go on."""
        await _start(send, 200, ("content-type", "text/event-stream"))
        for number in range(3):
            event = b"data: %d\n\n" % number
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await self.go_on.wait()
            self.go_on.clear()
        await send({"type": "http.response.body"})

    async def _download(self, scope: Any, receive: Any, send: Any) -> None:
        pieces = int(scope["query_string"])
        await _start(send, 200, ("content-length", str(pieces * len(PIECE))))
        for number in range(pieces):
            more = number < pieces - 1
            await send({"type": "http.response.body", "body": PIECE, "more_body": more})
            self.given += len(PIECE)

    async def _upload(self, scope: Any, receive: Any, send: Any) -> None:
        """Reads nothing until it is told to go on."""
        self.waiting.set()
        await self.go_on.wait()
        async for piece in _pieces(receive):
            self.taken += len(piece)
        await _answer(send, 200, str(self.taken).encode())

    async def _wait(self, scope: Any, receive: Any, send: Any) -> None:
        """Says nothing, or after its head nothing more, until its client has left."""
        if scope["path"].endswith("/midway"):
            await _start(send, 200, ("content-length", "10"))
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        self.waiting.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


async def _pieces(receive: Any) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _start(send: Any, status: int, *headers: tuple[str, str]) -> None:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


async def _answer(send: Any, status: int, body: bytes, *headers: tuple[str, str]) -> None:
    await _start(send, status, *headers, ("content-length", str(len(body))))
    await send({"type": "http.response.body", "body": body})


def request(
    method: str, target: str, *headers: tuple[str, str], body: bytes = b"", version: str = "1.1"
) -> bytes:
    """A request of raw bytes; its framing is the headers' to say."""
    named = {name.lower() for name, _ in headers}
    host = () if "host" in named else (HOST,)
    lines = [f"{name}: {value}" for name, value in (*host, *headers)]
    head = "\r\n".join([f"{method} {target} HTTP/{version}", *lines, "", ""])
    return head.encode("latin-1") + body


def sized(method: str, target: str, body: bytes, *headers: tuple[str, str]) -> bytes:
    return request(method, target, *headers, ("Content-Length", str(len(body))), body=body)


def chunked(method: str, target: str, *pieces: bytes, trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    headers = (("Transfer-Encoding", "chunked"), ("Trailer", "x-sum"))
    return request(method, target, *headers, body=body + b"0\r\n" + trailer + b"\r\n")


@asynccontextmanager
async def sidecar_before(
    *, config: dict[str, Any] | None = None, environ: dict[str, str] | None = None, **proxy: Any
) -> AsyncIterator[str]:
    """The sidecar's app, with these settings of `[proxy]`, behind a server set up as its own is."""
    providers = {"providers": {"p1": {"base_url": "http://127.0.0.1:9/v1"}}}
    tiers = {"tiers": {"simple": [{"provider": "p1", "model": "small"}]}}
    settings = Proxy(**proxy)
    gateway = Gateway({**providers, **tiers, **(config or {})}, environ=environ or {})
    inner = sidecar_app(gateway, now=lambda: 0, proxy=lambda: settings)
    app = TierMiddleware(inner, gateway=gateway, authorize="open")
    own = {"http": HttpProtocol, "server_header": False, "proxy_headers": False, "ws": "none"}
    async with serving(app, **own) as url:
        yield url


async def heard(url: str, request: bytes, method: str) -> Heard:
    """The answer to a request of raw bytes; it may end before its time."""
    async with connected(url) as client, asyncio.timeout(10):
        await client.say(request)
        return await read(client.reader, method)


async def read(reader: asyncio.StreamReader, method: str) -> Heard:
    """The answer on a connection, told apart by h11."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    status, headers, body = 0, [], b""
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(65_536)
            if not data and not (status and _ends_by_closing(headers)):
                return Heard(status, headers, body, whole=False)
            parser.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = [(n.decode(), v.decode("latin-1")) for n, v in event.headers]
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return Heard(status, headers, body)


def _ends_by_closing(headers: list[tuple[str, str]]) -> bool:
    return not {name for name, _ in headers} & {"content-length", "transfer-encoding"}


async def still(measured: Callable[[], int]) -> int:
    """Of something that grows: where it has come to a stop."""
    before = -1
    async with asyncio.timeout(15):
        while (now := measured()) != before or not now:
            before = now
            await asyncio.sleep(0.25)  # the kernels' buffers fill without an event of ours
    return before
