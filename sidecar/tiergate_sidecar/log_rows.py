"""The rows of a database in the order of their time, a page at a time, by a connection that only
reads. Imports SQLAlchemy: only `replaying` imports this, and only for a database.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from tiergate import ConfigError, LogUrl, RequestRow, log_engine, log_table
from tiergate_sidecar.paging import paged

_c: Final = log_table.c

_UNREAD: Final = frozenset({"attempts"})
"""Columns that nobody tries anything on: JSON that would be half of the work."""

PAGE: Final = 5000
"""Rows, about 3 MB: each page is a transaction of its own, so that none is held for long."""


def pages(url: LogUrl, since: int, until: int) -> Iterator[list[dict[str, Any]]]:
    """Rows as values by column, the oldest first; raises `ConfigError`.

    What an older log does not have, or is not read, is left out.
    """
    try:
        with log_engine(url, read_only=True).connect() as connection:
            names = _names(connection, url)

            def run(page: Select[Any]) -> Sequence[Row[Any]]:
                with connection.begin():
                    return connection.execute(page).all()

            asked = select(*(_c[name] for name in names)).where(_c.at >= since, _c.at <= until)
            for found in paged(run, asked, PAGE):
                yield [dict(zip(names, row, strict=True)) for row in found]
    except ImportError as error:
        raise ConfigError(f"{url.name} cannot be read: {error}") from None
    except (SQLAlchemyError, ValueError) as error:  # or JSON that is none
        said = url.without_secrets(str(getattr(error, "orig", None) or error))
        raise ConfigError(f"{url.name} cannot be read: {' '.join(said.split())}") from None


def _names(connection: Connection, url: LogUrl) -> list[str]:
    """Of the columns that there are, and are read."""
    with connection.begin():
        looked_at = inspect(connection)
        if not looked_at.has_table(log_table.name):
            raise ConfigError(f"{url.name} is no request log: it has no table {log_table.name!r}")
        there = {each["name"] for each in looked_at.get_columns(log_table.name)}
    if not {"id", "at"} <= there:
        raise ConfigError(f"{url.name} is no request log: its table {log_table.name!r} is another")
    return [name for name in RequestRow.__struct_fields__ if name in there - _UNREAD]
