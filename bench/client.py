"""Raw clients: closed loop, a known number of requests over connections that stay open.

They find the end of an answer and nothing more, so that they need little of the processor that they
share with the upstream. An answer other than 200 ends the measurement with an error.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType

MOST_SECONDS = 120


def request(body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1"]
    fields = {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}
    head += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*head, "", ""]).encode() + body


class Clients:
    """So many connections to one port, each asking the same again and again; a context."""

    def __init__(self, port: int, asked: bytes, connections: int) -> None:
        self._port = port
        self._connections = connections
        self._open: list[_Connection] = []
        self._left = self._awaited = 0
        self._done: asyncio.Future[None] | None = None
        self.asked = asked

    async def __aenter__(self) -> "Clients":
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, made = await loop.create_connection(
                lambda: _Connection(self), "127.0.0.1", self._port
            )
            self._open.append(made)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._open:
            connection.close()

    async def run(self, requests: int) -> None:
        """Exactly so many, each connection with one at a time; until the last answer has ended."""
        self._left = self._awaited = requests
        self._done = asyncio.get_running_loop().create_future()
        for connection in self._open[:requests]:
            self.next(connection)
        async with asyncio.timeout(MOST_SECONDS):
            await self._done

    def next(self, connection: "_Connection") -> None:
        if self._left:
            self._left -= 1
            connection.ask(self.asked)

    def answered(self, connection: "_Connection") -> None:
        self._awaited -= 1
        self.next(connection)
        if not self._awaited and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def failed(self, why: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(RuntimeError(why))


class Ending:
    """Finds the end of one answer, by its length or by the last chunk."""

    LAST = b"0\r\n\r\n"

    def __init__(self) -> None:
        self.head = b""
        self._held = b""
        self._left = -1

    def reached(self, data: bytes) -> bool:
        """Take the next bytes; true when they end the answer."""
        if not self.head:
            head, found, data = (self._held + data).partition(b"\r\n\r\n")
            if not found:
                self._held = head
                return False
            self.head, self._held = head, b"\r\n"
            length = head.lower().partition(b"content-length:")[2]
            self._left = int(length.partition(b"\r\n")[0]) if length else -1
        if self._left >= 0:
            self._left -= len(data)
            return self._left <= 0
        self._held = (self._held + data[-7:])[-7:]
        return self._held.endswith(b"\r\n" + self.LAST)


class _Connection(asyncio.Protocol):
    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._transport: asyncio.WriteTransport | None = None
        self._ending: Ending | None = None

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def ask(self, asked: bytes) -> None:
        assert self._transport is not None
        self._ending = Ending()
        self._transport.write(asked)

    def data_received(self, data: bytes) -> None:
        ending = self._ending
        if ending is None:
            self._clients.failed(f"nobody asked for {data[:200]!r}")
        elif ending.reached(data):
            if not ending.head.startswith(b"HTTP/1.1 200"):
                self._clients.failed(f"{ending.head.decode()} {data[-400:]!r}")
            self._ending = None
            self._clients.answered(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._ending is not None:
            self._clients.failed(f"closed within an answer: {error}")

    def close(self) -> None:
        self._ending = None
        if self._transport is not None:
            self._transport.close()
