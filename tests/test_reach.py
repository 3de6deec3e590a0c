"""Who may serve a request at all: by its tier or model, its policy, what it needs, and how far up
it may go. CONTRACT section 4."""

from typing import Any

import pytest

from tiergate.classify import Verdict
from tiergate.config import Config, Provider
from tiergate.document import DocumentEntry, TierDocument
from tiergate.errors import InvalidRequest, TierNotConfigured
from tiergate.estimate import Estimate
from tiergate.exchange import Decision
from tiergate.policies import Applied, Policies
from tiergate.profile import Profile
from tiergate.reach import placed, reach_of, stages_of
from tiergate.routing_config import Policy
from tiergate.snapshot import Snapshot, compile_snapshot
from tiergate.tiers import Tier

SIMPLE, MODERATE = Decision("simple", "default"), Decision("moderate", "explicit")
SHORT, LONG = Estimate(100, 10, True), Estimate(50_000, 10, True)


def compiled(**tiers: list[DocumentEntry]) -> Snapshot:
    names = {entry.provider for pool in tiers.values() for entry in pool}
    config = Config(providers={name: Provider(base_url="http://h.test") for name in names})
    given: Any = {tier: tuple(pool) for tier, pool in tiers.items()}
    return compile_snapshot(TierDocument("1", given), config)


def entry(name: str, **fields: Any) -> DocumentEntry:
    """`p1/m`."""
    return DocumentEntry(*name.split("/"), **fields)


def who(decision: Decision, snapshot: Snapshot, **given: Any) -> str:
    """`simple: p1/m p2/m; complex: p3/n`."""
    stages = reach_of(decision, snapshot, **given).stages
    return "; ".join(f"{tier}: {' '.join(map(str, pool))}" for tier, pool in stages)


def policy(*models: str, ceiling: float | None = None, binding: bool = True) -> Applied:
    made = Policy(name="only", allowed_models=models, max_output_price_per_million=ceiling)
    return Applied(Policies([made], most_bytes=1).rule("only"), binding)


THREE = compiled(
    simple=[entry("p1/s"), entry("p2/s")], moderate=[entry("p1/m")], complex=[entry("p2/c")]
)
GAP = compiled(simple=[entry("p1/s")], complex=[entry("p1/s"), entry("p2/c")])
"""Nobody in moderate, and one who stands in two tiers."""


# --- tiers


@pytest.mark.parametrize("tier", ["simple", "moderate", "complex"])
def test_a_plain_request_has_the_tier_that_was_compiled(tier):
    assert reach_of(Decision(tier, "explicit"), THREE) is THREE.reaches[tier]
    short = Profile(SHORT, ("tools",))  # measured for whoever keeps it: nobody here is choosy
    assert reach_of(Decision(tier, "explicit"), THREE, profile=short) is THREE.reaches[tier]


@pytest.mark.parametrize(
    ("decision", "highest", "stages"),
    [
        (SIMPLE, None, "simple: p1/s p2/s; moderate: p1/m; complex: p2/c"),
        (SIMPLE, "complex", "simple: p1/s p2/s; moderate: p1/m; complex: p2/c"),
        (SIMPLE, "moderate", "simple: p1/s p2/s; moderate: p1/m"),
        (SIMPLE, "simple", "simple: p1/s p2/s"),
        (MODERATE, None, "moderate: p1/m; complex: p2/c"),
        (Decision("complex", "session"), None, "complex: p2/c"),
        (Decision("simple", "model", "s"), None, "simple: p1/s p2/s"),
    ],
)
def test_escalating_goes_up_as_far_as_the_caller_may_and_never_down(decision, highest, stages):
    assert who(decision, THREE, escalate=True, highest=highest) == stages


def test_without_escalation_the_callers_highest_tier_does_not_matter():
    assert who(SIMPLE, THREE, highest="complex") == "simple: p1/s p2/s"


def test_who_stands_in_two_tiers_is_asked_in_the_lower_only():
    assert who(SIMPLE, GAP, escalate=True) == "simple: p1/s; complex: p2/c"
    assert who(Decision("complex", "explicit"), GAP, escalate=True) == "complex: p1/s p2/c"


@pytest.mark.parametrize("given", [{}, {"policy": policy("s")}, {"profile": Profile(SHORT)}])
def test_a_tier_of_nobody_is_refused_and_no_other_serves_for_it(given):
    with pytest.raises(TierNotConfigured, match="moderate") as refusal:
        reach_of(MODERATE, GAP, **given)
    assert (refusal.value.status, refusal.value.code) == (503, "tier_not_configured")
    assert refusal.value.retry_after is None


def test_a_tier_of_nobody_is_passed_over_where_requests_escalate():
    assert who(MODERATE, GAP, escalate=True) == "moderate: ; complex: p1/s p2/c"
    with pytest.raises(TierNotConfigured, match="moderate"):
        reach_of(MODERATE, GAP, escalate=True, highest="moderate")


def test_the_stages_are_those_of_the_tiers_whoever_is_left_out():
    assert dict(stages_of(SIMPLE, THREE, escalate=False)) == {"simple": THREE.pools["simple"]}
    assert stages_of(Decision("simple", "model", "s"), THREE, escalate=True) == (
        ("simple", THREE.pools["simple"]),
    )


# --- policies

PRICED = compiled(
    simple=[entry("p1/a", output_price_per_million=1), entry("p2/b", output_price_per_million=9)],
    moderate=[entry("p2/b"), entry("p1/a-2", output_price_per_million=2)],
    complex=[entry("p3/c", output_price_per_million=5)],
)


@pytest.mark.parametrize(
    ("decision", "applied", "stages"),
    [
        (SIMPLE, policy("b"), "simple: p2/b"),
        (SIMPLE, policy("a*"), "simple: p1/a"),
        (SIMPLE, policy(ceiling=1), "simple: p1/a"),
        (SIMPLE, policy(), "simple: p1/a p2/b"),
        (MODERATE, policy(ceiling=100), "moderate: p1/a-2"),
        (Decision("simple", "model", "b"), policy("b"), "simple: p2/b"),
    ],
)
def test_a_policy_that_was_named_leaves_only_whom_it_allows(decision, applied, stages):
    assert who(decision, PRICED, policy=applied) == stages


@pytest.mark.parametrize(
    ("decision", "applied", "text"),
    [
        (SIMPLE, policy("c"), "leaves nobody of the tier simple"),
        (SIMPLE, policy("a*", ceiling=0.5), "leaves nobody of the tier simple"),
        (MODERATE, policy("b", ceiling=99), "leaves nobody of the tier moderate"),
        (Decision("simple", "model", "b"), policy("a"), "leaves nobody of those who offer 'b'"),
        (Decision("complex", "session"), policy("a"), "leaves nobody of the tier complex"),
    ],
)
def test_a_policy_that_leaves_nobody_is_the_clients_error_and_says_so(decision, applied, text):
    with pytest.raises(InvalidRequest, match=text) as refusal:
        reach_of(decision, PRICED, policy=applied)
    assert "'only'" in refusal.value.message
    assert (refusal.value.status, refusal.value.param) == (400, "X-Arbstr-Policy")


def test_where_requests_escalate_a_policy_is_met_in_a_higher_tier():
    assert who(SIMPLE, PRICED, policy=policy("c"), escalate=True) == (
        "simple: ; moderate: ; complex: p3/c"
    )
    with pytest.raises(InvalidRequest):
        reach_of(SIMPLE, PRICED, policy=policy("c"), escalate=True, highest="moderate")


def test_a_policy_by_keyword_prefers_and_leaves_everybody():
    reach = reach_of(SIMPLE, PRICED, policy=policy("b", binding=False))
    assert [pool for _, pool in reach.stages] == [PRICED.pools["simple"]]
    assert [each.share for each in reach.calm] == [0, 1]
    nobody = reach_of(SIMPLE, PRICED, policy=policy("c", binding=False))
    assert [each.share for each in nobody.calm] == [0.5, 0.5]
    assert nobody.digest == PRICED.reaches["simple"].digest != reach.digest


@pytest.mark.parametrize(
    ("applied", "highest", "tier"),
    [
        (policy("c"), None, "complex"),
        (policy("a"), None, "simple"),
        (policy("c", "a"), None, "complex"),
        (policy("c", "a"), "moderate", "simple"),
        (policy("b"), None, "moderate"),
        (policy("nobody"), None, "moderate"),
        (policy("c", binding=False), None, "moderate"),
        (None, None, "moderate"),
    ],
)
def test_what_only_the_classifier_wished_yields_to_a_policy_that_was_named(applied, highest, tier):
    guess = Decision("moderate", "auto", None, Verdict(0.5, "moderate", ()))
    moved = placed(guess, PRICED, applied, None, highest)
    assert (moved.tier, moved.reason, moved.verdict) == (tier, "auto", guess.verdict)


@pytest.mark.parametrize("decision", [MODERATE, Decision("moderate", "session")])
def test_what_a_client_asked_for_yields_to_no_policy(decision):
    assert placed(decision, PRICED, policy("c"), None, None) is decision


# --- what the request needs

CHOOSY = compiled(
    simple=[
        entry("p1/text", supports=(), context_window=8_000),
        entry("p2/tools", supports=("tools",)),
        entry("p3/wide", supports=(), context_window=200_000),
    ],
    moderate=[entry("p1/eyes", supports=("tools", "vision"), context_window=128_000)],
)


@pytest.mark.parametrize(
    ("profile", "stages"),
    [
        (Profile(SHORT), "simple: p1/text p2/tools p3/wide"),
        (Profile(SHORT, ("tools",)), "simple: p2/tools"),
        (Profile(LONG), "simple: p2/tools p3/wide"),
        (Profile(LONG, ("tools",)), "simple: p2/tools"),
        (Profile(LONG, ("vision",)), "simple: p2/tools p3/wide"),
        (None, "simple: p1/text p2/tools p3/wide"),
    ],
    ids=["fits all", "tools", "long", "both", "nobody sees", "not measured"],
)
def test_who_does_not_fit_is_left_out_unless_nobody_fits(profile, stages):
    assert who(SIMPLE, CHOOSY, profile=profile) == stages


def test_where_requests_escalate_one_who_fits_in_a_higher_tier_comes_before_who_does_not():
    sees = Profile(SHORT, ("vision",))
    assert who(SIMPLE, CHOOSY, profile=sees, escalate=True) == "simple: ; moderate: p1/eyes"


@pytest.mark.parametrize(
    ("wished", "profile", "highest", "tier"),
    [
        ("simple", Profile(SHORT), None, "simple"),
        ("simple", Profile(SHORT, ("tools",)), None, "simple"),
        ("simple", Profile(SHORT, ("vision",)), None, "moderate"),
        ("simple", Profile(SHORT, ("vision",)), "simple", "simple"),
        ("simple", Profile(SHORT, ("audio",)), None, "simple"),
        ("moderate", Profile(Estimate(150_000, 10, True)), None, "simple"),
        ("moderate", Profile(Estimate(150_000, 10, True), ("vision",)), None, "moderate"),
        ("simple", None, None, "simple"),
    ],
    ids=[
        *("anybody", "somebody", "nobody sees", "above the caller's", "nobody hears"),
        *("no room", "no room where it is seen", "not measured"),
    ],
)
def test_a_guess_of_the_classifier_yields_to_what_the_request_needs(wished, profile, highest, tier):
    guess = Decision(wished, "auto", None, Verdict(0.5, wished, ()))
    assert placed(guess, CHOOSY, None, profile, highest).tier == tier
    own = Decision(wished, "default")
    assert placed(own, CHOOSY, None, profile, highest) is own


def test_a_guess_goes_where_a_policy_and_the_needs_leave_somebody_together():
    guess, sees = Decision("simple", "auto"), Profile(SHORT, ("vision",))
    assert placed(guess, CHOOSY, policy("text", "eyes"), sees, None).tier == "moderate"
    assert placed(guess, CHOOSY, policy("text"), sees, None).tier == "simple"


def test_a_policy_is_kept_by_whom_the_request_does_not_fit():
    """Nobody is refused by an estimate, and nobody is let past a policy by one."""
    given = {"policy": policy("text"), "profile": Profile(LONG, ("tools",))}
    assert who(SIMPLE, CHOOSY, **given) == "simple: p1/text"
    preferred = reach_of(
        SIMPLE, CHOOSY, policy=policy("text", binding=False), profile=Profile(SHORT, ("tools",))
    )
    assert [str(each) for each in preferred.candidates()] == ["p2/tools"]
    assert preferred.preferred == frozenset()


# --- cheapest first


def offers(*prices: tuple[str, float, float | None, float | None]) -> Snapshot:
    """Who offers `m`: provider, relative cost, prices per million."""
    pool = [
        DocumentEntry(name, "m", cost, input_price_per_million=into, output_price_per_million=out)
        for name, cost, into, out in prices
    ]
    return compiled(simple=pool)


def order(snapshot: Snapshot, estimate: Estimate) -> str:
    reach = reach_of(Decision("simple", "model", "m"), snapshot, profile=Profile(estimate))
    assert not reach.drawn
    return " ".join(each.provider for each in reach.candidates())


def test_a_named_model_is_asked_for_where_this_request_costs_least():
    """A35: in dollars for the request, not by a sum of unlike units."""
    both = offers(("reads", 1, 1.0, 20.0), ("writes", 1, 4.0, 4.0))
    assert order(both, Estimate(9_000, 100, False)) == "reads writes"
    assert order(both, Estimate(100, 9_000, False)) == "writes reads"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((("dear", 2, 0.1, 0.1), ("cheap", 1, 9, 9)), "cheap dear"),
        ((("a", 1, 9, 9), ("b", 0.5, 1, 1)), "b a"),
        ((("unknown", 1, None, None), ("known", 1, 9, 9)), "known unknown"),
        ((("half", 1, 1, None), ("known", 1, 9, 9)), "known half"),
        ((("a", 1, None, None), ("b", 1, None, 1)), "a b"),
        ((("b", 1, 1, 1), ("a", 1, 1, 1)), "b a"),
    ],
    ids=[
        "the relative cost comes first",
        "below 1 it counts as 1",
        "a price that is not known is the highest",
        "half of a price is none",
        "nothing known: as configured",
        "equal: as configured",
    ],
)
def test_the_order_of_who_offers_a_model(given, expected):
    assert order(offers(*given), SHORT) == expected


def test_without_an_estimate_a_model_keeps_the_order_of_its_relative_cost():
    both = offers(("dear", 1, 9, 9), ("cheap", 1, 1, 1))
    named = Decision("simple", "model", "m")
    assert reach_of(named, both) is both.models["m"].reach


def test_a_tier_is_drawn_from_whatever_the_request_costs():
    both = offers(("dear", 1, 9, 9), ("cheap", 1, 1, 1))
    assert reach_of(SIMPLE, both, profile=Profile(SHORT)) is both.reaches["simple"]


@pytest.mark.parametrize("tier", ["simple", "moderate", "complex"])
def test_the_same_reach_is_made_once(tier: Tier):
    """Every request of a tier that may escalate has it."""
    decision = Decision(tier, "explicit")
    assert reach_of(decision, THREE, escalate=True) is reach_of(decision, THREE, escalate=True)
