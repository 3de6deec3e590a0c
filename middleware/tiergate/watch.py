"""One timer for many waits.

A stream waits hundreds of times, each wait with its limit. A timer for each would cost more than
the relaying; here a limit is an attribute, and the one timer looks at it when it fires.
"""

import asyncio
from types import TracebackType


class Watch:
    """A scope whose limit may be moved at any time; past it, `TimeoutError` is raised."""

    def __init__(self) -> None:
        self._scope = asyncio.timeout(None)  # the standard library's care for cancellation
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # the timer's own time: uvloop's handles do not always know theirs
        self._ending = False

    async def __aenter__(self) -> "Watch":
        await self._scope.__aenter__()
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._scope.__aexit__(kind, error, traceback)

    def time(self) -> float:
        return self._loop.time()

    def limit(self, seconds: float | None) -> None:
        """Allow `seconds` from now for what comes next; None allows any time."""
        if self._ending:  # fired, but what it waited for came first
            self._ending = False
            self._scope.reschedule(None)
        if seconds is None:
            self._until = None
            return
        self._until = until = self._loop.time() + seconds
        if self._timer is None:
            self._look_at(until)
        elif until < self._due:
            self._timer.cancel()
            self._look_at(until)

    def end(self) -> None:
        """Raise `TimeoutError` in the scope at its next wait."""
        if self._ending:
            return
        self._ending = True
        self._scope.reschedule(self._loop.time())

    def _look_at(self, due: float) -> None:
        self._due = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._until is None:
            return
        if self._until > self._loop.time():
            self._look_at(self._until)
        else:
            self.end()
