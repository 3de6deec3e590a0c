"""The tiers, compiled: weights, costs in dollars, aliases, and who offers which model."""

import pytest

from tiergate.completion import Usage
from tiergate.config import Config, Routing
from tiergate.snapshot import Candidate, Snapshot, compile_snapshot
from tiergate.sources import DocumentEntry, TierDocument
from tiergate.tiers import Tier


def compiled(
    tiers: dict[Tier, list[tuple[str, str, float]]], aliases: dict[str, Tier] | None = None
) -> Snapshot:
    entries = {
        tier: tuple(DocumentEntry(name, model, cost) for name, model, cost in pool)
        for tier, pool in tiers.items()
    }
    return compile_snapshot(
        TierDocument("7", entries), Config(routing=Routing(aliases=aliases or {}))
    )


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


def test_every_tier_is_there_and_keeps_the_order_of_the_configuration():
    made = compiled({"complex": [("p2", "b", 9), ("p1", "a", 1)]})
    assert {tier: [str(each) for each in pool] for tier, pool in made.pools.items()} == {
        "simple": [],
        "moderate": [],
        "complex": ["p2/b", "p1/a"],
    }
    assert made.version == "7"


@pytest.mark.parametrize(
    ("model", "tier"),
    [
        ("gpt-4o", "simple"),
        ("gpt-4o-mini", "moderate"),
        ("gpt-4o-mini-2024", "moderate"),
        ("gpt-4o-2024", "complex"),
        ("gpt-4", None),
        ("GPT-4o", None),
        ("o1", "complex"),
        ("", None),
    ],
)
def test_an_exact_alias_beats_a_prefix_and_the_longest_prefix_wins(model, tier):
    aliases: dict[str, Tier] = {
        "gpt-4o*": "complex", "gpt-4o": "simple", "gpt-4o-mini*": "moderate", "o*": "complex",
    }  # fmt: skip
    assert compiled({}, aliases).alias(model) == tier


def test_a_lone_star_is_an_alias_for_everything():
    assert compiled({}, {"*": "simple", "a*": "complex"}).alias("b") == "simple"


def test_a_model_is_offered_cheapest_first_then_in_the_order_of_the_configuration():
    made = compiled({"simple": [("p3", "m", 2), ("p1", "m", 1), ("p2", "m", 2), ("p4", "m", 0)]})
    offers = [offer.provider for offer in made.models["m"].candidates]
    assert offers == ["p1", "p4", "p3", "p2"], "a cost of 0 counts as 1"


def test_the_tier_of_a_model_is_the_lowest_that_lists_it_and_a_provider_stands_there_once():
    made = compiled(
        {
            "complex": [("p1", "m", 1), ("p2", "m", 3), ("p2", "big", 9)],
            "moderate": [("p1", "m", 5)],
        }
    )
    route = made.models["m"]
    assert route.tier == "moderate"
    assert [(each.provider, each.relative_cost) for each in route.candidates] == [
        ("p2", 3),
        ("p1", 5),
    ]
    assert made.models["big"].tier == "complex"
    assert "nobody" not in made.models
