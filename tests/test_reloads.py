"""One reload at a time, and nobody is told of one that began before he asked.

And what is tried again without being asked: a configuration that only its tiers were missing for.
"""

import asyncio
import random
from itertools import pairwise

import pytest

from tiergate.document import SourceError
from tiergate.errors import ConfigError
from tiergate.reloads import Reloads, TiersAway
from tiergate.store import pause


def now():
    return asyncio.get_running_loop().time()


class Said:
    """A reload that takes a second and raises what it is told to, in order; then nothing."""

    def __init__(self, *says):
        self.says = list(says)
        self.begun = []
        self.at_once = 0

    async def __call__(self):
        self.begun.append(now())
        self.at_once += 1
        assert self.at_once == 1
        said = self.says.pop(0) if self.says else None
        try:
            await asyncio.sleep(1)
        finally:
            self.at_once -= 1
        if said is not None:
            raise said


def reloads(*says):
    said = Said(*says)
    return Reloads(said, random.Random(1)), said


async def outcome(made):
    try:
        await made.run()
    except Exception as error:  # noqa: BLE001  # also a bug is an outcome
        return error


async def test_who_comes_while_one_runs_shares_the_next_and_what_it_says():
    wrong = ConfigError("wrong")
    made, said = reloads(None, wrong)
    first = asyncio.create_task(outcome(made))
    await asyncio.sleep(0.5)
    others = [asyncio.create_task(outcome(made)) for _ in range(3)]
    assert await asyncio.gather(first, *others) == [None, wrong, wrong, wrong]
    assert said.begun == [0, 1]


async def test_who_comes_while_the_shared_one_runs_gets_another():
    made, said = reloads(None, ConfigError("wrong"))
    tasks = []
    for _ in range(3):
        tasks.append(asyncio.create_task(outcome(made)))
        await asyncio.sleep(0.9)
    first, second, third = await asyncio.gather(*tasks)
    assert (first, type(second), third) == (None, ConfigError, None)
    assert said.begun == [0, 1, 2]


async def test_one_that_is_cancelled_is_nobodys_outcome():
    made, said = reloads()
    tasks = [asyncio.create_task(made.run()) for _ in range(3)]
    await asyncio.sleep(1.5)  # the first is done, the second runs for itself and the third
    tasks[1].cancel()
    await tasks[2]
    assert (tasks[1].cancelled(), said.begun, now()) == (True, [0, 1, 1.5], 2.5)


def test_several_loops_one_after_the_other_even_where_one_ended_in_the_middle():
    made, said = reloads()

    async def some(number):
        tasks = [asyncio.create_task(made.run()) for _ in range(number)]
        await asyncio.sleep(0.01 if number == 2 else 0)
        return tasks

    said_soon = Reloads(lambda: asyncio.sleep(0), random.Random(1))

    async def all_of(number):
        await asyncio.gather(*(said_soon.run() for _ in range(number)))

    asyncio.run(some(2))
    for number in (3, 1, 3):
        asyncio.run(all_of(number))
    assert said.at_once == 0


async def test_what_only_its_tiers_are_missing_for_is_tried_again_at_the_stores_pace():
    made, said = reloads(*[TiersAway("away")] * 8)
    made.open()
    assert isinstance(await outcome(made), TiersAway)
    await asyncio.sleep(1000)
    waits = [after - before - 1 for before, after in pairwise(said.begun)]
    assert len(waits) == 8
    assert 2 <= waits[0] <= 8
    assert 4 <= waits[1] <= 16
    assert waits[-1] == 60
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_pause_is_bounded():
    assert pause(10_000, random.Random(1)) == 60


@pytest.mark.parametrize(
    "says", [ConfigError("wrong"), SourceError("away"), ZeroDivisionError(), None]
)
async def test_it_is_not_tried_again_after_anything_else(says, caplog):
    made, said = reloads(TiersAway("away"), says)
    made.open()
    await outcome(made)
    await asyncio.sleep(1000)
    assert len(said.begun) == 2
    bugs = [each.message for each in caplog.records]
    assert bugs == ["the configuration could not be read again"] * isinstance(
        says, ZeroDivisionError
    )


async def test_a_reload_by_hand_takes_its_place():
    made, said = reloads(TiersAway("a"), TiersAway("b"), ConfigError("wrong"))
    made.open()
    for expected in (TiersAway, TiersAway, ConfigError):
        assert type(await outcome(made)) is expected
    assert said.begun == [0, 1, 2]
    await asyncio.sleep(1000)
    assert len(said.begun) == 3


async def test_it_is_tried_from_opening_to_closing_only():
    made, said = reloads(TiersAway("a"), TiersAway("b"))
    await made.close()
    await outcome(made)
    await asyncio.sleep(1000)
    assert len(said.begun) == 1
    made.open()
    await asyncio.sleep(0.5)
    await made.close()
    await asyncio.sleep(1000)
    assert (len(said.begun), asyncio.all_tasks()) == (1, {asyncio.current_task()})
    made.open()
    await asyncio.sleep(1000)
    assert len(said.begun) == 3


def test_a_loop_that_ended_open_does_not_keep_the_next_from_trying():
    said = []

    async def reload():
        said.append(1)
        raise TiersAway("away")

    made = Reloads(reload, random.Random(1))

    async def opened():
        made.open()
        await outcome(made)

    for number in (1, 2):
        asyncio.run(opened())
        assert len(said) == number
    asyncio.run(made.close())
