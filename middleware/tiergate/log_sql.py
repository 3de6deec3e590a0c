"""Rows in SQLite and in PostgreSQL, through SQLAlchemy Core, on one connection.

Imports SQLAlchemy at once and psycopg when it connects: only the writer's thread imports this.
Foreign exceptions are translated here.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sqlalchemy import (
    Connection,
    Engine,
    Insert,
    Text,
    bindparam,
    cast,
    column,
    create_engine,
    delete,
    event,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from tiergate.log_row import COLUMNS, column_values, encoded
from tiergate.log_schema import log_table, migrate
from tiergate.log_store import LogDown, RowsRefused
from tiergate.log_url import LogUrl
from tiergate.record import Record

if TYPE_CHECKING:
    import psycopg

BUSY_SECONDS: Final = 1.0
"""How long a statement waits for SQLite's lock; the writer has patience beyond it."""

STATEMENT_SECONDS: Final = 10
"""For one statement in PostgreSQL, waiting for locks included: a batch takes 0.01 s."""

_CONNECTING: Final[dict[str, Any]] = {
    "application_name": "tiergate",
    "connect_timeout": 5,
    # A peer that is gone without a word is noticed after half a minute.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def log_engine(url: LogUrl, *, read_only: bool = False) -> Engine:
    """An engine without a pool, for the writer of a log or for its readers. Opens nothing yet.

    A transaction takes SQLite's write lock at its beginning, unless it is `read_only`.
    """
    if url.kind == "sqlite":
        engine = create_engine(
            "sqlite://", poolclass=NullPool, creator=_sqlite(url.where, read_only)
        )
        begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
    else:
        engine = create_engine(
            "postgresql+psycopg://",
            poolclass=NullPool,
            use_native_hstore=False,
            creator=_postgresql(url),
        )
        begin = f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000}"
        begin += "; SET TRANSACTION READ ONLY" if read_only else ""
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


class SqlStore:
    """A database, opened and brought up to date on first use and after every failure."""

    def __init__(self, url: LogUrl) -> None:
        self._url = url
        self._engine = log_engine(url)
        self._connection: Connection | None = None
        self._insert = _insert_values if url.kind == "sqlite" else _insert_json

    def open(self) -> None:
        with self._transaction():
            pass  # it is there, and can be written

    def write(self, records: Sequence[Record]) -> None:
        with self._transaction() as connection:
            self._insert(connection, records)

    def prune(self, before_us: int, most: int) -> int:
        old = select(log_table.c.id).where(log_table.c.at < before_us)
        old = old.order_by(log_table.c.at).limit(most)
        with self._transaction() as connection:
            return connection.execute(delete(log_table).where(log_table.c.id.in_(old))).rowcount

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            if self._connection is None:
                self._connection = self._open()
            with self._connection.begin():
                yield self._connection
        except (DataError, IntegrityError) as error:
            raise RowsRefused(self._said(error)) from None
        except SQLAlchemyError as error:
            self.close()
            raise LogDown(self._said(error)) from None
        except OSError as error:
            raise LogDown(f"{self._url.name}: {error.strerror}") from None

    def _said(self, error: SQLAlchemyError) -> str:
        return self._url.without_secrets(str(getattr(error, "orig", None) or error).strip())

    def _open(self) -> Connection:
        if self._url.kind == "sqlite":
            _make_private(self._url.where)
        connection = self._engine.connect()
        try:
            with connection.begin():
                migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _make_private(file: str) -> None:
    """A new file is its owner's alone; SQLite gives those beside it the same mode."""
    os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _sqlite(file: str, read_only: bool) -> Callable[[], sqlite3.Connection]:
    name = f"file:{quote(file)}?mode={'ro' if read_only else 'rw'}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            name, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            if not read_only:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    return connect


def _postgresql(url: LogUrl) -> "Callable[[], psycopg.Connection]":
    settings = {name: value for name, value in _CONNECTING.items() if name not in url.options}

    def connect() -> "psycopg.Connection":
        import psycopg  # an extra: only those who have a PostgreSQL need it

        # A prepared statement would be missed by a pooler's other connections.
        return psycopg.connect(url.where, prepare_threshold=None, **settings)

    return connect


def _insert_values(connection: Connection, records: Sequence[Record]) -> None:
    """Into SQLite: many rows a statement, in few sizes, for a statement is compiled once.

    11 µs of CPU a row (measured); JSON taken apart by `json_each` costs 24, and SQLite runs here.
    `executemany` costs 8, but asks for the GIL back after each row, and waits for it each time.
    """
    done = 0
    for size, statement in _VALUES.items():
        while len(records) - done >= size:
            values: list[Any] = []
            for record in records[done : done + size]:
                values += column_values(record)
            connection.exec_driver_sql(statement, tuple(values))
            done += size


def _values_statement(size: int) -> str:
    one = str(_INSERT_SQLITE.compile(dialect=sqlite.dialect()))
    row = f"({', '.join('?' * len(COLUMNS))})"
    assert row in one
    return one.replace(row, ", ".join([row] * size))


_INSERT_SQLITE: Final = sqlite.insert(log_table).on_conflict_do_nothing()
_VALUES: Final = {size: _values_statement(size) for size in (64, 16, 4, 1)}


def _insert_json(connection: Connection, records: Sequence[Record]) -> None:
    """Into PostgreSQL: one statement with one parameter, which the server takes apart."""
    said = b"[%s]" % b",".join([encoded(record) for record in records])
    connection.execute(_INSERT_POSTGRESQL, {"rows": said.decode()})


def _json_statement() -> Insert:
    batch = cast(bindparam("rows", type_=Text), postgresql.JSON)
    columns = [column(each.name, each.type) for each in log_table.columns]
    rows = func.json_to_recordset(batch).table_valued(*columns, name="r")
    found = select(*rows.render_derived(with_types=True).columns)
    return postgresql.insert(log_table).from_select(COLUMNS, found).on_conflict_do_nothing()


_INSERT_POSTGRESQL: Final = _json_statement()
