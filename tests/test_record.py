"""A record says what is known of a request that has ended, and None of what is not.

How requests come to end so is in `test_outcomes`; here are exchanges as they may be left.
"""

from typing import Any

import pytest
from wired import account

from tiergate.candidates import Candidate, Share, make_reach
from tiergate.classify import Verdict
from tiergate.completion import Usage
from tiergate.errors import (
    Answerable,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    Overloaded,
    ProviderFailed,
    RateLimited,
    Refused,
    RequestTimeout,
    TierNotConfigured,
    Unavailable,
)
from tiergate.estimate import Estimate
from tiergate.exchange import ANONYMOUS, Attempt, Caller, Decision, Exchange
from tiergate.policies import Applied, Rule
from tiergate.profile import Profile
from tiergate.record import AttemptRecord, outcome_of, record_of
from tiergate.request_headers import read_headers
from tiergate.wire import parse_request

P1 = Candidate("p1", "m1", 1, 1.0, 2.0)
ATTEMPT = Attempt(candidate=P1, started=0.25, duration=1.5, status=200)


def exchange(**members: Any) -> Exchange:
    return Exchange("id-1", 5.0, [], account(), **members)


def test_of_a_request_of_which_nothing_is_known_everything_is_none():
    record = record_of(exchange(arrived_at=1_700_000_000.123456, client_left=True), 0.0000014)
    unknown = {name for name in record.__struct_fields__ if getattr(record, name) is None}
    told = {"id", "at", "owner", "streaming", "attempts", "outcome", "partial", "latency_us"}
    assert unknown == set(record.__struct_fields__) - told - {"pool"}
    assert (record.at, record.latency_us) == (1_700_000_000_123_456, 1)
    assert (record.attempts, record.pool, record.partial) == ((), (), False)


class Trace:
    id = "0" * 32


def test_what_is_known_is_told_in_its_units():
    pairs = [(b"x-request-id", b"mine"), (b"authorization", b"Bearer k")]
    pool = (Share("p1", "m1", "available", 1.0),)
    record = record_of(
        exchange(
            headers=read_headers(pairs),
            request=parse_request(b'{"messages": [], "model": "gpt-4o", "stream": true}'),
            caller=Caller("ada"),
            requested=Decision("simple", "explicit"),
            decision=Decision("moderate", "session"),
            candidate=P1,
            attempts=(Attempt(P1, 0, 0.1, fault="unreachable"), ATTEMPT),
            pool=pool,
            status=200,
            usage=Usage(10, 5, 4),
            first_token=0.5,
            overhead=0.00012,
            trace=Trace(),
        ),
        1.75,
    )
    assert (record.client_id, record.requested_model, record.streaming) == ("mine", "gpt-4o", True)
    assert (record.requested_tier, record.tier, record.reason) == ("simple", "moderate", "session")
    assert (record.provider, record.model, record.pool) == ("p1", "m1", pool)
    assert record.attempts == (
        AttemptRecord("p1", "m1", None, "unreachable", 0, 100_000),
        AttemptRecord("p1", "m1", 200, None, 250_000, 1_500_000),
    )
    assert (record.input_tokens, record.cached_tokens, record.output_tokens) == (10, 4, 5)
    assert record.cost == pytest.approx(0.00002)
    assert (record.latency_us, record.first_token_us) == (1_750_000, 500_000)
    assert (record.overhead_us, record.trace_id) == (120, "0" * 32)
    assert (record.outcome, record.error_code, record.partial) == ("ok", None, False)


def test_what_another_configuration_would_need_to_know_is_told():
    reach = make_reach((("moderate", (P1,)),), drawn=True)
    profile = Profile(Estimate(7, 256, output_assumed=True), ("vision",), {"code": 1.0})
    record = record_of(
        exchange(
            caller=Caller("ada", tier="simple", max_tier="moderate"),
            requested=Decision("simple", "default"),
            decision=Decision("moderate", "session", verdict=Verdict(0.7, "complex", ())),
            policy=Applied(Rule("thrift", frozenset(), (), None), binding=False),
            profile=profile,
            reach=reach,
            escalated="complex",
            status=200,
        ),
        1,
    )
    assert (record.requested_tier, record.requested_reason) == ("simple", "default")
    assert (record.tier, record.reason, record.score) == ("complex", "session", 0.7)
    assert (record.caller_tier, record.caller_max_tier) == ("simple", "moderate")
    assert (record.policy, record.policy_binds) == ("thrift", False)
    assert (record.reach, record.profile) == (reach.digest, profile)


@pytest.mark.parametrize(
    ("body", "header", "told"),
    [
        (b'{"messages": [], "conversation_id": "b"}', b"h", "b"),
        (b'{"messages": []}', b"h", "h"),
        (None, b"h", "h"),
    ],
)
def test_a_conversation_is_named_by_the_body_or_else_by_the_header(body, header, told):
    headers = read_headers([(b"x-sentinel-conversation", header)])
    request = parse_request(body) if body is not None else None
    assert record_of(exchange(headers=headers, request=request), 0).conversation == told


def test_an_owner_is_the_same_for_the_same_key_and_never_the_key():
    def owner(caller: Caller, key: bytes) -> str:
        headers = read_headers([(b"authorization", key)])
        return record_of(exchange(headers=headers, caller=caller), 0).owner

    keys = [owner(ANONYMOUS, key) for key in (b"Bearer a", b"Bearer b", b"Bearer a")]
    assert keys[0] == keys[2] != keys[1]
    assert owner(Caller("ada"), b"Bearer a") not in keys
    assert "Bearer" not in "".join(keys)


def test_what_others_choose_freely_is_kept_to_a_length():
    request = parse_request(b'{"messages": [], "model": "%s"}' % (b"x" * 10_000))
    left = exchange(request=request, status=400)
    left.fail(400, "y" * 10_000)
    record = record_of(left, 0)
    assert (record.requested_model, record.error_code) == ("x" * 256 + "…", "y" * 256 + "…")
    left.fail(400, "y" * 256)
    assert record_of(left, 0).error_code == "y" * 256


@pytest.mark.parametrize(
    ("usage", "is_partial", "partial"),
    [(Usage(1, 1), True, True), (Usage(1, 1), False, False), (None, True, False)],
)
def test_partial_is_said_of_tokens_only(usage, is_partial, partial):
    assert record_of(exchange(usage=usage, is_partial=is_partial), 0).partial is partial


@pytest.mark.parametrize("in_band", [False, True])
@pytest.mark.parametrize(
    ("error", "asked", "outcome"),
    [
        (InvalidRequest("m"), False, "client_error"),
        (RequestTimeout("m"), False, "client_error"),
        (Refused(403), False, "client_error"),
        (Refused(429), False, "client_error"),
        (RateLimited("m"), True, "upstream_error"),
        (ProviderFailed("m"), True, "upstream_error"),
        (Unavailable("m"), False, "upstream_error"),
        (TierNotConfigured("m"), False, "upstream_error"),
        (InternalError("m"), False, "upstream_error"),
        (Overloaded("m"), False, "overloaded"),
        (DeadlineExceeded("m"), True, "timeout"),
    ],
    ids=lambda value: value.code if isinstance(value, Answerable) else None,
)
def test_an_error_has_its_outcome_wherever_it_is_said(error, asked, outcome, in_band):
    left = exchange(attempts=(ATTEMPT,) if asked else (), status=200 if in_band else error.status)
    left.fail(error.status, error.code)
    assert outcome_of(left) == outcome


@pytest.mark.parametrize(
    ("members", "outcome"),
    [
        ({"status": 200}, "ok"),
        ({"status": 204}, "ok"),
        ({"status": None}, "client_disconnected"),  # cancelled: nobody has answered
        ({"status": 200, "client_left": True}, "client_disconnected"),
        ({"status": 502, "error_status": 502, "client_left": True}, "client_disconnected"),
        ({"status": 200, "error_code": "stream_stalled"}, "stream_interrupted"),
        (
            {"status": 200, "error_code": "stream_stalled", "client_left": True},
            "stream_interrupted",
        ),
        ({"status": 200, "error_code": "overloaded"}, "stream_interrupted"),
        ({"status": 400, "error_status": 400, "error_code": "overloaded"}, "client_error"),
    ],
)
def test_an_answer_that_began_is_judged_by_how_it_ended(members, outcome):
    assert outcome_of(exchange(**members)) == outcome
