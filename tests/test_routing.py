"""Who is asked, in which order: drawn by cost within a tier, cheapest first for a named model."""

import random
from collections import Counter

import pytest

from tiergate.candidates import Candidate, Share, make_reach
from tiergate.config import Config, HealthSettings, Provider
from tiergate.document import DocumentEntry, TierDocument
from tiergate.errors import Unavailable
from tiergate.exchange import Decision
from tiergate.health import Health
from tiergate.reach import reach_of
from tiergate.routing import Plan, make_plan, shares
from tiergate.sessions import Session
from tiergate.snapshot import Snapshot, compile_snapshot

BY_TIER = Decision("simple", "default")
EXPECTED = {"p1": 0.588, "p2": 0.294, "p5": 0.118}
DRAWS = 6_000
WELL = Health(HealthSettings(), lambda: 0.0)


def snapshot(*simple: DocumentEntry, complex_: tuple[DocumentEntry, ...] = ()) -> Snapshot:
    names = {entry.provider for entry in (*simple, *complex_)}
    config = Config(providers={name: Provider(base_url="http://h.test") for name in names})
    return compile_snapshot(TierDocument("1", {"simple": simple, "complex": complex_}), config)


def by_cost(*costs: float) -> Snapshot:
    return snapshot(*(DocumentEntry(f"p{cost}", "m", cost) for cost in costs))


class Undrawn(random.Random):
    """Chance that nobody may take."""

    def random(self) -> float:
        raise AssertionError("something was drawn")


def test_costs_1_2_5_get_shares_of_588_294_and_118_thousandths():
    pool, chance = by_cost(5, 1, 2), random.Random(1)
    firsts = Counter(
        make_plan(reach_of(BY_TIER, pool), WELL, chance).candidates[0].provider
        for _ in range(DRAWS)
    )
    assert {name: firsts[name] / DRAWS for name in EXPECTED} == pytest.approx(EXPECTED, abs=0.015)


@pytest.mark.parametrize("first", EXPECTED)
def test_second_places_follow_the_same_weights_without_the_first(first):
    pool, chance = by_cost(1, 2, 5), random.Random(2)
    plans = [make_plan(reach_of(BY_TIER, pool), WELL, chance).candidates for _ in range(4 * DRAWS)]
    seconds = Counter(plan[1].provider for plan in plans if plan[0].provider == first)
    left = {name: share for name, share in EXPECTED.items() if name != first}
    expected = {name: share / sum(left.values()) for name, share in left.items()}
    total = sum(seconds.values())
    assert {name: seconds[name] / total for name in left} == pytest.approx(expected, abs=0.035)


def test_a_plan_names_every_candidate_of_the_tier_once():
    pool, chance = by_cost(1, 2, 5), random.Random(3)
    for _ in range(100):
        plan = make_plan(reach_of(BY_TIER, pool), WELL, chance)
        assert sorted(each.provider for each in plan.candidates) == ["p1", "p2", "p5"]


def test_the_same_seed_gives_the_same_plans():
    pool = by_cost(1, 2, 5)
    one, other = random.Random(4), random.Random(4)
    assert [make_plan(reach_of(BY_TIER, pool), WELL, one) for _ in range(50)] == [
        make_plan(reach_of(BY_TIER, pool), WELL, other) for _ in range(50)
    ]


@pytest.mark.parametrize("cost", [0, 0.5, 1])
def test_a_cost_below_one_counts_as_one(cost):
    pool = snapshot(DocumentEntry("a", "m", cost), DocumentEntry("b", "m", 1))
    assert shares(reach_of(BY_TIER, pool), WELL) == (
        Share("a", "m", "available", 0.5),
        Share("b", "m", "available", 0.5),
    )


def test_a_single_candidate_is_not_drawn():
    plan = make_plan(reach_of(BY_TIER, by_cost(7)), WELL, Undrawn())
    assert [each.provider for each in plan.candidates] == ["p7"]


def test_the_same_model_at_another_provider_is_a_candidate_of_its_own():
    pool = snapshot(DocumentEntry("a", "m"), DocumentEntry("b", "m"), DocumentEntry("a", "n"))
    plan = make_plan(reach_of(BY_TIER, pool), WELL, random.Random(5))
    assert {str(each) for each in plan.candidates} == {"a/m", "b/m", "a/n"}


def test_a_named_model_is_asked_for_cheapest_first_in_the_order_of_the_configuration():
    pool = snapshot(
        DocumentEntry("late", "m", 3),
        DocumentEntry("other", "n", 1),
        DocumentEntry("second", "m", 2),
        complex_=(DocumentEntry("third", "m", 2), DocumentEntry("first", "m", 1)),
    )
    decision = Decision("simple", "model", "m")
    plan = make_plan(reach_of(decision, pool), WELL, Undrawn())
    assert [each.provider for each in plan.candidates] == ["first", "second", "third", "late"]
    assert [share.share for share in shares(reach_of(decision, pool), WELL)] == [1.0, 0.0, 0.0, 0.0]
    assert shares(reach_of(decision, pool), WELL)[0] == Share("first", "m", "available", 1.0)


def test_the_shares_of_a_tier_are_its_weights_in_the_order_of_the_configuration():
    told = shares(reach_of(BY_TIER, by_cost(5, 1, 2)), WELL)
    assert [share.provider for share in told] == ["p5", "p1", "p2"]
    assert {share.provider: round(share.share, 3) for share in told} == EXPECTED


# --- who is in back-off


def ailing(**seconds: float) -> Health:
    """Health in which these providers of `m` have so many seconds of back-off left."""
    made = Health(HealthSettings(), lambda: 0.0)
    for provider, left in seconds.items():
        permit = made.admit(Candidate(provider, "m", 1), 15)
        assert permit is not None
        made.failed(permit, left)
    return made


def test_who_is_in_back_off_is_not_planned_and_the_others_share_its_part():
    pool, health, chance = by_cost(1, 2, 5), ailing(p1=30), random.Random(6)
    plans = [make_plan(reach_of(BY_TIER, pool), health, chance).candidates for _ in range(200)]
    assert {tuple(sorted(each.provider for each in plan)) for plan in plans} == {("p2", "p5")}
    told = {
        each.provider: (each.state, each.share) for each in shares(reach_of(BY_TIER, pool), health)
    }
    assert told == {
        "p1": ("backing off", 0),
        "p2": ("available", pytest.approx(5 / 7)),
        "p5": ("available", pytest.approx(2 / 7)),
    }


def test_a_named_model_is_asked_for_at_the_cheapest_that_is_available():
    pool, decision = by_cost(1, 2, 5), Decision("simple", "model", "m")
    plan = make_plan(reach_of(decision, pool), ailing(p1=30), Undrawn())
    assert [each.provider for each in plan.candidates] == ["p2", "p5"]
    assert [each.share for each in shares(reach_of(decision, pool), ailing(p1=30))] == [0, 1, 0]


def test_with_everybody_in_back_off_the_shortest_is_told_or_asked_as_a_last_resort():
    pool, health = by_cost(1, 2, 5), ailing(p1=30, p2=7.5, p5=60)
    with pytest.raises(Unavailable, match="tier simple is in back-off") as refusal:
        make_plan(reach_of(BY_TIER, pool), health, Undrawn())
    assert (refusal.value.code, refusal.value.retry_after) == ("service_unavailable", 7.5)
    plan = make_plan(reach_of(BY_TIER, pool), health, Undrawn(), last_resort=True)
    assert plan == Plan((Candidate("p2", "m", 2),), ("simple",), last_resort=True)
    assert [each.share for each in shares(reach_of(BY_TIER, pool), health)] == [0, 0, 0]


def test_with_somebody_available_nobody_is_a_last_resort():
    plan = make_plan(reach_of(BY_TIER, by_cost(1, 2)), ailing(p1=30), Undrawn(), last_resort=True)
    assert plan == Plan((Candidate("p2", "m", 2),), ("simple",))


# --- a conversation


HELD_TO = [
    ("its candidate", "simple", Session("p5", "m", "simple", 1), "p5/m"),
    ("of the same model another provider", "simple", Session("p2", "m", "simple", 1), "p2/m"),
    ("in a higher tier its provider's first", "complex", Session("p5", "m", "simple", 1), "p5/n"),
]


@pytest.mark.parametrize(
    ("tier", "session", "first"), [pytest.param(*row, id=name) for name, *row in HELD_TO]
)
def test_a_conversation_has_its_candidate_first_and_the_others_stand_by(tier, session, first):
    entries = [DocumentEntry(f"p{cost}", "m", cost) for cost in (1, 2, 5)]
    higher = [DocumentEntry(*pair) for pair in (("p1", "n"), ("p5", "n"), ("p5", "o"))]
    pool, chance = snapshot(*entries, complex_=tuple(higher)), random.Random(8)
    plans = set()
    for _ in range(100):
        decision = Decision(tier, "explicit")
        plan = make_plan(reach_of(decision, pool), WELL, chance, session=session)
        plans.add(tuple(map(str, plan.candidates)))
    assert {plan[0] for plan in plans} == {first}
    assert {len(set(plan)) for plan in plans} == {3}
    assert len(plans) == 2  # behind it the others are drawn


@pytest.mark.parametrize(
    ("session", "tier"),
    [
        (Session("p9", "m", "simple", 1), "simple"),
        (Session("p1", "gone", "simple", 1), "simple"),
        (Session("p9", "m", "simple", 1), "complex"),
    ],
    ids=["no such provider", "no such model", "not in the higher tier"],
)
def test_a_candidate_that_is_gone_leaves_the_draw_as_it_is(session, tier):
    pool = snapshot(
        *(DocumentEntry(f"p{cost}", "m", cost) for cost in (1, 2)),
        complex_=(DocumentEntry("p1", "n"), DocumentEntry("p2", "n")),
    )
    for seed in range(20):
        one, other = random.Random(seed), random.Random(seed)
        drawn = make_plan(reach_of(Decision(tier, "explicit"), pool), WELL, one)
        assert (
            make_plan(reach_of(Decision(tier, "explicit"), pool), WELL, other, session=session)
            == drawn
        )


def test_a_candidate_in_back_off_is_nobodys_favourite():
    pool, session = by_cost(1, 2, 5), Session("p2", "m", "simple", 1)
    for seed in range(20):
        plan = make_plan(
            reach_of(BY_TIER, pool), ailing(p2=30), random.Random(seed), session=session
        )
        assert {each.provider for each in plan.candidates} == {"p1", "p5"}


# --- who is preferred, and higher tiers


def test_who_a_keyword_prefers_is_asked_first_and_the_others_stand_by():
    one, two, five = by_cost(1, 2, 5).pools["simple"]
    reach = make_reach(
        (("simple", (one, two, five)),), drawn=True, preferred=frozenset({two, five})
    )
    chance, seen = random.Random(9), Counter[tuple[str, ...]]()
    for _ in range(200):
        seen[tuple(each.provider for each in make_plan(reach, WELL, chance).candidates)] += 1
    assert set(seen) == {("p2", "p5", "p1"), ("p5", "p2", "p1")}
    assert [round(each.share, 3) for each in shares(reach, WELL)] == [0, 0.714, 0.286]
    held = make_plan(reach, WELL, chance, session=Session("p1", "m", "simple", 1))
    assert held.candidates[0] == one  # a conversation keeps what it has
    away = ailing(p2=30, p5=30)
    assert make_plan(reach, away, chance).candidates == (one,)
    assert [each.share for each in shares(reach, away)] == [1, 0, 0]


UP = snapshot(
    DocumentEntry("p1", "m"), DocumentEntry("p2", "m"),
    complex_=(DocumentEntry("p5", "n"), DocumentEntry("p2", "n")),
)  # fmt: skip
"""Two in simple, nobody in moderate, two in complex."""


def test_a_higher_tier_comes_after_everybody_of_its_own():
    reach, chance = reach_of(BY_TIER, UP, escalate=True), random.Random(10)
    plans = {make_plan(reach, WELL, chance) for _ in range(100)}
    assert {tuple(map(str, plan.candidates[:2])) for plan in plans} == {
        ("p1/m", "p2/m"), ("p2/m", "p1/m"),
    }  # fmt: skip
    assert {plan.tiers for plan in plans} == {("simple", "simple", "complex", "complex")}
    assert len(plans) == 4
    assert [each.share for each in shares(reach, WELL)] == [0.5, 0.5, 0, 0]


def test_with_nobody_of_its_own_tier_a_higher_one_is_drawn_from():
    reach, health = reach_of(BY_TIER, UP, escalate=True), ailing(p1=30, p2=7)
    plan = make_plan(reach, health, random.Random(11))
    assert set(map(str, plan.candidates)) == {"p5/n", "p2/n"}
    assert plan.tiers == ("complex", "complex")
    assert [each.share for each in shares(reach, health)] == [0, 0, 0.5, 0.5]
    held = {
        str(make_plan(reach, health, random.Random(seed), session=session).candidates[0])
        for seed in range(20)
        for session in [Session("p2", "m", "simple", 1)]
    }
    assert held == {"p2/n"}  # somebody of the provider that the conversation has


def test_with_nobody_of_any_tier_the_nearest_end_of_all_is_told_or_asked():
    health = ailing(p1=30, p2=20)
    for candidate in UP.pools["complex"]:
        permit = health.admit(candidate, 15)
        assert permit is not None
        health.failed(permit, 9 if candidate.provider == "p5" else 12)
    reach = reach_of(BY_TIER, UP, escalate=True)
    with pytest.raises(Unavailable, match="tier simple") as refusal:
        make_plan(reach, health, Undrawn())
    assert refusal.value.retry_after == 9
    plan = make_plan(reach, health, Undrawn(), last_resort=True)
    assert plan == Plan((Candidate("p5", "n", 1),), ("complex",), last_resort=True)
