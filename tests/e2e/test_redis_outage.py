"""A Redis that is paused, killed, full, or holds garbage, under traffic.

The promise: no request fails because of it. A silent Redis costs each request at most one timeout
and then nothing; conversations stay where they are, and are shared again when it is back.
"""

import asyncio
import json
import random
import signal
from contextlib import asynccontextmanager
from statistics import median
from time import monotonic

import pytest
from e2e.load import percentile, told, traffic
from e2e.replicas import eventually, pooled, replica
from e2e.support import completing
from redis.exceptions import OutOfMemoryError
from redisserver import RedisServer

from tiergate_sidecar.rawhttp import RawServer

RATE = 200
TIMEOUT = 0.25  # cache.timeout_seconds, its default
BACK_WITHIN = 5
TALKERS = [f"c{number}" for number in range(40)]
TIERS = ("simple", "moderate", "complex")


def upstream():
    return RawServer(completing())


def shared(provider, url):
    return pooled(f"{provider.url}/v1", each=4, cache={"url": url})


@asynccontextmanager
async def pair(folder, **settings):
    """A Redis and two replicas on it, over one provider."""
    async with upstream() as provider, RedisServer(folder, **settings) as redis:
        config = shared(provider, redis.url)
        async with replica(config, folder, "a") as a, replica(config, folder, "b") as b:
            yield redis, a, b


def talking(number):
    """Requests of bound conversations, and every tenth one a new conversation."""
    if number % 10 == 0:
        return {"conversation": f"new-{number}", "tier": "moderate"}
    return {"conversation": TALKERS[number % len(TALKERS)], "tier": "simple"}


async def settle(one):
    """Bind the conversations, a third to each tier; what each is bound to."""
    asks = (one.ask(name, TIERS[n % 3]) for n, name in enumerate(TALKERS))
    bound = await asyncio.gather(*asks)
    assert {each.status for each in bound} == {200}
    return {each.conversation: (each.tier, each.served_by) for each in bound}


async def meets(a, b, name):
    """Whether a conversation that begins at `a` is followed by `b`."""
    one, other = await a.ask(name, "complex"), await b.ask(name, "simple")
    assert {one.status, other.status} == {200}
    return (other.tier, other.served_by) == ("complex", one.served_by)


def fresh(a, b):
    """The same, of a conversation that nobody has heard of."""
    numbers = iter(range(1_000_000))
    return lambda: meets(a, b, f"fresh-{next(numbers)}")


async def is_available(one):
    return (await one.store())["available"]


async def test_a_paused_redis_costs_one_timeout_and_then_nothing(tmp_path):
    """What is added is told by a process without Redis that gets the same requests meanwhile."""
    async with (
        upstream() as provider,
        pair(tmp_path) as (redis, a, b),
        replica(shared(provider, "memory://"), tmp_path, "control") as control,
    ):
        bound = await settle(a)
        assert await meets(a, b, "together")
        async with (
            traffic(a.client, RATE, talking) as got,
            traffic(control.client, RATE, talking) as usual,
        ):
            await asyncio.sleep(3)
            paused = monotonic()
            redis.pause()
            await asyncio.sleep(2)
            health, ready = await a.health(), await a.ready()
            await a.ask("raised", "moderate")
            dark = [await a.ask("raised", "complex"), await a.ask("begun", "complex")]
            await asyncio.sleep(paused + 4 - monotonic())
            redis.resume()
            back = await eventually(fresh(a, b), within=BACK_WITHIN, every=0.1)
        followed = [await b.ask(each.conversation, "simple") for each in dark]

    def added(name, since, until):
        """By p99; both in the same second, on the same noisy machine."""
        ours, theirs = [
            [each for each in some if since <= each.due < until] for some in (got, usual)
        ]
        print(f"{name}: {told(ours)}; without Redis: {told(theirs)}")  # noqa: T201
        return percentile(ours, 0.99) - percentile(theirs, 0.99)

    added("before", paused - 2, paused)
    first = added("first second", paused, paused + 1)
    # The median of three seconds: a stall of the machine falls into one of them.
    later = median(added("after it", paused + n, paused + n + 1) for n in (1, 2, 3))
    print(f"added {1000 * first:.1f}, then {1000 * later:.1f} ms; shared after {back:.2f} s")  # noqa: T201
    assert {each.status for each in got} == {200}
    assert 0 < first < TIMEOUT
    assert later < 0.005
    (store,) = health["stores"]
    assert (store["available"], ready) == (False, 200)
    assert store["seconds_down"] > 1
    assert store["last_error"]
    assert health["sessions"]["served_without"] > RATE
    # Nobody has lost its model, and what happened in the dark is known to all.
    for each in got:
        if each.conversation in bound:
            assert (each.tier, each.served_by) == bound[each.conversation]
    for known, each in zip(followed, dark, strict=True):
        assert (known.tier, known.served_by) == ("complex", each.served_by)


async def test_a_redis_that_is_killed_and_comes_back_empty_stops_nobody(tmp_path):
    async with pair(tmp_path) as (redis, a, b):
        assert await meets(a, b, "together")
        async with traffic(a.client, 50, talking) as at_a, traffic(b.client, 50, talking) as at_b:
            await asyncio.sleep(0.5)
            await redis.kill()
            await asyncio.sleep(1)
            stores = [await each.store() for each in (a, b)]
            assert [each["available"] for each in stores] == [False, False]
            assert [await each.ready() for each in (a, b)] == [200, 200]
            await redis.start()
            back = await eventually(fresh(a, b), within=BACK_WITHIN, every=0.1)
            await asyncio.sleep(0.5)
        print(f"shared again after {back:.2f} s")  # noqa: T201
        assert {each.status for each in at_a + at_b} == {200}
        assert max(percentile(at_a, 1), percentile(at_b, 1)) < TIMEOUT
        assert [await is_available(each) for each in (a, b)] == [True, True]


async def test_a_redis_that_comes_and_goes_lowers_nobody(tmp_path):
    """Both replicas raise conversations while Redis is there, is not, and is lost in between."""
    chance = random.Random(3)
    highest = dict.fromkeys(TALKERS, 0)

    def rising(_):
        name, tier = chance.choice(TALKERS), chance.choices((0, 1, 2), (200, 4, 1))[0]
        highest[name] = max(highest[name], tier)
        return {"conversation": name, "tier": TIERS[tier]}

    async with pair(tmp_path) as (redis, a, b):
        async with (
            traffic(a.client, 100, rising) as at_a,
            traffic(b.client, 100, rising) as at_b,
        ):
            for seconds in (0.1, 0.3, 0.9, 0.1, 0.6):
                await asyncio.sleep(0.3)
                redis.pause()
                await asyncio.sleep(seconds)
                redis.resume()
        assert {each.status for each in at_a + at_b} == {200}
        for each in (a, b):
            await eventually(lambda each=each: is_available(each), within=BACK_WITHIN)
        reached = []
        for name, tier in highest.items():
            one, other = await a.ask(name, "simple"), await b.ask(name, "simple")
            assert one.tier == other.tier == TIERS[tier], name
            assert one.served_by == other.served_by, name
            reached.append(one.tier)
    print([reached.count(tier) for tier in TIERS], told(at_a + at_b))  # noqa: T201
    assert len(set(reached)) > 1


async def test_a_process_ends_in_order_while_redis_is_silent(tmp_path):
    async with pair(tmp_path) as (redis, a, _):
        await settle(a)
        redis.pause()
        assert (await a.ask("c", "complex")).status == 200
        a.process.signal(signal.SIGTERM)  # what it has said is looked at on leaving
        async with asyncio.timeout(3):
            await a.process.process.wait()


async def test_a_wrong_password_is_told_and_stops_nobody(tmp_path):
    async with (
        upstream() as provider,
        RedisServer(tmp_path, password="right") as redis,
        replica(shared(provider, redis.url.replace("right", "not-so")), tmp_path) as one,
    ):
        async with traffic(one.client, 50, talking) as got:
            await asyncio.sleep(1)
            store = await one.store()
            assert await one.ready() == 200
            assert (store["available"], store["errors"] > 0) == (False, True)
            assert "not-so" not in json.dumps(await one.health())
        assert {each.status for each in got} == {200}
        assert percentile(got, 1) < TIMEOUT
    assert one.said.count("redis://") == 1, "one warning, not one for each request"
    assert "not-so" not in one.said


async def test_redis_over_tls_with_a_password_is_shared(tmp_path):
    async with pair(tmp_path, password="s3", tls=True) as (_, a, b):
        assert await meets(a, b, "together")
        assert await is_available(a)


async def test_a_full_redis_is_told_and_stops_nobody(tmp_path):
    async with (
        upstream() as provider,
        RedisServer(tmp_path, maxmemory="2mb") as redis,
        redis.client() as inside,
        replica(shared(provider, redis.url), tmp_path) as one,
    ):
        with pytest.raises(OutOfMemoryError):
            await fill(inside)
        async with traffic(one.client, 50, talking) as got:
            await asyncio.sleep(1)
            store = await one.store()
            assert await one.ready() == 200
            assert store["errors"] > 0
            assert "memory" in store["last_error"]
        assert {each.status for each in got} == {200}
        assert percentile(got, 1) < TIMEOUT
        await inside.flushall()
        await one.ask("c", "complex")
        assert (await one.ask("c", "simple")).reason == "session", "as soon as there is room"


async def fill(redis):
    for number in range(1_000):
        await redis.set(f"filler-{number}", b"x" * 10_000)


GARBAGE = (b"\x80\x05.", b'{"tier": 7}', b'"complex"', b"null", b"", b"[" * 100_000, ["a", "list"])


async def test_garbage_in_a_session_is_no_session_and_is_replaced(tmp_path):
    async with (
        upstream() as provider,
        RedisServer(tmp_path) as redis,
        redis.client() as inside,
        replica(shared(provider, redis.url), tmp_path) as one,
    ):
        for number, garbage in enumerate(GARBAGE):
            name = f"c{number}"
            await one.ask(name, "complex")
            (key,) = await inside.keys(f"sentinel:session:*:{name}")
            if isinstance(garbage, list):
                await inside.delete(key)
                await inside.rpush(key, *garbage)
            else:
                await inside.set(key, garbage)
            got = await one.ask(name, "moderate")
            assert (got.status, got.tier, got.reason) == (200, "moderate", "explicit")
            again = await one.ask(name, "simple")
            assert (again.tier, again.served_by) == ("moderate", got.served_by)
            assert await is_available(one)
            assert await inside.ttl(key) > 86_000
