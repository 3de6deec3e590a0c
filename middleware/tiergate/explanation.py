"""What would become of a request that nobody makes: its tier, why, who would be asked, the cost.

Nothing is called, drawn or remembered. A conversation is not looked up: a session that is found is
thereby used.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from tiergate.assembly import Assembly
from tiergate.completion import Usage
from tiergate.config import Config, Failover
from tiergate.errors import ConfigUnavailable, ModelNotFound
from tiergate.exchange import Caller, Reason
from tiergate.opening import COMMIT_OF
from tiergate.request_headers import Pairs, RequestHeaders, read_headers
from tiergate.resolve import NotOurs, resolve
from tiergate.routing import pool_of, shares
from tiergate.tiers import Tier
from tiergate.times import times_of
from tiergate.wire import parse_request

BYTES_PER_TOKEN: Final = 4
"""Of English text, as arbstr's `/v1/cost` counts; code and other languages have more tokens."""

ASSUMED_OUTPUT_TOKENS: Final = 256
"""For a request that limits its answer by nothing; arbstr's number."""

MOST_OUTPUT_TOKENS: Final = 2**31
"""Of an estimate: no model writes so many, and a cost must stay a number."""

_PROMPT: Final = ("messages", "tools", "functions")
_LIMITS: Final = ("max_completion_tokens", "max_tokens")


class Estimate(Struct, frozen=True):
    """Tokens of a request before it is made: its prompt's bytes by four, and what it allows its
    answers. `output_assumed` says that it allows them anything, so that a usual length stands.
    """

    input_tokens: int
    output_tokens: int
    output_assumed: bool


class Effort(Struct, frozen=True, kw_only=True):
    """How hard the request would be tried, by its tier, its headers and the configuration.

    `retries` are at the first candidate, `fallbacks` further candidates. An attempt has its seconds
    (a stream's until the first token) while another candidate is left, all that remains otherwise;
    the deadline is to the answer, or to a stream's commit point. `streaming_failover` is None of
    what is no stream.
    """

    retries: int
    fallbacks: int
    attempt_timeout_seconds: float
    deadline_seconds: float
    streaming_failover: Failover | None


class Prospect(Struct, frozen=True):
    """A candidate: its weight in the draw, the probability that it is asked first, how it stands.

    `failures` are in a row, `seconds_left` is of its back-off, `cost` US dollars for the estimated
    tokens, None where a price is unknown.
    """

    provider: str
    model: str
    weight: float
    share: float
    state: str
    failures: int
    seconds_left: float
    cost: float | None


class Explanation(Struct, frozen=True, kw_only=True):
    """What would become of a request.

    `model` is set when it named one and is routed by it. `drawn` says that the candidates are drawn
    by weight; otherwise they are asked in their order. With nobody available, `retry_after` is the
    shortest back-off in seconds, and the answer would be 503.
    """

    tier: Tier
    reason: Reason
    model: str | None
    streaming: bool
    drawn: bool
    retry_after: float | None
    estimate: Estimate
    plan: Effort
    candidates: tuple[Prospect, ...]


def explanation_of(parts: Assembly, body: bytes, pairs: Pairs, caller: Caller) -> Explanation:
    """Explain; raises `Answerable` where the request would be refused."""
    snapshot = parts.store.snapshot
    if snapshot is None:
        raise ConfigUnavailable("The tiers are not loaded yet.", retry_after=1)
    request, headers = parse_request(body), read_headers(pairs)
    try:
        decision = resolve(request, headers, caller, snapshot, parts.config.routing)
    except NotOurs as unknown:  # nobody is behind an explanation to pass it on to
        raise ModelNotFound(str(unknown), param="model") from None
    pool, health = pool_of(decision, snapshot), parts.health
    estimate = _estimate(request.members, request.choices)
    usage = Usage(prompt_tokens=estimate.input_tokens, completion_tokens=estimate.output_tokens)
    stand = zip(pool, shares(decision, snapshot, health), health.of(pool), strict=True)
    waits = [health.seconds_left(each) for each in pool]
    return Explanation(
        tier=decision.tier,
        reason=decision.reason,
        model=decision.model,
        streaming=request.stream,
        drawn=decision.model is None,
        retry_after=None if any(map(health.admits, pool)) else min(waits),
        estimate=estimate,
        plan=_effort(parts.config, decision.tier, request.stream, headers),
        candidates=tuple(
            Prospect(
                provider=each.provider,
                model=each.model,
                weight=each.weight,
                share=share.share,
                state=share.state,
                failures=known.failures,
                seconds_left=share.seconds_left,
                cost=each.cost(usage),
            )
            for each, share, known in stand
        ),
    )


def _effort(config: Config, tier: Tier, streaming: bool, headers: RequestHeaders) -> Effort:
    failover = (headers.failover or config.streaming.failover) if streaming else None
    commit = COMMIT_OF[failover] if failover is not None else None
    times = times_of(config, tier, headers.deadline_seconds, commit)
    once = failover == "off"
    return Effort(
        retries=0 if once else config.retry.retries,
        fallbacks=0 if once else config.retry.fallbacks,
        attempt_timeout_seconds=float(min(times.attempt, times.deadline)),
        deadline_seconds=float(times.deadline),
        streaming_failover=failover,
    )


def _estimate(members: Mapping[str, Raw], choices: int) -> Estimate:
    prompt = sum(len(memoryview(members[name])) for name in _PROMPT if name in members)
    allowed = next((n for n in (_count(members.get(name)) for name in _LIMITS) if n), None)
    return Estimate(
        input_tokens=max(1, prompt // BYTES_PER_TOKEN),
        output_tokens=min(choices * (allowed or ASSUMED_OUTPUT_TOKENS), MOST_OUTPUT_TOKENS),
        output_assumed=allowed is None,
    )


def _count(raw: Raw | None) -> int | None:
    """A number of tokens, where it is one; what is not is the provider's to refuse."""
    try:
        return None if raw is None else max(0, msgspec.json.decode(raw, type=int))
    except msgspec.ValidationError:
        return None
