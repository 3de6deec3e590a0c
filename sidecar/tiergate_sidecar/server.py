"""The process: two uvicorn servers in one loop, and an orderly end.

SIGTERM: not ready, stop accepting, finish what runs within the grace, exit. A second signal exits
at once.
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

from tiergate import ConfigError, Gateway, TierMiddleware
from tiergate_sidecar.admin import Life, Phase, health_app
from tiergate_sidecar.app import sidecar_app
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
    now: Callable[[], float] = time.time,  # noqa: TID251  # the composition root of the process
) -> None:
    """Serve until a signal says otherwise; `started` hears where, once requests are taken."""
    await _Sidecar(settings, gateway, now).run(started)


class _Sidecar:
    def __init__(self, settings: Server, gateway: Gateway, now: Callable[[], float]) -> None:
        self._life = Life()
        app = TierMiddleware(sidecar_app(gateway, now=now), gateway=gateway, authorize="open")
        self._clients = _Listener(app, settings.listen, "server.listen", settings.grace_seconds)
        self._admin = None
        if settings.admin:
            pages = health_app(gateway, self._life)
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
        try:
            await self._serve(started)
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

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
