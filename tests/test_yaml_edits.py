"""Edits of YAML in place: only what changes changes, and what is not understood is written anew."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergate_sidecar.yaml_edits import edited
from tiergate_sidecar.yaml_places import places


def edit(text, wanted):
    """The new text, which says what was wanted, and was not written anew."""
    done = edited(text, places(text), wanted)
    assert not done.rewritten
    found = places(done.text)
    assert (found and found.value) == wanted
    return done.text


@pytest.mark.parametrize(
    ("text", "wanted", "new"),
    [
        # a mapping: new keys come last, in the column of the others
        ("a: 1\n", {"a": 1, "b": "x"}, "a: 1\nb: x\n"),
        ("a:\n   b: 1 # c\n\n# e\n", {"a": {"b": 1, "c": 2}}, "a:\n   b: 1 # c\n   c: 2\n\n# e\n"),
        ("a:\n  - b: 1\n", {"a": [{"b": 1, "c": "x"}]}, "a:\n  - b: 1\n    c: x\n"),
        ("a: {}  # none\n", {"a": {"b": 1}}, "a:  # none\n  b: 1\n"),
        ("a:\nb: 1\n", {"a": {"c": 2}, "b": 1}, "a:\n  c: 2\nb: 1\n"),
        ("a:\n  c: 2\nb: 1\n", {"a": None, "b": 1}, "a:\nb: 1\n"),
        ("a: |\n  x\n\n\nb: 1\n", {"a": "x\n", "b": [1]}, "a: |\n  x\n\n\nb:\n  - 1\n"),
        ("a: |+\n  x\n\n\n", {"a": "x\n\n\n", "b": 1}, "a: |+\n  x\n\n\nb: 1\n"),
        ("a:\n b: >-\n  x\n\n", {"a": {"b": "x", "c": 1}}, "a:\n b: >-\n  x\n c: 1\n\n"),
        ('"a": \'b\'\n', {"a": "on"}, '"a": "on"\n'),
        ("a: 1", {"a": 1, "b": 2}, "a: 1\nb: 2"),
        ("a: 1\r\nb:\r\n  - c\r\n", {"a": 1, "b": ["c", "d"]}, "a: 1\r\nb:\r\n  - c\r\n  - d\r\n"),
        ("a: 1\nb: 2\nc: 3\n", {"a": 1, "c": 3}, "a: 1\nc: 3\n"),
        ("- a: 1\n  b: 2\n", [{"b": 2}], "- b: 2\n"),
        ("a:\n  b: 1\n", {"a": {}}, "a: {}\n"),
        ("a:\n  b: 1\n", {"a": {"c": 1}}, "a:\n  c: 1\n"),
        ("a:\n  b: 1\n", {"a": [1]}, "a:\n  - 1\n"),
        # a list: in the place that is wanted, below the comments of what comes before
        ("a:\n# c\n- x\n- y\n", {"a": ["w", "x", "y"]}, "a:\n- w\n# c\n- x\n- y\n"),
        ("a:\n- x\n# c\n- y\n", {"a": ["x", "w", "y"]}, "a:\n- x\n- w\n# c\n- y\n"),
        ("a:\n- x\n- y\nb: []\n", {"a": ["x", "y"], "b": [1]}, "a:\n- x\n- y\nb:\n- 1\n"),
        ("a:\n  &x\n  - y\n", {"a": ["w", "y"]}, "a:\n  &x\n  - w\n  - y\n"),
        ("- x\n- y\n", ["w", "x"], "- w\n- x\n"),
        ("- name: a\n  v: 1\n- name: b\n", [{"name": "b"}], "- name: b\n"),
        ("- name: a\n  v: 1\n", [{"name": "a", "v": 2}], "- name: a\n  v: 2\n"),
        ("-\n  a: 1\n-\n  a: 2\n", [{"a": 1}, {"a": 2, "b": 3}], "-\n  a: 1\n-\n  a: 2\n  b: 3\n"),
        ("- - a\n  - b\n- - c\n", [["a", "b", "x"], ["c"]], "- - a\n  - b\n  - x\n- - c\n"),
        ("- |\n  x\n- b\n", ["x\n", "b", "c"], "- |\n  x\n- b\n- c\n"),
        ("- x\n-\n- z\n", ["x", None, {"a": 1, "b": 2}], "- x\n-\n- a: 1\n  b: 2\n"),
        ("- x\n-\n", ["x", {"a": 1}], '- x\n- {"a": 1}\n'),
        # on one line
        ("a: {b: 1}\n", {"a": {"b": 1, "c": [2]}}, 'a: {b: 1, "c": [2]}\n'),
        ("a: [x, y] # c\n", {"a": ["w", "x", "y", "z"]}, 'a: ["w", x, y, "z"] # c\n'),
        ("a: [x, y, z]\n", {"a": ["x", "z"]}, "a: [x, z]\n"),
        ("a: [x, y, z]\n", {"a": ["z"]}, "a: [z]\n"),
        ("a: [x, [], {b: 1}]\n", {"a": ["x", [1], {"b": {}}]}, "a: [x, [1], {b: {}}]\n"),
        ("a: {b: 1, c: 2}\n", {"a": {"c": 2}}, "a: {c: 2}\n"),
        ("a: {b: 1}\n", {"a": {"c": 2}}, "a:\n  c: 2\n"),
        (
            "a: &x {b: 1}\nc: {<<: *x}\n",
            {"a": {"b": 1}, "c": {"b": 1, "d": 2}},
            "a: &x {b: 1}\nc:\n  b: 1\n  d: 2\n",
        ),
        ("a: |\n  x\n    \n# c\n", {"a": "x\n  \n", "b": 1}, "a: |\n  x\n    \nb: 1\n# c\n"),
        ("--- {a: 1}\n", {"b": 1}, '--- {"b": 1}\n'),
    ],
)  # fmt: skip
def test_a_change_leaves_the_rest_of_the_text(text, wanted, new):
    assert edit(text, wanted) == new


@pytest.mark.parametrize("indent", [None, 2, 4, "\t"])
def test_json_stays_json_as_it_was_indented(indent):
    value = {"a": {"b": {}, "c": [1, {"d": "\\ud83d\\ude00 é <"}]}, "e": [[]]}
    wanted = {"a": {"b": {"n": {"m": [2]}}, "c": [0, 1, {"d": value["a"]["c"][1]["d"], "f": {}}]}}
    wanted |= {"e": [[{"g": 1}]], "h": [{"i": "k"}]}
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    assert edit(text, wanted) == json.dumps(wanted, indent=indent, ensure_ascii=False)
    assert edit(json.dumps(wanted, indent=indent, ensure_ascii=False), value) == text


@pytest.mark.timeout(30)  # each compared with each they would take minutes
def test_a_long_list_of_equal_items_takes_no_longer_than_another():
    text = "a: 1\nb:\n" + "- x\n" * 40_000
    assert edit(text, {"a": 2, "b": ["x"] * 40_000}) == text.replace("a: 1", "a: 2")


SHARED = """\
base: &base
  env: &env
    - name: A
  image: x
one:
  <<: *base
  name: one
two:
  env: *env
"""
A, B = {"name": "A"}, {"name": "B"}
AT_FIRST = {
    "base": {"env": [A], "image": "x"},
    "one": {"env": [A], "image": "x", "name": "one"},
    "two": {"env": [A]},
}


@pytest.mark.parametrize(
    ("changes", "was", "new"),
    [
        # all who share it change alike: the text is changed once
        (
            {"base": [A, B], "one": [A, B], "two": [A, B]},
            "    - name: A\n",
            "    - name: A\n    - name: B\n",
        ),
        # one of them alone: it gets its own
        ({"two": [A, B]}, "  env: *env\n", "  env:\n    - name: A\n    - name: B\n"),
        (
            {"one": [A, B]},
            "  name: one\n",
            "  name: one\n  env:\n    - name: A\n    - name: B\n",
        ),
    ],
)
def test_what_is_shared_by_aliases_changes_only_where_it_is_wanted(changes, was, new):
    wanted = {name: {**AT_FIRST[name], **_env(changes.get(name))} for name in AT_FIRST}
    assert edit(SHARED, wanted) == SHARED.replace(was, new)


def _env(env):
    return {} if env is None else {"env": env}


def test_those_who_share_what_one_of_them_changes_get_what_it_was():
    wanted = {**AT_FIRST, "base": {"env": [A, B], "image": "x"}}
    assert edit(SHARED, wanted).endswith(
        "  name: one\n  env:\n    - name: A\ntwo:\n  env:\n    - name: A\n"
    )


def test_what_a_merge_brings_cannot_be_left_out_so_that_the_mapping_is_written_out():
    wanted = {**AT_FIRST, "one": {"name": "one"}}
    assert edit(SHARED, wanted) == SHARED.replace("  <<: *base\n", "")


@pytest.mark.parametrize(
    ("text", "wanted", "new"),
    [
        ("? a # c\n: b\n", {"a": "b", "c": [1]}, "---\na: b\nc:\n  - 1\n"),
        ("--- [a: 1]\n", [{"a": 1, "b": 2}], '---\n[{"a": 1, "b": 2}]\n'),
        ("a: 1\nb: |", {"a": 1, "b": "", "c": 2}, None),
        ("- a\r- b\r", ["a", "c", "b"], "---\n- a\n- c\n- b\n"),
        (
            '? a\n: [22:22, "\\u2028"]',
            {"a": ["22:22", "\u2028"], "b": 1},
            '---\na:\n  - "22:22"\n  - "\\u2028"\nb: 1\n',
        ),
    ],
)
def test_what_is_not_understood_is_written_anew(text, wanted, new):
    done = edited(text, places(text), wanted)
    assert places(done.text).value == wanted
    assert done.rewritten is (new is not None)
    assert new in (None, done.text)


def test_a_document_that_is_wanted_as_it_is_stays_as_it_is():
    text = "? a\n: b"
    assert edited(text, places(text), {"a": "b"}).text is text


WORDS = st.sampled_from(
    ["a", "b", "image", "on", "", "x y", "0777", "1:30", "ü", "a: b", "- #", "\n"]
)
LEAVES = WORDS | st.booleans() | st.integers(-5, 5) | st.none()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=12,
)
ROOTS = st.dictionaries(st.sampled_from("abcd"), VALUES, min_size=1, max_size=4)


@given(
    value=ROOTS, wanted=ROOTS, flow=st.sampled_from([None, False, True]), indent=st.integers(2, 4)
)
@settings(max_examples=150, deadline=None)
def test_any_value_becomes_any_other(value, wanted, flow, indent):
    text = yaml.safe_dump(value, default_flow_style=flow, indent=indent, sort_keys=False)
    done = edited(text, places(text), wanted)
    assert places(done.text).value == wanted
    assert yaml.safe_load(done.text) == wanted
