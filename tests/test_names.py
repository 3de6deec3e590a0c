"""A host's addresses are looked up once at a time, and a lookup that hangs is in nobody's way.

Not in that of who waits, of the loop's own threads, of other lookups, or of the end of a loop or a
process. The lookups are scripted, and on real threads.
"""

import asyncio
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine

import pytest
from health_clock import Clock

from tiergate.names import Resolver


def row(address: str) -> tuple:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))


class Names:
    """Stands for the system's lookup: says `answer` as soon as it may."""

    def __init__(self, *addresses: str) -> None:
        self.answer: list[tuple] | Exception = [row(address) for address in addresses]
        self.may = threading.Event()
        self.may.set()
        self.asked: list[tuple] = []

    def __call__(self, *arguments: object, **named: object) -> list[tuple]:
        self.asked.append((*arguments, named))
        assert self.may.wait(10)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def resolver(names: Callable, host: str = "redis.test", **given) -> Resolver:
    return Resolver(host, look_up=names, **{"clock": Clock()} | given)


async def leaves(asking: Coroutine, seconds: float = 0.01) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await asking


def test_a_name_is_looked_up_and_its_addresses_are_given_once_and_in_order():
    names = Names("10.0.0.2", "10.0.0.1", "10.0.0.2")
    assert asyncio.run(resolver(names).addresses()) == ("10.0.0.2", "10.0.0.1")
    assert names.asked == [("redis.test", None, {"type": socket.SOCK_STREAM})]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%eth0"])
def test_an_address_is_its_own_and_nothing_is_looked_up(host):
    names = Names("10.0.0.1")
    assert asyncio.run(resolver(names, host).addresses()) == (host,)
    assert names.asked == []


def test_while_a_lookup_hangs_no_other_begins_and_its_answer_is_everybodys():
    names = Names("10.0.0.1")
    names.may.clear()
    one = resolver(names)

    async def ask() -> None:
        for _ in range(20):
            await leaves(one.addresses(), 0.001)
        waiting = [asyncio.create_task(one.addresses()) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        names.may.set()
        await asyncio.wait(waiting)
        assert [task.result() for task in waiting[1:]] == [("10.0.0.1",)] * 4

    asyncio.run(ask())
    assert len(names.asked) == 1


def test_who_leaves_as_the_answer_comes_disturbs_nobody():
    names = Names("10.0.0.1")
    names.may.clear()
    one = resolver(names)

    async def ask() -> None:
        asking = asyncio.create_task(one.addresses())
        await asyncio.sleep(0)
        names.may.set()
        for thread in threading.enumerate():
            if thread.name == "tiergate-names":
                thread.join(10)  # its answer is now behind this step of the loop
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        assert await one.addresses() == ("10.0.0.1",)

    asyncio.run(ask())


def test_an_answer_serves_for_two_seconds_then_a_host_that_moved_is_followed():
    names, clock = Names("10.0.0.1"), Clock()
    one = resolver(names, clock=clock)

    async def ask() -> str:
        (found,) = await one.addresses()
        return found

    assert asyncio.run(ask()) == "10.0.0.1"
    names.answer = [row("10.0.0.9")]
    clock.now += 1.9
    assert asyncio.run(ask()) == "10.0.0.1"
    clock.now += 0.2
    assert asyncio.run(ask()) == "10.0.0.9"
    clock.now -= 3600  # a wall clock that was set
    asyncio.run(ask())
    assert len(names.asked) == 3


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), socket.EAI_AGAIN),
        (UnicodeError("label too long"), socket.EAI_NONAME),
    ],
)
def test_a_failed_lookup_fails_all_who_waited_and_the_next_is_a_new_one(error, number):
    names = Names()
    names.answer = error
    one = resolver(names)

    async def ask() -> None:
        names.may.clear()
        waiting = [asyncio.create_task(one.addresses()) for _ in range(3)]
        await asyncio.sleep(0)
        names.may.set()
        said = await asyncio.gather(*waiting, return_exceptions=True)
        assert [(type(each), each.errno) for each in said] == [(socket.gaierror, number)] * 3
        assert len({id(each) for each in said}) == 3
        names.answer = [row("10.0.0.1")]
        assert await one.addresses() == ("10.0.0.1",)

    asyncio.run(ask())


def test_a_system_without_threads_is_a_failed_lookup():
    def none(work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.raises(socket.gaierror, match="can't start new thread"):
        asyncio.run(resolver(Names("10.0.0.1"), begin=none).addresses())


def test_a_loop_ends_while_a_lookup_hangs_and_its_answer_serves_the_next(caplog):
    names = Names("10.0.0.1")
    names.may.clear()
    one = resolver(names)
    asyncio.run(leaves(one.addresses()))
    abandoned = asyncio.new_event_loop()  # closed with somebody in it, as nobody should
    asking = abandoned.create_task(one.addresses())
    abandoned.run_until_complete(asyncio.sleep(0))
    abandoned.close()
    names.may.set()
    assert asyncio.run(one.addresses()) == ("10.0.0.1",)
    asking.get_coro().close()
    asking._log_destroy_pending = False
    gc.collect()
    assert len(names.asked) == 1
    assert caplog.records == []


def test_a_process_ends_while_a_lookup_hangs():
    program = """
import asyncio, threading
from tiergate.names import Resolver
def hangs(*_, **__): threading.Event().wait()
async def ask():
    one = Resolver("redis.test", clock=lambda: 0, look_up=hangs)
    await asyncio.wait({asyncio.create_task(one.addresses())}, timeout=0.01)
asyncio.run(ask())
"""
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], timeout=10, capture_output=True, check=True
    )
    assert ended.stderr == b""
