"""The statements that read the request log. Imports SQLAlchemy: only `sql_history` imports this."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Self

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    case,
    event,
    func,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from tiergate import LogUrl, RequestRow, log_engine, log_table
from tiergate_sidecar.errors import HistoryUnavailable
from tiergate_sidecar.paging import paged
from tiergate_sidecar.queries import (
    UNKNOWN,
    Costs,
    Counts,
    Named,
    Page,
    Performance,
    Query,
    Stats,
    Totals,
    page_of,
    stats_of,
)

_c: Final = log_table.c

_SORTED_BY: Final = {"timestamp": _c.at, "cost": _c.cost, "latency": _c.latency_us}
_GROUPED_BY: Final = {"model": _c.model, "tier": _c.tier}
_NAMED: Final = {"model": _c.model, "provider": _c.provider}
_MOST_GROUPS: Final = 1000
_AT_ONCE: Final = 100  # rows of a long answer: a millisecond or two, in which the loop waits

_SUMS: Final = (
    func.count(),
    func.count(case((_c.outcome == "ok", 1))),
    func.count(case((_c.streaming, 1))),
    func.coalesce(func.sum(_c.cost), 0.0),
    func.coalesce(func.sum(_c.input_tokens), 0),
    func.coalesce(func.sum(_c.cached_tokens), 0),
    func.coalesce(func.sum(_c.output_tokens), 0),
    func.count(case((_c.cost.is_(None), 1))),
    func.sum(_c.latency_us),
)


class Reader:
    """One connection that may only read, for one answer, in one thread. A context manager.

    Raises `HistoryUnavailable`; `interrupt` may be called from another thread.
    """

    def __init__(self, url: LogUrl) -> None:
        self._url = url
        self._engine = log_engine(url, read_only=True)
        self._connection: Connection | None = None
        self._driver: Any = None
        # Before SQLAlchemy asks the first question of its own, which a frozen server leaves open.
        event.listen(self._engine, "connect", self._connected, insert=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def interrupt(self) -> None:
        """End what SQLite is at, or hang up on PostgreSQL, which may be frozen.

        One that is still connecting has a time limit of its own.
        """
        driver = self._driver
        if driver is None:
            return
        if self._url.kind == "sqlite":
            driver.interrupt()
            return
        with suppress(Exception):  # it has just been closed: then nobody waits for it
            # Not the driver's own descriptor: its thread may close that one under us.
            line = socket.socket(fileno=os.dup(driver.fileno()))
            line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _connected(self, driver: Any, _: object) -> None:
        self._driver = driver

    def requests(self, query: Query) -> Page:
        found = _conditions(query)
        total = self._rows(select(func.count()).where(*found))[0][0]
        if query.offset >= total:  # however far: no store is asked for an offset it cannot count
            return page_of(query, (), total)
        by = _SORTED_BY[query.sort]
        ordered = (by.desc() if query.order == "desc" else by.asc()).nulls_last()
        statement = select(log_table).where(*found).order_by(ordered, *_newest_first(query))
        rows = self._rows(statement.offset(query.offset).limit(query.per_page))
        return page_of(query, map(_row, rows), total)

    def stats(self, query: Query) -> Stats:
        found, groups = _conditions(query), {}
        if query.group_by is not None:
            name = _GROUPED_BY[query.group_by]
            grouped = select(name, *_SUMS).where(*found).group_by(name).limit(_MOST_GROUPS)
            groups = {row[0] or UNKNOWN: _totals(row[1:]) for row in self._rows(grouped)}
        everything = self._rows(select(*_SUMS).where(*found))[0]
        return stats_of(query, _totals(everything), groups)

    def request(self, name: str) -> RequestRow | None:
        for column in (_c.id, _c.client_id):
            newest = select(log_table).where(column == name).order_by(_c.at.desc()).limit(1)
            for row in self._rows(newest):
                return _row(row)
        return None

    def newest(self, query: Query, most: int) -> tuple[bool, Iterator[RequestRow]]:
        """The newest so many of a query, the oldest first, and whether there are older ones.

        They are read a few at a time: `query` may be of more than memory holds.
        """
        found = _conditions(query)
        before = select(_c.at, _c.id).where(*found).order_by(_c.at.desc(), _c.id.desc())
        older = self._rows(before.offset(most).limit(1))
        pages = paged(
            self._rows,
            select(log_table).where(*found),
            _AT_ONCE,
            last=older[0] if older else None,
        )
        return bool(older), (_row(row) for page in pages for row in page)

    def knows(self, kind: Named, name: str) -> bool:
        there = func.lower(_NAMED[kind]) == name.lower()
        return bool(self._rows(select(_c.id).where(there).limit(1)))

    def _rows(self, statement: Select[Any]) -> list[Row[Any]]:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                return list(self._connection.execute(statement).all())
        except (SQLAlchemyError, ValueError) as error:  # or JSON that is none
            said = self._url.without_secrets(str(getattr(error, "orig", None) or error).strip())
            text = f"The request log cannot be read: {said}"
            raise HistoryUnavailable(text, retry_after=1) from None


def _conditions(query: Query) -> list[ColumnElement[bool]]:
    found = [_c.at >= query.since, _c.at <= query.until]
    for column, said in ((_c.model, query.model), (_c.provider, query.provider)):
        if said is not None:
            found.append(func.lower(column) == said.lower())
    if query.tier is not None:
        found.append(func.coalesce(_c.tier, UNKNOWN) == query.tier)
    if query.outcome is not None:
        found.append(_c.outcome == query.outcome)
    if query.success is not None:
        found.append(_c.outcome == "ok" if query.success else _c.outcome != "ok")
    if query.streaming is not None:
        found.append(_c.streaming.is_(query.streaming))
    return found


def _newest_first(query: Query) -> list[ColumnElement[Any]]:
    """What tells equals apart, so that no row is on two pages."""
    if query.sort == "timestamp":
        return [_c.id.desc() if query.order == "desc" else _c.id.asc()]
    return [_c.at.desc(), _c.id.desc()]


def _row(row: Row[Any]) -> RequestRow:
    values = dict(zip(RequestRow.__struct_fields__, row, strict=True))
    try:
        return msgspec.convert(values, RequestRow)
    except msgspec.ValidationError as error:
        text = f"The request log cannot be read: a row of another version has {error}."
        raise HistoryUnavailable(text, retry_after=1) from None


def _totals(row: Any) -> Totals:
    total, success, streaming, cost, given, cached, made, without, latency = row
    return Totals(
        counts=Counts(total, success, total - success, streaming),
        costs=Costs(float(cost), int(given), int(cached), int(made), without),
        performance=Performance(round(latency / total) if total else None),
    )
