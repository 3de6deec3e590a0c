"""Records and databases for the tests of the request log."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from pgserver import PgServer

from tiergate.estimate import Estimate
from tiergate.profile import Profile
from tiergate.record import AttemptRecord, Record

AT = 1_700_000_000_123_456
ATTEMPT = AttemptRecord(
    provider="p1", model="m1", status=200, error=None, started_us=120, duration_us=1_200_000
)
PROFILE = Profile(Estimate(12, 256, output_assumed=True), ("tools",), {"length": 0.25})
KINDS = ("sqlite", "postgresql")


def record(name: str = "r1", **fields: Any) -> Record:
    """A request that was served; `fields` are what is different."""
    served: dict[str, Any] = {
        "client_id": None,
        "at": AT,
        "conversation": None,
        "owner": "0" * 16,
        "requested_tier": "simple",
        "requested_reason": "explicit",
        "tier": "moderate",
        "reason": "session",
        "score": None,
        "requested_model": "gpt-4o",
        "provider": "p1",
        "model": "m1",
        "streaming": False,
        "attempts": (ATTEMPT,),
        "status": 200,
        "outcome": "ok",
        "error_code": None,
        "input_tokens": 10,
        "cached_tokens": 0,
        "output_tokens": 5,
        "partial": False,
        "cost": 1.25e-5,
        "latency_us": 1_200_300,
        "first_token_us": None,
        "overhead_us": 230,
        "trace_id": None,
        "caller_tier": None,
        "caller_max_tier": None,
        "policy": None,
        "policy_binds": None,
        "reach": None,
        "profile": None,
        "pool": (),
    }
    return Record(id=name, **(served | fields))


class Database:
    """A database of either kind, empty at first, and a look into it from the outside."""

    def __init__(self, url: str, server: PgServer | None) -> None:
        self.url = url
        self.server = server

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        if self.server is not None:
            return self.server.ask(statement)
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
            found = connection.execute(statement).fetchall()
            connection.commit()
        return found

    def ids(self) -> list[str]:
        return [name for (name,) in self.ask("SELECT id FROM requests ORDER BY id")]


@asynccontextmanager
async def database(kind: str, folder: Path) -> AsyncIterator[Database]:
    if kind == "sqlite":
        yield Database(f"sqlite:///{folder / 'log.db'}", None)
    else:
        async with PgServer() as server:
            yield Database(server.url, server)
