"""When the same candidate is asked again, after how long, and how often a process can afford it."""

import random
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tiergate.config import Retry
from tiergate.faults import (
    BUSY,
    DISCONNECTED,
    GARBLED,
    MISCONFIGURED,
    OVERSIZED,
    RATE_LIMITED,
    REFUSED,
    REJECTED,
    SILENT,
    STALLED,
    TOO_LONG,
    UNAVAILABLE,
    UNREACHABLE,
    AttemptFailed,
)
from tiergate.retry import BudgetState, RetryBudget, Standing, parse_retry_after, wait_before_retry

AT_FIRST = Standing(
    now=0, deadline=30, attempt_timeout=15, retried=0, others_left=True, may_retry=True
)
DEFAULTS = Retry()
WALL = 1_700_000_000.0


class Drawn(random.Random):
    """A draw that is told."""

    def __init__(self, value: float) -> None:
        self._value = value

    def random(self) -> float:
        return self._value


def wait(
    fault=UNAVAILABLE, *, asked: float | None = None, drawn: float = 0.5, settings=DEFAULTS, **at
) -> float | None:
    failure = AttemptFailed(fault, retry_after=asked)
    return wait_before_retry(failure, replace(AT_FIRST, **at), settings, Drawn(drawn))


@pytest.mark.parametrize(
    ("retried", "drawn", "seconds"),
    [(0, 0.5, 1.0), (0, 0.0, 0.8), (0, 1.0, 1.2), (1, 0.5, 2.0), (1, 0.0, 1.6), (1, 1.0, 2.4)],
)
def test_the_waits_are_one_and_two_seconds_with_a_jitter_of_a_fifth(retried, drawn, seconds):
    assert wait(retried=retried, drawn=drawn) == pytest.approx(seconds)


def test_the_waits_double_and_jitter_can_be_turned_off():
    settings = Retry(retries=5, backoff_seconds=0.5, jitter=0)
    waits = [wait(retried=k, drawn=0.9, settings=settings) for k in range(6)]
    assert waits == [0.5, 1, 2, 4, 8, None]


def test_a_huge_number_of_retries_does_not_overflow():
    settings = Retry(retries=10**9, backoff_seconds=1)
    assert wait(retried=10**8, settings=settings, deadline=1e300) == 2.0**30
    assert wait(retried=10**8, settings=settings) is None


@pytest.mark.parametrize("fault", [UNREACHABLE, DISCONNECTED, UNAVAILABLE, GARBLED])
def test_what_may_pass_is_tried_twice_more(fault):
    assert [wait(fault, retried=k) is not None for k in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(
    "fault", [SILENT, STALLED, OVERSIZED, BUSY, REFUSED, MISCONFIGURED, TOO_LONG, REJECTED]
)
@pytest.mark.parametrize("asked", [None, 0, 1])
def test_what_will_not_pass_is_not_tried_again_whatever_retry_after_says(fault, asked):
    assert wait(fault, asked=asked) is None


@pytest.mark.parametrize(
    ("fault", "asked", "seconds"),
    [
        (RATE_LIMITED, None, None),
        (RATE_LIMITED, 0, 0),
        (RATE_LIMITED, 2, 2),
        (RATE_LIMITED, 2.01, None),
        (RATE_LIMITED, 60, None),
        (UNAVAILABLE, 2, 2),
        (UNAVAILABLE, 3, None),
    ],
)
def test_a_short_retry_after_is_waited_for_exactly_and_a_long_one_is_not(fault, asked, seconds):
    assert wait(fault, asked=asked, drawn=0.9) == seconds


def test_a_wait_for_retry_after_uses_one_of_the_retries():
    assert wait(RATE_LIMITED, asked=1, retried=1) == 1
    assert wait(RATE_LIMITED, asked=1, retried=2) is None


def test_a_fallback_is_one_attempt():
    assert wait(may_retry=False) is None
    assert wait(settings=Retry(retries=0)) is None


@pytest.mark.parametrize(("now", "begins"), [(28.9, True), (29.0, False), (29.5, False)])
def test_no_retry_whose_wait_cannot_end_before_the_deadline(now, begins):
    assert (wait(now=now, others_left=False) is not None) is begins


@pytest.mark.parametrize(("now", "others_left", "begins"), [
    (13.9, True, True), (14.0, True, True), (14.1, True, False), (14.1, False, True),
])  # fmt: skip
def test_with_others_left_a_retry_needs_room_for_a_whole_attempt(now, others_left, begins):
    assert (wait(now=now, others_left=others_left) is not None) is begins


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("9" * 5000, 999_999_999),
        (formatdate(WALL + 90, usegmt=True), 90),
        (formatdate(WALL - 90, usegmt=True), 0),
        ("Tue, 14 Nov 2023 23:13:30 +0100", 10),
        ("Tue, 14 Nov 2023 22:13:30 -0000", 10),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0661", None),
        ("\u00b2", None),
        ("Wed, 32 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
        ("Wed, 21 Oct 2015 07:28:00 +2400", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(text, seconds):
    assert parse_retry_after(text, WALL) == seconds


WORDS = [
    "Wed,",
    "21",
    "Oct",
    "2015",
    "07:28:00",
    "GMT",
    "+9999",
    "-",
    ":",
    ",",
    "9" * 30,
    "é",
    "()",
]


@settings(deadline=None)
@given(st.text() | st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join))
def test_no_retry_after_breaks_the_reader(text):
    seconds = parse_retry_after(text, WALL)
    assert seconds is None or seconds >= 0


def taken(budget: RetryBudget, now: float, tries: int = 100) -> int:
    return sum(budget.take(now) for _ in range(tries))


def test_a_quiet_process_may_make_the_minimum_of_retries():
    assert taken(RetryBudget(Retry()), 0) == 10
    assert taken(RetryBudget(Retry(budget_minimum=0)), 0) == 0


def test_a_busy_process_may_retry_a_fifth_of_its_requests():
    budget = RetryBudget(Retry())
    for _ in range(200):
        budget.count_request(0)
    assert taken(budget, 0) == 40
    assert repr(budget) == "<RetryBudget 40 of 40 retries>"


def test_the_window_slides_by_tenths_and_forgets():
    budget = RetryBudget(Retry())
    assert [taken(budget, at) for at in (0.5, 3.2, 9.9, 10.0, 12.0)] == [10, 0, 0, 10, 0]
    assert taken(budget, 1_000_000.0) == 10
    steps_back = [taken(budget, at) for at in (999_999.0, 1_000_000.0)]
    assert steps_back == [0, 0]


def test_a_leap_over_the_whole_window_forgets_all_of_it():
    budget = RetryBudget(Retry())
    assert [taken(budget, at) for at in (1.5, 9.5, 20.5)] == [10, 0, 10]


def test_the_requests_that_paid_for_retries_leave_the_window_too():
    budget = RetryBudget(Retry(budget_minimum=0, budget_window_seconds=1))
    for _ in range(10):
        budget.count_request(0.05)
    assert taken(budget, 0.95) == 2
    assert taken(budget, 1.0) == 0


def test_a_ratio_of_zero_turns_the_limit_off():
    assert taken(RetryBudget(Retry(budget_ratio=0, budget_minimum=0)), 0, tries=1000) == 1000


def test_it_says_what_is_left_and_how_often_it_said_no():
    budget = RetryBudget(Retry())
    assert budget.state(0) == BudgetState(left=10, refused=0)
    assert taken(budget, 0, tries=13) == 10
    assert budget.state(0) == BudgetState(left=0, refused=3)
    assert budget.state(10) == BudgetState(left=10, refused=3)
    budget.reconfigure(Retry(budget_ratio=0))
    assert budget.state(10) == BudgetState(left=None, refused=3)


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=200),
    ratio=st.floats(0.01, 2),
    minimum=st.integers(0, 5),
)
def test_retries_in_a_window_never_exceed_their_share_and_are_refused_for_no_other_reason(
    steps, ratio, minimum
):
    """Against every event remembered; the window is the tenth that runs and the nine before it."""
    budget = RetryBudget(
        Retry(budget_ratio=ratio, budget_minimum=minimum, budget_window_seconds=10)
    )
    requests: list[int] = []
    retries: list[int] = []
    quarters = 0
    for passed, is_request in steps:
        quarters += passed
        now, tenth = quarters / 4, quarters // 4
        if is_request:
            budget.count_request(now)
            requests.append(tenth)
            continue
        share = ratio * sum(at > tenth - 10 for at in requests)
        granted = budget.take(now)
        assert granted == (sum(at > tenth - 10 for at in retries) + 1 <= max(minimum, share))
        if granted:
            retries.append(tenth)


def test_other_numbers_count_on_unless_the_window_is_another():
    budget = RetryBudget(Retry(budget_minimum=3))
    assert taken(budget, 0) == 3
    budget.reconfigure(Retry(budget_minimum=5))
    assert taken(budget, 1) == 2
    budget.reconfigure(Retry(budget_minimum=5, budget_ratio=0))
    assert taken(budget, 1, tries=50) == 50
    budget.reconfigure(Retry(budget_minimum=4, budget_window_seconds=5))
    assert taken(budget, 1) == 4
