"""Requests that have ended, for the tests of whoever shows them."""

from typing import Any

from msgspec.structs import replace

from tiergate import AttemptRecord, Record, Share


def attempt(
    provider: str = "p1",
    model: str = "m",
    *,
    started_us: int = 500,
    duration_us: int = 40_000,
    status: int | None = 200,
    error: str | None = None,
) -> AttemptRecord:
    return AttemptRecord(provider, model, status, error, started_us, duration_us)


def record(id: str, **changes: Any) -> Record:
    """A request that was answered at once; `changes` replace what is said of it."""
    plain = Record(
        id=id,
        client_id=None,
        at=1_700_000_000_000_000,
        conversation=None,
        owner="anonymous",
        requested_tier="simple",
        requested_reason="explicit",
        tier="simple",
        reason="explicit",
        score=None,
        requested_model="gpt-4o",
        provider="p1",
        model="m",
        streaming=False,
        attempts=(attempt(),),
        status=200,
        outcome="ok",
        error_code=None,
        input_tokens=10,
        cached_tokens=None,
        output_tokens=5,
        partial=False,
        cost=0.0000125,
        latency_us=41_000,
        first_token_us=None,
        overhead_us=900,
        trace_id=None,
        caller_tier=None,
        caller_max_tier=None,
        policy=None,
        policy_binds=None,
        reach=None,
        profile=None,
        pool=(Share("p1", "m", "available", 1.0, 0),),
    )
    return replace(plain, **changes)
