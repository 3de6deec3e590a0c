"""Requests in numbers: a client that costs little, and traffic at a fixed rate.

An answer is timed from when its request was due, whatever held it up: a gateway that stalls cannot
hide behind a client that waited for it.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from e2e.support import HELLO, RawClient, connected


@dataclass(frozen=True)
class Got:
    """An answer: when its request was due (monotonic time), how long after that it was whole."""

    conversation: str | None
    due: float
    seconds: float
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def tier(self) -> str | None:
        return self.headers.get("x-sentinel-tier")

    @property
    def reason(self) -> str | None:
        return self.headers.get("x-sentinel-reason")

    @property
    def model(self) -> str | None:
        return self.headers.get("x-sentinel-model")

    @property
    def provider(self) -> str | None:
        return self.headers.get("x-arbstr-provider")

    @property
    def served_by(self) -> tuple[str | None, str | None]:
        return self.provider, self.model


class Client:
    """Chat requests over kept connections: over a free one, else over a new one."""

    def __init__(self, url: str, stack: AsyncExitStack, *, most: int) -> None:
        self.url = url
        self._stack = stack
        self._free: list[RawClient] = []
        self._places = asyncio.Semaphore(most)

    async def ask(
        self,
        conversation: str | None = None,
        tier: str | None = None,
        *headers: str,
        due: float | None = None,
        **body: Any,
    ) -> Got:
        """One request and its whole answer. `headers` are lines, `body` what is said beside."""
        said = {**HELLO, **body}
        if conversation is not None:
            said["conversation_id"] = conversation
        if tier is not None:
            said["tier"] = tier
        async with self._places:
            due = monotonic() if due is None else due
            connection = self._free.pop() if self._free else await self._connect()
            await connection.post(json.dumps(said).encode(), *headers)
            status, got, answer = await connection.answer()
            self._free.append(connection)
        return Got(conversation, due, monotonic() - due, status, got, answer)

    async def _connect(self) -> RawClient:
        return await self._stack.enter_async_context(connected(self.url))


@asynccontextmanager
async def clients(url: str, *, most: int = 1000) -> AsyncIterator[Client]:
    """A client of that server with at most so many connections."""
    async with AsyncExitStack() as stack:
        yield Client(url, stack, most=most)


@asynccontextmanager
async def traffic(
    client: Client, rate: float, about: Callable[[int], dict[str, Any]] | None = None
) -> AsyncIterator[list[Got]]:
    """So many requests a second while the `async with` lasts; yields what was got.

    `about` gives the arguments of the n-th request. After leaving, every request has its answer.
    """
    got: list[Got] = []

    async def one(number: int, due: float) -> None:
        got.append(await client.ask(due=due, **(about(number) if about else {})))

    async def pump() -> None:
        begun, number = monotonic(), 0
        while True:
            due = begun + number / rate
            await asyncio.sleep(due - monotonic())  # the rate is the experiment
            group.create_task(one(number, due))
            number += 1

    async with asyncio.TaskGroup() as group:
        pumping = group.create_task(pump())
        yield got
        pumping.cancel()


def percentile(got: list[Got], share: float) -> float:
    """That percentile of the seconds, by nearest rank; of 1 the longest."""
    ordered = sorted(each.seconds for each in got)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def told(got: list[Got]) -> str:
    parts = (f"p{100 * share:g} {1000 * percentile(got, share):.1f}" for share in (0.5, 0.99, 1))
    return f"{len(got)} requests, {' '.join(parts)} ms"
