"""The tiers, compiled: what a request reads, made once for each version of the configuration.

Frozen and complete: a request keeps the snapshot it began with. Nothing here fetches or chooses.
"""

from msgspec import Struct

from tiergate.completion import Usage
from tiergate.config import Config
from tiergate.sources import DocumentEntry, TierDocument
from tiergate.tiers import TIERS, Tier


class Candidate(Struct, frozen=True):
    """A provider plus a model, with the weight of its draw and its prices per million tokens."""

    provider: str
    model: str
    relative_cost: float
    input_price: float | None = None
    output_price: float | None = None
    cached_input_price: float | None = None

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


class ModelRoute(Struct, frozen=True):
    """Who offers one model, cheapest first, and the lowest tier that lists it."""

    tier: Tier
    candidates: tuple[Candidate, ...]


class Snapshot(Struct, frozen=True):
    """One version of the tiers. Every tier is present; a tier of nobody is empty."""

    version: str
    pools: dict[Tier, tuple[Candidate, ...]]
    models: dict[str, ModelRoute]
    aliases: dict[str, Tier]
    prefixes: tuple[tuple[str, Tier], ...]

    def alias(self, model: str) -> Tier | None:
        """The tier of an alias: the exact name, else the longest prefix that was given with `*`."""
        if model in self.aliases:
            return self.aliases[model]
        for prefix, tier in self.prefixes:
            if model.startswith(prefix):
                return tier
        return None


def compile_snapshot(document: TierDocument, config: Config) -> Snapshot:
    """Make the snapshot of a document under a configuration."""
    pools = {
        tier: tuple(_candidate(entry) for entry in document.tiers.get(tier, ())) for tier in TIERS
    }
    aliases = config.routing.aliases
    prefixes = [(name[:-1], tier) for name, tier in aliases.items() if name.endswith("*")]
    return Snapshot(
        version=document.version,
        pools=pools,
        models=_models(pools),
        aliases={name: tier for name, tier in aliases.items() if not name.endswith("*")},
        prefixes=tuple(sorted(prefixes, key=lambda item: -len(item[0]))),
    )


def _candidate(entry: DocumentEntry) -> Candidate:
    return Candidate(
        provider=entry.provider,
        model=entry.model,
        relative_cost=entry.relative_cost,
        input_price=entry.input_price_per_million,
        output_price=entry.output_price_per_million,
        cached_input_price=entry.cached_input_price_per_million,
    )


def _models(pools: dict[Tier, tuple[Candidate, ...]]) -> dict[str, ModelRoute]:
    routes: dict[str, ModelRoute] = {}
    for tier, pool in pools.items():  # lowest tier first
        for candidate in pool:
            known = routes.get(candidate.model) or ModelRoute(tier=tier, candidates=())
            if candidate.provider not in [other.provider for other in known.candidates]:
                offers = sorted(
                    (*known.candidates, candidate), key=lambda c: max(1.0, c.relative_cost)
                )
                routes[candidate.model] = ModelRoute(tier=known.tier, candidates=tuple(offers))
    return routes
