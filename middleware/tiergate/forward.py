"""Carrying a plan out: ask a candidate, ask it again or leave it with one verdict, by one deadline.

What may follow a failure is data in `faults` and arithmetic in `retry`; here it is done. Ends with
an answer that is ready to go out, or with the error that the client is to hear.
"""

import asyncio
from functools import partial
from typing import Final

from msgspec.structs import replace

from tiergate.attempt import Asker, Delivered, Tools
from tiergate.candidates import Candidate
from tiergate.concede import concede
from tiergate.config import Config
from tiergate.errors import Answerable, DeadlineExceeded, InternalError, Unavailable
from tiergate.exchange import Attempt, AttemptTrace, Exchange
from tiergate.faults import BUSY, AttemptFailed, Blame
from tiergate.health import Permit
from tiergate.opening import Commit, commit_of
from tiergate.relay import Relay
from tiergate.retry import Standing, wait_before_retry
from tiergate.routing import Plan
from tiergate.times import times_for

_BUG: Final = InternalError.code
_ABANDONED: Final = "abandoned"  # by its client
_SLACK_SECONDS: Final = 0.05  # between the start of a deadline and that of the attempt under it


class Delivery:
    """One request on its way. Its state is the exchange's attempts and the failures behind them."""

    def __init__(self, tools: Tools, exchange: Exchange, plan: Plan) -> None:
        assert exchange.request is not None
        assert exchange.decision is not None
        commit = commit_of(exchange, tools.config.streaming)
        self._tier = exchange.decision.tier
        self._tools = tools
        self._exchange = exchange
        self._plan = plan
        # A stream without failover is one attempt with its own timeouts (CONTRACT section 8).
        self._once = exchange.request.stream and commit is Commit.FIRST_BYTE
        self._allowed = 1 if self._once else 1 + tools.config.retry.fallbacks
        self._tried = 0
        self._times = times_for(tools, exchange, commit, plan.tiers)
        self._deadline = exchange.complete + self._times[plan.tiers[0]].deadline
        self._asker = Asker(tools, exchange, commit)
        self._failures: list[tuple[Candidate, AttemptFailed]] = []
        self._suspended: list[tuple[Permit, AttemptFailed]] = []
        self._permit: Permit | None = None
        self._span: AttemptTrace | None = None

    @property
    def config(self) -> Config:
        """That which the request began with."""
        return self._tools.config

    async def run(self) -> Delivered:
        """Deliver; raises `errors.Answerable` when nobody could serve the request."""
        tools = self._tools
        tools.budget.count_request(tools.clock())
        try:
            delivered = await self._walk()
        except BaseException:  # the client left, or the process is full: nobody's fault
            self._judge_suspended(guilty=False)
            if self._permit is not None:
                tools.health.released(self._permit)
            raise
        everybody = self._tried > 1 and len(self._suspended) == self._tried
        self._judge_suspended(guilty=not everybody)
        return delivered or self._concede()

    async def _walk(self) -> Delivered | None:
        for position, candidate in enumerate(self._plan.candidates):
            if self._tried == self._allowed or self._tools.clock() >= self._deadline:
                break
            permit = self._admit(candidate, position)
            if permit is None:
                continue  # since the plan was made, another request has failed or probes there
            self._tried += 1
            came_to = self._exchange.escalated
            delivered = await self._serve(candidate, permit, position)
            if delivered is not None:
                return delivered
            fault = self._failures[-1][1].fault
            if fault is BUSY:
                self._tried -= 1  # nothing was sent
                self._exchange.escalated = came_to
            if not fault.elsewhere:
                break
        return None

    def _concede(self) -> Delivered:
        if not self._failures and self._tools.clock() >= self._deadline:
            raise DeadlineExceeded("The deadline passed before anybody could be asked.")
        if not self._failures:
            waits = [self._tools.health.seconds_left(each) for each in self._plan.candidates]
            raise Unavailable("Every model of this tier is in back-off.", retry_after=min(waits))
        candidate, failure = concede(self._failures)
        assert failure.status is not None
        endpoint = self._tools.endpoints[candidate.provider]
        return Delivered(endpoint, failure.status, failure.headers, failure.body)

    def _admit(self, candidate: Candidate, position: int) -> Permit | None:
        health, times = self._tools.health, self._times[self._plan.tiers[position]]
        permit = health.admit(candidate, times.full)
        if permit is None and self._plan.last_resort:
            return health.last_resort(candidate)
        return permit

    async def _serve(self, candidate: Candidate, permit: Permit, position: int) -> Delivered | None:
        """Ask one candidate until it answers or is to be left; one verdict either way."""
        tools, tier = self._tools, self._plan.tiers[position]
        times = self._times[tier]
        self._exchange.escalated = None if tier == self._tier else tier
        retried = 0
        while True:
            self._permit = permit
            remaining = self._deadline - tools.clock()
            others_left = self._others_left(position)
            limit = min(times.attempt, remaining) if others_left else remaining
            outcome = await self._attempt(candidate, permit, limit, remaining, retried)
            self._permit = None
            if isinstance(outcome, Delivered):
                return self._served(outcome, permit)
            self._failures.append((candidate, outcome))
            standing = Standing(
                now=tools.clock(),
                deadline=self._deadline,
                attempt_timeout=times.attempt,
                retried=retried,
                others_left=others_left,
                may_retry=self._tried == 1 and not self._once and not permit.probe,
            )
            wait = wait_before_retry(outcome, standing, tools.config.retry, tools.chance)
            if wait is not None and tools.budget.take(tools.clock()):
                await asyncio.sleep(wait)
                self._exchange.slept += wait
                again = self._admit(candidate, position)
                if again is not None:
                    permit, retried = again, retried + 1
                    continue
            self._leave(permit, outcome, full=limit + _SLACK_SECONDS >= times.full)
            return None

    def _others_left(self, position: int) -> bool:
        rest = self._plan.candidates[position + 1 :]
        if not rest or self._tried >= self._allowed:
            return False
        return any(map(self._tools.health.admits, rest))

    def _served(self, delivered: Delivered, permit: Permit) -> Delivered:
        if delivered.relay is None:
            self._tools.health.succeeded(permit)
            return delivered
        self._exchange.forget_body()
        relay = delivered.relay
        relay.on_close = partial(self._settle, relay, permit)
        return delivered

    def _settle(self, relay: Relay, permit: Permit) -> None:
        """The verdict on a stream, once it is over: complete, broken, or left by its client."""
        exchange, health = self._exchange, self._tools.health
        last = exchange.attempts[-1]
        duration = self._tools.clock() - exchange.arrived - last.started
        broken = relay.error_code or ("provider_error" if relay.transcript.has_error else None)
        fault = broken
        if fault is None and not relay.transcript.complete:
            fault = _BUG if exchange.error_code == _BUG else _ABANDONED
        exchange.attempts = (
            *exchange.attempts[:-1],
            replace(last, duration=duration, fault=fault),
        )
        exchange.error_code = broken or exchange.error_code
        exchange.usage, exchange.is_partial = relay.transcript.usage, not relay.transcript.complete
        if self._span is not None:
            self._span.end(exchange.attempts[-1], relay.transcript.usage, exchange.first_token)
        if relay.transcript.complete:
            health.succeeded(permit)
        elif broken and not relay.is_oversized:
            health.failed(permit)
        else:
            health.released(permit)

    def _leave(self, permit: Permit, failure: AttemptFailed, *, full: bool) -> None:
        if failure.fault.blame is not Blame.PROVIDER or (failure.fault.timed and not full):
            self._tools.health.released(permit)
        elif failure.status == 500:
            self._suspended.append((permit, failure))  # perhaps the request is to blame
        else:
            self._tools.health.failed(permit, failure.retry_after)

    def _judge_suspended(self, *, guilty: bool) -> None:
        for permit, failure in self._suspended:
            if guilty:
                self._tools.health.failed(permit, failure.retry_after)
            else:
                self._tools.health.released(permit)

    async def _attempt(
        self, candidate: Candidate, permit: Permit, limit: float, deadline: float, resends: int
    ) -> Delivered | AttemptFailed:
        """One attempt, noted in the exchange; also one that the client's leaving cut short."""
        exchange, delivered = self._exchange, None
        exchange.candidate, exchange.first_token = candidate, None
        span = None
        if exchange.trace is not None:
            endpoint = self._tools.endpoints[candidate.provider]
            self._span = span = exchange.trace.attempt(exchange, candidate, endpoint, resends)
        started, resent = self._tools.clock(), self._asker.resent
        status: int | None = None
        fault: str | None = _ABANDONED
        try:
            delivered = await self._asker.ask(
                candidate,
                limit=limit,
                deadline=deadline,
                on_token=partial(self._note_token, permit),
                trace=span,
            )
            status, fault = delivered.status, None
            return delivered
        except AttemptFailed as failure:
            status, fault = failure.status, failure.fault.label
            return failure.with_traceback(None)  # its frames hold all that had been read
        except Answerable as error:
            fault = error.code  # ours: the process is full
            raise
        except Exception:
            fault = _BUG
            raise
        finally:
            if fault != BUSY.label:  # nothing was sent
                attempt = Attempt(
                    candidate=candidate,
                    started=started - exchange.arrived,
                    duration=self._tools.clock() - started,
                    status=status,
                    fault=fault,
                    resent=self._asker.resent and not resent,
                )
                exchange.attempts = (*exchange.attempts, attempt)
                if span is not None and (delivered is None or delivered.relay is None):
                    span.end(attempt, exchange.usage, exchange.first_token)
            else:
                exchange.slept += self._tools.clock() - started
                if span is not None:
                    span.unsent()

    def _note_token(self, permit: Permit) -> None:
        """The first token has come, held back or not: here a probe ends."""
        self._tools.health.responds(permit)
        if self._exchange.first_token is None:
            self._exchange.first_token = self._tools.clock() - self._exchange.arrived
