"""One attempt ends with an answer that is ready to go out, or with the row that says what it met.

Whichever: nothing stays open, and what is counted as held is what is held.
"""

import asyncio

import pytest
from attempts import EVENTS, P1, P2, Attempts
from msgspec.structs import replace

from tiergate.adaptation import Adaptation
from tiergate.completion import Usage
from tiergate.config import Limits
from tiergate.errors import Overloaded
from tiergate.faults import BUSY, DISCONNECTED, STALE, UNREACHABLE
from tiergate.testing import Say

# --- a whole answer


async def test_a_whole_answer_is_delivered_as_it_came_and_counted():
    said = Say.completion("hi")
    made = Attempts(said)
    delivered = await made.ask()
    assert (delivered.status, delivered.body, delivered.relay) == (200, said.pieces[0], None)
    assert delivered.endpoint.name == "p1"
    assert made.exchange.usage == Usage(10, 5)
    assert (made.transport.open, made.capacity.held_bytes) == (0, len(delivered.body))


async def test_a_provider_gets_its_model_its_key_and_the_id_of_the_request():
    made = Attempts(Say.completion())
    await made.ask()
    [sent] = made.transport.sent
    assert sent.json == {"model": "big", "messages": [], "stream": False, "x": 1}
    assert {("authorization", "Bearer key-1"), ("idempotency-key", "id-1")} <= set(sent.headers)


async def test_each_provider_gets_the_members_that_its_model_takes():
    changed = Adaptation(rename=(("x", "y"),), set=(("z", b"2.0"),))
    made = Attempts(Say.completion())
    await made.ask(replace(P1, adaptation=changed))
    await made.ask(P2)
    first, second = made.transport.sent
    assert first.body == b'{"model":"big","messages":[],"stream":false,"y":1,"z":2.0}'
    assert second.body == b'{"model":"big","messages":[],"stream":false,"x":1}'


async def test_an_error_is_delivered_as_a_failure_with_all_that_was_said():
    said = Say.error(429, "slow_down", retry_after="7")
    failure = await Attempts(said).fails()
    assert (failure.fault.label, failure.status, failure.retry_after) == ("rate_limited", 429, 7)
    assert failure.body == said.pieces[0]
    assert (b"Retry-After", b"7") in failure.headers


async def test_a_date_in_retry_after_is_read_by_the_wall_clock():
    failure = await Attempts(Say.error(503, retry_after="Tue, 14 Nov 2023 22:13:50 GMT")).fails()
    assert failure.retry_after == 30


MET = {
    "no connection": (Say(fault=UNREACHABLE), "unreachable", 0),
    "no free connection": (Say(fault=BUSY), "no_connection", 0),
    "HTML": (Say(200, (b"<html>",)), "bad_answer", 0),
    "half an answer": (Say(200, (b'{"choices": [',)), "bad_answer", 0),
    "a cut": (Say(200, (b'{"choices"', b": ["), cut=True, after=1), "bad_answer", 3),
    "too much": (Say(200, (b"x" * 60,) * 9, after=1), "too_large", 3),
    "no headers": (Say.never(), "timeout", 10),
    "headers at the last moment": (Say.completion(after=6), "timeout", 10),
    "a body that never ends": (Say(200, (b"{",), hang=True), "timeout", 10),
    "an error whose body never ends": (Say(500, (b"{",), hang=True), "timeout", 10),
}


@pytest.mark.parametrize(("said", "label", "after"), MET.values(), ids=MET)
async def test_a_whole_answer_that_fails_says_what_it_met_and_when(said, label, after):
    made = Attempts(said, limits=Limits(max_response_bytes=100))
    failure = await made.fails()
    assert (failure.fault.label, asyncio.get_running_loop().time()) == (label, after)


async def test_an_answer_in_an_encoding_passes_unjudged():
    packed = Say(200, (b"\x1f\x8b",), headers=((b"Content-Encoding", b"gzip"),))
    delivered = await Attempts(packed).ask()
    assert delivered.body == b"\x1f\x8b"
    plain = Say(200, (b"\x1f\x8b",), headers=((b"Content-Encoding", b"Identity"),))
    assert (await Attempts(plain).fails()).fault.label == "bad_answer"


@pytest.mark.parametrize("room", [10, 60, 100], ids=["the request", "the answer", "its end"])
async def test_what_cannot_be_held_is_shed_and_given_back(room):
    made = Attempts(Say(200, (b"x" * 40,) * 9), limits=Limits(max_buffered_bytes=room))
    with pytest.raises(Overloaded):
        await made.ask()
    assert (made.transport.open, made.capacity.held_bytes) == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "said",
    [Say.never(), Say(200, (b"{", b" "), "text/event-stream", EVENTS, after=1, hang=True)],
    ids=["before the headers", "in the body"],
)
async def test_leaving_closes_the_call_and_gives_back_what_is_held(said, stream):
    made = Attempts(said, stream=stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(made.ask(), 2.5)
    assert (made.transport.open, made.capacity.held_bytes) == (0, 0)


# --- stale connections


async def test_a_stale_connection_is_replaced_at_once_and_once():
    made = Attempts(Say(fault=STALE), Say.completion())
    assert not made.asker.resent
    assert (await made.ask()).status == 200
    assert (made.asker.resent, len(made.transport.sent)) == (True, 2)


@pytest.mark.parametrize(
    ("then", "label"),
    [(Say(fault=STALE), "disconnected"), (Say.error(503), "unavailable")],
    ids=["stale again", "another fault"],
)
async def test_after_a_re_send_what_it_met_counts(then, label):
    made = Attempts(Say(fault=STALE), then)
    assert (await made.fails()).fault.label == label
    assert len(made.transport.sent) == 2


async def test_a_second_candidate_has_no_free_re_send_left():
    made = Attempts(Say(fault=STALE), Say.error(501), Say(fault=STALE))
    assert (await made.fails()).fault.label == "refused"
    assert (await made.fails(P2)).fault is DISCONNECTED
    assert [sent.provider for sent in made.transport.sent] == ["p1", "p1", "p2"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_re_send_has_what_is_left_of_the_time(stream):
    made = Attempts(Say(fault=STALE, after=4), Say.never(), stream=stream)
    assert (await made.fails()).fault.label == "timeout"
    assert asyncio.get_running_loop().time() == 10
