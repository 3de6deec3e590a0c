"""The link to Redis, against a real server that is paused, killed, full, read-only or not ours.

What a bad Redis costs (one time limit, then nothing), that it is back when it is back, that no
answer reaches the wrong question, and that loops and tasks end with nothing left open.
"""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from redis.asyncio import Redis
from redisserver import RedisServer
from test_names import Names

from tiergate.errors import ConfigError
from tiergate.redis_link import RedisDown, RedisLink, RedisRefused

TIMEOUT = 0.5


class Link(RedisLink):
    """A link that is closed at the end of its `async with`, and asks after Redis more often."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        super().__init__(url, timeout=timeout, clock=time.monotonic, try_seconds=0.05)

    async def __aenter__(self) -> "Link":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Peer:
    """Something on a port that says `answer` to every command; it hangs up after half a one."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._say, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _say(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while sent := await reader.read(1000):
            writer.write(self.answer * sent.count(b"*"))
            if not self.answer.endswith(b"\r\n"):
                break
        writer.close()


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # sockets and processes have no event of ours
            await asyncio.sleep(0.005)


def get(key: str) -> Callable[[Redis], Any]:
    return lambda client: client.get(key)


def put(key: str, value: object) -> Callable[[Redis], Any]:
    return lambda client: client.set(key, value)


async def outcome(link: RedisLink, operation: Callable[[Redis], Any]) -> tuple[str, float]:
    """What came of it, and the milliseconds that it took."""
    begun = time.perf_counter()
    try:
        said = repr(await link.run(operation))
    except (RedisDown, RedisRefused) as error:
        said = type(error).__name__
    return said, (time.perf_counter() - begun) * 1000


@pytest.mark.parametrize(
    "settings",
    [{}, {"password": "p /@#?:%ñ"}, {"tls": True}, {"tls": True, "password": "both"}],
    ids=lambda settings: "+".join(settings) or "plain",
)
async def test_an_operation_reaches_the_server_that_the_url_names(tmp_path, settings):
    async with RedisServer(tmp_path, **settings) as server, Link(server.url) as link:
        await link.run(put("a", "1"))
        assert await link.run(get("a")) == b"1"
        assert link.state.available
        assert (link.state.errors, link.state.last_error, link.state.seconds_down) == (0, None, 0)


async def test_a_user_a_database_and_a_client_name_are_taken_from_the_url(tmp_path):
    user = ("--user", "app", "on", ">secret", "~*", "+@all")
    async with RedisServer(tmp_path, options=user) as server:
        url = f"redis://app:secret@127.0.0.1:{server.port}/3?client_name=tiergate"
        async with Link(url) as link:
            about = await link.run(lambda client: client.client_info())
            assert (about["user"], about["db"], about["name"]) == ("app", 3, "tiergate")
            assert link.name == f"redis://127.0.0.1:{server.port}/3"
            assert repr(link) == f"<RedisLink {link.name}>"


async def test_a_wrong_password_is_told_of_without_being_told(tmp_path, caplog):
    async with RedisServer(tmp_path, password="right") as server:
        link = Link(server.url.replace("right", "hunter2"))
        with pytest.raises(RedisDown, match="WRONGPASS") as down:
            await link.run(get("a"))
        assert link.state.last_error is not None
        assert "hunter2" not in f"{down.value} {link.state} {caplog.text}"
        await link.close()


def test_without_redis_py_the_configuration_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'tiergate\[redis\]'"):
        RedisLink("redis://127.0.0.1:1", timeout=1, clock=time.monotonic)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_silent_redis_costs_one_time_limit_together_and_then_nothing(tmp_path, caplog, tls):
    caplog.set_level(logging.INFO, "tiergate")
    async with RedisServer(tmp_path, tls=tls) as server, Link(server.url) as link:
        assert await outcome(link, get("a")) == ("None", pytest.approx(0, abs=1000))
        server.pause()
        begun, asked = time.perf_counter(), []
        for _ in range(40):  # 200 a second, into the silence
            asked.append(asyncio.create_task(outcome(link, get("a"))))
            await asyncio.sleep(0.005)
        outcomes = [await each for each in asked]
        assert {said for said, _ in outcomes} == {"RedisDown"}
        assert max(took for _, took in outcomes) < TIMEOUT * 1000
        assert not link.state.available
        assert 0 < link.state.seconds_down <= time.perf_counter() - begun
        later = sorted([(await outcome(link, get("a")))[1] for _ in range(200)])
        assert later[-3] < 5  # p99
        assert link.state.errors == 240
        assert link.state.last_error == "no answer within 0.5 s"
        server.resume()
        await soon(lambda: link.available)
        assert await link.run(put("a", 1))
        assert link.state.seconds_down == 0
    told = [(each.levelname, each.getMessage()) for each in caplog.records]
    unavailable = "is unavailable, requests go on without it: no answer within 0.5 s"
    assert told[0] == ("WARNING", f"{link.name} {unavailable}")
    assert told[1][0] == "INFO"
    assert told[1][1].startswith(f"{link.name} is back after ")
    assert len(told) == 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_late_answer_is_never_that_of_the_next_question(tmp_path, tls):
    async with RedisServer(tmp_path, tls=tls) as server, Link(server.url) as link:
        for number in range(100):
            await link.run(put(f"k{number}", number))
        for _ in range(3):
            server.pause()
            asked = [outcome(link, get(f"k{number}")) for number in range(100)]
            assert {said for said, _ in await asyncio.gather(*asked)} == {"RedisDown"}
            server.resume()
            await soon(lambda: link.available)
            read = await asyncio.gather(*(link.run(get(f"k{number}")) for number in range(100)))
            assert read == [str(number).encode() for number in range(100)]


async def test_callers_that_leave_keep_no_connection_and_no_answer(tmp_path):
    async with RedisServer(tmp_path) as server, Link(server.url, timeout=5) as link:
        for number in range(100):
            await link.run(put(f"k{number}", number))
        for turn in range(20):
            tasks = [asyncio.create_task(link.run(get(f"k{number}"))) for number in range(100)]
            for _ in range(turn):  # at every stage of a connection and of a command
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        read = await asyncio.gather(*(link.run(get(f"k{number}")) for number in range(100)))
        assert read == [str(number).encode() for number in range(100)]
        assert link.state.errors == 0


async def test_connections_are_bounded_and_the_rest_wait_for_one(tmp_path):
    async with RedisServer(tmp_path) as server, Link(server.url, timeout=5) as link:
        await asyncio.gather(*(link.run(put(f"k{number}", 1)) for number in range(500)))
        clients = await link.run(lambda client: client.client_list())
        assert len(clients) <= 16


async def test_a_link_that_is_opened_before_has_asked_nobody(tmp_path):
    link = Link("redis://127.0.0.1:1")
    for _ in range(2):
        await link.open()
    assert (link.available, link.state.errors, len(link._lines)) == (True, 0, 1)
    await link.close()


async def test_a_loop_that_stood_still_is_not_held_against_redis(tmp_path):
    async with RedisServer(tmp_path) as server, Link(server.url, timeout=0.2) as link:
        await link.run(lambda client: client.ping())
        asked = [asyncio.create_task(link.run(lambda client: client.ping())) for _ in range(16)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251  # what a burst of our own does to a loop
        assert await asyncio.gather(*asked) == [True] * 16
        assert (link.available, link.state.errors) == (True, 0)


async def test_a_burst_waits_for_a_connection_longer_than_redis_may_take(tmp_path):
    nap = "local t = redis.call('TIME') local e = t[1] * 1000 + t[2] / 1000 + 20 repeat t ="
    nap += " redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > e return 1"
    async with RedisServer(tmp_path) as server, Link(server.url, timeout=0.5) as link:
        # One after the other in Redis: 40 take 0.8 s, 16 of them at once under the limit.
        asked = [link.run(lambda client: client.eval(nap, 0)) for _ in range(40)]
        assert await asyncio.gather(*asked) == [1] * 40
        assert link.available


async def test_a_redis_that_dies_is_back_when_it_is_started_again(tmp_path):
    async with RedisServer(tmp_path) as server, Link(server.url) as link:
        await link.run(put("a", 1))
        await server.kill()
        assert (await outcome(link, get("a")))[0] == "RedisDown"
        assert not link.state.available
        await server.start()
        await soon(lambda: link.available)
        assert await link.run(get("a")) is None


async def test_a_restart_that_nobody_saw_costs_nobody_an_error(tmp_path):
    async with RedisServer(tmp_path) as server, Link(server.url) as link:
        await asyncio.gather(*(link.run(put(f"k{number}", 1)) for number in range(10)))
        await server.kill()
        await server.start()
        assert await asyncio.gather(*(link.run(get(f"k{number}")) for number in range(10)))
        assert link.state.errors == 0


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "LOADING"),
        (b"-BUSY Redis is busy running a script\r\n", "BUSY"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN"),
        (b"-READONLY You can't write against a read only replica.\r\n", "READONLY"),
        (b"-NOAUTH Authentication required.\r\n", "NOAUTH"),
        (b"-ERR max number of clients reached\r\n", "max number of clients"),
        (b"HTTP/1.1 400 Bad Request\r\n", "Protocol Error"),
        (b":twelve\r\n", "invalid literal"),
        (b"$12\r\nhalf", "closed"),
        (b"", "closed"),
    ],
    ids=lambda value: None if isinstance(value, str) else value[:9].decode(),
)
async def test_what_refuses_to_work_or_is_no_redis_is_down_until_it_works(answer, says):
    peer = Peer(answer)
    async with peer as url, Link(url) as link:
        with pytest.raises(RedisDown, match=says):
            await link.run(get("a"))
        assert not link.state.available
        peer.answer = b"+PONG\r\n"
        await soon(lambda: link.available)


async def test_nothing_on_the_port_is_down_at_once():
    async with Link("redis://127.0.0.1:1", timeout=5) as link:
        said, took = await outcome(link, get("a"))
        assert (said, took) == ("RedisDown", pytest.approx(0, abs=1000))


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (lambda client: client.lindex("text", 0), "WRONGTYPE"),
        (lambda client: client.set("big", "x" * 1000), "OOM|maxmemory"),
        (lambda client: client.evalsha("0" * 40, 0), "NOSCRIPT|No matching script"),
        (lambda client: client.execute_command("NONSENSE"), "unknown command"),
        (lambda client: client.set("a", {"no": "value"}), "Invalid input"),
    ],
    ids=["wrong type", "full", "unknown script", "unknown command", "no value"],
)
async def test_what_is_said_of_one_command_concerns_no_other(tmp_path, operation, says):
    async with RedisServer(tmp_path) as server, Link(server.url) as link:
        await link.run(put("text", "1"))
        await link.run(lambda client: client.config_set("maxmemory", 1))
        with pytest.raises(RedisRefused, match=says):
            await link.run(operation)
        assert await link.run(get("text")) == b"1"
        assert (link.state.available, link.state.errors) == (True, 1)
        assert link.state.last_error is not None


async def test_a_bug_in_an_operation_is_its_own(tmp_path):
    async with RedisServer(tmp_path) as server, Link(server.url) as link:
        with pytest.raises(ZeroDivisionError):
            await link.run(lambda client: 1 / 0)
        assert (link.state.available, link.state.errors) == (True, 0)


async def pings(client: Redis) -> int:
    return (await client.info("commandstats")).get("cmdstat_ping", {"calls": 0})["calls"]


async def test_a_read_only_replica_stays_down_until_it_takes_writes(tmp_path):
    replica = ("--replicaof", "127.0.0.1", "1")
    async with RedisServer(tmp_path, options=replica) as server, Link(server.url) as link:
        assert (await outcome(link, put("a", 1)))[0] == "RedisDown"
        async with server.client() as client:
            while await pings(client) < 3:
                assert not link.available
            await client.replicaof("NO", "ONE")
        await soon(lambda: link.available)
        assert (await outcome(link, put("a", 1)))[0] == "True"


async def test_what_is_refused_is_said_once_of_each_kind(tmp_path, caplog):
    async with RedisServer(tmp_path) as server, Link(server.url) as link:
        for command in ("NONSENSE", "GETEX", "NONSENSE"):
            assert (await outcome(link, put("a", 1)))[0] == "True"
            asked = outcome(link, lambda client, command=command: client.execute_command(command))
            assert (await asked)[0] == "RedisRefused"
        for number in range(20):
            script = f"return redis.error_reply('KIND{number} a secret')"
            asked = outcome(link, lambda client, script=script: client.eval(script, 0))
            assert (await asked)[0] == "RedisRefused"
    told = [each.getMessage() for each in caplog.records]
    assert len(told) == 16
    assert told[0].startswith(f"{link.name} refuses a command, said once of ")
    assert "unknown command 'NONSENSE'" in told[0]
    assert any("KIND0 a" in each for each in told)


async def test_a_name_whose_lookup_hangs_costs_one_thread_and_nobody_elses_lookups(tmp_path):
    names = Names("127.0.0.1")
    names.may.clear()
    async with RedisServer(tmp_path) as server:
        url = f"redis://redis.test:{server.port}"
        link = RedisLink(url, timeout=0.1, clock=time.monotonic, try_seconds=0.01, look_up=names)
        asked = await asyncio.gather(*(outcome(link, get("a")) for _ in range(40)))
        assert {said for said, _ in asked} == {"RedisDown"}
        assert max(took for _, took in asked) < 1000
        assert link.state.last_error == "no answer within 0.1 s"
        await asyncio.sleep(0.5)  # several tries
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 1)
        assert len(names.asked) == 1
        names.may.set()
        await soon(lambda: link.available)
        assert await link.run(put("a", 1))
        await link.close()


async def test_a_redis_that_moved_to_another_address_is_followed(tmp_path):
    names = Names("127.0.0.1")
    options = ("--bind", "127.0.0.1", "127.0.0.2")
    async with RedisServer(tmp_path, options=options) as server:
        url = f"redis://redis.test:{server.port}"
        link = RedisLink(
            url, timeout=TIMEOUT, clock=time.monotonic, try_seconds=0.05, look_up=names
        )

        async def where(client: Redis) -> str:
            return (await client.client_info())["laddr"].partition(":")[0]

        assert await link.run(where) == "127.0.0.1"
        names.answer = Names("127.0.0.2").answer
        server.pause()
        assert (await outcome(link, get("a")))[0] == "RedisDown"
        server.resume()
        await soon(lambda: link.available)
        async with asyncio.timeout(10):
            while await link.run(where) != "127.0.0.2":
                await link.close()
        await link.close()


async def test_a_user_that_may_not_ask_comes_back_too(tmp_path):
    user = ("--user", "app", "on", ">secret", "~*", "+get")
    async with RedisServer(tmp_path, options=user) as server:
        link = Link(f"redis://app:secret@127.0.0.1:{server.port}")
        await link.run(get("a"))
        server.pause()
        assert (await outcome(link, get("a")))[0] == "RedisDown"
        server.resume()
        await soon(lambda: link.available)
        await link.close()


async def test_hooks_run_before_anybody_uses_a_redis_that_is_back(tmp_path):
    request: ContextVar[str] = ContextVar("request", default="none")
    async with RedisServer(tmp_path) as server, Link(server.url) as link:
        seen: list[object] = []

        async def fails(client: Redis) -> None:
            seen.append(link.available)
            if len(seen) == 1:
                raise ZeroDivisionError("a bug")

        async def writes(client: Redis) -> None:
            await client.set("kept", "1")
            seen.append(request.get())

        link.on_return += [fails, writes]
        server.pause()
        request.set("that of a caller")
        await outcome(link, get("a"))
        server.resume()
        await soon(lambda: bool(seen))
        assert not link.state.available
        assert link.state.last_error == "a bug"
        await soon(lambda: link.available)
        assert seen == [False, False, "none"]
        assert await link.run(get("kept")) == b"1"


async def test_a_hook_that_hangs_is_ended_and_asked_again(tmp_path):
    async with RedisServer(tmp_path) as server, Link(server.url) as link:
        begun: list[float] = []

        async def hangs(client: Redis) -> None:
            begun.append(time.perf_counter())
            if len(begun) == 1:
                await asyncio.Event().wait()

        link.on_return.append(hangs)
        server.pause()
        await outcome(link, get("a"))
        server.resume()
        await soon(lambda: link.available)
        assert begun[1] - begun[0] == pytest.approx(2, abs=1)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_several_loops_one_after_another_leave_nothing_open(tmp_path, closed, tls):
    server = RedisServer(tmp_path, tls=tls)
    asyncio.run(server.__aenter__())
    # Twenty at once, each with its own connection in a new loop: a busy machine takes its time.
    link = Link(server.url, timeout=1.5)

    async def ask(expected: str) -> None:
        asked = (outcome(link, put("a", 1)) for _ in range(20))
        assert {said for said, _ in await asyncio.gather(*asked)} == {expected}
        if closed:
            await link.close()

    async def come_back() -> None:
        assert (await outcome(link, get("a")))[0] == "RedisDown"
        await soon(lambda: link.available)
        await ask("True")

    try:
        asyncio.run(ask("True"))
        asyncio.run(ask("True"))
        server.pause()
        asyncio.run(ask("RedisDown"))
        asyncio.run(ask("RedisDown"))
        server.resume()
        assert not link.state.available  # its task has ended with its loop
        asyncio.run(come_back())  # and this loop has one of its own
        gc.collect()  # a ResourceWarning fails the test
    finally:
        asyncio.run(server.kill())


async def test_of_two_loops_at_once_the_first_to_find_redis_back_says_so(tmp_path, caplog):
    caplog.set_level(logging.INFO, "tiergate")
    async with RedisServer(tmp_path) as server, Link(server.url) as link:
        here = asyncio.get_running_loop()

        async def waits_here(client: Redis) -> None:
            if asyncio.get_running_loop() is here:
                await soon(lambda: link.available)

        async def come_back() -> None:
            async with link:
                assert (await outcome(link, get("a")))[0] == "RedisDown"
                await soon(lambda: link.available)

        link.on_return.append(waits_here)
        server.pause()
        await outcome(link, get("a"))
        server.resume()
        await asyncio.to_thread(asyncio.run, come_back())
        await soon(lambda: len(asyncio.all_tasks()) == 1)
        assert await link.run(put("a", 1))
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]


async def test_closing_ends_what_is_in_flight_and_says_nothing_of_redis(tmp_path):
    async with RedisServer(tmp_path) as server, Link(server.url, timeout=5) as link:
        server.pause()
        task = asyncio.create_task(outcome(link, get("a")))
        await asyncio.sleep(0.05)
        await link.close()
        said, took = await task
        assert (said, link.state.available) == ("RedisDown", True)
        assert took < 1000
        server.resume()
        assert await link.run(get("a")) is None  # opened again on use
        await link.close()
        await link.close()


async def test_closing_while_redis_is_down_ends_the_watch(tmp_path):
    async with RedisServer(tmp_path) as server:
        before = asyncio.all_tasks()
        link = Link(server.url)
        server.pause()
        await outcome(link, get("a"))
        assert len(asyncio.all_tasks() - before) == 1
        await link.close()
        assert asyncio.all_tasks() == before
