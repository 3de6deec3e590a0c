"""A configuration service that speaks Sentinel's document, and fails when it is told to.

A real HTTP server on port zero. What it says is `document`; what is wrong with it is `fault`, one
of `FAULTS`; `stop` and `start` are the process that dies and comes back at the same address. What
it was asked is in `received`.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any, Self

from tiergate_sidecar.rawhttp import Call, RawServer

PATH = "/api/v1/tiers/config"
KEY = "zion-secret"
KEY_NAME = "ZION_API_KEY"
PRICES = {"inputPricePerMillion": 0.1, "outputPricePerMillion": 0.4}

Entry = dict[str, Any]


def entry(model: str, provider: str = "p1", cost: float = 1) -> Entry:
    return {"provider": provider, "model": model, "relativeCost": cost, **PRICES}


def document(version: str, **tiers: list[Entry]) -> dict[str, Any]:
    """A document in which a tier that is not given has nobody."""
    pools = {"simple": [], "moderate": [], "complex": []} | tiers
    data = {"version": version, "updatedAt": "2026-01-01T00:00:00Z", "tiers": pools}
    return {"success": True, "data": data}


def small(version: str) -> dict[str, Any]:
    """A document of one model, named after its version: who answers tells which is live."""
    return document(version, simple=[entry(f"small-{version}")])


async def _hang(call: Call) -> None:
    await call.gone.wait()


async def _fail(call: Call) -> None:
    await call.respond(500, b"oops", content_type="text/plain")


async def _say_garbage(call: Call) -> None:
    await call.respond(200, b'{"success": true, "data": {"version')


async def _say_no_success(call: Call) -> None:
    await call.respond(200, json.dumps({**small("0"), "success": False}).encode())


async def _say_nothing_usable(call: Call) -> None:
    useless = document("0", simple=[entry("m", cost=300), entry("m", provider="nobody")])
    await call.respond(200, json.dumps(useless).encode())


async def _refuse_the_key(call: Call) -> None:
    await call.respond(401, b'{"success": false}')


FAULTS = {
    "hang": _hang,
    "500": _fail,
    "garbage": _say_garbage,
    "no success": _say_no_success,
    "nothing usable": _say_nothing_usable,
    "401": _refuse_the_key,
}


class TierService:
    """Listens while the `async with` lasts.

    `delay` is in seconds. With `etags`, the document's version is its ETag, and who has that one
    already gets a 304. A request without the key gets a 401, one for another path a 404.
    """

    def __init__(self, document: dict[str, Any], *, etags: bool = False) -> None:
        self.document = document
        self.fault: str | None = None
        self.delay = 0.0
        self.etags = etags
        self.received: list[Call] = []
        self.statuses: list[int] = []
        self.server = RawServer(self._answer)

    @property
    def url(self) -> str:
        return f"{self.server.url}{PATH}"

    @property
    def source(self) -> dict[str, Any]:
        """The `tier_config` table that asks it."""
        return {"source": "http", "url": self.url, "api_key_env": KEY_NAME}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after a `stop`, on the port it had."""
        await self.server.start()

    async def stop(self) -> None:
        """Refuse connections from now on, and reset those that are open."""
        await self.server.close()

    async def _answer(self, call: Call) -> None:
        self.received.append(call)
        if self.delay:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.delay):
                    await call.gone.wait()
        if self.fault is not None:
            await FAULTS[self.fault](call)
        elif call.method != "GET" or call.path != PATH:
            await self._respond(call, 404)
        elif call.header("x-api-key") != KEY:
            await self._respond(call, 401)
        else:
            await self._say(call)

    async def _say(self, call: Call) -> None:
        etag = f'"{self.document["data"]["version"]}"'
        headers = (("etag", etag),) if self.etags else ()
        if self.etags and call.header("if-none-match") == etag:
            await self._respond(call, 304, headers=headers)
        else:
            await self._respond(call, 200, json.dumps(self.document).encode(), headers)

    async def _respond(
        self,
        call: Call,
        status: int,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.statuses.append(status)
        await call.respond(status, body, headers)
