"""Conversations that several processes share, and whose they are.

The promise: whoever serves, a conversation is on one model of the highest tier it was ever asked
for; it belongs to its owner alone, and only what succeeded is remembered.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from e2e.load import Client, clients
from e2e.replicas import Replica, eventually, pooled, replica
from e2e.support import (
    DONE,
    MODELS,
    Handler,
    completing,
    connected,
    event,
    failing,
    recording,
    serving,
    streaming,
)
from redisserver import RedisServer
from starlette.applications import Starlette

from tiergate import Gateway, TierMiddleware
from tiergate_sidecar.rawhttp import RawServer

CONVERSATIONS = 100
AT_ONCE = 10
ROUNDS = 10
TIERS = ("simple", "moderate", "complex")
BOTH_STORES = pytest.mark.parametrize("store", ["memory", "redis"])


@asynccontextmanager
async def pair(folder) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two replicas on one Redis, over two providers with two models for each tier."""
    async with (
        RawServer(completing()) as first,
        RawServer(completing()) as second,
        RedisServer(folder) as redis,
    ):
        config = pooled(f"{first.url}/v1", f"{second.url}/v1", cache={"url": redis.url})
        async with (
            replica(config, folder, "a", most=60) as a,
            replica(config, folder, "b", most=60) as b,
        ):
            yield a, b


async def test_two_replicas_keep_every_conversation_on_one_model_of_its_highest_tier(tmp_path):
    chance = random.Random(11)
    names = [f"c{number}" for number in range(CONVERSATIONS)]
    highest = dict.fromkeys(names, 0)
    rose = 0
    async with pair(tmp_path) as (a, b):
        for _ in range(ROUNDS):
            # Few ask for much, so that tiers still rise in the last rounds.
            asked = [
                (name, chance.choices((0, 1, 2), (200, 2, 1))[0], chance.choice((a, b)))
                for name in names
                for _ in range(AT_ONCE)
            ]
            got = await asyncio.gather(*(to.ask(name, TIERS[n]) for name, n, to in asked))
            assert {each.status for each in got} == {200}
            for (name, tier, _), each in zip(asked, got, strict=True):
                assert TIERS.index(each.tier) >= max(tier, highest[name])
            before = dict(highest)
            for name, tier, _ in asked:
                highest[name] = max(highest[name], tier)
            rose += before != highest
            at_a, at_b = [
                await asyncio.gather(*(each.ask(name, "simple") for name in names))
                for each in (a, b)
            ]
            for name, one, other in zip(names, at_a, at_b, strict=True):
                assert one.tier == other.tier == TIERS[highest[name]], name
                assert one.served_by == other.served_by, name
        stores = [await each.store() for each in (a, b)]
    assert [each["errors"] for each in stores] == [0, 0], "or it was not Redis that agreed"
    reached = [list(highest.values()).count(tier) for tier in range(3)]
    print(f"{reached} of each tier, some rose in {rose} rounds")  # noqa: T201
    assert min(reached) > 0
    assert rose > ROUNDS / 2


# --- whose a conversation is, and what makes one -----------------------------------------------


@asynccontextmanager
async def conversing(store, folder, *script: Handler, **tables) -> AsyncIterator[tuple]:
    """One recorded upstream and a client of a gateway before it, sessions in either store."""
    async with RedisServer(folder) as redis, recording(*script) as upstream:
        url = redis.url if store == "redis" else "memory://"
        quiet = {"retry": {"retries": 0, "fallbacks": 0}, "health": {"initial_backoff_seconds": 0}}
        tables = {"sessions": {"url": url}} | quiet | tables
        gateway = Gateway(pooled(upstream.base_url, **tables), environ={})
        app = TierMiddleware(Starlette(), gateway=gateway, authorize="open")
        async with serving(app) as url, clients(url) as client:
            yield client, upstream


async def remembered(client: Client, name: str, *headers: str) -> bool:
    """Whether that conversation is known to be a complex one; if not, it is a simple one now."""
    got = await client.ask(name, "simple", *headers)
    assert got.status == 200
    assert (got.reason == "session") == (got.tier == "complex")
    return got.tier == "complex"


@BOTH_STORES
async def test_a_conversation_belongs_to_its_owner(tmp_path, store):
    owners = ["Authorization: Bearer one", "Authorization: Bearer two", "X-Nobody: at all"]
    async with conversing(store, tmp_path) as (client, _):
        assert (await client.ask("c", "complex", owners[0])).status == 200
        assert [await remembered(client, "c", each) for each in owners] == [True, False, False]
        assert await remembered(client, "c", owners[0]), "the others changed nothing"


@BOTH_STORES
async def test_the_header_names_a_conversation_and_the_body_wins(tmp_path, store):
    async with conversing(store, tmp_path) as (client, upstream):
        header = "X-Sentinel-Conversation: c"
        assert (await client.ask(None, "complex", header)).status == 200
        assert await remembered(client, "c")
        assert not await remembered(client, "other", header)
        assert b"conversation" not in b"".join(call.body for call in upstream.received)


@BOTH_STORES
@pytest.mark.parametrize(("status", "answered"), [(500, 502), (422, 422)])
async def test_a_request_that_fails_leaves_no_session(tmp_path, store, status, answered):
    async with conversing(store, tmp_path, failing(status), completing()) as (client, _):
        assert (await client.ask("c", "complex")).status == answered
        assert not await remembered(client, "c")


@BOTH_STORES
async def test_a_failed_upgrade_leaves_the_session_as_it_was(tmp_path, store):
    script = (completing(), failing(500), completing())
    async with conversing(store, tmp_path, *script) as (client, _):
        bound = await client.ask("c", "moderate")
        assert (await client.ask("c", "complex")).status == 502
        again = await client.ask("c", "simple")
        assert (again.tier, again.served_by) == ("moderate", bound.served_by)


@BOTH_STORES
@pytest.mark.parametrize("order", [("moderate", "complex"), ("complex", "moderate")])
async def test_requests_that_run_together_end_at_the_higher_tier(tmp_path, store, order):
    gates = {MODELS[tier]: asyncio.Event() for tier in order}

    async def gated(call):
        await gates[json.loads(call.body)["model"].partition("-")[0]].wait()
        await completing()(call)

    async with conversing(store, tmp_path, gated) as (client, upstream):
        asked = {tier: asyncio.create_task(client.ask("c", tier)) for tier in order}
        await upstream.calls(2)
        for tier in order:
            gates[MODELS[tier]].set()
            assert (await asked[tier]).tier == tier, "what was asked for when it began"
        again = await client.ask("c", "simple")
        assert (again.tier, again.served_by) == ("complex", asked["complex"].result().served_by)


WHOLE = (event("one"), event("two", "stop"), DONE)


@BOTH_STORES
@pytest.mark.parametrize(
    ("pieces", "binds"), [(WHOLE, True), (WHOLE[:1], False)], ids=["complete", "cut"]
)
async def test_a_stream_binds_when_it_completes(tmp_path, store, pieces, binds):
    async with conversing(store, tmp_path, streaming(*pieces), completing()) as (client, _):
        got = await client.ask("c", "complex", stream=True)
        assert (got.status, got.body.endswith(DONE)) == (200, binds)
        assert await remembered(client, "c") == binds


@BOTH_STORES
@pytest.mark.parametrize("committed", [True, False])
async def test_a_client_that_leaves_binds_after_the_commit_point_only(tmp_path, store, committed):
    script = (streaming(*WHOLE[: int(committed)], hang=True), completing())
    async with conversing(store, tmp_path, *script) as (client, upstream):
        body = {"messages": [], "stream": True, "tier": "complex", "conversation_id": "c"}
        async with connected(client.url) as leaving:
            await leaving.post(json.dumps(body).encode())
            (call,) = await upstream.calls()
            if committed:
                assert (await leaving.head())[0] == 200
                assert await leaving.chunk() == event("one")
        async with asyncio.timeout(2):
            await call.gone.wait()
        if committed:  # bound when the request has ended, a moment after the provider knows
            await eventually(lambda: remembered(client, "c"))
        else:
            assert not await remembered(client, "c")
