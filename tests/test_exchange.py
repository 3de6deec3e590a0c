"""Everything known of one request: who calls, what it cost, whom it asked."""

import pytest
from wired import account

from tiergate.candidates import Candidate
from tiergate.completion import Usage
from tiergate.exchange import ANONYMOUS, Attempt, Caller, Decision, Exchange, attempts_per_provider


@pytest.mark.parametrize("settings", [{"tier": "huge"}, {"max_tier": "auto"}, {"tier": ""}])
def test_a_caller_with_an_unknown_tier_is_refused_where_it_is_made(settings):
    with pytest.raises(ValueError, match="is not a tier; one of simple, moderate, complex"):
        Caller("ada", **settings)


def test_a_caller_is_an_id_and_perhaps_two_tiers():
    caller = Caller("ada", tier="simple", max_tier="moderate")
    assert (caller.id, caller.tier, caller.max_tier) == ("ada", "simple", "moderate")
    assert Caller("anonymous") == ANONYMOUS


@pytest.mark.parametrize(
    ("candidate", "usage", "cost"),
    [
        (Candidate("p", "m", 1, 1.0, 2.0), Usage(10, 5), 0.00002),
        (Candidate("p", "m", 1), Usage(10, 5), None),
        (Candidate("p", "m", 1, 1.0, 2.0), None, None),
        (None, Usage(10, 5), None),
    ],
)
def test_a_request_has_a_cost_when_prices_and_counts_are_known(candidate, usage, cost):
    exchange = Exchange("r", 0, [], account(), candidate=candidate, usage=usage)
    assert exchange.cost == (None if cost is None else pytest.approx(cost))


def test_the_tier_that_serves_is_a_higher_one_where_it_came_to_that():
    exchange = Exchange("r", 0, [], account())
    assert exchange.tier is None
    exchange.decision = Decision("simple", "default")
    assert exchange.tier == "simple"
    exchange.escalated = "complex"
    assert exchange.tier == "complex"


def test_attempts_are_counted_per_provider_in_the_order_of_first_use():
    asked = [Candidate(name, "m", 1) for name in ("b", "a", "b", "b")]
    attempts = [Attempt(candidate=each, started=0, duration=1) for each in asked]
    assert list(attempts_per_provider(attempts).items()) == [("b", 3), ("a", 1)]
    assert attempts_per_provider([]) == {}
