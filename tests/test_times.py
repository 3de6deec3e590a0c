"""How long a request may take: each number from its table, shortened by the client alone."""

import pytest
from attempts import Attempts
from msgspec.structs import replace

from tiergate.config import Config, Retry, RetryTimes, Streaming
from tiergate.opening import Commit
from tiergate.request_headers import read_headers
from tiergate.testing import Say
from tiergate.times import times_for, times_of

CONFIG = Config(
    retry=Retry(tiers={"complex": RetryTimes(attempt_timeout_seconds=90, deadline_seconds=120)}),
    streaming=Streaming(first_token_timeout_seconds=10, buffered_deadline_seconds=60),
)


@pytest.mark.parametrize(
    ("tier", "asked", "commit", "expected"),
    [
        ("simple", None, None, (30, 15, 15)),
        ("simple", 4, None, (4, 2, 15)),  # half of what the client allows; blame takes the whole
        ("simple", 99, None, (30, 15, 15)),  # it may only be shortened
        ("complex", None, None, (120, 90, 90)),
        ("simple", None, Commit.FIRST_BYTE, (12, 10, 10)),  # the wait before it is not its own
        ("simple", 3, Commit.FIRST_BYTE, (3, 10, 10)),
        ("simple", None, Commit.FIRST_TOKEN, (30, 10, 10)),
        ("simple", None, Commit.COMPLETE, (60, 10, 10)),
        ("simple", 5, Commit.COMPLETE, (5, 10, 10)),
    ],
)
def test_the_times_of_a_request(tier, asked, commit, expected):
    times = times_of(CONFIG, tier, asked, commit, waited=2)
    assert (times.deadline, times.attempt, times.full) == expected


@pytest.mark.parametrize(
    ("tiers", "asked", "expected"),
    [
        (("simple", "simple"), None, {"simple": (30, 15, 15)}),
        (("complex",), None, {"complex": (120, 90, 90)}),
        (("simple", "complex"), None, {"simple": (30, 15, 15), "complex": (30, 90, 90)}),
        (("simple", "complex"), 4, {"simple": (4, 2, 15), "complex": (4, 90, 90)}),
    ],
)
async def test_every_tier_has_its_own_times_within_the_deadline_of_the_first(
    tiers, asked, expected
):
    made = Attempts(Say.completion())
    made.exchange.headers = replace(read_headers([]), deadline_seconds=asked)
    told = times_for(replace(made.tools, config=CONFIG), made.exchange, Commit.FIRST_TOKEN, tiers)
    assert {tier: (t.deadline, t.attempt, t.full) for tier, t in told.items()} == expected
