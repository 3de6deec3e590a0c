"""The caches of tier documents: what was kept is what is read, and nothing they meet is raised.

In process over several event loops; in a real Redis that holds garbage, is full, or is not there.
"""

import asyncio
import gc
import time

import pytest
from redisserver import RedisServer

from tiergate.cache import MemoryDocuments, SharedDocuments
from tiergate.document import DocumentEntry, TierDocument
from tiergate.redis_link import RedisLink

KEY = "sentinel:tiers:config"
DOCUMENT = TierDocument(
    version="7",
    tiers={
        "simple": (
            DocumentEntry("p1", "m1", relative_cost=2, input_price_per_million=0.1),
            DocumentEntry(
                "p1",
                "m2",
                context_window=8000,
                supports=(),
                rename={"max_tokens": "max_completion_tokens"},
                drop=("temperature",),
                set={"reasoning": {"effort": "low", "deep_name": [1, 1.5, None]}},
            ),
        )
    },
    updated_at="2026-01-01T00:00:00Z",
    fetched_at=1_700_000_000.5,
    etag='"abc"',
    skipped=("tiers.simple[1]: no model",),
)


def link_to(server: RedisServer) -> RedisLink:
    return RedisLink(server.url, timeout=5, clock=time.monotonic, try_seconds=0.05)


async def test_what_was_kept_in_memory_is_read_in_every_loop():
    documents = MemoryDocuments()
    assert await documents.get(KEY) is None
    await documents.set(KEY, DOCUMENT, ttl_seconds=0.001)
    await documents.close()

    async def read_and_replace() -> None:
        # No timer of the first loop: `fetched_at` says how old a document is.
        assert await documents.get(KEY) == DOCUMENT
        await documents.set(KEY, DOCUMENT, ttl_seconds=1)

    await asyncio.to_thread(asyncio.run, read_and_replace())
    await asyncio.to_thread(asyncio.run, read_and_replace())
    gc.collect()  # a warning fails the test


async def test_memory_keeps_the_sixteen_keys_written_last():
    documents = MemoryDocuments()
    for number in range(16):
        await documents.set(f"k{number}", DOCUMENT, 60)
    await documents.set("k0", DOCUMENT, 60)  # again: now the youngest
    for number in range(16, 31):
        await documents.set(f"k{number}", DOCUMENT, 60)
    kept = [number for number in range(31) if await documents.get(f"k{number}") is not None]
    assert kept == [0, *range(16, 31)]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_what_one_process_keeps_in_redis_another_reads(tmp_path, tls):
    async with RedisServer(tmp_path, password="secret", tls=tls) as server:
        one, other = link_to(server), link_to(server)
        assert await SharedDocuments(one).get(KEY) is None
        await SharedDocuments(one).set(KEY, DOCUMENT, ttl_seconds=1800)
        assert await SharedDocuments(other).get(KEY) == DOCUMENT
        await SharedDocuments(other).close()
        async with server.client() as client:
            assert 1_790_000 < await client.pttl(KEY) <= 1_800_000
            assert (await client.get(KEY)).startswith(b'{"version":"7"')  # never pickle
        assert await SharedDocuments(other).get(KEY) == DOCUMENT  # the link is not theirs to close
        await one.close()
        await other.close()


@pytest.mark.parametrize("ttl", [0.0001, 0.5, 60, 10.5])
async def test_what_redis_keeps_has_an_end(tmp_path, ttl):
    async with RedisServer(tmp_path) as server:
        link = link_to(server)
        await SharedDocuments(link).set(KEY, DOCUMENT, ttl)
        async with server.client() as client:
            assert -2 <= await client.pttl(KEY) <= max(1, ttl * 1000)  # -2: gone
            assert await client.pttl(KEY) != -1  # for ever
        assert link.state.errors == 0
        await link.close()


@pytest.mark.parametrize(
    "garbage",
    [
        *[b"", b"{", b"\x80\x04\x95pickle", b'{"version":7}', b"null", b"\xff" * 100_000],
        b'{"version":"\xff","tiers":{}}',
        b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ],
    ids=range(8),
)
async def test_garbage_in_redis_is_no_document_and_deleted(tmp_path, garbage):
    async with RedisServer(tmp_path) as server:
        link = link_to(server)
        async with server.client() as client:
            await client.set(KEY, garbage)
            assert await SharedDocuments(link).get(KEY) is None
            assert not await client.exists(KEY)
        assert link.state.available
        await link.close()


async def test_a_key_of_another_type_is_no_document_until_one_is_written(tmp_path):
    async with RedisServer(tmp_path) as server:
        link = link_to(server)
        documents = SharedDocuments(link)
        async with server.client() as client:
            await client.lpush(KEY, "x")
        assert await documents.get(KEY) is None
        assert link.state.errors == 1
        await documents.set(KEY, DOCUMENT, 60)
        assert await documents.get(KEY) == DOCUMENT
        await link.close()


async def test_a_full_redis_keeps_nothing_and_fails_nobody(tmp_path):
    async with RedisServer(tmp_path, maxmemory="1") as server:
        link = link_to(server)
        documents = SharedDocuments(link)
        await documents.set(KEY, DOCUMENT, 60)
        assert await documents.get(KEY) is None
        assert (link.state.available, link.state.errors) == (True, 1)
        await link.close()


async def test_a_redis_that_is_not_there_fails_nobody(tmp_path):
    async with RedisServer(tmp_path) as server:
        link = link_to(server)
        documents = SharedDocuments(link)
        await server.kill()
        await documents.set(KEY, DOCUMENT, 60)
        assert await documents.get(KEY) is None
        assert (link.state.available, link.state.errors) == (False, 2)
        await link.close()
