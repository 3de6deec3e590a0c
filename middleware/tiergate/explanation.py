"""What would become of a request that nobody makes: its tier, why, who would be asked, the cost.

Nothing is called, drawn or remembered. A conversation is not looked up: a session that is found is
thereby used.
"""

from collections.abc import Iterator

from msgspec import Struct

from tiergate.assembly import Assembly
from tiergate.candidates import Candidate, Reach, Stage
from tiergate.classify import Verdict
from tiergate.config import Config, Failover
from tiergate.errors import ConfigUnavailable, ModelNotFound
from tiergate.estimate import Estimate
from tiergate.exchange import Caller, Reason
from tiergate.opening import COMMIT_OF
from tiergate.policies import Applied
from tiergate.profile import Profile, misfit, profile_of
from tiergate.reach import placed, reach_of, stages_of
from tiergate.request_headers import Pairs, RequestHeaders, read_headers
from tiergate.resolve import NotOurs, resolve
from tiergate.routing import shares
from tiergate.routing_config import Feature
from tiergate.tiers import Tier
from tiergate.times import times_of
from tiergate.wire import parse_request


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
    tokens, None where a price is unknown and of whoever is left out: who would not serve quotes no
    price. `left_out` says why it would not be asked: the policy, or what the request needs. `tier`
    is its own: higher ones follow where a request may escalate.
    """

    provider: str
    model: str
    weight: float
    share: float
    state: str
    failures: int
    seconds_left: float
    cost: float | None
    tier: Tier
    left_out: str | None = None


class PolicyInForce(Struct, frozen=True):
    """The policy of a request. `binding`: it was named; else one of its keywords only prefers."""

    name: str
    binding: bool


class Boundaries(Struct, frozen=True):
    """The scores from which on a request is moderate, and complex."""

    moderate: float
    complex: float


class Weighing(Struct, frozen=True):
    """How the classifier decides now: what each signal weighs, and where the tiers begin."""

    boundaries: Boundaries
    weights: dict[str, float]


class Explanation(Struct, frozen=True, kw_only=True):
    """What would become of a request.

    `model` is set when it named one and is routed by it; `verdict` is the classifier's, where it
    decides, and `boundaries` are what its score is held against: the tier may be another where
    nobody is in its, or the caller may not have it. `drawn` says that the candidates are drawn by
    weight; otherwise they are asked in their order. With nobody available, `retry_after` is the
    shortest back-off in seconds, and the answer would be 503; with `health.last_resort` it is None,
    and whoever is nearest to the end of its back-off is asked. `cost` is that of the first attempt,
    expected over the shares; None where a price is unknown, or nobody would be asked. `features`
    are what the request needs beside text.
    """

    tier: Tier
    reason: Reason
    model: str | None
    verdict: Verdict | None
    boundaries: Boundaries | None
    policy: PolicyInForce | None
    streaming: bool
    drawn: bool
    retry_after: float | None
    estimate: Estimate
    cost: float | None
    features: tuple[Feature, ...]
    plan: Effort
    candidates: tuple[Prospect, ...]


def weighing_of(parts: Assembly) -> Weighing:
    """As of now: a reload replaces it."""
    return Weighing(_boundaries(parts.config), dict(parts.tools.classifier.weights))


def explanation_of(parts: Assembly, body: bytes, pairs: Pairs, caller: Caller) -> Explanation:
    """Explain; raises `Answerable` where the request would be refused."""
    snapshot, tools = parts.store.snapshot, parts.tools
    if snapshot is None:
        raise ConfigUnavailable("The tiers are not loaded yet.", retry_after=1)
    request, headers = parse_request(body), read_headers(pairs)
    routing = parts.config.routing
    try:
        decision = resolve(request, headers, caller, snapshot, routing, tools.classifier)
    except NotOurs as unknown:  # nobody is behind an explanation to pass it on to
        raise ModelNotFound(str(unknown), param="model") from None
    policy, highest = tools.policies.applied(headers.policy, request.members), caller.max_tier
    profile = profile_of(request.members, request.choices)
    decision = placed(decision, snapshot, policy, profile, highest)
    escalate = routing.escalate
    reach = reach_of(
        decision, snapshot, policy=policy, profile=profile, escalate=escalate, highest=highest
    )
    stages = stages_of(decision, snapshot, escalate=escalate, highest=highest)
    waits = {each: parts.health.seconds_left(each) for each in reach.candidates()}
    available = any(map(parts.health.admits, waits))
    nearest = min(waits, key=waits.__getitem__)
    last = nearest if not available and parts.config.health.last_resort else None
    prospects = tuple(_prospects(stages, policy, profile, reach, parts, last))
    return Explanation(
        tier=decision.tier,
        reason=decision.reason,
        model=decision.model,
        verdict=decision.verdict,
        boundaries=None if decision.verdict is None else _boundaries(parts.config),
        policy=None if policy is None else PolicyInForce(policy.rule.name, policy.binding),
        streaming=request.stream,
        drawn=reach.drawn,
        retry_after=None if available or last is not None else waits[nearest],
        estimate=profile.estimate,
        cost=_expected(prospects),
        features=profile.features,
        plan=_effort(parts.config, decision.tier, request.stream, headers),
        candidates=prospects,
    )


def _boundaries(config: Config) -> Boundaries:
    return Boundaries(config.classifier.moderate, config.classifier.complex)


def _prospects(
    stages: tuple[Stage, ...],
    policy: Applied | None,
    profile: Profile,
    reach: Reach,
    parts: Assembly,
    last: Candidate | None,
) -> Iterator[Prospect]:
    """Those within reach, in the order of their stages, and after them of each tier who is left
    out. `last` is asked because nobody else could be.
    """
    told = shares(reach, parts.health)
    within = [(tier, each) for tier, pool in reach.stages for each in pool]
    reached = set(within)
    outside = [
        (tier, each) for tier, pool in stages for each in pool if (tier, each) not in reached
    ]
    everybody = [*within, *outside]
    states = parts.health.of([each for _, each in everybody])
    for place, ((tier, each), known) in enumerate(zip(everybody, states, strict=True)):
        is_within = place < len(within)
        share = told[place].share if is_within else 0.0
        yield Prospect(
            provider=each.provider,
            model=each.model,
            weight=each.weight,
            share=1.0 if each == last else share,
            state=known.state,
            failures=known.failures,
            seconds_left=known.seconds_left,
            cost=each.cost(profile.estimate.usage) if is_within else None,
            tier=tier,
            left_out=None if is_within else _why(each, policy, profile),
        )


def _why(candidate: Candidate, policy: Applied | None, profile: Profile) -> str | None:
    if policy is not None and policy.binding and not policy.rule.allows(candidate):
        return f"the policy {policy.rule.name!r}"
    return misfit(candidate, profile)


def _expected(prospects: tuple[Prospect, ...]) -> float | None:
    """US dollars of the first attempt, over whoever may be asked for it."""
    asked = [(each.share, each.cost) for each in prospects if each.share]
    costs = [share * cost for share, cost in asked if cost is not None]
    return sum(costs) if asked and len(costs) == len(asked) else None


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
