"""Delivery: CONTRACT section 7 row by row, and section 8 with failover off, in virtual time.

Who was asked and when, what the client got, and that nothing stays open whatever happened.
"""

import asyncio
import itertools
import random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergate import Gateway, Reply
from tiergate.errors import ClientGone
from tiergate.exchange import Exchange
from tiergate.faults import BUSY, DISCONNECTED, GARBLED, STALE, UNREACHABLE, Fault
from tiergate.record import outcome_of
from tiergate.testing import Say, ScriptedTransport, VirtualLoop

FINE = Say.completion("hi")
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
WALL = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
OFF = {"initial_backoff_seconds": 0}
"""The health of a world where the next request finds everybody available again."""


def failing(fault: Fault) -> Say:
    return Say(fault=fault)


def saying(body: bytes, status: int = 200) -> Say:
    return Say(status, (body,))


class World(NamedTuple):
    gateway: Gateway
    transport: ScriptedTransport


class Told(NamedTuple):
    """What became of a request."""

    reply: Reply
    exchange: Exchange
    calls: list[tuple[str, float]]
    seconds: float

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def code(self) -> str:
        return str(msgspec.json.decode(self.reply.body)["error"]["code"])

    def header(self, name: str) -> str | None:
        values = [value.decode() for key, value in self.reply.headers if key == name.encode()]
        return values[0] if values else None


def world(
    script: dict[str, Any], *, provider: dict[str, Any] | None = None, seed: int = 7, **tables: Any
) -> World:
    """Providers of the script, all offering `m`: routed by model they are asked in their order."""
    offers = [
        {"provider": name, "model": "m", "relative_cost": cost}
        for cost, name in enumerate(script, 1)
    ]
    given = {
        "providers": {name: {"base_url": "http://h.test", **(provider or {})} for name in script},
        "tiers": {"moderate": offers},
        **tables,
        "retry": {"jitter": 0, **tables.get("retry", {})},
    }
    transport, loop = ScriptedTransport(script), asyncio.get_running_loop()
    gateway = Gateway(
        given,
        transport=transport,
        clock=loop.time,
        wall=lambda: WALL + loop.time(),
        chance=random.Random(seed),
        environ={},
    )
    return World(gateway, transport)


async def ask(world: World, *, stream: bool = False, headers: dict[str, str] | None = None) -> Told:
    loop = asyncio.get_running_loop()
    pairs = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    body = msgspec.json.encode({"model": "m", "messages": [], "stream": stream})
    exchange = world.gateway.begin(pairs)
    begun = loop.time()
    async with world.gateway.handle(exchange, body) as reply:
        seconds = loop.time() - begun
    assert world.transport.open == 0
    return Told(reply, exchange, world.transport.calls(), seconds)


# --- the same candidate again, then the next


AGAIN = {
    "cannot connect": failing(UNREACHABLE),
    "reset before headers": failing(DISCONNECTED),
    "garbage instead of a status line": failing(GARBLED),
    **{str(status): Say.error(status) for status in (500, 502, 503, 504, 529, 408, 425)},
    "200 that is not JSON": saying(b"<html>"),
    "200 without choices": saying(b"{}"),
    "200 with an error object": saying(b'{"choices": [], "error": {"message": "no"}}'),
    "an empty 200": Say(200),
    "a body that is cut": Say(200, (b'{"choices"',), cut=True),
}


@pytest.mark.parametrize("met", AGAIN.values(), ids=AGAIN)
async def test_a_fault_that_may_pass_is_retried_with_growing_waits_and_then_left(met):
    told = await ask(world({"p1": met, "p2": FINE}))
    assert told.calls == [("p1", 0), ("p1", 1), ("p1", 3), ("p2", 3)]
    assert (told.status, told.header("x-arbstr-retries")) == (200, "3/p1, 1/p2")
    assert told.reply.body == FINE.pieces[0]
    assert told.header("x-arbstr-provider") == "p2"


@pytest.mark.parametrize("met", AGAIN.values(), ids=AGAIN)
async def test_with_nobody_left_a_fault_that_may_pass_ends_in_502(met):
    told = await ask(world({"p1": met}))
    assert told.calls == [("p1", 0), ("p1", 1), ("p1", 3)]
    assert (told.status, told.code) == (502, "provider_error")
    assert told.header("x-arbstr-retries") == "3/p1"


async def test_one_503_costs_a_second_and_is_told():
    told = await ask(world({"p1": [Say.error(503), FINE], "p2": FINE}))
    assert told.calls == [("p1", 0), ("p1", 1)]
    assert (told.status, told.header("x-arbstr-retries")) == (200, "2/p1")


async def test_the_waits_are_jittered_by_a_fifth_at_most():
    waits = []
    for seed in range(20):
        made = world({"p1": Say.error(503), "p2": FINE}, seed=seed, retry={"jitter": 0.2})
        told = await ask(made)
        assert [name for name, _ in told.calls] == ["p1", "p1", "p1", "p2"]
        (_, first), (_, second) = told.calls[1:3]
        waits.append((first, (second - first) / 2))
    spread = [wait for pair in waits for wait in pair]
    assert 0.8 <= min(spread) < 0.9
    assert 1.1 < max(spread) <= 1.2


async def test_a_fallback_gets_one_attempt():
    told = await ask(world({"p1": Say.error(503), "p2": Say.error(503), "p3": FINE}))
    assert told.calls == [("p1", 0), ("p1", 1), ("p1", 3), ("p2", 3)]
    assert (told.status, told.header("x-arbstr-retries")) == (502, "3/p1, 1/p2")


async def test_two_fallbacks_reach_the_third_candidate():
    script = {"p1": Say.error(503), "p2": Say.error(503), "p3": FINE, "p4": FINE}
    told = await ask(world(script, retry={"retries": 0, "fallbacks": 2}))
    assert told.calls == [("p1", 0), ("p2", 0), ("p3", 0)]
    assert told.header("x-arbstr-retries") == "1/p1, 1/p2, 1/p3"


async def test_no_retries_and_no_fallbacks_mean_one_attempt():
    told = await ask(
        world({"p1": Say.error(503), "p2": FINE}, retry={"retries": 0, "fallbacks": 0})
    )
    assert (told.calls, told.status) == ([("p1", 0)], 502)
    assert told.header("x-arbstr-retries") is None


async def test_a_spent_budget_moves_on_at_once_and_fallbacks_are_not_charged():
    made = world({"p1": Say.error(503), "p2": FINE}, retry={"budget_minimum": 3}, health=OFF)
    assert len((await ask(made)).calls) == 4
    assert len((await ask(made)).calls) == 7  # the third retry of three
    told = await ask(made)
    assert [name for name, _ in told.calls[7:]] == ["p1", "p2"]
    assert (told.status, told.seconds) == (200, 0)


async def test_the_budget_is_a_share_of_the_requests_in_its_window():
    settings = {"budget_minimum": 0, "budget_ratio": 0.5, "retries": 1, "fallbacks": 0}
    made = world({"p1": Say.error(503)}, retry=settings, health=OFF)
    asked = []
    for _ in range(6):
        before = len(made.transport.sent)
        await ask(made)
        asked.append(len(made.transport.sent) - before)
    assert asked == [1, 2, 1, 2, 1, 2]


# --- left at once


LEFT = {
    "501": Say.error(501),
    "505": Say.error(505),
    "402": Say.error(402),
    "a redirect": Say.error(307),
    "401 to our key": Say.error(401),
    "403 to our key": Say.error(403),
    "a model it does not know": Say.error(404, "model_not_found"),
    "429": Say.error(429),
    "429 that asks for a minute": Say.error(429, retry_after="60"),
    "503 that asks for a minute": Say.error(503, retry_after="60"),
    "a body over the limit": saying(b"x" * 5000),
}


@pytest.mark.parametrize("met", LEFT.values(), ids=LEFT)
async def test_a_fault_that_will_not_pass_goes_to_the_next_candidate_at_once(met):
    told = await ask(world({"p1": met, "p2": FINE}, limits={"max_response_bytes": 4000}))
    assert told.calls == [("p1", 0), ("p2", 0)]
    assert (told.status, told.header("x-arbstr-retries")) == (200, "1/p1, 1/p2")


@pytest.mark.parametrize("met", LEFT.values(), ids=LEFT)
async def test_with_nobody_left_it_is_502_or_the_shortest_429(met):
    told = await ask(world({"p1": met}, limits={"max_response_bytes": 4000}))
    assert told.calls == [("p1", 0)]
    if met.status == 429:
        assert (told.status, told.code) == (429, "rate_limit_exceeded")
        assert told.header("retry-after") == ("60" if met.headers else "1")
    else:
        assert (told.status, told.code) == (502, "provider_error")


async def test_an_oversized_body_is_not_read_to_its_end():
    pieces = tuple(b"x" * 1000 for _ in range(50))
    made = world({"p1": Say(200, pieces, after=1)}, limits={"max_response_bytes": 4000})
    assert (await ask(made)).seconds == 6  # the headers and five pieces


# --- the client's own fault


THE_CLIENTS = {
    "400": Say.error(400),
    "a content filter": Say.error(400, "content_filter"),
    "404": Say.error(404),
    "409": Say.error(409),
    "413": Say.error(413, "context_length_exceeded"),
    "422": Say.error(422),
}


@pytest.mark.parametrize("met", THE_CLIENTS.values(), ids=THE_CLIENTS)
async def test_a_clients_own_fault_is_the_providers_answer_byte_for_byte(met):
    told = await ask(world({"p1": met, "p2": FINE}))
    assert told.calls == [("p1", 0)]
    assert (told.status, told.reply.body) == (met.status, met.pieces[0])
    assert told.header("x-arbstr-retries") is None
    assert told.exchange.attempts[0].fault == "rejected"


async def test_a_clients_own_fault_comes_with_the_providers_headers():
    met = Say(400, Say.error(400).pieces, headers=((b"X-Request-Id", b"theirs"),))
    told = await ask(world({"p1": met}))
    assert (told.status, told.header("x-request-id")) == (400, "theirs")
    assert told.header("content-type") == "application/json"


async def test_a_clients_own_fault_in_another_shape_is_wrapped_without_the_body():
    told = await ask(world({"p1": saying(b"<h1>internal: sk-1</h1>", 418), "p2": FINE}))
    assert (told.status, told.code) == (418, "invalid_request")
    assert b"sk-1" not in told.reply.body
    assert told.header("content-type") == "application/json"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_the_clients_own_key_is_the_clients_to_hear(status):
    met = Say.error(status)
    made = world({"p1": met, "p2": FINE}, provider={"credentials": "client"})
    told = await ask(made, headers={"Authorization": "Bearer own"})
    assert (told.calls, told.status) == ([("p1", 0)], status)
    assert told.reply.body == met.pieces[0]
    assert ("authorization", "Bearer own") in made.transport.sent[0].headers


@pytest.mark.parametrize(
    "code",
    [
        "context_length_exceeded",
        "unsupported_parameter",
        "unsupported_value",
        "unknown_parameter",
    ],
)
async def test_what_does_not_fit_one_model_may_fit_another(code):
    told = await ask(world({"p1": Say.error(400, code), "p2": FINE}))
    assert told.calls == [("p1", 0), ("p2", 0)]
    assert (told.status, told.header("x-arbstr-retries")) == (200, "1/p1, 1/p2")


@pytest.mark.parametrize(
    "script",
    [
        {"p1": None},
        {"p1": None, "p2": Say.error(503)},
        {"p1": Say.error(401), "p2": None},
    ],
    ids=["alone", "first", "last"],
)
@pytest.mark.parametrize("code", ["context_length_exceeded", "unsupported_parameter"])
async def test_that_it_does_not_fit_is_the_last_word_when_nobody_serves(script, code):
    said = Say.error(400, code)
    told = await ask(world({name: each or said for name, each in script.items()}))
    assert (told.status, told.code, told.reply.body) == (400, code, said.pieces[0])
    assert len(told.calls) == len(script)


# --- 429 and Retry-After


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("2", 2),
        ("0", 0),
        ("Tue, 14 Nov 2023 22:13:21 GMT", 1),
        ("Mon, 13 Nov 2023 00:00:00 GMT", 0),
    ],
    ids=["seconds", "none", "a date", "a date that is over"],
)
@pytest.mark.parametrize("status", [429, 503, 529])
async def test_a_short_retry_after_is_waited_for(status, asked, waited):
    met = Say.error(status, retry_after=asked)
    told = await ask(world({"p1": [met, FINE], "p2": FINE}))
    assert told.calls == [("p1", 0), ("p1", waited)]
    assert told.status == 200


async def test_waits_for_retry_after_use_the_retries_up():
    told = await ask(world({"p1": Say.error(429, retry_after="1"), "p2": FINE}))
    assert told.calls == [("p1", 0), ("p1", 1), ("p1", 2), ("p2", 2)]


async def test_when_all_say_429_the_client_hears_the_shortest_wait():
    script = {"p1": Say.error(429, retry_after="60"), "p2": Say.error(429, retry_after="7")}
    told = await ask(world(script))
    assert (told.status, told.code) == (429, "rate_limit_exceeded")
    assert (told.header("retry-after"), told.header("x-should-retry")) == ("7", "false")


async def test_one_429_among_other_faults_is_a_502():
    told = await ask(world({"p1": Say.error(429), "p2": Say.error(501)}))
    assert (told.status, told.code) == (502, "provider_error")


# --- connections


async def test_a_stale_connection_is_replaced_once_at_once_and_not_counted():
    told = await ask(world({"p1": [failing(STALE), FINE], "p2": FINE}))
    assert (told.status, told.calls) == (200, [("p1", 0), ("p1", 0)])
    assert told.header("x-arbstr-retries") is None
    assert [attempt.resent for attempt in told.exchange.attempts] == [True]


async def test_a_second_stale_connection_counts_as_disconnected():
    told = await ask(world({"p1": [failing(STALE), failing(STALE), FINE]}))
    assert (told.status, told.calls) == (200, [("p1", 0), ("p1", 0), ("p1", 1)])
    assert told.header("x-arbstr-retries") == "2/p1"
    assert [attempt.fault for attempt in told.exchange.attempts] == ["disconnected", None]


async def test_a_stale_connection_that_cannot_be_replaced_was_an_attempt():
    told = await ask(world({"p1": [failing(STALE), failing(BUSY)]}, retry={"retries": 0}))
    assert told.status == 502
    assert [(each.fault, each.resent) for each in told.exchange.attempts] == [
        ("disconnected", False)
    ]


async def test_there_is_one_free_re_send_for_the_whole_request():
    script = {"p1": [failing(STALE), Say.error(501)], "p2": [failing(STALE), FINE]}
    told = await ask(world(script))
    assert (told.status, told.calls) == (502, [("p1", 0), ("p1", 0), ("p2", 0)])
    assert [attempt.resent for attempt in told.exchange.attempts] == [True, False]


async def test_a_busy_provider_is_passed_over_and_is_no_attempt():
    told = await ask(world({"p1": failing(BUSY), "p2": FINE}))
    assert (told.status, told.calls) == (200, [("p1", 0), ("p2", 0)])
    assert told.header("x-arbstr-retries") is None
    assert told.header("x-arbstr-provider") == "p2"


async def test_a_busy_provider_uses_no_fallback_up():
    script = {"p1": Say.error(501), "p2": failing(BUSY), "p3": failing(BUSY), "p4": FINE}
    told = await ask(world(script))
    assert (told.status, len(told.calls)) == (200, 4)
    assert told.header("x-arbstr-retries") == "1/p1, 1/p4"


async def test_with_every_provider_busy_the_client_hears_overloaded():
    told = await ask(world({"p1": failing(BUSY), "p2": failing(BUSY)}))
    assert (told.status, told.code) == (503, "overloaded")
    assert told.header("retry-after") == "1"
    assert told.header("x-arbstr-provider") is None
    assert told.exchange.attempts == ()


# --- time


async def test_a_silent_provider_is_left_after_half_of_the_deadline():
    told = await ask(world({"p1": Say.never(), "p2": FINE}))
    assert (told.status, told.calls) == (200, [("p1", 0), ("p2", 15)])
    assert told.header("x-arbstr-retries") == "1/p1, 1/p2"


async def test_a_body_that_never_ends_is_silence_too():
    told = await ask(world({"p1": Say(200, (b"{",), hang=True), "p2": FINE}))
    assert (told.status, told.calls) == (200, [("p1", 0), ("p2", 15)])
    assert told.exchange.attempts[0].fault == "timeout"


@pytest.mark.parametrize(
    ("script", "history"),
    [({"p1": Say.never()}, None), ({"p1": Say.never(), "p2": Say.never()}, "1/p1, 1/p2")],
    ids=["one", "two"],
)
async def test_when_everybody_is_silent_the_deadline_is_the_end(script, history):
    told = await ask(world(script))
    assert (told.status, told.code) == (504, "deadline_exceeded")
    assert told.seconds == pytest.approx(30, rel=0.05)
    assert told.header("x-arbstr-retries") == history
    assert told.header("x-arbstr-provider") == list(script)[-1]
    assert told.header("x-sentinel-model") == "m"


async def test_a_candidate_in_the_middle_gets_no_more_than_what_remains():
    script = {"p1": Say.never(), "p2": Say.never(), "p3": FINE}
    told = await ask(world(script, retry={"fallbacks": 2, "attempt_timeout_seconds": 20}))
    assert (told.calls, told.seconds) == ([("p1", 0), ("p2", 20)], 30)
    assert told.status == 504


async def test_the_last_candidate_may_use_all_that_remains():
    slow = Say.completion(after=14)  # 14 s to its headers, 14 s to its body
    assert (await ask(world({"p1": slow}))).seconds == 28
    told = await ask(world({"p1": slow, "p2": FINE}))
    assert told.calls == [("p1", 0), ("p2", 15)]


async def test_a_retry_is_not_begun_when_it_would_leave_another_candidate_no_turn():
    late = Say(503, after=14.5)
    told = await ask(world({"p1": late, "p2": FINE}))
    assert told.calls == [("p1", 0), ("p2", 14.5)]


async def test_a_retry_is_not_begun_when_its_wait_would_pass_the_deadline():
    told = await ask(world({"p1": Say(503, after=14)}))
    assert told.calls == [("p1", 0), ("p1", 15)]  # a third would begin at 31 s
    assert (told.status, told.code) == (502, "provider_error")


async def test_nobody_is_asked_once_the_deadline_has_passed():
    made = world({"p1": Say.never(), "p2": FINE}, retry={"attempt_timeout_seconds": 30})
    told = await ask(made)
    assert (told.calls, told.seconds) == ([("p1", 0)], 30)
    assert (told.status, told.code) == (504, "deadline_exceeded")


@pytest.mark.parametrize(
    ("asked", "ended"), [("3000", 3), ("90000", 30), ("1", 0.001)], ids=["less", "more", "least"]
)
async def test_the_client_may_only_shorten_the_deadline(asked, ended):
    told = await ask(world({"p1": Say.never()}), headers={"X-Sentinel-Deadline-Ms": asked})
    assert (told.status, told.seconds) == (504, pytest.approx(ended))


async def test_a_deadline_that_passes_before_anybody_is_asked_is_a_504():
    transport, hours = ScriptedTransport({"p1": FINE}), itertools.count(step=3600)
    providers = {"p1": {"base_url": "http://h.test"}}
    tiers = {"simple": [{"provider": "p1", "model": "m"}]}
    given = {"providers": providers, "tiers": tiers}
    gateway = Gateway(given, transport=transport, clock=lambda: next(hours), environ={})
    async with gateway.handle(gateway.begin([]), b'{"messages": []}') as reply:
        assert reply.status == 504
    assert transport.sent == []


async def test_a_tier_has_times_of_its_own():
    times = {"attempt_timeout_seconds": 4, "deadline_seconds": 50}
    made = world({"p1": Say.never(), "p2": Say.never()}, retry={"tiers": {"moderate": times}})
    told = await ask(made)
    assert (told.calls, told.seconds) == ([("p1", 0), ("p2", 4)], 50)


async def test_the_times_of_another_tier_do_not_matter():
    times = {"attempt_timeout_seconds": 4, "deadline_seconds": 50}
    told = await ask(world({"p1": Say.never()}, retry={"tiers": {"complex": times}}))
    assert told.seconds == 30


# --- what a provider receives


@pytest.mark.parametrize("own", [None, "mine-1"], ids=["ours", "the client's"])
async def test_every_attempt_carries_the_same_idempotency_key(own):
    made = world({"p1": [failing(STALE), Say.error(503)], "p2": FINE})
    told = await ask(made, headers={"Idempotency-Key": own} if own else None)
    keys = {value for sent in made.transport.sent for name, value in sent.headers
            if name == "idempotency-key"}  # fmt: skip
    assert len(made.transport.sent) == 5
    assert keys == {own or told.exchange.id}
    assert told.header("x-arbstr-request-id") == told.exchange.id


async def test_an_encoded_answer_passes_unjudged():
    packed = Say(200, (b"\x1f\x8b...",), headers=((b"Content-Encoding", b"gzip"),))
    told = await ask(world({"p1": packed, "p2": FINE}))
    assert (told.status, told.reply.body) == (200, b"\x1f\x8b...")
    assert told.header("content-encoding") == "gzip"
    assert (len(told.calls), told.header("x-arbstr-cost-usd")) == (1, None)


# --- streams, failover off


STREAMS = {
    "503": (Say.error(503), 0, 502, "provider_error"),
    "429": (Say.error(429, retry_after="1"), 0, 429, "rate_limit_exceeded"),
    "400": (Say.error(400, "content_filter"), 0, 400, "content_filter"),
    "a context too long": (
        Say.error(400, "context_length_exceeded"), 0, 400, "context_length_exceeded",
    ),
    "401 to our key": (Say.error(401), 0, 502, "provider_error"),
    "a redirect": (Say.error(302), 0, 502, "provider_error"),
    "cannot connect": (failing(UNREACHABLE), 0, 502, "provider_error"),
    "JSON instead of events": (FINE, 0, 502, "provider_error"),
    "an empty stream": (Say.stream(), 0, 502, "provider_error"),
    "a stream cut before its first byte": (Say.stream(cut=True), 0, 502, "provider_error"),
    "an encoded stream": (
        Say(200, (CHUNK,), "text/event-stream", ((b"content-encoding", b"br"),)),
        0, 502, "provider_error",
    ),
    "no headers": (Say.never(), 10, 504, "deadline_exceeded"),
    "no first byte": (Say.stream(hang=True), 10, 504, "deadline_exceeded"),
}  # fmt: skip


@pytest.mark.parametrize(("met", "ended", "status", "code"), STREAMS.values(), ids=STREAMS)
async def test_a_stream_is_one_attempt_and_its_failure_keeps_a_status(met, ended, status, code):
    told = await ask(world({"p1": met, "p2": Say.stream(CHUNK)}), stream=True)
    assert (told.calls, told.seconds) == ([("p1", 0)], ended)
    assert (told.status, told.code) == (status, code)
    assert told.header("x-arbstr-streaming") == "true"


@pytest.mark.parametrize(
    ("asked", "ended"), [("3000", 3), ("90000", 10)], ids=["shorter", "longer"]
)
async def test_a_clients_deadline_shortens_the_wait_for_a_first_byte(asked, ended):
    made = world({"p1": Say.never()})
    told = await ask(made, stream=True, headers={"X-Sentinel-Deadline-Ms": asked})
    assert (told.status, told.seconds) == (504, ended)


async def test_a_tier_has_a_first_token_timeout_of_its_own():
    own = {"tiers": {"moderate": {"first_token_timeout_seconds": 25}}}
    told = await ask(world({"p1": Say.never()}, streaming=own), stream=True)
    assert (told.status, told.seconds) == (504, 25)


async def test_a_busy_provider_is_passed_over_by_a_stream_too_for_nothing_was_sent():
    made = world({"p1": failing(BUSY), "p2": failing(BUSY), "p3": Say.stream(CHUNK)})
    told = await ask(made, stream=True)
    assert (told.status, told.calls) == (200, [("p1", 0), ("p2", 0), ("p3", 0)])
    assert [str(attempt.candidate) for attempt in told.exchange.attempts] == ["p3/m"]


async def test_a_stream_hears_overloaded_when_every_provider_is_busy():
    told = await ask(world({"p1": failing(BUSY), "p2": failing(BUSY)}), stream=True)
    assert (told.status, told.code) == (503, "overloaded")
    assert told.header("x-arbstr-streaming") == "true"
    assert told.exchange.attempts == ()


async def test_a_stale_connection_is_replaced_for_a_stream_too():
    told = await ask(world({"p1": [failing(STALE), Say.stream(CHUNK)]}), stream=True)
    assert (told.status, len(told.calls)) == (200, 2)
    assert told.reply.stream is not None


async def test_the_first_token_timer_counts_the_wait_for_the_headers():
    made = world({"p1": Say.stream(b": hello\n\n", hang=True, after=3)})
    written = []

    async def write(data: bytes) -> None:
        written.append(data)

    loop, exchange = asyncio.get_running_loop(), made.gateway.begin([])
    body = b'{"model": "m", "messages": [], "stream": true}'
    async with made.gateway.handle(exchange, body) as reply:
        assert (reply.stream is not None, loop.time()) == (True, 6)
        await reply.stream.run(write)
    assert loop.time() == 10
    assert written[0] == b": hello\n\n"
    assert b"stream_stalled" in written[-1]
    assert made.transport.open == 0


async def test_a_summary_ends_a_stream_that_wants_one():
    made = world({"p1": Say.stream(CHUNK, after=1)}, streaming={"summary": True})
    written = []

    async def write(data: bytes) -> None:
        written.append(data)

    exchange = made.gateway.begin([])
    body = b'{"model": "m", "messages": [], "stream": true}'
    async with made.gateway.handle(exchange, body) as reply:
        await reply.stream.run(write)
    events = b"".join(written).split(b"\n\n")
    summary = msgspec.json.decode(events[1].removeprefix(b"data: "))
    assert events[2:] == [b"data: [DONE]", b""]
    assert summary["arbstr"] == {
        "cost_usd": None, "latency_ms": 2000, "tier": "moderate", "provider": "p1", "model": "m",
    }  # fmt: skip
    assert summary["created"] == WALL + 2


# --- a client that leaves


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "met",
    [Say.never(), Say(200, (b"{",), "text/event-stream", hang=True, after=0.25)],
    ids=["before the headers", "in the body"],
)
async def test_leaving_ends_the_attempt_and_notes_it_as_abandoned(met, stream):
    made = world({"p1": met, "p2": FINE})
    exchange = made.gateway.begin([])
    body = msgspec.json.encode({"model": "m", "messages": [], "stream": stream})

    async def client() -> None:
        async with made.gateway.handle(exchange, body):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client(), 0.4)
    assert (made.transport.calls(), made.transport.open) == ([("p1", 0)], 0)
    assert [attempt.fault for attempt in exchange.attempts] == ["abandoned"]


@pytest.mark.parametrize(
    ("raised", "left", "fault", "outcome"),
    [
        (ClientGone(), True, "abandoned", "client_disconnected"),
        (OSError(), True, "abandoned", "client_disconnected"),
        (TimeoutError(), True, "abandoned", "client_disconnected"),
        (asyncio.CancelledError(), True, "abandoned", "client_disconnected"),
        (RuntimeError(), False, "internal_error", "upstream_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_a_stream_cut_short_was_abandoned_unless_the_fault_is_ours(
    raised, left, fault, outcome, caplog
):
    made = world(
        {"p1": Say.stream(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', hang=True)}
    )
    exchange = made.gateway.begin([])
    body = b'{"model": "m", "messages": [], "stream": true}'
    with pytest.raises(type(raised)):
        async with made.gateway.handle(exchange, body):
            raise raised
    assert (exchange.client_left, [each.fault for each in exchange.attempts]) == (left, [fault])
    assert outcome_of(exchange) == outcome
    assert (exchange.id in caplog.text) is not left
    assert (list(made.gateway.health.ailing()), made.transport.open) == ([], 0)


async def test_leaving_during_the_wait_for_a_retry_asks_nobody_again():
    made = world({"p1": Say.error(503), "p2": FINE})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(made), 0.5)
    await asyncio.sleep(60)
    assert made.transport.calls() == [("p1", 0)]


# --- the bounds, whatever providers do


SAYS = st.one_of(
    st.sampled_from([FINE, Say.never(), saying(b"{}"), Say(200, (b"{",), hang=True)]),
    st.sampled_from([UNREACHABLE, DISCONNECTED, GARBLED, STALE, BUSY]).map(failing),
    st.builds(
        Say.error,
        st.sampled_from([200, 307, 400, 401, 404, 408, 429, 500, 501, 503, 529]),
        st.sampled_from(["", "model_not_found", "context_length_exceeded"]),
        retry_after=st.sampled_from([None, "0", "1", "2", "60", "soon"]),
    ),
    st.builds(Say.completion, after=st.sampled_from([0.1, 4.0, 9.0, 20.0])),
    st.builds(
        Say.stream,
        st.sampled_from([b"", CHUNK, b": comment\n\n"]),
        after=st.sampled_from([0.0, 0.1, 4.0, 20.0]),
        cut=st.booleans(),
        hang=st.booleans(),
    ),
)
SCRIPTS = st.lists(st.lists(SAYS, min_size=1, max_size=4), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(
    scripts=SCRIPTS,
    stream=st.booleans(),
    retries=st.integers(0, 4),
    fallbacks=st.integers(0, 3),
    deadline=st.sampled_from([0.5, 5, 30]),
    jitter=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_delivery_keeps_its_bounds_whatever_providers_do(
    scripts, stream, retries, fallbacks, deadline, jitter
):
    script = {f"p{number}": lines for number, lines in enumerate(scripts)}
    numbers = {"retries": retries, "fallbacks": fallbacks, "jitter": jitter}

    async def run() -> tuple[Told, ScriptedTransport]:
        times = {"deadline_seconds": deadline, "budget_minimum": 2}
        made = world(script, retry={**numbers, **times})
        told = await ask(made, stream=stream)
        await asyncio.sleep(100)  # nothing may come later
        assert len(asyncio.all_tasks()) == 1
        return told, made.transport

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        told, transport = runner.run(run())

    limit = 10 if stream else deadline
    seen: dict[str, int] = {}
    for index, sent in enumerate(transport.sent):
        assert sent.at < limit
        turn = [other.provider for other in transport.sent[:index]].count(sent.provider)
        lines = script[sent.provider]
        if lines[min(turn, len(lines) - 1)].fault is not BUSY:
            seen[sent.provider] = seen.get(sent.provider, 0) + 1
    resent = [attempt.candidate.provider for attempt in told.exchange.attempts if attempt.resent]
    for name in resent:
        seen[name] -= 1
    total = sum(seen.values())
    assert len(resent) <= 1
    assert total == len(told.exchange.attempts) <= (1 if stream else 1 + retries + fallbacks)
    history = ", ".join(f"{count}/{name}" for name, count in seen.items())
    assert told.header("x-arbstr-retries") == (history if total > 1 else None)
    assert told.seconds <= limit
    assert transport.open == 0
