"""History in the database of the request log: read only, in daemon threads, with a time limit.

The statements are in `log_queries`, which needs SQLAlchemy and is imported when somebody asks.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from tiergate import RequestRow, read_log_url
from tiergate_sidecar.errors import HistoryUnavailable
from tiergate_sidecar.in_thread import Crowded, Late, Threads, Undone
from tiergate_sidecar.queries import Named, Page, Query, Source, Stats

if TYPE_CHECKING:
    from tiergate_sidecar.log_queries import Reader

T = TypeVar("T")

READ_SECONDS: Final = 5.0
"""For one answer: a range of a million rows takes about one."""

AT_ONCE: Final = 4
"""Answers; beyond it 503 at once, so that a page that is asked too often takes no more threads."""


class SqlHistory:
    """Answers from the log at `url`; raises `ConfigError`, and `HistoryUnavailable` when asked."""

    source: Source = "request_log"

    def __init__(self, url: str, *, seconds: float = READ_SECONDS) -> None:
        self._url = read_log_url(url)
        self.threads = Threads("tiergate-history", at_once=AT_ONCE, seconds=seconds)

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

    def over(
        self, query: Query, most: int, take: Callable[[bool, Iterator[RequestRow]], T]
    ) -> tuple[Callable[[], T], Callable[[], None]]:
        return self._work(lambda reader: take(*reader.newest(query, most)))

    async def _ask(self, question: Callable[["Reader"], T]) -> T:
        try:
            return await self.threads.run(*self._work(question))
        except Crowded:
            text = "Too many look into the request log at once."
        except Late:
            text = "The request log does not answer in time."
        except Undone as error:
            text = f"The request log cannot be read: {error}."
        raise HistoryUnavailable(text, retry_after=1)

    def _work(
        self, question: Callable[["Reader"], T]
    ) -> tuple[Callable[[], T], Callable[[], None]]:
        readers: list[Reader] = []

        def work() -> T:
            # SQLAlchemy: most processes have it loaded by now, for the log's own thread.
            from tiergate_sidecar.log_queries import Reader

            with Reader(self._url) as reader:
                readers.append(reader)
                return question(reader)

        def stop() -> None:
            for reader in readers:
                reader.interrupt()

        return work, stop
