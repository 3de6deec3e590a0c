"""What is measured of a request: each signal by what it is for, bounded in what it reads."""
# ruff: noqa: RUF001 - marks of other scripts are meant

import json
import re
import sys
from re import _parser

import msgspec
import pytest
from msgspec import Raw

from tiergate import demand, lexicon, prompt, signals
from tiergate.classify import Classifier
from tiergate.routing_config import ClassifierSettings

NEUTRAL = " ".join(("we go with her to see it as he said it " * 3).split()[:31])


def measured(text="", *, messages=None, most_bytes=1 << 20, **members):
    said = messages if messages is not None else [{"role": "user", "content": text}]
    body = json.dumps({"messages": said, **members}, ensure_ascii=False)
    ours = Classifier(ClassifierSettings(max_prompt_bytes=most_bytes))
    return ours.measure(msgspec.json.decode(body, type=dict[str, Raw]))


@pytest.mark.parametrize(
    ("signal", "text"),
    [
        ("brief", "what is the time there now"),
        ("very_brief", "hi"),
        ("long", "and so it is with the sea " * 10),
        ("very_long", "and so it is with the sea " * 40),
        ("bulk", "and so it is with the sea " * 400),
        ("mostly_pasted", "what is this?\n\n" + "some words of a page. " * 40 + "\n\nthe end"),
        ("code", "why\n```\nx = [1, 2]\n```"),
        ("code_blocks", "why\n```\nx = [1, 2]\n```"),
        ("quotations", "is 'a cat' a noun"),
        ("list_items", "do this\n1. a\n2. b"),
        ("commas", "one, two"),
        ("semicolons", "one；two"),
        ("parentheses", "one (two)"),
        ("numbers", "the 3 of 17"),
        ("symbols", "is x² ≥ 0"),
        ("acronyms", "does TLS help"),
        ("long_words", "uncharacteristically multidimensional"),
        ("question", "这是什么吗"),
        ("yes_or_no", "is the sea blue?"),
        ("exclamations", "go!"),
        ("proof", "bitte beweise es"),
        ("medicine", "the patient has a fever"),
    ],
)
def test_a_signal_tells_what_it_is_for(signal, text):
    assert measured(text)[signal] > 0
    assert signal not in measured(NEUTRAL)


@pytest.mark.parametrize(
    ("signal", "members"),
    [
        ("tools", {"tools": [{}]}),
        ("structured_answer", {"response_format": {"type": "json_object"}}),
        ("short_answer", {"max_tokens": 5}),
        ("short_answer", {"max_tokens": 9000, "max_completion_tokens": 5}),
        ("long_answer", {"max_completion_tokens": 9000}),
        ("high_effort", {"reasoning_effort": "high"}),
        ("low_effort", {"reasoning_effort": "minimal"}),
    ],
)
def test_what_stands_beside_the_messages_is_measured(signal, members):
    assert measured("", **members) == {signal: 1.0}


@pytest.mark.parametrize(
    "members", [{"tools": 5}, {"max_tokens": "x"}, {"max_tokens": -1}, {"reasoning_effort": [1]}]
)
def test_what_is_malformed_is_as_if_it_were_not_there(members):
    assert measured("", **members) == {}


def test_a_conversation_is_measured_by_its_turns_and_their_depth():
    said = [
        {"role": "user", "content": "prove the theorem"},
        {"role": "assistant", "content": "…", "tool_calls": [{}]},
        {"role": "user", "content": "go on"},
    ]
    found = measured(messages=said)
    assert found["turns"] == found["tool_calls"] == 1.0
    assert found["earlier_depth"] > 0
    assert found["brief"] < measured("go on")["brief"]


@pytest.mark.parametrize("text", ["", "   ", "ያልታወቀ ጽሑፍ", "qwzx vbnm"])
def test_what_we_can_not_read_says_nothing(text):
    assert measured(text).keys() <= {"long_words"}


def test_shortness_in_a_language_that_we_do_not_read_says_nothing():
    assert "brief" not in measured("Chứng minh có vô hạn số nguyên tố")
    assert "brief" in measured("Sag mir die Zeit")
    assert "brief" in measured("17 * 23")


def test_a_chinese_sentence_is_as_long_as_its_english():
    assert measured("从" * 60)["long"] == pytest.approx(measured("cat " * 35)["long"], abs=0.2)


def test_what_follows_the_colon_of_a_chore_is_not_asked():
    assert "proof" not in measured("fix the typos: prove teh theorem by induction")
    assert "proof" in measured("one line: prove the theorem by induction")


def test_a_greeting_before_the_demand_is_not_the_demand():
    text = "Good morning!\n\n" + "We must prove the bound without a gap. " * 12
    assert measured(text)["proof"] > 0


def test_too_large_a_prompt_speaks_by_its_size_alone():
    assert measured("prove it " * 4000, most_bytes=1000).keys() == {"long", "very_long", "bulk"}


def patterns():
    for module in (demand, lexicon, prompt, signals):
        for value in vars(module).values():
            found = value if isinstance(value, tuple) else [value]
            for each in found:
                each = each[1] if isinstance(each, tuple) and len(each) == 2 else each
                if isinstance(each, re.Pattern):
                    yield each


def endless(parsed, *, inside=False):
    """Whether an endless repeat that gives back is within another endless repeat."""
    for kind, argument in parsed:
        name = str(kind)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            many = argument[1] == _parser.MAXREPEAT
            if (many and inside and name != "POSSESSIVE_REPEAT") or endless(
                argument[2], inside=inside or many
            ):
                return True
        elif name == "SUBPATTERN":
            if endless(argument[3], inside=inside):
                return True
        elif name == "BRANCH" and any(endless(each, inside=inside) for each in argument[1]):
            return True
    return False


def test_no_pattern_repeats_a_repeat():
    found = list(patterns())
    assert len(found) > 12
    for pattern in found:
        flags = re.ASCII if isinstance(pattern.pattern, bytes) else 0
        assert not endless(_parser.parse(pattern.pattern, flags)), pattern.pattern


@pytest.mark.parametrize(
    "mark", [*"'\"`«»“”„‘’「『<>[({:;|,.?!#*-\n\t a1字¿é證\\^=", "<task>", "```"]
)
def test_a_million_of_any_character_take_a_bounded_number_of_steps(mark):
    steps = 0

    def count(frame, event, argument):
        nonlocal steps
        steps += 1

    body = {"messages": Raw(json.dumps([{"role": "user", "content": mark * 1_000_000}]).encode())}
    wide = Classifier(ClassifierSettings(max_prompt_bytes=1 << 30))
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        wide.measure(body)
    finally:
        sys.setprofile(before)
    assert steps < 60_000
