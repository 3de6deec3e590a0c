"""The one store: source → aiocache → snapshot, read through once, and never a pickle."""

import asyncio
import pickle

import msgspec
import pytest
from aiocache import SimpleMemoryCache

from tiergate.config import Config
from tiergate.snapshot import compile_snapshot
from tiergate.sources import DocumentEntry, TierDocument
from tiergate.store import DocumentSerializer, Store
from tiergate.testing import MemorySource

DOCUMENT = TierDocument("7", {"simple": (DocumentEntry("p1", "m", input_price_per_million=0.1),)})


def store(source: MemorySource) -> Store:
    return Store(source, lambda document: compile_snapshot(document, Config()), key_prefix="s:")


async def test_the_source_is_asked_once_and_never_again():
    source = MemorySource([DOCUMENT, TierDocument("8")])
    made = store(source)
    assert made.snapshot is None
    first = await made.load()
    assert await made.load() is made.snapshot is first
    assert (source.fetched, first.version) == (1, "7")
    assert first.pools["simple"][0].input_price == 0.1


async def test_many_at_once_make_one_fetch_of_a_ready_source():
    source = MemorySource([DOCUMENT, TierDocument("8")])
    made = store(source)
    loaded = await asyncio.gather(*(made.load() for _ in range(50)))
    assert source.fetched == 1
    assert {snapshot.version for snapshot in loaded} == {"7"}


async def test_what_the_cache_holds_is_not_fetched_again_and_it_holds_json_under_one_key():
    source = MemorySource([DOCUMENT])
    made = store(source)
    await made.load()
    made.snapshot = None
    await made.load()
    assert source.fetched == 1
    assert isinstance(made._cache, SimpleMemoryCache)
    held = made._cache._cache
    assert msgspec.json.decode(held["s:tiers:config"], type=TierDocument) == DOCUMENT
    assert list(held) == ["s:tiers:config"]


async def test_two_stores_do_not_share_what_they_hold():
    other = MemorySource([TierDocument("8")])
    await store(MemorySource([DOCUMENT])).load()
    assert (await store(other).load()).version == "8"


def test_the_serializer_is_json_and_would_not_unpickle():
    serializer = DocumentSerializer()
    written = serializer.dumps(DOCUMENT)
    assert msgspec.json.decode(written)["tiers"]["simple"][0]["inputPricePerMillion"] == 0.1
    assert serializer.loads(written) == DOCUMENT
    assert serializer.loads(None) is None
    with pytest.raises(msgspec.DecodeError):
        serializer.loads(pickle.dumps(DOCUMENT.version))


async def test_a_source_that_fails_leaves_the_store_as_it_was_and_is_asked_again():
    class Failing(MemorySource):
        async def fetch(self) -> TierDocument:
            if not self.fetched:
                self.fetched = 1
                raise OSError("down")
            return await super().fetch()

    made = store(Failing([DOCUMENT]))
    with pytest.raises(OSError, match="down"):
        await made.load()
    assert made.snapshot is None
    assert (await made.load()).version == "7"


async def test_a_store_tells_what_it_holds():
    made = store(MemorySource([DOCUMENT]))
    assert repr(made) == "<Store memory: nothing loaded>"
    await made.load()
    assert repr(made) == "<Store memory: 7>"
