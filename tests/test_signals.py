"""What is measured of a request: each signal by what it is for, bounded in what it reads."""
# ruff: noqa: RUF001 - marks of other scripts are meant

import json
import re
import sys
from re import _parser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


REPEATS = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}


def branches(kind, argument):
    """The sequences within one item of a parsed pattern."""
    if kind in REPEATS:
        return [argument[2]]
    if kind == "SUBPATTERN":
        return [argument[3]]
    if kind == "BRANCH":
        return argument[1]
    return [argument] if kind == "ATOMIC_GROUP" else []


def endless(parsed, *, inside=False):
    """Whether an endless repeat that gives back is within another endless repeat."""
    for item, argument in parsed:
        kind = str(item)
        many = kind in REPEATS and argument[1] == _parser.MAXREPEAT
        if many and inside and kind != "POSSESSIVE_REPEAT":
            return True
        if any(endless(each, inside=inside or many) for each in branches(kind, argument)):
            return True
    return False


def starts(parsed, letter):
    """Whether the sequence may begin with the letter."""
    for item, argument in parsed:
        kind = str(item)
        if kind in ("AT", "ASSERT", "ASSERT_NOT"):
            continue
        found = branches(kind, argument)
        if any(starts(each, letter) for each in found):
            return True
        if kind in ("LITERAL", "NOT_LITERAL", "IN", "ANY") and (
            re.compile(_one(item, argument), re.DOTALL).match(letter)
        ):
            return True
        if not (kind in REPEATS and argument[0] == 0):
            return False
    return False


def _one(item, argument):
    """A pattern of one item that stands for one letter."""
    if str(item) == "LITERAL":
        return re.escape(chr(argument))
    if str(item) == "NOT_LITERAL":
        return f"[^{re.escape(chr(argument))}]"
    if str(item) == "ANY":
        return "."
    inner = ""
    for kind, value in argument:
        if str(kind) == "NEGATE":
            inner = "^" + inner
        elif str(kind) == "RANGE":
            inner += f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
        elif str(kind) == "CATEGORY":
            inner += {"SPACE": r"\s", "DIGIT": r"\d", "WORD": r"\w"}[str(value).split("_")[-1]]
        else:
            inner += re.escape(chr(value))
    return f"[{inner}]"


LETTERS = [*map(chr, range(128)), *"é字证“”„«»‘’「」『』"]


def adjacent(parsed):
    """Whether two long repeats that take the same letter stand side by side, and the first gives
    back: how many letters each takes is then tried in all ways.
    """
    items = list(parsed)
    for place, (item, argument) in enumerate(items):
        kind = str(item)
        if any(adjacent(each) for each in branches(kind, argument)):
            return True
        if kind not in ("MAX_REPEAT", "MIN_REPEAT") or argument[1] != _parser.MAXREPEAT:
            continue
        for other, its in items[place + 1 :]:
            its_many = str(other) in REPEATS and its[1] == _parser.MAXREPEAT
            if its_many and any(
                starts(argument[2], each) and starts(its[2], each) for each in LETTERS
            ):
                return True
            if not (str(other) in REPEATS and its[0] == 0):
                break
    return False


def parsed_of(pattern):
    return _parser.parse(pattern, re.ASCII if isinstance(pattern, bytes) else 0)


def test_no_pattern_repeats_a_repeat_nor_has_two_that_take_the_same_side_by_side():
    found = list(patterns())
    assert len(found) > 12
    for pattern in found:
        parsed = parsed_of(pattern.pattern)
        assert not endless(parsed), pattern.pattern
        assert not adjacent(parsed), pattern.pattern


@pytest.mark.parametrize(
    ("pattern", "is_bad"),
    [
        (r"a*a*", True),
        (r"\w+\d*x", True),
        (r"(?:x|[ab]*b?[bc]+)y", True),
        (r"\s*\n*", True),
        (r".*?.*", True),
        (r"a*b+", False),
        (r"\w*+\d*", False),
        (r"\d*x\d*", False),
        (r"a*b?c*", False),
    ],
)
def test_repeats_that_overlap_are_seen(pattern, is_bad):
    assert adjacent(parsed_of(pattern)) == is_bad


PIECES = [
    *"'\"`«»“”„‘’「」『<>[]({:;|,.?-\n\t a1字é\u0301\u0315\u0316\u200b",
    "<task>",
    "</task>",
    "<rules a",
]


@pytest.mark.parametrize(
    "mark", [*"'\"`«»“”„‘’「『<>[({:;|,.?!#*-\n\t a1字¿é證\\^=", "<task>", "```"]
)
def test_a_million_of_any_character_take_a_bounded_number_of_steps(mark):
    assert steps_of(mark * 1_000_000) < 60_000


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4))
def test_any_alternation_takes_a_bounded_number_of_steps(pieces):
    piece = "".join(pieces)
    assert steps_of(piece * (100_000 // len(piece))) < 60_000


def steps_of(text):
    """Calls and returns, those of built-in functions too, while one request is measured."""
    steps = 0

    def count(frame, event, argument):
        nonlocal steps
        steps += 1

    body = {"messages": Raw(json.dumps([{"role": "user", "content": text}]).encode())}
    wide = Classifier(ClassifierSettings(max_prompt_bytes=1 << 30))
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        wide.measure(body)
    finally:
        sys.setprofile(before)
    return steps
