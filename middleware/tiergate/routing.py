"""Which candidates serve a request, in order: pure. Walking them is `forward`'s.

Who is within its reach at all is `reach`'s.
"""

import random

from msgspec import Struct

from tiergate.candidates import Candidate, Reach, Share, first_chances
from tiergate.errors import Unavailable
from tiergate.health import Health
from tiergate.sessions import Session
from tiergate.tiers import Tier


class Plan(Struct, frozen=True):
    """The candidates in the order they are to be tried, at least one, and the tier of each.

    `last_resort` says that its one candidate is in back-off and is to be asked all the same.
    """

    candidates: tuple[Candidate, ...]
    tiers: tuple[Tier, ...]
    last_resort: bool = False


def make_plan(
    reach: Reach,
    health: Health,
    chance: random.Random,
    *,
    session: Session | None = None,
    last_resort: bool = False,
) -> Plan:
    """Plan; raises `Unavailable` when everybody is in back-off.

    A request that named a model gets all who offer it, cheapest first. Otherwise each stage is
    drawn by weight without replacement: the first is the choice, the others stand by. A session has
    its candidate first, or in a higher tier somebody of its provider.
    """
    planned: list[Candidate] = []
    tiers: list[Tier] = []
    for tier, pool in reach.stages:
        available = pool
        if not health.is_calm:
            available = tuple(each for each in pool if health.admits(each))
        planned += _ordered(reach, tier, available, chance, session)
        tiers += [tier] * len(available)
    if planned:
        return Plan(tuple(planned), tuple(tiers))
    left, tier, nearest = min(
        ((health.seconds_left(each), tier, each) for tier, pool in reach.stages for each in pool),
        key=lambda each: each[0],
    )
    if last_resort:
        return Plan((nearest,), (tier,), last_resort=True)
    raise Unavailable(
        f"Every model of the tier {reach.stages[0][0]} is in back-off.", retry_after=left
    )


def _ordered(
    reach: Reach,
    tier: Tier,
    available: tuple[Candidate, ...],
    chance: random.Random,
    session: Session | None,
) -> list[Candidate]:
    if len(available) < 2:
        return list(available)
    ordered = list(available)
    if reach.drawn:
        # Sorting by exponential variates of rate w is the weighted draw without replacement
        # (Efraimidis and Spirakis, 2006): the first is i with probability w_i / Σw, and so on.
        ordered.sort(key=lambda each: chance.expovariate(each.weight))
    if reach.preferred:
        ordered.sort(key=lambda each: each not in reach.preferred)
    favourite = _favourite(session, tier, available) if session is not None else None
    if favourite is not None:
        ordered.remove(favourite)
        ordered.insert(0, favourite)
    return ordered


def _favourite(session: Session, tier: Tier, available: tuple[Candidate, ...]) -> Candidate | None:
    for candidate in available:
        if candidate.provider == session.provider and (
            candidate.model == session.model or session.tier != tier
        ):
            return candidate
    return None


def shares(reach: Reach, health: Health) -> tuple[Share, ...]:
    """How likely each candidate is to be the first of a plan, and how it stands."""
    if health.is_calm:
        return reach.calm
    available = {each for each in reach.candidates() if health.admits(each)}
    firsts = first_chances(reach.stages, available, drawn=reach.drawn, preferred=reach.preferred)
    return tuple(
        Share(
            candidate.provider,
            candidate.model,
            health.state(candidate).value,
            firsts.get(candidate, 0.0),
            health.seconds_left(candidate),
        )
        for candidate in reach.candidates()
    )
