"""One timer for many waits: the limit that holds now is the one that counts, and only that one."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tiergate.watch import Watch


def now() -> float:
    return asyncio.get_running_loop().time()


async def forever() -> None:
    await asyncio.Event().wait()


async def watched(body: Callable[[Watch], Awaitable[None]]) -> None:
    """A scope that waits forever once `body` has done its part."""
    with Watch() as watch:
        await body(watch)
        await forever()


async def test_a_wait_beyond_its_limit_times_out_when_the_limit_is_reached():
    async def limited(watch: Watch) -> None:
        watch.limit(3)

    with pytest.raises(TimeoutError):
        await watched(limited)
    assert now() == 3


@pytest.mark.parametrize(
    ("limits", "fires"),
    [
        ([(0, 3), (2, 5)], 7),
        ([(0, 9), (1, 2)], 3),
        ([(0, 9), (1, 2), (2, 20)], 22),
        ([(0, 3), (2, None), (8, 1)], 9),
        ([(0, None), (5, 0)], 5),
        ([(0, 5), (1, -1)], 1),
        ([(0, 1), (0.5, 1), (1, 1), (1.5, 1)], 2.5),
    ],
)
async def test_a_limit_can_be_moved_later_earlier_or_lifted(limits, fires):
    async def limited(watch: Watch) -> None:
        for at, seconds in limits:
            await asyncio.sleep(at - now())
            watch.limit(seconds)

    with pytest.raises(TimeoutError):
        await watched(limited)
    assert now() == fires


async def test_a_limit_that_is_lifted_never_fires():
    with Watch() as watch:
        watch.limit(1)
        watch.limit(None)
        await asyncio.sleep(100)
    assert now() == 100


async def test_nothing_fires_after_the_scope():
    broken = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    with Watch() as watch:
        watch.limit(1)
    await asyncio.sleep(10)
    assert now() == watch.time() == 10
    assert broken == []


async def test_many_waits_take_one_timer():
    loop = asyncio.get_running_loop()
    timers = []
    loop.call_at = lambda when, *rest, **more: (  # the loop is this test's own
        timers.append(when) or type(loop).call_at(loop, when, *rest, **more)
    )
    with Watch() as watch:
        for _ in range(1000):
            watch.limit(5)
    assert timers == [5]


@pytest.mark.parametrize("then", [None, 10])
async def test_what_comes_at_the_very_moment_of_the_limit_has_come_in_time(then):
    arrived = asyncio.get_running_loop().create_future()
    with Watch() as watch:
        asyncio.get_running_loop().call_at(2, arrived.set_result, "data")
        watch.limit(2)  # fires in the same turn of the loop
        assert await arrived == "data"
        watch.limit(then)
        await asyncio.sleep(5)
    assert now() == 7


async def test_ending_interrupts_the_next_wait_however_often_it_is_asked_for():
    async def ended(watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        watch.limit(50)
        loop.call_at(4, watch.end)
        loop.call_at(4, watch.end)
        loop.call_at(4, loop.call_soon, watch.end)

    with pytest.raises(TimeoutError):
        await watched(ended)
    assert now() == 4


async def test_ending_from_inside_interrupts_the_wait_that_follows():
    async def ended(watch: Watch) -> None:
        watch.end()

    with pytest.raises(TimeoutError):
        await watched(ended)


async def test_a_cancellation_from_outside_is_no_timeout():
    async def limited(watch: Watch) -> None:
        watch.limit(50)

    task = asyncio.create_task(watched(limited))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_inside_passes_as_it_is():
    async def broken(watch: Watch) -> None:
        watch.limit(1)
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        await watched(broken)
