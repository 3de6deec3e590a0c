"""One timer for many waits.

A stream waits hundreds of times, each wait with its limit. A timer for each would cost more than
the relaying; here a limit is an attribute, and the one timer looks at it when it fires.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType


class Watch:
    """A scope whose limit may be moved at any time; past it, `TimeoutError` is raised.

    To be entered by a task with a plain `with`: neither end of it waits.
    """

    def __init__(self) -> None:
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # the timer's own time: uvloop's handles do not always know theirs
        self._ending: asyncio.Handle | None = None
        self._ended = False

    def __enter__(self) -> "Watch":
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)  # told the loop, it does not ask the system
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ending is not None:
            self._ending.cancel()
        # As `asyncio.timeout` has it: a cancellation that is not ours goes on as it came.
        ours = self._ended and self._task.uncancel() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def time(self) -> float:
        return self._loop.time()

    def after(self, seconds: float, call: "Callable[[Watch], object]") -> asyncio.TimerHandle:
        """Call with this watch after so many seconds, unless the handle is cancelled before."""
        return self._loop.call_later(seconds, call, self)

    def limit(self, seconds: float | None) -> None:
        """Allow `seconds` from now for what comes next; None allows any time."""
        if self._ending is not None:  # fired, but what it waited for came first
            self._ending.cancel()
            self._ending = None
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
        if self._ending is None:  # in the next turn: what comes in this one has come in time
            self._ending = self._loop.call_soon(self._end)

    def _end(self) -> None:
        self._ended = True
        self._task.cancel()

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
