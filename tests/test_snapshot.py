"""The tiers, compiled: pools, aliases, and who offers which model.

What a configuration cannot use of a document is left out and named; the rest works.
"""

import pytest
from msgspec.structs import replace

from tiergate.adaptation import Adaptation
from tiergate.config import Config, Provider, TierConfig
from tiergate.document import DocumentEntry, SourceError, TierDocument
from tiergate.routing_config import Routing
from tiergate.snapshot import Snapshot, compile_snapshot
from tiergate.tiers import Tier

PROVIDERS = ["p1", "p2", "p3", "p4"]
SOME: dict[Tier, list[tuple[str, str, float]]] = {"simple": [("p1", "some", 1)]}


def compiled(
    tiers: dict[Tier, list[tuple[str, str, float]]], aliases: dict[str, Tier] | None = None
) -> Snapshot:
    entries = {
        tier: tuple(DocumentEntry(name, model, cost) for name, model, cost in pool)
        for tier, pool in tiers.items()
    }
    providers = {name: Provider(base_url=f"http://{name}.test/v1") for name in PROVIDERS}
    config = Config(providers=providers, routing=Routing(aliases=aliases or {}))
    return compile_snapshot(TierDocument("7", entries), config)


def test_every_tier_is_there_and_keeps_the_order_of_the_configuration():
    made = compiled({"complex": [("p2", "b", 9), ("p1", "a", 1)]})
    assert {tier: [str(each) for each in pool] for tier, pool in made.pools.items()} == {
        "simple": [],
        "moderate": [],
        "complex": ["p2/b", "p1/a"],
    }
    assert [str(each) for each in made.candidates()] == ["p2/b", "p1/a"]
    assert (made.version, made.skipped) == ("7", ())


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
    assert compiled(SOME, aliases).alias(model) == tier


def test_a_lone_star_is_an_alias_for_everything():
    assert compiled(SOME, {"*": "simple", "a*": "complex"}).alias("b") == "simple"


def test_a_model_is_offered_cheapest_first_then_in_the_order_of_the_configuration():
    made = compiled({"simple": [("p3", "m", 2), ("p1", "m", 1), ("p2", "m", 2), ("p4", "m", 0)]})
    offers = [offer.provider for offer in made.models["m"].reach.candidates()]
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
    assert [(each.provider, each.relative_cost) for each in route.reach.candidates()] == [
        ("p2", 3),
        ("p1", 5),
    ]
    assert made.models["big"].tier == "complex"
    assert "nobody" not in made.models


def test_an_entry_of_an_unknown_provider_is_left_out_and_named_after_what_was_wrong_before():
    entries = (DocumentEntry("p1", "m"), DocumentEntry("p9", "m"))
    document = TierDocument("7", {"simple": entries, "complex": entries[1:]}, skipped=("before",))
    made = compile_snapshot(document, Config(providers={"p1": Provider(base_url="http://a")}))
    assert [str(each) for each in made.candidates()] == ["p1/m"]
    assert made.skipped == (
        "before",
        "simple p9/m: the provider is not in [providers]",
        "complex p9/m: the provider is not in [providers]",
    )


def test_of_many_entries_that_are_left_out_twenty_are_named():
    entries = (DocumentEntry("p1", "m"), *(DocumentEntry("p9", f"m{n}") for n in range(1000)))
    config = Config(providers={"p1": Provider(base_url="http://a")})
    made = compile_snapshot(TierDocument("7", {"simple": entries}), config)
    assert (len(made.skipped), made.skipped[-1]) == (21, "and 980 more")


@pytest.mark.parametrize(
    ("tiers", "text"),
    [
        ({}, "no entry of the document (version 7) is usable"),
        ({"simple": ()}, "no entry of the document (version 7) is usable"),
        (
            {"simple": (DocumentEntry("p9", "m"),)},
            "no entry of the document (version 7) is usable:"
            " simple p9/m: the provider is not in [providers]",
        ),
    ],
)
def test_a_document_with_nothing_to_use_is_refused_with_its_version_and_the_reasons(tiers, text):
    with pytest.raises(SourceError) as caught:
        compile_snapshot(TierDocument("7", tiers), Config())
    assert str(caught.value) == text


def test_a_refusal_names_five_reasons_of_many():
    entries = tuple(DocumentEntry("p9", f"m{n}") for n in range(1000))
    with pytest.raises(SourceError) as caught:
        compile_snapshot(TierDocument("7", {"simple": entries}), Config())
    assert str(caught.value).count("p9/") == 5


TWO_HOSTS = {
    "theirs": Provider(base_url="https://one.test/v1", credentials="client"),
    "same": Provider(base_url="https://one.test/v2"),
    "ours": Provider(base_url="https://two.test/v1"),
    "third": Provider(base_url="https://three.test/v1"),
}


@pytest.mark.parametrize(
    ("tiers", "left_out"),
    [
        ({"simple": ["theirs/m", "ours/n"]}, ["simple theirs/m"]),
        ({"simple": ["theirs/m"], "complex": ["ours/m", "ours/n"]}, ["simple theirs/m"]),
        (
            {"simple": ["theirs/m", "ours/n"], "complex": ["theirs/big"]},
            ["simple theirs/m"],
        ),
        ({"simple": ["theirs/m", "same/m"], "complex": ["ours/n"]}, []),
        ({"simple": ["ours/m", "third/m"], "complex": ["theirs/n"]}, []),
        ({"simple": ["theirs/m", "nobody/n"]}, ["simple nobody/n"]),
    ],
)
def test_who_is_handed_a_callers_key_is_left_out_where_another_host_could_get_it(tiers, left_out):
    entries = {
        tier: tuple(DocumentEntry(*each.split("/")) for each in listed)
        for tier, listed in tiers.items()
    }
    made = compile_snapshot(TierDocument("7", entries), Config(providers=TWO_HOSTS))
    assert [text.partition(":")[0] for text in made.skipped] == left_out
    kept = {f"{tier} {each}" for tier, pool in made.pools.items() for each in pool}
    asked = {f"{tier} {each}" for tier, listed in tiers.items() for each in listed}
    assert kept == asked - set(left_out)


def test_only_a_configuration_may_be_without_tiers_where_others_are_handed_on():
    passes = Config(routing=Routing(unknown_model="pass"))
    made = compile_snapshot(TierDocument("inline", {}), passes)
    assert list(made.candidates()) == []
    elsewhere = replace(passes, tier_config=TierConfig(source="file", file="tiers.json"))
    with pytest.raises(SourceError, match="no entry"):
        compile_snapshot(TierDocument("7", {}), elsewhere)


def test_what_an_entry_says_of_its_model_is_compiled_into_its_candidate():
    said = DocumentEntry(
        "p1",
        "m",
        context_window=8000,
        supports=("tools",),
        rename={"max_tokens": "max_completion_tokens"},
        drop=("temperature",),
        set={"reasoning": {"effort": "low"}},
    )
    config = Config(providers={"p1": Provider(base_url="http://a")})
    made = compile_snapshot(TierDocument("7", {"simple": (said,)}), config)
    (candidate,) = made.candidates()
    assert (candidate.context_window, candidate.supports) == (8000, {"tools"})
    assert candidate.adaptation == Adaptation(
        rename=(("max_tokens", "max_completion_tokens"),),
        drop=("temperature",),
        set=(("reasoning", b'{"effort":"low"}'),),
    )


@pytest.mark.parametrize(
    ("said", "choosy"),
    [
        ({}, False),
        ({"drop": ("temperature",)}, False),
        ({"supports": ()}, True),
        ({"context_window": 8000}, True),
    ],
)
def test_tiers_are_choosy_where_somebody_is_not_for_every_request(said, choosy):
    entries = (DocumentEntry("p1", "m"), DocumentEntry("p1", "n", **said))
    config = Config(providers={"p1": Provider(base_url="http://a")})
    assert compile_snapshot(TierDocument("7", {"simple": entries}), config).is_choosy is choosy


@pytest.mark.parametrize(
    ("offers", "by_price"),
    [
        ([], False),
        ([(1, 2.0, 3.0)], False),
        ([(1, 2.0, 3.0), (1, 2.0, 3.0)], False),
        ([(1, 2.0, 3.0), (1, 2.5, 3.0)], True),
        ([(1, 2.0, 3.0), (0, 2.0, 3.5)], True),
        ([(1, 2.0, 3.0), (2, 2.5, 3.0)], False),
        ([(1, 2.0, 3.0), (1, None, None)], True),
        ([(1, None, None), (1, None, 3.0)], False),
    ],
)
def test_prices_order_those_who_offer_a_model_where_their_relative_costs_do_not(offers, by_price):
    entries = (
        DocumentEntry("p4", "m", 9),
        *(
            DocumentEntry(f"p{number}", "m", cost, price_in, price_out)
            for number, (cost, price_in, price_out) in enumerate(offers, 1)
        ),
    )
    config = Config(providers={name: Provider(base_url="http://a") for name in PROVIDERS})
    made = compile_snapshot(TierDocument("7", {"simple": entries}), config)
    assert made.models["m"].by_price is by_price
