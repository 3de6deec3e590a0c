"""A request is changed for one model as its entry says, and everything else stays what it was."""

from datetime import date, time

import msgspec
import pytest
from msgspec import Raw

from tiergate.adaptation import Adaptation, adaptation_of, as_json

RENAMED = Adaptation(rename=(("max_tokens", "max_completion_tokens"),))


def applied(adaptation: Adaptation, **members: bytes) -> list[tuple[str, bytes]]:
    """The members after it, in their order."""
    changed = {name: Raw(value) for name, value in members.items()}
    adaptation.apply(changed)
    return [(name, bytes(value)) for name, value in changed.items()]


def test_a_renamed_member_keeps_its_bytes():
    assert applied(RENAMED, a=b"1.10", max_tokens=b"1e2", z=b'"\\u0041"') == [
        ("a", b"1.10"),
        ("z", b'"\\u0041"'),
        ("max_completion_tokens", b"1e2"),
    ]


def test_what_the_client_said_by_the_new_name_stays():
    said = applied(RENAMED, max_tokens=b"5", max_completion_tokens=b"7")
    assert said == [("max_completion_tokens", b"7")]


def test_of_two_names_for_one_the_first_of_the_entry_counts():
    both = Adaptation(rename=(("a", "c"), ("b", "c")))
    assert applied(both, b=b"2", a=b"1") == [("c", b"1")]
    assert applied(both, b=b"2") == [("c", b"2")]


def test_what_is_dropped_is_gone_and_may_be_missing():
    dropped = Adaptation(drop=("temperature", "top_p"))
    assert applied(dropped, temperature=b"0.2", x=b"1") == [("x", b"1")]


def test_what_is_set_takes_the_place_of_what_the_client_said():
    fixed = Adaptation(set=(("seed", b"1"), ("y", b'{"a": 1.0}')))
    assert applied(fixed, seed=b"9", x=b"0") == [("seed", b"1"), ("x", b"0"), ("y", b'{"a": 1.0}')]


def test_nothing_is_changed_that_is_not_there():
    assert applied(RENAMED, x=b"1") == [("x", b"1")]


def test_an_entry_is_compiled_once_and_one_that_says_nothing_is_none():
    assert adaptation_of({}, (), {}) is None
    made = adaptation_of({"a": "b"}, ["c"], {"d": {"e": [1, None]}})
    assert made == Adaptation((("a", "b"),), ("c",), (("d", b'{"e":[1,null]}'),))
    assert isinstance(hash(made), int)  # candidates stand in sets


VALUES = [
    None, True, 0, -(2**63), 2**64 - 1, 1.5, -0.0, 1e300, "", "gr\u00fcn \U0001f600", [], {},
    {"a": [{"b": None}]},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_a_value_of_json_is_written_as_it_is(value):
    assert msgspec.json.decode(as_json(value)) == value


def nested(depth: int) -> list:
    made: list = []
    for _ in range(depth):
        made = [made]
    return made


@pytest.mark.parametrize(
    "value",
    [
        date(2026, 1, 1), time(1), b"x", {1, 2}, (1,), object(), float("nan"), float("inf"), 2**64,
        -(2**63) - 1, 10**5000, {1: 2}, {None: 1}, [float("-inf")], {"a": [b"x"]}, "\ud800",
        nested(100_000),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_json_does_not_have_is_refused(value):
    with pytest.raises(ValueError):  # noqa: PT011  # Unicode's own is one of them
        as_json(value)
