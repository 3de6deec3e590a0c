"""Throughput at saturation, and what is added to a request's time below it.

Saturation is what wrk gets out of a subject over 16 connections. Then requests come open-loop at a
share of it, to the subject and to the bare forwarder at the same rate in turn; what is told is the
difference of their percentiles, the median of the rounds. These are times, not CPU: on a machine
with other work they are longer than on a quiet one, for both.
"""

import asyncio
import random
import statistics
from collections.abc import Sequence

import peers
import work
from catalogue import DEFAULTS, FORWARDER
from nginx import UPSTREAM
from openloop import arrivals, latencies, percentile
from stage import in_turn, staged
from subject import Running
from table import Row, at_least, at_most, columns, told
from wrk import throughput

SHARES = (0.25, 0.5, 0.75)
SATURATE_SECONDS = 2
WINDOW_SECONDS = 1.5
SEED = 7
BOTH = (FORWARDER, DEFAULTS)
"""Whose throughput is also measured over 256 connections."""

Rates = dict[tuple[str, int], list[float]]
Added = dict[tuple[str, float], list[tuple[float, float]]]
"""Seconds at p50 and p99, of each round, by subject and share of its saturation."""


async def run(rounds: int) -> list[Row]:
    others, _ = peers.installed()
    async with staged([FORWARDER, DEFAULTS, *others], UPSTREAM, work.SMALL) as started:
        for one in started:
            async with one.clients(work.SMALL, 16) as clients:
                await clients.run(one.subject.warm_up)
        rates = await saturated(started, rounds)
        saturation = {one.subject.name: median(rates, one, 16) for one in started}
        floor, *measured = started
        added = await compared(floor, measured, saturation, rounds)
    print(columns([("requests/s", "16 connections", "256", "256 ÷ 16"), *told_rates(rates)]))
    print()
    print(columns([("added over the forwarder, ms", *HEADS), *told_added(measured, added)]))
    return judged(rates, added)


def median(rates: Rates, one: Running, connections: int) -> float:
    return statistics.median(rates[one.subject.name, connections])


async def saturated(started: Sequence[Running], rounds: int) -> Rates:
    rates: Rates = {}
    for number in range(rounds):
        for one in in_turn(started, number):
            for connections in (16, 256) if one.subject in BOTH else (16,):
                rate = await throughput(
                    one.port, work.SMALL, one.headers, connections, SATURATE_SECONDS
                )
                rates.setdefault((one.subject.name, connections), []).append(rate)
                await asyncio.sleep(one.subject.late)
    return rates


async def compared(
    floor: Running, measured: Sequence[Running], saturation: dict[str, float], rounds: int
) -> Added:
    """Each against the forwarder, with the very same arrivals."""
    added: Added = {}
    chance = random.Random(SEED)
    for number in range(rounds):
        for one in in_turn(measured, number):
            for share in SHARES:
                rate = share * saturation[one.subject.name]
                due = arrivals(rate, WINDOW_SECONDS, chance)
                both = (floor, one) if number % 2 else (one, floor)
                took = {
                    each.port: latencies(each.port, each.request(work.SMALL), due) for each in both
                }
                mine, bare = took[one.port], took[floor.port]
                more = [percentile(mine, n) - percentile(bare, n) for n in (50, 99)]
                added.setdefault((one.subject.name, share), []).append((more[0], more[1]))
    return added


HEADS = [f"{point} at {share:.0%}" for share in SHARES for point in ("p50", "p99")]


def told_rates(rates: Rates) -> list[list[str]]:
    lines = []
    for name in dict.fromkeys(name for name, _ in rates):
        line = [name, f"{statistics.median(rates[name, 16]):,.0f}", "", ""]
        if many := rates.get((name, 256)):
            line[2:] = [f"{statistics.median(many):,.0f}", f"{of_rounds(rates, name):.2f}"]
        lines.append(line)
    return lines


def of_rounds(rates: Rates, name: str) -> float:
    """The median of the rounds' ratios, 256 connections to 16."""
    pairs = zip(rates[name, 256], rates[name, 16], strict=True)
    return statistics.median(many / few for many, few in pairs)


def told_added(measured: Sequence[Running], added: Added) -> list[list[str]]:
    return [
        [
            one.subject.name,
            *(
                f"{milliseconds(added, one.subject.name, share, point):.2f}"
                for share in SHARES
                for point in (0, 1)
            ),
        ]
        for one in measured
    ]


def milliseconds(added: Added, name: str, share: float, point: int) -> float:
    return statistics.median(each[point] for each in added[name, share]) * 1e3


def judged(rates: Rates, added: Added) -> list[Row]:
    half = [milliseconds(added, DEFAULTS.name, 0.5, point) for point in (0, 1)]
    return [
        at_least("throughput at 256 ÷ at 16 connections", 0.95, of_rounds(rates, DEFAULTS.name)),
        told("the same of the bare forwarder", of_rounds(rates, FORWARDER.name)),
        at_most("added p50 at half of saturation", 0.2, half[0], "ms"),
        at_most("added p99 at half of saturation", 1.5, half[1], "ms"),
    ]
