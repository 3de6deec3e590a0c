"""What an entry of a tier may say: what would break a request, or mean two things, is named."""

from datetime import date

import pytest

from tiergate.adaptation import OURS
from tiergate.document import DocumentEntry
from tiergate.entry_rules import MOST_NAMES, MOST_SET_BYTES, wrong_in
from tiergate.routing_config import TierEntry

LONG = "x" * 64


@pytest.mark.parametrize("kind", [DocumentEntry, TierEntry])
@pytest.mark.parametrize(
    "said",
    [
        {},
        {"supports": ()},
        {"supports": ("tools", "vision")},
        {"rename": {"max_tokens": "max_completion_tokens", "max_output": "max_completion_tokens"}},
        {"drop": ("temperature", "top_p"), "set": {"seed": 1}},
        {"drop": (LONG, "gr\u00f6\u00dfe", "a b")},
        {"set": {"x": "y" * (MOST_SET_BYTES - 2)}},
        {"drop": tuple(f"n{number}" for number in range(MOST_NAMES))},
    ],
)
def test_an_ordinary_entry_has_no_problem(kind, said):
    assert list(wrong_in(kind(provider="p", model="m", **said))) == []


OF_OURS = "is not to be changed, routing and relaying depend on it"
ODD_NAME = "a name is 1 to 64 printable characters"


@pytest.mark.parametrize("kind", [DocumentEntry, TierEntry])
@pytest.mark.parametrize(
    ("said", "problems"),
    [
        ({"model": "m\u00f6"}, ["model: must be printable ASCII"]),
        ({"supports": ("tools", "tools", "tools")}, ["supports: 'tools' is listed twice"]),
        ({"drop": ("a", "b", "a")}, ["drop: 'a' is listed twice"]),
        ({"rename": {"stream": "x"}}, [f"rename: 'stream' {OF_OURS}"]),
        ({"rename": {"x": "messages"}}, [f"rename.x: 'messages' {OF_OURS}"]),
        ({"drop": ("n",)}, [f"drop: 'n' {OF_OURS}"]),
        ({"set": {"model": "m"}}, [f"set: 'model' {OF_OURS}"]),
        ({"rename": {"": "x"}}, [f"rename: {ODD_NAME}"]),
        ({"rename": {"x": ""}}, [f"rename.x: {ODD_NAME}"]),
        ({"drop": (LONG + "x",)}, [f"drop: {ODD_NAME}"]),
        ({"set": {"a\nb": 1}}, [f"set: {ODD_NAME}"]),
        ({"set": {"\ud800": 1}}, [f"set: {ODD_NAME}"]),
        ({"rename": {"a": "b"}, "drop": ("a",)}, ["drop.a: is in rename too"]),
        ({"rename": {"a": "b"}, "set": {"a": 1}}, ["set.a: is in rename too"]),
        ({"drop": ("a",), "set": {"a": 1}}, ["set.a: is in drop too"]),
        ({"rename": {"a": "b"}, "drop": ("b",)}, ["rename.a: 'b' is in drop too"]),
        ({"rename": {"a": "b"}, "set": {"b": 1}}, ["rename.a: 'b' is in set too"]),
        ({"rename": {"a": "b", "b": "c"}}, ["rename.a: 'b' is in rename too"]),
        ({"rename": {"a": "a"}}, ["rename.a: 'a' is in rename too"]),
        ({"set": {"x": date(2026, 1, 1)}}, ["set.x: must be a value that JSON has"]),
        (
            {"set": {"x": [float("nan")], "y": 1, "z": {"a": b"b"}}},
            ["set.x: must be a value that JSON has", "set.z: must be a value that JSON has"],
        ),
        (
            {"set": {"x": "y" * MOST_SET_BYTES}},
            [f"set: more than {MOST_SET_BYTES} bytes of JSON"],
        ),
        (
            {"set": {"x": "y" * 9000, "z": "y" * 9000}},
            [f"set: more than {MOST_SET_BYTES} bytes of JSON"],
        ),
        (
            {"drop": tuple(f"n{number}" for number in range(MOST_NAMES)), "set": {"x": 1}},
            [f"rename, drop, set: more than {MOST_NAMES} names"],
        ),
        ({"drop": ("tier",), "supports": ("tools",) * 2},
         ["supports: 'tools' is listed twice", f"drop: 'tier' {OF_OURS}"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_place(kind, said, problems):
    assert list(wrong_in(kind(**{"provider": "p", "model": "m", **said}))) == problems


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_is_read_of_a_request_or_set_by_us_cannot_be_changed(name):
    for said in ({"rename": {name: "x"}}, {"rename": {"x": name}}, {"drop": (name,)}):
        assert len(list(wrong_in(DocumentEntry("p", "m", **said)))) == 1
    assert len(list(wrong_in(DocumentEntry("p", "m", set={name: 1})))) == 1
