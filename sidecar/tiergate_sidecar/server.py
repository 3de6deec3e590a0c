"""The process: two uvicorn servers in one loop, and an orderly end.

SIGTERM: not ready, stop accepting, finish what runs within the grace, exit. A second signal exits
at once. SIGHUP: read the configuration again.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tiergate import ConfigError, Gateway, SourceError, TierMiddleware
from tiergate_sidecar.admin import Life, Phase, admin_app
from tiergate_sidecar.app import sidecar_app
from tiergate_sidecar.guard import Guard
from tiergate_sidecar.settings import Address, Server, parse_address

KEEP_ALIVE_SECONDS = 65
"""Idle client connections: longer than the 5 s after which official clients drop theirs, so that
none is closed under a request that is on its way."""

BACKLOG = 2048


async def serve(
    settings: Server,
    gateway: Gateway,
    *,
    started: Callable[[Address, Address | None], None],
    needs_restart: Callable[[], tuple[str, ...]] = tuple,
    now: Callable[[], float] = time.time,  # noqa: TID251  # the composition root of the process
) -> None:
    """Serve until a signal says otherwise; `started` hears where, once requests are taken.

    `needs_restart` names the changed settings that only a restart can follow.
    """
    life = Life()
    pages = admin_app(gateway, life, needs_restart=needs_restart)
    await _Sidecar(settings, gateway, life, pages, now).run(started)


class _Sidecar:
    def __init__(
        self,
        settings: Server,
        gateway: Gateway,
        life: Life,
        pages: ASGIApp,
        now: Callable[[], float],
    ) -> None:
        self._life = life
        self._gateway = gateway
        self._reloading: asyncio.Task[None] | None = None
        self._again = False
        app = TierMiddleware(sidecar_app(gateway, now=now), gateway=gateway, authorize="open")
        self._clients = _Listener(app, settings.listen, "server.listen", settings.grace_seconds)
        self._admin = None
        if settings.admin:
            guarded = Guard(pages, parse_address(settings.admin, "server.admin"))
            try:
                self._admin = _Listener(guarded, settings.admin, "server.admin", grace_seconds=1)
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
            if self._admin and admin:
                self._admin.should_exit = True
                await admin

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
