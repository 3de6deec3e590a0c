"""A finished request as one frozen value: what the log, the inspector and the metrics are told.

Counts and times that are unknown are None, never zero. Nothing here observes; who does is told by
`reporting`.
"""

from typing import Final, Literal

from msgspec import Struct

from tiergate.candidates import Share
from tiergate.errors import DeadlineExceeded, Overloaded
from tiergate.exchange import Exchange, Reason
from tiergate.profile import Profile
from tiergate.sessions import owner_digest
from tiergate.tiers import Tier

Outcome = Literal[
    "ok",
    "client_error",
    "upstream_error",
    "timeout",
    "client_disconnected",
    "stream_interrupted",
    "overloaded",
]

_MICROSECONDS: Final = 1_000_000
_LONGEST: Final = 256  # characters of what a client or a provider may choose freely


class AttemptRecord(Struct, frozen=True, gc=False):
    """One call to a provider. `started_us` counts from the arrival of the request."""

    provider: str
    model: str
    status: int | None
    error: str | None
    started_us: int
    duration_us: int


class Record(Struct, frozen=True, kw_only=True, gc=False):
    """One request. `at` is Unix time, all times are in microseconds, cost in US dollars.

    `owner` is a digest. `partial` says that the tokens are those of an answer that did not end.
    `pool` is the tier's candidates as they stood when the request was decided. `overhead_us` is
    what was neither the provider's time nor a wait for it.
    """

    id: str
    client_id: str | None
    at: int
    conversation: str | None
    owner: str
    requested_tier: Tier | None
    requested_reason: Reason | None
    tier: Tier | None
    reason: Reason | None
    score: float | None
    requested_model: str | None
    provider: str | None
    model: str | None
    streaming: bool
    attempts: tuple[AttemptRecord, ...]
    status: int | None
    outcome: Outcome
    error_code: str | None
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    partial: bool
    cost: float | None
    latency_us: int
    first_token_us: int | None
    overhead_us: int | None
    trace_id: str | None
    caller_tier: Tier | None
    caller_max_tier: Tier | None
    policy: str | None
    policy_binds: bool | None
    reach: str | None
    profile: Profile | None
    pool: tuple[Share, ...]


def record_of(exchange: Exchange, latency: float) -> Record:
    """The record of a request that has ended; `latency` in seconds."""
    request, headers, decision = exchange.request, exchange.headers, exchange.decision
    requested, policy = exchange.requested, exchange.policy
    verdict = decision.verdict if decision is not None else None
    usage, attempts, last = exchange.usage, [], None
    for each in exchange.attempts:
        last = each.candidate
        attempts.append(
            AttemptRecord(
                last.provider,
                last.model,
                each.status,
                each.fault,
                round(each.started * _MICROSECONDS),
                round(each.duration * _MICROSECONDS),
            )
        )
    named = request.conversation if request is not None else None
    return Record(
        id=exchange.id,
        client_id=headers.client_request_id if headers is not None else None,
        at=round(exchange.arrived_at * _MICROSECONDS),
        conversation=named or (headers.conversation if headers is not None else None),
        owner=owner_digest(exchange.caller, headers.authorization if headers is not None else None),
        requested_tier=requested.tier if requested is not None else None,
        requested_reason=requested.reason if requested is not None else None,
        tier=exchange.tier,
        reason=decision.reason if decision is not None else None,
        score=verdict.score if verdict is not None else None,
        requested_model=_short(request.model) if request is not None else None,
        provider=last.provider if last is not None else None,
        model=last.model if last is not None else None,
        streaming=request.stream if request is not None else False,
        attempts=tuple(attempts),
        status=exchange.status,
        outcome=outcome_of(exchange),
        error_code=_short(exchange.error_code),
        input_tokens=usage.prompt_tokens if usage is not None else None,
        cached_tokens=usage.cached_tokens if usage is not None else None,
        output_tokens=usage.completion_tokens if usage is not None else None,
        partial=usage is not None and exchange.is_partial,
        cost=exchange.cost,
        latency_us=round(latency * _MICROSECONDS),
        first_token_us=_us(exchange.first_token),
        overhead_us=_us(exchange.overhead),
        trace_id=exchange.trace.id if exchange.trace is not None else None,
        caller_tier=exchange.caller.tier,
        caller_max_tier=exchange.caller.max_tier,
        policy=policy.rule.name if policy is not None else None,
        policy_binds=policy.binding if policy is not None else None,
        reach=exchange.reach.digest if exchange.reach is not None else None,
        profile=exchange.profile,
        pool=exchange.pool,
    )


def outcome_of(exchange: Exchange) -> Outcome:
    """What became of a request, in one word of CONTRACT section 14."""
    error, code = exchange.error_status, exchange.error_code
    if error is None and code is not None:
        return "stream_interrupted"
    if exchange.client_left or exchange.status is None:
        return "client_disconnected"
    if error is None:
        return "ok"
    if error == Overloaded.status and code == Overloaded.code:
        return "overloaded"
    if error == DeadlineExceeded.status:
        return "timeout"
    # A 429 of `authorize` is the client's; after our own attempts it is the providers'.
    if error >= 500 or (error == 429 and exchange.attempts):
        return "upstream_error"
    return "client_error"


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * _MICROSECONDS)
