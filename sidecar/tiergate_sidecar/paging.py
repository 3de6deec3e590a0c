"""The request log a page at a time, the oldest first, each found by the index and never skipped by
what is written or deleted meanwhile. Imports SQLAlchemy: only those who read a log import this.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Row, Select, and_, or_

from tiergate import log_table

_c: Final = log_table.c

Rows = Sequence[Row[Any]]


def paged(
    run: Callable[[Select[Any]], Rows],
    statement: Select[Any],
    size: int,
    *,
    last: Row[Any] | None = None,
) -> Iterator[Rows]:
    """Pages of `size` rows of a statement that has `at` and `id`; the last one may be empty.

    They begin behind the row `last`, where one is given.
    """
    ordered = statement.order_by(_c.at, _c.id).limit(size)
    while True:
        page = ordered
        if last is not None:
            same = and_(_c.at == last.at, _c.id > last.id)
            page = ordered.where(_c.at >= last.at, or_(_c.at > last.at, same))
        rows = run(page)
        yield rows
        if len(rows) < size:
            return
        last = rows[-1]
