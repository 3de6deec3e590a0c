"""Plain values into typed tables: every problem is named by its path, in words of a configuration.

Whatever a document holds, it is decoded or refused with a `ConfigError`, never anything else.
"""

import logging
from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from tiergate.config import Config
from tiergate.decoding import decode_tables
from tiergate.errors import ConfigError
from tiergate.loading import load_config
from tiergate.routing_config import TierEntry


def refusal(values: Any, into: Any = Config, *, strict: bool = True) -> str:
    with pytest.raises(ConfigError) as caught:
        decode_tables(values, into, strict=strict)
    return str(caught.value)


def one(**entry: Any) -> dict[str, Any]:
    return {"tiers": {"simple": [{"provider": "p", "model": "m", **entry}]}}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"retry": {"retires": 3}}, "retry.retires: unknown key (did you mean 'retries'?)"),
        ({"retry": {"max_retries": 3}}, "retry.max_retries: unknown key (did you mean 'retries'?)"),
        ({"routin": {}}, "routin: unknown key (did you mean 'routing'?)"),
        ({"providers": {"p": {"base_ulr": "x"}}}, "providers.p.base_ulr: unknown key (did you"),
        (one(relativeCost=3), "tiers.simple[0].relativeCost: unknown key (did you mean 'relative_"),
        ({"retry": {"zzz": 3}}, "retry.zzz: unknown key"),
        ({"retry": {1: 3}}, "retry.1: unknown key"),
        ({"tiers": {"huge": []}}, "tiers.huge: unknown key; must be one of simple, moderate, com"),
        ({"retry": {"tiers": {"x": {}}}}, "retry.tiers.x: unknown key; must be one of simple"),
    ],
)
def test_an_unknown_key_is_refused_with_its_path(values, text):
    assert refusal(values).startswith(text)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"retry": {"retries": -1}}, "retry.retries: must be a whole number >= 0"),
        ({"retry": {"retries": "x"}}, "retry.retries: must be a whole number, not text"),
        ({"retry": {"retries": 2.5}}, "retry.retries: must be a whole number, not a number"),
        ({"retry": {"jitter": 2}}, "retry.jitter: must be a number <= 1"),
        ({"retry": {"deadline_seconds": 0}}, "retry.deadline_seconds: must be a number > 0"),
        ({"retry": None}, "retry: must be a table, not null"),
        ({"retry": []}, "retry: must be a table, not a list"),
        ({"tiers": {"simple": {}}}, "tiers.simple: must be a list, not a table"),
        ({"tiers": {"simple": ["x"]}}, "tiers.simple[0]: must be a table, not text"),
        (one(model=""), "tiers.simple[0].model: must be text of length >= 1"),
        (one(model=date(2026, 1, 1)), "tiers.simple[0].model: must be text, not date"),
        (one(relative_cost=11), "tiers.simple[0].relative_cost: must be a number <= 10"),
        (one(input_price_per_million=[]), "tiers.simple[0].input_price_per_million: must be a n"),
        ({"tiers": {"simple": [{"model": "m"}]}}, "tiers.simple[0].provider: missing"),
        ({"headers": {"client_retries": "maybe"}}, "headers.client_retries: must be true or false"),
        ({"routing": {"paths": [3]}}, "routing.paths[0]: must be text, not a whole number"),
        ({"routing": {"aliases": {1: "simple"}}}, "routing.aliases.1: a name must be text"),
        (
            {"routing": {"aliases": {"a": "big"}}},
            "routing.aliases.a: must be one of 'simple', 'moderate', 'complex'",
        ),
        (
            {"streaming": {"failover": "always"}},
            "streaming.failover: must be one of 'off', 'first_token', 'buffered'",
        ),
        (
            {"tier_config": {"source": "redis"}},
            "tier_config.source: must be one of 'inline', 'file', 'http'",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_words_of_a_configuration(values, text):
    assert refusal(values).startswith(text)


def test_a_missing_key_at_the_top_has_its_plain_name():
    assert refusal({"model": "m"}, TierEntry) == "provider: missing"


def test_a_choice_of_one_is_all_that_there_is():
    class OneWay(Struct):
        way: Literal["back"]

    text = refusal({"way": "on"}, OneWay)
    assert text == "way: must be 'back', which is all that this version has"


def test_a_refused_value_is_not_repeated_for_it_may_hold_a_password():
    assert "secret" not in refusal({"cache": {"url": ["redis://me:secret@host"]}})
    assert "secret" not in refusal({"streaming": {"failover": "secret"}})


def test_several_problems_are_told_at_once():
    text = refusal({"retry": {"retires": 1, "jitter": 5}, "nope": {}, **one(model="")})
    assert [part.split(":")[0] for part in text.split("; ")] == [
        "retry.retires",
        "retry.jitter",
        "nope",
        "tiers.simple[0].model",
    ]


def test_text_is_taken_for_a_number_or_a_truth_because_variables_are_text():
    values = {"retry": {"retries": "3"}, "headers": {"client_retries": "true"}}
    config = decode_tables(values, Config, strict=True)
    assert (config.retry.retries, config.headers.client_retries) == (3, True)


def test_without_strictness_unknown_keys_are_dropped_with_a_warning(caplog):
    values = {"retry": {"retries": 3, "new": 1}, "later": {"a": {"b": 1}}, "tiers": {"huge": []}}
    with caplog.at_level(logging.WARNING, "tiergate"):
        config = decode_tables(values, Config, strict=False)
    assert config.retry.retries == 3
    assert [record.getMessage() for record in caplog.records] == [
        "configuration: retry.new: unknown key, ignored",
        "configuration: later: unknown key, ignored",
        "configuration: tiers.huge: unknown key; must be one of simple, moderate, complex, ignored",
    ]
    assert values["retry"] == {"retries": 3, "new": 1}, "what was given is not changed"


def test_without_strictness_a_wrong_value_is_still_an_error():
    assert refusal({"retry": {"new": 1, "retries": -1}}, strict=False).startswith("retry.retries:")


NAMES = [
    *["routing", "retry", "streaming", "limits", "providers", "tiers", "tier_config", "cache"],
    *["headers", "server", "strict", "paths", "aliases", "retries", "deadline_seconds", "simple"],
    *["complex", "provider", "model", "relative_cost", "base_url", "p1", "openai", "url", "expose"],
    *["input_price_per_million", "forward_headers", "credentials", "attempt_timeout_seconds"],
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=3),
    st.dates(),
    st.sampled_from(["simple", "http://h/v1", "${X}", "${", "${A:-b}", "p1", "*", "client", "off"]),
)
keys = st.one_of(st.sampled_from(NAMES), st.text(max_size=5), st.integers(), st.none())
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=25,
)


def outcome(read: Callable[[], Config]) -> Config | str:
    try:
        return read()
    except ConfigError as refused:
        return str(refused)


@settings(max_examples=400, deadline=None)
@given(document=st.dictionaries(keys, documents, max_size=4), strict=st.booleans())
def test_any_document_is_decoded_or_refused(document, strict):
    ended = outcome(lambda: decode_tables(document, Config, strict=strict))
    assert isinstance(ended, Config) or ended


sections = st.fixed_dictionaries(
    {},
    optional={
        name: st.dictionaries(keys, documents, max_size=3)
        for name in [
            *["routing", "retry", "streaming", "providers", "tiers", "headers", "server"],
            *["tier_config", "cache", "sessions"],
        ]
    },
)
POOL = {"providers": {"p1": {"base_url": "http://h/v1"}}, **one(provider="p1")}


@settings(max_examples=400, deadline=None)
@given(document=sections, strict=st.booleans())
def test_any_document_is_loaded_or_refused(document, strict):
    server = {**document.get("server", {}), "strict": strict}
    ended = outcome(lambda: load_config({**POOL, **document, "server": server}, environ={"X": "1"}))
    assert any(ended.tiers.values()) if isinstance(ended, Config) else ended
