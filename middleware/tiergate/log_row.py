"""One row of the request log: its columns, their order, and the bytes that a store is handed.

The same names stand in SQLite, in PostgreSQL and on every JSON line. Where rows go is not known
here.
"""

from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec
from msgspec import Struct

from tiergate.profile import Profile
from tiergate.record import AttemptRecord, Outcome, Record
from tiergate.tiers import Tier

_Tokens = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""As many as a column holds: with more nothing can be reckoned."""


class RequestRow(Struct, frozen=True, gc=False):
    """A finished request as it is kept; None is unknown.

    `at` is Unix time, all times are in integer microseconds. `cost` is in US dollars. `attempts`
    and `profile` are JSON in a database. `owner` is a digest. What has a default came later: it is
    None in older rows.
    """

    id: str
    client_id: str | None
    at: int
    conversation: str | None
    owner: str
    requested_tier: Tier | None
    tier: Tier | None
    reason: str | None
    score: float | None
    requested_model: str | None
    provider: str | None
    model: str | None
    streaming: bool
    attempts: tuple[AttemptRecord, ...]
    status: int | None
    outcome: Outcome
    error_code: str | None
    input_tokens: _Tokens | None
    cached_tokens: _Tokens | None
    output_tokens: _Tokens | None
    partial: bool
    cost: float | None
    latency_us: int
    first_token_us: int | None
    overhead_us: int | None
    trace_id: str | None
    requested_reason: str | None = None
    caller_tier: Tier | None = None
    caller_max_tier: Tier | None = None
    policy: str | None = None
    policy_binds: bool | None = None
    reach: str | None = None
    profile: Profile | None = None


COLUMNS: Final = RequestRow.__struct_fields__

_NUL: Final = b"\\u0000"  # found, too, where a text has these six characters: that costs time only

_ATTEMPTS: Final = COLUMNS.index("attempts")
_PROFILE: Final = COLUMNS.index("profile")

_values = attrgetter(*COLUMNS)


def column_values(record: Record) -> list[Any]:
    """What the columns of a database hold, in their order; what is no plain value is JSON text."""
    values = list(_values(record))
    values[_ATTEMPTS] = msgspec.json.encode(values[_ATTEMPTS]).decode()
    if values[_PROFILE] is not None:
        values[_PROFILE] = msgspec.json.encode(values[_PROFILE]).decode()
    return values


def row_of(record: Record) -> RequestRow:
    """The row of a record."""
    return RequestRow(*_values(record))


def encoded(record: Record) -> bytes:
    """The row as a JSON object. PostgreSQL has no NUL in a text: one from a client is replaced."""
    said = msgspec.json.encode(row_of(record))
    if _NUL in said:
        said = msgspec.json.encode(_without_nul(msgspec.to_builtins(row_of(record))))
    return said


def _without_nul(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nul(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(each) for each in value]
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
