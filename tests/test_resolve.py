"""Which tier a request gets, and why: CONTRACT section 3, in its order."""

from typing import Any

import pytest
from msgspec.structs import replace

from tiergate.candidates import Candidate
from tiergate.classify import Classifier, Verdict
from tiergate.config import Config, Provider
from tiergate.document import DocumentEntry, TierDocument
from tiergate.errors import ModelNotFound, TierNotAllowed
from tiergate.exchange import Caller, Decision
from tiergate.request_headers import read_headers
from tiergate.resolve import NotOurs, nearest, resolve
from tiergate.routing_config import ClassifierSettings, Routing, TierEntry
from tiergate.snapshot import Snapshot, compile_snapshot
from tiergate.tiers import TIERS, Tier
from tiergate.wire import parse_request

ALIASES = {"gpt*": "moderate", "gpt-4o*": "complex", "gpt-4o-mini": "simple", "qwen": "moderate"}


class Guess(Classifier):
    """A classifier that says the same of everything."""

    def __init__(self, tier: Tier) -> None:
        super().__init__(ClassifierSettings())
        self.verdict = Verdict(0.71828, tier, ())

    def classify(self, members: object) -> Verdict:
        return self.verdict


class Unasked(Classifier):
    """A classifier that nobody may ask."""

    def classify(self, members: object) -> Verdict:
        raise AssertionError("the tier was known")


def snapshot() -> Snapshot:
    simple = (DocumentEntry("p1", "qwen"), DocumentEntry("p1", "phi"), DocumentEntry("p1", "auto"))
    complex_ = (DocumentEntry("p2", "phi"), DocumentEntry("p2", "opus"))
    document = TierDocument("1", {"simple": simple, "complex": complex_})
    entries = (TierEntry(provider="p1", model="qwen"),)
    routing = Routing(aliases=ALIASES)
    providers = {"p1": Provider(), "p2": Provider()}
    return compile_snapshot(
        document, Config(routing=routing, providers=providers, tiers={"simple": entries})
    )


def decide(
    body: str = "",
    *,
    header: str | None = None,
    caller: Caller | None = None,
    guess: Tier | None = None,
    tiers: Snapshot | None = None,
    **routing: Any,
) -> Decision:
    pairs = [] if header is None else [(b"x-sentinel-tier", header.encode())]
    members = f'{{"messages":[]{"," if body else ""}{body}}}'
    return resolve(
        parse_request(members.encode()),
        read_headers(pairs),
        caller or Caller("ada"),
        tiers or snapshot(),
        Routing(aliases=ALIASES, **routing),
        Unasked(ClassifierSettings()) if guess is None else Guess(guess),
    )


@pytest.mark.parametrize(
    ("body", "header", "decision"),
    [
        ('"tier":"complex","model":"qwen"', "simple", Decision("complex", "explicit")),
        ('"model":"simple"', "complex", Decision("complex", "explicit")),
        ('"model":"unknown"', "moderate", Decision("moderate", "explicit")),
        ('"tier":null', "moderate", Decision("moderate", "explicit")),
        ('"model":"moderate"', None, Decision("moderate", "alias")),
        ('"model":"gpt-5"', None, Decision("moderate", "alias")),
        ('"model":"gpt-4o-2024"', None, Decision("complex", "alias")),
        ('"model":"gpt-4o-mini"', None, Decision("simple", "alias")),
        ('"model":"qwen"', None, Decision("moderate", "alias")),
        ('"model":"opus"', None, Decision("complex", "model", "opus")),
        ('"model":"phi"', None, Decision("simple", "model", "phi")),
        ("", None, Decision("simple", "default")),
        ('"model":null', None, Decision("simple", "default")),
        ('"model":""', None, Decision("simple", "default")),
    ],
)
def test_the_first_rule_that_applies_decides(body, header, decision):
    assert decide(body, header=header) == decision


@pytest.mark.parametrize(
    ("caller", "default_tier", "tier"),
    [
        (Caller("ada"), "moderate", "moderate"),
        (Caller("ada", tier="complex"), "moderate", "complex"),
        (Caller("ada", tier="simple"), "moderate", "simple"),
        (Caller("ada", max_tier="simple"), "complex", "simple"),
        (Caller("ada", tier="complex", max_tier="moderate"), "simple", "moderate"),
    ],
)
def test_the_default_is_the_callers_else_the_configured_and_never_more_than_it_may_have(
    caller, default_tier, tier
):
    assert decide(caller=caller, default_tier=default_tier) == Decision(tier, "default")


@pytest.mark.parametrize(
    ("body", "header"),
    [('"tier":"complex"', None), ("", "complex"), ('"model":"complex"', None),
     ('"model":"gpt-4o-2024"', None), ('"model":"opus"', None)],
)  # fmt: skip
def test_a_tier_asked_for_above_what_the_caller_may_have_is_refused(body, header):
    with pytest.raises(TierNotAllowed) as refusal:
        decide(body, header=header, caller=Caller("ada", max_tier="moderate"))
    assert (refusal.value.status, refusal.value.code) == (403, "tier_not_allowed")
    assert "complex" in refusal.value.message
    assert decide(body, header=header, caller=Caller("ada", max_tier="complex")).tier == "complex"


@pytest.mark.parametrize("unknown_model", ["reject", "default", "pass"])
def test_auto_asks_the_classifier_even_where_a_model_is_called_so(unknown_model):
    verdict = Guess("complex").verdict
    for guess in ("simple", "complex"):
        decision = decide('"model":"auto"', guess=guess, unknown_model=unknown_model)
        assert decision == Decision(guess, "auto", None, Verdict(verdict.score, guess, ()))


def test_an_alias_may_take_the_name_of_auto():
    named = replace(snapshot(), aliases={"auto": "complex"})
    assert decide('"model":"auto"', tiers=named) == Decision("complex", "alias")


@pytest.mark.parametrize("body", ["", '"model":null', '"model":"?"'])
def test_the_classifier_may_be_the_default(body):
    auto = {"default_tier": "auto", "unknown_model": "default"}
    assert decide(body, guess="complex", **auto).reason == "auto"
    assert decide(body, guess="complex", **auto).tier == "complex"
    ada = Caller("ada", tier="simple")  # whose own default comes first
    assert decide(body, caller=ada, **auto) == Decision("simple", "default")


@pytest.mark.parametrize("highest", [None, *TIERS])
@pytest.mark.parametrize("empty", [(), ("simple",), ("moderate",), ("complex",),
                                   ("simple", "moderate"), ("moderate", "complex")])  # fmt: skip
@pytest.mark.parametrize("guess", TIERS)
def test_a_guess_leads_to_somebody_and_never_above_what_the_caller_may_have(guess, empty, highest):
    pools = {tier: () if tier in empty else (Candidate("p1", "m", 1),) for tier in TIERS}
    allowed = TIERS if highest is None else TIERS[: TIERS.index(highest) + 1]
    served = [tier for tier in allowed if pools[tier]]
    caller = Caller("ada", max_tier=highest)
    given = replace(snapshot(), pools=pools, aliases={}, prefixes=(), models={})
    tier = decide('"model":"auto"', guess=guess, caller=caller, tiers=given).tier
    assert tier in (served or allowed)
    if guess in served:
        assert tier == guess
    higher = [each for each in served if TIERS.index(each) > TIERS.index(guess)]
    if guess not in served and higher:
        assert tier == higher[0]


def test_the_nearest_tier_is_the_next_higher_before_the_next_lower():
    def one(*tiers: Tier) -> dict[Tier, list[Candidate]]:
        return {tier: [Candidate("p", "m", 1)] if tier in tiers else [] for tier in TIERS}

    assert nearest("moderate", one("simple", "complex"), None) == "complex"
    assert nearest("moderate", one("simple", "complex"), "moderate") == "simple"
    assert nearest("complex", one("simple", "moderate"), None) == "moderate"
    assert nearest("complex", one("simple", "complex"), "moderate") == "simple"
    assert nearest("complex", one(), "simple") == "complex"


def test_an_unknown_model_is_refused_and_named():
    with pytest.raises(ModelNotFound, match="'gtp-5' is not configured") as refusal:
        decide('"model":"gtp-5"')
    assert (refusal.value.status, refusal.value.code) == (404, "model_not_found")
    assert refusal.value.param == "model"


def test_an_unknown_model_is_routed_by_default_where_that_is_configured():
    caller = Caller("ada", tier="complex", max_tier="moderate")
    assert decide('"model":"?"', unknown_model="default") == Decision("simple", "default")
    assert decide('"model":"?"', unknown_model="default", caller=caller).tier == "moderate"


def test_an_unknown_model_is_not_ours_where_that_is_configured():
    with pytest.raises(NotOurs, match="'gtp-5'"):
        decide('"model":"gtp-5"', unknown_model="pass")


@pytest.mark.parametrize("body", ["", '"model":null'])
def test_who_names_nothing_is_handed_on_while_the_default_tier_has_nobody(body):
    empty = {"unknown_model": "pass", "default_tier": "moderate"}
    with pytest.raises(NotOurs, match="names no model"):
        decide(body, **empty)
    assert decide(body, unknown_model="pass") == Decision("simple", "default")
    for other in ("reject", "default"):
        assert decide(body, **empty | {"unknown_model": other}).tier == "moderate"
    assert decide(body, header="moderate", **empty) == Decision("moderate", "explicit")


def test_who_names_nothing_is_handed_on_by_auto_only_while_nobody_serves_anything():
    auto = {"unknown_model": "pass", "default_tier": "auto"}
    assert decide(guess="moderate", **auto).tier == "complex"
    nobody = replace(snapshot(), pools=dict.fromkeys(TIERS, ()))
    with pytest.raises(NotOurs, match="names no model"):
        decide(guess="moderate", tiers=nobody, **auto)
    asked = decide('"model":"auto"', guess="moderate", tiers=nobody, **auto)
    assert asked.tier == "moderate"  # by a name that is ours


@pytest.mark.parametrize(("length", "shown"), [(100, "x" * 100), (101, "x" * 100 + "…")])
def test_a_long_model_name_is_shortened_in_the_error(length, shown):
    with pytest.raises(ModelNotFound) as refusal:
        decide(f'"model":"{"x" * length}"')
    assert f"{shown!r} is not configured" in refusal.value.message
