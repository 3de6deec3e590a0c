"""An attempt at a stream ends at its commit point with what was held, or with what it met.

Whichever: nothing else stays open, and what is counted as held is what is held.
"""

import asyncio

import msgspec
import pytest
from attempts import WALL, Attempts
from wired import ANSWER, COMMENT, DONE, ROLE, STOP, token

from tiergate.attempt import Delivered
from tiergate.config import Streaming
from tiergate.opening import Commit
from tiergate.testing import Say


async def test_a_stream_is_delivered_at_its_commit_point_with_what_was_held():
    made = Attempts(Say.stream(*ANSWER, after=1), stream=True)
    delivered = await made.ask()
    assert (delivered.status, delivered.body, made.tokens) == (200, b"", 1)
    assert asyncio.get_running_loop().time() == 3  # headers, preamble, token
    assert made.capacity.held_bytes == len(ROLE + token("a"))
    assert made.transport.open == 1
    await delivered.relay.close()
    assert made.transport.open == 0


NO_STREAMS = {
    "JSON": Say.completion(),
    "no content type": Say(200, (DONE,), ""),
    "an encoding": Say(200, ANSWER, "text/event-stream", ((b"Content-Encoding", b"br"),)),
    "an empty body": Say.stream(),
    "a preamble that is cut": Say.stream(ROLE, cut=True),
}


@pytest.mark.parametrize("said", NO_STREAMS.values(), ids=NO_STREAMS)
async def test_a_200_that_is_no_stream_of_events_is_a_bad_answer(said):
    made = Attempts(said, stream=True)
    assert (await made.fails()).fault.label == "bad_answer"


async def test_the_content_type_of_a_stream_is_read_as_http_reads_it():
    made = Attempts(Say(200, ANSWER, " Text/Event-Stream; charset=utf-8"), stream=True)
    assert (await made.ask()).relay is not None


async def test_an_error_to_a_stream_request_is_read_like_any_other():
    failure = await Attempts(Say.error(400, "content_filter"), stream=True).fails()
    assert (failure.fault.label, failure.status) == ("rejected", 400)


@pytest.mark.parametrize(
    ("said", "label"),
    [
        (Say.never(), "timeout"),
        (Say.stream(hang=True, after=3), "timeout"),
        (Say.stream(*[COMMENT] * 20, after=3), "stalled"),
        (Say.stream(ROLE, hang=True, after=3), "stalled"),
    ],
    ids=["no headers", "no events", "only comments", "only a preamble"],
)
async def test_the_time_to_the_first_token_counts_from_the_sending(said, label):
    made = Attempts(said, stream=True)
    assert (await made.fails()).fault.label == label
    assert asyncio.get_running_loop().time() == 10


async def test_the_deadline_counts_from_the_sending_too():
    tokens = Say.stream(*[token("a")] * 50, after=2)
    made = Attempts(tokens, stream=True, commit=Commit.COMPLETE)
    delivered = await made.ask(deadline=15)
    assert (asyncio.get_running_loop().time(), made.tokens) == (15, 1)
    assert made.capacity.held_bytes == len(token("a")) * 6
    await delivered.relay.close()


@pytest.mark.parametrize("commit", [Commit.FIRST_TOKEN, Commit.COMPLETE])
async def test_what_a_failed_opening_held_is_given_back_before_the_next_attempt(commit):
    made = Attempts(Say.stream(ROLE, STOP[:20], cut=True), stream=True, commit=commit)
    await made.fails()


async def run(delivered: Delivered) -> list[tuple[float, bytes]]:
    heard: list[tuple[float, bytes]] = []

    async def write(data: bytes) -> None:
        heard.append((asyncio.get_running_loop().time(), data))

    await delivered.relay.run(write)
    await delivered.relay.close()
    return heard


async def test_after_the_commit_point_a_short_limit_has_no_effect():
    made = Attempts(
        Say.stream(COMMENT, COMMENT, *ANSWER, after=0.75), stream=True, commit=Commit.FIRST_BYTE
    )
    heard = await run(await made.ask(limit=2, deadline=2))  # the client's own deadline
    assert heard[-1] == (6, DONE)
    assert made.transport.open == 0


async def test_the_first_token_limit_goes_on_counting_after_the_commit_point():
    said = Say.stream(*[COMMENT] * 9, after=3)
    made = Attempts(said, stream=True, commit=Commit.FIRST_BYTE)
    heard = await run(await made.ask())
    assert heard[-1][0] == 10
    assert b"stream_stalled" in heard[-1][1]
    assert made.tokens == 0


async def test_the_first_token_is_told_after_the_commit_point_too():
    made = Attempts(Say.stream(COMMENT, *ANSWER), stream=True, commit=Commit.FIRST_BYTE)
    await run(await made.ask())
    assert made.tokens == 1


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_summary_precedes_done_where_it_is_wanted(wanted):
    made = Attempts(Say.stream(*ANSWER, after=1), stream=True, streaming=Streaming(summary=wanted))
    heard = b"".join(data for _, data in await run(await made.ask()))
    *_, before, done, nothing = heard.split(b"\n\n")
    assert (done, nothing) == (DONE.strip(), b"")
    if wanted:
        chunk = msgspec.json.decode(before.removeprefix(b"data: "))
        assert (chunk["arbstr"]["latency_ms"], chunk["created"]) == (6000, WALL + 6)
    else:
        assert before == STOP.strip()
