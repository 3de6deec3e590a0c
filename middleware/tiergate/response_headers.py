"""What we say in the headers of an answer: CONTRACT section 9 in one place.

What routing decided is `x-sentinel-*`, what delivery did is `x-arbstr-*`; there is no third prefix.
The client's headers are in `request_headers`, what of the provider's may pass is in `endpoint`.
"""

import math
from typing import Final

from tiergate.config import Headers
from tiergate.errors import Answerable, InternalError, ProviderFailed, RateLimited, Unavailable
from tiergate.errors import DeadlineExceeded as Late
from tiergate.exchange import Exchange, history
from tiergate.request_headers import Pairs

REQUEST_ID: Final = b"x-arbstr-request-id"
JSON: Final = (b"content-type", b"application/json")
STREAM: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)

_OF_DELIVERY: Final = (b"x-sentinel-model", b"x-arbstr-provider", b"x-arbstr-retries")
RETRIED_BY_CLIENTS: Final = frozenset({409})
"""What official clients try again of the providers' answers that we pass on."""

_SHORT_WAIT_SECONDS: Final = 2
"""A 503 that asks for no more than this may be tried again by the client itself."""


def our_headers(
    exchange: Exchange,
    settings: Headers,
    *,
    latency: float,
    opened: bool,
    decided_only: bool = False,
) -> Pairs:
    """The headers that tell what happened; `opened` when the answer is a stream that begins now.

    With `decided_only` those are absent that a delivery still under way may yet change.

    `latency` is in seconds since the request arrived. `headers.expose` says which of them clients
    see; the request id they always see.
    """
    pairs = _facts(exchange, latency=latency, opened=opened, decided_only=decided_only)
    if decided_only:
        pairs = [pair for pair in pairs if pair[0] not in _OF_DELIVERY]
    if "*" not in settings.expose:
        shown = {name.lower().encode() for name in settings.expose}
        pairs = [pair for pair in pairs if pair[0] in shown]
    pairs.append((REQUEST_ID, exchange.id.encode()))
    return pairs


def error_headers(error: Answerable, settings: Headers) -> Pairs:
    """The headers that an error of ours adds: its type, when to come back, whether to come back."""
    pairs = [JSON]
    if error.retry_after is not None:
        pairs.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    if _exhausted(error):
        pairs += last_word(settings)
    return pairs


def last_word(settings: Headers) -> Pairs:
    """What keeps official clients from asking again (they would triple every attempt)."""
    return [] if settings.client_retries else [(b"x-should-retry", b"false")]


def _exhausted(error: Answerable) -> bool:
    """Whether another try by the client would only multiply ours."""
    if isinstance(error, Unavailable):
        return error.retry_after is not None and error.retry_after > _SHORT_WAIT_SECONDS
    return isinstance(error, ProviderFailed | Late | RateLimited | InternalError)


def _facts(exchange: Exchange, *, latency: float, opened: bool, decided_only: bool) -> Pairs:
    facts: Pairs = []
    decision, attempts, request = exchange.decision, exchange.attempts, exchange.request
    if decision is not None:
        served = None if decided_only else exchange.escalated
        tier = served or decision.tier
        facts.append((b"x-sentinel-tier", tier.encode()))
        facts.append((b"x-sentinel-reason", decision.reason.encode()))
        if decision.verdict is not None:
            facts.append((b"x-sentinel-score", b"%.3f" % decision.verdict.score))
    if attempts:  # of a candidate that had no free connection nothing is told
        last = attempts[-1].candidate
        facts.append((b"x-sentinel-model", last.model.encode()))
        facts.append((b"x-arbstr-provider", last.provider.encode()))
        if len(attempts) > 1:
            facts.append((b"x-arbstr-retries", history(attempts).encode()))
    elif exchange.candidate is not None:
        facts.append((b"x-sentinel-model", exchange.candidate.model.encode()))
    if request is not None and request.stream:
        facts.append((b"x-arbstr-streaming", b"true"))
    if exchange.trace is not None and exchange.trace.id is not None:
        facts.append((b"x-sentinel-trace-id", exchange.trace.id.encode()))
    if not opened:
        facts.append((b"x-arbstr-latency-ms", b"%d" % round(latency * 1000)))
        cost = exchange.cost
        if cost is not None:
            facts.append((b"x-arbstr-cost-usd", b"%.8f" % cost))
    return facts
