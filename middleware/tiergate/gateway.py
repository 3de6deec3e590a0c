"""The gateway: everything between a request's bytes and its reply, for whoever brings the request.

Knows no ASGI: `asgi` and `response` bring requests here. The composition root: real time, chance
and HTTP come in as defaults of the constructor.
"""

import logging
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from tiergate.config import Config
from tiergate.endpoint import compile_endpoints
from tiergate.errors import Answerable, InternalError, Unavailable
from tiergate.exchange import ANONYMOUS, Caller, Exchange, Explanation
from tiergate.forward import Delivered, Forwarder
from tiergate.loading import load_config, read_api_key
from tiergate.relay import Relay
from tiergate.request_headers import Pairs, read_headers
from tiergate.resolve import NotOurs, resolve
from tiergate.response_headers import JSON, STREAM, error_headers, our_headers
from tiergate.retry import RetryBudget
from tiergate.routing import make_plan, shares
from tiergate.snapshot import compile_snapshot
from tiergate.sources import InlineSource
from tiergate.store import Store
from tiergate.tiers import TIERS, Tier
from tiergate.transport import AiohttpTransport, Transport
from tiergate.wire import parse_request

_log = logging.getLogger("tiergate")


class Reply(Struct, frozen=True):
    """What goes back to the client: `body` whole, or a `relay` that carries a stream."""

    status: int
    headers: Pairs
    body: bytes = b""
    relay: Relay | None = None


class Status(Struct, frozen=True):
    """What a gateway can say of itself: for health pages and for people."""

    ready: bool
    version: str | None
    source: str
    providers: tuple[str, ...]
    candidates: dict[Tier, int]


class Gateway:
    """Routes chat requests. Made from a path, a mapping or a `Config`; raises `ConfigError`.

    An asynchronous context manager: entering loads the tiers, leaving closes the connections of the
    running event loop. Neither is required: it opens what it needs when it needs it, per loop, and
    starts no thread. Safe to make before a fork.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Mapping[str, Any] | Config,
        *,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.monotonic,  # noqa: TID251  # the composition root
        wall: Callable[[], float] = time.time,  # noqa: TID251
        chance: random.Random | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config = load_config(config, environ=environ)
        keys = {
            name: read_api_key(name, provider, environ=environ)
            for name, provider in config.providers.items()
        }
        self.uses_own_keys = any(key is not None for key in keys.values())
        self._clock = clock
        self._chance = chance or random.Random()
        self._transport = transport or AiohttpTransport()
        self._source = InlineSource(config)
        self._store = Store(
            self._source,
            lambda document: compile_snapshot(document, config),
            key_prefix=config.cache.key_prefix,
        )
        self._forwarder = Forwarder(
            config=config,
            endpoints=compile_endpoints(config.providers, keys),
            transport=self._transport,
            budget=RetryBudget(config.retry),
            clock=clock,
            wall=wall,
            chance=self._chance,
        )

    def __repr__(self) -> str:
        return f"<Gateway {self._store!r}, providers {', '.join(self.config.providers)}>"

    async def __aenter__(self) -> "Gateway":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Load the tiers, so that the first request does not have to."""
        await self._store.load()

    async def close(self) -> None:
        """Close the connections that the running loop holds; a later request opens new ones."""
        await self._transport.close()

    def begin(self, pairs: Pairs) -> Exchange:
        """The exchange of a request that has just arrived with these headers (lower-case names)."""
        return Exchange(id=str(uuid.uuid4()), arrived=self._clock(), pairs=pairs)

    @asynccontextmanager
    async def handle(self, exchange: Exchange, body: bytes) -> AsyncIterator[Reply]:
        """Serve one request: the reply while inside, everything let go on leaving.

        Raises `NotOurs` for a request that the configuration passes on to the host.
        """
        reply = await self._reply(exchange, body)
        try:
            yield reply
        finally:
            if reply.relay is not None:
                await reply.relay.close()

    def refuse(self, exchange: Exchange, error: Answerable) -> Reply:
        """The answer to a request that ends with an error of ours."""
        headers = our_headers(
            exchange, self.config.headers, latency=self._latency(exchange), opened=False
        )
        headers += error_headers(error, self.config.headers)
        return Reply(error.status, headers, error.body())

    def explain(
        self, body: bytes, *, pairs: Pairs | None = None, caller: Caller = ANONYMOUS
    ) -> Explanation:
        """What would become of a request; raises `Answerable` where it would be refused."""
        snapshot = self._store.snapshot
        if snapshot is None:
            raise Unavailable("The tiers are not loaded yet.", retry_after=1)
        request, headers = parse_request(body), read_headers(pairs or [])
        decision = resolve(request, headers, caller, snapshot, self.config.routing)
        return Explanation(
            tier=decision.tier, reason=decision.reason, candidates=shares(decision, snapshot)
        )

    def models(self) -> dict[str, str]:
        """What a client may name as `model`, and whose it is: tiers, aliases, configured models."""
        snapshot = self._store.snapshot
        if snapshot is None:
            return {}
        ours = dict.fromkeys([*TIERS, *self.config.routing.aliases], "tiergate")
        offers = {name: route.candidates[0].provider for name, route in snapshot.models.items()}
        return ours | {name: owner for name, owner in offers.items() if name not in ours}

    def status(self) -> Status:
        """Whether requests can be served, and from which configuration."""
        snapshot = self._store.snapshot
        return Status(
            ready=snapshot is not None,
            version=snapshot.version if snapshot else None,
            source=self._source.name,
            providers=tuple(self.config.providers),
            candidates={tier: len(pool) for tier, pool in snapshot.pools.items()}
            if snapshot
            else {},
        )

    async def _reply(self, exchange: Exchange, body: bytes) -> Reply:
        try:
            return self._present(exchange, await self._serve(exchange, body))
        except Answerable as error:
            return self.refuse(exchange, error)
        except NotOurs:
            raise
        except Exception:  # noqa: BLE001  # the outermost wrapper: one request may fail, not the process
            _log.exception("request %s: a bug in tiergate", exchange.id)
            return self.refuse(
                exchange, InternalError("An internal error; the log has the details.")
            )

    async def _serve(self, exchange: Exchange, body: bytes) -> Delivered:
        snapshot = self._store.snapshot or await self._store.load()
        exchange.headers = read_headers(exchange.pairs)
        exchange.request = parse_request(body)
        exchange.decision = resolve(
            exchange.request, exchange.headers, exchange.caller, snapshot, self.config.routing
        )
        plan = make_plan(exchange.decision, snapshot, self._chance)
        return await self._forwarder.forward(exchange, plan)

    def _present(self, exchange: Exchange, delivered: Delivered) -> Reply:
        opened = delivered.relay is not None
        headers = our_headers(
            exchange, self.config.headers, latency=self._latency(exchange), opened=opened
        )
        passed = delivered.endpoint.answer_headers(delivered.headers)
        if opened:
            headers += STREAM
            passed = [pair for pair in passed if pair[0] != b"content-type"]
        elif not any(name == b"content-type" for name, _ in passed):
            headers.append(JSON)
        return Reply(delivered.status, headers + passed, delivered.body, delivered.relay)

    def _latency(self, exchange: Exchange) -> float:
        return self._clock() - exchange.arrived
