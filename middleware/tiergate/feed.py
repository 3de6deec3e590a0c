"""Where the tiers come from and what is made of them: what a reload replaces of the store.

When a source is asked is `store`'s; what a source is, `sources`'.
"""

import asyncio
import hashlib
import math
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import Struct

from tiergate.aside import Aside
from tiergate.config import Config, TierConfig
from tiergate.document import SourceError, TierDocument
from tiergate.snapshot import Snapshot, compile_snapshot
from tiergate.sources import FileSource, HttpSource, InlineSource, Source

CACHE_KEY: Final = "tiers:config"
"""Behind `cache.key_prefix`: the seeds' `sentinel:tiers:config`. The digest of a service's address
follows, for replicas with another one may read the same cache."""


class Feed(Struct, frozen=True):
    """A source and how to compile what it gives.

    `standby` serves until the source's first good document; of an inline source it is the document.
    `ttl` is in seconds, infinite for a source that cannot change by itself; `timeout` bounds one
    answer of the source.
    """

    source: Source
    standby: TierDocument | None
    compile: Callable[[TierDocument], Snapshot]
    key: str
    ttl: float
    timeout: float

    async def fetch(self, held: TierDocument | None) -> tuple[TierDocument, Snapshot]:
        """Ask the source, which last gave `held`; raises `SourceError`."""
        try:
            async with asyncio.timeout(self.timeout):
                document = await self.source.fetch(held)
        except TimeoutError:
            text = f"{self.source.name}: no answer within {self.timeout:g} s"
            raise SourceError(text) from None
        try:
            return document, self.compile(document)
        except SourceError as error:
            raise SourceError(f"{self.source.name}: {error}") from None


def feed_of(
    config: Config,
    service_key: str | None,
    *,
    key_prefix: str,
    wall: Callable[[], float],
    aside: Aside | None = None,
) -> Feed:
    """The feed that a configuration describes; `wall` is Unix time in seconds.

    `aside` reads files, those of other feeds too.
    """
    settings, inline = config.tier_config, InlineSource(config)
    source: Source = inline
    if settings.source == "file":
        source = FileSource(settings.file, wall=wall, aside=aside)
    elif settings.source == "http":
        source = HttpSource(settings.url, service_key, wall=wall)
    return Feed(
        source=source,
        standby=inline.document if any(config.tiers.values()) else None,
        compile=partial(compile_snapshot, config=config),
        key=cache_key(key_prefix, settings),
        ttl=math.inf if source is inline else settings.ttl_seconds,
        timeout=settings.timeout_seconds,
    )


def cache_key(prefix: str, settings: TierConfig) -> str:
    """The key of a document. In a shared cache no other service's tiers may be found under it."""
    if settings.source != "http":
        return f"{prefix}{CACHE_KEY}"
    return f"{prefix}{CACHE_KEY}:{hashlib.sha256(settings.url.encode()).hexdigest()[:16]}"
