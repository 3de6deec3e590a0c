"""A small HTTP/1.1 server that can misbehave on the wire.

Here live the listening socket, one task per connection, and `Call`: one request read by h11, and
the pen to answer it, properly or by a reset, a half-sent body, or silence, as a framework cannot.
What must not live here: anything that knows what a chat completion is.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Literal

import h11

Handler = Callable[["Call"], Awaitable[None]]
Headers = Iterable[tuple[str, str]]

_JSON = "application/json"
_READ_BYTES = 65_536
_AHEAD_BYTES = 65_536  # what a peer may send while its answer is being written: read, so bounded
_HEAD_BYTES = 65_536  # h11's own 16 KiB is less than some providers accept
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

logger = logging.getLogger(__name__)


class Call:
    """`connection` counts the server's connections from 1, `number` the requests on this one.
    `gone` is set when nobody reads any more: the peer left, or we reset or hung up. Writing after
    that raises `ConnectionResetError`, which a handler may let pass.
    """

    def __init__(self, wire: _Connection, request: h11.Request, body: bytes, number: int) -> None:
        self.method = request.method.decode("ascii")
        self.target = request.target.decode("latin-1")
        self.path = self.target.partition("?")[0]
        self.headers: list[tuple[bytes, bytes]] = [(bytes(n), bytes(v)) for n, v in request.headers]
        self.body = body
        self.connection = wire.number
        self.number = number
        self.gone = asyncio.Event()
        self._wire = wire

    def header(self, name: str) -> str | None:
        """The first value of that header, whatever the case of `name`."""
        wanted = name.lower().encode("latin-1")
        return next((v.decode("latin-1") for n, v in self.headers if n == wanted), None)

    async def respond(
        self, status: int, body: bytes = b"", headers: Headers = (), content_type: str = _JSON
    ) -> None:
        """A complete answer with its Content-Length; `headers` go before `content_type`."""
        given = list(headers)
        if not any(name.lower() == "content-type" for name, _ in given):
            given.append(("content-type", content_type))
        await self.start(status, [*given, ("content-length", str(len(body)))])
        await self.send(b"" if self.method == "HEAD" else body)
        await self.finish()

    async def start(self, status: int, headers: Headers = ()) -> None:
        """The head alone. The body is chunked, unless `headers` say a Content-Length."""
        closing = [] if self._wire.server.keep_alive else [("connection", "close")]
        await self._frame(h11.Response(status_code=status, headers=[*headers, *closing]))

    async def send(self, data: bytes) -> None:
        """One chunk (or that much of the promised length), flushed."""
        await self._frame(h11.Data(data=data))

    async def finish(self) -> None:
        """The end of the body; without it the connection closes when the handler returns."""
        await self._frame(h11.EndOfMessage())

    async def raw(self, data: bytes) -> None:
        """Bytes straight to the socket. The connection is not used again afterwards."""
        self._wire.framed = False
        await self._write(data)

    def reset(self) -> None:
        """Abort with RST: what was not delivered yet is lost."""
        self.gone.set()
        self._wire.reset()

    async def hang_up(self) -> None:
        """Deliver what was written, then close, whatever is missing."""
        self.gone.set()
        await self._wire.hang_up()

    async def _frame(self, event: h11.Event) -> None:
        # Asked before h11 is: a peer that left is no breach of protocol by the handler.
        self._still_here()
        await self._write(self._wire.parser.send(event) or b"")

    async def _write(self, data: bytes) -> None:
        self._still_here()
        try:
            await self._wire.write(data)
        except ConnectionError:
            self.gone.set()  # the writer may learn of it before the watcher does
            raise

    def _still_here(self) -> None:
        if self.gone.is_set():
            raise ConnectionResetError("nobody reads this answer any more")


class RawServer:
    """Listens while the `async with` lasts; leaving it ends every connection and handler.

    What a handler raised closes its connection, is logged, kept in `errors`, and raised again by
    `close()` as an `ExceptionGroup`. `connections` counts them all, `open` holds those that live.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl: ssl.SSLContext | None = None,
        keep_alive: bool = True,
        max_body_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.handler = handler
        self.host = host
        self.port = port
        self.ssl = ssl
        self.keep_alive = keep_alive
        self.max_body_bytes = max_body_bytes
        self.connections = 0
        self.open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.errors: deque[Exception] = deque(maxlen=100)
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.ssl else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        self._listener = await asyncio.start_server(
            self._connected, self.host, self.port, backlog=1024
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Ends everything at once, then raises what handlers raised. A second call does nothing."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        for sock in listener.sockets:  # asyncio leaks what it accepts in the two steps before close
            asyncio.get_running_loop().remove_reader(sock.fileno())
        for _ in range(2):
            await asyncio.sleep(0)
        listener.close()
        for task, writer in self.open.items():
            task.cancel()
            writer.transport.abort()  # else a deaf peer could hold us up with what it has not read
        ended = await asyncio.gather(*self.open, return_exceptions=True)
        self.errors.extend(end for end in ended if isinstance(end, Exception))
        if self.errors:
            raise ExceptionGroup("handlers of the raw server failed", list(self.errors))

    async def __aenter__(self) -> RawServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._listener is None:  # accepted while closing
            writer.transport.abort()
            return
        self.connections += 1
        task = asyncio.create_task(_Connection(self, reader, writer).serve())
        self.open[task] = writer
        task.add_done_callback(self.open.pop)


class _Connection:
    """One TCP connection: reads a request, has it answered, and so on until either side ends it."""

    def __init__(
        self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = server.connections
        self.server = server
        self.framed = True
        self.parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._reader = reader
        self._writer = writer
        self._requests = 0

    async def serve(self) -> None:
        with suppress(OSError):  # the peer left between requests, or did not manage the handshake
            # Ours, so that `close()` can end it; nobody tells the writer of one that failed.
            if self.server.ssl is not None:
                await self._writer.start_tls(self.server.ssl)
            try:
                while await self._one_request():
                    pass
            finally:
                await self.hang_up()

    async def write(self, data: bytes) -> None:
        if self._writer.transport.is_closing():  # uvloop would raise a RuntimeError
            raise ConnectionResetError
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        with suppress(OSError, AttributeError):  # closed already (uvloop: no socket any more)
            sock = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._writer.transport.abort()

    async def hang_up(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _one_request(self) -> bool:
        """Whether the connection may carry another one."""
        try:
            read = await self._read_request()
        except h11.RemoteProtocolError as error:
            return await self._refuse(error)
        if read is None:
            return False
        self._requests += 1
        return await self._answer(Call(self, *read, self._requests))

    async def _read_request(self) -> tuple[h11.Request, bytes] | None:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self.parser.next_event()
            if event is h11.NEED_DATA:
                await self._feed()
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self.server.max_body_bytes:
                    raise h11.RemoteProtocolError("body too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:
                return None  # the peer is done with this connection

    async def _feed(self) -> None:
        if self.parser.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            await self.write(self.parser.send(go_on) or b"")
        self.parser.receive_data(await self._reader.read(_READ_BYTES))

    async def _refuse(self, error: h11.RemoteProtocolError) -> Literal[False]:
        text = f"{error}\n".encode()
        headers = [("connection", "close"), ("content-length", str(len(text)))]
        head = h11.Response(status_code=error.error_status_hint, headers=headers)
        await self.write((self.parser.send(head) or b"") + text)
        return False

    async def _answer(self, call: Call) -> bool:
        watch = asyncio.create_task(self._watch(call))
        try:
            await self.server.handler(call)
        except Exception as error:
            if not (call.gone.is_set() and isinstance(error, ConnectionError)):
                logger.exception("the handler of %s %s failed", call.method, call.target)
                self.server.errors.append(error)
            return False
        finally:
            watch.cancel()
            await asyncio.wait([watch])
        return self._ready_for_next(call)

    async def _watch(self, call: Call) -> None:
        """Reads on while the handler works, because only a read tells that the peer has left."""
        ahead = 0
        with suppress(OSError):
            while ahead < _AHEAD_BYTES and (data := await self._reader.read(_READ_BYTES)):
                ahead += len(data)
                self.parser.receive_data(data)
        call.gone.set()

    def _ready_for_next(self, call: Call) -> bool:
        done = self.parser.our_state is h11.DONE and self.parser.their_state is h11.DONE
        if call.gone.is_set() or not self.framed or not done:
            return False
        self.parser.start_next_cycle()
        return True
