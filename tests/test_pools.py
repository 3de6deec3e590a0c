"""What is kept per key and loop: made once, closed once, and when nobody uses or wants it."""

import asyncio
import gc
import threading
import weakref

import pytest

from tiergate.pools import Held, Pools
from tiergate.testing import VirtualLoop


class Thing:
    """Something to keep; closing takes a second."""

    def __init__(self) -> None:
        self.closings = 0
        self.closed = False

    async def close(self) -> None:
        self.closings += 1
        await asyncio.sleep(1)
        self.closed = True


class Quick(Thing):
    async def close(self) -> None:
        self.closings += 1
        self.closed = True


async def used(pools: Pools[Thing], key: str, make: type[Thing] = Thing) -> Thing:
    """Taken and given back."""
    held = await pools.take(key, make)
    held.give_back()
    return held.thing


async def test_one_of_a_key_serves_all_and_stays_while_it_is_wanted():
    pools: Pools[Thing] = Pools()
    first, second = [await pools.take("a", Thing) for _ in range(2)]
    assert first.thing is second.thing is not await used(pools, "b")
    first.give_back()
    second.give_back()
    pools.retain(["a", "b"])
    await asyncio.sleep(5)
    assert (await used(pools, "a")) is first.thing
    assert not first.thing.closings
    await pools.close()
    assert first.thing.closed


async def test_what_is_idle_and_not_wanted_closes_at_once():
    pools: Pools[Thing] = Pools()
    thing, wanted = await used(pools, "a"), await used(pools, "b")
    pools.retain(["b"])
    await asyncio.sleep(1.1)
    assert (thing.closed, wanted.closed) == (True, False)
    await pools.close()


async def test_what_is_used_and_not_wanted_closes_after_its_last_use():
    pools: Pools[Thing] = Pools()
    held = [await pools.take("a", Thing) for _ in range(2)]
    pools.retain([])
    await asyncio.sleep(5)
    held.append(await pools.take("a", Thing))  # a retry of a running request
    assert held[2].thing is held[0].thing
    for each in held:
        await asyncio.sleep(5)
        assert not each.thing.closings
        each.give_back()
    await asyncio.sleep(1.1)
    assert held[0].thing.closed
    assert len(asyncio.all_tasks()) == 1


async def test_what_was_never_wanted_serves_and_closes():
    pools: Pools[Thing] = Pools()
    pools.retain(["b"])
    thing = await used(pools, "a")
    await asyncio.sleep(1.1)
    assert thing.closed


async def test_what_is_wanted_again_before_it_closed_is_taken_back():
    pools: Pools[Thing] = Pools()
    held = await pools.take("a", Thing)
    for keys in ([], ["a"]):
        pools.retain(keys)
        await asyncio.sleep(5)
    held.give_back()
    assert await used(pools, "a") is held.thing
    pools.retain([])
    await asyncio.sleep(0.5)
    pools.retain(["a"])  # too late: it is closing, and nobody may get it any more
    again = await used(pools, "a")
    assert again is not held.thing
    await pools.close()
    assert (held.thing.closings, again.closings) == (1, 1)


async def test_closing_ends_what_is_used_too_and_giving_it_back_ends_nothing_twice():
    pools: Pools[Thing] = Pools()
    await pools.close()
    held = await pools.take("a", Thing)
    await pools.close()
    again = await used(pools, "a")
    pools.retain([])
    held.give_back()
    await asyncio.sleep(1.1)
    assert (held.thing.closings, again.closings) == (1, 1)
    await pools.close()


async def test_two_who_close_both_wait_for_the_end():
    pools: Pools[Thing] = Pools()
    things = [await used(pools, key) for key in "abc"]
    await asyncio.gather(pools.close(), pools.close())
    assert [(each.closed, each.closings) for each in things] == [(True, 1)] * 3


async def test_what_is_opened_while_others_close_stays_open():
    pools: Pools[Thing] = Pools()
    old = await used(pools, "a")
    closing = asyncio.create_task(pools.close())
    await asyncio.sleep(0.5)
    new = await used(pools, "a")
    await closing
    assert (old.closed, new.closings) == (True, 0)
    await pools.close()
    assert new.closed


async def test_who_stops_waiting_for_the_end_does_not_stop_it():
    pools: Pools[Thing] = Pools()
    things = [await used(pools, key) for key in "abc"]
    closing = asyncio.create_task(pools.close())
    await asyncio.sleep(0.5)
    closing.cancel()
    await asyncio.sleep(0.6)
    assert all(each.closed for each in things)
    assert len(asyncio.all_tasks()) == 1


async def test_what_cannot_be_made_is_not_kept():
    pools: Pools[Thing] = Pools()

    def broken() -> Thing:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await pools.take("a", broken)
    assert not (await used(pools, "a")).closings
    await pools.close()


@pytest.mark.parametrize("end", ["nothing", "retain", "give back", "close"])
def test_a_loop_that_ends_leaves_nothing_open_and_is_not_kept_alive(end):
    pools: Pools[Thing] = Pools()
    held: list[Held[Thing]] = []
    loops = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        held.append(await pools.take("a", Quick))
        if end in ("retain", "give back"):
            pools.retain([])
        if end != "retain":
            held[0].give_back()  # and the loop ends before a task has made its first step
        if end == "close":
            await pools.close()

    asyncio.run(main())
    assert held[0].thing.closed
    held.clear()
    gc.collect()
    assert loops[0]() is None
    pools.retain([])


def test_a_closing_that_the_loops_end_overtakes_ends_too():
    pools: Pools[Thing] = Pools()
    loop = VirtualLoop()

    async def begun() -> Thing:
        thing = await used(pools, "a")
        pools.retain([])
        await asyncio.sleep(0.5)
        return thing

    thing = loop.run_until_complete(begun())
    assert (thing.closings, thing.closed) == (1, False)
    loop.run_until_complete(loop.shutdown_asyncgens())  # as a host does that cancels no task
    assert thing.closed
    loop.run_until_complete(asyncio.sleep(5))
    assert not asyncio.all_tasks(loop)
    loop.close()


def test_a_reload_in_one_loop_reaches_those_of_other_threads_and_of_closed_loops():
    pools: Pools[Thing] = Pools()
    ready, done = threading.Event(), threading.Event()
    things: list[Thing] = []

    async def elsewhere() -> None:
        things.append(await used(pools, "a", Quick))
        ready.set()
        while not things[0].closed:  # noqa: ASYNC110  # another thread's doing
            await asyncio.sleep(0.001)
        done.set()

    async def here() -> None:
        things.append(await used(pools, "a", Quick))
        pools.retain([])
        while not things[1].closed:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    closed = asyncio.new_event_loop()
    held = closed.run_until_complete(pools.take("a", Quick))
    closed.close()
    other = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    other.start()
    assert ready.wait(5)
    asyncio.run(here())
    assert done.wait(5)
    other.join(5)
    assert not held.thing.closed


async def test_a_thousand_reloads_leave_what_one_leaves():
    pools: Pools[Thing] = Pools()
    for number in range(1000):
        pools.retain([str(number % 3)])
        await used(pools, str(number % 3))
        await used(pools, f"never wanted {number}")
    await asyncio.sleep(1.1)
    assert len(asyncio.all_tasks()) == 1
    gc.collect()
    assert sum(isinstance(each, Thing) for each in gc.get_objects()) == 1
    await pools.close()
