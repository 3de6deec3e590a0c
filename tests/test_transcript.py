"""What of a stream goes on, byte for byte, and when its answer is complete: CONTRACT section 8."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergate.completion import Usage
from tiergate.sse import EventTooLarge
from tiergate.transcript import DONE_EVENT, Transcript, error_event

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
HELLO = "gr\u00fc\u00df \U0001f44b".encode()
TOKEN = b'data:{"choices": [ {"index":0,"delta":{"content":"%s"}}]}\r\n\r\n' % HELLO
COMMENT = b": ping\n\n"
STOP = b'event: chunk\ndata: {"choices":[{"index":0,\ndata: "finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"id: 9\ndata:[DONE]\r\r"
ERROR = b'data: {"error":{"code":"overloaded","message":"m"}}\n\n'
GARBAGE = b"data: {not json}\n\n"


def stop(index: int) -> bytes:
    return b'data: {"choices":[{"index":%d,"finish_reason":"stop"}]}\n\n' % index


def transcript(*, choices: int = 1, relay_usage: bool = True, limit: int = 1000) -> Transcript:
    return Transcript(choices=choices, relay_usage=relay_usage, max_event_bytes=limit)


def fed(*pieces: bytes, **settings) -> tuple[Transcript, bytes]:
    made = transcript(**settings)
    return made, b"".join([made.feed(piece) for piece in pieces])


def squeezed(stream: bytes) -> bytes:
    """A line end cut in two may leave its second half behind the event: no client sees that."""
    return stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def test_events_go_on_with_their_own_bytes_at_every_split():
    stream = ROLE + TOKEN + COMMENT + STOP + USAGE
    for cut in range(len(stream) + 1):
        seen, out = fed(stream[:cut], stream[cut:], DONE)
        assert squeezed(out) == squeezed(stream), cut
        assert seen.complete
        assert seen.usage == Usage(3, 2)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 600), max_size=8))
def test_hidden_and_dropped_events_are_the_same_at_any_split(cuts):
    stream = ROLE + GARBAGE + TOKEN + COMMENT + STOP + USAGE + DONE
    points = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    pieces = [stream[a:b] for a, b in pairwise(points)]
    seen, out = fed(*pieces, relay_usage=False)
    assert squeezed(out) == squeezed(ROLE + TOKEN + COMMENT + STOP)
    assert (seen.dropped, seen.usage, seen.complete, seen.ended) == (1, Usage(3, 2), True, True)
    assert seen.done_event() == DONE


def test_an_event_goes_on_as_soon_as_it_is_whole_and_not_before():
    made = transcript()
    assert made.feed(ROLE[:-1]) == b""
    assert made.feed(ROLE[-1:] + STOP[:5]) == ROLE


@pytest.mark.parametrize(
    ("event", "token"),
    [
        (ROLE, False),
        (COMMENT, False),
        (USAGE, False),
        (GARBAGE, False),
        (TOKEN, True),
        (STOP, True),
    ],
)
def test_a_token_is_content_or_a_finish_reason(event, token):
    assert fed(event)[0].has_token is token
    assert fed(TOKEN, event)[0].has_token


def test_events_and_comments_are_counted_apart():
    seen, _ = fed(COMMENT, ROLE, COMMENT, GARBAGE, TOKEN[:9])
    assert (seen.comments, seen.events, seen.dropped) == (2, 2, 1)


@pytest.mark.parametrize(
    ("choices", "events", "complete"),
    [
        (1, [], False),
        (1, [TOKEN], False),
        (1, [STOP], True),
        (2, [stop(0)], False),
        (2, [stop(0), stop(0)], False),
        (2, [stop(1), TOKEN, stop(0)], True),
        (1, [STOP, ERROR], False),
        (1, [DONE], False),
        (1, [DONE, STOP], False),
    ],
)
def test_complete_means_that_every_choice_has_finished(choices, events, complete):
    assert fed(*events, choices=choices)[0].complete is complete


def test_done_is_held_back_and_nothing_follows_it():
    seen, out = fed(STOP, DONE + TOKEN, USAGE)
    assert out == STOP
    assert seen.ended
    assert seen.usage is None
    assert seen.done_event() == DONE


def test_a_missing_done_is_ours():
    seen, _ = fed(STOP)
    assert not seen.ended
    assert seen.done_event() == DONE_EVENT == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "error",
    [
        ERROR,
        b'data: {"error":"busy"}\n\n',
        b'event: error\ndata: {"message":"m"}\n\n',
        b'data: {"error":{},"usage":{"prompt_tokens":1}}\n\n',
        b'event: error\ndata: {"usage":{"prompt_tokens":1}}\n\n',
    ],
)
@pytest.mark.parametrize("relay_usage", [True, False])
def test_an_error_of_the_provider_goes_on_and_is_the_last_event(error, relay_usage):
    seen, out = fed(TOKEN, error + TOKEN, DONE, relay_usage=relay_usage)
    assert out == TOKEN + error
    assert (seen.has_error, seen.ended, seen.complete) == (True, True, False)


@pytest.mark.parametrize(("relay_usage", "passed"), [(True, USAGE), (False, b"")])
def test_a_usage_event_is_read_and_passed_on_only_where_it_was_asked_for(relay_usage, passed):
    seen, out = fed(USAGE, relay_usage=relay_usage)
    assert out == passed
    assert seen.usage == Usage(3, 2)


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
        b'data: {"choices":[],"usage":null}\n\n',
        b"data: {}\n\n",
        b"data: 5\n\n",
    ],
)
def test_what_is_not_only_usage_goes_on_unasked_for(event):
    assert fed(event, relay_usage=False)[1] == event


def test_the_last_usage_counts_and_is_not_forgotten():
    early = b'data: {"choices":[{"index":0}],"usage":{"prompt_tokens":1}}\n\n'
    assert fed(early, TOKEN)[0].usage == Usage(1)
    assert fed(early, USAGE, STOP)[0].usage == Usage(3, 2)


@pytest.mark.parametrize(
    ("later", "usage"),
    [
        (b"{}", Usage(3, 2)),
        (b'{"completion_tokens":7}', Usage(3, 7)),
        (b'{"prompt_tokens":0,"completion_tokens":null}', Usage(0, 2)),
        (b'{"prompt_tokens_details":{"cached_tokens":1}}', Usage(3, 2, 1)),
        (b'"many"', Usage(3, 2)),
    ],
)
def test_usage_that_comes_in_parts_is_put_together(later, usage):
    assert fed(USAGE, b'data: {"choices":[],"usage":%b}\n\n' % later)[0].usage == usage


def test_an_event_without_its_blank_line_is_taken_at_the_end_of_the_body():
    made, out = fed(TOKEN, STOP.rstrip(b"\n"))
    assert (out, made.complete) == (TOKEN, False)
    assert made.finish() == STOP
    assert made.complete
    assert made.finish() == b""


@pytest.mark.parametrize("left", [b"", b": ping", b'data: {"half', b"data:[DONE]"])
def test_what_is_left_of_anything_else_does_not_go_on(left):
    made, _ = fed(STOP, left)
    assert made.finish() == b""
    assert made.complete


def test_an_event_over_the_limit_is_not_held():
    with pytest.raises(EventTooLarge):
        fed(b"data: " + b"x" * 1000)


def test_an_error_event_of_ours_has_the_one_shape():
    event = error_event("stream_stalled", "why", "p1")
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert json.loads(event.removeprefix(b"data: "))["error"] == {
        "message": "why",
        "type": "upstream_error",
        "param": None,
        "code": "stream_stalled",
        "provider": "p1",
    }
