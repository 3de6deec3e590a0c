"""The tiers, compiled: what a request reads, made once for each version of the configuration.

Frozen and complete: a request keeps the snapshot it began with. Nothing here fetches or chooses.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from tiergate.adaptation import adaptation_of
from tiergate.candidates import Candidate, Reach, make_reach
from tiergate.config import Config
from tiergate.crosscheck import MORE_THAN_ONE_HOST, split_hosts
from tiergate.document import DocumentEntry, SourceError, TierDocument, summed_up
from tiergate.tiers import TIERS, Tier

_SHOWN: Final = 5  # entries that an error names


class ModelRoute(Struct, frozen=True):
    """Who offers one model, cheapest first, and the lowest tier that lists it.

    `by_price` says that prices tell apart some who are equal in relative cost: who is cheaper is
    then a matter of the request.
    """

    tier: Tier
    reach: Reach
    by_price: bool = False


class Snapshot(Struct, frozen=True):
    """One version of the tiers. Every tier is present; a tier of nobody is empty.

    `reaches` are those of a plain request, of every tier that has somebody. `is_choosy` says that
    some candidates are not for every request. `skipped` names the entries of its document that were
    left out, and why.
    """

    version: str
    pools: dict[Tier, tuple[Candidate, ...]]
    models: dict[str, ModelRoute]
    aliases: dict[str, Tier]
    prefixes: tuple[tuple[str, Tier], ...]
    reaches: dict[Tier, Reach]
    is_choosy: bool = False
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
        reaches={
            tier: make_reach(((tier, pool),), drawn=True) for tier, pool in pools.items() if pool
        },
        is_choosy=any(
            each.context_window is not None or each.supports is not None
            for pool in pools.values()
            for each in pool
        ),
        skipped=skipped,
    )


def _may_be_empty(config: Config) -> bool:
    """A document from elsewhere never is; a configuration may begin with handing everything on."""
    return config.tier_config.source == "inline" and config.routing.unknown_model == "pass"


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
        context_window=entry.context_window,
        supports=None if entry.supports is None else frozenset(entry.supports),
        adaptation=adaptation_of(entry.rename, entry.drop, entry.set),
    )


def _models(pools: dict[Tier, tuple[Candidate, ...]]) -> dict[str, ModelRoute]:
    lowest: dict[str, Tier] = {}
    offers: dict[str, dict[str, Candidate]] = {}
    for tier, pool in pools.items():  # lowest tier first
        for candidate in pool:
            lowest.setdefault(candidate.model, tier)
            offers.setdefault(candidate.model, {}).setdefault(candidate.provider, candidate)
    return {
        model: _route(lowest[model], tuple(sorted(each.values(), key=_counted_cost)))
        for model, each in offers.items()
    }


def _route(tier: Tier, candidates: tuple[Candidate, ...]) -> ModelRoute:
    prices: dict[float, set[tuple[float, float] | None]] = {}
    for each in candidates:
        known = None
        if each.input_price is not None and each.output_price is not None:
            known = each.input_price, each.output_price
        prices.setdefault(_counted_cost(each), set()).add(known)
    return ModelRoute(
        tier=tier,
        reach=make_reach(((tier, candidates),), drawn=False),
        by_price=any(len(told) > 1 for told in prices.values()),
    )


def _counted_cost(candidate: Candidate) -> float:
    return max(1.0, candidate.relative_cost)
