"""Sidecar processes that are asked and looked at: what the suites of shared state stand on."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from e2e.load import Client, clients
from e2e.process import Running, sidecar
from e2e.support import MODELS

_COMPLAINT = re.compile(r"Traceback|Error:|\w+Warning:")  # of Python's; our log has its own words


@dataclass
class Replica:
    """One process, a client of it, its operators' pages, and in the end what it said on stderr."""

    process: Running
    client: Client
    pages: httpx.AsyncClient
    said: str = ""

    @property
    def ask(self):
        return self.client.ask

    async def health(self) -> dict[str, Any]:
        answer = await self.pages.get("/health")
        assert answer.status_code == 200
        return answer.json()

    async def configuration(self) -> dict[str, Any]:
        return (await self.health())["configuration"]

    async def store(self, name: str = "redis") -> dict[str, Any]:
        """What `/health` says of the one store whose name begins so."""
        stores = (await self.health())["stores"]
        (store,) = (each for each in stores if each["name"].startswith(name))
        return store

    async def ready(self) -> int:
        return (await self.pages.get("/health/ready")).status_code

    async def reload(self) -> httpx.Response:
        return await self.pages.post("/reload", json={})

    async def version(self) -> str | None:
        return (await self.configuration())["version"]


@asynccontextmanager
async def started(file: Path, *, most: int = 1000, **environ: str) -> AsyncIterator[Replica]:
    """`tiergate serve -c FILE` on port zero. On leaving it has to end in order, nothing left."""
    async with sidecar("-c", str(file), cwd=file.parent, **environ) as process:
        async with (
            clients(process.url, most=most) as client,
            httpx.AsyncClient(base_url=process.admin, timeout=10) as pages,
        ):
            one = Replica(process, client, pages)
            yield one
        if process.process.returncode is None:
            process.signal(signal.SIGTERM)
        code, one.said = await process.ended(within=5)
        assert code == 0, one.said
        assert not _COMPLAINT.search(one.said), one.said


def replica(config: dict[str, Any], folder: Path, name: str = "replica", **settings: Any):
    """The same, from a configuration as a mapping."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(config))
    return started(file, **settings)


def pooled(*base_urls: str, each: int = 2, **tables: Any) -> dict[str, Any]:
    """A configuration in which every provider (p1, p2, …) has `each` models in every tier."""
    providers = {f"p{number}": {"base_url": url} for number, url in enumerate(base_urls, 1)}
    tiers = {
        tier: [
            {"provider": name, "model": f"{model}-{number}", "relative_cost": 1}
            for name in providers
            for number in range(each)
        ]
        for tier, model in MODELS.items()
    }
    return {"providers": providers, "tiers": tiers} | tables


def inline(version: str, *costs: float, **providers: str) -> dict[str, Any]:
    """A configuration file in which `small-VERSION` is p1's, p2's, … at these costs."""
    pool = [
        {"provider": f"p{n}", "model": f"small-{version}", "relative_cost": cost}
        for n, cost in enumerate(costs, 1)
    ]
    addresses = {name: {"base_url": url} for name, url in providers.items()}
    return {"providers": addresses, "tiers": {"simple": pool}}


def says(one: "Client | Replica", model: str) -> Callable[[], Awaitable[bool]]:
    """Whether the tier `simple` is that model's now."""

    async def said() -> bool:
        return (await one.ask(tier="simple")).model == model

    return said


async def eventually(
    happened: Callable[[], Awaitable[Any]], within: float = 5, every: float = 0.02
) -> float:
    """Ask again until it is so; returns the seconds that took, raises `TimeoutError` after."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(within):
        while not await happened():  # noqa: ASYNC110  # another process tells only when asked
            await asyncio.sleep(every)
    return loop.time() - begun
