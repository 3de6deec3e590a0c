"""A primary that goes down and comes back while traffic flows.

The promise: nobody notices. No request fails, the primary is asked at most once per back-off period
while it is down, and it serves again within one back-off after it has recovered; with background
probes within two of their intervals. Scaled by 20: 3 s of outage under 20 requests a second.
"""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

from e2e.faults import TEXT, Got, SixtyTokens, World, world

from tiergate_sidecar.mock import Attempt

RATE = 20
BEFORE, OUTAGE = 0.5, 3.0
BACKOFF = 0.5
LATE = 0.25  # what a busy machine may add
MODES = ("json", "first_token", "buffered")


@dataclass
class Outage:
    """What was got meanwhile, and p1's attempts from the beginning of the outage on."""

    began: float
    ended: float = 0.0
    got: list[Got] = field(default_factory=list)
    asked: list[Attempt] = field(default_factory=list)

    @property
    def during(self) -> list[float]:
        """When p1 was asked while it was down, in seconds since it went down."""
        return [each.time - self.began for each in self.asked if each.fault is not None]

    @property
    def back(self) -> float:
        """Seconds from the end of the outage until p1 was asked and answered."""
        return min(each.time for each in self.asked if each.fault is None) - self.ended


async def live_through(here: World, *, after: float, fault: str = "reset always @p1") -> Outage:
    """Traffic before, during and `after` an outage of p1; each request stands on its own."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    outage = Outage(begun + BEFORE)
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(int(RATE * (BEFORE + OUTAGE + after))):
            await asyncio.sleep(begun + number / RATE - loop.time())  # the rate is the experiment
            down = outage.began <= loop.time() < outage.began + OUTAGE
            if down:
                outage.ended = loop.time()
            asking = here.ask(MODES[number % len(MODES)], fault if down else None)
            tasks.append(group.create_task(asking))
    outage.got = [task.result() for task in tasks]
    outage.asked = [a for a in here.seen() if a.provider == "p1" and a.time >= outage.began]
    return outage


def print_line(name: str, outage: Outage) -> None:
    asked = " ".join(f"{each:.2f}" for each in outage.during)
    print(  # noqa: T201  # what `pytest -rP` shows
        f"{name}: {len(outage.got)} requests, p1 asked while down at {asked},"
        f" serving again {outage.back:.2f} s after the end"
    )


def check_nobody_noticed(outage: Outage) -> None:
    assert len(outage.got) > RATE * OUTAGE
    for got in outage.got:
        assert (got.status, got.text, got.error) == (200, TEXT, None)


async def test_nobody_notices_an_outage_and_the_primary_is_left_alone():
    health = {"initial_backoff_seconds": BACKOFF, "multiplier": 1.0}
    async with world(health=health) as here:
        outage = await live_through(here, after=2 * BACKOFF)
    print_line("back-off 0.5 s", outage)
    check_nobody_noticed(outage)
    # The first request fails thrice, as [retry] says; those that run beside it may do so as well.
    first = [at for at in outage.during if at < BACKOFF]
    probes = [at for at in outage.during if at >= BACKOFF]
    assert 3 <= len(first) <= 3 * (1 + int(RATE * 0.2))
    assert 3 <= len(probes) <= OUTAGE / BACKOFF
    for earlier, later in pairwise(probes):
        assert later - earlier >= BACKOFF
    assert outage.back <= BACKOFF + 1 / RATE + LATE
    assert not here.ailing()


async def test_a_growing_back_off_asks_less_and_less():
    health = {"initial_backoff_seconds": BACKOFF}
    async with world(health=health) as here:
        outage = await live_through(here, after=BACKOFF)
    check_nobody_noticed(outage)
    probes = [at for at in outage.during if at >= BACKOFF]
    # 0.5 s after the first failure, 1 s after that, and 2 s later the outage is over.
    assert len(probes) == 2
    assert 2 * BACKOFF <= probes[1] - probes[0] < 2 * BACKOFF + 1 / RATE + LATE


async def test_with_background_probes_the_primary_is_back_within_two_intervals():
    """The primary is really gone here: nothing listens, `GET /models` fails as everything does."""
    interval = 0.3
    health = {"initial_backoff_seconds": 60, "probe_interval_seconds": interval}
    loop = asyncio.get_running_loop()
    primary = SixtyTokens(now=float, token_delay_seconds=0)
    async with primary, world(first=primary.base_url("p1"), health=health) as here:
        traffic = asyncio.create_task(keep_asking(here, seconds=BEFORE + OUTAGE + 4 * interval))
        await asyncio.sleep(BEFORE)
        await primary.server.close()
        await asyncio.sleep(OUTAGE)
        asked_before = len(primary.attempts)
        await primary.server.start()
        ended = loop.time()
        got = await traffic
        assert len(got) > RATE * OUTAGE
        assert {(each.status, each.text) for each in got} == {(200, TEXT)}
        back = [each for each in list(primary.attempts)[asked_before:] if each.method == "POST"]
        assert back[0].time - ended <= 2 * interval + 1 / RATE + LATE
        assert not here.ailing()


async def keep_asking(here: World, *, seconds: float) -> list[Got]:
    """Requests at the rate, in the two modes that survive whatever happens to a provider."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(int(RATE * seconds)):
            await asyncio.sleep(begun + number / RATE - loop.time())
            tasks.append(group.create_task(here.ask(("json", "buffered")[number % 2])))
    return [task.result() for task in tasks]
