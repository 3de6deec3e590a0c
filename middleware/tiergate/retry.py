"""Whether a failed attempt is made again at the same candidate, and how many are affordable. Pure.

CONTRACT section 7: the numbers come from `[retry]`, the rules of each fault from `faults`.
"""

import random
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from msgspec import Struct

from tiergate.config import Retry
from tiergate.faults import Again, AttemptFailed

_LARGEST_EXPONENT: Final = 30  # 2^30 seconds is past every deadline; the power must not overflow
_LONGEST_WAIT_DIGITS: Final = 9
_BUCKETS: Final = (
    10  # the window moves in tenths: coarse enough to be cheap, fine enough to be fair
)


class Standing(Struct, frozen=True):
    """Where a request stands when an attempt has failed. Times are on one monotonic clock.

    `retried` counts the retries at this candidate so far; `others_left` whether another is left to
    try; `may_retry` is False at a fallback (one attempt each).
    """

    now: float
    deadline: float
    attempt_timeout: float
    retried: int
    others_left: bool
    may_retry: bool


def wait_before_retry(
    failure: AttemptFailed, standing: Standing, settings: Retry, chance: random.Random
) -> float | None:
    """Seconds to wait before the same candidate is asked again; None: leave it."""
    if not standing.may_retry or standing.retried >= settings.retries:
        return None
    wait = _wait(failure, standing.retried, settings, chance)
    if wait is None:
        return None
    begin = standing.now + wait
    if begin >= standing.deadline:
        return None
    if standing.others_left and standing.deadline - begin < standing.attempt_timeout:
        return None  # another candidate makes more of what is left
    return wait


def _wait(
    failure: AttemptFailed, retried: int, settings: Retry, chance: random.Random
) -> float | None:
    asked = failure.retry_after
    if failure.fault.again is Again.NO or (failure.fault.again is Again.IF_SOON and asked is None):
        return None
    if asked is not None:
        return asked if asked <= settings.max_retry_after_seconds else None
    spread = 1 + settings.jitter * (2 * chance.random() - 1)
    return settings.backoff_seconds * 2.0 ** min(retried, _LARGEST_EXPONENT) * spread


def parse_retry_after(text: str | None, wall_now: float) -> float | None:
    """Seconds that a `Retry-After` asks for, in either of its forms; None when it asks nothing.

    `wall_now` is Unix time: the second form is a date (RFC 9110, 10.2.3).
    """
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:_LONGEST_WAIT_DIGITS])
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, when.replace(tzinfo=when.tzinfo or UTC).timestamp() - wall_now)


class BudgetState(Struct, frozen=True):
    """How many retries may still be made now (None: no limit), how many were refused so far."""

    left: float | None
    refused: int


class RetryBudget:
    """How many retries a process may make: a share of its requests over a sliding window.

    Without it an outage multiplies its own load. Bounded: ten pairs of counters.
    """

    def __init__(self, settings: Retry) -> None:
        self._width = 0.0
        self._refused = 0
        self.reconfigure(settings)

    def __repr__(self) -> str:
        return f"<RetryBudget {sum(self._retries)} of {self._allowed():g} retries>"

    def reconfigure(self, settings: Retry) -> None:
        """Other limits from now on; a window of another length begins empty."""
        self._ratio = settings.budget_ratio
        self._minimum = settings.budget_minimum
        width = settings.budget_window_seconds / _BUCKETS
        if width != self._width:
            self._width = width
            self._requests = [0] * _BUCKETS
            self._retries = [0] * _BUCKETS
            self._bucket = 0

    def count_request(self, now: float) -> None:
        self._move(now)
        self._requests[self._bucket % _BUCKETS] += 1

    def take(self, now: float) -> bool:
        """Take one retry out of the budget; False when it is spent. A ratio of 0 is no limit."""
        if self._ratio == 0:
            return True
        self._move(now)
        if sum(self._retries) + 1 > self._allowed():
            self._refused += 1
            return False
        self._retries[self._bucket % _BUCKETS] += 1
        return True

    def state(self, now: float) -> BudgetState:
        if self._ratio == 0:
            return BudgetState(None, self._refused)
        self._move(now)
        return BudgetState(max(0.0, self._allowed() - sum(self._retries)), self._refused)

    def _allowed(self) -> float:
        return max(self._minimum, self._ratio * sum(self._requests))

    def _move(self, now: float) -> None:
        bucket = int(now / self._width)
        if bucket == self._bucket:
            return
        for passed in range(max(self._bucket + 1, bucket - _BUCKETS + 1), bucket + 1):
            self._requests[passed % _BUCKETS] = 0
            self._retries[passed % _BUCKETS] = 0
        self._bucket = max(self._bucket, bucket)
