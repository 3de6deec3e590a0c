"""History over the last requests in memory, for those who keep no log that can be asked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from tiergate import Record, RequestRow, row_of
from tiergate_sidecar.queries import (
    UNKNOWN,
    Costs,
    Counts,
    Named,
    Page,
    Performance,
    Query,
    Source,
    Stats,
    Totals,
    page_of,
    stats_of,
)

T = TypeVar("T")


class _Records(Protocol):
    def records(self) -> Sequence[Record]: ...


class RingHistory:
    """Answers from `ring.records()`, newest first: some thousands, so each answer looks at all."""

    source: Source = "memory"

    def __init__(self, ring: _Records) -> None:
        self._ring = ring

    async def requests(self, query: Query) -> Page:
        rows = sorted(self._found(query), key=lambda row: (row.at, row.id), reverse=True)
        if query.sort != "timestamp":
            rows = _by(query, rows)
        elif query.order == "asc":
            rows.reverse()
        return page_of(query, rows[query.offset : query.offset + query.per_page], len(rows))

    async def stats(self, query: Query) -> Stats:
        rows = list(self._found(query))
        groups: dict[str, list[RequestRow]] = {}
        if query.group_by is not None:
            for row in rows:
                groups.setdefault(getattr(row, query.group_by) or UNKNOWN, []).append(row)
        return stats_of(query, _totals(rows), {name: _totals(of) for name, of in groups.items()})

    async def request(self, name: str) -> RequestRow | None:
        rows = [row_of(each) for each in self._ring.records()]
        ours = [row for row in rows if row.id == name]
        return next(iter([*ours, *(row for row in rows if row.client_id == name)]), None)

    async def knows(self, kind: Named, name: str) -> bool:
        rows = (row_of(each) for each in self._ring.records())
        return any((getattr(row, kind) or "").lower() == name.lower() for row in rows)

    def over(
        self, query: Query, most: int, take: Callable[[bool, Iterator[RequestRow]], T]
    ) -> tuple[Callable[[], T], Callable[[], None]]:
        records = self._ring.records()  # now: a thread would meet a ring that turns

        def work() -> T:
            rows = [row for row in map(row_of, records) if _is_of(row, query)]
            rows.sort(key=lambda row: (row.at, row.id))
            return take(len(rows) > most, iter(rows[-most:]))

        return work, lambda: None

    def _found(self, query: Query) -> Iterable[RequestRow]:
        rows = (row_of(each) for each in self._ring.records())
        return (row for row in rows if _is_of(row, query))


def _is_of(row: RequestRow, query: Query) -> bool:
    return (
        query.since <= row.at <= query.until
        and (query.model is None or query.model.lower() == (row.model or "").lower())
        and (query.provider is None or query.provider.lower() == (row.provider or "").lower())
        and (query.tier is None or query.tier == (row.tier or UNKNOWN))
        and (query.outcome is None or query.outcome == row.outcome)
        and (query.success is None or query.success == (row.outcome == "ok"))
        and (query.streaming is None or query.streaming == row.streaming)
    )


def _by(query: Query, rows: list[RequestRow]) -> list[RequestRow]:
    """Sorted by a number; what has none comes last either way, and newer before older."""
    name = {"cost": "cost", "latency": "latency_us"}[query.sort]
    known = [row for row in rows if getattr(row, name) is not None]
    # Sorting twice keeps the order of equals, and `reverse` does so too.
    known.sort(key=lambda row: getattr(row, name), reverse=query.order == "desc")
    return known + [row for row in rows if getattr(row, name) is None]


def _totals(rows: Sequence[RequestRow]) -> Totals:
    total, success = len(rows), sum(row.outcome == "ok" for row in rows)
    latency = round(sum(row.latency_us for row in rows) / total) if rows else None
    return Totals(
        counts=Counts(total, success, total - success, sum(row.streaming for row in rows)),
        costs=Costs(
            total_cost=sum(row.cost or 0.0 for row in rows),
            total_input_tokens=sum(row.input_tokens or 0 for row in rows),
            total_cached_tokens=sum(row.cached_tokens or 0 for row in rows),
            total_output_tokens=sum(row.output_tokens or 0 for row in rows),
            without_cost=sum(row.cost is None for row in rows),
        ),
        performance=Performance(latency),
    )
