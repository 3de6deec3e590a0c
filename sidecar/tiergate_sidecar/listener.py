"""One uvicorn server on one socket, beside others in one loop. What it serves is the caller's."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp

from tiergate import ConfigError
from tiergate_sidecar.http_protocol import HttpProtocol
from tiergate_sidecar.settings import Address, parse_address

KEEP_ALIVE_SECONDS: Final = 65
"""Idle client connections: longer than the 5 s after which official clients drop theirs, so that
none is closed under a request that is on its way."""

BACKLOG: Final = 2048

LARGEST_HEAD: Final = 64 << 10
"""Bytes of a request's head, as nginx and Node take at most a quarter of; whatever comes in one
read of the socket is taken. Neither uvicorn nor its parser has a limit."""
HEAD_SECONDS: Final = 10.0
"""From the first byte of a head to its last."""


def _nothing() -> None:
    return


class Listener(uvicorn.Server):
    """Serves `app` on `listen` (`host:port`), bound at once: a taken port is an error, not a log
    line. `where` names the setting in that `ConfigError`; `overrides` are uvicorn's own settings.
    A request's head must come within `head_seconds`.
    """

    def __init__(
        self,
        app: ASGIApp,
        listen: str,
        where: str,
        grace_seconds: int,
        *,
        head_seconds: float = HEAD_SECONDS,
        **overrides: Any,
    ) -> None:
        self._socket = _bind(parse_address(listen, where), where)
        self._started: Callable[[], None] = _nothing
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",  # uvicorn would guess by `async def`, which not every app is
                http=cast(Any, partial(_Protocol, head_seconds=head_seconds)),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=grace_seconds,
                **{"timeout_keep_alive": KEEP_ALIVE_SECONDS, **overrides},
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
        """Serve until `should_exit`; `started` is called once requests are taken."""
        self._started = started
        await self.serve([self._socket])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # one handler for all servers of the process, and no signal raised again at the end


class _Protocol(HttpProtocol):
    """Uvicorn's, but that a connection which brings no request any further holds no memory, and
    ends: head, trailers and chunk extensions are otherwise taken for ever, and nobody's limits on
    bodies see them."""

    _futile = 0
    """Bytes since the last that belonged to a body, or ended a head or a message."""
    _useful = False
    _begun = False
    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *, head_seconds: float, **given: Any) -> None:
        super().__init__(**given)
        self._head_seconds = head_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        # Uvicorn's own timer begins only after an answer.
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        self._unset_keepalive_if_required()  # uvicorn forgets it where there was an error
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._futile > LARGEST_HEAD:
            return
        self._useful = False
        super().data_received(data)
        if self._useful or self.transport.is_closing():
            self._futile = 0
            self._rest()
            return
        self._futile += len(data)
        if self._futile > LARGEST_HEAD:
            self._refuse("431 Request Header Fields Too Large", "Too much head.")
        elif self._begun and self._deadline is None:
            self._deadline = self.loop.call_later(self._head_seconds, self._late)

    def on_message_begin(self) -> None:
        self._begun = True  # a line break before it, as old clients send, begins nothing
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._useful = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._useful = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._begun, self._useful = False, True
        super().on_message_complete()

    def _late(self) -> None:
        if self._answering:  # how long a body may take is for the app to say
            self._deadline = self.loop.call_later(self._head_seconds, self._late)
        else:
            self._refuse("408 Request Timeout", "Too slow a head.")

    def _refuse(self, status: str, why: str) -> None:
        self._rest()
        if self._answering:  # within an answer there is no room for another
            self.transport.abort()
            return
        self.logger.warning(why)
        lines = [
            f"HTTP/1.1 {status}",
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(why)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*lines, "", why]).encode())
        # What still comes is let go of for a while: who hangs up on a sender is not heard.
        self._futile = LARGEST_HEAD + 1
        self._deadline = self.loop.call_later(self._head_seconds / 10, self.transport.close)

    @property
    def _answering(self) -> bool:
        return not getattr(self.cycle, "response_complete", True)  # None before the first

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _bind(address: Address, where: str) -> socket.socket:
    both = address.host == "::" and socket.has_dualstack_ipv6()
    # Every address means IPv4 too, and on a machine without IPv6 that alone.
    host = "0.0.0.0" if address.host == "::" and not both else address.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:  # Python adds the address to its words; ours name it already
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"{where}: cannot listen on {address}: {reason}") from None
