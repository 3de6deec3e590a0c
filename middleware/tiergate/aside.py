"""Work that may hang on a dead disk, on threads that hold up neither the loop nor the exit.

Not the loop's own pool: that is the host's, a loop waits for it when it ends, and a few hung calls
would fill it. What the work is, the caller knows.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

from tiergate.errors import TiergateError

T = TypeVar("T")


class Busy(TiergateError):
    """As many calls as there may be at once have not returned yet."""


class Aside(Executor):
    """For `loop.run_in_executor`: each call on a daemon thread, `at_once` of them at most.

    A call whose caller has stopped waiting is left to itself, and counts until it returns.
    `submit` raises `Busy` instead of waiting for one of them.
    """

    def __init__(self, name: str, *, at_once: int = 1) -> None:
        self._name = name
        self._at_once = at_once
        self._running: list[Future[Any]] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        self._running = [each for each in self._running if not each.done()]
        if len(self._running) >= self._at_once:
            raise Busy(f"earlier calls have not returned: {len(self._running)}")
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # from here on nobody can cancel it
        work = partial(fn, *args, **kwargs)
        thread = threading.Thread(target=_run, args=(work, future), daemon=True)
        thread.name = self._name
        thread.start()
        self._running.append(future)
        return future


def _run(work: Callable[[], T], future: "Future[T]") -> None:
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001  # raised again where it is awaited
        future.set_exception(error)
