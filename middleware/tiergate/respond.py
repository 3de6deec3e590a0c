"""Answering one request of ours over ASGI: read, hand over, send, and notice who leaves.

`asgi` and `response` decide that a request is ours and end up here. Nothing here routes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from tiergate.errors import Answerable, ClientGone, InternalError, Overloaded, RequestTimeout
from tiergate.exchange import Caller, Exchange
from tiergate.gateway import Gateway
from tiergate.intake import discard, read_body
from tiergate.relay import SLICE_BYTES
from tiergate.reply import Reply
from tiergate.request_headers import check_encoding
from tiergate.watch import Watch

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

Authorize = Callable[[Any], Awaitable[Caller]]
"""Takes the ASGI scope; returns the `Caller` or raises `Refused`."""

_log = logging.getLogger("tiergate")

LISTEN_SECONDS: Final = 0.1
"""After which it is looked whether the client is still there: a task of its own, and an answer that
is there sooner does without. A client that left is noticed at once from then on."""


class Responder:
    """One request of ours. `body` is what was read, for a host that is to have it after all."""

    def __init__(self, gateway: Gateway, scope: "Scope", receive: "Receive", send: "Send") -> None:
        self.body = b""
        self._gateway = gateway
        self._scope = scope
        self._receive = receive
        self._send = send
        self._exchange: Exchange = gateway.begin(
            scope["headers"], path=scope["path"], scheme=scope.get("scheme", "http")
        )
        self._reading = False
        self._listening: asyncio.TimerHandle | asyncio.Task[None] | None = None

    async def run(self, authorize: Authorize | None, body: "Receive | None" = None) -> None:
        """Answer; raises `NotOurs` when the configuration passes the request on.

        `body` brings the body in place of `receive`, where somebody has read of it already.
        """
        try:
            with self._gateway.capacity:
                await self._answer(authorize, body)
        except Overloaded as error:
            await self._send_refusal(self._gateway.refuse(self._exchange, error))
        except (ClientGone, OSError):
            self._exchange.client_left = True  # some servers say so by an OSError of `send`
        finally:
            self._exchange.account.close()
            self._gateway.end(self._exchange)

    async def _answer(self, authorize: Authorize | None, body: "Receive | None") -> None:
        """One timer for all that waits for the client: its body, its leaving, its reading."""
        refusal = None
        try:
            with Watch() as watch:
                refusal = await self._admit(authorize, body, watch)
                if refusal is None:
                    await self._serve(watch)
        except TimeoutError:
            if not self._reading:
                raise ClientGone("the client left") from None
            patience = self._gateway.config.limits.body_timeout_seconds
            late = RequestTimeout(f"The body was not complete after {patience:g} seconds.")
            refusal = self._gateway.refuse(self._exchange, late)
        if refusal is not None:
            await self._send_refusal(refusal)

    async def refuse(self, error: Answerable) -> None:
        """Answer with an error what `run` has passed on: the whole body has been read."""
        self._exchange.is_ours = True
        reply = self._gateway.refuse(self._exchange, error)
        try:
            await self._start(reply)
            await self._write(reply.body, more=False)
        except OSError:
            self._exchange.client_left = True
        finally:
            self._gateway.end(self._exchange)

    async def _admit(
        self, authorize: Authorize | None, body: "Receive | None", watch: Watch
    ) -> Reply | None:
        """Check who calls and read the body; a reply when the request ends here."""
        limits = self._gateway.config.limits
        try:
            if authorize is not None:
                self._exchange.caller = await self._authorized(authorize)
            check_encoding(self._exchange.pairs)
            watch.limit(limits.body_timeout_seconds)
            self._reading = True
            self.body = await read_body(
                body or self._receive,
                self._exchange.pairs,
                self._exchange.account,
                max_bytes=limits.max_body_bytes,
            )
            self._reading = False
            watch.limit(None)
        except Answerable as error:
            return self._gateway.refuse(self._exchange, error)
        self._exchange.body_bytes = len(self.body)
        return None

    async def _authorized(self, authorize: Authorize) -> Caller:
        try:
            caller = await authorize(self._scope)
        except Answerable:
            raise
        except Exception:  # noqa: BLE001  # the host's code: its bug must not open the door
            _log.exception("request %s: authorize failed", self._exchange.id)
            raise InternalError("The caller could not be checked.") from None
        if not isinstance(caller, Caller):
            _log.error("request %s: authorize did not return a Caller", self._exchange.id)
            raise InternalError("The caller could not be checked.")
        return caller

    async def _serve(self, watch: Watch) -> None:
        self._listening = watch.after(LISTEN_SECONDS, self._begin_listening)
        try:
            async with self._gateway.handle(self._exchange, self.body) as reply:
                self.body = b""
                await self._start(reply)
                if reply.stream is not None:
                    await reply.stream.run(self._write)
                # A server reports a finished response as a disconnect.
                self._stop_listening()
                await self._write_whole(reply.body, watch)
        finally:
            self._stop_listening()

    def _begin_listening(self, watch: Watch) -> None:
        self._listening = asyncio.create_task(self._listen(watch))

    async def _listen(self, watch: Watch) -> None:
        """No server's `send` tells that the client has left; `receive` does."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            watch.end()

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    async def _send_refusal(self, reply: Reply) -> None:
        """The whole answer, then what still comes of the body, then the end of the connection.

        A server that kept it would read the rest of the body, however much there is. HTTP/2 has no
        such header, and ends one stream instead. What was held is given back first: a full house
        would else refuse whoever comes meanwhile.
        """
        self._exchange.account.close()
        closing = self._scope.get("http_version", "").startswith("1")
        await self._start(reply, [(b"connection", b"close")] if closing else [])
        await self._write(reply.body)
        await discard(self._receive)
        await self._write(b"", more=False)

    def _start(self, reply: Reply, added: Iterable[tuple[bytes, bytes]] = ()) -> Awaitable[None]:
        headers = [*reply.headers, *added]
        if reply.stream is None:
            headers.append((b"content-length", b"%d" % len(reply.body)))
        return self._send(
            {"type": "http.response.start", "status": reply.status, "headers": headers}
        )

    async def _write_whole(self, body: bytes, watch: Watch) -> None:
        """In slices: a large answer would wait in the server's memory for a client that is slow."""
        patience = self._gateway.config.limits.send_timeout_seconds
        last = max(0, len(body) - 1) // SLICE_BYTES * SLICE_BYTES
        for start in range(0, last + 1, SLICE_BYTES):
            watch.limit(patience)
            await self._write(body[start : start + SLICE_BYTES], more=start < last)
        watch.limit(None)

    def _write(self, data: bytes, more: bool = True) -> Awaitable[None]:
        return self._send({"type": "http.response.body", "body": data, "more_body": more})
