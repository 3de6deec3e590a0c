"""The requests of a log under another configuration: who would have gone where, and what it costs.

The promise: under the same configuration nobody moves, and the cost is the log's own, to the last
digit, whatever chance, failures, sessions and policies have done. Under another each request goes
where that configuration would have led it, as far as the log can tell.
"""

import asyncio
import random
from itertools import pairwise

import msgspec
import pytest
from records import AT, PROFILE, record
from wired import DONE, ROLE, STOP, ask, token, world

from tiergate import Caller, Record, WhatIf, WhatIfResult, row_of, trial_config
from tiergate.log_row import RequestRow, encoded
from tiergate.signals import PLAIN
from tiergate.snapshot import compile_snapshot
from tiergate.sources import InlineSource
from tiergate.testing import Say, ScriptedTransport

HOUR = 3_600_000_000
USAGES = [
    {"prompt_tokens": 1000, "completion_tokens": 70},
    {"prompt_tokens": 333, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 300}},
    {"prompt_tokens": 12, "completion_tokens": 4096},
]
USED = b'data: {"choices":[],"usage":{"prompt_tokens":41,"completion_tokens":11}}\n\n'
WHOLE = [
    *(Say.completion(usage=usage, after=0.5) for usage in USAGES for _ in range(3)),
    Say.completion(usage=None),
    *(Say.error(503), Say.error(500), Say.error(429, retry_after="3"), Say.error(422, "bad")),
    Say.never(),
]
STREAMS = [
    *[Say.stream(ROLE, token("a"), STOP, USED, DONE, after=0.2)] * 6,
    Say.stream(ROLE, token("a"), STOP, DONE),
    Say.stream(ROLE, token("a"), cut=True),
    *(Say.error(503), Say.never()),
]
PRICES = {"input_price_per_million": 0.15, "output_price_per_million": 0.6}
DEAR = {"input_price_per_million": 3.0, "output_price_per_million": 15.0}
CACHED = DEAR | {"cached_input_price_per_million": 0.3}


def entry(provider, model, cost=1, **more):
    return {"provider": provider, "model": model, "relative_cost": cost, **more}


TABLES = {
    "routing": {
        "default_tier": "auto",
        "escalate": True,
        "aliases": {"gpt-*": "moderate", "cheap": "simple"},
    },
    "classifier": {"measure": "all"},
    "policies": [
        {"name": "safe", "allowed_models": ["b", "c*"], "keywords": ["contract"]},
        {"name": "cheap", "max_output_price_per_million": 1},
        {"name": "nobody", "allowed_models": ["z"]},
    ],
    "tiers": {
        "simple": [
            entry("p1", "a", **PRICES),
            entry("p2", "a", **DEAR),
            entry("p2", "b", 3, **DEAR, supports=[]),
            entry("p3", "c", 2),
        ],
        "moderate": [entry("p1", "b", **PRICES, context_window=500), entry("p3", "c1", 2, **DEAR)],
        "complex": [entry("p2", "c2", 4, **CACHED), entry("p3", "b", **DEAR)],
    },
    "sessions": {"ttl_seconds": 900},
    "health": {"initial_backoff_seconds": 20},
    "streaming": {"failover": "first_token"},
}
ASKED = [
    *[{"model": "auto"}, {"model": "gpt-4o"}, {"model": "cheap"}, {"model": None}] * 2,
    *[{"model": "a"}, {"model": "b"}, {"model": "unknown"}, {"tier": "nonsense"}],
    *({"tier": tier, "model": "x"} for tier in ("simple", "moderate", "complex")),
    {"model": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
    {"model": "auto", "max_tokens": 4000},
    {
        "model": "simple",
        "messages": [{"role": "user", "content": "Read my contract: " + "w " * 900}],
    },
]
CALLERS = [
    *[Caller("ada"), Caller("bob", tier="complex"), Caller("eve", max_tier="moderate")] * 2,
    Caller("joe", tier="simple", max_tier="simple"),
]
POLICIES = [None] * 9 + ["safe", "cheap", "nobody", "misspelt"]


class Moody(ScriptedTransport):
    """Providers that answer each time as chance has it, a stream where one is wanted."""

    def __init__(self, names, chance):
        super().__init__(dict.fromkeys(names, WHOLE[0]))
        self._chance = chance

    async def post(self, endpoint, headers, body):
        kinds = STREAMS if b'"stream":true' in body else WHOLE
        self._script[endpoint.name] = [self._chance.choice(kinds)]
        return await super().post(endpoint, headers, body)


class Heard:
    def __init__(self):
        self.records: list[Record] = []

    def finished(self, record):
        self.records.append(record)


async def log_of(requests, **tables) -> list[RequestRow]:
    """What a gateway under `TABLES` logs of so many random requests, read back from its lines."""
    chance, heard = random.Random(4), Heard()
    names = ("p1", "p2", "p3")
    made = world(
        dict.fromkeys(names, WHOLE[0]), transport=Moody(names, chance), **(TABLES | tables)
    )
    made.gateway.observe(heard)

    async def one() -> None:
        policy, stays = chance.choice(POLICIES), 0.3 if chance.random() < 0.05 else None
        said = {"stream": chance.random() < 0.4, "messages": [{"role": "user", "content": "Hi"}]}
        said |= chance.choice(ASKED)
        if chance.random() < 0.6:
            said["conversation_id"] = f"c{chance.randrange(25)}"
        await ask(
            made,
            caller=chance.choice(CALLERS),
            headers={"x-arbstr-policy": policy} if policy else None,
            leave_after=stays,
            body=msgspec.json.encode({k: v for k, v in said.items() if v is not None}),
        )

    for _ in range(requests // 4):
        await asyncio.gather(*(one() for _ in range(4)))
        await asyncio.sleep(chance.choice([0.5, 5, 40, 40, 40, 1000]))
    rows = [msgspec.json.decode(encoded(each), type=RequestRow) for each in heard.records]
    return sorted(rows, key=lambda row: row.at)


def tried(rows, tables) -> WhatIfResult:
    """The rows under a configuration that needs nothing but what routing needs."""
    providers = {name: {"base_url": "${NOT_SET}"} for name in ("p1", "p2", "p3")}
    trial = WhatIf(trial_config({"providers": providers, **tables}, environ={}))
    for row in rows:
        trial.add(row)
    return trial.result()


async def test_under_the_same_configuration_nobody_moves_and_the_cost_is_the_same():
    rows = await log_of(1200)
    result = tried(rows, TABLES)
    assert result.cost.before == sum(row.cost or 0.0 for row in rows) > 0.1
    assert result.cost.after == pytest.approx(result.cost.before, abs=1e-9)
    assert result.cost.low == result.cost.after == result.cost.high
    assert result.drawn == 0
    assert result.refused == result.refused_before
    assert result.kept + sum(result.refused.values()) == result.requests == len(rows)
    assert [move for move in result.moves if move.before != move.after] == []
    for load in result.loads:
        assert load.requests_after == load.requests_before, load
        assert load.cost_after == pytest.approx(load.cost_before, abs=1e-9)
        assert load.tokens_after == load.tokens_before
    # So much has happened, or it would promise little.
    outcomes = {row.outcome for row in rows}
    assert outcomes >= {"ok", "client_error", "upstream_error", "timeout"}
    assert outcomes >= {"client_disconnected", "stream_interrupted"}
    assert {row.reason for row in rows} == {
        *("explicit", "alias", "auto", "model", "default", "session", None),
    }
    assert result.refused.keys() >= {"model_not_found", "tier_not_allowed", "invalid_request"}
    assert any(row.reason != "session" and row.tier != row.requested_tier for row in rows)
    assert {row.policy_binds for row in rows if row.cost} == {True, False, None}
    assert any(len(row.attempts) > 1 and row.cost and row.streaming for row in rows)
    assert len({row.reach for row in rows}) > 15


# --- one request, another configuration

CHEAP = {"input_price_per_million": 10.0, "output_price_per_million": 0.0}
COSTLY = {"input_price_per_million": 40.0, "output_price_per_million": 0.0}
TWO = [entry("p1", "a", **CHEAP), entry("p2", "b", **COSTLY)]
OLD = {
    "tiers": {
        "simple": TWO,
        "moderate": [entry("p1", "m", **COSTLY)],
        "complex": [entry("p3", "c", **COSTLY)],
    },
    "routing": {"aliases": {"gpt-*": "simple"}},
    "policies": [{"name": "thrift", "allowed_models": ["a", "m"], "keywords": ["cheap"]}],
}


def digest(tier, tables=OLD):
    """The chances of a plain request for a tier."""
    providers = {name: {"base_url": "http://h.test"} for name in ("p1", "p2", "p3")}
    config = trial_config({"providers": providers, **tables}, environ={})
    return compile_snapshot(InlineSource(config).document, config).reaches[tier].digest


def row(tier="simple", model="a", **fields) -> RequestRow:
    """A request of 100,000 tokens in that OLD has led to the tier: a dollar at the cheap model."""
    provider = {"a": "p1", "b": "p2", "m": "p1", "c": "p3"}[model]
    given = {
        "requested_tier": tier,
        "tier": tier,
        "reason": "explicit",
        "model": model,
        "provider": provider,
        "reach": digest(tier),
        "requested_model": None,
        "input_tokens": 100_000,
        "output_tokens": 0,
        "cost": 4.0 if model != "a" else 1.0,
    }
    given |= {"requested_reason": fields.get("reason", "explicit")} | fields
    return row_of(record(**given))


def changed(table, **settings):
    return {**OLD, table: {**OLD.get(table, {}), **settings}}


NEW_WEIGHTS = changed("tiers", simple=[TWO[0], {**TWO[1], "relative_cost": 3}])


def moves(result) -> dict[str, int]:
    return {f"{move.before} {move.after}": move.requests for move in result.moves}


def test_prices_alone_move_nobody_and_count():
    dearer = changed("tiers", simple=[{**TWO[0], "input_price_per_million": 12.0}, TWO[1]])
    result = tried([row(), row(model="b")], dearer)
    assert (result.kept, result.drawn) == (2, 0)
    assert (result.cost.before, result.cost.after) == (5.0, pytest.approx(5.2))
    assert result.cost.low == result.cost.high == result.cost.after


def test_other_weights_are_drawn_anew_and_expected_with_their_spread():
    result = tried([row()] * 100, NEW_WEIGHTS)
    assert (result.kept, result.drawn, moves(result)) == (0, 100, {"simple simple": 100})
    assert result.cost.after == pytest.approx(100 * (0.75 * 1 + 0.25 * 4))
    sigma = (100 * 0.75 * 0.25 * 3**2) ** 0.5  # of a hundred draws between $ 1 and $ 4
    assert result.cost.high - result.cost.after == pytest.approx(2 * sigma)
    assert result.cost.after - result.cost.low == pytest.approx(2 * sigma)
    loads = {load.model: load for load in result.loads}
    assert (loads["a"].requests_before, loads["a"].requests_after) == (100, 75)
    assert (loads["b"].requests_before, loads["b"].requests_after) == (0, 25)
    assert loads["b"].tokens_after == 25 * 100_000
    assert loads["b"].cost_after == pytest.approx(100)


def test_a_conversation_is_drawn_once():
    alone = tried([row()] * 100, NEW_WEIGHTS)
    held = tried([row(conversation="c1")] * 100, NEW_WEIGHTS)
    assert held.cost.after == pytest.approx(alone.cost.after)
    spread = (alone.cost.high - alone.cost.after, held.cost.high - held.cost.after)
    assert spread[1] == pytest.approx(10 * spread[0])


@pytest.mark.parametrize(
    ("fields", "tables", "goes"),
    [
        ({}, changed("routing", default_tier="complex"), "simple simple"),
        ({"reason": "default"}, changed("routing", default_tier="complex"), "simple complex"),
        (
            {"reason": "default", "caller_tier": "simple"},
            changed("routing", default_tier="complex"),
            "simple simple",
        ),
        (
            {"reason": "default", "caller_max_tier": "moderate"},
            changed("routing", default_tier="complex"),
            "simple moderate",
        ),
        (
            {"reason": "alias", "requested_model": "gpt-4o"},
            changed("routing", aliases={"gpt-4*": "complex"}),
            "simple complex",
        ),
        (
            {"reason": "alias", "requested_model": "gpt-4o", "caller_max_tier": "simple"},
            changed("routing", aliases={"gpt-4*": "complex"}),
            "simple None tier_not_allowed",
        ),
        (
            {"reason": "alias", "requested_model": "gpt-4o"},
            changed("routing", aliases={}),
            "simple None model_not_found",
        ),
        (
            {"reason": "alias", "requested_model": "gpt-4o"},
            changed("routing", aliases={}, unknown_model="pass"),
            "simple None passed_on",
        ),
        ({"reason": "model", "requested_model": "a"}, OLD, "simple simple"),
        (
            {"reason": "model", "requested_model": "b"},
            changed("tiers", simple=TWO[:1], complex=TWO[1:]),
            "simple complex",
        ),
        ({}, {**OLD, "tiers": {"complex": TWO}}, "simple None tier_not_configured"),
        (
            {},
            {**OLD, "tiers": {"complex": TWO}, "routing": {"escalate": True}},
            "simple complex",
        ),
        (
            {"policy": "thrift", "policy_binds": True},
            {**OLD, "policies": []},
            "simple None invalid_request",
        ),
        ({"policy": "thrift", "policy_binds": False}, {**OLD, "policies": []}, "simple simple"),
    ],
)
def test_a_request_goes_where_it_would_have_been_led(fields, tables, goes):
    result = tried([row(**fields)], tables)
    assert " ".join([*moves(result), *result.refused]) == goes
    assert result.unknown.policies_gone == (fields.get("policy_binds") is False)


def test_who_was_refused_for_its_model_may_be_served_and_who_was_wrong_stays_refused():
    refused = {
        "requested_tier": None,
        "tier": None,
        "reason": None,
        "requested_reason": None,
        "provider": None,
        "model": None,
        "input_tokens": None,
        "reach": None,
        "cost": None,
    }
    unknown = row_of(record(error_code="model_not_found", requested_model="a7", **refused))
    invalid = row_of(record(error_code="invalid_request", **refused))
    crowded = row_of(record(error_code=None, outcome="client_disconnected", **refused))
    result = tried([unknown, invalid, crowded], changed("routing", aliases={"a7": "complex"}))
    assert result.refused_before == {
        "model_not_found": 1,
        "invalid_request": 1,
        "client_disconnected": 1,
    }
    assert result.refused == {"invalid_request": 1, "client_disconnected": 1}
    assert (result.tiers_after["complex"], result.unknown.without_tokens) == (1, 1)


# --- the classifier

SIGNAL = next(iter(PLAIN))
HARD = {**OLD, "classifier": {"weights": {SIGNAL: 6.0}}}
MEASURED = msgspec.structs.replace(PROFILE, signals={SIGNAL: 1.0}, features=())


def test_what_was_classified_is_classified_again_by_its_signals():
    easy = {**OLD, "classifier": {"weights": {SIGNAL: -6.0}}}
    auto = {"reason": "auto", "requested_model": "auto", "profile": MEASURED}
    assert moves(tried([row(**auto)], HARD)) == {"simple complex": 1}
    assert moves(tried([row(**auto)], easy)) == {"simple simple": 1}


@pytest.mark.parametrize(
    ("profile", "goes", "unmeasured"),
    [(MEASURED, "simple complex", 0), (PROFILE, "simple simple", 0), (None, "simple simple", 1)],
)
def test_a_default_that_is_to_be_classified_needs_signals_that_were_kept(profile, goes, unmeasured):
    signals = {"words": {"new": {"add": ["xyzzy"]}}, "weights": {SIGNAL: 6.0, "new": -6.0}}
    tables = {**HARD, "routing": {"default_tier": "auto"}, "classifier": signals}
    if profile is PROFILE:
        profile = msgspec.structs.replace(MEASURED, signals={"new": 1.0})
    result = tried([row(reason="default", profile=profile)], tables)
    assert moves(result) == {goes: 1}
    assert result.unknown.without_signals == unmeasured
    assert any("were not measured" in note for note in result.notes) == bool(unmeasured)


# --- who fits

ASKS_TOOLS = msgspec.structs.replace(PROFILE, features=("tools",))


@pytest.mark.parametrize(
    ("profile", "model", "unknown"),
    [(ASKS_TOOLS, "b", 0), (None, "a", 1)],
    ids=["known to need tools", "of unknown needs"],
)
def test_who_does_not_fit_is_left_out(profile, model, unknown):
    plain = {**TWO[0], "supports": []}
    tables = changed("tiers", simple=[plain, {**TWO[1], "relative_cost": 10}])
    result = tried([row(profile=profile)] * 10, tables)
    busiest = max(result.loads, key=lambda load: load.requests_after)
    assert (busiest.model, result.unknown.without_needs) == (model, 10 * unknown)


@pytest.mark.parametrize(
    ("fields", "share"),
    [
        ({"output_tokens": 0}, 1),
        ({"output_tokens": None}, 1),
        ({"output_tokens": 1}, 1 / 3),  # who fits nowhere may go anywhere
        ({"input_tokens": None}, 1 / 3),
    ],
)
def test_without_a_profile_the_tokens_tell_what_fits(fields, share):
    first = {**TWO[0], "context_window": 100_000, "relative_cost": 2}
    tables = changed("tiers", simple=[first, {**TWO[1], "context_window": 99_999}])
    result = tried([row(**fields)], tables)
    loads = {load.model: load.requests_after for load in result.loads}
    assert loads["a"] == pytest.approx(share)


# --- conversations


def talk(*rows, every=1):
    """Rows of one conversation, so many hours apart."""
    return [
        msgspec.structs.replace(each, at=AT + number * every * HOUR, conversation="c1")
        for number, each in enumerate(rows)
    ]


DEFAULT = {"reason": "default"}
HELD = {"requested_tier": "simple", "reason": "session", "requested_reason": "default"}


def test_a_conversation_that_is_raised_stays_up():
    asked = {"reason": "alias", "requested_model": "gpt-4o"}
    raising = changed("routing", aliases={"gpt-*": "moderate"})
    rows = talk(row(**DEFAULT), row(**asked), row(**DEFAULT), row("complex", "c"))
    assert [each.tier for each in rows] == ["simple", "simple", "simple", "complex"]
    result = tried([*rows, row(**DEFAULT, at=AT + 9 * HOUR)], raising)
    assert moves(result) == {"simple simple": 2, "simple moderate": 2, "complex complex": 1}
    assert result.kept == 3


def test_a_conversation_that_is_no_longer_raised_stays_down():
    asked = {"reason": "alias", "requested_model": "gpt-4o"}
    old = [row(**DEFAULT), row("moderate", "m", **asked), row("moderate", "m", **HELD)]
    assert moves(tried(talk(*old), OLD)) == {"simple simple": 1, "moderate simple": 2}


def test_a_session_is_over_when_it_was_long_not_used():
    asked = {"reason": "alias", "requested_model": "gpt-4o"}
    raising = changed("routing", aliases={"gpt-*": "moderate"})
    raising["sessions"] = {"ttl_seconds": 7000, "url": "${REDIS}"}
    rows = [row(**asked), row(**DEFAULT)]
    assert moves(tried(talk(*rows, every=1), raising)) == {"simple moderate": 2}
    assert moves(tried(talk(*rows, every=2), raising)) == {
        "simple moderate": 1,
        "simple simple": 1,
    }


def test_a_conversation_from_before_the_log_keeps_what_it_had():
    rows = talk(row("moderate", "m", **HELD), row(**DEFAULT, outcome="timeout", cost=None))
    assert moves(tried(rows, OLD)) == {"moderate moderate": 1, "simple simple": 1}
    higher = changed("routing", default_tier="complex")
    assert moves(tried(rows, higher)) == {"moderate complex": 1, "simple complex": 1}


# --- what is not known


def test_what_has_no_price_is_counted_on_the_side_where_it_has_none():
    unpriced = changed("tiers", simple=[TWO[0], entry("p2", "b")])
    result = tried([row(), row(model="b")], unpriced)
    assert (result.cost.before, result.cost.after) == (5.0, 1.0)
    assert (result.unknown.without_price, result.unknown.cost_without_price) == (1, 4.0)
    result = tried([row(cost=None)], OLD)
    assert (result.cost.before, result.cost.after) == (0.0, 1.0)
    assert (result.unknown.newly_priced, result.unknown.cost_newly_priced) == (1, 1.0)
    assert [note for note in result.notes if "no known cost before" in note]


def test_a_log_of_before_chances_were_kept_is_drawn_anew():
    old = {"requested_reason": None, "reach": None}
    rows = [
        row(**old),
        row("moderate", "m", **old, reason="session", conversation="c"),
        row("complex", "c", **old, reason="alias", requested_model="complex"),
    ]
    result = tried(rows, OLD)
    assert moves(result) == {"simple simple": 1, "moderate moderate": 1, "complex complex": 1}
    assert result.unknown.without_chances == result.drawn == 3
    assert result.cost.low < result.cost.after < result.cost.high


def test_what_it_assumes_is_said():
    rows = [row()]
    texts = [" ".join(tried(rows, tables).notes) for tables in (OLD, {**OLD, "policies": []})]
    assert ["keywords" in text for text in texts] == [True, False]
    assert all("same tokens" in text and "available" in text for text in texts)


def test_more_may_be_added_after_a_result():
    providers = {name: {"base_url": "http://h.test"} for name in ("p1", "p2", "p3")}
    trial = WhatIf(trial_config({"providers": providers, **NEW_WEIGHTS}, environ={}))
    costs = []
    for _ in range(3):
        trial.add(row(conversation="c"))
        costs.append(trial.result().cost.after)
    assert all(later - earlier == pytest.approx(1.75) for earlier, later in pairwise(costs))
    encoded_again = msgspec.json.decode(msgspec.json.encode(trial.result()), type=WhatIfResult)
    assert encoded_again == trial.result()
