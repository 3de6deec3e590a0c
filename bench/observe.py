"""What it costs to see every request: CPU of the whole sidecar, each way of observing against none.

    python bench/observe.py [ROUNDS]

Each variant is a real `tiergate serve`, in front of a provider that answers at once from another
process; a raw client keeps its connections busy. In each of ROUNDS (5) every variant is asked
for the same, one after the other and in turn first, and its CPU time is read from the operating
system (user and system, all threads) over the work itself. The table has the median of the rounds,
in microseconds for one request, and the ratio to the sidecar that only counts: metrics cannot be
turned off. What is exported goes to an OTLP/HTTP receiver that accepts and forgets.

Where the machine lets us, the sidecars have one processor for themselves and everybody else another
one.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from timeit import timeit

from ends import CHUNKS, MANY_CHUNKS, load
from machine import cpu_seconds, pinned, processors

from tiergate.candidates import Candidate
from tiergate.capacity import Capacity
from tiergate.completion import Usage
from tiergate.config import Limits
from tiergate.exchange import Attempt, Decision, Exchange
from tiergate.metrics import Metrics
from tiergate.record import record_of
from tiergate.telemetry import Telemetry
from tiergate.wire import parse_request

REQUESTS = (
    1600  # of one variant in one round; a quarter of it for streams, a sixteenth for long ones
)
WARM_UP = 300
ENDS = str(Path(__file__).with_name("ends.py"))
FLUSH_SECONDS = 0.4  # for rows and spans that are written after the answer: they are paid for too

EXPORTED = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
SAMPLED = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}


@dataclass
class Variant:
    """One sidecar. `cost` has the microseconds of CPU for one request, of each round, by work."""

    name: str
    log: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    pid: int = 0
    port: int = 0
    cost: dict[str, list[float]] = field(default_factory=dict)

    def median(self, work: str) -> float:
        return statistics.median(self.cost[work])


@dataclass(frozen=True)
class Work:
    """A kind of request, and how many of them one round has."""

    name: str
    body: bytes
    requests: int


def variants(collector: int) -> list[Variant]:
    sent = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}", **EXPORTED}
    return [
        Variant("metrics alone, no SDK"),
        Variant("+ log on SQLite", log="sqlite:///log.db"),
        Variant("+ log on stdout:", log="stdout:"),
        Variant("+ traces, none sampled", environ={**sent, "OTEL_TRACES_SAMPLER": "always_off"}),
        Variant("+ traces, 10 % sampled", environ={**sent, **SAMPLED}),
        Variant("+ traces, all exported", environ={**sent, "OTEL_TRACES_SAMPLER": "always_on"}),
        Variant(
            "+ SQLite and all exported",
            log="sqlite:///log.db",
            environ={**sent, "OTEL_TRACES_SAMPLER": "always_on"},
        ),
    ]


def body(chunks: int = 0) -> bytes:
    said: dict[str, object] = {"model": "simple", "max_tokens": max(1, chunks)}
    if chunks:
        said["stream"] = True
    return json.dumps({**said, "messages": [{"role": "user", "content": "hello " * 50}]}).encode()


def works(scale: float) -> list[Work]:
    return [
        Work("JSON", body(), int(REQUESTS * scale)),
        Work(f"{CHUNKS} chunks", body(CHUNKS), int(REQUESTS * scale / 4)),
        Work(f"{MANY_CHUNKS} chunks", body(MANY_CHUNKS), int(REQUESTS * scale / 16)),
    ]


@asynccontextmanager
async def started(
    *command: str, cwd: Path | None = None, **environ: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A Python process that prints a line with the port it listens on; ended on leaving."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,  # the line is there when the log has stdout
        limit=2**24,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        port = int("".join(filter(str.isdigit, line.rpartition(":")[2])))
        forgetting = asyncio.create_task(_forget(process.stdout))
        try:
            yield process, port
        finally:
            forgetting.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _forget(stream: asyncio.StreamReader) -> None:
    while await stream.read(2**20):
        pass


@asynccontextmanager
async def sidecar(variant: Variant, provider: int) -> AsyncIterator[None]:
    command = ("-m", "tiergate_sidecar", "serve", "-c", "tiergate.json")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configure(folder, variant, provider)
        async with started(*command, cwd=folder, **variant.environ) as (process, port):
            variant.pid, variant.port = process.pid, port
            yield


def configure(folder: Path, variant: Variant, provider: int) -> None:
    prices = {"input_price_per_million": 1.0, "output_price_per_million": 2.0}
    config = {
        "server": {"listen": "127.0.0.1:0", "admin": ""},
        "providers": {"p": {"base_url": f"http://127.0.0.1:{provider}/v1"}},
        "tiers": {"simple": [{"provider": "p", "model": "m", **prices}]},
        "request_log": {"url": variant.log},
    }
    (folder / "tiergate.json").write_text(json.dumps(config), encoding="utf-8")


async def measure(variant: Variant, work: Work) -> None:
    before = cpu_seconds(variant.pid)
    await load(variant.port, work.body, work.requests)
    await asyncio.sleep(FLUSH_SECONDS)
    spent = cpu_seconds(variant.pid) - before
    variant.cost.setdefault(work.name, []).append(spent / work.requests * 1e6)


async def run(rounds: int, scale: float = 1) -> list[Variant]:
    """Measure all; `scale` is how many requests a round has, against the usual number."""
    ours, others = processors()
    async with AsyncExitStack() as stack:
        with pinned(others):
            _, provider = await stack.enter_async_context(started(ENDS, "provider"))
            _, collector = await stack.enter_async_context(started(ENDS, "collector"))
        measured = variants(collector)
        with pinned(ours):
            for variant in measured:
                await stack.enter_async_context(sidecar(variant, provider))
        with pinned(others):
            for variant in measured:
                for work in works(scale):
                    await load(variant.port, work.body, min(WARM_UP, work.requests))
            for number in range(rounds):
                for work in works(scale):
                    turn = number % len(measured)
                    for variant in measured[turn:] + measured[:turn]:
                        await measure(variant, work)
    return measured


def table(measured: list[Variant]) -> str:
    names = list(measured[0].cost)
    heads = "".join(f"{name:>20}" for name in names)
    lines = [f"{'CPU of one request, in µs':<28}{heads}{'of one chunk':>16}"]
    for variant in measured:
        line = f"{variant.name:<28}"
        for name in names:
            median = variant.median(name)
            line += f"{median:>12.0f} ({median / measured[0].median(name):>5.2f})"
        lines.append(line + f"{per_chunk(variant):>16.2f}")
    return "\n".join(lines)


def per_chunk(variant: Variant) -> float:
    """Of a chunk more: what the long stream costs over the short one, in µs."""
    longer = variant.median(f"{MANY_CHUNKS} chunks") - variant.median(f"{CHUNKS} chunks")
    return longer / (MANY_CHUNKS - CHUNKS)


def within(plain: float) -> str:
    """What is in every request, measured alone: it cannot be turned off. `plain` is in µs."""
    metrics, telemetry, times = Metrics(), Telemetry(), 20_000
    ended = Exchange(
        id="id",
        arrived=0,
        pairs=[],
        account=Capacity(Limits()).account(),
        request=parse_request(b'{"messages": []}'),
        decision=Decision("simple", "default"),
        candidate=(candidate := Candidate("p", "m", 1, 1.0, 2.0)),
        attempts=(Attempt(candidate, 0.0001, 0.01, 200),),
        status=200,
        usage=Usage(60, 50),
        overhead=0.0002,
    )

    def begin_and_end() -> None:
        ended.trace = telemetry.begin(ended, "/v1/chat/completions", "http", frozenset())
        if ended.trace is not None:
            telemetry.end(ended, "ok")

    def count() -> None:
        metrics.decided("simple")
        metrics.selected("simple", candidate)
        metrics.finished(record)

    record = record_of(ended, 0.01)
    parts = {
        "its record": lambda: record_of(ended, 0.01),
        "counting it": count,
        "the OpenTelemetry API without an SDK": begin_and_end,
    }
    lines = []
    for name, part in parts.items():
        spent = timeit(part, number=times) / times * 1e6
        lines.append(f"{spent:>8.2f} µs ({spent / plain:.1%}) {name}")
    return "within each request:\n" + "\n".join(lines)


def main(rounds: int = 5) -> None:
    measured = asyncio.run(run(rounds))
    print(table(measured))
    print(within(measured[0].median("JSON")))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
