"""A request's body on its way in: read within limits, or discarded so that a refusal is heard."""

import asyncio
from typing import TYPE_CHECKING, Final

from tiergate.capacity import Account
from tiergate.errors import ClientGone, RequestTooLarge
from tiergate.request_headers import Pairs

if TYPE_CHECKING:
    from starlette.types import Receive

DISCARD_SECONDS: Final = 1.0
"""How long the rest of a refused body is read: else the client sees a reset, not the answer."""


async def read_body(
    receive: "Receive",
    pairs: Pairs,
    account: Account,
    *,
    max_bytes: int,
) -> bytes:
    """The whole body; raises `RequestTooLarge`, `Overloaded` or `ClientGone`.

    Never holds more than `max_bytes` and one piece; a body that announces more is not begun. How
    long it may take is the caller's to say.
    """
    announced = _announced(pairs)
    if announced is not None and announced > max_bytes:
        raise _too_large(max_bytes)
    held, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client left before its request was complete")
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes)
        account.hold(len(piece))
        held.append(piece)
    return held[0] if len(held) == 1 else b"".join(held)


async def discard(receive: "Receive") -> None:
    """Read and forget what still comes of a body, for a moment."""
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            while (await receive()).get("more_body", False):  # a disconnect has no more either
                pass
    except TimeoutError:
        pass  # the answer has been sent: nobody waits for more


def _announced(pairs: Pairs) -> int | None:
    for name, value in pairs:
        if name == b"content-length" and value.isdigit():
            return int(
                value[:20]
            )  # 20 digits are more than any disk; int() of a million is an attack
    return None


def _too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The body is larger than {max_bytes} bytes.")
