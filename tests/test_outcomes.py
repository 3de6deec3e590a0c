"""One record for each request, whatever becomes of it: every outcome, and every way to end.

Over scripted providers in virtual time, so that what is told of time is exact.
"""

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from wired import ANSWER, COMMENT, DONE, EPOCH, ERROR, ROLE, STOP, World, ask, token, world

from tiergate import TierMiddleware, TierResponse
from tiergate.faults import BUSY
from tiergate.record import AttemptRecord, Record
from tiergate.testing import Say, ScriptedTransport

OPEN = (ROLE, token("a"))
PRICES = {
    "input_price_per_million": 1.0,
    "output_price_per_million": 2.0,
    "cached_input_price_per_million": 0.1,
}


class Heard:
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def finished(self, record: Record) -> None:
        self.records.append(record)


def observed(made: World) -> list[Record]:
    heard = Heard()
    made.gateway.observe(heard)
    return heard.records


async def one(made: World, **asked: Any) -> Record:
    """The one record of one request, which was also counted, once, and left nothing behind."""
    records, before = observed(made), counted(made)
    await ask(made, **asked)
    assert len(records) == 1
    assert counted(made) == before + 1
    assert made.gateway.metrics.refusals.read() == {}
    assert made.clean
    return records[0]


def counted(made: World) -> float:
    return sum(made.gateway.metrics.requests.read().values())


def said(**members: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [], **members})


class Crashing(ScriptedTransport):
    """A bug of ours, and the seconds before it shows itself."""

    async def post(self, *args: Any) -> Any:
        await asyncio.sleep(self.after)
        raise RuntimeError("a bug")

    after = 0.0


JSON: dict[str, Any] = {"stream": False}
BUFFERED: dict[str, Any] = {"mode": "buffered"}
SOON = {"streaming": {"comment_seconds": 1}}
ONCE = {"retry": {"retries": 0}}
NOBODY = Say(fault=BUSY)  # of requests that end before anybody is asked, or would

BODY = Say.error(400, "context_length_exceeded").pieces

# fmt: off
ENDINGS: list[tuple[str, Say, dict[str, Any], dict[str, Any], tuple[Any, ...]]] = [
    # what happens, what the provider says, configuration, the request; outcome, status, code
    ("a whole answer", Say.completion(), {}, JSON, ("ok", 200, None)),
    ("a stream", Say.stream(*ANSWER), {}, {}, ("ok", 200, None)),
    ("a stream without [DONE]", Say.stream(*ANSWER[:-1]), {}, {}, ("ok", 200, None)),
    ("a buffered stream", Say.stream(*ANSWER), {}, BUFFERED, ("ok", 200, None)),
    ("one after comments", Say.stream(*ANSWER, after=0.5), SOON, BUFFERED, ("ok", 200, None)),
    ("a bad tier", NOBODY, {}, {"body": said(tier="huge")},
     ("client_error", 400, "invalid_request")),
    ("an unknown model", NOBODY, {}, {"body": said(model="x")},
     ("client_error", 404, "model_not_found")),
    ("no messages", NOBODY, {}, {"body": b"{}"}, ("client_error", 400, "invalid_request")),
    ("a malformed header", NOBODY, {}, {"headers": {"x-sentinel-deadline-ms": "soon"}},
     ("client_error", 400, "invalid_request")),
    ("a provider's refusal", Say.error(400, "content_filter"), {}, JSON,
     ("client_error", 400, "content_filter")),
    ("a member it does not take", Say.error(400, "unsupported_parameter"), {}, {},
     ("client_error", 400, "unsupported_parameter")),
    ("one without a code", Say.error(422), {}, {}, ("client_error", 422, "rejected")),
    ("one in another shape", Say(422, (b"no",)), {}, JSON,
     ("client_error", 422, "invalid_request")),
    ("one that sounds like ours", Say.error(400, "overloaded"), {}, JSON,
     ("client_error", 400, "overloaded")),
    ("one within a stream", Say(400, BODY, after=1), SOON, BUFFERED,
     ("client_error", 200, "context_length_exceeded")),
    ("one in another shape within a stream", Say(422, (b"no",), after=1), SOON, BUFFERED,
     ("client_error", 200, "invalid_request")),
    ("attempts exhausted", Say.error(501), ONCE, JSON, ("upstream_error", 502, "provider_error")),
    ("that within a stream", Say(501, after=2), SOON, BUFFERED,
     ("upstream_error", 200, "provider_error")),
    ("everybody limits its rate", Say.error(429), ONCE, JSON,
     ("upstream_error", 429, "rate_limit_exceeded")),
    ("that within a stream", Say(429, after=2), ONCE | SOON, BUFFERED,
     ("upstream_error", 200, "rate_limit_exceeded")),
    ("a tier of nobody", NOBODY, {}, {"body": said(tier="complex")},
     ("upstream_error", 503, "tier_not_configured")),
    ("a silent provider", Say.never(), {}, JSON, ("timeout", 504, "deadline_exceeded")),
    ("a silent stream", Say.never(), {}, {}, ("timeout", 504, "deadline_exceeded")),
    ("that within a stream", Say.never(), SOON, BUFFERED, ("timeout", 200, "deadline_exceeded")),
    ("the client leaves before the answer", Say.never(), {}, {**JSON, "leave_after": 2},
     ("client_disconnected", None, None)),
    ("in a stream", Say.stream(*OPEN, hang=True), {}, {"leave_after": 2},
     ("client_disconnected", 200, None)),
    ("before comments", Say.never(), {}, {**BUFFERED, "leave_after": 2},
     ("client_disconnected", None, None)),
    ("during comments", Say.never(), SOON, {**BUFFERED, "leave_after": 2},
     ("client_disconnected", 200, None)),
    ("a stream is cut", Say.stream(*OPEN, cut=True), {}, {},
     ("stream_interrupted", 200, "stream_interrupted")),
    ("a stream ends early", Say.stream(*OPEN), {}, {},
     ("stream_interrupted", 200, "stream_interrupted")),
    ("a stream stalls", Say.stream(*OPEN, hang=True), {}, {},
     ("stream_interrupted", 200, "stream_stalled")),
    ("a stream has its provider's error", Say.stream(*OPEN, ERROR), {}, {},
     ("stream_interrupted", 200, "provider_error")),
    ("no connection is free", Say(fault=BUSY), {}, JSON, ("overloaded", 503, "overloaded")),
    ("that within a stream", Say(fault=BUSY, after=2), SOON, BUFFERED,
     ("overloaded", 200, "overloaded")),
    ("memory is full before it is sent", NOBODY, {"limits": {"max_buffered_bytes": 70}}, JSON,
     ("overloaded", 503, "overloaded")),
    ("memory is full of the answer", Say.completion(), {"limits": {"max_buffered_bytes": 200}},
     JSON, ("overloaded", 503, "overloaded")),
]
# fmt: on


@pytest.mark.parametrize(
    ("says", "tables", "asked", "ends"),
    [case[1:] for case in ENDINGS],
    ids=[case[0] for case in ENDINGS],
)
async def test_every_request_has_one_record_that_says_how_it_ended(says, tables, asked, ends):
    record = await one(world({"p1": says}, **tables), **asked)
    assert (record.outcome, record.status, record.error_code) == ends


@pytest.mark.parametrize(
    ("after", "asked", "status"), [(0, JSON, 500), (0, {}, 500), (5, BUFFERED, 200)]
)
async def test_a_bug_of_ours_has_a_record_too(after, asked, status, caplog):
    transport = Crashing({})
    transport.after = after
    made = world({"p1": ()}, transport=transport, **SOON)
    with caplog.at_level(logging.CRITICAL, "tiergate"):
        record = await one(made, **asked)
    assert (record.outcome, record.status) == ("upstream_error", status)
    assert record.error_code == "internal_error"
    assert [each.error for each in record.attempts] == ["internal_error"]


async def test_an_attempt_that_found_the_process_full_says_so_and_nobody_left():
    made = world({"p1": Say.completion()}, limits={"max_buffered_bytes": 200})
    record = await one(made, stream=False)
    assert [each.error for each in record.attempts] == ["overloaded"]
    assert record.overhead_us == 0


async def test_a_request_that_finds_everybody_in_back_off_has_a_record():
    made = world({"p1": Say.error(501)}, **ONCE)
    await ask(made, stream=False)
    record = await one(made, stream=False)
    assert (record.outcome, record.status) == ("upstream_error", 503)
    assert (record.attempts, record.provider, record.tier) == ((), None, "moderate")
    assert [(each.state, each.share, each.seconds_left) for each in record.pool] == [
        ("backing off", 0, 30)
    ]


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"{", {}, "invalid_request"),
        (b"[]", {}, "invalid_request"),
        (b'"\xff"', {}, "invalid_request"),
        (b"", {}, "invalid_request"),
        (b"{}", {"content-encoding": "gzip"}, "unsupported_encoding"),
        (b" " * 99 + b"{}", {}, "request_too_large"),
    ],
)
async def test_what_was_refused_before_its_body_was_an_object_is_only_counted(body, headers, code):
    made = world({"p1": Say.completion()}, limits={"max_body_bytes": 99})
    records = observed(made)
    assert (await ask(made, body=body, headers=headers)).code == code
    assert (records, counted(made)) == ([], 0)
    assert made.gateway.metrics.refusals.read() == {(code,): 1}


async def test_a_request_too_many_is_only_counted():
    made = world({"p1": Say.completion(after=1)}, limits={"max_in_flight": 1})
    records = observed(made)
    first, second = await asyncio.gather(ask(made, stream=False), ask(made, stream=False))
    assert (first.status, second.status, second.code) == (200, 503, "overloaded")
    assert [record.outcome for record in records] == ["ok"]
    assert made.gateway.metrics.refusals.read() == {("overloaded",): 1}


async def test_a_client_that_leaves_before_its_body_has_come_is_only_counted():
    made = world({"p1": Say.completion()})
    records = observed(made)
    await served(TierMiddleware(nobody, gateway=made.gateway), [{"type": "http.disconnect"}])
    assert records == []
    assert made.gateway.metrics.refusals.read() == {("client_disconnected",): 1}


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive, send


PASSED: dict[str, Any] = {"routing": {"unknown_model": "pass"}}


def scope() -> dict[str, Any]:
    path = "/v1/chat/completions"
    return {"type": "http", "method": "POST", "path": path, "headers": []}


async def served(app: Any, says: list[dict[str, Any]], *, stays: bool = True) -> list[Any]:
    """What an app has sent; a client that does not stay is gone when it is answered."""
    sent = []

    async def receive() -> dict[str, Any]:
        return says.pop(0)

    async def send(message: dict[str, Any]) -> None:
        if not stays:
            raise OSError("gone")
        sent.append(message)

    await app(scope(), receive, send)
    return sent


def whole(body: bytes) -> list[dict[str, Any]]:
    return [{"type": "http.request", "body": body, "more_body": False}]


async def test_of_what_is_the_hosts_nothing_is_told():
    made = world({"p1": Say.completion()}, **PASSED)
    records = observed(made)
    await served(TierMiddleware(nobody, gateway=made.gateway), whole(said(model="theirs")))
    assert (records, counted(made), made.clean) == ([], 0, True)
    assert made.gateway.metrics.refusals.read() == {}


@pytest.mark.parametrize(
    ("stays", "outcome"), [(True, "client_error"), (False, "client_disconnected")]
)
async def test_a_route_has_nobody_to_pass_it_on_to_and_tells_of_it(stays, outcome):
    made = world({"p1": Say.completion()}, **PASSED)
    records = observed(made)
    says = whole(said(model="theirs"))

    async def route(scope: Any, receive: Any, send: Any) -> None:
        await TierResponse(made.gateway, Request(scope, receive))(scope, receive, send)

    sent = await served(route, says, stays=stays)
    assert [message.get("status") for message in sent] == ([404, None] if stays else [])
    assert [(each.outcome, each.status, each.error_code) for each in records] == [
        (outcome, 404, "model_not_found")
    ]
    assert records[0].requested_model == "theirs"
    assert counted(made) == 1


async def test_the_times_of_a_failover_are_exact():
    script = {
        "p1": Say(503, (b"no",), after=0.5),  # each, for its headers and for its body
        "p2": Say.completion(after=0.25),
    }
    made = world(script, retry={"retries": 1, "backoff_seconds": 2})
    await asyncio.sleep(100)
    record = await one(made, stream=False)
    assert record.at == (EPOCH + 100) * 1_000_000
    assert record.attempts == (
        AttemptRecord("p1", "m", 503, "unavailable", 0, 1_000_000),
        AttemptRecord("p1", "m", 503, "unavailable", 3_000_000, 1_000_000),
        AttemptRecord("p2", "m", 200, None, 4_000_000, 500_000),
    )
    assert (record.latency_us, record.overhead_us) == (4_500_000, 0)
    assert (record.provider, record.model, record.first_token_us) == ("p2", "m", None)


async def test_the_times_of_a_stream_are_exact():
    record = await one(world({"p1": Say.stream(*ANSWER, after=0.5)}))
    assert record.streaming
    assert record.first_token_us == 1_500_000  # the headers, the role, the first token
    assert (record.latency_us, record.overhead_us) == (3_000_000, 0)
    assert record.attempts == (AttemptRecord("p1", "m", 200, None, 0, 3_000_000),)


async def test_a_token_of_an_attempt_that_failed_is_not_the_first():
    script = {"p1": Say.stream(*OPEN, cut=True, after=1), "p2": Say.stream(*ANSWER, after=1)}
    record = await one(world(script, **ONCE), mode="buffered")
    assert [each.error for each in record.attempts] == ["bad_answer", None]
    assert record.first_token_us == 3_000_000 + 3_000_000


async def test_waiting_for_a_connection_is_not_our_own_time():
    script = {"p1": Say(fault=BUSY, after=1), "p2": Say.completion()}
    record = await one(world(script), stream=False)
    assert (record.latency_us, record.overhead_us) == (1_000_000, 0)
    assert [each.provider for each in record.attempts] == ["p2"]


async def test_while_an_attempt_is_under_way_its_overhead_is_unknown():
    record = await one(world({"p1": Say.stream(*ANSWER, after=1)}, **SOON), mode="buffered")
    assert (record.outcome, record.latency_us) == ("ok", 6_000_000)
    assert record.overhead_us is None


async def test_the_pool_is_told_as_it_stood_when_the_request_was_decided():
    made = world({"p1": [Say.error(501), Say.completion()], "p2": Say.completion(after=5)})
    await ask(made, stream=False)  # p1 is in back-off for 30 s from now, and p2 answers at 10
    record = await one(made, stream=False)
    assert [each.provider for each in record.attempts] == ["p2"]
    assert [msgspec.structs.astuple(each) for each in record.pool] == [
        ("p1", "m", "backing off", 0, 20),
        ("p2", "m", "available", 1, 0),
    ]


def usage(tokens_in: int, tokens_out: int, cached: int | None = None) -> dict[str, Any]:
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, **details}


COUNTS: list[tuple[Any, tuple[Any, ...]]] = [
    (usage(10, 5), (10, None, 5, 0.00002)),
    (usage(0, 0), (0, None, 0, 0.0)),
    (usage(1000, 7, cached=900), (1000, 900, 7, 0.000204)),
    (usage(3, 0, cached=0), (3, 0, 0, 0.000003)),
    (usage(3, 0, cached=5), (3, 5, 0, 0.0000003)),
    ({"prompt_tokens": 3}, (3, None, None, None)),
    ({"completion_tokens": 3}, (None, None, 3, None)),
    (usage(-1, 3), (None, None, 3, None)),
    (None, (None, None, None, None)),
]


def chunk(counts: Any, *, finished: bool) -> bytes:
    """The usage in a chunk of its own, or in the one with the finish reason."""
    choices = [{"index": 0, "delta": {}, "finish_reason": "stop"}] if finished else []
    event: bytes = msgspec.json.encode({"choices": choices, "usage": counts})
    return b"data: " + event + b"\n\n"


@pytest.mark.parametrize(("counts", "told"), COUNTS)
@pytest.mark.parametrize("how", ["whole", "stream", "with the last choice", "buffered"])
async def test_tokens_and_cost_are_exact_or_unknown(how, counts, told):
    says = {
        "whole": Say.completion(usage=counts),
        "stream": Say.stream(*OPEN, STOP, chunk(counts, finished=False), DONE),
        "with the last choice": Say.stream(*OPEN, chunk(counts, finished=True), DONE),
        "buffered": Say.stream(*OPEN, STOP, chunk(counts, finished=False), DONE),
    }[how]
    tiers = {"simple": [{"provider": "p1", "model": "m", **PRICES}]}
    asked: dict[str, Any] = {"stream": how != "whole"}
    if how == "buffered":
        asked["mode"] = "buffered"
    record = await one(world({"p1": says}, tiers=tiers), **asked)
    tokens = (record.input_tokens, record.cached_tokens, record.output_tokens)
    assert (record.outcome, record.partial, tokens) == ("ok", False, told[:3])
    assert record.cost == (None if told[3] is None else pytest.approx(told[3], abs=1e-10))


HALF = chunk(usage(10, 1), finished=False)


@pytest.mark.parametrize(
    ("says", "asked", "outcome"),
    [
        (Say.stream(*OPEN, HALF, cut=True), {}, "stream_interrupted"),
        (Say.stream(*OPEN, HALF, hang=True), {"leave_after": 2}, "client_disconnected"),
    ],
)
async def test_tokens_of_an_answer_that_did_not_end_are_marked(says, asked, outcome):
    tiers = {"simple": [{"provider": "p1", "model": "m", **PRICES}]}
    record = await one(world({"p1": says}, tiers=tiers), **asked)
    assert (record.outcome, record.partial) == (outcome, True)
    assert (record.input_tokens, record.output_tokens) == (10, 1)
    assert record.cost == pytest.approx(0.000012, abs=1e-10)


async def test_a_cut_without_a_count_has_none_and_is_not_called_partial():
    record = await one(world({"p1": Say.stream(*OPEN, cut=True)}))
    assert (record.input_tokens, record.output_tokens, record.partial) == (None, None, False)


async def test_tokens_of_a_whole_answer_that_nobody_waited_for_are_exact():
    last = chunk(usage(10, 5), finished=True)
    tiers = {"simple": [{"provider": "p1", "model": "m", **PRICES}]}
    made = world({"p1": Say.stream(*OPEN, last, DONE)}, tiers=tiers)
    records = observed(made)
    app = TierMiddleware(nobody, gateway=made.gateway)
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not gone.is_set():
            gone.set()
            return whole(said(stream=True))[0]
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        raise OSError("gone")

    asked = {**scope(), "headers": [(b"x-sentinel-stream-failover", b"buffered")]}
    await app(asked, receive, send)
    assert [(each.outcome, each.partial, each.output_tokens) for each in records] == [
        ("client_disconnected", False, 5)
    ]


async def test_a_session_raises_the_tier_and_both_are_told():
    both = [{"provider": "p1", "model": "m"}]
    made = world({"p1": Say.completion()}, tiers={"simple": both, "complex": both})
    await ask(made, body=b'{"messages": [], "tier": "complex", "conversation_id": "c"}')
    record = await one(made, body=b'{"messages": [], "conversation_id": "c"}')
    assert (record.requested_tier, record.tier, record.reason) == ("simple", "complex", "session")
    assert (record.conversation, record.requested_model) == ("c", None)


async def test_what_the_client_calls_it_is_kept_beside_our_id():
    made = world({"p1": Say.stream(*ANSWER, COMMENT)})
    records = observed(made)
    headers = {"x-request-id": "mine", "x-sentinel-conversation": "c", "authorization": "Bearer k"}
    heard = await ask(made, headers=headers)
    assert records[0].id == heard.headers["x-arbstr-request-id"]
    assert (records[0].client_id, records[0].conversation) == ("mine", "c")
    assert len(records[0].owner) == 32
    assert "Bearer" not in repr(records[0])


async def test_a_broken_observer_is_told_of_once_and_breaks_nothing(caplog):
    class Broken:
        __hash__ = None  # type: ignore[assignment]

        def finished(self, record: Record) -> None:
            raise RuntimeError("broken observer")

    made = world({"p1": Say.completion()})
    made.gateway.observe(Broken())
    records = observed(made)
    answers = [await ask(made, stream=False) for _ in range(3)]
    assert [each.status for each in answers] == [200, 200, 200]
    assert len(records) == 3
    assert len([each for each in caplog.records if each.exc_info]) == 1
