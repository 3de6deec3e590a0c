"""A host app under gunicorn: several processes that know nothing of each other.

The promise: with Redis they keep a conversation as one process would; without it they say, once,
that they cannot.
"""

import asyncio
import json
import random
import re
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from e2e.load import Client, clients
from e2e.process import START_SECONDS, environment
from e2e.replicas import pooled
from e2e.support import completing
from redisserver import RedisServer

from tiergate_sidecar.rawhttp import RawServer

WORKERS = 4
TIERS = ("simple", "moderate", "complex")
HOST = '''
import os
from starlette.applications import Starlette
from starlette.middleware import Middleware
from tiergate import TierMiddleware

class Signed:
    """Says which worker has answered."""
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def signed(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-worker", b"%d" % os.getpid())]
            await send(message)
        await self.app(scope, receive, signed)

tiers = Middleware(TierMiddleware, config="host.json", authorize="open")
app = Starlette(middleware=[Middleware(Signed), tiers])
'''


@asynccontextmanager
async def spread(url: str, each: int = 6):
    """That many clients of one connection for every worker, by its process id."""
    found: dict[str, list[Client]] = {}
    async with AsyncExitStack() as stack:
        for _ in range(500):  # the kernel gives a connection to whichever worker is quickest
            client = await stack.enter_async_context(clients(url, most=1))
            pid = (await client.ask()).headers["x-worker"]
            found.setdefault(pid, []).append(client)
            if len(found) == WORKERS and min(map(len, found.values())) >= each:
                break
        yield {pid: some[:each] for pid, some in found.items()}


@asynccontextmanager
async def gunicorn(config: dict, folder: Path, *arguments: str, **environ: str):
    """The host app behind that many workers; yields its URL and what it has said on stderr."""
    (folder / "host.json").write_text(json.dumps(config))
    (folder / "host.py").write_text(HOST)
    command = ["-m", "gunicorn", "--bind", "127.0.0.1:0", "--chdir", str(folder)]
    command += ["--keep-alive", "60", "-k", "uvicorn_worker.UvicornWorker", *arguments, "host:app"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command),
        cwd=folder,
        env=environment(**environ),
        stderr=asyncio.subprocess.PIPE,
    )
    said: list[str] = []
    up = asyncio.Event()

    async def listen() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            said.append(line.decode())
            if sum("Application startup complete" in each for each in said) == WORKERS:
                up.set()
        up.set()  # or it has ended

    listening = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(START_SECONDS):
            await up.wait()
        url = re.search(r"Listening at: (http://\S+)", "".join(said))
        assert url, "".join(said)
        yield url[1], said
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(10):
            await process.wait()
            await listening


async def test_four_workers_on_one_redis_never_lower_a_conversation(tmp_path):
    chance = random.Random(5)
    names = [f"c{number}" for number in range(100)]
    highest = dict.fromkeys(names, 0)
    async with (
        RawServer(completing()) as provider,
        RedisServer(tmp_path) as redis,
        gunicorn(
            pooled(f"{provider.url}/v1", each=4, cache={"url": redis.url}),
            tmp_path,
            *("-w", str(WORKERS)),
        ) as (url, said),
        spread(url) as workers,
    ):
        assert len(workers) == WORKERS
        everywhere = [client for some in workers.values() for client in some]
        for _ in range(3):
            asked = [
                (name, chance.choices((0, 1, 2), (20, 2, 1))[0]) for name in names for _ in range(6)
            ]
            got = await asyncio.gather(
                *(chance.choice(everywhere).ask(name, TIERS[tier]) for name, tier in asked)
            )
            assert {each.status for each in got} == {200}
            for (name, tier), each in zip(asked, got, strict=True):
                assert TIERS.index(each.tier) >= max(tier, highest[name]), name
            for name, tier in asked:
                highest[name] = max(highest[name], tier)
            again = await asyncio.gather(
                *(some[0].ask(name, "simple") for name in names for some in workers.values())
            )
            served: dict[str, set] = {name: set() for name in names}
            for each in again:
                assert each.tier == TIERS[highest[each.conversation]], each.conversation
                served[each.conversation].add(each.served_by)
            assert {len(each) for each in served.values()} == {1}
    reached = [list(highest.values()).count(tier) for tier in range(3)]
    print(f"{reached} of each tier")  # noqa: T201
    assert min(reached) > 0
    assert not warnings_in(said)


def warnings_in(said: list[str]) -> list[str]:
    return [line for line in said if "workers" in line and "Redis" in line]


@pytest.mark.parametrize("told", ["argument", "environment"])
async def test_workers_with_sessions_in_memory_are_warned_of_once(tmp_path, told):
    arguments = ("-w", str(WORKERS)) if told == "argument" else ()
    environ = {"WEB_CONCURRENCY": str(WORKERS)} if told == "environment" else {}
    async with (
        RawServer(completing()) as provider,
        gunicorn(pooled(f"{provider.url}/v1"), tmp_path, *arguments, **environ) as (url, said),
        clients(url) as client,
    ):
        asks = (client.ask(f"c{number}", "complex") for number in range(60))
        assert {each.status for each in await asyncio.gather(*asks)} == {200}
    assert 1 <= len(warnings_in(said)) <= WORKERS
