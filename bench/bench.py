"""How fast, small and flat: `make bench`.

    python bench/bench.py [PART] [--quick] [--rounds N]

PART is one of cpu, latency, streams, start, import, host and memory; without one all but memory
run, in about twelve minutes. Each prints its figures and then its rows: what was asked for, what
was measured, whether it is met. `cpu --quick` is half a minute and enough to try an optimisation.

Ratios are between subjects that were measured in turn in one run, by CPU time: other work on the
machine hardly moves them. What is measured in time, latency and throughput, needs a quiet one; how
busy others kept it is said after each part.
"""

import argparse
import asyncio
import datetime
import os
import time
from collections.abc import Awaitable, Callable

import cpu
import host
import imports
import latency
import memory
import start
import streams
import uvloop
from machine import described, most_files, spent_by_others
from table import Row, rows

ROUNDS = 5

PARTS: dict[str, Callable[[int], Awaitable[list[Row]]]] = {
    "cpu": cpu.run,
    "latency": latency.run,
    "streams": streams.run,
    "start": start.run,
    "import": imports.run,
    "host": host.run,
    "memory": memory.run,
}
"""In the order of printing."""

ALONE = {"memory"}
"""Only by name: a million requests take minutes."""


async def run(parts: list[str], rounds: int, *, quick: bool) -> list[Row]:
    found: list[Row] = []
    for part in parts:
        print(f"\n{part}\n", flush=True)
        began, others = time.monotonic(), spent_by_others()
        measured = await (cpu.quick if quick else PARTS[part])(rounds)
        took, others = time.monotonic() - began, spent_by_others() - others
        print(f"\n{rows(measured)}\n")
        share = others / took / (os.cpu_count() or 1)
        print(f"{took:.0f} s; others used {share:.0%} of this machine meanwhile", flush=True)
        found += measured
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("part", nargs="?", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="cpu alone, and less of it")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    parts = (
        [given.part or "cpu"]
        if given.part or given.quick
        else [each for each in PARTS if each not in ALONE]
    )
    most_files()
    print(f"{datetime.date.today()}: {described()}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(parts, given.rounds, quick=given.quick))
    if len(parts) > 1:
        print(f"\nall of it\n\n{rows(found)}")


if __name__ == "__main__":
    main()
