"""Everything known of one request: the one object that travels.

An `Exchange` is made when a request arrives and grows as it is served; what it holds is frozen.
Whoever observes requests reads this and nothing else. Nothing here decides or waits.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from tiergate.capacity import Account
from tiergate.completion import Usage
from tiergate.request_headers import Pairs, RequestHeaders
from tiergate.snapshot import Candidate
from tiergate.tiers import TIERS, Tier, is_tier
from tiergate.wire import ChatRequest

Reason = Literal["explicit", "alias", "model", "default", "session"]


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


class Exchange(Struct):
    """One request, from arrival to the last byte of its answer.

    `complete` is when its body was, from which its deadline counts; like `arrived` on the clock.
    `account` counts what is held in memory for it, `body_bytes` of that the request's body.
    """

    id: str
    arrived: float
    pairs: Pairs
    account: Account
    complete: float = 0.0
    body_bytes: int = 0
    caller: Caller = ANONYMOUS
    headers: RequestHeaders | None = None
    request: ChatRequest | None = None
    decision: Decision | None = None
    candidate: Candidate | None = None
    attempts: tuple[Attempt, ...] = ()
    usage: Usage | None = None
    events_dropped: int = 0

    def __repr__(self) -> str:
        made = ", ".join(f"{each.candidate}: {each.fault or 'ok'}" for each in self.attempts)
        return f"<Exchange {self.id} {made or 'no attempts'}>"  # never the client's headers

    def forget_body(self) -> None:
        """Let go of the request's bytes: its answer is under way, and may take long."""
        assert self.request is not None
        self.request = replace(self.request, members={})
        self.account.drop(self.body_bytes)
        self.body_bytes = 0

    @property
    def cost(self) -> float | None:
        """US dollars, when the provider counted and its prices are known."""
        if self.candidate is None or self.usage is None:
            return None
        return self.candidate.cost(self.usage)


class Share(Struct, frozen=True):
    """A candidate of a pool, its health, and the probability that it is chosen first."""

    provider: str
    model: str
    state: str
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


def history(attempts: Iterable[Attempt]) -> str:
    """The same for people: `2/alpha, 1/beta`."""
    return ", ".join(f"{count}/{name}" for name, count in attempts_per_provider(attempts).items())
