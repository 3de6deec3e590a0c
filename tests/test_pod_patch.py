"""Operations apply to what was given, come to what the patch shows, and change nothing given."""

import copy

import jsonpatch
import pytest

from tiergate_sidecar.pod_patch import PodPatch, pointer


def checked(given, patch):
    """What the patch comes to, by its own account and by a library's."""
    assert jsonpatch.apply_patch(given, patch.operations) == patch.document
    return patch.document


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("metadata", "annotations", "a/b"), "/metadata/annotations/a~1b"),
        (("a~b", "~1", "~/"), "/a~0b/~01/~0~1"),
        (("spec", "containers", 3, "env", "-"), "/spec/containers/3/env/-"),
        (("",), "/"),
    ],
)
def test_a_pointer_is_escaped(path, text):
    assert pointer(path) == text


@pytest.mark.parametrize(
    ("given", "path", "value", "after", "operations", "created"),
    [
        ({"a": {}}, ("a", "b"), 1, {"a": {"b": 1}}, ["/a/b"], {}),
        ({"a": {"b": 0}}, ("a", "b"), 1, {"a": {"b": 1}}, ["/a/b"], {}),
        ({}, ("a", "b"), 1, {"a": {"b": 1}}, ["/a"], {("a",): False}),
        ({"a": None}, ("a", "b"), 1, {"a": {"b": 1}}, ["/a"], {("a",): True}),
        (
            {"x": 1},
            ("a", "b", "c"),
            1,
            {"x": 1, "a": {"b": {"c": 1}}},
            ["/a"],
            {("a",): False, ("a", "b"): False},
        ),
        (
            {"a": {"b": None}},
            ("a", "b", "c/d"),
            1,
            {"a": {"b": {"c/d": 1}}},
            ["/a/b"],
            {("a", "b"): True},
        ),
        ({"a": [{}, {}]}, ("a", 1, "b"), 1, {"a": [{}, {"b": 1}]}, ["/a/1/b"], {}),
    ],
)
def test_a_member_is_put_with_the_objects_above_it(given, path, value, after, operations, created):
    before = copy.deepcopy(given)
    patch = PodPatch(given)
    patch.put(path, value)
    assert checked(given, patch) == after
    assert [each["path"] for each in patch.operations] == operations
    assert patch.created == created
    assert given == before


@pytest.mark.parametrize(
    ("given", "index", "after", "operations", "created"),
    [
        ({"a": [1, 2]}, None, [1, 2, 8, 9], ["/a/-", "/a/-"], {}),
        ({"a": [1, 2]}, 0, [8, 9, 1, 2], ["/a/0", "/a/1"], {}),
        ({"a": [1, 2]}, 1, [1, 8, 9, 2], ["/a/1", "/a/2"], {}),
        ({"a": []}, 0, [8, 9], ["/a/0", "/a/1"], {}),
        ({"a": []}, None, [8, 9], ["/a/-", "/a/-"], {}),
        ({}, 0, [8, 9], ["/a"], {("a",): False}),
        ({"a": None}, None, [8, 9], ["/a"], {("a",): True}),
    ],
)
def test_values_are_inserted_into_an_array_that_may_be_missing(
    given, index, after, operations, created
):
    before = copy.deepcopy(given)
    patch = PodPatch(given)
    patch.insert(("a",), [8, 9], index)
    assert checked(given, patch) == {"a": after}
    assert [each["path"] for each in patch.operations] == operations
    assert patch.created == created
    assert given == before


def test_what_is_removed_is_gone_and_the_rest_is_not_copied():
    given = {"a": [{"b": 1}, {"c": 2}], "d": {"e": 3}}
    patch = PodPatch(given)
    patch.remove(("a", 0, "b"))
    patch.remove(("a", 0))
    assert checked(given, patch) == {"a": [{"c": 2}], "d": {"e": 3}}
    assert patch.document["d"] is given["d"]
    assert given["a"][0] == {"b": 1}


def test_a_later_operation_sees_the_earlier_ones():
    patch = PodPatch({})
    patch.put(("m", "a", "x"), 1)
    patch.put(("m", "a", "y"), 2)
    patch.put(("m",), None)
    assert checked({}, patch) == {"m": None}
    assert patch.at(("m", "a")) is None
    assert [each["path"] for each in patch.operations] == ["/m", "/m/a/y", "/m"]
