"""What goes back to the client. How it came about is not known here."""

from typing import Protocol

from msgspec import Struct

from tiergate.relay import Write
from tiergate.request_headers import Pairs


class Stream(Protocol):
    """The body of a reply that comes bit by bit."""

    async def run(self, write: Write) -> None:
        """Write all of it; raises `ClientGone` for a client that stopped reading."""

    async def close(self) -> None:
        """Let go of everything, whether or not it ran to its end."""


class Reply(Struct, frozen=True):
    """What goes back to the client: `body` whole, or a `stream` that carries it."""

    status: int
    headers: Pairs
    body: bytes = b""
    stream: Stream | None = None
