"""A candidate's weight and price, and the chances of those within a request's reach."""

import pytest

from tiergate.candidates import Candidate, first_chances, make_reach
from tiergate.completion import Usage

ONE, TWO, FIVE = (Candidate(f"p{cost}", "m", cost) for cost in (1, 2, 5))
UP = Candidate("up", "n", 4)
STAGES = (("simple", (ONE, TWO, FIVE)), ("complex", (UP,)))


@pytest.mark.parametrize(("cost", "weight"), [(1, 1), (2, 0.5), (2.5, 0.4), (10, 0.1), (0, 1)])
def test_the_weight_of_a_draw_is_one_over_the_cost_and_zero_counts_as_one(cost, weight):
    assert Candidate("p", "m", cost).weight == pytest.approx(weight)


def test_costs_one_two_and_five_give_the_shares_of_the_contract():
    weights = [Candidate("p", "m", cost).weight for cost in (1, 2, 5)]
    shares = [round(weight / sum(weights), 3) for weight in weights]
    assert shares == [0.588, 0.294, 0.118]


@pytest.mark.parametrize(
    ("usage", "cached_price", "dollars"),
    [
        (Usage(10, 5), None, 0.0000125),
        (Usage(10, 5), 0.05, 0.0000125),
        (Usage(10, 5, 4), 0.05, 0.0000107),
        (Usage(10, 5, 4), None, 0.0000125),
        (Usage(10, 5, 4), 0.0, 0.0000105),
        (Usage(10, 5, 99), 0.0, 0.0000075),
        (Usage(0, 0), None, 0.0),
        (Usage(123_456, 7_890, 100_000), 0.05, 0.028563),
    ],
)
def test_a_cost_is_exact_to_a_hundred_millionth_of_a_dollar(usage, cached_price, dollars):
    candidate = Candidate("p", "m", 1, 0.5, 1.5, cached_price)
    assert candidate.cost(usage) == pytest.approx(dollars, abs=1e-8 / 2)


@pytest.mark.parametrize(
    ("prices", "usage"),
    [
        ((0.5, 1.5), Usage(None, 5)),
        ((0.5, 1.5), Usage(10, None)),
        ((None, 1.5), Usage(10, 5)),
        ((0.5, None), Usage(10, 5)),
    ],
)
def test_a_cost_that_lacks_a_count_or_a_price_is_unknown_and_not_zero(prices, usage):
    assert Candidate("p", "m", 1, *prices).cost(usage) is None


@pytest.mark.parametrize(
    ("available", "drawn", "preferred", "chances"),
    [
        ({ONE, TWO, FIVE, UP}, True, set(), {ONE: 10 / 17, TWO: 5 / 17, FIVE: 2 / 17}),
        ({ONE, TWO, FIVE, UP}, False, set(), {ONE: 1}),
        ({TWO, FIVE, UP}, False, set(), {TWO: 1}),
        ({ONE, TWO, FIVE, UP}, True, {FIVE, UP}, {FIVE: 1}),
        ({ONE, TWO, UP}, True, {FIVE, UP}, {ONE: 2 / 3, TWO: 1 / 3}),
        ({ONE, TWO, FIVE}, False, {FIVE}, {FIVE: 1}),
        ({UP}, True, set(), {UP: 1}),
        (set(), True, set(), {}),
    ],
)
def test_who_is_asked_first_is_of_the_first_tier_that_has_somebody(
    available, drawn, preferred, chances
):
    told = first_chances(STAGES, available, drawn=drawn, preferred=frozenset(preferred))
    assert told == pytest.approx(chances)


def test_a_reach_knows_the_shares_of_a_calm_day():
    calm = make_reach(STAGES, drawn=True).calm
    assert [(each.provider, round(each.share, 3), each.state) for each in calm] == [
        ("p1", 0.588, "available"), ("p2", 0.294, "available"),
        ("p5", 0.118, "available"), ("up", 0, "available"),
    ]  # fmt: skip


def test_equal_digests_are_equal_chances():
    digests = [
        make_reach(stages, drawn=drawn, preferred=frozenset(preferred)).digest
        for stages, drawn, preferred in [
            (STAGES, True, ()),
            (STAGES, False, ()),
            (STAGES, True, (TWO,)),
            (STAGES[:1], True, ()),
            ((("simple", (TWO, ONE, FIVE)), STAGES[1]), True, ()),
            ((("moderate", STAGES[0][1]), STAGES[1]), True, ()),
            ((("simple", (ONE, TWO, Candidate("p5", "m", 4))), STAGES[1]), True, ()),
        ]
    ]
    assert len(set(digests)) == len(digests)
    assert {len(digest) for digest in digests} == {8}
    dearer = tuple((tier, tuple(Candidate(c.provider, c.model, c.relative_cost, 9.0) for c in pool))
                   for tier, pool in STAGES)  # fmt: skip
    assert make_reach(dearer, drawn=True).digest == digests[0]  # a price alone changes no chance


def test_a_candidate_is_told_as_provider_and_model():
    assert str(ONE) == "p1/m"
