"""The settings of routing: what is left out is unknown or changes nothing; names are bounded."""

from typing import get_args

import msgspec
import pytest

from tiergate.decoding import decode_tables
from tiergate.errors import ConfigError
from tiergate.routing_config import (
    ClassifierSettings,
    Feature,
    Policy,
    Routing,
    TierEntry,
    WordList,
)

ENTRY = {"provider": "p", "model": "m"}


def test_an_entry_that_says_nothing_more_is_for_every_request_and_changes_nothing():
    made = decode_tables(ENTRY, TierEntry, strict=True)
    assert (made.relative_cost, made.context_window, made.supports) == (1, None, None)
    assert (made.rename, made.drop, made.set) == ({}, (), {})


def test_an_entry_of_a_file_is_read_with_all_that_it_says():
    said = {
        **ENTRY,
        "context_window": "8000",
        "supports": list(get_args(Feature)),
        "rename": {"max_tokens": "max_completion_tokens"},
        "drop": ["temperature"],
        "set": {"reasoning": {"effort": "low"}, "seed": 7},
    }
    made = decode_tables(said, TierEntry, strict=True)
    kept = msgspec.json.decode(msgspec.json.encode(made))
    assert {name: kept[name] for name in said} == {**said, "context_window": 8000}


def test_no_list_of_features_is_unknown_and_an_empty_one_is_text_only():
    assert decode_tables({**ENTRY, "supports": []}, TierEntry, strict=True).supports == ()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"supports": ["tools", "pdf"]}, "supports[1]: must be one of 'tools', 'vision'"),
        ({"supports": "tools"}, "supports: must be a list, not text"),
        ({"context_window": 0}, "context_window: must be a whole number >= 1"),
        ({"rename": {"a": 1}}, "rename.a: must be text, not a whole number"),
        ({"rename": ["a"]}, "rename: must be a table, not a list"),
        ({"drop": ["a", ""]}, "drop[1]: must be text of length >= 1"),
        ({"set": "a"}, "set: must be a table, not text"),
        ({"suports": []}, "suports: unknown key (did you mean 'supports'?)"),
    ],
)
def test_what_is_wrong_in_an_entry_is_named_by_its_place(said, problem):
    with pytest.raises(ConfigError) as caught:
        decode_tables({**ENTRY, **said}, TierEntry, strict=True)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("kind", "said", "problem"),
    [
        (Routing, {"default_tier": "huge"}, "default_tier: must be"),
        (Routing, {"escalate": "upwards"}, "escalate: must be true or false"),
        (ClassifierSettings, {"moderate": 1}, "moderate: must be a number < 1"),
        (ClassifierSettings, {"weights": {"x": 21}}, "weights.x: must be a number <= 20"),
        (ClassifierSettings, {"words": {"x": {"more": []}}}, "words.x.more: unknown key"),
        (ClassifierSettings, {"measure": "some"}, "measure: must be one of 'auto', 'all'"),
        (Policy, {}, "name: missing"),
        (Policy, {"name": ""}, "name: must be text of length >= 1"),
        (Policy, {"name": "p", "allowed_models": "m"}, "allowed_models: must be a list"),
        (Policy, {"name": "p", "keywords": ["a" * 65]}, "keywords[0]: must be text of length <="),
    ],
)
def test_what_is_wrong_in_another_table_is_named_by_its_place(kind, said, problem):
    with pytest.raises(ConfigError) as caught:
        decode_tables(said, kind, strict=True)
    assert str(caught.value).startswith(problem)


def test_the_default_tier_may_be_left_to_the_classifier():
    assert decode_tables({"default_tier": "auto"}, Routing, strict=True).default_tier == "auto"
    assert decode_tables({"add": ["a"]}, WordList, strict=True) == WordList(add=("a",))
