"""One attempt: send to one candidate, read and judge what it says. For both kinds of request.

Ends with an answer that is ready to go out, or raises `AttemptFailed`. Whether another attempt
follows is `forward`'s.
"""

import random
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tiergate.candidates import Candidate
from tiergate.classify import Classifier
from tiergate.completion import NO_ERROR, read_completion, read_error
from tiergate.config import Config
from tiergate.endpoint import Endpoint
from tiergate.exchange import AttemptTrace, Exchange
from tiergate.faults import (
    BUSY,
    DISCONNECTED,
    GARBLED,
    OVERSIZED,
    SILENT,
    STALE,
    AttemptFailed,
    fault_of_status,
)
from tiergate.health import Health
from tiergate.opening import Commit, Opening, OpeningLimits
from tiergate.policies import Policies
from tiergate.relay import Relay, StreamLimits, summary_event
from tiergate.request_headers import TRACE_CONTEXT
from tiergate.retry import RetryBudget, parse_retry_after
from tiergate.transcript import Transcript
from tiergate.transport import Answer, RawHeaders, Transport
from tiergate.watch import Watch

_SAYS_WHEN: Final = (429, 503, 529)  # whose Retry-After is obeyed


class Delivered(Struct, frozen=True):
    """An answer ready to go out: whole in `body`, or a stream that `relay` carries."""

    endpoint: Endpoint
    status: int
    headers: RawHeaders
    body: bytes = b""
    relay: Relay | None = None


class Tools(Struct, frozen=True):
    """What every request shares. `clock` is monotonic, `wall` Unix time, both in seconds."""

    config: Config
    endpoints: dict[str, Endpoint]
    transport: Transport
    classifier: Classifier
    policies: Policies
    health: Health
    budget: RetryBudget
    clock: Callable[[], float]
    wall: Callable[[], float]
    chance: random.Random

    def __repr__(self) -> str:
        return f"<Tools for {', '.join(self.endpoints)}>"  # never the headers of a provider


class _Started(Struct, frozen=True):
    """An attempt under way: when it began on the clock, and what `Asker.ask` was told."""

    at: float
    limit: float
    deadline: float
    on_token: Callable[[], None]
    trace: AttemptTrace | None


class Asker:
    """Sends one request to one candidate after the other, as it is told."""

    def __init__(self, tools: Tools, exchange: Exchange, commit: Commit) -> None:
        assert exchange.request is not None
        assert exchange.headers is not None
        assert exchange.decision is not None
        self.resent = False
        self._tools = tools
        self._exchange = exchange
        self._request = exchange.request
        self._headers = exchange.headers
        self._commit = commit

    async def ask(
        self,
        candidate: Candidate,
        *,
        limit: float,
        deadline: float,
        on_token: Callable[[], None],
        trace: AttemptTrace | None = None,
    ) -> Delivered:
        """One attempt, with one free re-send on a stale connection; raises `AttemptFailed`.

        `limit` is in seconds for the answer, or for the first token of a stream, `deadline` for all
        that leads to the commit point. `on_token` is called at the first token, held back or not.
        `trace` is the span that the provider is told of; without one the client's passes through.
        """
        started = _Started(self._tools.clock(), limit, deadline, on_token, trace)
        try:
            return await self._send(candidate, started)
        except AttemptFailed as failure:
            if failure.fault is not STALE:
                raise
            if self.resent:
                raise AttemptFailed(DISCONNECTED) from failure
        self.resent = True
        try:
            return await self._send(candidate, started)
        except AttemptFailed as failure:
            if failure.fault not in (STALE, BUSY):
                raise
            # Without a connection it did not go out again: the first sending was the attempt.
            self.resent = failure.fault is STALE
            raise AttemptFailed(DISCONNECTED) from None

    async def _send(self, candidate: Candidate, started: "_Started") -> Delivered:
        endpoint = self._tools.endpoints[candidate.provider]
        answer: Answer | None = None
        relay: Relay | None = None
        try:
            with Watch() as watch:
                watch.limit(started.limit - self._since(started))
                answer = await self._post(endpoint, candidate, started.trace)
                if not self._request.stream or not 200 <= answer.status < 300:
                    return await self._read(answer, endpoint)
            relay = await self._open(answer, started)
            return Delivered(endpoint, answer.status, answer.headers, relay=relay)
        except TimeoutError:
            raise AttemptFailed(SILENT) from None
        finally:
            if answer is not None and relay is None:
                answer.close()

    async def _post(
        self, endpoint: Endpoint, candidate: Candidate, trace: AttemptTrace | None
    ) -> Answer:
        key = self._headers.idempotency_key or self._exchange.id
        headers = endpoint.request_headers(self._headers, key)
        body = self._request.render(
            candidate.model,
            stream_usage=endpoint.settings.stream_usage,
            adaptation=candidate.adaptation,
        )
        self._exchange.account.hold(len(body))
        try:
            if trace is None:
                return await self._tools.transport.post(endpoint, headers, body)
            with trace.calling() as context:
                headers = [pair for pair in headers if pair[0] not in TRACE_CONTEXT] + context
                return trace.heard(await self._tools.transport.post(endpoint, headers, body))
        finally:
            self._exchange.account.drop(len(body))

    async def _read(self, answer: Answer, endpoint: Endpoint) -> Delivered:
        """A whole answer, judged by its status and by its body."""
        body = await self._read_whole(answer)
        error = NO_ERROR if answer.status < 400 else read_error(body)
        fault = fault_of_status(answer.status, error, own_credential=endpoint.own_credential)
        # An encoding that we did not ask for is not ours to undo: such an answer passes unjudged.
        if fault is None and not _is_encoded(answer.headers):
            completion = read_completion(body)
            if completion.valid:
                self._exchange.usage = completion.usage
            else:
                fault = GARBLED
        if fault is None:
            return Delivered(endpoint, answer.status, answer.headers, body)
        self._exchange.account.drop(len(body))
        asked = None
        if answer.status in _SAYS_WHEN:
            asked = parse_retry_after(_header(answer.headers, b"retry-after"), self._tools.wall())
        raise AttemptFailed(
            fault, status=answer.status, retry_after=asked, headers=answer.headers, body=body
        )

    async def _read_whole(self, answer: Answer) -> bytes:
        pieces, size = [], 0
        limit, account = self._tools.config.limits.max_response_bytes, self._exchange.account
        try:
            while piece := await answer.read():
                pieces.append(piece)
                account.hold(len(piece))
                size += len(piece)
                if size > limit:
                    raise AttemptFailed(OVERSIZED, status=answer.status)
        except BaseException:
            account.drop(size)
            pieces.clear()  # the error's frames would keep them until a garbage collection
            raise
        return b"".join(pieces)

    def _since(self, started: "_Started") -> float:
        return self._tools.clock() - started.at

    async def _open(self, answer: Answer, started: "_Started") -> Relay:
        """A stream that has reached its commit point."""
        kind = _header(answer.headers, b"content-type") or ""
        if not kind.lower().startswith("text/event-stream") or _is_encoded(answer.headers):
            raise AttemptFailed(GARBLED, status=answer.status)
        streaming, request = self._tools.config.streaming, self._request
        tier = self._exchange.tier
        assert tier is not None
        transcript = Transcript(
            choices=request.choices,
            relay_usage=request.wants_usage is True,
            max_event_bytes=streaming.max_event_bytes,
        )
        idle = streaming.idle_timeout(tier)
        opening = Opening(
            answer,
            transcript,
            self._commit,
            self._exchange.account,
            on_token=started.on_token,
        )
        spent = self._since(started)
        limit, deadline = started.limit - spent, started.deadline - spent
        await opening.reach(OpeningLimits(limit, idle, deadline, streaming.max_buffer_bytes))
        # A deadline of the client's own ends here: it has no effect after the commit point.
        first_token = max(started.limit, streaming.first_token_timeout(tier))
        limits = StreamLimits(
            first_token=max(0.0, first_token - self._since(started)),
            idle=idle,
            send=self._tools.config.limits.send_timeout_seconds,
        )
        held, at_end = opening.held, opening.at_end
        relay = Relay(answer, transcript, held, limits, self._exchange, at_end=at_end)
        relay.on_token = started.on_token
        if streaming.summary:
            relay.trailer = self._summary
        return relay

    def _summary(self) -> bytes:
        latency = self._tools.clock() - self._exchange.arrived
        return summary_event(self._exchange, latency=latency, created=self._tools.wall())


def _header(headers: RawHeaders, name: bytes) -> str | None:
    for key, value in headers:
        if key.lower() == name:
            return value.decode("latin-1").strip()
    return None


def _is_encoded(headers: RawHeaders) -> bool:
    for key, value in headers:
        if len(key) == 16 and key.lower() == b"content-encoding":  # few names are as long
            return value.strip().lower() not in (b"", b"identity")
    return False
