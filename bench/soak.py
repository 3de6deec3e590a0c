"""Many slow streams at once, of which some break and some lose their client: does anything stay?

    python bench/soak.py [STREAMS] [SEED]

Everything is in this process: fake providers, gateway, uvicorn, clients. Rounds of STREAMS (2,000)
concurrent streams, a tenth with a fault, a tenth whose client leaves, all of it drawn from SEED.
After each round, whatever it took must be given back: places, bytes, probes, tasks, connections,
file descriptors. The first round warms up; memory after each later one must be within 10 MB of it.
Prints a report; exits with 1 if anything stayed. `tests/e2e/test_soak.py` runs a short one.
"""

import asyncio
import ctypes
import gc
import json
import os
import random
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette

from tiergate import Gateway, TierMiddleware
from tiergate.transport import AiohttpTransport
from tiergate_sidecar.mock import MockProviders

SHARE = 0.1  # of faults, and of clients that leave
MODES = ("off", "first_token", "buffered")
FAULTS = (
    *("503", "429", "500", "reset", "silent", "headers", "slow 20", "html", "empty"),
    *("cut 0", "cut 3", "stall 3", "error-event", "cut 3 always", "503 always", "big-event"),
)
PROVIDERS = ("p1", "p2", "p3", "p4")
MOST_GROWTH_MB = 10
SETTLE_SECONDS = 15
KEEPALIVE_SECONDS = 1


@dataclass
class Round:
    """What became of one round. `left` counts what was not given back, by what it is."""

    ended: Counter[str]
    peak: int
    seconds: float
    left: dict[str, int]
    resident_mb: float

    @property
    def torn(self) -> int:
        return self.ended["torn"]


@dataclass
class Report:
    streams: int
    rounds: list[Round] = field(default_factory=list)

    @property
    def growth_mb(self) -> float:
        """Of the last round over the first, the warm-up."""
        return self.rounds[-1].resident_mb - self.rounds[0].resident_mb

    def problems(self) -> list[str]:
        found = []
        for number, each in enumerate(self.rounds, 1):
            found += [f"round {number} left {n} {what}" for what, n in each.left.items() if n]
            if each.torn:
                found.append(f"round {number}: {each.torn} answers neither complete nor an error")
            if each.peak < 0.8 * self.streams:
                found.append(f"round {number}: only {each.peak} streams at once")
        if self.growth_mb > MOST_GROWTH_MB:
            found.append(f"memory has grown by {self.growth_mb:.1f} MB")
        return found

    def __str__(self) -> str:
        lines = [
            f"round {number}: {each.seconds:.1f} s, at most {each.peak} at once, "
            f"{each.resident_mb:.1f} MB resident afterwards\n"
            f"  ended: {', '.join(f'{n} {what}' for what, n in each.ended.most_common())}\n"
            f"  left:  {', '.join(f'{n} {what}' for what, n in each.left.items())}"
            for number, each in enumerate(self.rounds, 1)
        ]
        return "\n".join([*lines, f"growth after the warm-up: {self.growth_mb:+.1f} MB"])


def config(streams: int, mock: MockProviders) -> dict[str, object]:
    """Room for everybody; short back-offs, so that candidates come and go all the time."""
    room = {"max_connections": 2 * streams, "keepalive_seconds": KEEPALIVE_SECONDS}
    return {
        "providers": {
            name: {"base_url": mock.base_url(name), "forward_headers": ["X-Mock-Fault"], **room}
            for name in PROVIDERS
        },
        "tiers": {"simple": [{"provider": name, "model": "small"} for name in PROVIDERS]},
        "limits": {"max_in_flight": 2 * streams},
        "health": {"initial_backoff_seconds": 0.05, "multiplier": 1.0},
        "retry": {"backoff_seconds": 0.2, "fallbacks": 3, "deadline_seconds": 20},
        "streaming": {"first_token_timeout_seconds": 5, "idle_timeout_seconds": 5},
    }


class Soak:
    """One gateway under load; `round` may be called again and again."""

    def __init__(self, streams: int, seed: int, mock: MockProviders) -> None:
        self.streams = streams
        self.chance = random.Random(seed)
        self.mock = mock
        self.transport = AiohttpTransport()
        self.gateway = Gateway(
            config(streams, mock),
            transport=self.transport,
            environ={},
            chance=random.Random(seed),
        )
        self.port = 0
        self.tasks = self.descriptors = 0

    async def round(self) -> Round:
        await self._heal()
        loop = asyncio.get_running_loop()
        begun, peak = loop.time(), 0
        running = {asyncio.create_task(self._client()) for _ in range(self.streams)}
        clients, pending = running, running
        while pending:
            peak = max(peak, self.gateway.capacity.in_flight)
            _, pending = await asyncio.wait(pending, timeout=0.05)
        ended = Counter(client.result() for client in clients)
        seconds = loop.time() - begun
        del running, clients
        left = await self._settled()
        free_memory()
        return Round(ended, peak, seconds, left, resident_mb())

    async def _heal(self) -> None:
        """Probe whoever is in back-off, one by one: a crowd would find them all being probed."""
        for _ in range(10 * len(PROVIDERS)):
            if not self.gateway.health.ailing():
                return
            await self._ask(request("Connection: close", stream=False))

    async def _client(self) -> str:
        """One stream of one client; how it ended."""
        chance = self.chance
        mode = chance.choice(MODES)
        headers = [f"X-Sentinel-Stream-Failover: {mode}", "Connection: close"]
        if chance.random() < SHARE:
            headers.append(f"X-Mock-Fault: {chance.choice(FAULTS)}")
        leaves = chance.uniform(0, 4) if chance.random() < SHARE else None
        try:
            async with asyncio.timeout(leaves):
                return ending(await self._ask(request(*headers)))
        except TimeoutError:
            return "left by their clients"

    async def _ask(self, asked: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(asked)
            return await reader.read(-1)
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _settled(self) -> dict[str, int]:
        """What is left once nothing changes for the better, or after a while."""
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLE_SECONDS
        # Nobody announces what has gone: a timer has to ask.
        while any((left := self.left()).values()) and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return left

    def left(self) -> dict[str, int]:
        # Nobody else may look into a pool; what it holds is what this program is about.
        here = self.transport._pools._loops.get(asyncio.get_running_loop())
        pools = [held.thing for held in here._held.values()] if here is not None else []
        connectors = [pool._session.connector for pool in pools]
        places = sum(2 * self.streams - pool.places._value for pool in pools)
        capacity, ailing = self.gateway.capacity, self.gateway.health.ailing()
        return {
            "requests in flight": capacity.in_flight,
            "bytes held": capacity.held_bytes,
            "probes": sum(each.state == "probing" for each in ailing),
            "places at providers": places,
            "connections in use": sum(len(each._acquired) for each in connectors if each),
            "upstream sockets": len(self.mock.server.open),
            "tasks": max(0, len(asyncio.all_tasks()) - self.tasks),
            "file descriptors": max(0, descriptors() - self.descriptors),
        }


def request(*headers: str, stream: bool = True) -> bytes:
    said = {"tier": "simple", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    body = json.dumps(said)
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *headers, "", body]).encode()


def ending(answer: bytes) -> str:
    """How an answer ended: nothing in between complete and an error is allowed."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head[9:12].decode()
    if status != "200":
        return f"status {status}" if b'"error"' in body else "torn"
    if not body.endswith(b"0\r\n\r\n"):
        return "torn"
    if b'{"error":' in body:
        return "torn" if b"[DONE]" in body else "error within the stream"
    return "complete" if body.count(b"data: [DONE]") == 1 else "torn"


def free_memory() -> None:
    """Collect, and give back what the allocator keeps although nobody uses it: 12 MB of noise."""
    gc.collect()
    with suppress(AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def served(soak: Soak) -> AsyncIterator[None]:
    app = TierMiddleware(Starlette(), gateway=soak.gateway, authorize="open")
    settings = uvicorn.Config(app, port=0, log_config=None, access_log=False)
    settings.load()
    server = uvicorn.Server(settings)
    server.lifespan = settings.lifespan_class(settings)
    await server.startup()  # `serve()` would take the signals of whoever runs this
    await server.on_tick(0)
    soak.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield
    finally:
        await server.shutdown()


async def run(streams: int, seed: int, *, rounds: int = 3, token_delay: float = 1.0) -> Report:
    """`token_delay` is in seconds: a healthy answer has about six tokens."""
    report = Report(streams)
    async with MockProviders(now=float, token_delay_seconds=token_delay) as mock:
        soak = Soak(streams, seed, mock)
        async with served(soak):
            soak.tasks, soak.descriptors = len(asyncio.all_tasks()), descriptors()
            for _ in range(rounds):
                report.rounds.append(await soak.round())
    return report


def main(streams: int = 2000, seed: int = 1) -> int:
    needed = 5 * streams + 200  # both ends of both connections of a stream, and some
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(needed, most), most))
    report = asyncio.run(run(streams, seed))
    print(f"{streams} streams, seed {seed}\n{report}")
    problems = report.problems()
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
