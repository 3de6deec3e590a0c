"""Sentinel's tier document: one wrong entry is skipped and named, the rest works.

Whatever a service sends, it is read or refused with a `SourceError`, never anything else; what is
told of it is short and stays on one line.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergate.document import (
    DocumentEntry,
    SourceError,
    TierDocument,
    parse_document,
    summed_up,
)

PRICES = {"inputPricePerMillion": 0.1, "outputPricePerMillion": 0.4}
SMALL = {"provider": "p1", "model": "small-1", **PRICES}
SENTINELS = {
    "success": True,
    "data": {
        "version": "7",
        "updatedAt": "2026-01-01T00:00:00Z",
        "tiers": {
            "simple": [{**SMALL, "relativeCost": 2.5, "cachedInputPricePerMillion": 0.05}],
            "moderate": [],
            "complex": [{**SMALL, "contextWindow": 128_000}],
        },
    },
}


def tiers_of(**tiers: Any) -> dict[str, Any]:
    return {"version": "7", "tiers": tiers}


def skipped(*entries: Any) -> tuple[str, ...]:
    return parse_document(tiers_of(simple=list(entries)), fetched_at=0).skipped


def refusal(raw: Any) -> str:
    with pytest.raises(SourceError) as caught:
        parse_document(raw, fetched_at=0)
    return str(caught.value)


@pytest.mark.parametrize("raw", [SENTINELS, SENTINELS["data"]], ids=["in its envelope", "bare"])
def test_the_seeds_document_is_read(raw):
    small = DocumentEntry(
        provider="p1",
        model="small-1",
        relative_cost=2.5,
        input_price_per_million=0.1,
        output_price_per_million=0.4,
        cached_input_price_per_million=0.05,
    )
    plain = DocumentEntry("p1", "small-1", 1, 0.1, 0.4, context_window=128_000)
    assert parse_document(raw, fetched_at=1000.5, etag='"7"') == TierDocument(
        version="7",
        tiers={"simple": (small,), "moderate": (), "complex": (plain,)},
        updated_at="2026-01-01T00:00:00Z",
        fetched_at=1000.5,
        etag='"7"',
    )


def test_the_document_is_written_with_sentinels_names():
    document = parse_document(SENTINELS, fetched_at=0)
    (written,) = msgspec.to_builtins(document)["tiers"]["simple"]
    assert written == SENTINELS["data"]["tiers"]["simple"][0]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (None, "the document is no JSON object"),
        ([SENTINELS], "the document is no JSON object"),
        ({}, "the document has no 'tiers'"),
        (tiers_of() | {"tiers": []}, "the document has no 'tiers'"),
        ({"success": True}, "the document has no 'data'"),
        ({"success": True, "data": [1]}, "the document has no 'data'"),
        ({"success": True, "data": {}}, "the document has no 'tiers'"),
        ({**SENTINELS, "success": False}, "the service says success: false"),
        ({**SENTINELS, "success": "true"}, "the service says success: false"),
        ({**SENTINELS, "success": None}, "the service says success: false"),
        ({"success": False, "error": "no"}, "the service says success: false"),
        (
            {"success": False, "error": {"code": "NOT_READY", "message": "later"}},
            "the service says success: false (NOT_READY)",
        ),
        (
            {"success": False, "error": {"code": "a\nb" + "c" * 200}},
            f"the service says success: false (a\\nb{'c' * 97})",
        ),
    ],
)
def test_what_is_no_document_is_refused(raw, text):
    assert refusal(raw) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"relativeCost": 300}, "(p1/small-1): relativeCost: Expected `float` <= 10.0"),
        ({"relativeCost": -1}, "(p1/small-1): relativeCost: Expected `float` >= 0.0"),
        ({"relativeCost": "2"}, "(p1/small-1): relativeCost: Expected `float`, got `str`"),
        ({"relativeCost": 10**400}, "(p1/small-1): relativeCost: Number out of range"),
        ({"relativeCost": float("nan")}, "(p1/small-1): relativeCost: Expected `float` >= 0.0"),
        ({"inputPricePerMillion": None}, "(p1/small-1): inputPricePerMillion: missing"),
        ({"outputPricePerMillion": None}, "(p1/small-1): outputPricePerMillion: missing"),
        (
            {"cachedInputPricePerMillion": -1},
            "(p1/small-1): cachedInputPricePerMillion: Expected `float` >= 0.0",
        ),
        ({"model": ""}, "(p1/): model: Expected `str` of length >= 1"),
        ({"model": 4}, "(p1/4): model: Expected `str`, got `int`"),
        ({"model": "mö"}, "(p1/mö): model: must be printable ASCII"),
        ({"model": "m\r\nx: y"}, "(p1/m\\r\\nx: y): model: must be printable ASCII"),
        ({"model": "m" * 257}, f"(p1/{'m' * 64}): model: Expected `str` of length <= 256"),
        ({"provider": None}, "(None/small-1): provider: Expected `str`, got `null`"),
        ({"provider": ""}, "(/small-1): provider: Expected `str` of length >= 1"),
        ({"provider": "p\ud800"}, "(p\\ud800/small-1): provider: must be printable ASCII"),
        ({"provider": "p" * 65}, f"({'p' * 64}/small-1): provider: Expected `str` of length <= 64"),
    ],
)
def test_a_wrong_entry_is_skipped_with_its_place_and_name(change, text):
    made = parse_document(tiers_of(simple=[{**SMALL, **change}, SMALL]), fetched_at=0)
    assert made.skipped == (f"tiers.simple[0] {text}",)
    assert [entry.model for entry in made.tiers["simple"]] == ["small-1"]


def test_null_is_an_absent_member_wherever_one_may_be_absent():
    """Serializers of other languages write it for what is not set."""
    names = ("cachedInputPricePerMillion", "contextWindow", "supports", "rename", "drop", "set")
    said = {**SMALL, "relativeCost": None, **dict.fromkeys(names)}
    made = parse_document(tiers_of(simple=[said]), fetched_at=0)
    assert (made.skipped, made.tiers["simple"]) == (
        (),
        (
            DocumentEntry(
                "p1", "small-1", input_price_per_million=0.1, output_price_per_million=0.4
            ),
        ),
    )


def test_what_a_model_can_do_and_needs_changed_is_read():
    said = {
        "contextWindow": 8000,
        "supports": ["tools", "vision", "audio", "files", "json_schema"],
        "rename": {"max_tokens": "max_completion_tokens"},
        "drop": ["temperature"],
        "set": {"reasoning": {"effort": "low", "deep_name": [1, None]}},
    }
    made = parse_document(tiers_of(simple=[{**SMALL, **said}]), fetched_at=0)
    (entry,) = made.tiers["simple"]
    assert made.skipped == ()
    assert entry == DocumentEntry(
        "p1",
        "small-1",
        input_price_per_million=0.1,
        output_price_per_million=0.4,
        context_window=8000,
        supports=("tools", "vision", "audio", "files", "json_schema"),
        rename={"max_tokens": "max_completion_tokens"},
        drop=("temperature",),
        set={"reasoning": {"effort": "low", "deep_name": [1, None]}},
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"contextWindow": 0}, "contextWindow: Expected `int` >= 1"),
        ({"supports": ["pdf"]}, "supports[0]: Invalid enum value 'pdf'"),
        ({"supports": ["tools", "tools"]}, "supports: 'tools' is listed twice"),
        ({"rename": {"model": "x"}}, "rename: 'model' is not to be changed, routing and relaying"),
        ({"drop": ["messages"]}, "drop: 'messages' is not to be changed, routing and relaying"),
        ({"drop": ["a\nb"]}, "drop: a name is 1 to 64 printable characters"),
        ({"set": {"x": float("inf")}}, "set.x: must be a value that JSON has"),
        ({"drop": ["x"], "set": {"x": 1}}, "set.x: is in drop too"),
        ({"set": {"y\n" * 99: 1}}, "set: a name is 1 to 64 printable characters"),
    ],
)
def test_an_entry_that_would_break_requests_is_skipped_and_the_rest_works(change, text):
    made = parse_document(tiers_of(simple=[{**SMALL, **change}, SMALL]), fetched_at=0)
    (told,) = made.skipped
    assert told.startswith(f"tiers.simple[0] (p1/small-1): {text}")
    assert len(made.tiers["simple"]) == 1


@pytest.mark.parametrize("price", ["inputPricePerMillion", "outputPricePerMillion"])
def test_an_entry_without_a_price_is_skipped_but_a_price_of_zero_is_one(price):
    without = {key: value for key, value in SMALL.items() if key != price}
    assert skipped(without) == (f"tiers.simple[0] (p1/small-1): {price}: missing",)
    assert skipped({**SMALL, price: 0}) == ()


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (None, "tiers.simple[0]: Expected `object`, got `null`"),
        ("p1/m", "tiers.simple[0]: Expected `object`, got `str`"),
        ([SMALL], "tiers.simple[0]: Expected `object`, got `array`"),
        ({}, "tiers.simple[0] (None/None): Object missing required field `provider`"),
        ({"provider": "p1"}, "tiers.simple[0] (p1/None): Object missing required field `model`"),
    ],
)
def test_what_is_no_entry_is_skipped(entry, text):
    assert skipped(entry, SMALL) == (text,)


def test_who_is_listed_twice_in_a_tier_counts_once_and_may_stand_in_two():
    made = parse_document(
        tiers_of(simple=[SMALL, {**SMALL, "relativeCost": 9}], complex=[SMALL]), fetched_at=0
    )
    assert made.skipped == ("tiers.simple[1] (p1/small-1): listed twice",)
    assert [entry.relative_cost for entry in made.tiers["simple"]] == [1]
    assert len(made.tiers["complex"]) == 1


def test_a_wrong_entry_does_not_take_the_place_of_a_right_one():
    assert skipped({**SMALL, "relativeCost": 300}, SMALL) == (
        "tiers.simple[0] (p1/small-1): relativeCost: Expected `float` <= 10.0",
    )


def test_a_tier_that_is_not_ours_and_a_tier_that_is_no_list_are_named():
    made = parse_document(
        tiers_of(simple=[SMALL], moderate={"p1": 1}, complex=None, huge=[SMALL]), fetched_at=0
    )
    assert made.skipped == ("tiers.huge: not a tier", "tiers.moderate: not a list")
    assert (made.tiers["moderate"], made.tiers["complex"]) == ((), ())


def test_of_many_wrong_entries_twenty_are_named():
    told = skipped(*[{**SMALL, "relativeCost": 300}] * 1000)
    assert len(told) == 21
    assert told[-1] == "and 980 more"
    assert summed_up(["x"] * 20) == ("x",) * 20


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (7, "7"),
        (None, "unversioned"),
        ("", ""),
        ("v" * 200, "v" * 100),
        ("7\n8", "7\\n8"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_version_is_short_text_on_one_line(said, version):
    assert parse_document({**tiers_of(), "version": said}, fetched_at=0).version == version


@pytest.mark.parametrize(
    ("said", "updated_at"), [("now\n", "now\\n"), (7, None), (None, None), ("n" * 200, "n" * 100)]
)
def test_when_it_was_updated_is_short_text_or_unknown(said, updated_at):
    made = parse_document({**tiers_of(), "updatedAt": said}, fetched_at=0)
    assert made.updated_at == updated_at


def test_a_value_that_cannot_be_written_is_named_by_its_kind():
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    assert parse_document({**tiers_of(), "version": 16**6000}, fetched_at=0).version == "int"
    assert skipped({**SMALL, "model": nested}) == (
        "tiers.simple[0] (p1/list): model: Expected `str`, got `array`",
    )


NAMES = ["success", "data", "error", "code", "version", "updatedAt", "tiers", "simple", "complex"]
FIELDS = ["provider", "model", "relativeCost", "supports", "rename", "drop", "set", *PRICES]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(10**400)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES + FIELDS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "provider": st.just("p1") | scalars,
        "model": st.just("m") | scalars,
        "relativeCost": scalars,
        "inputPricePerMillion": st.just(1) | scalars,
        "outputPricePerMillion": st.just(1) | scalars,
    },
)
likely = st.fixed_dictionaries(
    {"tiers": st.dictionaries(st.sampled_from(["simple", "huge"]), st.lists(entries, max_size=4))},
    optional={"version": anything, "updatedAt": anything},
)
documents = anything | likely | st.fixed_dictionaries({"success": st.just(True), "data": likely})


def told(raw: Any) -> TierDocument | str:
    try:
        return parse_document(raw, fetched_at=0)
    except SourceError as refused:
        return str(refused)


@settings(max_examples=500, deadline=None)
@given(raw=documents)
def test_any_json_is_read_or_refused(raw):
    made = told(raw)
    texts = [made] if isinstance(made, str) else [made.version, *made.skipped]
    assert all(text.isprintable() for text in texts)
    if isinstance(made, TierDocument):  # what is read survives the cache
        assert msgspec.json.decode(msgspec.json.encode(made), type=TierDocument) == made
