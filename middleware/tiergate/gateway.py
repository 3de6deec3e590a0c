"""The gateway: everything between a request's bytes and its reply, for whoever brings the request.

Knows no ASGI: `asgi` and `response` bring requests here. The composition root: real time, chance
and HTTP come in as defaults of the constructor.
"""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from msgspec import Struct

from tiergate.assembly import Assembly, ConfigSource, World
from tiergate.attempt import Delivered, Tools
from tiergate.config import Config
from tiergate.conversation import Conversation, conversation_of, raised
from tiergate.errors import Answerable, InternalError, Unavailable
from tiergate.exchange import ANONYMOUS, Caller, Exchange, Explanation
from tiergate.forward import Delivery, in_time, seconds_left
from tiergate.health import CandidateHealth
from tiergate.opening import Commit, commit_of
from tiergate.present import begun, presented, refusal
from tiergate.redis_link import StoreState
from tiergate.reply import Reply
from tiergate.request_headers import Pairs, read_headers
from tiergate.resolve import NotOurs, resolve
from tiergate.routing import Plan, make_plan, shares
from tiergate.sessions import SessionsState
from tiergate.store import ConfigurationState
from tiergate.tiers import TIERS
from tiergate.transport import AiohttpTransport, Transport
from tiergate.waiting import Waiting
from tiergate.wire import parse_request

_log = logging.getLogger("tiergate")


class Status(Struct, frozen=True):
    """What a gateway can say of itself: for health pages and for people.

    `needs_restart` names the tables whose change has no effect before one; `stores` are the Redis
    that it uses.
    """

    ready: bool
    configuration: ConfigurationState
    needs_restart: tuple[str, ...]
    candidates: tuple[CandidateHealth, ...]
    sessions: SessionsState
    stores: tuple[StoreState, ...]


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

    async def close(self) -> None:
        """Close the connections that the running loop holds; a later request opens new ones."""
        await self._parts.close()

    async def reload(self) -> None:
        """Read the configuration, its keys and its tiers again, at once.

        Raises `ConfigError` where the configuration cannot be used: then nothing has changed.
        Raises `SourceError` where it is live, and its source gave no usable tiers: the old serve.
        """
        await self._parts.reload()

    def begin(self, pairs: Pairs) -> Exchange:
        """The exchange of a request that has just arrived with these headers (lower-case names)."""
        account = self.capacity.account()
        return Exchange(
            id=str(uuid.uuid4()), arrived=self._world.clock(), pairs=pairs, account=account
        )

    @asynccontextmanager
    async def handle(self, exchange: Exchange, body: bytes) -> AsyncIterator[Reply]:
        """Serve one request: the reply while inside, everything let go on leaving.

        Raises `NotOurs` for a request that the configuration passes on to the host.
        """
        exchange.complete = self._world.clock()
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
                self._parts.prober.wake()

    def refuse(self, exchange: Exchange, error: Answerable) -> Reply:
        """The answer to a request that ends with an error of ours."""
        return refusal(exchange, error, self.config.headers, self._latency(exchange))

    def explain(
        self, body: bytes, *, pairs: Pairs | None = None, caller: Caller = ANONYMOUS
    ) -> Explanation:
        """What would become of a request; raises `Answerable` where it would be refused."""
        snapshot = self._parts.store.snapshot
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
        snapshot = self._parts.store.snapshot
        if snapshot is None:
            return {}
        ours = dict.fromkeys([*TIERS, *self.config.routing.aliases], "tiergate")
        offers = {name: route.candidates[0].provider for name, route in snapshot.models.items()}
        return ours | {name: owner for name, owner in offers.items() if name not in ours}

    def status(self) -> Status:
        """Whether requests can be served, from which configuration, and what is amiss."""
        parts, snapshot = self._parts, self._parts.store.snapshot
        candidates = dict.fromkeys(snapshot.candidates()) if snapshot is not None else {}
        return Status(
            ready=snapshot is not None,
            configuration=parts.configuration,
            needs_restart=parts.needs_restart,
            candidates=tuple(parts.health.of(candidates)),
            sessions=parts.sessions.state(),
            stores=tuple(link.state for link in parts.links),
        )

    async def _reply(self, exchange: Exchange, body: bytes) -> Reply:
        try:
            tools, plan, conversation = await self._prepare(exchange, body)
            delivery, config = Delivery(tools, exchange, plan), tools.config
            work = partial(self._deliver, exchange, delivery, conversation)
            assert exchange.request is not None
            if exchange.request.stream and commit_of(exchange, config.streaming) is Commit.COMPLETE:
                return await self._wait_for(exchange, work(), config)
            delivered = await work()
            return presented(exchange, delivered, config.headers, self._latency(exchange))
        except Answerable as error:
            error.__traceback__ = None  # else: task keeps error, error frames, a frame the task
            return self.refuse(exchange, error)
        except NotOurs:
            raise
        except Exception:  # noqa: BLE001  # the outermost wrapper
            return self.refuse(exchange, self._bug(exchange))

    async def _prepare(
        self, exchange: Exchange, body: bytes
    ) -> tuple[Tools, Plan, Conversation | None]:
        """Decide. What is live at this moment serves the request to its end."""
        parts = self._parts
        parts.tend()
        exchange.headers = read_headers(exchange.pairs)
        exchange.request = parse_request(body)
        if parts.store.snapshot is None:
            await in_time(parts.store.load(), parts.tools, exchange)
        # Read together, with no await between them: a reload swaps them together.
        snapshot, tools = parts.store.snapshot, parts.tools
        assert snapshot is not None
        exchange.decision = resolve(
            exchange.request, exchange.headers, exchange.caller, snapshot, tools.config.routing
        )
        conversation = conversation_of(
            exchange, lambda: parts.sessions, parts.key_prefix, self._world.wall
        )
        session = None
        if conversation is not None:
            # Half of what is left, so that a silent store leaves the request its turn.
            seconds = seconds_left(tools, exchange) / 2
            session = await conversation.recall(exchange.caller, snapshot, seconds=seconds)
            exchange.decision = raised(exchange.decision, session)
        plan = make_plan(
            exchange.decision,
            snapshot,
            tools.health,
            tools.chance,
            session=session,
            last_resort=tools.config.health.last_resort,
        )
        return tools, plan, conversation

    async def _deliver(
        self, exchange: Exchange, delivery: Delivery, conversation: Conversation | None
    ) -> Delivered:
        """Deliver; a conversation is bound by success, which a stream has yet to see."""
        try:
            delivered = await delivery.run()
            if conversation is not None and delivered.relay is not None:
                delivered.relay.on_success = partial(conversation.bind, exchange)
            elif conversation is not None and exchange.attempts[-1].fault is None:
                await conversation.bind(exchange)
            return delivered
        except Answerable:
            raise
        except Exception:  # noqa: BLE001  # the outermost wrapper
            raise self._bug(exchange) from None

    def _bug(self, exchange: Exchange) -> InternalError:
        """Log the exception at hand: one request may fail, not the process."""
        _log.exception("request %s: a bug in tiergate", exchange.id)
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

    def _latency(self, exchange: Exchange) -> float:
        return self._world.clock() - exchange.arrived
