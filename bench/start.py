"""How long a process takes from exec until it has answered its first request."""

import statistics
import time

import work
from catalogue import DEFAULTS, FORWARDER
from machine import pinned, processors
from nginx import UPSTREAM
from subject import Subject, running
from table import Row, at_most, columns

MORE_ROUNDS = 2
"""Times the usual number: a start is short, and what disturbs it is not."""

Took = dict[str, list[float]]


async def run(rounds: int) -> list[Row]:
    ours, others = processors()
    wall: Took = {}
    spent: Took = {}
    with pinned(others):
        async with running(UPSTREAM, others, work.SMALL) as upstream:
            await once(DEFAULTS, ours, upstream.port)  # compiles what has been edited
            for number in range(rounds * MORE_ROUNDS):
                for each in (FORWARDER, DEFAULTS) if number % 2 else (DEFAULTS, FORWARDER):
                    seconds, cpu = await once(each, ours, upstream.port)
                    wall.setdefault(each.name, []).append(seconds)
                    spent.setdefault(each.name, []).append(cpu)
    lines = [("exec to the first answer", "seconds", "CPU seconds")]
    for name in wall:
        medians = statistics.median(wall[name]), statistics.median(spent[name])
        lines.append((name, f"{medians[0]:.2f}", f"{medians[1]:.2f}"))
    print(columns(lines))
    return [
        at_most("exec to ready ÷ the forwarder's", 2.6, ratio(wall), aim=2.0),
        at_most("the same by CPU", 2.6, ratio(spent), aim=2.0),
    ]


async def once(subject: Subject, on: set[int], upstream: int) -> tuple[float, float]:
    """Seconds on the clock, and of CPU."""
    began = time.perf_counter()
    async with running(subject, on, work.SMALL, upstream=upstream) as one:
        return time.perf_counter() - began, one.cpu_seconds()


def ratio(took: Took) -> float:
    """The median of the rounds' ratios."""
    pairs = zip(took[DEFAULTS.name], took[FORWARDER.name], strict=True)
    return statistics.median(one / bare for one, bare in pairs)
