"""How long one request may take, and its parts: the numbers of `[retry]` and `[streaming]` for it.

All count from the complete request. Who lives by them is `forward`, and what waits before it.
"""

import asyncio
from collections.abc import Awaitable, Iterable

from msgspec import Struct

from tiergate.attempt import Tools
from tiergate.config import Config
from tiergate.errors import DeadlineExceeded
from tiergate.exchange import Exchange
from tiergate.opening import Commit
from tiergate.tiers import Tier


class Times(Struct, frozen=True):
    """Seconds of one delivery: to the commit point, and for one attempt while others are left.

    `deadline` counts from the complete request, and so from before the delivery.
    `full` is what an attempt has where the client has not shortened the deadline: only a provider
    that was silent for so long is at fault.
    """

    deadline: float
    attempt: float
    full: float


def seconds_left(tools: Tools, exchange: Exchange) -> float:
    """What a request may still wait before anybody is asked; below 0 when it is too late.

    Until its tier is decided it has the time of the tier that it names, else that of all.
    """
    assert exchange.request is not None
    assert exchange.headers is not None
    retry, headers = tools.config.retry, exchange.headers
    named = exchange.request.tier or headers.tier
    tier = exchange.decision.tier if exchange.decision is not None else named
    allowed = retry.deadline(tier) if tier is not None else retry.deadline_seconds
    until = exchange.complete + min(allowed, headers.deadline_seconds or allowed)
    return until - tools.clock()


async def in_time(work: Awaitable[object], tools: Tools, exchange: Exchange) -> None:
    """Wait for what must be there before anybody is asked; raises `DeadlineExceeded`."""
    try:
        async with asyncio.timeout(seconds_left(tools, exchange)):
            await work
    except TimeoutError:
        raise DeadlineExceeded("The deadline passed before the tiers were loaded.") from None


def times_for(
    tools: Tools, exchange: Exchange, commit: Commit, tiers: Iterable[Tier]
) -> dict[Tier, Times]:
    """Those of one request in each tier that it may come to; its deadline is that of the first.

    A higher tier has its own times for an attempt: its models may need longer, and are not to be
    judged by the times of a lower one.
    """
    assert exchange.request is not None
    assert exchange.headers is not None
    asked, told = exchange.headers.deadline_seconds, dict[Tier, Times]()
    kind = commit if exchange.request.stream else None
    waited = tools.clock() - exchange.complete
    for tier in tiers:
        if tier not in told:
            told[tier] = times = times_of(tools.config, tier, asked, kind, waited=waited)
            asked = times.deadline
    return told


def times_of(
    config: Config,
    tier: Tier,
    asked: float | None,
    commit: Commit | None,
    *,
    waited: float = 0.0,
) -> Times:
    """Those of a request whose client asks for a deadline; `commit` is of a stream, else None.

    `waited` is how long ago the request was complete.
    """
    retry, streaming, allowed = config.retry, config.streaming, config.retry.deadline(tier)
    if commit is None:
        deadline = min(allowed, asked or allowed)
        full = attempt = retry.attempt_timeout(tier, deadline)
        if deadline < allowed:
            full = retry.attempt_timeout(tier, allowed)
        return Times(deadline, attempt, full)
    first_token = streaming.first_token_timeout(tier)
    if commit is Commit.FIRST_BYTE:  # from the attempt's start, whatever came before it
        allowed = waited + first_token
    elif commit is Commit.COMPLETE:
        allowed = streaming.buffered_deadline_seconds
    return Times(min(allowed, asked or allowed), first_token, full=first_token)
