"""The gateway: everything between a request's bytes and its reply, for whoever brings the request.

Knows no ASGI: `asgi` and `response` bring requests here. The composition root: real time, chance
and HTTP come in as defaults of the constructor.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from tiergate.assembly import Assembly, ConfigSource, World
from tiergate.attempt import Delivered
from tiergate.completion import read_error
from tiergate.config import Config
from tiergate.conversation import Conversation
from tiergate.endpoint import Endpoint
from tiergate.errors import Answerable, ClientGone, InternalError
from tiergate.exchange import ANONYMOUS, Caller, Exchange
from tiergate.explanation import Explanation, Weighing, explanation_of, weighing_of
from tiergate.forward import Delivery
from tiergate.fresh_ids import fresh_id
from tiergate.handling import Handling
from tiergate.metrics import Metrics
from tiergate.opening import Commit, commit_of
from tiergate.preparation import prepare
from tiergate.present import begun, presented, refusal
from tiergate.reply import Reply
from tiergate.reporting import Observer, Reporter
from tiergate.request_headers import Pairs
from tiergate.requestlog import request_log_of
from tiergate.resolve import NotOurs
from tiergate.status import Status, models_of, status_of
from tiergate.telemetry import Telemetry
from tiergate.transport import AiohttpTransport, Transport
from tiergate.waiting import Waiting

_log = logging.getLogger("tiergate")


class Gateway:
    """Routes chat requests. Made from a path, a mapping or a `Config`; raises `ConfigError`.

    An asynchronous context manager: entering loads the tiers and keeps them fresh, leaving closes
    the connections of the running event loop. Neither is required: it opens what it needs when it
    needs it, per loop, and starts no thread before. Safe to make before a fork.

    `watch=True` reloads when a file of the configuration changes, from `open` to `close`; `read`
    gives the configuration in place of reading `config` itself, of which only the path is used;
    `accepted` is called each time that what it gave last has become live.
    """

    def __init__(
        self,
        config: ConfigSource,
        *,
        watch: bool = False,
        read: Callable[[], Config] | None = None,
        accepted: Callable[[], None] | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.monotonic,  # noqa: TID251  # the composition root
        wall: Callable[[], float] = time.time,  # noqa: TID251  # likewise
        chance: random.Random | None = None,
        environ: Mapping[str, str] | None = None,
        tracer_provider: Any = None,
        meter_provider: Any = None,
    ) -> None:
        self._world = World(
            transport=transport or AiohttpTransport(),
            clock=clock,
            wall=wall,
            chance=chance or random.SystemRandom(),  # a fork cannot share its state
            environ=environ,
        )
        self._parts = Assembly(config, self._world, read=read, accepted=accepted, watch=watch)
        self.capacity = self._parts.capacity
        self.health = self._parts.health
        self.metrics = Metrics()
        self.health.on_failure = self.metrics.failed
        parts = self._parts  # not ourselves: who lets go of us is rid of us at once
        telemetry = Telemetry(
            tracer_provider,
            meter_provider,
            source=self,
            capture_content=lambda: parts.config.telemetry.capture_content,
        )
        self._reporter = Reporter(self.metrics, telemetry, clock)
        self._log = request_log_of(self.config.request_log, clock=clock, wall=wall)
        if self._log is not None:
            self._reporter.add(self._log)

    def __repr__(self) -> str:
        return f"<Gateway {self._parts.store!r}, providers {', '.join(self.config.providers)}>"

    @property
    def config(self) -> Config:
        """As it is now: a reload replaces it."""
        return self._parts.config

    @property
    def paths(self) -> frozenset[str]:
        """The paths whose `POST` is ours."""
        return self._parts.paths

    @property
    def uses_own_keys(self) -> bool:
        return self._parts.uses_own_keys

    async def __aenter__(self) -> "Gateway":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Load the tiers, so that the first request does not have to, and keep them fresh."""
        await self._parts.open()
        if self._log is not None:
            self._log.open()

    async def close(self) -> None:
        """Close the connections that the running loop holds; a later request opens new ones."""
        await self._parts.close()
        if self._log is not None:
            await self._log.close()

    async def reload(self) -> None:
        """Read the configuration, its keys and its tiers again, at once.

        Raises `ConfigError` where the configuration cannot be used: then nothing has changed.
        Raises `SourceError` where it is live, and its source gave no usable tiers: the old serve.
        """
        await self._parts.reload()

    def begin(self, pairs: Pairs, *, path: str = "", scheme: str = "http") -> Exchange:
        """The exchange of a request that has just arrived with these headers (lower-case names)."""
        exchange = Exchange(
            id=fresh_id(),
            arrived=self._world.clock(),
            pairs=pairs,
            account=self.capacity.account(),
            arrived_at=self._world.wall(),
        )
        self._reporter.began(exchange, path, scheme, self.paths)
        return exchange

    def end(self, exchange: Exchange) -> None:
        """Report a request that has ended; leaving `handle` does it too, and once is enough."""
        self._reporter.ended(exchange)

    def observe(self, observer: Observer) -> None:
        """Let an observer hear of every request that ends from now on."""
        self._reporter.add(observer)

    def handle(self, exchange: Exchange, body: bytes) -> AbstractAsyncContextManager[Reply]:
        """Serve one request: the reply while inside, everything let go on leaving.

        Raises `NotOurs` for a request that the configuration passes on to the host; nothing is
        told of it unless somebody answers it after all.
        """
        return Handling(
            partial(self._begin_reply, exchange, body), partial(self._end_reply, exchange)
        )

    async def _begin_reply(self, exchange: Exchange, body: bytes) -> Reply:
        exchange.complete = self._world.clock()
        try:
            delivery, conversation = await prepare(self._parts, self.metrics, exchange, body)
            config = delivery.config
            assert exchange.request is not None
            if exchange.request.stream and commit_of(exchange, config.streaming) is Commit.COMPLETE:
                work = self._deliver(exchange, delivery, conversation)
                reply = await self._wait_for(exchange, work, config)
            else:
                delivered = await self._deliver(exchange, delivery, conversation)
                reply = presented(exchange, delivered, config.headers, self._latency(exchange))
        except Answerable as error:
            error.__traceback__ = None  # else: task keeps error, error frames, a frame the task
            reply = self.refuse(exchange, error)
        except NotOurs:
            raise
        except Exception:  # noqa: BLE001  # the outermost wrapper
            reply = self.refuse(exchange, self._bug(exchange))
        exchange.status = reply.status
        if not isinstance(reply.stream, Waiting):  # else an attempt is still under way
            exchange.overhead = self._overhead(exchange)
        return reply

    async def _end_reply(
        self, exchange: Exchange, reply: Reply | None, error: BaseException | None
    ) -> None:
        if isinstance(error, NotOurs):
            exchange.is_ours = False
        elif isinstance(error, Exception):
            exchange.client_left = isinstance(error, (ClientGone, OSError))
            if not exchange.client_left:
                exchange.fail(InternalError.status, self._bug(exchange, error).code)
        elif error is not None:  # cancelled: some servers say so
            exchange.client_left = True
        try:
            if reply is not None and reply.stream is not None:
                await reply.stream.close()
        finally:
            exchange.account.close()
            self._parts.prober.wake()
            self._reporter.ended(exchange)

    def refuse(self, exchange: Exchange, error: Answerable) -> Reply:
        """The answer to a request that ends with an error of ours."""
        exchange.status = error.status
        exchange.fail(error.status, error.code)
        return refusal(exchange, error, self.config.headers, self._latency(exchange))

    def explain(
        self, body: bytes, *, pairs: Pairs | None = None, caller: Caller = ANONYMOUS
    ) -> Explanation:
        """What would become of a request; raises `Answerable` where it would be refused."""
        return explanation_of(self._parts, body, pairs or [], caller)

    def weighing(self) -> Weighing:
        """How the classifier decides as of now."""
        return weighing_of(self._parts)

    def models(self) -> dict[str, str]:
        """What a client may name as `model`, and whose it is: tiers, aliases, configured models."""
        return models_of(self._parts)

    def endpoint(self, provider: str) -> Endpoint | None:
        """Where a provider's requests go, its key included, as of now; None for an unknown name."""
        return self._parts.tools.endpoints.get(provider)

    def status(self) -> Status:
        """Whether requests can be served, from which configuration, and what is amiss."""
        return status_of(self._parts, self._log)

    async def _deliver(
        self, exchange: Exchange, delivery: Delivery, conversation: Conversation | None
    ) -> Delivered:
        """Deliver; a conversation is bound by success, which a stream has yet to see."""
        try:
            delivered = await delivery.run()
            if conversation is not None and delivered.relay is not None:
                delivered.relay.on_success = partial(conversation.bind, exchange)
            elif delivered.status >= 400:
                exchange.fail(delivered.status, read_error(delivered.body).code or "rejected")
            elif conversation is not None and exchange.attempts[-1].fault is None:
                await conversation.bind(exchange)
            return delivered
        except Answerable:
            raise
        except Exception:  # noqa: BLE001  # the outermost wrapper
            raise self._bug(exchange) from None

    def _bug(self, exchange: Exchange, error: BaseException | None = None) -> InternalError:
        """Log an error, else the one at hand: one request may fail, not the process."""
        _log.error("request %s: a bug in tiergate", exchange.id, exc_info=error or True)
        return InternalError("An internal error; the log has the details.")

    async def _wait_for(
        self, exchange: Exchange, work: Coroutine[Any, Any, Delivered], config: Config
    ) -> Reply:
        """The reply of a buffered stream; after a while one that begins before it is there."""
        delivery = asyncio.create_task(work)
        waiting = Waiting(
            delivery,
            exchange,
            comment_seconds=config.streaming.comment_seconds,
            send_seconds=config.limits.send_timeout_seconds,
        )
        try:
            done, _ = await asyncio.wait({delivery}, timeout=config.streaming.comment_seconds)
        except BaseException:
            await waiting.close()
            raise
        latency = self._latency(exchange)
        if done:
            return presented(exchange, delivery.result(), config.headers, latency)
        return begun(exchange, waiting, config.headers, latency)

    def _overhead(self, exchange: Exchange) -> float:
        """Seconds since the body was there that were ours: neither a provider's nor a wait."""
        waited = exchange.slept
        for attempt in exchange.attempts:
            waited += attempt.duration
        return max(0.0, self._world.clock() - exchange.complete - waited)

    def _latency(self, exchange: Exchange) -> float:
        return self._world.clock() - exchange.arrived
