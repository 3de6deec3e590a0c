"""Everything known of one request: the one object that travels.

An `Exchange` is made when a request arrives and grows as it is served; what it holds is frozen.
Whoever observes requests reads this and nothing else. Nothing here decides or waits.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from tiergate.completion import Usage
from tiergate.request_headers import Pairs, RequestHeaders
from tiergate.snapshot import Candidate
from tiergate.tiers import TIERS, Tier, is_tier
from tiergate.wire import ChatRequest

Reason = Literal["explicit", "alias", "model", "default"]


class Caller(Struct, frozen=True):
    """Who calls, as `authorize` says: an id that owns what is remembered, and what it may use.

    `tier` is the default for requests that name none, `max_tier` the highest it may have.
    """

    id: str
    tier: Tier | None = None
    max_tier: Tier | None = None

    def __post_init__(self) -> None:
        for tier in (self.tier, self.max_tier):
            if tier is not None and not is_tier(tier):
                raise ValueError(f"{tier!r} is not a tier; one of {', '.join(TIERS)}")


ANONYMOUS = Caller(id="anonymous")


class Decision(Struct, frozen=True):
    """Which tier a request gets and why; `model` is set when it named one and is routed by it."""

    tier: Tier
    reason: Reason
    model: str | None = None


class Attempt(Struct, frozen=True):
    """One call to a provider. `started` counts from the arrival of the request; both in seconds.

    `status` is None when no answer came; `fault` is None when it succeeded, else the label of a row
    of `faults`; `resent` says that it went out twice because the first connection was stale.
    """

    candidate: Candidate
    started: float
    duration: float
    status: int | None = None
    fault: str | None = None
    resent: bool = False


class Exchange(Struct, weakref=True):
    """One request, from arrival to the last byte of its answer."""

    id: str
    arrived: float
    pairs: Pairs
    caller: Caller = ANONYMOUS
    headers: RequestHeaders | None = None
    request: ChatRequest | None = None
    decision: Decision | None = None
    candidate: Candidate | None = None
    attempts: tuple[Attempt, ...] = ()
    usage: Usage | None = None
    events_dropped: int = 0

    @property
    def cost(self) -> float | None:
        """US dollars, when the provider counted and its prices are known."""
        if self.candidate is None or self.usage is None:
            return None
        return self.candidate.cost(self.usage)


class Share(Struct, frozen=True):
    """A candidate of a pool and the probability that it is chosen first."""

    provider: str
    model: str
    share: float


class Explanation(Struct, frozen=True):
    """What would become of a request: its tier, why, and who would be asked. Nothing is called."""

    tier: Tier
    reason: Reason
    candidates: tuple[Share, ...]


def attempts_per_provider(attempts: Iterable[Attempt]) -> dict[str, int]:
    """How often each provider was asked, in order of first use."""
    counts: dict[str, int] = {}
    for attempt in attempts:
        name = attempt.candidate.provider
        counts[name] = counts.get(name, 0) + 1
    return counts
