"""A stream on its way to the client, after the commit point: it can only finish, or fail honestly.

Whole events go on as soon as they are there; while the client does not take them, nothing is read
from the provider. What an event means is `transcript`'s; nothing here retries.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
from msgspec import Struct

from tiergate.errors import ClientGone
from tiergate.exchange import Exchange
from tiergate.faults import AttemptFailed
from tiergate.sse import EventTooLarge
from tiergate.transcript import DONE_PATIENCE_SECONDS, Transcript, error_event, event
from tiergate.transport import Answer
from tiergate.watch import Watch

DRAIN_SECONDS: Final = 0.5
"""For the last bytes of a finished body, so that the connection can be used again."""

SLICE_BYTES: Final = 65_536
"""Of one write. A held answer would wait twice over in the server's memory for a client that is
slow; and the send timeout, which asks whether it reads at all, would ask for all of it."""

Write = Callable[[bytes], Awaitable[None]]


class StreamLimits(Struct, frozen=True):
    """Seconds. `first_token` counts from the start of the relay, the other two per wait."""

    first_token: float
    idle: float
    send: float


class Relay:
    """One committed stream. `error_code` is set when it had to end with an error of ours, and
    `is_oversized` says that an event was larger than we take: nobody's fault.

    `held` was read before the commit point, `at_end` says that nothing comes after it. `trailer`
    makes what precedes `[DONE]`, where anything does; `on_token` is called at the first token,
    `on_close` when all is over. `on_success` is awaited once: before `[DONE]`, which a client may
    answer with its next request, or when a client has left after the commit point.
    """

    def __init__(
        self,
        answer: Answer,
        transcript: Transcript,
        held: bytes | bytearray,
        limits: StreamLimits,
        exchange: Exchange,
        *,
        at_end: bool = False,
    ) -> None:
        self.error_code: str | None = None
        self.is_oversized = False
        self.transcript = transcript
        self.trailer: Callable[[], bytes] = bytes
        self.on_token: Callable[[], None] = _nothing
        self.on_close: Callable[[], None] = _nothing
        self.on_success: Callable[[], Awaitable[None]] | None = None
        self._answer = answer
        self._held = held
        self._limits = limits
        self._exchange = exchange
        self._sending = False
        self._committed = False
        self._at_end = at_end
        self._token_by = 0.0
        self._done_by = 0.0

    async def run(self, write: Write) -> None:
        """Relay to the end; raises `ClientGone` for a client that stopped reading."""
        self._committed = True
        try:
            with Watch() as watch:
                await self._relay(write, watch)
        except (TimeoutError, AttemptFailed, EventTooLarge) as error:
            if self._sending:
                raise ClientGone("the client has stopped reading") from None
            self._note(error)
        finally:
            self._exchange.usage = self.transcript.usage
            self._exchange.events_dropped = self.transcript.dropped
        if self.transcript.complete:
            await self._succeed()
        await self._end(write)

    async def close(self) -> None:
        """Let go of the provider; a finished body is read to its last byte, for a moment."""
        try:
            if self.transcript.ended and not self._at_end:
                with Watch() as watch:
                    watch.limit(DRAIN_SECONDS)
                    while await self._answer.read():
                        pass
        except (TimeoutError, AttemptFailed):
            pass  # all was said: this was for the connection's sake only
        finally:
            self._answer.close()
            self.on_close()
            if self._committed and not self.error_code and not self.transcript.has_error:
                await self._succeed()

    async def _succeed(self) -> None:
        told, self.on_success = self.on_success, None
        if told is not None:
            await told()

    async def _relay(self, write: Write, watch: Watch) -> None:
        transcript, read = self.transcript, self._answer.read
        self._token_by = watch.time() + self._limits.first_token
        out: bytes | bytearray
        out, had_token = self._held, False
        held, self._held = len(out), b""  # it may be the whole of a long answer
        events = comments = -1
        while True:
            now = watch.time()
            if out:
                self._sending = True
                for piece in _slices(out):
                    watch.limit(self._limits.send)
                    await write(piece)
                self._sending = False
                began, now = now, watch.time()
                if now > began:  # the client's time is not the provider's silence
                    self._token_by += now - began
                    self._done_by += now - began
            if held:
                self._exchange.account.drop(held)
                held = 0
            if transcript.has_token and not had_token:
                had_token = True
                self.on_token()
            if self._at_end or transcript.ended:
                return
            if transcript.events > events or transcript.comments > comments:
                if transcript.events > events:
                    self._done_by = now + DONE_PATIENCE_SECONDS
                watch.limit(self._patience(now))  # half an event is no sign of life
                events, comments = transcript.events, transcript.comments
            piece = await read()
            self._at_end = not piece
            out = transcript.feed(piece) if piece else transcript.finish()

    def _patience(self, now: float) -> float:
        """Seconds that the provider may be silent from now."""
        if self.transcript.complete:
            return self._done_by - now
        return self._limits.idle if self.transcript.has_token else self._token_by - now

    def _note(self, error: Exception) -> None:
        if not self.transcript.complete:
            self.is_oversized = isinstance(error, EventTooLarge)
            stalled = isinstance(error, TimeoutError)
            self.error_code = "stream_stalled" if stalled else "stream_interrupted"

    async def _end(self, write: Write) -> None:
        """The last events: `[DONE]` for a complete answer, an error for any other."""
        last = self._last_events()
        if last:
            try:
                async with asyncio.timeout(self._limits.send):
                    await write(last)
            except TimeoutError:
                raise ClientGone("the client has stopped reading") from None

    def _last_events(self) -> bytes:
        transcript = self.transcript
        if transcript.complete:
            return self.trailer() + transcript.done_event()
        if transcript.has_error:
            return b""  # the provider's own error was the last event
        self.error_code = self.error_code or "stream_interrupted"
        assert self._exchange.candidate is not None
        provider = self._exchange.candidate.provider
        return error_event(self.error_code, _MESSAGES[self.error_code], provider)


def _slices(out: bytes | bytearray) -> Iterable[bytes]:
    size = len(out)
    if size <= SLICE_BYTES:
        return (bytes(out),)
    return (bytes(out[start : start + SLICE_BYTES]) for start in range(0, size, SLICE_BYTES))


def _nothing() -> None:
    return


_MESSAGES: Final = {
    "stream_interrupted": "The provider's answer ended before it was complete.",
    "stream_stalled": "The provider stopped sending before its answer was complete.",
}


def summary_event(exchange: Exchange, *, latency: float, created: float) -> bytes:
    """The chunk of `streaming.summary`: no choices, and what delivery knows of the request.

    `latency` is in seconds, `created` Unix time. A cost that is unknown is null.
    """
    assert exchange.candidate is not None
    assert exchange.decision is not None
    chunk = {
        "id": exchange.id,
        "object": "chat.completion.chunk",
        "created": int(created),
        "model": exchange.candidate.model,
        "choices": [],
        "arbstr": {
            "cost_usd": None if exchange.cost is None else round(exchange.cost, 8),
            "latency_ms": round(latency * 1000),
            "tier": exchange.tier,
            "provider": exchange.candidate.provider,
            "model": exchange.candidate.model,
        },
    }
    return event(msgspec.json.encode(chunk))
