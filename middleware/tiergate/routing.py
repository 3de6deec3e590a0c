"""Which candidates serve a decision, in order: pure. Walking them is `forward`'s."""

import random

from msgspec import Struct

from tiergate.errors import TierNotConfigured, Unavailable
from tiergate.exchange import Decision
from tiergate.health import Health
from tiergate.sessions import Session
from tiergate.snapshot import Candidate, Share, Snapshot


class Plan(Struct, frozen=True):
    """The candidates in the order they are to be tried; at least one.

    `last_resort` says that its one candidate is in back-off and is to be asked all the same.
    """

    candidates: tuple[Candidate, ...]
    last_resort: bool = False


def make_plan(
    decision: Decision,
    snapshot: Snapshot,
    health: Health,
    chance: random.Random,
    *,
    session: Session | None = None,
    last_resort: bool = False,
) -> Plan:
    """Plan; raises `TierNotConfigured`, or `Unavailable` when everybody is in back-off.

    A request that named a model gets all who offer it, cheapest first. Otherwise the tier's pool is
    drawn by weight without replacement: the first is the choice, the others stand by. A session
    has its candidate first, or in a higher tier somebody of its provider.
    """
    pool = available = pool_of(decision, snapshot)
    if not health.is_calm:
        available = tuple(candidate for candidate in pool if health.admits(candidate))
    if not available:
        nearest = min(pool, key=health.seconds_left)
        if last_resort:
            return Plan((nearest,), last_resort=True)
        raise Unavailable(
            f"Every model of the tier {decision.tier} is in back-off.",
            retry_after=health.seconds_left(nearest),
        )
    if decision.model is not None or len(available) == 1:
        return Plan(available)
    # Sorting by exponential variates of rate w is the weighted draw without replacement
    # (Efraimidis and Spirakis, 2006): the first is i with probability w_i / Σw, and so on.
    drawn = sorted(available, key=lambda each: chance.expovariate(each.weight))
    favourite = _favourite(session, decision, available) if session is not None else None
    if favourite is not None:
        drawn.remove(favourite)
        drawn.insert(0, favourite)
    return Plan(tuple(drawn))


def _favourite(
    session: Session, decision: Decision, available: tuple[Candidate, ...]
) -> Candidate | None:
    for candidate in available:
        same_tier = session.tier == decision.tier
        if candidate.provider == session.provider and (
            candidate.model == session.model or not same_tier
        ):
            return candidate
    return None


def shares(decision: Decision, snapshot: Snapshot, health: Health) -> tuple[Share, ...]:
    """How likely each candidate is to be the first of a plan; raises `TierNotConfigured`."""
    pool, model = pool_of(decision, snapshot), decision.model
    if health.is_calm:
        return snapshot.calm[decision.tier] if model is None else snapshot.models[model].calm
    available = [candidate for candidate in pool if health.admits(candidate)]
    weights = {candidate: candidate.weight for candidate in available}
    if decision.model is not None:
        weights = dict.fromkeys(available[:1], 1.0)
    total = sum(weights.values())
    return tuple(
        Share(
            candidate.provider,
            candidate.model,
            health.state(candidate).value,
            weights.get(candidate, 0.0) / total if total else 0.0,
            health.seconds_left(candidate),
        )
        for candidate in pool
    )


def pool_of(decision: Decision, snapshot: Snapshot) -> tuple[Candidate, ...]:
    """Who may serve a decision, in the order of the configuration; raises `TierNotConfigured`."""
    if decision.model is not None:
        return snapshot.models[decision.model].candidates
    pool = snapshot.pools[decision.tier]
    if not pool:
        raise TierNotConfigured(f"No model is configured for the tier {decision.tier}.")
    return pool
