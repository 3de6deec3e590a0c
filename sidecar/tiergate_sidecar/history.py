"""The requests of the past, wherever they are kept: what the operators' pages ask.

What is asked and answered is in `queries`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from tiergate import Config, Record, RequestRow, read_log_url
from tiergate_sidecar.queries import Named, Page, Query, Source, Stats
from tiergate_sidecar.ring_history import RingHistory
from tiergate_sidecar.sql_history import SqlHistory

T = TypeVar("T")


class Ring(Protocol):
    """The last requests, in memory."""

    def records(self) -> Sequence[Record]:
        """Newest first."""


class History(Protocol):
    """Raises `HistoryUnavailable` where its store does not answer in time."""

    @property
    def source(self) -> Source:
        """Where they are kept."""

    async def requests(self, query: Query) -> Page: ...

    async def stats(self, query: Query) -> Stats: ...

    async def request(self, name: str) -> RequestRow | None:
        """By our id, or else the last one with this id of its client."""

    async def knows(self, kind: Named, name: str) -> bool:
        """Whether any request that is kept, of whatever time, ended there; in any case."""

    def over(
        self, query: Query, most: int, take: Callable[[bool, Iterator[RequestRow]], T]
    ) -> tuple[Callable[[], T], Callable[[], None]]:
        """What does `take` with the newest `most` requests, for a thread, and what interrupts it.

        `take` gets them oldest first, and is told whether there are older ones.
        """


def history_of(config: Config, ring: Ring) -> History:
    """The request log where it can be asked, else the last requests; opens nothing."""
    url = config.request_log.url
    if url and read_log_url(url).kind != "stdout":
        return SqlHistory(url)
    return RingHistory(ring)
