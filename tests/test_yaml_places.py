"""Where the values of a document are in its text, and what is refused, with its line."""

import pytest

from tiergate_sidecar.yaml_places import DEEPEST, MOST_VALUES, Unreadable, checked, places


def spelt(text, place):
    return text[place.start : place.end]


def test_a_value_is_as_long_as_its_characters_without_what_follows():
    text = "é: 'x'  # c\nb: |\n  y\n\n\nc:\n  - 1\n  # z\n\nd: [2]\n"
    root = places(text)
    assert [spelt(text, value) for _, value in root.entries] == ["'x'", "|\n  y", "- 1", "[2]"]
    assert root.value == {"é": "x", "b": "y\n", "c": [1], "d": [2]}


@pytest.mark.parametrize("text", ["", "---\n", "# c\n", "--- # c\n...\n"])
def test_a_document_without_a_value_has_no_root(text):
    assert places(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: on\nb: 'on'\nc: 0777\nd: 1:30\ne: ~\nf: 1.5\n", [True, "on", 511, "1:30", None, 1.5]),
        ("a: 2020-01-01\nb: !!str 5\nc: !!int '5'\nd: !own x\n", ["2020-01-01", "5", 5, "x"]),
        ("on: 1\n1: 2\n", [1, 2]),
        ("a: &x {b: 1}\nc: *x\n", [{"b": 1}, {"b": 1}]),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}\n", [{"b": 1}, {"d": 2, "b": 1}]),
        ("a: &x {b: 1}\nc: &y {b: 2, e: 3}\nd: {<<: [*x, *y]}\n", [..., ..., {"b": 1, "e": 3}]),
        ('{"a": "\\ud83d\\ude00", "b": "\\u003c\\/"}', ["😀", "</"]),
        ("a: {'<<': 1}\n", [{"<<": 1}]),
    ],
)
def test_values_are_what_kubectl_makes_of_them(text, value):
    found = list(places(text).value.values())
    assert len(found) == len(value)
    assert [each for each, wanted in zip(found, value, strict=True) if wanted is not ...] == [
        each for each in value if each is not ...
    ]


@pytest.mark.parametrize(
    ("scalar", "spelt_as"),
    [
        ("|\n  y\n  \n\n", "|\n  y"),
        ("|\n  y\n    \n\n", "|\n  y\n    "),  # two blanks are its last line
        (">-\n  y\n   z\n      \n", ">-\n  y\n   z\n      "),
        ("|2\n     y\n   \n", "|2\n     y\n   "),
        ("|\n\n  y  \n  \n", "|\n\n  y  "),
        ("|\n    \n", "|"),
        ("|2\n     \n\n", "|2\n     "),
        ("&a | # +\n  y\n\n\n", "&a | # +\n  y"),
        ("|+\n  y\n\n\n", "|+\n  y\n\n\n"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_block_scalar_ends_with_the_last_line_that_is_part_of_it(scalar, spelt_as, newline):
    text = f"a: {scalar}b: 1\n".replace("\n", newline)
    place = places(text).entries[0][1]
    assert spelt(text, place) == spelt_as.replace("\n", newline)


@pytest.mark.parametrize("lead", ["", "\n", "---\n", "--- "])
def test_characters_that_json_spells_as_pairs_are_what_they_are(lead):
    text = lead + r'{"a": "\ud83d\ude00", "\ud83d\ude01": 1, "\ud83d\ude02": [2]}'
    assert places(text).value == {"a": "😀", "😁": 1, "😂": [2]}
    checked(text)


def test_keys_are_as_they_are_written():
    assert list(places("on: 1\n1: 2\n").value) == ["on", "1"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("a:\n- b\n", (3, 0)),
        ("a:\n  - b\n", (5, 2)),
        ("a: &x\n  - b\n", (8, 2)),
        ("a:\n  &x\n  - b\n", (10, 2)),
        ("a: !!seq\n- b\n", (9, 0)),
    ],
)
def test_the_first_dash_of_a_list_is_found_behind_its_anchor(text, at):
    place = places(text).entries[0][1]
    assert (place.first, place.column) == at


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: [\n", 2, "did not find expected node content"),
        ("a: 1\n\tb: 2\n", 1, "found a tab character that violates indentation"),
        ("a: 'x\n", 1, "found unexpected end of stream"),
        ("a: 1\nb: \x01\n", 1, "control characters are not allowed"),
        ("a: 1\n---\nb: 2\n", 1, "a second document"),
        ("a: 1\nb: 1\na: 2\n", 2, "the key 'a' is there twice"),
        ("? [a]\n: b\n", 0, "a key that is not a scalar"),
        ("a: 1\nb: *x\n", 1, r"\*x is not anchored before"),
        ("a: &x [*x]\n", 0, r"\*x is not anchored before"),
        ("a: 1\nb:\n  <<: [c]\n", 2, "<< of something that is not a mapping"),
        ("a: 1\nb: !!int x\n", 1, "no int: x"),
        ("a: !!bool x\n", 0, "no bool: x"),
        (r'{"a": "\ud83d\ude00\x41"}', 0, "neither a string of JSON nor one of YAML"),
        (BOMB, 18, f"more than {MOST_VALUES} values"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), 0, f"more than {DEEPEST} levels"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text, line, says):
    with pytest.raises(Unreadable, match=says) as caught:
        places(text)
    assert caught.value.line == line


def test_a_document_can_be_checked_without_being_kept():
    checked("a: [1]\n")
    with pytest.raises(Unreadable) as caught:
        checked("a: 1\nb: [\n")
    assert caught.value.line == 2
