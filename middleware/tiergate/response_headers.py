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

REQUEST_ID: Final = "x-arbstr-request-id"
JSON: Final = (b"content-type", b"application/json")
STREAM: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)

_OF_DELIVERY: Final = ("x-sentinel-model", "x-arbstr-provider", "x-arbstr-retries")
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
    said = dict(_facts(exchange, latency=latency, opened=opened))
    if decided_only:
        said = {name: value for name, value in said.items() if name not in _OF_DELIVERY}
    if "*" not in settings.expose:
        shown = {name.lower() for name in settings.expose}
        said = {name: value for name, value in said.items() if name in shown}
    said[REQUEST_ID] = exchange.id
    return [(name.encode(), value.encode()) for name, value in said.items()]


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


def _facts(exchange: Exchange, *, latency: float, opened: bool) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if exchange.decision is not None:
        facts.append(("x-sentinel-tier", exchange.decision.tier))
        facts.append(("x-sentinel-reason", exchange.decision.reason))
    if exchange.attempts:  # of a candidate that had no free connection nothing is told
        last = exchange.attempts[-1].candidate
        facts.append(("x-sentinel-model", last.model))
        facts.append(("x-arbstr-provider", last.provider))
    elif exchange.candidate is not None:
        facts.append(("x-sentinel-model", exchange.candidate.model))
    if len(exchange.attempts) > 1:
        facts.append(("x-arbstr-retries", history(exchange.attempts)))
    if exchange.request is not None and exchange.request.stream:
        facts.append(("x-arbstr-streaming", "true"))
    if exchange.trace is not None and exchange.trace.id is not None:
        facts.append(("x-sentinel-trace-id", exchange.trace.id))
    if not opened:
        facts.append(("x-arbstr-latency-ms", str(round(latency * 1000))))
        cost = exchange.cost
        if cost is not None:
            facts.append(("x-arbstr-cost-usd", f"{cost:.8f}"))
    return facts
