"""The gateway: everything between a request's bytes and its reply, for whoever brings the request.

Knows no ASGI: `asgi` and `response` bring requests here. The composition root: real time, chance
and HTTP come in as defaults of the constructor.
"""

import asyncio
import logging
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from tiergate.attempt import Delivered, Tools
from tiergate.capacity import Capacity
from tiergate.config import Config
from tiergate.endpoint import compile_endpoints
from tiergate.errors import Answerable, InternalError, Unavailable
from tiergate.exchange import ANONYMOUS, Caller, Exchange, Explanation
from tiergate.forward import Delivery
from tiergate.health import Ailing, Health
from tiergate.loading import load_config, read_api_key
from tiergate.opening import Commit, commit_of
from tiergate.probing import Prober
from tiergate.reply import Reply
from tiergate.request_headers import Pairs, read_headers
from tiergate.resolve import NotOurs, resolve
from tiergate.response_headers import (
    JSON,
    RETRIED_BY_CLIENTS,
    STREAM,
    error_headers,
    last_word,
    our_headers,
)
from tiergate.retry import RetryBudget
from tiergate.routing import Plan, make_plan, shares
from tiergate.snapshot import compile_snapshot
from tiergate.sources import InlineSource
from tiergate.store import Store
from tiergate.tiers import TIERS, Tier
from tiergate.transport import AiohttpTransport, Transport
from tiergate.waiting import Waiting
from tiergate.wire import parse_request

_log = logging.getLogger("tiergate")


class Status(Struct, frozen=True):
    """What a gateway can say of itself: for health pages and for people."""

    ready: bool
    version: str | None
    source: str
    providers: tuple[str, ...]
    candidates: dict[Tier, int]
    ailing: tuple[Ailing, ...]


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
        wall: Callable[[], float] = time.time,  # noqa: TID251  # likewise
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
        self.capacity = Capacity(config.limits)
        self.health = Health(config.health, clock)
        self._tools = Tools(
            config=config,
            endpoints=compile_endpoints(config.providers, keys),
            transport=self._transport,
            health=self.health,
            budget=RetryBudget(config.retry),
            clock=clock,
            wall=wall,
            chance=self._chance,
        )

        self._prober = Prober(
            self.health,
            self._tools.endpoints,
            self._transport,
            interval=config.health.probe_interval_seconds,
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
        await self._prober.close()
        await self._transport.close()

    def begin(self, pairs: Pairs) -> Exchange:
        """The exchange of a request that has just arrived with these headers (lower-case names)."""
        account = self.capacity.account()
        return Exchange(id=str(uuid.uuid4()), arrived=self._clock(), pairs=pairs, account=account)

    @asynccontextmanager
    async def handle(self, exchange: Exchange, body: bytes) -> AsyncIterator[Reply]:
        """Serve one request: the reply while inside, everything let go on leaving.

        Raises `NotOurs` for a request that the configuration passes on to the host.
        """
        reply = await self._reply(exchange, body)
        del body  # a stream may be long; whoever needs the request's bytes has them
        try:
            yield reply
        finally:
            try:
                if reply.stream is not None:
                    await reply.stream.close()
            finally:
                exchange.account.close()
                self._prober.wake()

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
            tier=decision.tier,
            reason=decision.reason,
            candidates=shares(decision, snapshot, self.health),
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
            ailing=tuple(self.health.ailing()),
        )

    async def _reply(self, exchange: Exchange, body: bytes) -> Reply:
        try:
            plan = await self._plan(exchange, body)
            if self._may_wait(exchange):
                return await self._wait_for(exchange, plan)
            return self._present(exchange, await self._deliver(exchange, plan))
        except Answerable as error:
            error.__traceback__ = None  # else: task keeps error, error frames, a frame the task
            return self.refuse(exchange, error)
        except NotOurs:
            raise
        except Exception:  # noqa: BLE001  # the outermost wrapper
            return self.refuse(exchange, self._bug(exchange))

    async def _plan(self, exchange: Exchange, body: bytes) -> Plan:
        snapshot = self._store.snapshot or await self._store.load()
        exchange.headers = read_headers(exchange.pairs)
        exchange.request = parse_request(body)
        exchange.decision = resolve(
            exchange.request, exchange.headers, exchange.caller, snapshot, self.config.routing
        )
        last_resort = self.config.health.last_resort
        return make_plan(
            exchange.decision, snapshot, self.health, self._chance, last_resort=last_resort
        )

    async def _deliver(self, exchange: Exchange, plan: Plan) -> Delivered:
        try:
            return await Delivery(self._tools, exchange, plan).run()
        except Answerable:
            raise
        except Exception:  # noqa: BLE001  # the outermost wrapper
            raise self._bug(exchange) from None

    def _bug(self, exchange: Exchange) -> InternalError:
        """Log the exception at hand: one request may fail, not the process."""
        _log.exception("request %s: a bug in tiergate", exchange.id)
        return InternalError("An internal error; the log has the details.")

    def _may_wait(self, exchange: Exchange) -> bool:
        """Whether the client may hear comments before its answer is ready."""
        assert exchange.request is not None
        commit = commit_of(exchange, self.config.streaming)
        return exchange.request.stream and commit is Commit.COMPLETE

    async def _wait_for(self, exchange: Exchange, plan: Plan) -> Reply:
        """The reply of a buffered stream; after a while one that begins before it is there."""
        patience = self.config.streaming.comment_seconds
        delivery = asyncio.create_task(self._deliver(exchange, plan))
        waiting = Waiting(
            delivery,
            exchange,
            comment_seconds=patience,
            send_seconds=self.config.limits.send_timeout_seconds,
        )
        try:
            done, _ = await asyncio.wait({delivery}, timeout=patience)
        except BaseException:
            await waiting.close()
            raise
        if done:
            return self._present(exchange, delivery.result())
        latency = self._latency(exchange)
        headers = our_headers(
            exchange, self.config.headers, latency=latency, opened=True, decided_only=True
        )
        return Reply(200, [*headers, *STREAM], stream=waiting)

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
        if delivered.status in RETRIED_BY_CLIENTS:
            headers += last_word(self.config.headers)
        return Reply(delivered.status, headers + passed, delivered.body, delivered.relay)

    def _latency(self, exchange: Exchange) -> float:
        return self._clock() - exchange.arrived
