"""The process: two uvicorn servers in one loop, and an orderly end.

SIGTERM: not ready, stop accepting, finish what runs within the grace, send what is left, exit.
A second signal exits at once. SIGHUP: read the configuration again.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tiergate import ConfigError, Gateway, SourceError, TierMiddleware
from tiergate_sidecar.admin import admin_app
from tiergate_sidecar.app import sidecar_app
from tiergate_sidecar.effective import Setting
from tiergate_sidecar.guard import Guard
from tiergate_sidecar.life import Life, Phase
from tiergate_sidecar.login import read_token
from tiergate_sidecar.recent import Ring
from tiergate_sidecar.sealing import Sealed
from tiergate_sidecar.settings import Address, Admin, Server, parse_address

KEEP_ALIVE_SECONDS = 65
"""Idle client connections: longer than the 5 s after which official clients drop theirs, so that
none is closed under a request that is on its way."""

BACKLOG = 2048

SWITCH_SECONDS = 0.0005
"""After which a thread that computes (a scrape, a batch of rows or spans) must let the loop run.
Python's own 5 ms put 5.8 ms on the loop's p99 during a scrape; with this it is 1.3 ms."""


async def serve(
    settings: Server,
    gateway: Gateway,
    *,
    started: Callable[[Address, Address | None], None],
    needs_restart: Callable[[], tuple[str, ...]] = tuple,
    admin: Admin | None = None,
    configuration: Callable[[], list[Setting]] | None = None,
    ended: Callable[[], None] = lambda: None,
    now: Callable[[], float] = time.time,  # noqa: TID251  # the composition root of the process
) -> None:
    """Serve until a signal says otherwise; `started` hears where, once requests are taken.

    `needs_restart` names the changed settings that only a restart can follow; `configuration` gives
    the settings in effect, for operators to read; `ended` is called once when the last request has
    ended, before the gateway is closed. Raises `ConfigError`.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    admin = admin or Admin()
    life, ring = Life(), Ring(admin.recent_requests)
    gateway.observe(ring)
    pages = admin_app(
        gateway,
        ring=ring,
        life=life,
        configuration=configuration,
        needs_restart=needs_restart,
        now=now,
    )
    token = read_token(admin, now) if settings.admin else None
    guarded = partial(Guard, pages, token=token)
    await _Sidecar(settings, gateway, life, ring, guarded, ended, now).run(started)


class _Sidecar:
    def __init__(
        self,
        settings: Server,
        gateway: Gateway,
        life: Life,
        ring: Ring,
        guarded: Callable[[Address], ASGIApp],
        ended: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self._life = life
        self._ring = ring
        self._gateway = gateway
        self._reloading: asyncio.Task[None] | None = None
        self._again = False
        self._ended = ended
        app = TierMiddleware(sidecar_app(gateway, now=now), gateway=gateway, authorize="open")
        told = _telling_end(app, self._end)
        self._clients = _Listener(told, settings.listen, "server.listen", settings.grace_seconds)
        self._admin = None
        if settings.admin:
            pages = Sealed(guarded(parse_address(settings.admin, "server.admin")))
            try:
                self._admin = _Listener(pages, settings.admin, "server.admin", grace_seconds=1)
            except ConfigError:
                self._clients.close()
                raise

    async def run(self, started: Callable[[Address, Address | None], None]) -> None:
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

    async def _serve(self, started: Callable[[Address, Address | None], None]) -> None:
        def ready() -> None:
            self._life.phase = Phase.SERVING
            started(self._clients.address, self._admin.address if self._admin else None)

        admin = asyncio.create_task(self._admin.listen()) if self._admin else None
        try:
            await self._clients.listen(ready)
        finally:  # health stays answered until the last request has ended
            self._end_admin()
            if admin:
                await admin

    def _end(self) -> None:
        """The last request has ended: what is left to end does so together, each in its time."""
        self._end_admin()
        self._ended()

    def _end_admin(self) -> None:
        if self._admin:
            self._ring.close()  # a live page would keep its connection for the whole grace
            self._admin.should_exit = True

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


def _nothing() -> None:
    return


def _telling_end(app: ASGIApp, ended: Callable[[], None]) -> ASGIApp:
    """The app; `ended` hears of the end of its lifespan before the app does."""

    async def telling(scope: Scope, receive: Receive, send: Send) -> None:
        async def heard() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                ended()
            return message

        await app(scope, heard if scope["type"] == "lifespan" else receive, send)

    return telling


def _bind(address: Address, where: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:  # Python adds the address to its words; ours name it already
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"{where}: cannot listen on {address}: {reason}") from None


class _Listener(uvicorn.Server):
    """One server on one socket, bound at once: a taken port is an error, not a log line."""

    def __init__(self, app: ASGIApp, listen: str, where: str, grace_seconds: int) -> None:
        self._socket = _bind(parse_address(listen, where), where)
        self._started: Callable[[], None] = _nothing
        super().__init__(
            uvicorn.Config(
                app,
                http=HttpToolsProtocol,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=grace_seconds,
            )
        )

    @property
    def address(self) -> Address:
        host, port, *_ = self._socket.getsockname()
        return Address(host=host, port=port)

    def close(self) -> None:
        """Give the socket back without having served."""
        self._socket.close()

    async def listen(self, started: Callable[[], None] = _nothing) -> None:
        self._started = started
        await self.serve([self._socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # one handler for both servers, and no signal raised again after the end
