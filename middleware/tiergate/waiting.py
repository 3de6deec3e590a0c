"""A buffered stream whose answer takes long: comments keep its client waiting meanwhile.

From the first comment on the status and the headers are gone: an error can only be in-band, and
what the headers would have told comes as one comment before `[DONE]`.
"""

import asyncio
from typing import Final

from tiergate.attempt import Delivered
from tiergate.errors import Answerable, ClientGone
from tiergate.exchange import Exchange, history
from tiergate.relay import Write
from tiergate.transcript import event

COMMENT: Final = b": waiting\n\n"


class Waiting:
    """The answer of a delivery that is still under way; it owns the delivery's task."""

    def __init__(
        self,
        delivery: "asyncio.Task[Delivered]",
        exchange: Exchange,
        *,
        comment_seconds: float,
        send_seconds: float,
    ) -> None:
        self._delivery = delivery
        self._exchange = exchange
        self._comment_seconds = comment_seconds
        self._send_seconds = send_seconds

    async def run(self, write: Write) -> None:
        """Comment until the delivery ends, then send what it brought; raises `ClientGone`."""
        while not self._delivery.done():
            await self._send(write, COMMENT)
            await asyncio.wait({self._delivery}, timeout=self._comment_seconds)
        try:
            delivered = self._delivery.result()
        except Answerable as error:
            self._exchange.fail(error.status, error.code)
            await self._send(write, event(error.body()))
            return
        if delivered.relay is None:  # the provider's own refusal
            await self._send(write, event(delivered.body))
            return
        trailer = delivered.relay.trailer
        delivered.relay.trailer = lambda: self._told() + trailer()
        await delivered.relay.run(write)

    async def close(self) -> None:
        """End the delivery, or let go of what it brought."""
        self._delivery.cancel()
        await asyncio.wait({self._delivery})
        if self._delivery.cancelled() or self._delivery.exception() is not None:
            return
        relay = self._delivery.result().relay
        if relay is not None:
            await relay.close()

    async def _send(self, write: Write, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._send_seconds):
                await write(data)
        except TimeoutError:
            raise ClientGone("the client has stopped reading") from None

    def _told(self) -> bytes:
        exchange = self._exchange
        assert exchange.candidate is not None
        tier = "" if exchange.escalated is None else f" x-sentinel-tier={exchange.escalated}"
        return (
            f":{tier} x-sentinel-model={exchange.candidate.model}"
            f" x-arbstr-provider={exchange.candidate.provider}"
            f" x-arbstr-retries={history(exchange.attempts)}\n\n"
        ).encode()
