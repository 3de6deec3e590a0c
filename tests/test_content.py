"""Prompts and answers for those who asked to see them: whole where they fit, and never fatal."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wired import ANSWER, token

from tiergate.content import (
    MAX_PROMPT_BYTES,
    MAX_TAPE_BYTES,
    MAX_TEXT,
    Prompt,
    Tape,
    input_messages,
    output_messages,
)


class Answer:
    status = 201
    headers = ((b"x", b"y"),)

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.closed = 0

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.closed += 1


def told(messages: list[Any]) -> Any:
    said = input_messages(msgspec.json.encode(messages))
    return None if said is None else json.loads(said)


def heard(body: Any, *, stream: bool = False) -> Any:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    said = output_messages(raw, stream=stream)
    return None if said is None else json.loads(said)


def delta(index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    chunk = {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}
    return b"data: %s\n\n" % msgspec.json.encode(chunk)


# --- what was read


async def test_a_tape_gives_what_it_hears_and_keeps_it():
    answer = Answer(b"one ", b"two")
    tape = Tape(answer)
    assert [await tape.read(), await tape.read(), await tape.read()] == [b"one ", b"two", b""]
    assert (tape.kept, tape.status, tape.headers) == (b"one two", 201, ((b"x", b"y"),))
    tape.close()
    assert answer.closed == 1


async def test_a_tape_ends():
    tape = Tape(Answer(*[b"x" * 700_000] * 3))
    while await tape.read():
        pass
    assert len(tape.kept) == MAX_TAPE_BYTES


# --- what was asked

ASKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a text": (
        {"role": "user", "content": "hi"},
        {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
    ),
    "parts": (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is it?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                "nonsense",
            ],
        },
        {
            "role": "user",
            "parts": [{"type": "text", "content": "what is it?"}, {"type": "image_url"}],
        },
    ),
    "a call of a tool": (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "function": 3},
            ],
        },
        {
            "role": "assistant",
            "parts": [
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": "{}"},
                {"type": "tool_call", "id": "c2", "name": "", "arguments": ""},
            ],
        },
    ),
    "what a tool said": (
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "42"}]},
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}],
        },
    ),
    "nothing": ({}, {"role": "", "parts": []}),
}


@pytest.mark.parametrize("case", ASKED)
def test_a_message_is_told_as_the_conventions_have_it(case):
    said, expected = ASKED[case]
    assert told([said]) == [expected]


def test_of_a_long_conversation_the_newest_messages_are_told_in_their_order():
    messages = [{"role": "user", "content": f"{number} " + "x" * 9_000} for number in range(20)]
    kept = [each["parts"][0]["content"][:2] for each in told(messages)]
    assert kept == ["13", "14", "15", "16", "17", "18", "19"]


def test_messages_that_are_too_many_are_not_looked_into():
    raw = b'[{"role":"user","content":"hi"}' + b" " * (MAX_PROMPT_BYTES - 32) + b"]"
    assert len(raw) == MAX_PROMPT_BYTES
    assert input_messages(msgspec.Raw(raw)) is not None
    assert input_messages(msgspec.Raw(raw + b" ")) is None


def test_a_prompt_is_told_once_also_where_there_is_nothing_to_tell():
    for raw, other in ((b'[{"role":"user"}]', b"[]"), (b"[]", b'[{"role":"user"}]')):
        prompt = Prompt()
        assert prompt.told(raw) == prompt.told(other) == input_messages(raw)


def test_a_long_text_is_cut():
    [message] = told([{"role": "user", "content": "x" * 100_000}])
    assert message["parts"][0]["content"] == "x" * MAX_TEXT


def test_of_a_message_that_is_too_long_alone_the_first_parts_are_told():
    parts = [{"type": "text", "text": "x" * MAX_TEXT}] * 9
    [message] = told([{"role": "user", "content": "old"}, {"role": "user", "content": parts}])
    assert len(message["parts"]) == 3


@pytest.mark.parametrize("raw", [b"[]", b"{}", b"3", b"[3]", b"nonsense", b"\xff", b"[" * 10_000])
def test_what_is_no_list_of_messages_is_not_told(raw):
    assert input_messages(raw) is None


# --- what was answered


def test_every_choice_of_an_answer_is_told():
    message = {"role": "assistant", "content": "yes"}
    choices = [{"message": message, "finish_reason": "stop"}, {"message": 3}, {}, 4]
    assert heard({"choices": choices}) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "yes"}],
            "finish_reason": "stop",
        }
    ]


def test_a_stream_is_put_together():
    said = b"".join((*ANSWER[:3], delta(finish="length"), delta(), *ANSWER[4:]))
    assert heard(said, stream=True) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "ab"}],
            "finish_reason": "length",
        }
    ]


def test_the_choices_and_the_calls_of_a_stream_are_kept_apart():
    first = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{"}}
    stream = b"".join(
        [
            delta(1, content="other"),
            delta(tool_calls=[first]),
            delta(
                tool_calls=[
                    {"index": 0, "function": {"arguments": "}"}},
                    {"index": 1, "function": 3},
                ]
            ),
            delta(finish="tool_calls"),
        ]
    )
    other, calls = heard(stream, stream=True)
    assert other["parts"] == [{"type": "text", "content": "other"}]
    assert calls["finish_reason"] == "tool_calls"
    assert calls["parts"] == [
        {"type": "tool_call", "id": "c1", "name": "f", "arguments": "{}"},
        {"type": "tool_call", "id": "", "name": "", "arguments": ""},
    ]


def test_of_a_stream_that_was_cut_what_came_is_told():
    said = token("one") + token("two")[:-5]
    assert heard(said, stream=True)[0]["parts"] == [{"type": "text", "content": "one"}]


STRANGE = b'data: {"choices":[{"index":[],"delta":3},{"index":"x","delta":{"content":"a"}}]}\n\n'


@pytest.mark.parametrize(
    ("body", "stream"),
    [
        *((each, True) for each in (b"", b": ping\n\n", b"data: [DONE]\n\n", b"<html>")),
        *((each, False) for each in (b"", b"<html>", b'{"choices":3}', b"[]")),
    ],
)
def test_what_is_no_answer_is_not_told(body, stream):
    assert heard(body, stream=stream) is None


def test_a_strange_index_is_taken_for_the_first():
    assert heard(STRANGE, stream=True)[0]["parts"] == [{"type": "text", "content": "a"}]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("role", "content", "type", "text", "tool_calls", "function", "name", "id"),
                    *("choices", "message", "delta", "finish_reason", "index", "arguments"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_nothing_that_anybody_says_is_fatal(value):
    raw = msgspec.json.encode(value)
    choices = msgspec.json.encode({"choices": [value]})
    for given_ in (raw, choices):
        input_messages(given_)
        output_messages(given_, stream=False)
        output_messages(b"data: %s\n\n" % given_, stream=True)
