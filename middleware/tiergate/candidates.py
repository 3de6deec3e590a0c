"""Who may serve: a candidate, its chance to be asked first, and who is within a request's reach.

Values, compiled from the configuration; whether anybody is available is `health`'s to know, whom a
request is led to `reach`'s and `routing`'s.
"""

import hashlib
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final

from msgspec import Struct

from tiergate.adaptation import Adaptation
from tiergate.completion import Usage
from tiergate.routing_config import Feature
from tiergate.tiers import Tier

AVAILABLE: Final = "available"
"""The state of a candidate of whom nothing bad is known."""


class Candidate(Struct, frozen=True):
    """A provider plus a model, with the weight of its draw and its prices per million tokens.

    `context_window` is in tokens, `supports` what it can do beside text; None of either is unknown.
    `adaptation` is what a request for it needs to have changed.
    """

    provider: str
    model: str
    relative_cost: float
    input_price: float | None = None
    output_price: float | None = None
    cached_input_price: float | None = None
    context_window: int | None = None
    supports: frozenset[Feature] | None = None
    adaptation: Adaptation | None = None

    @property
    def weight(self) -> float:
        """1 / max(1, relative cost): costs 1, 2, 5 give shares 0.588, 0.294, 0.118."""
        return 1 / max(1.0, self.relative_cost)

    def cost(self, usage: Usage) -> float | None:
        """US dollars for a usage; None when a count or a price it needs is unknown.

        Cached tokens are part of the input and have their own price where one is given.
        """
        tokens_in, tokens_out = usage.prompt_tokens, usage.completion_tokens
        if tokens_in is None or tokens_out is None:
            return None
        if self.input_price is None or self.output_price is None:
            return None
        cached = min(usage.cached_tokens or 0, tokens_in)
        cached_price = (
            self.input_price if self.cached_input_price is None else self.cached_input_price
        )
        millionths = (
            (tokens_in - cached) * self.input_price
            + cached * cached_price
            + tokens_out * self.output_price
        )
        return millionths / 1_000_000

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class Share(Struct, frozen=True):
    """A candidate of a pool, its health, and the probability that it is chosen first.

    `seconds_left` is of its back-off.
    """

    provider: str
    model: str
    state: str
    share: float
    seconds_left: float = 0


Stage = tuple[Tier, tuple[Candidate, ...]]
"""A tier, and who of it may serve, in the order of the configuration."""


class Reach(Struct, frozen=True):
    """Who may serve a request: of its own tier, then of higher ones where it may escalate.

    A stage is come to when nobody of those before it is left. `drawn` says that the candidates of
    one are drawn by weight, else they are asked in their order; the `preferred` come first either
    way. `calm` are the shares while everybody is available. Equal digests are equal chances.
    """

    stages: tuple[Stage, ...]
    drawn: bool
    preferred: frozenset[Candidate]
    calm: tuple[Share, ...]
    digest: str

    def candidates(self) -> Iterator[Candidate]:
        """Of every stage in turn."""
        for _, pool in self.stages:
            yield from pool


@lru_cache(maxsize=256)  # tiers by policies by who is left out: few are in use at a time
def make_reach(
    stages: tuple[Stage, ...], *, drawn: bool, preferred: frozenset[Candidate] = frozenset()
) -> Reach:
    """The reach of these stages, of which at least one has somebody."""
    everybody = {each for _, pool in stages for each in pool}
    firsts = first_chances(stages, everybody, drawn=drawn, preferred=preferred)
    calm = tuple(
        Share(each.provider, each.model, AVAILABLE, firsts.get(each, 0.0))
        for _, pool in stages
        for each in pool
    )
    return Reach(stages, drawn, preferred, calm, _digest(stages, drawn, preferred))


def first_chances(
    stages: tuple[Stage, ...],
    available: Collection[Candidate],
    *,
    drawn: bool,
    preferred: frozenset[Candidate],
) -> dict[Candidate, float]:
    """How likely each is to be asked first, of those who can be; the others are not in it."""
    for _, pool in stages:
        here = [each for each in pool if each in available]
        here = [each for each in here if each in preferred] or here
        if here:
            weights = {each: each.weight for each in (here if drawn else here[:1])}
            total = sum(weights.values())
            return {each: weight / total for each, weight in weights.items()}
    return {}


def _digest(stages: tuple[Stage, ...], drawn: bool, preferred: frozenset[Candidate]) -> str:
    told = [
        (tier, each.provider, each.model, each.weight, each in preferred)
        for tier, pool in stages
        for each in pool
    ]
    return hashlib.blake2s(repr((drawn, told)).encode(), digest_size=4).hexdigest()
