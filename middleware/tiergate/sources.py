"""Where a tier configuration comes from, each place behind the one `Source` seam.

All of them speak Sentinel's document (CONTRACT section 11); what is made of it is in `snapshot`.
"""

from typing import Protocol

from msgspec import Struct, field

from tiergate.config import Config
from tiergate.tiers import Tier


class DocumentEntry(Struct, frozen=True, rename="camel"):
    """One candidate, in the document's names. Prices are per million tokens; None is unknown."""

    provider: str
    model: str
    relative_cost: float = 1
    input_price_per_million: float | None = None
    output_price_per_million: float | None = None
    cached_input_price_per_million: float | None = None


class TierDocument(Struct, frozen=True, rename="camel"):
    """The tiers at one version."""

    version: str
    tiers: dict[Tier, tuple[DocumentEntry, ...]] = field(default_factory=dict)


class Source(Protocol):
    """Something that can be asked for the tiers."""

    name: str

    async def fetch(self) -> TierDocument: ...


class InlineSource:
    """The `[[tiers.*]]` of the configuration itself."""

    name = "inline"

    def __init__(self, config: Config) -> None:
        self._config = config

    async def fetch(self) -> TierDocument:
        tiers = {
            tier: tuple(
                DocumentEntry(
                    provider=entry.provider,
                    model=entry.model,
                    relative_cost=entry.relative_cost,
                    input_price_per_million=entry.input_price_per_million,
                    output_price_per_million=entry.output_price_per_million,
                    cached_input_price_per_million=entry.cached_input_price_per_million,
                )
                for entry in entries
            )
            for tier, entries in self._config.tiers.items()
        }
        return TierDocument(version="inline", tiers=tiers)
