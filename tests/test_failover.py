"""Streams in their three modes: what a client is spared, what it hears, and that it hears it once.

Through ASGI over scripted providers in virtual time: CONTRACT section 8, and 7 where it applies.
The same over real sockets is `e2e/test_faults.py`'s.
"""

import re

import pytest
from wired import ANSWER, COMMENT, DONE, ERROR, ROLE, STOP, Heard, ask, token, world

from tiergate.faults import BUSY, DISCONNECTED, STALE, UNREACHABLE
from tiergate.testing import Say

FINE = Say.stream(*ANSWER)
TEXT = b"".join(ANSWER)
TELLING = ("x-sentinel-model", "x-arbstr-provider", "x-arbstr-retries")
STRICT = {"max_event_bytes": 500}

EARLY = {
    "500": Say.error(500),
    "503": Say.error(503),
    "503 that asks for a minute": Say.error(503, retry_after="60"),
    "429": Say.error(429),
    "402": Say.error(402),
    "401 to our key": Say.error(401),
    "a model it does not know": Say.error(404, "model_not_found"),
    "a context too long": Say.error(400, "context_length_exceeded"),
    "a member it does not take": Say.error(400, "unsupported_parameter"),
    "cannot connect": Say(fault=UNREACHABLE),
    "reset before headers": Say(fault=DISCONNECTED),
    "no free connection": Say(fault=BUSY),
    "JSON instead of events": Say.completion(),
    "HTML": Say(200, (b"<html>",), "text/html"),
    "an encoding": Say(200, ANSWER, "text/event-stream", ((b"content-encoding", b"br"),)),
    "an empty stream": Say.stream(),
    "a preamble that is cut": Say.stream(ROLE, cut=True),
    "a preamble and [DONE]": Say.stream(ROLE, DONE),
    "an error event": Say.stream(ROLE, ERROR),
    "a large event": Say.stream(ROLE, b"data: " + b"x" * 600),
    "no headers": Say.never(),
    "no events": Say.stream(hang=True),
    "a preamble and silence": Say.stream(ROLE, hang=True),
    "comments for ever": Say.stream(*[COMMENT] * 99, after=4),
}
LATE = {
    "a cut": (Say.stream(ROLE, token("a"), cut=True), "stream_interrupted"),
    "a cut inside an event": (
        Say.stream(ROLE, token("a"), token("b")[:30], cut=True), "stream_interrupted",
    ),
    "the end": (Say.stream(ROLE, token("a")), "stream_interrupted"),
    "[DONE] too early": (Say.stream(ROLE, token("a"), DONE), "stream_interrupted"),
    "an error event": (Say.stream(ROLE, token("a"), ERROR), "overloaded"),
    "silence": (Say.stream(ROLE, token("a"), hang=True), "stream_stalled"),
    "a large event": (
        Say.stream(ROLE, token("a"), b"data: " + b"x" * 600), "stream_interrupted",
    ),
}  # fmt: skip
LATE_SAYS = {f"{name}, late": met for name, (met, _) in LATE.items()}


def spoken(heard: Heard) -> bytes:
    """The body without our comments."""
    return re.sub(rb"^: .*\n\n", b"", heard.body, flags=re.MULTILINE)


# --- what a client is spared


@pytest.mark.parametrize(
    ("mode", "met"),
    [("first_token", met) for met in EARLY.values()]
    + [("buffered", met) for met in (EARLY | LATE_SAYS).values()],
    ids=[f"first_token-{n}" for n in EARLY] + [f"buffered-{n}" for n in EARLY | LATE_SAYS],
)
@pytest.mark.parametrize("broken", [1, 2], ids=["of two", "two of three"])
async def test_a_fault_that_leaves_one_healthy_candidate_ends_in_the_whole_answer(
    mode, met, broken
):
    script = {f"p{number}": met for number in range(1, broken + 1)} | {"last": FINE}
    made = world(script, streaming=STRICT, retry={"fallbacks": broken})
    heard = await ask(made, mode=mode)
    assert (heard.status, spoken(heard)) == (200, TEXT)
    assert made.transport.sent[-1].provider == "last"
    assert made.clean


@pytest.mark.parametrize(("met", "code"), LATE.values(), ids=LATE)
@pytest.mark.parametrize("mode", ["off", "first_token"])
async def test_after_the_first_token_a_fault_is_a_typed_error_within_the_stream(mode, met, code):
    made = world({"p1": met, "p2": FINE}, streaming=STRICT)
    heard = await ask(made, mode=mode)
    assert (heard.status, heard.text, heard.code) == (200, "a", code)
    assert (heard.body.count(b'"error"'), heard.body.count(b"[DONE]")) == (1, 0)
    assert made.transport.calls() == [("p1", 0)]  # nothing is sent again
    assert made.clean


ASKED = {name: met for name, met in EARLY.items() if met.fault is not BUSY}


@pytest.mark.parametrize("met", ASKED.values(), ids=ASKED)
async def test_off_asks_nobody_else_and_reports_at_once(met):
    made = world({"p1": met, "p2": FINE}, streaming=STRICT)
    heard = await ask(made, mode="off")
    assert made.transport.calls() == [("p1", 0)]
    assert heard.status >= 400 or b'"error"' in heard.body
    assert heard.code is not None
    assert b"[DONE]" not in heard.body
    assert heard.seconds <= 10
    assert made.clean


async def test_off_too_passes_over_a_busy_provider_for_nothing_was_sent():
    made = world({"p1": Say(fault=BUSY), "p2": FINE})
    heard = await ask(made, mode="off")
    assert (heard.body, made.asked()) == (TEXT, ["p1", "p2"])
    assert heard.headers["x-arbstr-provider"] == "p2"
    assert "x-arbstr-retries" not in heard.headers
    assert made.clean


@pytest.mark.parametrize("mode", ["first_token", "buffered"])
async def test_a_fault_that_may_pass_is_retried_at_the_same_candidate(mode):
    made = world({"p1": [Say.stream(ROLE, cut=True), Say.error(503), FINE], "p2": FINE})
    heard = await ask(made, mode=mode)
    assert made.transport.calls() == [("p1", 0), ("p1", 1), ("p1", 3)]
    assert (heard.body, heard.headers["x-arbstr-retries"]) == (TEXT, "3/p1")


@pytest.mark.parametrize("mode", ["first_token", "buffered"])
@pytest.mark.parametrize(
    "silent",
    [Say.never(), Say.stream(hang=True), Say.stream(ROLE, hang=True)],
    ids=["no headers", "no events", "no token"],
)
async def test_a_silent_primary_costs_the_first_token_timeout_and_is_not_asked_twice(mode, silent):
    made = world({"p1": silent, "p2": FINE})
    heard = await ask(made, mode=mode)
    assert made.transport.calls() == [("p1", 0), ("p2", 10)]
    assert (heard.seconds, heard.headers["x-arbstr-retries"]) == (10, "1/p1, 1/p2")


@pytest.mark.parametrize("mode", ["off", "first_token", "buffered"])
async def test_a_stale_connection_is_replaced_free_of_charge(mode):
    made = world({"p1": [Say(fault=STALE), FINE], "p2": Say.error(501)})
    heard = await ask(made, mode=mode)
    assert (heard.body, made.transport.calls()) == (TEXT, [("p1", 0), ("p1", 0)])
    assert "x-arbstr-retries" not in heard.headers
    assert made.clean


# --- which mode


@pytest.mark.parametrize("configured", ["off", "first_token", "buffered"])
@pytest.mark.parametrize("chosen", [None, "off", "first_token", "buffered"])
async def test_a_request_may_choose_its_mode(configured, chosen):
    script = {"p1": Say.stream(ROLE, token("a"), cut=True), "p2": FINE}
    heard = await ask(world(script, streaming={"failover": configured}), mode=chosen)
    rescued = (chosen or configured) == "buffered"
    assert heard.whole == rescued
    early = world({"p1": Say.error(501), "p2": FINE}, streaming={"failover": configured})
    assert (await ask(early, mode=chosen)).whole == ((chosen or configured) != "off")


async def test_a_mode_that_does_not_exist_is_refused():
    made = world({"p1": FINE})
    heard = await ask(made, mode="always")
    assert (heard.status, heard.code, made.transport.sent) == (400, "invalid_request", [])


async def test_each_mode_sends_as_early_as_it_may():
    said = Say.stream(*ANSWER, after=1)  # headers at 1, preamble at 2, tokens at 3 and 4
    times = {}
    for mode in ("off", "first_token", "buffered"):
        heard = await ask(world({"p1": said}), mode=mode)
        times[mode] = heard.pieces[0]
        assert heard.body == TEXT
    assert times == {
        "off": (2, ROLE),
        "first_token": (3, ROLE + token("a")),
        "buffered": (6, TEXT.removesuffix(DONE)),
    }


# --- time


@pytest.mark.parametrize(("mode", "ended"), [("off", 3), ("first_token", 3), ("buffered", 3)])
async def test_a_clients_deadline_bounds_what_leads_to_the_commit_point(mode, ended):
    made = world({"p1": Say.never(), "p2": FINE})
    heard = await ask(made, mode=mode, headers={"X-Sentinel-Deadline-Ms": "3000"})
    assert (heard.status, heard.code, heard.seconds) == (504, "deadline_exceeded", ended)
    assert made.transport.calls() == [("p1", 0)]


@pytest.mark.parametrize("mode", ["off", "first_token"])
async def test_a_clients_deadline_has_no_effect_after_the_commit_point(mode):
    slow = Say.stream(COMMENT, *ANSWER, after=2)
    deadline = "5000" if mode == "off" else "9000"  # the comment is there at 4, the token at 8
    heard = await ask(world({"p1": slow}), mode=mode, headers={"X-Sentinel-Deadline-Ms": deadline})
    assert (heard.whole, heard.seconds) == (True, 14)


async def test_a_deadline_that_meets_a_flowing_answer_commits_what_is_held_and_relays_on():
    made = world({"p1": Say.stream(*ANSWER, after=2), "p2": FINE})
    heard = await ask(made, mode="buffered", headers={"X-Sentinel-Deadline-Ms": "7000"})
    assert heard.pieces[0] == (7, ROLE + token("a"))
    assert (heard.body, len(made.transport.sent)) == (TEXT, 1)
    assert [at for at, _ in heard.pieces] == [7, 9, 11, 13]  # each event as it comes


async def test_buffered_has_a_deadline_of_its_own():
    tokens = (token("a"),) * 20
    made = world({"p1": Say.stream(*tokens, STOP, DONE, after=9)})
    heard = await ask(made, mode="buffered", headers={"X-Sentinel-Deadline-Ms": "600000"})
    first = next(at for at, piece in heard.pieces if token("a") in piece)
    assert first == 120
    assert (heard.text, heard.events[-1]) == ("a" * 20, b"data: [DONE]")


async def test_a_full_buffer_commits_and_an_error_after_it_is_in_band():
    said = Say.stream(ROLE, *[token("a")] * 50, cut=True)
    made = world({"p1": said, "p2": FINE}, streaming={"max_buffer_bytes": 1000})
    heard = await ask(made, mode="buffered")
    assert (heard.text, heard.code) == ("a" * 50, "stream_interrupted")
    assert len(made.transport.sent) == 1
    assert made.clean


@pytest.mark.parametrize("mode", ["off", "first_token", "buffered"])
async def test_done_is_added_two_seconds_after_a_complete_answer_that_lacks_it(mode):
    made = world({"p1": Say.stream(*ANSWER[:-1], hang=True)})
    heard = await ask(made, mode=mode)
    assert (heard.body, heard.seconds) == (TEXT, 2)
    assert made.clean


# --- a client that waits


async def test_a_long_wait_is_filled_with_comments_and_told_before_done():
    made = world({"p1": Say.error(501), "p2": Say.stream(*ANSWER, after=6)})
    heard = await ask(made, mode="buffered")
    assert heard.pieces[:2] == [(15, b": waiting\n\n"), (30, b": waiting\n\n")]
    assert [at for at, _ in heard.pieces[2:]] == [32] * len(
        heard.pieces[2:]
    )  # `[DONE]` is not waited for
    assert not set(TELLING) & set(heard.headers)
    assert heard.headers["x-sentinel-tier"] == "moderate"
    assert heard.headers["content-type"] == "text/event-stream; charset=utf-8"
    told = b": x-sentinel-model=m x-arbstr-provider=p2 x-arbstr-retries=1/p1, 1/p2\n\n"
    assert heard.body.endswith(STOP + told + DONE)
    assert spoken(heard) == TEXT
    assert made.clean


async def test_a_short_wait_needs_no_comments_and_leaves_the_headers_whole():
    made = world({"p1": Say.error(501), "p2": Say.stream(*ANSWER, after=2)})
    heard = await ask(made, mode="buffered")
    assert heard.body == TEXT
    assert [heard.headers[name] for name in TELLING] == ["m", "p2", "1/p1, 1/p2"]


LATE_ERRORS = {
    "nobody served": (Say(503, after=8), "provider_error"),
    "nobody answered": (Say.never(), "deadline_exceeded"),
    "the client's fault": (
        Say(400, (b'{"error": {"code": "content_filter"}}',), after=9), "content_filter",
    ),
    "too many bytes": (Say.stream(token("a" * 400), after=9), "overloaded"),
}  # fmt: skip


@pytest.mark.parametrize(("met", "code"), LATE_ERRORS.values(), ids=LATE_ERRORS)
async def test_after_a_comment_an_error_can_only_be_in_band(met, code):
    made = world({"p1": met}, limits={"max_buffered_bytes": 400})
    heard = await ask(made, mode="buffered")
    assert (heard.status, heard.code) == (200, code)
    assert heard.pieces[0] == (15, b": waiting\n\n")
    assert len(heard.events) == 1
    assert made.clean


@pytest.mark.parametrize("mode", ["first_token", "buffered"])
async def test_before_a_comment_an_error_has_its_status(mode):
    made = world({"p1": Say.error(400, "content_filter"), "p2": FINE})
    heard = await ask(made, mode=mode)
    assert (heard.status, heard.code, len(made.transport.sent)) == (400, "content_filter", 1)
    assert heard.headers["x-arbstr-streaming"] == "true"
    full = world({"p1": FINE}, limits={"max_buffered_bytes": 90})
    assert (await ask(full, mode=mode)).status == 503
    assert full.clean


@pytest.mark.parametrize("mode", ["off", "first_token", "buffered"])
@pytest.mark.parametrize("after", [5, 20, 47], ids=["early", "while waiting", "in the answer"])
async def test_a_client_that_leaves_ends_the_call(mode, after):
    made = world({"p1": Say.stream(*[token("a")] * 30, after=4), "p2": FINE})
    heard = await ask(made, mode=mode, leave_after=after)
    assert (heard.seconds, len(made.transport.sent)) == (after, 1)
    assert made.clean
    assert made.failures() == {}
