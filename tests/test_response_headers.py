"""What an answer's headers say of routing and delivery: CONTRACT section 9, line by line."""

import pytest
from wired import account

from tiergate.candidates import Candidate
from tiergate.classify import Verdict
from tiergate.completion import Usage
from tiergate.config import Headers
from tiergate.errors import (
    Answerable,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ProviderFailed,
    RateLimited,
    Refused,
    Rejected,
    RequestTimeout,
    TierNotConfigured,
    Unavailable,
)
from tiergate.exchange import Attempt, Decision, Exchange
from tiergate.response_headers import error_headers, our_headers
from tiergate.wire import parse_request

A = Candidate("alpha", "small", 1, input_price=0.5, output_price=1.5)
B = Candidate("beta", "large", 5)
DECISION = Decision("complex", "explicit")


def said(exchange: Exchange, *, opened: bool = False, **settings) -> dict[str, str]:
    pairs = our_headers(exchange, Headers(**settings), latency=0.0126, opened=opened)
    assert len(dict(pairs)) == len(pairs)
    return {name.decode(): value.decode() for name, value in pairs}


def attempts(*candidates: Candidate) -> tuple[Attempt, ...]:
    return tuple(Attempt(candidate, started=0, duration=1) for candidate in candidates)


def test_before_anything_is_known_there_are_an_id_and_a_time():
    assert said(Exchange("id", 0, [], account())) == {
        "x-arbstr-request-id": "id",
        "x-arbstr-latency-ms": "13",
    }


def test_routing_is_told_as_soon_as_it_has_decided():
    told = said(Exchange("id", 0, [], account(), decision=DECISION))
    assert (told["x-sentinel-tier"], told["x-sentinel-reason"]) == ("complex", "explicit")
    assert not {"x-sentinel-model", "x-arbstr-provider", "x-arbstr-retries"} & told.keys()


@pytest.mark.parametrize(
    ("score", "told"), [(0.5, "0.500"), (0.12345, "0.123"), (0.9996, "1.000"), (0.0, "0.000")]
)
def test_a_score_has_three_decimals_whatever_raised_the_tier(score, told):
    verdict = Verdict(score, "simple", ())
    for decision in (Decision("simple", "auto", None, verdict),
                     Decision("complex", "session", None, verdict)):  # fmt: skip
        seen = said(Exchange("id", 0, [], account(), decision=decision))
        assert (seen["x-sentinel-score"], seen["x-sentinel-tier"]) == (told, decision.tier)


def test_who_was_not_scored_has_no_score():
    assert "x-sentinel-score" not in said(Exchange("id", 0, [], account(), decision=DECISION))


def test_the_tier_is_that_which_serves_and_before_anybody_serves_that_which_was_decided():
    low = Decision("simple", "default")
    exchange = Exchange("id", 0, [], account(), decision=low, escalated="complex")
    assert said(exchange)["x-sentinel-tier"] == "complex"
    begun = our_headers(exchange, Headers(), latency=1, opened=True, decided_only=True)
    assert dict(begun)[b"x-sentinel-tier"] == b"simple"


def test_a_chosen_candidate_that_was_not_asked_is_told_as_a_model_only():
    told = said(Exchange("id", 0, [], account(), decision=DECISION, candidate=A))
    assert told["x-sentinel-model"] == "small"
    assert "x-arbstr-provider" not in told


@pytest.mark.parametrize(
    ("asked", "provider", "model", "retries"),
    [
        ((A,), "alpha", "small", None),
        ((A, A), "alpha", "small", "2/alpha"),
        ((A, A, B), "beta", "large", "2/alpha, 1/beta"),
        ((B, A, B), "beta", "large", "2/beta, 1/alpha"),
    ],
)
def test_the_last_attempt_and_the_count_of_all_are_told(asked, provider, model, retries):
    told = said(Exchange("id", 0, [], account(), candidate=asked[-1], attempts=attempts(*asked)))
    assert told["x-arbstr-provider"] == provider
    assert told["x-sentinel-model"] == model
    assert told.get("x-arbstr-retries") == retries


def test_provider_and_model_are_of_one_attempt_when_the_next_candidate_had_no_connection():
    told = said(Exchange("id", 0, [], account(), candidate=B, attempts=attempts(A)))
    assert (told["x-arbstr-provider"], told["x-sentinel-model"]) == ("alpha", "small")


def test_a_stream_is_called_one_and_has_no_latency_or_cost():
    request = parse_request(b'{"messages":[],"stream":true}')
    exchange = Exchange("id", 0, [], account(), request=request, candidate=A, usage=Usage(1, 1))
    opened, refused = said(exchange, opened=True), said(exchange)
    assert opened["x-arbstr-streaming"] == refused["x-arbstr-streaming"] == "true"
    assert not {"x-arbstr-latency-ms", "x-arbstr-cost-usd"} & opened.keys()
    assert refused["x-arbstr-latency-ms"] == "13"


def test_an_answer_to_a_request_that_is_no_stream_is_not_called_one():
    exchange = Exchange("id", 0, [], account(), request=parse_request(b'{"messages":[]}'))
    assert "x-arbstr-streaming" not in said(exchange)


@pytest.mark.parametrize(
    ("candidate", "usage", "cost"),
    [
        (A, Usage(10, 5), "0.00001250"),
        (A, Usage(0, 0), "0.00000000"),
        (A, Usage(10, None), None),
        (A, None, None),
        (B, Usage(10, 5), None),
    ],
)
def test_cost_has_eight_decimals_and_is_absent_when_unknown(candidate, usage, cost):
    exchange = Exchange("id", 0, [], account(), candidate=candidate, usage=usage)
    assert said(exchange).get("x-arbstr-cost-usd") == cost


@pytest.mark.parametrize(
    ("expose", "seen"),
    [
        (("*",), {"x-sentinel-tier", "x-sentinel-reason", "x-arbstr-latency-ms"}),
        (("X-Sentinel-Tier",), {"x-sentinel-tier"}),
        (("x-arbstr-retries",), set()),
        ((), set()),
    ],
)
def test_clients_see_what_is_exposed_and_always_the_request_id(expose, seen):
    told = said(Exchange("id", 0, [], account(), decision=DECISION), expose=expose)
    assert told.keys() == seen | {"x-arbstr-request-id"}


@pytest.mark.parametrize(
    ("error", "retry_after", "may_retry"),
    [
        (InvalidRequest("x"), None, True),
        (Rejected(422, "x", provider="p"), None, True),
        (ModelNotFound("x"), None, True),
        (RequestTimeout("x"), None, True),
        (Refused(429, retry_after=7), b"7", True),
        (InternalError("x"), None, False),
        (ProviderFailed("x"), None, False),
        (DeadlineExceeded("x"), None, False),
        (RateLimited("x", retry_after=1), b"1", False),
        (TierNotConfigured("x"), None, True),
        (Overloaded("x", retry_after=1), b"1", True),
        (Unavailable("x", retry_after=2), b"2", True),
        (Unavailable("x", retry_after=2.1), b"3", False),
        (Unavailable("x", retry_after=0), b"1", True),
    ],
)
def test_an_error_says_when_to_come_back_and_whether(
    error: Answerable, retry_after: bytes | None, may_retry: bool
):
    told = dict(error_headers(error, Headers()))
    assert told.pop(b"content-type") == b"application/json"
    assert told.pop(b"retry-after", None) == retry_after
    assert told == ({} if may_retry else {b"x-should-retry": b"false"})
    assert b"x-should-retry" not in dict(error_headers(error, Headers(client_retries=True)))
