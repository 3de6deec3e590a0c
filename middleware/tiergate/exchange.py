"""Everything known of one request: the one object that travels.

An `Exchange` is made when a request arrives and grows as it is served; what it holds is frozen.
Whoever observes requests reads this and nothing else. Nothing here decides or waits.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from tiergate.candidates import Candidate, Reach, Share
from tiergate.capacity import Account
from tiergate.classify import Verdict
from tiergate.completion import Usage
from tiergate.endpoint import Endpoint
from tiergate.policies import Applied
from tiergate.profile import Profile
from tiergate.request_headers import Pairs, RequestHeaders
from tiergate.tiers import TIERS, Tier, is_tier
from tiergate.wire import ChatRequest

if TYPE_CHECKING:
    from tiergate.transport import Answer

Reason = Literal["explicit", "alias", "auto", "model", "default", "session"]


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
    """Which tier a request gets and why; `model` is set when it named one and is routed by it.

    `verdict` is the classifier's, where it was asked.
    """

    tier: Tier
    reason: Reason
    model: str | None = None
    verdict: Verdict | None = None


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


class AttemptTrace(Protocol):
    """The span of one attempt."""

    def calling(self) -> AbstractContextManager[list[tuple[str, str]]]:
        """Around sending: gives the headers that hand the trace on to the provider."""

    def heard(self, answer: "Answer") -> "Answer":
        """The answer that came, or one that listens to it: where answers are recorded."""

    def unsent(self) -> None:
        """In place of `end`: no connection was free, nothing was sent, and it was no attempt."""

    def end(self, attempt: Attempt, usage: Usage | None, first_token: float | None) -> None:
        """It is over; `first_token` in seconds from the arrival of the request."""


class RequestTrace(Protocol):
    """The span of one request. `id` is the trace's, in 32 hex digits, where it is recorded.

    None of this raises: what it is made of is anybody's code.
    """

    @property
    def id(self) -> str | None: ...

    def decided(self, exchange: "Exchange") -> None:
        """Its tier is known, and who offers it."""

    def attempt(
        self, exchange: "Exchange", candidate: Candidate, endpoint: Endpoint, resends: int
    ) -> AttemptTrace | None:
        """Begin the span of one attempt; `resends` counts the retries there before it."""

    def finish(self, exchange: "Exchange", outcome: str) -> None:
        """It has ended."""


class Exchange(Struct):
    """One request, from arrival to the last byte of its answer.

    `arrived` is on the monotonic clock, `arrived_at` Unix time. `complete` is when its body was
    there, on the same clock: its deadline counts from it. `account` counts what is held in memory
    for it, `body_bytes` of that the request's body; `is_read` says that the body was a JSON object.
    `status` and `error_code` are what the client was sent. `error_status` is what the code goes
    with: a stream that has begun says it in-band, one that broke later has none. `is_partial` says
    that the answer behind `usage` did not end. `is_ours` is False of what the configuration passes
    on to the host. `requested` is the decision before its conversation was looked at; `pool` is the
    `reach` as it stood then. `escalated` is the higher tier that its last attempt was made in.
    Seconds: `first_token` from the arrival, `slept` before retries and for
    connections, `overhead` all that was ours until the answer was ready.
    """

    id: str
    arrived: float
    pairs: Pairs
    account: Account
    complete: float = 0.0
    arrived_at: float = 0
    is_read: bool = False
    requested: Decision | None = None
    profile: Profile | None = None
    policy: Applied | None = None
    reach: Reach | None = None
    pool: tuple[Share, ...] = ()
    escalated: Tier | None = None
    status: int | None = None
    error_code: str | None = None
    error_status: int | None = None
    client_left: bool = False
    first_token: float | None = None
    slept: float = 0
    overhead: float | None = None
    trace: RequestTrace | None = None
    is_ours: bool = True
    is_reported: bool = False
    body_bytes: int = 0
    caller: Caller = ANONYMOUS
    headers: RequestHeaders | None = None
    request: ChatRequest | None = None
    decision: Decision | None = None
    candidate: Candidate | None = None
    attempts: tuple[Attempt, ...] = ()
    usage: Usage | None = None
    is_partial: bool = False
    events_dropped: int = 0

    def __repr__(self) -> str:
        made = ", ".join(f"{each.candidate}: {each.fault or 'ok'}" for each in self.attempts)
        return f"<Exchange {self.id} {made or 'no attempts'}>"  # never the client's headers

    def fail(self, status: int, code: str) -> None:
        """Its answer is an error, in-band or not."""
        self.error_status, self.error_code = status, code

    def forget_body(self) -> None:
        """Let go of the request's bytes: its answer is under way, and may take long."""
        assert self.request is not None
        self.request = replace(self.request, members={})
        self.account.drop(self.body_bytes)
        self.body_bytes = 0

    @property
    def tier(self) -> Tier | None:
        """The tier that serves: that of the decision, or a higher one."""
        if self.escalated is not None or self.decision is None:
            return self.escalated
        return self.decision.tier

    @property
    def cost(self) -> float | None:
        """US dollars, when the provider counted and its prices are known."""
        if self.candidate is None or self.usage is None:
            return None
        return self.candidate.cost(self.usage)


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
