"""History in the database of the request log: read only, in daemon threads, with a time limit.

The statements are in `log_queries`, which needs SQLAlchemy and is imported when somebody asks.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tiergate import RequestRow, read_log_url
from tiergate_sidecar.errors import HistoryUnavailable
from tiergate_sidecar.queries import Named, Page, Query, Stats

if TYPE_CHECKING:
    from tiergate_sidecar.log_queries import Reader

T = TypeVar("T")

READ_SECONDS: Final = 5.0
"""For one answer: a range of a million rows takes about one."""

AT_ONCE: Final = 4
"""Answers; beyond it 503 at once, so that a page that is asked too often takes no more threads."""


class SqlHistory:
    """Answers from the log at `url`; raises `ConfigError`, and `HistoryUnavailable` when asked."""

    def __init__(self, url: str, *, seconds: float = READ_SECONDS) -> None:
        self._url = read_log_url(url)
        self._seconds = seconds
        self._under_way = 0

    def __repr__(self) -> str:
        return f"<SqlHistory {self._url.name}>"

    async def requests(self, query: Query) -> Page:
        return await self._ask(lambda reader: reader.requests(query))

    async def stats(self, query: Query) -> Stats:
        return await self._ask(lambda reader: reader.stats(query))

    async def request(self, name: str) -> RequestRow | None:
        return await self._ask(lambda reader: reader.request(name))

    async def knows(self, kind: Named, name: str) -> bool:
        return await self._ask(lambda reader: reader.knows(kind, name))

    async def _ask(self, question: Callable[["Reader"], T]) -> T:
        if self._under_way >= AT_ONCE:
            raise HistoryUnavailable("Too many look into the request log at once.", retry_after=1)
        self._under_way += 1
        readers: list[Reader] = []

        def answer() -> T:
            # SQLAlchemy: most processes have it loaded by now, for the log's own thread.
            from tiergate_sidecar.log_queries import Reader

            with Reader(self._url) as reader:
                readers.append(reader)
                return question(reader)

        work = self._in_thread(answer)
        try:
            await asyncio.wait({work}, timeout=self._seconds)
        finally:
            if not work.done():
                for reader in readers:
                    reader.interrupt()
        if not work.done():
            raise HistoryUnavailable("The request log does not answer in time.", retry_after=1)
        return work.result()

    def _in_thread(self, answer: Callable[[], T]) -> "asyncio.Future[T]":
        """Its end, in a thread that keeps no process from ending: a frozen database may hold it."""
        loop = asyncio.get_running_loop()
        work: asyncio.Future[T] = loop.create_future()
        work.add_done_callback(self._leave)

        def run() -> None:
            try:
                tell = partial(work.set_result, answer())
            except Exception as error:  # noqa: BLE001  # whoever asked gets it
                tell = partial(work.set_exception, error)
            with suppress(RuntimeError):  # the loop has ended before us
                loop.call_soon_threadsafe(tell)

        try:
            threading.Thread(target=run, daemon=True, name="tiergate-history").start()
        except RuntimeError:  # the system has no thread for us
            text = "The request log cannot be read: no thread is left."
            work.set_exception(HistoryUnavailable(text, retry_after=1))
        return work

    def _leave(self, work: "asyncio.Future[Any]") -> None:
        self._under_way -= 1
        work.exception()  # of one that is late, nobody else asks
