"""What spans say: the conventions' names, nothing that is unknown, and nothing that is a secret."""

from typing import Any

import pytest
from wired import account

from tiergate import spans
from tiergate.candidates import Candidate, Share
from tiergate.classify import Verdict
from tiergate.completion import Usage
from tiergate.config import Provider
from tiergate.endpoint import compile_endpoints
from tiergate.exchange import Attempt, Decision, Exchange
from tiergate.policies import Applied, Rule
from tiergate.request_headers import read_headers
from tiergate.wire import parse_request

P1 = Candidate("p1", "m", 1)


def exchange(body: bytes = b'{"messages":[]}', **facts: Any) -> Exchange:
    """A request that was decided."""
    made = Exchange("id-1", 0, [], account())
    made.request, made.headers = parse_request(body), read_headers([])
    made.decision = Decision("moderate", "default")
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def endpoint(name: str, **settings: Any) -> Any:
    return compile_endpoints({name: Provider(**settings)}, {name: "hush"})[name]


# --- a request that arrives


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/team/a/v1/chat/completions", "/v1/chat/completions"),
        ("/users/42/chat", None),
    ],
)
def test_only_a_path_of_ours_is_a_route(path, route):
    assert spans.route_of(path, frozenset({"/v1/chat/completions"})) == route
    facts = spans.request_facts(exchange(), path, "https", route)
    assert (facts["url.path"], facts["url.scheme"], facts.get("http.route")) == (
        path,
        "https",
        route,
    )


@pytest.mark.parametrize(
    ("path", "told"), [("/a\udcff", "/a?"), ("/ü", "/ü"), ("/" + "x" * 999, "/" + "x" * 255)]
)
def test_a_path_that_no_exporter_could_encode_is_mended(path, told):
    assert spans.request_facts(exchange(), path, "http", None)["url.path"] == told


# --- a decision


def test_what_nobody_said_is_left_out():
    assert spans.decision_facts(exchange()) == {
        "sentinel.tier": "moderate",
        "sentinel.reason": "default",
        "sentinel.stream": False,
    }


def test_a_model_that_a_client_made_up_is_cut_to_a_length():
    made = exchange(
        b'{"messages":[],"model":"%s"}' % (b"x" * 1000), requested=Decision("simple", "default")
    )
    facts = spans.decision_facts(made)
    assert facts["sentinel.requested_model"] == "x" * 256
    assert facts["sentinel.requested_tier"] == "simple"


def test_a_score_and_a_policy_are_told_where_there_are_any():
    made = exchange(policy=Applied(Rule("legal", frozenset(), (), None), binding=False))
    made.decision = Decision("moderate", "session", None, Verdict(0.41234, "moderate", ()))
    facts = spans.decision_facts(made)
    assert (facts["sentinel.score"], facts["sentinel.policy"]) == (0.41234, "legal")


def test_a_higher_tier_that_served_is_told_of_its_attempt_and_in_the_end():
    made = exchange(escalated="complex")
    assert spans.decision_facts(made)["sentinel.tier"] == "moderate"
    where = endpoint("p1", base_url="http://h.test")
    assert spans.attempt_facts(made, P1, where, 0)["sentinel.tier"] == "complex"
    assert spans.request_end_facts(made, "ok")["sentinel.tier"] == "complex"


def test_of_a_large_pool_the_first_are_told():
    pool = [Share(f"p{number}", "m", "available", 0.001234567, 1.23456) for number in range(100)]
    facts = spans.candidates_facts(pool)
    assert {len(each) for each in facts.values() if isinstance(each, list)} == {64}
    assert facts["sentinel.candidates.share"] == [0.0012] * 64
    assert facts["sentinel.candidates.seconds_left"] == [1.235] * 64


# --- an attempt


@pytest.mark.parametrize(
    ("name", "base_url", "told"),
    [
        ("openai", "https://api.openai.com/v1", ("openai", "api.openai.com", 443)),
        ("gemini", "https://g.test/v1beta/openai", ("gcp.gemini", "g.test", 443)),
        ("mistral", "https://m.test:444/v1", ("mistral_ai", "m.test", 444)),
        ("local", "http://[::1]/v1", ("local", "::1", 80)),
    ],
)
def test_a_provider_is_told_by_the_name_that_the_conventions_have_for_it(name, base_url, told):
    facts = spans.attempt_facts(exchange(), P1, endpoint(name, base_url=base_url), 0)
    names = ("gen_ai.provider.name", "server.address", "server.port")
    assert tuple(facts[each] for each in names) == told
    assert facts["url.full"] == f"{base_url}/chat/completions"
    assert facts["sentinel.provider"] == name


def test_no_query_is_told_for_there_may_be_a_key_in_it():
    where = endpoint("azure", base_url="https://a.test/openai?api-version=1&api-key=hush")
    facts = spans.attempt_facts(exchange(), P1, where, 2)
    assert facts["url.full"] == "https://a.test/openai/chat/completions"
    assert "hush" not in str(facts)
    assert facts["http.request.resend_count"] == 2


def test_one_attempt_does_not_write_into_the_facts_of_the_next():
    where = endpoint("p1", base_url="http://h.test")
    spans.attempt_facts(exchange(), P1, where, 1)["x"] = 1
    assert "x" not in spans.attempt_facts(exchange(), P1, where, 0)
    assert "http.request.resend_count" not in spans.attempt_facts(exchange(), P1, where, 0)


USED = {
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 0,
    "gen_ai.usage.cache_read.input_tokens": 4,
}
ENDS: dict[str, tuple[dict[str, Any], Usage | None, float | None, dict[str, Any], bool]] = {
    "well": ({"status": 200}, Usage(10, 0, 4), None, {**USED}, False),
    "with counts that are unknown": ({"status": 200}, Usage(), None, {}, False),
    "after its first token": (
        {"status": 200},
        None,
        3.5,
        {"gen_ai.response.time_to_first_chunk": 1.5},
        False,
    ),
    "with a fault": (
        {"status": 503, "fault": "unavailable"},
        None,
        None,
        {"error.type": "unavailable"},
        True,
    ),
    "without an answer": ({"fault": "timeout"}, None, None, {"error.type": "timeout"}, True),
    "left by its client": (
        {"fault": "abandoned"},
        None,
        None,
        {"sentinel.abandoned": True},
        False,
    ),
    "after a stale connection": (
        {"status": 200, "resent": True},
        None,
        None,
        {"sentinel.resent": True},
        False,
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_an_attempt_ends(case):
    said, usage, first_token, told, failed = ENDS[case]
    attempt = Attempt(P1, started=2.0, duration=1.0, **said)
    status = {"http.response.status_code": said["status"]} if "status" in said else {}
    assert spans.attempt_end_facts(attempt, usage, first_token) == {**status, **told}
    assert spans.has_failed(attempt) is failed


# --- the end of a request

REQUESTS: dict[str, tuple[dict[str, Any], Any, dict[str, Any], bool]] = {
    "well": (
        {
            "status": 200,
            "overhead": 0.1,
            "usage": Usage(1, 1),
            "candidate": Candidate("p", "m", 1, 1.0, 1.0),
        },
        "ok",
        {"sentinel.overhead_seconds": 0.1, "sentinel.cost_usd": pytest.approx(2e-6)},
        False,
    ),
    "refused": (
        {"status": 400, "error_code": "invalid_request"},
        "client_error",
        {"sentinel.error_code": "invalid_request"},
        False,
    ),
    "left": ({"error_code": None}, "client_disconnected", {}, False),
    "limited": (
        {"status": 429, "error_code": "rate_limit_exceeded"},
        "upstream_error",
        {"sentinel.error_code": "rate_limit_exceeded"},
        False,
    ),
    "late": (
        {"status": 504, "error_code": "deadline_exceeded"},
        "timeout",
        {"sentinel.error_code": "deadline_exceeded", "error.type": "504"},
        True,
    ),
    "cut": (
        {"status": 200, "error_code": "stream_interrupted", "events_dropped": 3},
        "stream_interrupted",
        {
            "sentinel.error_code": "stream_interrupted",
            "sentinel.events_dropped": 3,
            "error.type": "stream_interrupted",
        },
        True,
    ),
    "without an answer": ({}, "upstream_error", {"error.type": "_OTHER"}, True),
    "with a novel for a code": (
        {"status": 502, "error_code": "x" * 999},
        "upstream_error",
        {"sentinel.error_code": "x" * 256, "error.type": "502"},
        True,
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_ends(case):
    said, outcome, told, failed = REQUESTS[case]
    made = exchange(**said)
    status = {"http.response.status_code": said["status"]} if "status" in said else {}
    assert spans.request_end_facts(made, outcome) == {
        "sentinel.outcome": outcome,
        "sentinel.attempts": 0,
        **status,
        **told,
    }
    assert spans.is_failure(made, outcome) is failed
