"""Work for a page in a thread of its own, which keeps neither the loop nor the process from ending.

Not the loop's own pool: a loop waits for that when it ends, and a few hung calls would fill it.
What the work is, the caller knows.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Undone(Exception):
    """Some work was not begun, or has not ended in time. The message says why, without a period."""


class Crowded(Undone):
    """As much is under way as may be."""


class Late(Undone):
    """It was told to stop, and is left to itself."""


class Threads:
    """Work of one kind: `at_once` pieces at most, for each of which `seconds` are waited.

    One that is late counts until it returns, so that no more threads hang than that.
    """

    def __init__(self, name: str, *, at_once: int, seconds: float) -> None:
        self._name = name
        self._at_once = at_once
        self._seconds = seconds
        self.under_way = 0

    async def run(self, work: Callable[[], T], stop: Callable[[], None]) -> T:
        """The result of `work`; raises `Undone`, and what the work raises.

        `stop` is called when nobody waits any more.
        """
        if self.under_way >= self._at_once:
            raise Crowded("too much is under way")
        future = self._begin(work)
        self.under_way += 1
        future.add_done_callback(self._leave)
        try:
            await asyncio.wait({future}, timeout=self._seconds)
        finally:
            if not future.done():
                stop()
        if not future.done():
            raise Late("it does not end in time")
        return future.result()

    def _begin(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                tell = partial(future.set_result, work())
            except Exception as error:  # noqa: BLE001  # whoever asked gets it
                tell = partial(future.set_exception, error)
            with suppress(RuntimeError):  # the loop has ended before us
                loop.call_soon_threadsafe(tell)

        try:
            threading.Thread(target=run, daemon=True, name=self._name).start()
        except RuntimeError:
            raise Undone("no thread is left") from None
        return future

    def _leave(self, future: "asyncio.Future[Any]") -> None:
        self.under_way -= 1
        future.exception()  # of one that is late, nobody else asks
