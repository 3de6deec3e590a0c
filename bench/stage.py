"""The stage of a measurement: an upstream, a collector and the subjects, each on its processor.

What is measured has the first processor for itself as far as this machine lets us; clients,
upstream and collector share the others.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from machine import pinned, processors
from subject import Place, Running, Start, Subject, running

ENDS = str(Path(__file__).with_name("ends.py"))


def end(role: str, pause: float = 0) -> Subject:
    def prepare(place: Place) -> Start:
        return Start((sys.executable, ENDS, role, str(place.port), str(pause)))

    return Subject(role, prepare)


@asynccontextmanager
async def staged(
    subjects: Sequence[Subject], upstream: Subject, ready: bytes
) -> AsyncIterator[list[Running]]:
    """All that could be started, running at once in front of one upstream; each has answered
    `ready`."""
    ours, others = processors()
    async with AsyncExitStack() as stack:
        stack.enter_context(pinned(others))
        ports = []
        for each in (upstream, end("collector")):
            ends = await stack.enter_async_context(running(each, others, ready))
            ports.append(ends.port)
        started = []
        for subject in subjects:
            begun = running(subject, ours, ready, upstream=ports[0], collector=ports[1])
            try:
                started.append(await stack.enter_async_context(begun))
            except RuntimeError as error:
                if not subject.optional:
                    raise
                print(f"left out: {error}\n")
        yield started


def in_turn(subjects: Sequence[Running], number: int) -> list[Running]:
    """Each round begins with another one."""
    turn = number % len(subjects)
    return [*subjects[turn:], *subjects[:turn]]
