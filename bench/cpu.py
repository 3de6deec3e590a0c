"""CPU time of the whole tree of processes for one request, each subject against the bare forwarder.

In each round every subject does the same work, one after the other and in turn first; what counts
is the median of the rounds' ratios, each of two measurements seconds apart.
"""

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import peers
import work as kinds
from catalogue import (
    ALL_TRACED,
    BARE,
    DEFAULTS,
    FEW,
    FORWARDER,
    MOUNTED,
    OURS,
    PLAIN,
    TENTH_TRACED,
)
from nginx import UPSTREAM
from stage import end, in_turn, staged
from subject import Running, Subject
from table import Row, absent, at_least, at_most, columns, told
from work import Work

SETTLE_SECONDS = 0.02


@dataclass
class Costs:
    """Microseconds of each round by subject and work; megabytes resident after the first work."""

    spent: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    resident: dict[str, float] = field(default_factory=dict)

    def median(self, subject: Subject, work: Work) -> float:
        return statistics.median(self.spent[subject.name, work.name])

    def ratio(self, subject: Subject, work: Work, other: Subject = FORWARDER) -> float:
        """The median of the rounds' ratios."""
        ones, others = self.spent[subject.name, work.name], self.spent[other.name, work.name]
        return statistics.median(one / another for one, another in zip(ones, others, strict=True))

    def table(self, subjects: Sequence[Subject], works: Sequence[Work]) -> str:
        """Microseconds, and in brackets the ratio to the bare forwarder."""
        lines = [["CPU of one request, in µs", *(work.name for work in works)]]
        for subject in subjects:
            line = [subject.name]
            for work in works:
                known = (subject.name, work.name) in self.spent
                shown = f"{self.median(subject, work):,.0f}" if known else ""
                line.append(f"{shown} ({self.ratio(subject, work):.2f})" if known else "")
            lines.append(line)
        return columns(lines)


async def measure(one: Running, work: Work) -> float:
    """Microseconds of CPU for one request."""
    try:
        return await _spent(one, work)
    except (RuntimeError, TimeoutError) as error:
        raise RuntimeError(f"{one.subject.name}, {work.name}: {error!r}") from error


async def _spent(one: Running, work: Work) -> float:
    requests = work.of(one.subject.share)
    async with one.clients(work.body, work.connections) as clients:
        await clients.run(min(requests, 2 * work.connections))  # every connection has been used
        await asyncio.sleep(one.subject.late + SETTLE_SECONDS)
        before = one.cpu_seconds()
        await clients.run(requests)
        await asyncio.sleep(one.subject.late)
        return (one.cpu_seconds() - before) / requests * 1e6


async def gather(
    costs: Costs,
    subjects: Sequence[Subject],
    upstream: Subject,
    works: Sequence[Work],
    rounds: int,
) -> None:
    async with staged(subjects, upstream, works[0].body) as started:
        for one in started:
            async with one.clients(works[0].body, 16) as clients:
                await clients.run(int(one.subject.warm_up * works[0].warmth))
        for number in range(rounds):
            for work in works:
                for one in in_turn(started, number):
                    of = costs.spent.setdefault((one.subject.name, work.name), [])
                    of.append(await measure(one, work))
        for one in started:
            costs.resident.setdefault(one.subject.name, one.resident_bytes() / 1e6)


async def quick(rounds: int) -> list[Row]:
    """What an optimisation is tried against: three subjects, four works, under a minute."""
    costs, works = Costs(), [kinds.JSON, kinds.HUGE]
    await gather(costs, FEW, UPSTREAM, works, rounds)
    await gather(costs, FEW, end("provider"), [kinds.STREAM], rounds)
    await gather(costs, FEW, end("provider", kinds.PAUSE_SECONDS), [kinds.PACED], rounds)
    print(costs.table(FEW, [*works, kinds.STREAM, kinds.PACED]))
    return judged(costs)


async def run(rounds: int) -> list[Row]:
    costs, (others, why) = Costs(), peers.installed()
    works = [kinds.ALONE, kinds.CROWD, kinds.LONG, kinds.HUGE]
    await gather(costs, [*OURS, *others], UPSTREAM, [kinds.JSON], rounds)
    for peer in others:
        if peer.name not in costs.resident:
            why[peer.name] = "does not start, see above"
    others = [peer for peer in others if peer.name in costs.resident]
    everybody = [*PLAIN, *others]
    await gather(costs, everybody, UPSTREAM, works, rounds)
    await gather(costs, everybody, end("provider"), [kinds.STREAM], rounds)
    await gather(costs, everybody, end("provider", kinds.PAUSE_SECONDS), [kinds.PACED], rounds)
    print(costs.table([*OURS, *others], [kinds.JSON, *works]), end="\n\n")
    print(costs.table(everybody, [kinds.STREAM, kinds.PACED]), end="\n\n")
    print(columns([("resident", "MB"), *((n, f"{mb:.0f}") for n, mb in costs.resident.items())]))
    return [*judged(costs), *judged_further(costs), *against_peers(costs, why)]


def judged(costs: Costs) -> list[Row]:
    return [
        at_most("defaults, 1 kB: CPU", 2.0, costs.ratio(DEFAULTS, kinds.JSON), aim=1.6),
        at_most("without log, 1 kB", 1.6, costs.ratio(BARE, kinds.JSON), aim=1.35),
        at_most("50-chunk stream, at once", 1.4, costs.ratio(DEFAULTS, kinds.STREAM), aim=1.2),
        at_most("50-chunk stream, 2 ms apart", 1.4, costs.ratio(DEFAULTS, kinds.PACED), aim=1.2),
        at_most("1 MB prompt", 1.4, costs.ratio(DEFAULTS, kinds.HUGE), aim=1.25),
    ]


def judged_further(costs: Costs) -> list[Row]:
    resident = costs.resident[DEFAULTS.name] - costs.resident[FORWARDER.name]
    return [
        at_most("10 % traced and exported", 2.3, costs.ratio(TENTH_TRACED, kinds.JSON), aim=1.8),
        at_most("every request traced", 3.2, costs.ratio(ALL_TRACED, kinds.JSON), aim=2.4),
        told("mounted in a Starlette app", costs.ratio(MOUNTED, kinds.JSON)),
        told("defaults, 20 kB", costs.ratio(DEFAULTS, kinds.LONG)),
        at_most("resident over the forwarder", 65, resident, "MB", aim=45),
    ]


def against_peers(costs: Costs, why: dict[str, str]) -> list[Row]:
    """How many times as much a peer spends on a request as tiergate with its defaults."""
    found = []
    for peer, least, aim in ((peers.LITELLM_PROXY, 50, 70), (peers.PORTKEY_GATEWAY, 4.5, 6)):
        what = f"{peer.name} ÷ tiergate, CPU"
        if peer.name in why:
            found.append(absent(what, f"≥ {least:g}", why[peer.name]))
        else:
            times = costs.ratio(peer, kinds.JSON, DEFAULTS)
            found.append(at_least(what, least, times, aim=aim))
    return found
