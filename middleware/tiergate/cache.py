"""Where fetched tier documents are kept, by key: in this process, or in a Redis that is shared.

Through aiocache, as JSON. What is fresh, and what is asked when nothing is here, is not known
here: a cache gives a document or none, and never fails a caller.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from tiergate.document import TierDocument
from tiergate.errors import TiergateError
from tiergate.redis_link import RedisDown, RedisLink, RedisRefused

if TYPE_CHECKING:
    from redis.asyncio import Redis

_MOST_KEPT: Final = 16  # documents in process: a key is a source, and reloads may bring new ones


class DocumentCache(Protocol):
    """Documents by key. No method raises: what cannot be had is None, what cannot be kept is not.

    `set` keeps a document for `ttl_seconds` where others may read it; how old one is,
    `fetched_at` tells.
    """

    async def get(self, key: str) -> TierDocument | None: ...

    async def set(self, key: str, document: TierDocument, ttl_seconds: float) -> None: ...

    async def close(self) -> None: ...


class MemoryDocuments:
    """In this process, in all its event loops; the 16 keys written last."""

    def __init__(self) -> None:
        self._cache: Any = None  # aiocache is not typed
        self._keys: dict[str, None] = {}

    async def get(self, key: str) -> TierDocument | None:
        found: TierDocument | None = None
        if self._cache is not None:
            found = await self._cache.get(key)
        return found

    async def set(self, key: str, document: TierDocument, ttl_seconds: float) -> None:  # noqa: ARG002  # see below
        if self._cache is None:
            self._cache = _memory()
        # Without the TTL: aiocache's is a timer of the loop that wrote, and outlives that loop.
        await self._cache.set(key, document)
        self._keys.pop(key, None)
        self._keys[key] = None
        if len(self._keys) > _MOST_KEPT:
            oldest = next(iter(self._keys))
            del self._keys[oldest]
            await self._cache.delete(oldest)

    async def close(self) -> None:
        """Nothing is open."""


class SharedDocuments:
    """In Redis, over the link that the process has to it, which bounds and counts what fails."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def get(self, key: str) -> TierDocument | None:
        try:
            return await self._link.run(lambda client: _shared(client).get(key))
        except _Garbage:
            with suppress(RedisDown, RedisRefused):
                await self._link.run(lambda client: _shared(client).delete(key))
        except (RedisDown, RedisRefused):
            pass
        return None

    async def set(self, key: str, document: TierDocument, ttl_seconds: float) -> None:
        # A float: what aiocache makes of an int is a call that redis-py deprecates.
        ttl = max(0.001, float(ttl_seconds))
        with suppress(RedisDown, RedisRefused):
            await self._link.run(lambda client: _shared(client).set(key, document, ttl=ttl))

    async def close(self) -> None:
        """The link belongs to whoever made it."""


class _Garbage(TiergateError):
    """Under the key is something, and no document."""


class DocumentSerializer:
    """aiocache's serializer, in JSON: never pickle, which would run what a shared cache holds."""

    encoding = None

    def dumps(self, document: TierDocument) -> bytes:
        return msgspec.json.encode(document)

    def loads(self, data: bytes | None) -> TierDocument | None:
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=TierDocument)
        except (ValueError, RecursionError) as error:  # msgspec's own, and bad UTF-8
            raise _Garbage(str(error)) from None


def _memory() -> Any:
    # Imported late: aiocache brings the whole Redis client in where that is installed.
    from aiocache.backends.memory import SimpleMemoryCache

    # timeout=None: half of what a call costs is the timer of the default, and memory never waits.
    return SimpleMemoryCache(serializer=DocumentSerializer(), timeout=None)


def _shared(client: "Redis") -> Any:
    from aiocache.backends.redis import RedisCache  # late, as above

    # Over the pool of the link, which carries TLS and a user name (aiocache's own cannot); the
    # time limit is the link's too.
    return RedisCache(
        serializer=DocumentSerializer(),
        timeout=None,
        connection_pool_class=lambda **_: client.connection_pool,
    )
