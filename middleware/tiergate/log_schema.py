"""The table of the request log, and how an older one becomes it.

Imports SQLAlchemy (0.6 s of CPU, 25 MB), so nothing imports this but who uses a database. Changes
are additive only: an older process must be able to write beside a newer one.
"""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

_tables = MetaData()

# NUMERIC keeps every digit of a price; SQLite has 64-bit floats, which keep 1e-8 of 90 million.
_Cost = Numeric(asdecimal=False)


def _first() -> list[SchemaItem]:
    """What version 1 made of the table; that is never changed."""
    return [
        Column("id", Text, primary_key=True),
        Column("client_id", Text),
        Column("at", BigInteger, nullable=False),
        Column("conversation", Text),
        Column("owner", Text, nullable=False),
        Column("requested_tier", Text),
        Column("tier", Text),
        Column("reason", Text),
        Column("score", Float(53)),
        Column("requested_model", Text),
        Column("provider", Text),
        Column("model", Text),
        Column("streaming", Boolean, nullable=False),
        Column("attempts", _json(), nullable=False),
        Column("status", Integer),
        Column("outcome", Text, nullable=False),
        Column("error_code", Text),
        Column("input_tokens", BigInteger),
        Column("cached_tokens", BigInteger),
        Column("output_tokens", BigInteger),
        Column("partial", Boolean, nullable=False),
        Column("cost", _Cost),
        Column("latency_us", BigInteger, nullable=False),
        Column("first_token_us", BigInteger),
        Column("overhead_us", BigInteger),
        Column("trace_id", Text),
        Index("requests_at", "at"),
        Index("requests_client_id", "client_id"),
        Index("requests_outcome_at", "outcome", "at"),
    ]


def _second() -> list[Column[Any]]:
    """What version 2 adds: what it takes to try another configuration on a request."""
    return [
        Column("requested_reason", Text),
        Column("caller_tier", Text),
        Column("caller_max_tier", Text),
        Column("policy", Text),
        Column("policy_binds", Boolean),
        Column("reach", Text),
        Column("profile", _json()),
    ]


def _json() -> TypeEngine[Any]:
    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


_NAME: Final = "requests"
log_table: Final = Table(_NAME, _tables, *_first(), *_second())

_version: Final = Table("requests_version", _tables, Column("version", Integer, nullable=False))


def _create(connection: Connection) -> None:
    Table(_NAME, MetaData(), *_first()).create(connection)


def _add_what_a_trial_needs(connection: Connection) -> None:
    for column in _second():
        kind = column.type.compile(connection.dialect)
        connection.execute(text(f"ALTER TABLE {_NAME} ADD COLUMN {column.name} {kind}"))


MIGRATIONS: Final[tuple[Callable[[Connection], None], ...]] = (_create, _add_what_a_trial_needs)
"""The n-th makes version n of version n - 1. One that has been released is never changed."""

_LOCK: Final = 0x7469_6572_6C6F_6731
"""Of PostgreSQL's advisory locks: the letters `tierlog1`."""


def migrate(
    connection: Connection, migrations: tuple[Callable[[Connection], None], ...] = MIGRATIONS
) -> None:
    """Make the tables as they should be, inside the transaction that `connection` is in.

    Processes that start together wait for each other: in SQLite a transaction of ours holds the
    lock from its beginning. What a newer version has made is left as it is, and nothing is written
    where nothing is to be done: the role may be one that may not.
    """
    if _is_current(connection, len(migrations)):
        return
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if not inspect(connection).has_table(_version.name):
        _version.create(connection)
        connection.execute(insert(_version), {"version": 0})
    done = connection.execute(select(_version.c.version)).scalar_one()
    for each in migrations[done:]:
        each(connection)
    connection.execute(update(_version), {"version": max(done, len(migrations))})


def _is_current(connection: Connection, wanted: int) -> bool:
    if not inspect(connection).has_table(_version.name):
        return False
    found = connection.execute(select(_version.c.version)).scalar_one_or_none()
    return found is not None and found >= wanted
