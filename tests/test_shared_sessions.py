"""Replicas agree on sessions through a real Redis, and go on without it, lowering nobody after.

CONTRACT section 5 for the shared store: the rule in Lua, garbage, a full, a wrong and an absent
Redis, and what is made good when it returns. How the link finds out is `test_redis_link`'s.
"""

import asyncio
import random
import time
from typing import Self

import msgspec
import pytest
from health_clock import Clock
from redisserver import RedisServer
from session_rule import HIGH, LATER, LOW, MIDDLE, MIDDLE_OF_OTHER, RULE

from tiergate.config import SessionSettings
from tiergate.redis_link import RedisLink
from tiergate.sessions import Session, SessionsState
from tiergate.shared_sessions import RedisSessions
from tiergate.tiers import RANK, TIERS

NOWHERE = "redis://127.0.0.1:1/0"
"""Nobody listens on port 1: a Redis that is away from the beginning, which is known at once."""


class Replica(RedisSessions):
    """The sessions of one process and its link, both closed at the end of its `async with`.

    The shadow's clock is a number. The link has patience with a busy machine, and asks after Redis
    more often than it would.
    """

    def __init__(self, url: str, *, timeout: float = 5, **given) -> None:
        self.link = RedisLink(url, timeout=timeout, clock=time.monotonic, try_seconds=0.05)
        self.clock = Clock()
        super().__init__(self.link, SessionSettings(**given), self.clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        await self.link.close()

    async def back(self) -> None:
        async with asyncio.timeout(5):
            while not self.link.available:  # noqa: ASYNC110  # a process has no event of ours
                await asyncio.sleep(0.01)

    async def returns_to(self, server: RedisServer) -> None:
        """What the link does before it lets requests in again, with the Redis of `server`."""
        async with server.client() as client:
            for hook in self.link.on_return:
                await hook(client)


async def held(server: RedisServer, key: str) -> Session | None:
    async with server.client() as client:
        found = await client.get(key)
    return None if found is None else msgspec.json.decode(found, type=Session)


# --- Redis answers


async def test_in_redis_too_a_write_succeeds_only_upwards_or_over_what_was_read(tmp_path):
    async with RedisServer(tmp_path) as server, Replica(server.url) as made:
        seen = []
        for name, before, new, read, _ in RULE:
            if before is not None:
                assert await made.bind(name, before, None)
            may = await made.bind(name, new, read)
            assert await made.find(name) == await held(server, name) == (new if may else before)
            seen.append((name, before, new, read, may))
        assert seen == RULE


async def test_two_replicas_see_one_session(tmp_path):
    async with (
        RedisServer(tmp_path) as server,
        Replica(server.url) as one,
        Replica(server.url) as other,
    ):
        assert await one.find("k") is None
        assert await one.bind("k", LOW, None)
        assert await other.find("k") == LOW
        assert await other.bind("k", HIGH, LOW)
        assert not await one.bind("k", MIDDLE, LOW)
        assert await one.find("k") == await other.find("k") == HIGH
        assert one.state() == SessionsState(one.link.name, held=1)


async def test_two_hundred_requests_at_once_end_at_the_highest_tier(tmp_path):
    chance = random.Random(4)
    async with (
        RedisServer(tmp_path) as server,
        Replica(server.url) as one,
        Replica(server.url) as other,
    ):

        async def ask(number: int) -> None:
            made, key = chance.choice([one, other]), f"k{number % 4}"
            tier = TIERS[min(chance.randrange(3), number % 4)]
            read = await made.find(key)
            if read is None or RANK[read.tier] < RANK[tier]:
                await made.bind(key, Session(f"p{number}", "m", tier, number), read)

        await asyncio.gather(*map(ask, range(200)))
        ends = [await one.find(f"k{number}") for number in range(4)]
        assert [end and end.tier for end in ends] == ["simple", "moderate", *["complex"] * 2]
        assert ends == [await other.find(f"k{number}") for number in range(4)]


async def test_a_session_lives_on_with_each_use_in_redis_too(tmp_path):
    async with (
        RedisServer(tmp_path) as server,
        Replica(server.url, ttl_seconds=100) as made,
        server.client() as client,
    ):
        for use in (made.bind("k", LOW, None), made.find("k"), made.bind("k", HIGH, LOW)):
            await use
            assert 99_000 < await client.pttl("k") <= 100_000
            await client.pexpire("k", 50_000)
        assert not await made.bind("k", LOW, None)
        assert await client.pttl("k") <= 50_000


async def test_a_session_lives_for_fractions_of_a_second_and_by_new_limits(tmp_path):
    async with (
        RedisServer(tmp_path) as server,
        Replica(server.url, ttl_seconds=0.0001) as made,
        server.client() as client,
    ):
        assert await made.bind("k", LOW, None)  # a millisecond is the least that Redis knows
        made.reconfigure(SessionSettings(ttl_seconds=0.5, max_in_process=1))
        await made.bind("a", LOW, None)
        assert 1 < await client.pttl("a") <= 500
        await made.bind("b", LOW, None)
        assert made.state().held == 1


async def test_a_redis_that_forgot_the_script_is_told_again(tmp_path):
    async with RedisServer(tmp_path) as server, Replica(server.url) as made:
        await made.bind("k", LOW, None)
        async with server.client() as client:
            await client.script_flush()
        assert await made.bind("k", HIGH, LOW)
        assert made.state().errors == 0


GARBAGE = {
    "nothing": b"",
    "no JSON": b"{",
    "no text": b'{"provider":"\xff","model":"m","tier":"huge","created_at":1}',
    "a number": b"5",
    "null": b"null",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "no tier": b'{"provider":"p1","model":"m1","created_at":1}',
    "an unknown tier": b'{"provider":"p1","model":"m1","tier":"huge","created_at":1}',
    "a tier that is a number": b'{"provider":"p1","model":"m1","tier":1,"created_at":1}',
    "no provider": b'{"model":"m1","tier":"complex","created_at":1}',
    "no model": b'{"provider":"p1","model":null,"tier":"complex","created_at":1}',
    "no time": b'{"provider":"p1","model":"m1","tier":"complex"}',
    # Those are sessions to Lua, and of the highest tier.
    "bad UTF-8": b'{"provider":"p1","model":"\xff","tier":"complex","created_at":1}',
    "no end": b'{"provider":"p1","model":"m1","tier":"complex","created_at":1e999}',
    "no number": b'{"provider":"p1","model":"m1","tier":"complex","created_at":nan}',
    "in hex": b'{"provider":"p1","model":"m1","tier":"complex","created_at":0x10}',
}


async def test_garbage_is_no_session_and_gives_way_to_one(tmp_path):
    async with (
        RedisServer(tmp_path) as server,
        Replica(server.url) as made,
        server.client() as client,
    ):
        for key, garbage in GARBAGE.items():
            await client.set(key, garbage)
        await made.bind("a list's key", HIGH, None)  # seen before, which does not count
        await client.delete("a list's key")
        await client.rpush("a list's key", "x")
        await client.hset("a hash's key", "x", "y")
        keys = [*GARBAGE, "a list's key", "a hash's key"]
        assert [await made.find(key) for key in keys] == [None] * len(keys)
        assert made.state().errors == len(keys)
        assert made.link.available
        assert all([await made.bind(key, LOW, None) for key in keys])
        assert [await made.find(key) for key in keys] == [LOW] * len(keys)
        assert made.state().errors == len(keys)


async def test_what_replaced_garbage_meanwhile_is_not_overwritten(tmp_path):
    garbage = GARBAGE["bad UTF-8"]
    async with RedisServer(tmp_path) as server, Replica(NOWHERE) as away, server.client() as client:
        await client.set("k", garbage)
        run_script, scripts = client.evalsha, 0

        class Overtaken:
            """Another replica binds between the two scripts."""

            eval = client.eval

            async def evalsha(self, *arguments: object) -> list[bytes]:
                nonlocal scripts
                scripts += 1
                if scripts == 2:
                    await client.set("k", msgspec.json.encode(HIGH))
                return await run_script(*arguments)

        await away.bind("k", LOW, None)
        await away.bind("other", LOW, None)
        for hook in away.link.on_return:
            await hook(Overtaken())
        assert (await held(server, "k"), await held(server, "other")) == (HIGH, LOW)
        assert await away.find("k") == HIGH


@pytest.mark.parametrize("rule", ["-getex", "-getex +get"], ids=["as before 6.2", "not permitted"])
async def test_without_getex_a_session_is_read_and_lives_on_all_the_same(tmp_path, rule):
    renamed = ("--rename-command", "GETEX", "") if rule == "-getex" else ()
    async with (
        RedisServer(tmp_path, options=renamed) as server,
        Replica(server.url, ttl_seconds=100) as made,
        server.client() as client,
    ):
        await client.execute_command("ACL", "SETUSER", "default", *rule.split())
        assert await made.bind("k", LOW, None)
        for _ in range(2):
            await client.pexpire("k", 50_000)
            assert await made.find("k") == LOW
            assert 99_000 < await client.pttl("k") <= 100_000
        assert await made.find("none") is None
        assert made.state().errors == 0
        statistics = await client.info("commandstats")
        assert statistics.get("cmdstat_getex", {"rejected_calls": 1})["rejected_calls"] <= 1


async def test_a_redis_busy_with_a_script_is_away_whichever_command_it_refuses(tmp_path):
    options = ("--busy-reply-threshold", "1")
    async with RedisServer(tmp_path, options=options) as server, Replica(server.url) as made:
        await made.bind("k", LOW, None)
        async with server.client() as client, server.client() as other:
            endless = asyncio.create_task(client.eval("while true do end", 0))
            async with asyncio.timeout(5):
                while made.link.available:  # until the script has begun
                    assert await made.find("k") == LOW
            assert "BUSY" in str(made.link.state.last_error)
            assert "k)" not in str(made.link.state.last_error)
            await other.script_kill()
            await asyncio.wait({endless})
            assert endless.exception() is not None
            await made.back()


async def test_a_redis_that_refuses_to_read_costs_nobody_the_session_that_was_seen(tmp_path):
    async with RedisServer(tmp_path) as server, Replica(server.url) as made:
        await made.bind("k", LOW, None)
        async with server.client() as client:
            await client.execute_command("ACL", "SETUSER", "default", "-getex", "-get")
        assert await made.find("k") == LOW
        assert (made.state().errors, made.link.available) == (1, True)


async def test_tls(tmp_path):
    async with (
        RedisServer(tmp_path, tls=True, password="p:/@ä") as server,
        Replica(server.url) as made,
    ):
        assert await made.bind("k", LOW, None)
        assert await made.find("k") == LOW
        assert made.state() == SessionsState(made.link.name, held=1)


# --- Redis is away


async def test_a_paused_redis_costs_nobody_its_session_and_learns_what_was_raised(tmp_path):
    async with (
        RedisServer(tmp_path) as server,
        Replica(server.url, timeout=0.2) as one,
        Replica(server.url, timeout=0.2) as other,
    ):
        for key in ("kept", "raised"):
            assert await one.bind(key, LOW, None)
            assert await other.find(key) == LOW
        server.pause()
        for key in ("kept", "raised"):
            assert await one.find(key) == LOW
        assert await one.bind("raised", MIDDLE, LOW)
        assert not await one.bind("raised", LOW, LOW)
        assert await one.bind("new", MIDDLE, None)
        assert await one.find("raised") == MIDDLE
        state = one.state()
        assert (state.unsaved, state.served_without, state.held) == (3, 3, 3)
        assert await other.find("raised") == LOW
        assert await other.bind("raised", HIGH, LOW)
        server.resume()
        await one.back()
        await other.back()
        for made in (one, other):
            assert made.state().unsaved == 0
            for key, session in {"kept": LOW, "raised": HIGH, "new": MIDDLE}.items():
                assert await made.find(key) == session


async def test_a_redis_that_comes_back_empty_learns_what_was_used_meanwhile(tmp_path):
    async with (
        RedisServer(tmp_path) as server,
        Replica(server.url) as one,
        Replica(server.url) as other,
    ):
        await one.bind("used", HIGH, None)
        await one.bind("unused", HIGH, None)
        await server.kill()
        assert await one.find("used") == HIGH
        await server.start()
        await one.back()
        assert await other.find("used") == await one.find("used") == HIGH
        assert await one.find("unused") is None
        assert await one.bind("unused", LOW, None)


@pytest.mark.parametrize(
    ("there", "raised", "after"),
    [
        (None, MIDDLE, MIDDLE),
        (LOW, MIDDLE, MIDDLE),
        (MIDDLE_OF_OTHER, MIDDLE, MIDDLE_OF_OTHER),
        (HIGH, MIDDLE, HIGH),
    ],
    ids=["none", "lower", "the same tier", "higher"],
)
async def test_on_return_the_higher_session_holds_and_the_shadow_follows(
    tmp_path, there, raised, after
):
    async with (
        RedisServer(tmp_path) as server,
        Replica(NOWHERE) as away,
        Replica(server.url) as other,
    ):
        if there is not None:
            await other.bind("k", there, None)
        assert await away.bind("k", raised, None)
        await away.returns_to(server)
        assert away.state().unsaved == 0
        assert await away.find("k") == await other.find("k") == after


async def test_what_is_owed_is_paid_in_batches_also_what_comes_meanwhile(tmp_path):
    async with RedisServer(tmp_path) as server, Replica(NOWHERE) as away:
        for number in range(250):
            await away.bind(f"k{number}", LOW, None)
        paying = asyncio.create_task(away.returns_to(server))
        await asyncio.sleep(0)  # it has read the first hundred, and waits for Redis
        assert await away.bind("k0", HIGH, LOW)
        assert await away.bind("late", LOW, None)
        await paying
        assert away.state().unsaved == 0
        assert await held(server, "k0") == HIGH
        assert await held(server, "k249") == await held(server, "late") == LOW


async def test_what_expired_while_redis_was_away_is_not_brought_back(tmp_path):
    async with RedisServer(tmp_path) as server, Replica(NOWHERE, ttl_seconds=10) as away:
        await away.bind("gone", LOW, None)
        away.clock.now += 9
        await away.bind("used", LOW, None)
        away.clock.now += 9
        await away.returns_to(server)
        assert (await held(server, "gone"), await held(server, "used")) == (None, LOW)
        assert away.state().unsaved == 0


async def test_the_shadow_and_what_is_owed_are_bounded():
    async with Replica(NOWHERE, max_in_process=3) as away:
        for key in ("a", "b", "c", "a", "d", "e"):
            read = await away.find(key)
            await away.bind(key, LOW if read is None else LATER, read)
        assert [await away.find(key) for key in "abcde"] == [LATER, None, None, LOW, LOW]
        assert away.state() == SessionsState(
            away.link.name, held=3, unsaved=3, dropped=2, served_without=11
        )


async def test_a_refused_write_tells_the_shadow_what_holds_instead(tmp_path):
    async with (
        RedisServer(tmp_path) as server,
        Replica(server.url) as one,
        Replica(server.url) as other,
    ):
        await other.bind("k", HIGH, None)
        assert not await one.bind("k", LOW, None)
        await server.kill()
        assert await one.find("k") == HIGH


async def test_an_answer_of_redis_that_was_overtaken_lowers_nothing_in_the_shadow(tmp_path):
    async with RedisServer(tmp_path) as server, Replica(server.url) as made:
        await made.bind("k", HIGH, None)
        async with server.client() as client:
            await client.set("k", msgspec.json.encode(LOW))  # as it was before, read but now
        assert await made.find("k") == LOW
        await server.kill()
        assert await made.find("k") == HIGH


async def test_a_wrong_password_costs_stickiness_between_replicas_only(tmp_path):
    async with (
        RedisServer(tmp_path, password="right") as server,
        Replica(server.url.replace("right", "wrong")) as made,
    ):
        assert await made.find("k") is None
        assert await made.bind("k", LOW, None)
        assert await made.find("k") == LOW
        assert (made.state().served_without, made.state().unsaved) == (2, 1)
        assert not made.link.available


# --- Redis is full


async def test_what_a_full_redis_cannot_take_is_held_here_until_it_can(tmp_path):
    async with RedisServer(tmp_path) as server, Replica(server.url) as made:
        await made.bind("before", LOW, None)
        async with server.client() as client:
            await client.config_set("maxmemory", "1")
            assert await made.find("before") == LOW
            assert await made.find("k") is None
            assert await made.bind("k", MIDDLE, None)
            assert await made.find("k") == MIDDLE
            assert await made.bind("k", HIGH, MIDDLE)
            assert not await made.bind("k", LOW, MIDDLE)
            assert made.state() == SessionsState(made.link.name, held=2, unsaved=1, errors=4)
            assert made.link.available
            assert await held(server, "k") is None
            await client.config_set("maxmemory", "0")
        assert not await made.bind("k", MIDDLE, None)  # what is owed goes first
        assert await held(server, "k") == await made.find("k") == HIGH
        assert made.state().unsaved == 0


async def test_a_redis_that_comes_back_full_is_back(tmp_path):
    async with RedisServer(tmp_path, maxmemory="1") as server, Replica(NOWHERE) as away:
        await away.bind("k", LOW, None)
        await away.returns_to(server)
        assert (away.state().unsaved, away.state().errors) == (1, 1)


# --- and its link


async def test_a_closed_store_is_forgotten_by_its_link_and_may_be_used_again():
    async with Replica(NOWHERE) as away:
        await away.close()
        await away.bind("k", LOW, None)
        await away.bind("l", LOW, None)
        assert len(away.link.on_return) == 1
        await away.close()
        assert away.link.on_return == []
        assert await away.find("k") == LOW
        assert len(away.link.on_return) == 1
