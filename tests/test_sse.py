"""Framing survives any split, and every event keeps its own bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergate.sse import DONE, Event, EventReader, EventTooLarge

WHOLE = [
    (b"data: one\n\n", [b"one"]),
    (b"data: one\r\n\r\n", [b"one"]),
    (b"data: one\r\r", [b"one"]),
    (b"data:one\n\n", [b"one"]),
    (b"data:  two spaces\n\n", [b" two spaces"]),
    (b"data: a\ndata: b\n\n", [b"a\nb"]),
    (b"data: a\r\ndata: b\rdata: c\n\r\n", [b"a\nb\nc"]),
    (b": comment\n\n", [None]),
    (b"event: error\ndata: x\nid: 1\nretry: 5\nnonsense\n\n", [b"x"]),
    (b"\xef\xbb\xbfdata: bom\n\n", [b"bom"]),
    (b"data\n\n", [b""]),
    (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    (b"data: a\n\r\ndata: b\r\n\n", [b"a", b"b"]),
    ("data: gr\u00fc\u00df \U0001f44b\n\n".encode(), ["gr\u00fc\u00df \U0001f44b".encode()]),
]


def read(reader: EventReader, chunks: list[bytes]) -> list[Event]:
    return [event for chunk in chunks for event in reader.feed(chunk)]


def data_of(events: list[Event]) -> list[bytes | None]:
    """A stray line end between two events is no event of its own to a client."""
    return [event.data for event in events if event.raw.strip(b"\r\n")]


@pytest.mark.parametrize(("stream", "expected"), WHOLE)
def test_every_split_in_two_gives_the_same_events(stream, expected):
    for cut in range(len(stream) + 1):
        events = read(EventReader(1000), [stream[:cut], stream[cut:]])
        assert data_of(events) == expected, cut


@pytest.mark.parametrize(("stream", "expected"), WHOLE)
def test_byte_by_byte_gives_the_same_events_and_bytes(stream, expected):
    reader = EventReader(1000)
    events = read(reader, [stream[i : i + 1] for i in range(len(stream))])
    assert data_of(events) == expected
    assert b"".join(event.raw for event in events) == stream


ENDS = [b"\r\n", b"\n", b"\r"]
LINES = st.lists(st.sampled_from([b"data: x", b"data:", b": c", b"", b"id: 3"]), max_size=12)
CUTS = st.lists(st.integers(0, 150), max_size=6)


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    return [stream[a:b] for a, b in pairwise(points)]


@given(lines=LINES, ends=st.lists(st.sampled_from(ENDS), min_size=12, max_size=12), cuts=CUTS)
def test_any_split_of_any_framing_agrees_with_no_split(lines, ends, cuts):
    stream = b"".join(line + end for line, end in zip(lines, ends, strict=False)) + b"\n\ndata: z"
    whole, split = EventReader(1000), EventReader(1000)
    in_one, in_many = read(whole, [stream]), read(split, cut(stream, cuts))
    assert data_of(in_many) == data_of(in_one)
    last = (whole.finish(), split.finish())
    assert [event and event.data for event in last] == [b"z", b"z"]
    joined = b"".join(event.raw for event in in_many) + b"data: z"
    assert joined.replace(b"\n", b"") == stream.replace(b"\n", b"")  # nothing lost or doubled


@given(lines=LINES, end=st.sampled_from(ENDS), cuts=CUTS)
def test_at_any_split_of_one_framing_the_bytes_are_the_same(lines, end, cuts):
    stream = b"".join(line + end for line in lines) + b"data: z" + end + end
    events = read(EventReader(1000), cut(stream, cuts))
    assert b"".join(event.raw for event in events) == stream


def test_an_event_is_given_as_soon_as_its_blank_line_has_arrived():
    reader = EventReader(1000)
    assert reader.feed(b"data: a\r\n") == []
    assert [event.raw for event in reader.feed(b"\r")] == [b"data: a\r\n\r\n"]
    assert [event.raw for event in reader.feed(b"\ndata: b\r\n\r\n")] == [b"data: b\r\n\r\n"]


def test_half_a_line_end_between_two_framings_is_no_blank_line():
    reader = EventReader(1000)
    assert [event.raw for event in reader.feed(b"data: a\r\r")] == [b"data: a\r\r"]
    assert [event.data for event in reader.feed(b"\ndata: b\n\n")] == [b"b"]


def test_the_name_of_an_event_is_read():
    (event,) = EventReader(1000).feed(b"event: error\ndata: x\n\n")
    assert event.name == b"error"


def test_a_last_event_without_its_blank_line_is_given_one():
    reader = EventReader(1000)
    assert reader.feed(b"data: [DONE]") == []
    last = reader.finish()
    assert last is not None
    assert last.raw == b"data: [DONE]\n\n"
    assert last.data == DONE


def test_nothing_is_left_of_a_finished_stream_or_a_comment():
    assert EventReader(1000).finish() is None
    reader = EventReader(1000)
    reader.feed(b": ping")
    assert reader.finish() is None


@pytest.mark.parametrize(
    "chunks", [[b"data: " + b"x" * 100 + b"\n\n"], [b"data: "] + [b"x" * 10] * 10]
)
def test_an_event_over_the_limit_is_refused_whole_or_unfinished(chunks):
    with pytest.raises(EventTooLarge):
        read(EventReader(50), chunks)
