"""Which candidates serve a decision, in order: pure. Walking them is `forward`'s."""

import random

from tiergate.errors import TierNotConfigured
from tiergate.exchange import Decision, Share
from tiergate.snapshot import Candidate, Snapshot

Plan = tuple[Candidate, ...]


def make_plan(decision: Decision, snapshot: Snapshot, chance: random.Random) -> Plan:
    """The candidates in the order they are to be tried; raises `TierNotConfigured`.

    A request that named a model gets all who offer it, cheapest first. Otherwise the tier's pool is
    drawn by weight without replacement: the first is the choice, the others stand by.
    """
    if decision.model is not None:
        return snapshot.models[decision.model].candidates
    pool = snapshot.pools[decision.tier]
    if not pool:
        raise TierNotConfigured(f"No model is configured for the tier {decision.tier}.")
    if len(pool) == 1:
        return pool
    # Sorting by exponential variates of rate w is the weighted draw without replacement
    # (Efraimidis and Spirakis, 2006): the first is i with probability w_i / Σw, and so on.
    return tuple(sorted(pool, key=lambda candidate: chance.expovariate(candidate.weight)))


def shares(decision: Decision, snapshot: Snapshot) -> tuple[Share, ...]:
    """How likely each candidate is to be the first of a plan; raises `TierNotConfigured`."""
    if decision.model is not None:
        offers = snapshot.models[decision.model].candidates
        return tuple(
            Share(offer.provider, offer.model, 1.0 if offer is offers[0] else 0.0)
            for offer in offers
        )
    pool = snapshot.pools[decision.tier]
    if not pool:
        raise TierNotConfigured(f"No model is configured for the tier {decision.tier}.")
    total = sum(candidate.weight for candidate in pool)
    return tuple(
        Share(candidate.provider, candidate.model, candidate.weight / total) for candidate in pool
    )
