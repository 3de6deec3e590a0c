"""Carrying a plan out: ask a candidate, ask it again or leave it, within one deadline.

What may follow a failure is data in `faults` and arithmetic in `retry`; here it is done. Ends with
an answer that is ready to commit, or with the error that the client is to hear.
"""

import asyncio
import random
from collections.abc import Callable

from msgspec import Struct

from tiergate.completion import NO_ERROR, read_completion, read_error
from tiergate.concede import concede
from tiergate.config import Config
from tiergate.endpoint import Endpoint
from tiergate.exchange import Attempt, Exchange
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
from tiergate.relay import Relay, StreamLimits, summary_event
from tiergate.retry import RetryBudget, Standing, parse_retry_after, wait_before_retry
from tiergate.routing import Plan
from tiergate.snapshot import Candidate
from tiergate.transcript import Transcript
from tiergate.transport import Answer, RawHeaders, Transport


class Delivered(Struct, frozen=True):
    """An answer ready to go out: whole in `body`, or a stream that `relay` carries."""

    endpoint: Endpoint
    status: int
    headers: RawHeaders
    body: bytes = b""
    relay: Relay | None = None


class Forwarder(Struct, frozen=True):
    """What every delivery shares. `clock` is monotonic, `wall` Unix time, both in seconds."""

    config: Config
    endpoints: dict[str, Endpoint]
    transport: Transport
    budget: RetryBudget
    clock: Callable[[], float]
    wall: Callable[[], float]
    chance: random.Random

    def __repr__(self) -> str:
        return f"<Forwarder to {', '.join(self.endpoints)}>"  # never the headers of a provider

    async def forward(self, exchange: Exchange, plan: Plan) -> Delivered:
        """Deliver one request; raises `errors.Answerable` when nobody could serve it."""
        return await _Delivery(self, exchange, plan).run()


class _Delivery:
    """One request on its way. Its state is the exchange's attempts and the failures behind them."""

    def __init__(self, tools: Forwarder, exchange: Exchange, plan: Plan) -> None:
        assert exchange.request is not None
        assert exchange.headers is not None
        assert exchange.decision is not None
        self._tools = tools
        self._exchange = exchange
        self._request = exchange.request
        self._headers = exchange.headers
        self._tier = exchange.decision.tier
        self._failures: list[tuple[Candidate, AttemptFailed]] = []
        self._resent = False
        settings = tools.config.retry
        # A stream without failover is one attempt with its own timeouts (CONTRACT section 8).
        self._retries = not self._request.stream
        self._plan = plan[: 1 + settings.fallbacks] if self._retries else plan[:1]
        self._deadline = tools.clock() + self._time_to_commit()

    async def run(self) -> Delivered:
        now = self._tools.clock
        self._tools.budget.count_request(now())
        for position, candidate in enumerate(self._plan):
            delivered = await self._serve(candidate, position)
            if delivered is not None:
                return delivered
            if not self._failures[-1][1].fault.elsewhere or now() >= self._deadline:
                break
        candidate, failure = concede(self._failures)
        endpoint = self._tools.endpoints[candidate.provider]
        assert failure.status is not None
        return Delivered(endpoint, failure.status, failure.headers, failure.body)

    def _time_to_commit(self) -> float:
        """Seconds from now until an answer must be ready to go out."""
        config = self._tools.config
        if self._retries:
            configured = config.retry.deadline(self._tier)
        else:
            configured = config.streaming.first_token_timeout(self._tier)
        return min(configured, self._headers.deadline_seconds or configured)

    async def _serve(self, candidate: Candidate, position: int) -> Delivered | None:
        """Ask one candidate until it answers or is to be left."""
        settings, now = self._tools.config.retry, self._tools.clock
        others_left = position + 1 < len(self._plan)
        timeout = settings.attempt_timeout(self._tier)
        retried = 0
        while True:
            remaining = self._deadline - now()
            failure = await self._attempt(
                candidate, min(timeout, remaining) if others_left else remaining
            )
            if isinstance(failure, Delivered):
                return failure
            self._failures.append((candidate, failure))
            standing = Standing(
                now=now(),
                deadline=self._deadline,
                attempt_timeout=timeout,
                retried=retried,
                others_left=others_left,
                may_retry=self._retries and position == 0,
            )
            wait = wait_before_retry(failure, standing, settings, self._tools.chance)
            if wait is None or not self._tools.budget.take(now()):
                return None
            await asyncio.sleep(wait)
            retried += 1

    async def _attempt(self, candidate: Candidate, limit: float) -> Delivered | AttemptFailed:
        """One attempt, noted in the exchange; a stale connection is replaced once, for free."""
        self._exchange.candidate = candidate
        started, resent = self._tools.clock(), self._resent
        outcome: Delivered | AttemptFailed
        try:
            async with asyncio.timeout(limit):
                outcome = await self._send_fresh(candidate, started)
        except TimeoutError:
            outcome = AttemptFailed(SILENT)
        except AttemptFailed as failure:
            outcome = AttemptFailed(DISCONNECTED) if failure.fault is STALE else failure
        except asyncio.CancelledError:
            self._note(candidate, started, None, "abandoned", resent)
            raise
        if isinstance(outcome, Delivered):
            self._note(candidate, started, outcome.status, None, resent)
        elif outcome.fault is not BUSY:  # nothing was sent
            self._note(candidate, started, outcome.status, outcome.fault.label, resent)
        return outcome

    def _note(
        self,
        candidate: Candidate,
        started: float,
        status: int | None,
        fault: str | None,
        resent: bool,
    ) -> None:
        attempt = Attempt(
            candidate=candidate,
            started=started - self._exchange.arrived,
            duration=self._tools.clock() - started,
            status=status,
            fault=fault,
            resent=self._resent and not resent,
        )
        self._exchange.attempts = (*self._exchange.attempts, attempt)

    async def _send_fresh(self, candidate: Candidate, started: float) -> Delivered:
        try:
            return await self._send(candidate, started)
        except AttemptFailed as failure:
            if failure.fault is not STALE or self._resent:
                raise
        self._resent = True
        try:
            return await self._send(candidate, started)
        except AttemptFailed as failure:
            if failure.fault is not BUSY:
                raise
            self._resent = False  # it did not go out: the first sending was the attempt
            raise AttemptFailed(DISCONNECTED) from None

    async def _send(self, candidate: Candidate, started: float) -> Delivered:
        endpoint = self._tools.endpoints[candidate.provider]
        key = self._headers.idempotency_key or self._exchange.id
        headers = endpoint.request_headers(self._headers, key)
        body = self._request.render(candidate.model, stream_usage=endpoint.settings.stream_usage)
        answer = await self._tools.transport.post(endpoint, headers, body)
        relay = None
        try:
            if self._request.stream and 200 <= answer.status < 300:
                relay = await self._open(answer, started)
                return Delivered(endpoint, answer.status, answer.headers, relay=relay)
            return await self._read(answer, endpoint)
        finally:
            if relay is None:
                answer.close()

    async def _read(self, answer: Answer, endpoint: Endpoint) -> Delivered:
        """A whole answer, judged by its status and by its body."""
        body = await _read_whole(answer, self._tools.config.limits.max_response_bytes)
        error = NO_ERROR if answer.status < 400 else read_error(body)
        fault = fault_of_status(answer.status, error, own_credential=endpoint.own_credential)
        if fault is None and not _is_encoded(
            answer.headers
        ):  # we asked for no encoding: not ours to undo
            completion = read_completion(body)
            if completion.valid:
                self._exchange.usage = completion.usage
            else:
                fault = GARBLED
        if fault is None:
            return Delivered(endpoint, answer.status, answer.headers, body)
        asked = parse_retry_after(_header(answer.headers, b"retry-after"), self._tools.wall())
        raise AttemptFailed(
            fault, status=answer.status, retry_after=asked, headers=answer.headers, body=body
        )

    async def _open(self, answer: Answer, started: float) -> Relay:
        """A stream whose first bytes are there."""
        kind = _header(answer.headers, b"content-type") or ""
        first = b""
        if kind.lower().startswith("text/event-stream") and not _is_encoded(answer.headers):
            first = await answer.read()
        if not first:
            raise AttemptFailed(GARBLED, status=answer.status)
        config, request = self._tools.config, self._request
        streaming = config.streaming
        spent = self._tools.clock() - started
        return Relay(
            answer,
            first,
            Transcript(
                choices=request.choices,
                relay_usage=request.wants_usage is True,
                max_event_bytes=streaming.max_event_bytes,
            ),
            StreamLimits(
                first_token=max(0.0, streaming.first_token_timeout(self._tier) - spent),
                idle=streaming.idle_timeout(self._tier),
                send=config.limits.send_timeout_seconds,
            ),
            self._exchange,
            summary=self._summary if streaming.summary else None,
        )

    def _summary(self) -> bytes:
        latency = self._tools.clock() - self._exchange.arrived
        return summary_event(self._exchange, latency=latency, created=self._tools.wall())


async def _read_whole(answer: Answer, limit: int) -> bytes:
    pieces, size = [], 0
    while piece := await answer.read():
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise AttemptFailed(OVERSIZED, status=answer.status)
    return b"".join(pieces)


def _header(headers: RawHeaders, name: bytes) -> str | None:
    for key, value in headers:
        if key.lower() == name:
            return value.decode("latin-1").strip()
    return None


def _is_encoded(headers: RawHeaders) -> bool:
    return (_header(headers, b"content-encoding") or "identity").lower() != "identity"
