"""The tiers, compiled: what a request reads, made once for each version of the configuration.

Frozen and complete: a request keeps the snapshot it began with. Nothing here fetches or chooses.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from tiergate.completion import Usage
from tiergate.config import Config
from tiergate.crosscheck import MORE_THAN_ONE_HOST, split_hosts
from tiergate.document import DocumentEntry, SourceError, TierDocument, summed_up
from tiergate.tiers import TIERS, Tier

AVAILABLE: Final = "available"
"""The state of a candidate of whom nothing bad is known."""

_SHOWN: Final = 5  # entries that an error names


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


class Share(Struct, frozen=True):
    """A candidate of a pool, its health, and the probability that it is chosen first.

    `seconds_left` is of its back-off.
    """

    provider: str
    model: str
    state: str
    share: float
    seconds_left: float = 0


class ModelRoute(Struct, frozen=True):
    """Who offers one model, cheapest first, and the lowest tier that lists it.

    `calm` are the shares while everybody is available.
    """

    tier: Tier
    candidates: tuple[Candidate, ...]
    calm: tuple[Share, ...] = ()


class Snapshot(Struct, frozen=True):
    """One version of the tiers. Every tier is present; a tier of nobody is empty.

    `calm` are the shares of each pool while everybody is available.
    `skipped` names the entries of its document that were left out, and why.
    """

    version: str
    pools: dict[Tier, tuple[Candidate, ...]]
    models: dict[str, ModelRoute]
    aliases: dict[str, Tier]
    prefixes: tuple[tuple[str, Tier], ...]
    calm: dict[Tier, tuple[Share, ...]]
    skipped: tuple[str, ...] = ()

    def candidates(self) -> Iterator[Candidate]:
        """Everybody of every tier; who stands in two tiers comes twice."""
        for pool in self.pools.values():
            yield from pool

    def alias(self, model: str) -> Tier | None:
        """The tier of an alias: the exact name, else the longest prefix that was given with `*`."""
        if model in self.aliases:
            return self.aliases[model]
        for prefix, tier in self.prefixes:
            if model.startswith(prefix):
                return tier
        return None


def compile_snapshot(document: TierDocument, config: Config) -> Snapshot:
    """Make the snapshot of a document under a configuration.

    Entries whose provider is not configured, or would be handed a caller's key that others get
    too, are left out. Raises `SourceError` when nobody is left, unless nobody needs to be.
    """
    left_out: list[str] = []
    tiers = {tier: document.tiers.get(tier, ()) for tier in TIERS}
    listed = [(tier, each.provider, each.model) for tier in TIERS for each in tiers[tier]]
    split = split_hosts(listed, config.providers)
    pools: dict[Tier, tuple[Candidate, ...]] = {}
    for tier, entries in tiers.items():
        kept = []
        for entry in entries:
            provider = config.providers.get(entry.provider)
            groups = {f"tiers.{tier}", f"model {entry.model}"}
            if provider is None:
                left_out.append(f"{tier} {_pair(entry)}: the provider is not in [providers]")
            elif provider.credentials == "client" and groups & split:
                left_out.append(f"{tier} {_pair(entry)}: {MORE_THAN_ONE_HOST}")
            else:
                kept.append(_candidate(entry))
        pools[tier] = tuple(kept)
    skipped = (*document.skipped, *summed_up(left_out))
    if not any(pools.values()) and not _may_be_empty(config):
        why = f": {'; '.join(skipped[:_SHOWN])}" if skipped else ""
        raise SourceError(f"no entry of the document (version {document.version}) is usable{why}")
    aliases = config.routing.aliases
    prefixes = [(name[:-1], tier) for name, tier in aliases.items() if name.endswith("*")]
    return Snapshot(
        version=document.version,
        pools=pools,
        models=_models(pools),
        aliases={name: tier for name, tier in aliases.items() if not name.endswith("*")},
        prefixes=tuple(sorted(prefixes, key=lambda item: -len(item[0]))),
        calm={tier: shares_of(pool, pool) for tier, pool in pools.items()},
        skipped=skipped,
    )


def _may_be_empty(config: Config) -> bool:
    """A document from elsewhere never is; a configuration may begin with handing everything on."""
    return config.tier_config.source == "inline" and config.routing.unknown_model == "pass"


def shares_of(pool: tuple[Candidate, ...], available: tuple[Candidate, ...]) -> tuple[Share, ...]:
    """How likely each of a pool is to be drawn first of the `available`, all being well."""
    total = sum(candidate.weight for candidate in available)
    return tuple(
        Share(each.provider, each.model, AVAILABLE, each.weight / total if each in available else 0)
        for each in pool
    )


def _pair(entry: DocumentEntry) -> str:
    return f"{entry.provider}/{entry.model}"


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
                calm = shares_of(tuple(offers), tuple(offers[:1]))
                routes[candidate.model] = ModelRoute(known.tier, tuple(offers), calm)
    return routes
