"""What a request needs of a model, and who is left out for it; no request is refused for it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tiergate.candidates import Candidate
from tiergate.estimate import Estimate
from tiergate.profile import Profile, misfit, profile_of

IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a"}}]}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def profiled(choices: int = 1, **members: Any) -> Profile:
    raw = {name: Raw(json.dumps(value).encode()) for name, value in members.items()}
    return profile_of(raw, choices)


@pytest.mark.parametrize(
    ("members", "features"),
    [
        ({}, ()),
        ({"messages": []}, ()),
        ({"tools": [TOOL]}, ("tools",)),
        ({"functions": [{"name": "f"}]}, ("tools",)),
        ({"tools": [], "functions": None}, ()),
        ({"messages": IMAGE}, ("vision",)),
        ({"messages": IMAGE, "tools": [TOOL]}, ("vision", "tools")),
        ({"modalities": ["text", "audio"]}, ("audio",)),
        ({"modalities": ["text"]}, ()),
        ({"modalities": "audio"}, ()),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, ("json_schema",)),
        ({"response_format": {"type": "json_object"}}, ()),
        ({"response_format": None}, ()),
        ({"response_format": {"type": 5}}, ()),
        ({"response_format": ["json_schema"]}, ()),
    ],
)
def test_what_a_request_needs_is_read_from_its_members(members, features):
    assert profiled(**members).features == features


@pytest.mark.parametrize("empty", [b"[ ]", b"[\n\t]", b"[]", b"null"])
def test_no_tools_are_no_tools_however_they_are_written(empty):
    assert profile_of({"tools": Raw(empty)}, 1).features == ()


@pytest.mark.parametrize("name", ["modalities", "response_format"])
@pytest.mark.parametrize(
    "value", [b'["\xff"]', b"[" * 100_000, b'{"type":' * 50_000, b'{"type":"\xed\xa0\x80"}', b""]
)
def test_what_cannot_be_read_needs_nothing(name, value):
    assert profile_of({name: Raw(value)}, 1).features == ()


def test_a_profile_carries_the_signals_and_the_choices():
    made = profile_of({"messages": Raw(b"[]")}, 3, {"length": 0.5})
    assert (made.signals, made.choices, made.estimate) == (
        {"length": 0.5},
        3,
        Estimate(1, 768, True),
    )
    assert profile_of({}, 1).signals == {}


def needing(*features, tokens: int = 100, answer: int | None = None, choices: int = 1) -> Profile:
    allowed = Estimate(tokens, (answer or 256) * choices, answer is None)
    return Profile(allowed, features, choices=choices)


def candidate(window: int | None = None, supports: set[str] | None = None) -> Candidate:
    able = None if supports is None else frozenset(supports)
    return Candidate("p", "m", 1, context_window=window, supports=able)


@pytest.mark.parametrize(
    ("able", "profile", "why"),
    [
        (candidate(), needing("tools", "vision", tokens=10**9), None),
        (candidate(supports=set()), needing(), None),
        (candidate(supports=set()), needing("tools"), "does not support tools"),
        (
            candidate(supports={"vision"}),
            needing("tools", "vision", "files"),
            "does not support tools, files",
        ),
        (candidate(supports={"tools", "vision"}), needing("tools"), None),
        (candidate(window=100), needing(), None),
        (candidate(window=99), needing(), "about 100 tokens do not fit into 99"),
        (candidate(window=150), needing(answer=50), None),
        (candidate(window=149), needing(answer=50), "about 150 tokens do not fit into 149"),
        (candidate(window=150), needing(answer=50, choices=4), None),
        (
            candidate(window=10, supports=set()),
            needing("audio"),
            "does not support audio; about 100 tokens do not fit into 10",
        ),
    ],
)
def test_a_candidate_is_left_out_with_its_reason(able, profile, why):
    assert misfit(able, profile) == why


@given(st.dictionaries(
    st.sampled_from(["messages", "tools", "modalities", "response_format", "max_tokens"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["audio", "type"]),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "image_url", "data"]), inner),
        max_leaves=8,
    ),
))  # fmt: skip
def test_any_members_have_a_profile(members):
    assert profiled(**members).estimate.input_tokens > 0
