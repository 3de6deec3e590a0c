"""The tier configuration in memory: source → aiocache → compiled snapshot.

The request path reads `snapshot`, a plain attribute. Only the first request of a process, or the
lifespan before it, awaits `load`.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tiergate.snapshot import Snapshot
from tiergate.sources import Source, TierDocument

CACHE_KEY: Final = "tiers:config"
"""Behind `cache.key_prefix`: the seeds' `sentinel:tiers:config`. One key, for tiers are global."""


class DocumentSerializer:
    """aiocache's serializer, in JSON: never pickle, which would run what a shared cache holds."""

    encoding = None

    def dumps(self, document: TierDocument) -> bytes:
        return msgspec.json.encode(document)

    def loads(self, data: bytes | None) -> TierDocument | None:
        return None if data is None else msgspec.json.decode(data, type=TierDocument)


class Store:
    """One source, one cache, one snapshot."""

    def __init__(
        self, source: Source, compile: Callable[[TierDocument], Snapshot], *, key_prefix: str
    ) -> None:
        self.snapshot: Snapshot | None = None
        self._source = source
        self._compile = compile
        self._key = f"{key_prefix}{CACHE_KEY}"
        self._cache: Any = None  # aiocache is not typed

    def __repr__(self) -> str:
        version = self.snapshot.version if self.snapshot else "nothing loaded"
        return f"<Store {self._source.name}: {version}>"

    async def load(self) -> Snapshot:
        """The snapshot, read through the cache the first time."""
        if self.snapshot is None:
            self.snapshot = self._compile(await self._document())
        return self.snapshot

    async def _document(self) -> TierDocument:
        if self._cache is None:
            self._cache = _memory_cache()
        document: TierDocument | None = await self._cache.get(self._key)
        if document is None:
            document = await self._source.fetch()
            await self._cache.set(self._key, document)
        return document


def _memory_cache() -> Any:
    # Imported late: aiocache brings the whole Redis client in where that is installed.
    from aiocache.backends.memory import SimpleMemoryCache

    # timeout=None: half of what a call costs is the timer of the default, and memory never waits.
    return SimpleMemoryCache(serializer=DocumentSerializer(), timeout=None)
