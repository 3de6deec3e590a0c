"""Asking after the ailing: only while somebody is in back-off, at its interval, never alone."""

import asyncio
from typing import Any

import pytest

from tiergate.candidates import Candidate
from tiergate.config import Config, HealthSettings, Provider
from tiergate.endpoint import compile_endpoints
from tiergate.faults import UNREACHABLE, AttemptFailed
from tiergate.health import Health
from tiergate.probing import Prober
from tiergate.testing import ScriptedTransport

CANDIDATES = {name: Candidate(name, "m", 1) for name in ("p1", "p2")}
CONFIG = Config(providers={name: Provider(base_url="http://h.test") for name in CANDIDATES})


class World:
    """Two providers that have failed once, unless told otherwise, and a prober that is awake."""

    def __init__(
        self,
        interval: float = 5,
        failed: tuple[str, ...] = ("p1", "p2"),
        transport: ScriptedTransport | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = transport or ScriptedTransport({})
        self.health = Health(HealthSettings(), self.loop.time)
        for name in failed:
            self.fail(name)
        endpoints = compile_endpoints(CONFIG.providers, {})
        self.prober = Prober(self.health, endpoints, self.transport, interval=interval)
        self.prober.wake()

    def fail(self, name: str) -> None:
        permit = self.health.admit(CANDIDATES[name], 10)
        assert permit is not None
        self.health.failed(permit)

    def left(self, name: str) -> float:
        return self.health.seconds_left(CANDIDATES[name])


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_those_in_back_off_are_asked_at_the_interval_and_only_they():
    world = World(failed=("p2",))
    await asyncio.sleep(12)
    assert world.transport.probed == [("p2", 5), ("p2", 10)]
    await world.prober.close()


async def test_a_good_answer_makes_a_candidate_ready_and_no_other():
    world = World()
    world.transport.well = {"p1"}
    await asyncio.sleep(6)
    assert (world.left("p1"), world.left("p2")) == (0, 24)
    assert world.health.admit(CANDIDATES["p1"], 10).probe  # one real request decides
    await world.prober.close()


async def test_one_that_is_ready_is_not_asked_again():
    world = World()
    world.transport.well = {"p1"}
    await asyncio.sleep(16)
    assert [name for name, _ in world.transport.probed].count("p1") == 1
    assert [name for name, _ in world.transport.probed].count("p2") == 3
    await world.prober.close()


async def test_it_ends_by_itself_when_no_back_off_is_left_and_wakes_again():
    world = World()
    world.transport.well = {"p1", "p2"}
    await asyncio.sleep(11)
    assert (others(), len(world.transport.probed)) == (set(), 2)
    world.prober.wake()  # both wait for a request: nothing is gained by asking
    assert others() == set()
    world.fail("p1")
    world.prober.wake()
    await asyncio.sleep(6)
    assert world.transport.probed[2:] == [("p1", 16)]
    await world.prober.close()


async def test_an_idle_process_asks_no_longer_than_the_back_off_lasts():
    world = World(failed=("p1",))
    await asyncio.sleep(3600)
    assert len(world.transport.probed) == 5  # at 5, 10, 15, 20, 25 of 30 seconds
    assert others() == set()


@pytest.mark.parametrize(
    ("interval", "failed"), [(0, ("p1",)), (5, ())], ids=["turned off", "nobody ailing"]
)
async def test_without_a_reason_nothing_runs(interval, failed):
    world = World(interval, failed)
    assert others() == set()
    await world.prober.close()
    assert world.transport.probed == []


async def test_waking_twice_is_one_task():
    world = World()
    world.prober.wake()
    await asyncio.sleep(1)
    world.prober.wake()
    assert len(others()) == 1
    await world.prober.close()
    assert others() == set()
    await asyncio.sleep(60)
    assert world.transport.probed == []


class Moody(ScriptedTransport):
    """`p1` refuses connections or keeps silent; `p2` is well."""

    def __init__(self, *, silent: bool) -> None:
        super().__init__({})
        self.well = {"p2"}
        self.silent = silent

    async def probe(self, endpoint):
        answer = await super().probe(endpoint)
        if endpoint.name == "p1":
            if self.silent:
                await asyncio.Event().wait()
            raise AttemptFailed(UNREACHABLE)
        return answer


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "silent"])
async def test_a_provider_that_does_not_answer_stays_where_it_is_and_holds_up_nobody(silent):
    world = World(transport=Moody(silent=silent))
    await asyncio.sleep(5.5)
    assert (world.left("p1"), world.left("p2")) == (24.5, 0)
    await asyncio.sleep(10)
    assert [name for name, _ in world.transport.probed].count("p1") >= 2
    await world.prober.close()


def test_a_prober_belongs_to_the_loop_that_woke_it():
    loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]
    made: list[World] = []

    async def begin() -> None:
        made.append(World(interval=1000))

    async def elsewhere() -> None:
        await made[0].prober.close()  # not ours to end: only forgotten
        made[0].prober.wake()
        assert len(others()) == 1
        await made[0].prober.close()
        assert others() == set()

    try:
        loops[0].run_until_complete(begin())
        loops[1].run_until_complete(elsewhere())
        left = asyncio.all_tasks(loops[0])
        assert len(left) == 1
        for task in left:
            task.cancel()
        loops[0].run_until_complete(asyncio.gather(*left, return_exceptions=True))
    finally:
        for loop in loops:
            loop.close()


async def test_other_endpoints_and_another_interval_hold_from_the_next_time_on():
    world = World()
    only = compile_endpoints({"p2": Provider(base_url="http://new.test")}, {})
    await asyncio.sleep(6)
    assert set(world.transport.probed) == {("p1", 5), ("p2", 5)}
    world.prober.reconfigure(only, 2)
    await asyncio.sleep(7)
    assert world.transport.probed[2:] == [("p2", 10), ("p2", 12)]
    await world.prober.close()


async def test_an_interval_of_nothing_ends_it():
    world = World()
    await asyncio.sleep(6)
    asked = len(world.transport.probed)
    world.prober.reconfigure({}, 0)
    world.prober.wake()
    await asyncio.sleep(10)
    assert len(world.transport.probed) == asked
    assert others() == set()


async def test_who_is_reconfigured_away_between_two_questions_is_no_error():
    """A reload may come between the choice of whom to ask and the asking."""
    world = World()
    loop = asyncio.get_running_loop()
    for _ in range(3):  # one of them falls between the two
        loop.call_at(5, lambda: loop.call_soon(world.prober.reconfigure, {}, 5))
    await asyncio.sleep(12)
    assert set(world.transport.probed) <= {("p1", 5), ("p2", 5)}
    assert others() == set()
