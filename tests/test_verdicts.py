"""What moves health and what does not: CONTRACT section 6, and the last column of 7's table.

Through ASGI over scripted providers in virtual time. How health counts is `test_health`'s.
"""

import asyncio

import pytest
from wired import ANSWER, COMMENT, ERROR, ROLE, Heard, World, ask, token, world

from tiergate.faults import BUSY, DISCONNECTED, GARBLED, STALE, UNREACHABLE
from tiergate.testing import Say

FINE = Say.completion("hi")
STREAM = Say.stream(*ANSWER)
BROKEN = Say.error(501)  # left at once
MODES = ["off", "first_token", "buffered"]


async def whole(made: World, **more) -> Heard:
    """One request that is no stream."""
    return await ask(made, stream=False, **more)


# --- who is charged

CHARGED = {
    "500": Say.error(500),
    "503": Say.error(503),
    "501": Say.error(501),
    "402": Say.error(402),
    "429": Say.error(429),
    "401 to our key": Say.error(401),
    "403 to our key": Say.error(403),
    "a model it does not know": Say.error(404, "model_not_found"),
    "cannot connect": Say(fault=UNREACHABLE),
    "reset before headers": Say(fault=DISCONNECTED),
    "garbage on the wire": Say(fault=GARBLED),
    "stale twice": Say(fault=STALE),
    "HTML": Say(200, (b"<html>",), "text/html"),
    "silence": Say.never(),
    "a cut": Say(200, (b"{",), cut=True),
}
SPARED = {
    "400": Say.error(400),
    "a content filter": Say.error(400, "content_filter"),
    "404": Say.error(404),
    "422": Say.error(422),
    "a context too long": Say.error(400, "context_length_exceeded"),
    "a member it does not take": Say.error(400, "unsupported_parameter"),
    "a value it does not take": Say.error(400, "unsupported_value"),
    "a member it does not know": Say.error(400, "unknown_parameter"),
    "no free connection": Say(fault=BUSY),
    "stale once": [Say(fault=STALE), FINE],
}


@pytest.mark.parametrize("met", CHARGED.values(), ids=CHARGED)
async def test_what_is_the_providers_fault_is_one_step_however_many_attempts_met_it(met):
    made = world({"p1": met, "p2": FINE})
    assert (await whole(made)).status == 200
    assert made.failures() == {"p1": 1}
    assert repr(made.gateway.health).startswith("<Health p1/m backing off 30 s after 1")


@pytest.mark.parametrize("met", SPARED.values(), ids=SPARED)
async def test_what_is_not_the_providers_fault_moves_nothing(met):
    made = world({"p1": met, "p2": FINE})
    await whole(made)
    assert made.failures() == {}


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_the_clients_own_key_moves_nothing(status):
    own = {"base_url": "http://h.test", "credentials": "client"}
    made = world({"p1": Say.error(status)}, providers={"p1": own})
    assert (await whole(made)).status == status
    assert made.failures() == {}


async def test_a_body_over_the_limit_moves_nothing():
    made = world({"p1": Say(200, (b"x" * 500,)), "p2": FINE}, limits={"max_response_bytes": 400})
    assert (await whole(made)).status == 200
    assert made.failures() == {}


@pytest.mark.parametrize(("asked", "left"), [("7", 7), ("3600", 300)], ids=["short", "an hour"])
@pytest.mark.parametrize("status", [429, 503, 529])
async def test_retry_after_is_the_back_off(status, asked, left):
    made = world({"p1": Say.error(status, retry_after=asked), "p2": FINE})
    await whole(made)
    assert [ailing.seconds_left for ailing in made.gateway.health.ailing()] == [left]


async def test_a_retry_that_succeeds_is_a_success():
    made = world({"p1": [Say.error(503), Say.error(503), FINE]})
    assert (await whole(made)).headers["x-arbstr-retries"] == "3/p1"
    assert made.failures() == {}


@pytest.mark.parametrize("mode", MODES)
async def test_a_stream_that_never_began_is_one_step(mode):
    made = world({"p1": Say.error(503), "p2": STREAM})
    await ask(made, mode=mode)
    assert made.failures() == {"p1": 1}


BREAKS = {
    "a cut": Say.stream(ROLE, token("a"), cut=True),
    "silence": Say.stream(ROLE, token("a"), hang=True),
    "the end": Say.stream(ROLE, token("a")),
    "an error event": Say.stream(ROLE, token("a"), ERROR),
}


@pytest.mark.parametrize("met", BREAKS.values(), ids=BREAKS)
@pytest.mark.parametrize("mode", MODES)
async def test_a_stream_that_breaks_is_a_failure_before_and_after_the_commit_point(mode, met):
    made = world({"p1": met, "p2": STREAM})
    await ask(made, mode=mode)
    assert made.failures() == {"p1": 1}


@pytest.mark.parametrize("mode", MODES)
async def test_a_streams_failures_are_erased_when_it_completes_and_not_before(mode):
    slow = Say.stream(*ANSWER, after=3)
    made = world({"p1": [BROKEN, slow, BROKEN]}, health={"failures_to_open": 2})
    await whole(made)
    stream = asyncio.create_task(ask(made, mode=mode))
    await asyncio.sleep(13)  # its tokens are there, its end is not
    await whole(made)
    assert made.failures() == {"p1": 2}
    assert (await stream).whole


# --- no single client


@pytest.mark.parametrize("mode", [None, *MODES])
@pytest.mark.parametrize("after", [0.5, 3.5, 5.5], ids=["headers", "preamble", "token"])
async def test_a_client_that_leaves_moves_nothing(mode, after):
    said = FINE if mode is None else Say.stream(*ANSWER)
    slow = Say(said.status, said.pieces, said.content_type, after=2)
    made = world({"p1": slow, "p2": slow})
    for _ in range(5):
        await ask(made, stream=mode is not None, mode=mode, leave_after=after)
    assert made.failures() == {}


@pytest.mark.parametrize("mode", [None, *MODES])
@pytest.mark.parametrize(
    "slow",
    [Say.never(), Say.stream(ROLE, hang=True), Say.stream(COMMENT, *ANSWER, after=0.01)],
    ids=["silent", "a preamble", "slow"],
)
async def test_a_deadline_of_a_millisecond_moves_nothing(mode, slow):
    made = world({"p1": slow, "p2": slow})
    for milliseconds in ("1", "15", "25", "35"):
        heard = await ask(
            made,
            stream=mode is not None,
            mode=mode,
            headers={"X-Sentinel-Deadline-Ms": milliseconds},
            leave_after=9,
        )
        assert heard.status in (0, 200, 502, 504)
    assert made.failures() == {}


async def test_a_timeout_counts_once_it_ran_its_full_time():
    made = world({"p1": Say.never(), "p2": Say.never()})
    short = await whole(made, headers={"X-Sentinel-Deadline-Ms": "14000"})
    assert (short.status, made.failures()) == (504, {})
    assert (await whole(made)).status == 504
    assert made.failures() == {"p1": 1, "p2": 1}


@pytest.mark.parametrize("mode", [None, "first_token", "buffered"])
async def test_a_body_that_everybody_answers_with_500_is_the_suspect_itself(mode):
    made = world({"p1": Say.error(500), "p2": Say.error(500)})
    for _ in range(3):
        heard = await ask(made, stream=mode is not None, mode=mode)
        assert heard.status == 502
    assert made.failures() == {}
    assert len(made.asked()) == 12


@pytest.mark.parametrize(
    ("second", "charged"),
    [
        (FINE, {"p1": 1}),
        (Say.error(501), {"p1": 1, "p2": 1}),
        (Say.error(400), {"p1": 1}),
        (Say.error(400, "context_length_exceeded"), {"p1": 1}),
        (Say(fault=BUSY), {"p1": 1}),
    ],
    ids=["an answer", "another fault", "a 400", "a context too long", "nothing sent"],
)
async def test_500_from_one_alone_is_charged(second, charged):
    made = world({"p1": Say.error(500), "p2": second})
    await whole(made)
    assert made.failures() == charged


async def test_500_from_the_only_candidate_is_charged():
    made = world({"p1": Say.error(500)})
    await whole(made)
    assert made.failures() == {"p1": 1}


async def test_500_is_judged_by_the_last_word_of_a_candidate():
    script = {"p1": [Say.error(500), Say.error(500), Say.error(503)], "p2": Say.error(500)}
    made = world(script)
    await whole(made)
    assert made.failures() == {"p1": 1, "p2": 1}


async def test_a_client_that_leaves_before_the_second_500_spares_the_first():
    made = world({"p1": Say.error(500), "p2": Say(500, after=9)})
    await whole(made, leave_after=5)
    assert (made.asked(), made.failures()) == (["p1", "p1", "p1", "p2"], {})


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "nobody", "messages": []}'])
async def test_garbage_and_unknown_models_reach_nobody(body):
    made = world({"p1": FINE})
    exchange = made.gateway.begin([])
    async with made.gateway.handle(exchange, body) as reply:
        assert reply.status in (400, 404)
    assert (made.asked(), made.failures()) == ([], {})


# --- looked at again before every send


async def test_a_candidate_that_fails_meanwhile_is_skipped_and_is_no_attempt():
    script = {"p1": Say(501, after=5), "p2": [Say(501, after=1), FINE], "p3": FINE}
    made = world(script)
    slow = asyncio.create_task(whole(made))  # p1 until 10, then p2 by its plan
    await asyncio.sleep(0)
    made.gateway.health.failed(made.admit("p2"))
    heard = await slow
    assert (heard.status, heard.headers["x-arbstr-retries"]) == (200, "1/p1, 1/p3")
    assert made.asked() == ["p1", "p3"]


async def test_a_same_candidate_retry_looks_again_too():
    made = world({"p1": Say.error(503), "p2": FINE})
    first = asyncio.create_task(whole(made))
    await asyncio.sleep(0.5)
    made.gateway.health.failed(made.admit("p1"))
    heard = await first
    assert (heard.status, heard.headers["x-arbstr-retries"]) == (200, "1/p1, 1/p2")
    assert made.transport.calls() == [("p1", 0), ("p2", 1)]
    assert made.failures() == {"p1": 1}  # its own verdict is old news


async def test_ten_requests_that_fail_together_are_one_step():
    made = world({"p1": Say(501, after=1), "p2": FINE})
    answers = await asyncio.gather(*[whole(made) for _ in range(10)])
    assert {heard.status for heard in answers} == {200}
    assert made.failures() == {"p1": 1}
