"""Which tier a request gets, and why: CONTRACT section 3, in its order."""

import pytest

from tiergate.config import Config, Provider, Routing, TierEntry
from tiergate.document import DocumentEntry, TierDocument
from tiergate.errors import ModelNotFound, TierNotAllowed
from tiergate.exchange import Caller, Decision
from tiergate.request_headers import read_headers
from tiergate.resolve import NotOurs, resolve
from tiergate.snapshot import Snapshot, compile_snapshot
from tiergate.wire import parse_request

ALIASES = {"gpt*": "moderate", "gpt-4o*": "complex", "gpt-4o-mini": "simple", "qwen": "moderate"}


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
    body: str = "", *, header: str | None = None, caller: Caller | None = None, **routing
) -> Decision:
    pairs = [] if header is None else [(b"x-sentinel-tier", header.encode())]
    members = f'{{"messages":[]{"," if body else ""}{body}}}'
    return resolve(
        parse_request(members.encode()),
        read_headers(pairs),
        caller or Caller("ada"),
        snapshot(),
        Routing(aliases=ALIASES, **routing),
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
def test_auto_is_refused_by_name_even_where_a_model_is_called_so(unknown_model):
    with pytest.raises(ModelNotFound, match="'auto' needs the classifier"):
        decide('"model":"auto"', unknown_model=unknown_model)


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


@pytest.mark.parametrize(("length", "shown"), [(100, "x" * 100), (101, "x" * 100 + "…")])
def test_a_long_model_name_is_shortened_in_the_error(length, shown):
    with pytest.raises(ModelNotFound) as refusal:
        decide(f'"model":"{"x" * length}"')
    assert f"{shown!r} is not configured" in refusal.value.message
