"""The process: uvicorn servers in one loop for clients, operators and probes, and an orderly end.

SIGTERM: not ready, stop accepting, finish what runs within the grace, send what is left, exit.
A second signal exits at once. SIGHUP: read the configuration again.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiergate import ConfigError, FileWatch, Gateway, SourceError, TierMiddleware
from tiergate_sidecar.admin import admin_app
from tiergate_sidecar.app import sidecar_app
from tiergate_sidecar.effective import Setting
from tiergate_sidecar.gate import Gate
from tiergate_sidecar.guard import Guard, is_loopback
from tiergate_sidecar.life import Life, Phase
from tiergate_sidecar.listener import Listener
from tiergate_sidecar.login import read_token
from tiergate_sidecar.memory import settle
from tiergate_sidecar.probes import probes_app
from tiergate_sidecar.recent import Ring
from tiergate_sidecar.sealing import Sealed
from tiergate_sidecar.settings import Address, Proxy, Server, Settings, parse_address
from tiergate_sidecar.tokens import Tokens, read_tokens

_log = logging.getLogger("tiergate")

SWITCH_SECONDS = 0.0005
"""After which a thread that computes (a scrape, a batch of rows or spans) must let the loop run.
Python's own 5 ms put 5.8 ms on the loop's p99 during a scrape; with this it is 1.3 ms."""


class Addresses(Struct, frozen=True):
    """Where the process listens; None where it does not."""

    clients: Address
    admin: Address | None
    probes: Address | None


async def serve(
    settings: Settings,
    gateway: Gateway,
    *,
    started: Callable[[Addresses], None],
    needs_restart: Callable[[], tuple[str, ...]] = tuple,
    configuration: Callable[[], list[Setting]] | None = None,
    proxy: Callable[[], Proxy] | None = None,
    ended: Callable[[], None] = lambda: None,
    now: Callable[[], float] = time.time,  # noqa: TID251  # the composition root of the process
) -> None:
    """Serve until a signal says otherwise; `started` hears where, once requests are taken.

    `needs_restart` names the changed settings that only a restart can follow; `configuration` gives
    the settings in effect, for operators to read; `proxy` those of the proxy, as they are now, in
    place of the ones it started with; `ended` is called once when the last request has
    ended, before the gateway is closed. Raises `ConfigError`.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    server, life, ring = settings.server, Life(), Ring(settings.admin.recent_requests)
    gateway.observe(ring)
    tokens = read_tokens(settings.auth)
    apps = {"listen": _clients_app(gateway, tokens, settings, proxy, now)}
    if server.admin:
        pages = admin_app(
            gateway,
            ring=ring,
            life=life,
            configuration=configuration,
            needs_restart=needs_restart,
            now=now,
        )
        address, token = (
            parse_address(server.admin, "server.admin"),
            read_token(settings.admin, now),
        )
        apps["admin"] = Sealed(Guard(pages, address, token=token))
    if server.probes:
        apps["probes"] = probes_app(gateway, life)
    async with _reading(tokens):
        await _Sidecar(server, gateway, apps, life, ring, ended).run(started)


def _clients_app(
    gateway: Gateway,
    tokens: Tokens | None,
    settings: Settings,
    proxy: Callable[[], Proxy] | None,
    now: Callable[[], float],
) -> ASGIApp:
    server = settings.server
    behind = sidecar_app(gateway, now=now, proxy=proxy or (lambda: settings.proxy))
    if tokens is not None:
        gate = Gate(behind, tokens)
        return TierMiddleware(gate, gateway=gateway, authorize=gate.authorize)
    if gateway.uses_own_keys and not is_loopback(
        parse_address(server.listen, "server.listen").host
    ):
        _log.warning("anybody who reaches %s spends your keys: set auth.tokens_file", server.listen)
    return TierMiddleware(behind, gateway=gateway, authorize="open")


@asynccontextmanager
async def _reading(tokens: Tokens | None) -> AsyncIterator[None]:
    """Read the tokens again whenever their file changes, while inside."""
    if tokens is None:
        yield
        return
    watch = FileWatch(lambda: [tokens.path], tokens.read)
    watch.start()
    try:
        yield
    finally:
        await watch.close()


class _Sidecar:
    """`apps` by the name of the setting that says where each listens; `listen` is the clients'."""

    def __init__(
        self,
        settings: Server,
        gateway: Gateway,
        apps: Mapping[str, ASGIApp],
        life: Life,
        ring: Ring,
        ended: Callable[[], None],
    ) -> None:
        self._life = life
        self._ring = ring
        self._gateway = gateway
        self._reloading: asyncio.Task[None] | None = None
        self._again = False
        self._ended = ended
        self._listeners: dict[str, Listener] = {}
        for name, app in apps.items():
            grace = settings.grace_seconds if name == "listen" else 1
            told = _telling_end(app, self._end) if name == "listen" else app
            listen, where = getattr(settings, name), f"server.{name}"
            try:
                self._listeners[name] = Listener(told, listen, where, grace)
            except ConfigError:
                for each in self._listeners.values():
                    each.close()
                raise
        self._clients = self._listeners["listen"]
        self._others = [each for each in self._listeners.values() if each is not self._clients]

    async def run(self, started: Callable[[Addresses], None]) -> None:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            await self._serve(started)
        finally:
            for number in (*signals, signal.SIGHUP):
                loop.remove_signal_handler(number)
            if self._reloading is not None:
                self._reloading.cancel()

    async def _serve(self, started: Callable[[Addresses], None]) -> None:
        def ready() -> None:
            settle()
            self._life.phase = Phase.SERVING
            where = {name: each.address for name, each in self._listeners.items()}
            started(Addresses(where["listen"], where.get("admin"), where.get("probes")))

        others = [asyncio.create_task(each.listen()) for each in self._others]
        try:
            await self._clients.listen(ready)
        finally:  # health stays answered until the last request has ended
            self._end_others()
            await asyncio.gather(*others)

    def _end(self) -> None:
        """The last request has ended: what is left to end does so together, each in its time."""
        self._end_others()
        self._ended()

    def _end_others(self) -> None:
        self._ring.close()  # a live page would keep its connection for the whole grace
        for each in self._others:
            each.should_exit = True

    def _reload(self) -> None:
        """However many signals come while one reload runs, one more follows it."""
        self._again = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload_while_asked())

    async def _reload_while_asked(self) -> None:
        while self._again:
            self._again = False
            with contextlib.suppress(ConfigError, SourceError):  # the log and /health have it
                await self._gateway.reload()

    def _stop(self) -> None:
        if self._life.phase is Phase.DRAINING:
            os._exit(1)
        self._life.phase = Phase.DRAINING
        self._clients.should_exit = True


def _telling_end(app: ASGIApp, ended: Callable[[], None]) -> ASGIApp:
    """The app; `ended` hears of the end of its lifespan before the app does."""

    def telling(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        async def heard() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                ended()
            return message

        return app(scope, heard if scope["type"] == "lifespan" else receive, send)

    return telling
