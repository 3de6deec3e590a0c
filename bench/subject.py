"""A program that is measured: how it is started, when it is ready, what it has spent.

`catalogue.py` has the programs themselves. Each is given a folder, a port and the port of its
upstream before it is started, and is ready when it has answered a request with 200.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from client import Clients, request
from machine import cpu_seconds, free_port, pinned, resident_bytes

READY_SECONDS = 60
ASK_AGAIN_SECONDS = 0.002


@dataclass(frozen=True)
class Place:
    """What a program is told: its own folder and port, and where its upstream and collector are."""

    folder: Path
    port: int
    upstream: int
    collector: int


@dataclass(frozen=True)
class Start:
    """How it is started, and the headers that a request to it needs."""

    command: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """`prepare` writes what the program reads. `share` of the usual number of requests is enough
    for a slow one, which has `warm_up` before; `late` is how many seconds after its last answer it
    may still be at work. An `optional` one that does not start is left out."""

    name: str
    prepare: Callable[[Place], Start]
    share: float = 1
    warm_up: int = 600
    late: float = 0
    optional: bool = False


@dataclass
class Running:
    subject: Subject
    process: asyncio.subprocess.Process
    port: int
    headers: Mapping[str, str]

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)

    def resident_bytes(self) -> int:
        return resident_bytes(self.process.pid)

    def clients(self, body: bytes, connections: int) -> Clients:
        return Clients(self.port, self.request(body), connections)

    def request(self, body: bytes) -> bytes:
        return request(body, self.headers)


def environment() -> dict[str, str]:
    """Ours without what would lead a program astray: proxies, somebody else's exporters. Compiled
    modules are kept, or each start would compile whatever has been edited."""
    astray = ("OTEL_", "TIERGATE_", "PYTHONDONTWRITEBYTECODE")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(astray)
    }


@asynccontextmanager
async def running(
    subject: Subject, on: set[int], ready: bytes, *, upstream: int = 0, collector: int = 0
) -> AsyncIterator[Running]:
    """Started on these processors, and ended on leaving. `ready` is the body that it must answer
    first; the others are the ports of whom it needs."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        start = subject.prepare(Place(folder, port, upstream, collector))
        said = folder / "said.txt"
        with said.open("wb") as output, pinned(on):
            process = await asyncio.create_subprocess_exec(
                *start.command,
                cwd=folder,
                env={**environment(), **start.environ},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            one = Running(subject, process, port, start.headers)
            await answering(one, ready, said)
            yield one
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 10)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def answering(one: Running, body: bytes, said: Path) -> None:
    """Until it answers with 200; raises with its own last words when it does not."""
    why: Exception | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_SECONDS):
            while one.process.returncode is None:
                try:
                    async with one.clients(body, 1) as client:
                        await client.run(1)
                        return
                except (OSError, RuntimeError) as error:
                    why = error
                await asyncio.sleep(ASK_AGAIN_SECONDS)
    raise RuntimeError(f"{one.subject.name} is not ready: {why}\n{last_words(said)}")


def last_words(said: Path) -> str:
    return said.read_text(errors="replace")[-2000:]
