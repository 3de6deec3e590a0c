"""Who ends a proxied request from outside: a client that leaves, or who is silent for too long.

No server's `send` tells that the client has left, only `receive` does; and a wait for either side
must have an end. Both are looked after by one timer. Knows nothing of what is proxied.
"""

import asyncio
from enum import Enum
from types import TracebackType
from typing import Final

from starlette.types import Receive

LOOK_SECONDS: Final = 0.5
"""Between two looks. An answer that is quicker costs no task that listens for its client, and one
that leaves is noticed well within the second after which a call for nobody must have ended."""


class Awaited(Enum):
    """What a request waits for."""

    BODY = "the rest of the request"
    ANSWER = "the answer"
    READER = "the client to read"


class Vigil:
    """A scope for one request; where it is ended from outside, leaving it raises `TimeoutError`.

    Then `client_left` tells why, or else `awaited` who was silent. `receive` is the request's own:
    it is listened to only once its body has been read, which `body_read` says.
    """

    def __init__(self, receive: Receive) -> None:
        self.client_left = False
        self.body_read = False
        self.awaited = Awaited.BODY
        self._receive = receive
        self._scope = asyncio.timeout(None)  # the standard library's care for cancellation
        self._until = 0.0
        self._over = False
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Vigil":
        await self._scope.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        self.stop_listening()
        self._over = True
        await self._scope.__aexit__(kind, error, traceback)

    def expect(self, awaited: Awaited, seconds: float) -> None:
        """Something has happened, and this is what is waited for now, and for how long."""
        self.awaited = awaited
        self._until = self._loop.time() + seconds

    def leave(self) -> None:
        """The client has left: raise in the scope at its next wait."""
        if not self._over:
            self.client_left = True
            self._end()

    def stop_listening(self) -> None:
        """From now on a disconnect is the end of the answer, as a server reports it."""
        self.body_read = False
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None

    def _look(self) -> None:
        if self._until <= self._loop.time():
            self._end()
            return
        if self.body_read and self._listener is None:
            self._listener = self._loop.create_task(self._listen())
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass  # a request without a body brings an empty piece
        self.leave()

    def _end(self) -> None:
        self._over = True
        self._timer.cancel()
        self._scope.reschedule(self._loop.time())
