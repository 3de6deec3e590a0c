"""Thousands of streams at once that hardly move: memory of each, and CPU of all.

The provider sends a chunk on each stream every few seconds. Resident memory is read before the
first, at each step, and after all have gone; it is divided by the number of streams.
"""

import asyncio
from collections.abc import Sequence

import work
from catalogue import FORWARDER, roomy
from machine import most_files, pinned, processors
from stage import end
from subject import Running, Subject, running
from table import Row, at_most, columns, told

STEPS = (5_000, 10_000)
PAUSE_SECONDS = 5.0
AT_ONCE = 250
"""Streams that are opened together: a crowd would only measure the backlog."""

SPARE_FILES = 100
MOST_SECONDS = 120.0
UNITS = ("kB each", "CPU ms/s")


class _Stream(asyncio.Protocol):
    """Asks once, and then only hears whether anything has come."""

    def __init__(self, asked: bytes) -> None:
        self._asked = asked
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.write(self._asked)

    def data_received(self, data: bytes) -> None:
        if self.begun.done():
            return
        if b"data: " in data:
            self.begun.set_result(None)
        elif not data.startswith(b"HTTP/1.1 200"):
            self.begun.set_exception(RuntimeError(data.decode()))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_exception(RuntimeError(f"closed: {error}"))


async def opened(one: Running, streams: list[_Stream], count: int) -> None:
    """Until there are so many, and each has had its first chunk."""
    loop = asyncio.get_running_loop()
    asked = one.request(work.STREAM.body)

    async def another() -> None:
        _, made = await loop.create_connection(lambda: _Stream(asked), "127.0.0.1", one.port)
        streams.append(made)
        await made.begun

    async with asyncio.timeout(MOST_SECONDS):
        while len(streams) < count:
            several = min(AT_ONCE, count - len(streams))
            await asyncio.gather(*(another() for _ in range(several)))


async def measure(subject: Subject, steps: Sequence[int]) -> list[tuple[float, float]]:
    """Of each step kB for one stream, and milliseconds of CPU for a second of all of them."""
    ours, others = processors()
    found = []
    with pinned(others):
        upstream = running(end("provider", PAUSE_SECONDS), others, work.SMALL)
        async with (
            upstream as provider,
            running(subject, ours, work.SMALL, upstream=provider.port) as one,
        ):
            async with one.clients(work.SMALL, 16) as clients:
                await clients.run(subject.warm_up)
            before = one.resident_bytes()
            streams: list[_Stream] = []
            for count in steps:
                await opened(one, streams, count)
                spent = one.cpu_seconds()
                await asyncio.sleep(PAUSE_SECONDS)
                cpu = (one.cpu_seconds() - spent) / PAUSE_SECONDS * 1e3
                found.append(((one.resident_bytes() - before) / count / 1e3, cpu))
            for stream in streams:
                if stream.transport is not None:
                    stream.transport.abort()
    return found


async def run(rounds: int) -> list[Row]:
    del rounds  # thousands of streams are a mean already
    most = (most_files() - SPARE_FILES) // 2  # both connections of a stream are the subject's
    steps = [min(step, most) for step in STEPS]
    if steps[-1] < STEPS[-1]:
        print(f"open files are limited: {steps[-1]:,} streams instead of {STEPS[-1]:,}\n")
    subjects = (FORWARDER, roomy(2 * STEPS[-1]))
    found = {subject.name: await measure(subject, steps) for subject in subjects}
    lines = [["open streams", *(f"{step:,}: {unit}" for step in steps for unit in UNITS)]]
    for name, of in found.items():
        lines.append([name, *(f"{value:.1f}" for pair in of for value in pair)])
    print(columns(lines))
    floor, ours = found.values()
    return [
        at_most(f"memory of an open idle stream, at {steps[-1]:,}", 60, ours[-1][0], "kB", aim=30),
        told("the same of the bare forwarder", floor[-1][0], "kB"),
    ]
