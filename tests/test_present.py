"""An outcome as a reply: whose status, headers and body a client gets, and when it may try again.

Which headers of ours there are is in `test_response_headers`; `test_gateway` asks for all of it.
"""

import pytest
from wired import account

from tiergate.attempt import Delivered
from tiergate.candidates import Candidate
from tiergate.config import Headers, Provider
from tiergate.endpoint import compile_endpoints
from tiergate.errors import ModelNotFound, ProviderFailed
from tiergate.exchange import Attempt, Decision, Exchange
from tiergate.present import begun, presented, refusal
from tiergate.relay import Relay, StreamLimits
from tiergate.reply import Reply
from tiergate.testing import Say, ScriptedTransport
from tiergate.transcript import Transcript

ENDPOINT = compile_endpoints({"p1": Provider(base_url="http://h.test")}, {})["p1"]
CANDIDATE = Candidate("p1", "m1", 1)


def exchange() -> Exchange:
    """Of a request that `p1/m1` was asked for."""
    made = Exchange("id-1", 0, [], account(), decision=Decision("simple", "session"))
    made.candidate, made.attempts = CANDIDATE, (Attempt(CANDIDATE, 0, 1),)
    return made


def said(reply: Reply) -> dict[str, str]:
    pairs = {name.decode(): value.decode() for name, value in reply.headers}
    assert len(pairs) == len(reply.headers)  # none comes twice
    return pairs


def test_an_answer_is_the_providers_with_our_headers_and_the_harmless_of_its_own():
    theirs = ((b"Content-Type", b"text/x"), (b"Set-Cookie", b"a=b"), (b"X-Request-Id", b"r"))
    delivered = Delivered(ENDPOINT, 201, theirs, b"body")
    reply = presented(exchange(), delivered, Headers(), 0.25)
    assert (reply.status, reply.body, reply.stream) == (201, b"body", None)
    told = said(reply)
    assert (told["content-type"], told["x-request-id"]) == ("text/x", "r")
    assert (told["x-arbstr-latency-ms"], told["x-sentinel-reason"]) == ("250", "session")
    assert "set-cookie" not in told


def test_what_says_nothing_of_its_type_is_json():
    reply = presented(exchange(), Delivered(ENDPOINT, 200, (), b"{}"), Headers(), 0)
    assert said(reply)["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "settings", "hushed"),
    [(409, Headers(), True), (409, Headers(client_retries=True), False), (400, Headers(), False)],
)
def test_what_official_clients_would_try_again_they_are_told_not_to(status, settings, hushed):
    reply = presented(exchange(), Delivered(ENDPOINT, status, (), b"{}"), settings, 0)
    assert said(reply).get("x-should-retry") == ("false" if hushed else None)


async def test_a_stream_has_the_type_of_one_and_no_latency():
    transport = ScriptedTransport({"p1": Say.stream()})
    made = exchange()
    relay = Relay(
        await transport.post(ENDPOINT, [], b""),
        Transcript(choices=1, relay_usage=False, max_event_bytes=1000),
        b"",
        StreamLimits(first_token=1, idle=1, send=1),
        made,
    )
    theirs = ((b"Content-Type", b"text/event-stream"), (b"X-Request-Id", b"r"))
    reply = presented(made, Delivered(ENDPOINT, 200, theirs, relay=relay), Headers(), 0.25)
    told = said(reply)
    assert told["content-type"] == "text/event-stream; charset=utf-8"
    assert (told["x-request-id"], told["cache-control"]) == ("r", "no-cache")
    assert (told["x-sentinel-model"], "x-arbstr-latency-ms" in told) == ("m1", False)
    assert reply.stream is relay
    early = begun(made, relay, Headers(), 0.25)
    assert (early.status, early.stream) == (200, relay)
    assert said(early)["content-type"] == "text/event-stream; charset=utf-8"
    assert said(early)["x-sentinel-tier"] == "simple"
    assert said(early).keys().isdisjoint({"x-sentinel-model", "x-arbstr-provider"})
    await relay.close()


@pytest.mark.parametrize(
    ("error", "status", "hushed"),
    [
        (ModelNotFound("no such model", param="model"), 404, False),
        (ProviderFailed("it failed", provider="p1"), 502, True),
    ],
)
def test_a_refusal_is_an_error_in_the_one_shape_with_our_headers(error, status, hushed):
    reply = refusal(exchange(), error, Headers(), 0.25)
    assert (reply.status, reply.body, reply.stream) == (status, error.body(), None)
    told = said(reply)
    assert told["content-type"] == "application/json"
    assert (told["x-arbstr-request-id"], told["x-sentinel-tier"]) == ("id-1", "simple")
    assert told.get("x-should-retry") == ("false" if hushed else None)
