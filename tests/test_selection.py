"""The truth table of who asked: the pod's no, then what nobody can read, then its yes, then the
namespace."""

from itertools import product

import pytest

from tiergate_sidecar.labels import INJECT
from tiergate_sidecar.selection import wish_of

YES, NO, ODD, NOTHING = ("enabled", "true"), ("disabled", "false"), ("yes", "", "Enabled"), (None,)
VALUES = [*YES, *NO, *ODD, *NOTHING]


def said(value):
    return {} if value is None else {INJECT: value}


def expected(label, annotation, namespace):
    pod = [each for each in (label, annotation) if each is not None]
    for values in (pod, [namespace]):
        if any(each in NO for each in values):
            return "disabled"
        if any(each in ODD for each in values):
            return "invalid_label"
        if any(each in YES for each in values):
            return "asked"
    return "not_asked"


@pytest.mark.parametrize("namespace", VALUES)
def test_the_truth_table(namespace):
    for label, annotation in product(VALUES, VALUES):
        wish = wish_of(said(label), said(annotation), said(namespace))
        assert wish.reason == expected(label, annotation, namespace), (label, annotation)
        assert wish.by_pod == (label is not None or annotation is not None)
        assert wish.message


@pytest.mark.parametrize(
    ("label", "annotation", "namespace", "reason"),
    [
        ("enabled", "disabled", "enabled", "disabled"),
        ("disabled", "enabled", "enabled", "disabled"),
        ("enabled", None, "disabled", "asked"),
        (None, "true", None, "asked"),
        ("enabled", "maybe", "enabled", "invalid_label"),
        ("maybe", None, "enabled", "invalid_label"),
        ("maybe", "false", "enabled", "disabled"),
        (None, None, "enabled", "asked"),
        (None, None, "false", "disabled"),
        (None, None, "maybe", "invalid_label"),
        (None, None, None, "not_asked"),
    ],
)
def test_rows_of_it_by_hand(label, annotation, namespace, reason):
    assert wish_of(said(label), said(annotation), said(namespace)).reason == reason


@pytest.mark.parametrize("value", [True, False, 1, ["enabled"], {"enabled": 1}])
def test_what_is_no_text_is_invalid_and_the_message_says_where(value):
    wish = wish_of({}, {INJECT: value}, {INJECT: "enabled"})
    assert wish.reason == "invalid_label"
    assert "annotation" in wish.message
    assert "quotes" in wish.message


def test_a_long_value_makes_no_long_message():
    assert len(wish_of({INJECT: "x" * 10_000}, {}, {}).message) < 200
