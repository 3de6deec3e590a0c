"""One proxied request, from its first byte to the last of the answer. Nothing of it is kept whole.

Streams both ways at once: what is not taken on one side is not read on the other. Where it goes and
with which headers `destinations` knows. After the head of the answer has gone out it can only end,
or be cut off as it was cut off for us.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from tiergate import Answerable
from tiergate_sidecar.destinations import Destination
from tiergate_sidecar.errors import BodyLate, answered
from tiergate_sidecar.proxy_headers import Framing, framing_of
from tiergate_sidecar.upstreams import Answer, Body, Pool, UpstreamError, Upstreams, UpstreamSlow
from tiergate_sidecar.vigil import Awaited, Vigil

SLICE_BYTES: Final = 65_536
"""Of one write to the other side: a large piece would wait in memory for a server that is slow."""

_log = logging.getLogger("tiergate")


class _ClientGone(Exception):
    """There is nobody to answer."""


class Passage:
    """One request on its way to a destination."""

    def __init__(
        self,
        destination: Destination,
        upstreams: Upstreams,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._destination = destination
        self._upstreams = upstreams
        self._scope = scope
        self._receive = receive
        self._send = send
        self._silence = destination.silence
        self._started = False
        self._vigil = Vigil(receive)

    async def run(self) -> None:
        """Answer, unless the client leaves; an answer that was cut off ends without its end."""
        vigil, destination, reason = self._vigil, self._destination, ""
        try:
            async with vigil:
                vigil.expect(Awaited.ANSWER, self._silence.upstream)
                await self._pass()
            return
        except TimeoutError:
            reason = f"waited too long for {vigil.awaited.value}"
            late = BodyLate("The rest of the request did not come in time.")
            error = late if vigil.awaited is Awaited.BODY else destination.late()
        except UpstreamError as failure:
            reason = str(failure)
            slow = isinstance(failure, UpstreamSlow)
            error = destination.late() if slow else destination.failed()
        except Answerable as refusal:
            error = refusal
        except (_ClientGone, OSError):  # some servers say so by an OSError of `send`
            return
        except Exception:  # noqa: BLE001  # one request may fail, not the process
            _log.exception("%s: a bug in tiergate", destination.place)
            error = Answerable("An internal error; the log has the details.")
        if not vigil.client_left:
            await self._fail(error, reason)

    async def _fail(self, error: Answerable, reason: str) -> None:
        if error.status >= 500 or self._started:
            fate = "cut off" if self._started else error.message
            _log.warning("%s: %s %s", self._destination.place, fate, reason)
        if not self._started:
            await answered(error)(self._scope, self._receive, self._send)
        # Else the server sees an answer that is not complete, and ends the connection.

    async def _pass(self) -> None:
        method, destination = self._scope["method"], self._destination
        framing = framing_of(self._scope)
        headers = destination.request_headers(self._scope)
        url = destination.url(self._scope)
        body = await self._body(framing)
        if isinstance(body, Body) and framing.length is not None:
            headers.append(("content-length", str(framing.length)))  # else aiohttp knows it itself
        pool = await self._upstreams.take(destination)
        try:
            await self._acquire(pool)
            try:
                answer = await pool.ask(method, url, headers, body)
                try:
                    await self._answer(answer)
                finally:
                    answer.close()
            finally:
                pool.places.release()
        finally:
            await self._upstreams.give_back(pool)

    async def _acquire(self, pool: Pool) -> None:
        if not pool.places.locked():
            await pool.places.acquire()  # does not wait
            return
        try:
            async with asyncio.timeout(pool.patience):
                await pool.places.acquire()
        except TimeoutError:
            raise self._destination.busy() from None

    async def _body(self, framing: Framing) -> bytes | Body | None:
        """The body, where it is small and all here; else what sends it on as it comes."""
        if framing.is_empty:
            self._vigil.body_read = True
            return None
        first = await self._next()
        if len(first["body"]) > SLICE_BYTES or first["more_body"]:
            return Body(self._pieces(first))
        self._vigil.body_read = True
        return first["body"] or None

    async def _pieces(self, message: Message) -> AsyncIterator[bytes]:
        """The body; while the other side does not take it, nothing more is asked for."""
        while True:
            body = message["body"]
            for start in range(0, len(body), SLICE_BYTES):
                self._vigil.expect(Awaited.ANSWER, self._silence.upstream)
                yield body[start : start + SLICE_BYTES]
            if not message["more_body"]:
                break
            message = await self._next()
        self._vigil.expect(Awaited.ANSWER, self._silence.upstream)
        self._vigil.body_read = True

    async def _next(self) -> Message:
        self._vigil.expect(Awaited.BODY, self._silence.upstream)
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._vigil.leave()
            raise _ClientGone
        return {"body": message.get("body", b""), "more_body": message.get("more_body", False)}

    async def _answer(self, answer: Answer) -> None:
        vigil, silence, last = self._vigil, self._silence, False
        headers = self._destination.answer_headers(answer.headers, answer.status)
        self._started = True
        await self._send(
            {"type": "http.response.start", "status": answer.status, "headers": headers}
        )
        while not last:
            vigil.expect(Awaited.ANSWER, silence.upstream)
            piece, last = await answer.read()
            vigil.expect(Awaited.READER, silence.reader)
            if last:
                vigil.stop_listening()
            await self._send({"type": "http.response.body", "body": piece, "more_body": not last})
