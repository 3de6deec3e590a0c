"""The ranges of the numbers in a configuration: what is a slip of the unit is refused."""

import msgspec
import pytest

from tiergate import tables

NUMBERS = {
    # kind: the least and the most that it takes, and what it does not
    "Seconds": ([0, 86_400], [-0.1, 86_400.1, float("inf")]),
    "PositiveSeconds": ([0.001, 86_400], [0, 86_401]),
    "Count": ([0, 10**9], [-1, 0.5]),
    "PositiveCount": ([1, 10**9], [0, 1.5]),
    "Lifetime": ([0.1, 366 * 86_400], [0, 367 * 86_400]),
    "Price": ([0, 1_000_000], [-0.1, 1_000_001, float("inf")]),
    "Cost": ([0, 10], [-1, 10.1]),
    "Score": ([0.001, 0.999], [0, 1, -1]),
    "Weight": ([-20, 20], [-20.1, 20.1, float("inf")]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_within_its_range_is_taken_and_another_refused(name):
    fine, wrong = NUMBERS[name]
    kind = getattr(tables, name)
    assert [msgspec.convert(value, kind) for value in fine] == fine
    for value in [*wrong, float("nan")]:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value, kind)


def test_a_table_refuses_what_it_does_not_know_and_cannot_be_changed():
    class Some(tables.Table, frozen=True):
        a: int = 1

    with pytest.raises(msgspec.ValidationError, match="unknown field `b`"):
        msgspec.convert({"b": 1}, Some)
    with pytest.raises(AttributeError):
        Some().a = 2
