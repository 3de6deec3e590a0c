"""RFC 6902: each operation gives a new value, and one that does not apply says which it was."""

import copy

import pytest

from tiergate_sidecar.patching import PatchError, patched

VALUE = {"a": {"b/c~d": 1}, "list": [{"x": 1}, "y"]}


@pytest.mark.parametrize(
    ("op", "path", "value", "wanted"),
    [
        ("add", "/a/e", 2, {**VALUE, "a": {"b/c~d": 1, "e": 2}}),
        ("add", "/a/b~1c~0d", 2, {**VALUE, "a": {"b/c~d": 2}}),
        ("add", "/list/0", 2, {**VALUE, "list": [2, {"x": 1}, "y"]}),
        ("add", "/list/2", 2, {**VALUE, "list": [{"x": 1}, "y", 2]}),
        ("add", "/list/-", 2, {**VALUE, "list": [{"x": 1}, "y", 2]}),
        ("add", "/list/0/z", 2, {**VALUE, "list": [{"x": 1, "z": 2}, "y"]}),
        ("replace", "/a", 2, {**VALUE, "a": 2}),
        ("replace", "/list/1", 2, {**VALUE, "list": [{"x": 1}, 2]}),
        ("remove", "/a", None, {"list": VALUE["list"]}),
        ("remove", "/list/0", None, {**VALUE, "list": ["y"]}),
        ("test", "/list/1", "y", VALUE),
        ("test", "/a", {"b/c~d": 1}, VALUE),
    ],
)
def test_an_operation_gives_a_new_value_and_leaves_the_old_one(op, path, value, wanted):
    before = copy.deepcopy(VALUE)
    assert patched(VALUE, [{"op": op, "path": path, "value": value}]) == wanted
    assert before == VALUE


@pytest.mark.parametrize(
    ("op", "path"),
    [
        ("add", "/list/3"),
        ("add", "/list/x"),
        ("add", "/gone/x"),
        ("add", "/list/1/x"),
        ("add", "a"),
        ("add", ""),
        ("replace", "/gone"),
        ("replace", "/list/-"),
        ("remove", "/gone"),
        ("remove", "/list/2"),
        ("test", "/a"),
        ("test", "/list/0"),
        ("move", "/a"),
    ],
)
def test_one_that_does_not_apply_is_named(op, path):
    with pytest.raises(PatchError, match=f"^{op} {path} does not apply$"):
        patched(VALUE, [{"op": op, "path": path, "value": "v"}])


def test_of_two_places_that_share_a_value_only_the_one_that_is_named_changes():
    shared = [1]
    value = {"a": shared, "b": shared}
    assert patched(value, [{"op": "add", "path": "/a/-", "value": 2}]) == {"a": [1, 2], "b": [1]}
