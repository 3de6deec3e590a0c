"""What the fault suites share: fake providers that say sixty tokens, a gateway before them on a
clock that can be put forward, and what a client got, taken apart.

A request for the model `small` asks p1, then p2, then p3. Every provider is the mock below its own
path, so that `X-Mock-Fault: cut 40 always @p1` says who does what, and `seen` says who was asked
when.
"""

import asyncio
import json
import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
from e2e.support import CHAT, error_of, routed, serving
from starlette.applications import Starlette

from tiergate import Gateway, TierMiddleware
from tiergate_sidecar.mock import Attempt, MockProviders
from tiergate_sidecar.mock_answers import LONG_TEXT

TEXT = "".join(LONG_TEXT)
MODES = ("json", "off", "first_token", "buffered")
PATIENCE = 0.4  # every timeout of one attempt, scaled from ten and twenty seconds
TIMES = {
    "retry": {"backoff_seconds": 0.05, "attempt_timeout_seconds": PATIENCE, "deadline_seconds": 3},
    "streaming": {
        "first_token_timeout_seconds": PATIENCE,
        "idle_timeout_seconds": PATIENCE,
        "buffered_deadline_seconds": 3,
    },
}


class SixtyTokens(MockProviders):
    """The mock, saying its long text also when nothing is wrong: sixty tokens, no two alike."""

    def _say(self, *asked: Any) -> Any:
        return replace(super()._say(*asked), text=LONG_TEXT)


class Clock:
    """The loop's time and what was added to it: a back-off passes without anybody waiting."""

    def __init__(self) -> None:
        self.added = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.added


@dataclass
class Got:
    """What a client got. `text` is all that was said, `error` also one within the stream."""

    status: int
    headers: httpx.Headers
    elapsed: float
    body: bytes
    text: str = ""
    error: dict[str, Any] | None = None
    dones: int = 0
    comments: list[str] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """How many of the sixty tokens were said; fails unless they are the first so many."""
        count = self.text.count(" ")
        assert self.text == "".join(LONG_TEXT[:count]), "lost, doubled or torn tokens"
        return count

    def __str__(self) -> str:
        said = f"{self.text.count(' ')} tokens" if self.text else "nothing said"
        if len(self.text) > len(TEXT):
            said = f"{len(self.text)} characters"
        return f"{said}, {self.error['code']}" if self.error else said


@dataclass
class World:
    """Providers p1, p2, …, the gateway before them and a client of it."""

    mock: MockProviders
    gateway: Gateway
    clock: Clock
    path: str = CHAT
    client: httpx.AsyncClient = field(init=False)
    asked: int = 0

    async def ask(
        self,
        mode: str,
        fault: str | None = None,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> Got:
        """One request in one mode; what came, whole."""
        said = {"model": "small", "messages": [{"role": "user", "content": "hello"}], **body}
        said["stream"] = mode != "json"
        sent = dict(headers or {})
        if mode != "json":
            sent["X-Sentinel-Stream-Failover"] = mode
        if fault is not None:
            sent["X-Mock-Fault"] = fault
        begun = asyncio.get_running_loop().time()
        answer = await self.client.post(self.path, json=said, headers=sent)
        elapsed = asyncio.get_running_loop().time() - begun
        return take_apart(Got(answer.status_code, answer.headers, elapsed, answer.content))

    def seen(self) -> list[Attempt]:
        """The attempts that have reached a provider since this was last asked."""
        attempts = list(self.mock.attempts)[self.asked :]
        self.asked += len(attempts)
        return attempts

    def ailing(self) -> set[str]:
        return {each.provider for each in self.gateway.health.ailing()}


def take_apart(got: Got) -> Got:
    """Fill in what the body says; fails on anything that is neither an answer nor an error."""
    if "event-stream" in got.headers["content-type"]:
        for part in got.body.decode().removesuffix("\n\n").split("\n\n"):
            _take_event(got, part)
    elif got.status == 200:
        got.text = json.loads(got.body)["choices"][0]["message"]["content"]
    else:
        got.error = error_of(got.body)
    return got


def _take_event(got: Got, part: str) -> None:
    assert not got.dones, f"after [DONE]: {part}"
    assert not got.error, f"after the error: {part}"
    if part.startswith(":"):
        got.comments.append(part)
        return
    data = part.removeprefix("data: ")
    if data == "[DONE]":
        got.dones += 1
        return
    event = json.loads(data)
    if "error" in event:
        got.error = error_of(data)
    else:
        got.text += "".join(each["delta"].get("content", "") for each in event["choices"])


@asynccontextmanager
async def worlds(
    *names: str,
    providers: int = 2,
    first: str | None = None,
    provider: dict[str, Any] | None = None,
    **tables: Any,
) -> AsyncIterator[dict[str, World]]:
    """Worlds that share nothing but one uvicorn: each has its mock providers and its gateway.

    `providers` is how many, `first` the base URL of a p1 of another kind, `provider` what is set
    for all of them beside their URL.
    """
    made: dict[str, World] = {}
    app: Any = Starlette()
    async with AsyncExitStack() as stack:
        for name in names:
            mock = await stack.enter_async_context(
                SixtyTokens(now=float, token_delay_seconds=0.001)
            )
            urls = [mock.base_url(f"p{number}") for number in range(1, providers + 1)]
            urls[0] = first or urls[0]
            path = f"/{name}{CHAT}" if name else CHAT
            tables["routing"] = {"paths": [path]}
            config = configured(*urls, provider=provider, **tables)
            clock = Clock()
            gateway = Gateway(config, clock=clock, environ={}, chance=random.Random(7))
            made[name] = World(mock, gateway, clock, path)
            app = TierMiddleware(app, gateway=made[name].gateway, authorize="open")
        url = await stack.enter_async_context(serving(app))
        client = httpx.AsyncClient(base_url=url, timeout=30)
        client = await stack.enter_async_context(client)
        for each in made.values():
            each.client = client
        yield made
    for each in made.values():
        assert each.gateway.capacity.in_flight == 0
        assert each.gateway.capacity.held_bytes == 0


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    """One world alone."""
    async with worlds("", **settings) as made:
        yield made[""]


def configured(
    *base_urls: str, provider: dict[str, Any] | None = None, **tables: Any
) -> dict[str, Any]:
    """What `routed` gives, with the scaled times and the header that asks for a fault."""
    config = routed(*base_urls, **merged(TIMES, tables))
    for each in config["providers"].values():
        each |= {"forward_headers": ["X-Mock-Fault"], **(provider or {})}
    return config


def merged(*tables: dict[str, Any]) -> dict[str, Any]:
    """Tables over tables, key by key."""
    result: dict[str, Any] = {}
    for more in tables:
        result |= {name: {**result.get(name, {}), **table} for name, table in more.items()}
    return result


def counted(attempts: list[Attempt]) -> str:
    """As `x-arbstr-retries` tells it: attempts per provider in order of first use."""
    names = [attempt.provider for attempt in attempts]
    return ", ".join(f"{names.count(name)}/{name}" for name in dict.fromkeys(names))


def gaps(attempts: list[Attempt]) -> list[float]:
    return [later.time - earlier.time for earlier, later in pairwise(attempts)]


def told(attempts: list[Attempt]) -> str:
    """Who was asked, and how long after the one before."""
    waits = [0.0, *gaps(attempts)]
    return " ".join(
        f"{each.provider}+{wait:.2f}" for each, wait in zip(attempts, waits, strict=False)
    )


def self_signed(folder: Path) -> Path:
    """A certificate and its key in one file, vouched for by nobody."""
    both = folder / "both.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    out = folder / "cert.pem"
    subprocess.run([*made, "-keyout", both, "-out", out], check=True, capture_output=True)
    both.write_bytes(both.read_bytes() + out.read_bytes())
    return both
