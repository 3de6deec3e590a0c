"""The three tiers and their order."""

from typing import get_args

import pytest

from tiergate.tiers import RANK, TIERS, Tier, is_tier


def test_the_tiers_are_ordered_lowest_first():
    assert TIERS == get_args(Tier) == ("simple", "moderate", "complex")
    assert sorted(TIERS, key=RANK.__getitem__) == list(TIERS)


@pytest.mark.parametrize(
    ("name", "known"),
    [("simple", True), ("complex", True), ("Simple", False), ("", False), (None, False)],
)
def test_a_tier_is_one_of_the_three_names(name, known):
    assert is_tier(name) is known
