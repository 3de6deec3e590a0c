"""What a provider says is read tolerantly: unknown shapes are no error, absent is not zero."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergate.completion import (
    Chunk,
    Completion,
    ProviderError,
    Usage,
    read_chunk,
    read_completion,
    read_error,
)

NONE = ProviderError()
SOME = ProviderError(present=True)
DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("body", "valid", "error"),
    [
        (b'{"choices":[]}', True, NONE),
        (b'{"choices": [ {"message":{"content":"\xff"}} ], "error": null}', True, NONE),
        (rb'{"choices":[{"message":{"content":"half a pair \ud83d"}}]}', True, NONE),
        (b'{"choices":null}', False, NONE),
        (b'{"choices":{}}', False, NONE),
        (b"{}", False, NONE),
        (b"[]", False, NONE),
        (b"", False, NONE),
        (b"<html>", False, NONE),
        (b'{"choices":[]', False, NONE),
        (b'{"choices":' + DEEP + b"}", False, NONE),
        (b'{"choices":[],"error":{}}', False, SOME),
        (b'{"error":{"code":"c","message":"m"}}', False, ProviderError(True, "c", "m")),
    ],
)
def test_a_completion_is_an_object_with_choices_and_no_error(body, valid, error):
    assert read_completion(body) == Completion(valid=valid, error=error, usage=None)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ('{"prompt_tokens":0,"completion_tokens":2,"more":{}}', Usage(0, 2)),
        ('{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":1}}', Usage(3, None, 1)),
        ('{"prompt_tokens":3,"prompt_tokens_details":{}}', Usage(3)),
        ('{"prompt_tokens":3,"prompt_tokens_details":null}', Usage(3)),
        ("{}", Usage()),
        (f'{{"prompt_tokens":{2**53},"completion_tokens":0}}', Usage(2**53, 0)),
        (f'{{"prompt_tokens":{2**53 + 1},"completion_tokens":1}}', Usage(None, 1)),
        ('{"prompt_tokens":3,"completion_tokens":-1}', Usage(3)),
        ('{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":-1}}', Usage(3)),
        ('{"prompt_tokens":3,"prompt_tokens_details":[]}', Usage(3)),
        ("null", None),
        ('"many"', None),
        ('{"prompt_tokens":"3","completion_tokens":null}', Usage()),
        ('{"prompt_tokens":1e400,"completion_tokens":4}', Usage(None, 4)),
    ],
)
def test_usage_is_read_and_what_is_absent_is_unknown(usage, expected):
    body = f'{{"choices":[],"usage":{usage}}}'.encode()
    assert read_completion(body).usage == expected
    seen = read_chunk(body)
    assert seen == Chunk(usage=expected, usage_only=expected is not None)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"code":"c","message":"m","type":"t"}}', ProviderError(True, "c", "m")),
        (b'{"error":{"code":400,"message":["m"]}}', SOME),
        (b'{"error":{}}', SOME),
        (b'{"error":"overloaded"}', SOME),
        (b'{"error":true}', SOME),
        ('{"error":{"message":"zu groß","code":"c"}}'.encode("latin-1"), SOME),
        (rb'{"error":{"message":"cut \ud83d","code":"c"}}', ProviderError(True, "c", "cut \ufffd")),
        (b'{"error":null}', NONE),
        (b'{"detail":"x"}', NONE),
        (b'["error"]', NONE),
        (b"error", NONE),
        (b"", NONE),
        (b'{"error":' + DEEP + b"}", NONE),
    ],
)
def test_an_error_is_an_error_in_any_shape(body, error):
    assert read_error(body) == error


def test_an_error_that_cannot_be_read_is_one_in_a_stream_and_in_an_answer_too():
    latin = '{"error":{"message":"zu groß"}}'.encode("latin-1")
    assert read_chunk(latin) == Chunk(error=SOME)
    assert read_completion(latin) == Completion(valid=False, error=SOME, usage=None)


@pytest.mark.parametrize(
    ("delta", "token"),
    [
        ('{"role":"assistant"}', False),
        ('{"role":"assistant","content":""}', False),
        ('{"content":null,"refusal":null,"tool_calls":[],"x":{}}', False),
        ("{}", False),
        ("null", False),
        ('{"content":"a"}', True),
        ('{"content":" "}', True),
        ('{"reasoning_content":"hm"}', True),
        ('{"tool_calls":[{"index":0}]}', True),
        ('{"refusal":"no"}', True),
        ('{"content":0}', True),
        (r'{"content":"\ud83d"}', True),
        (r'{"content":"\\ud83d","x":"\ude00"}', True),
    ],
)
def test_a_token_is_any_member_of_a_delta_but_its_role_that_is_not_empty(delta, token):
    assert read_chunk(f'{{"choices":[{{"delta":{delta}}}]}}'.encode()) == Chunk(token=token)


def test_choices_that_finish_are_named_by_their_index():
    choices = [
        {"index": 2, "finish_reason": "stop"},
        {"index": 1, "finish_reason": None},
        {"finish_reason": "length", "delta": {"content": "a"}},
        {"index": 5, "finish_reason": ""},
    ]
    assert read_chunk(json.dumps({"choices": choices}).encode()) == Chunk((2, 0), token=True)


def test_usage_beside_choices_is_read_and_the_event_is_not_usage_only():
    seen = read_chunk(b'{"choices":[{"index":0}],"usage":{"prompt_tokens":1}}')
    assert seen == Chunk(usage=Usage(1), usage_only=False)


@pytest.mark.parametrize(
    "data",
    [b"5", b'"text"', b"[]", b'{"choices":5}', b'{"choices":[{"index":"0"}]}', b"null",
     rb'{"choices":"\ud83d"}'],
)  # fmt: skip
def test_json_that_is_no_chunk_says_nothing(data):
    assert read_chunk(data) == Chunk()


@pytest.mark.parametrize(
    "data",
    [b"", b"[DONE", b"{", b"nothing", b'{"choices":5,', b'{"a":"\x00"}', rb'{"a":"\q"}', DEEP,
     b'{"choices":[' + DEEP, b'{"choices":[{"finish_reason":"\xff"}]}'],
)  # fmt: skip
def test_what_is_no_json_is_no_chunk_at_all(data):
    assert read_chunk(data) is None


@settings(deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda some: b'{"error":' + some + b"}"))
def test_no_bytes_break_a_reader(body):
    assert isinstance(read_completion(body), Completion)
    assert isinstance(read_error(body), ProviderError)
    assert isinstance(read_chunk(body), Chunk | None)
