"""Who is within the reach of one request: the pool of its tier, less whom its policy or its profile
leaves out, and higher tiers where it may escalate. Pure; CONTRACT section 4.

Who of them is available, and who is asked first, is `routing`'s.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec.structs import replace

from tiergate.candidates import Candidate, Reach, Stage, make_reach
from tiergate.errors import InvalidRequest, TierNotConfigured
from tiergate.exchange import Decision
from tiergate.policies import HEADER, Applied
from tiergate.profile import Profile, lacking, overflowing
from tiergate.resolve import nearest
from tiergate.snapshot import Snapshot
from tiergate.tiers import RANK, TIERS, Tier

_UNKNOWN_COST: Final = float("inf")


def placed(
    decision: Decision,
    snapshot: Snapshot,
    policy: Applied | None,
    profile: Profile | None,
    highest: Tier | None,
) -> Decision:
    """The decision; where it was ours alone, in the nearest tier in which a binding policy leaves
    somebody, and somebody fits. Else what a client says would be an error or not by our guess.
    """
    binding = policy is not None and policy.binding
    if decision.reason != "auto" or not (binding or snapshot.is_choosy):
        return decision
    stages = tuple(
        stage
        for stage in snapshot.pools.items()
        if highest is None or RANK[stage[0]] <= RANK[highest]
    )
    if policy is not None and policy.binding:
        stages = _keep(stages, policy.rule.allows)
    if profile is not None:
        stages = _fitting(stages, profile)
    return replace(decision, tier=nearest(decision.tier, dict(stages), highest))


def reach_of(
    decision: Decision,
    snapshot: Snapshot,
    *,
    policy: Applied | None = None,
    profile: Profile | None = None,
    escalate: bool = False,
    highest: Tier | None = None,
) -> Reach:
    """Who may serve; raises `TierNotConfigured`, or `InvalidRequest` for a policy of nobody.

    `highest` is the tier above which its caller may have none. Nobody is refused for what is only
    estimated: where everybody is left out by the profile, nobody is.
    """
    stages = stages_of(decision, snapshot, escalate=escalate, highest=highest)
    ordered = decision.model is not None and snapshot.models[decision.model].by_price
    if policy is None and (profile is None or not (snapshot.is_choosy or ordered)):
        ready = _ready(decision, snapshot)
        if ready is not None and ready.stages == stages:
            return ready
    if not any(pool for _, pool in stages):
        raise TierNotConfigured(f"No model is configured for the tier {decision.tier}.")
    if policy is not None and policy.binding:
        stages = _keep(stages, policy.rule.allows)
        if not any(pool for _, pool in stages):
            raise InvalidRequest(
                f"The policy {policy.rule.name!r} leaves nobody of {_asked(decision)}.",
                param=HEADER,
            )
    if profile is not None:
        stages = _fitting(stages, profile)
        if ordered:
            stages = tuple((tier, _by_cost(pool, profile)) for tier, pool in stages)
    preferred: frozenset[Candidate] = frozenset()
    if policy is not None and not policy.binding:
        preferred = frozenset(
            each for _, pool in stages for each in pool if policy.rule.allows(each)
        )
    return make_reach(stages, drawn=decision.model is None, preferred=preferred)


def _ready(decision: Decision, snapshot: Snapshot) -> Reach | None:
    if decision.model is not None:
        return snapshot.models[decision.model].reach
    return snapshot.reaches.get(decision.tier)


def stages_of(
    decision: Decision, snapshot: Snapshot, *, escalate: bool, highest: Tier | None = None
) -> tuple[Stage, ...]:
    """Whom it could come to by its tier or its model alone; nobody twice."""
    if decision.model is not None:
        return snapshot.models[decision.model].reach.stages
    own = RANK[decision.tier]
    if not escalate:
        return ((decision.tier, snapshot.pools[decision.tier]),)
    end = len(TIERS) if highest is None else RANK[highest] + 1
    stages: list[Stage] = []
    known: set[tuple[str, str]] = set()
    for tier in TIERS[own:end]:
        pool = tuple(c for c in snapshot.pools[tier] if (c.provider, c.model) not in known)
        known.update((each.provider, each.model) for each in pool)
        if pool or not stages:
            stages.append((tier, pool))
    return tuple(stages)


def _keep(stages: tuple[Stage, ...], wanted: Callable[[Candidate], bool]) -> tuple[Stage, ...]:
    return tuple((tier, tuple(filter(wanted, pool))) for tier, pool in stages)


def _fitting(stages: tuple[Stage, ...], profile: Profile) -> tuple[Stage, ...]:
    """Those whom the request fits; everybody where that would be nobody."""
    for unfit in (lacking, overflowing):  # what is known before what is estimated
        fitting = _keep(stages, partial(_fits, unfit, profile))
        if any(pool for _, pool in fitting):
            stages = fitting
    return stages


def _fits(
    unfit: Callable[[Candidate, Profile], str | None], profile: Profile, candidate: Candidate
) -> bool:
    return unfit(candidate, profile) is None


def _by_cost(pool: tuple[Candidate, ...], profile: Profile) -> tuple[Candidate, ...]:
    """Cheapest first: by relative cost, and among equals by what this request would cost there.

    arbstr added a price per request to one per million tokens; this is dollars for one request.
    """

    def cost(candidate: Candidate) -> tuple[float, float]:
        dollars = candidate.cost(profile.estimate.usage)
        return max(1.0, candidate.relative_cost), _UNKNOWN_COST if dollars is None else dollars

    return tuple(sorted(pool, key=cost))


def _asked(decision: Decision) -> str:
    if decision.model is not None:
        return f"those who offer {decision.model!r}"
    return f"the tier {decision.tier}"
