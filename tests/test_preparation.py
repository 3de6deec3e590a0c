"""Before anybody is asked: what is noted of a request in each step, also when it ends there."""

import asyncio
import json
import random
from typing import Any

import pytest

from tiergate.assembly import Assembly, World
from tiergate.errors import Answerable, InvalidRequest
from tiergate.exchange import Caller, Decision, Exchange
from tiergate.metrics import Metrics
from tiergate.preparation import prepare
from tiergate.record import record_of
from tiergate.resolve import NotOurs
from tiergate.sessions import Session, session_key
from tiergate.testing import ScriptedTransport


def made(**more: Any) -> Assembly:
    tables = {
        "providers": {"p1": {"base_url": "http://h.test"}},
        "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
        **more,
    }
    loop, chance = asyncio.get_running_loop(), random.Random(1)
    outside = World(ScriptedTransport({}), loop.time, lambda: 0.0, chance, environ={})
    return Assembly(tables, outside)


def arrived(parts: Assembly, *pairs: tuple[bytes, bytes]) -> Exchange:
    return Exchange("id-1", 0, list(pairs), parts.capacity.account())


async def test_a_request_that_is_prepared_is_decided_counted_and_has_its_pool():
    parts, metrics = made(), Metrics()
    exchange = arrived(parts)
    _, conversation = await prepare(parts, metrics, exchange, b'{"messages": []}')
    assert conversation is None
    assert exchange.requested == exchange.decision == Decision("simple", "default")
    assert (exchange.policy, exchange.profile) == (None, None)
    assert [(share.provider, share.share) for share in exchange.pool] == [("p1", 1.0)]
    assert metrics.tier_requests.read() == {("simple",): 1}
    assert metrics.selections.read() == {("simple", "p1", "m"): 1}


async def test_tiers_that_have_not_come_yet_are_waited_for(tmp_path):
    file = tmp_path / "tiers.json"
    entry = {"provider": "p1", "model": "late", "relativeCost": 1}
    prices = {"inputPricePerMillion": 1, "outputPricePerMillion": 1}
    file.write_text(json.dumps({"tiers": {"simple": [entry | prices]}}))
    parts = made(tiers={}, tier_config={"source": "file", "file": str(file)})
    assert parts.store.snapshot is None
    exchange = arrived(parts)
    await prepare(parts, Metrics(), exchange, b'{"messages": []}')
    assert [share.model for share in exchange.pool] == ["late"]


async def test_a_guess_of_the_classifier_refuses_no_request_that_another_tier_could_serve():
    parts = made(
        tiers={
            "simple": [{"provider": "p1", "model": "text", "supports": []}],
            "complex": [{"provider": "p1", "model": "able", "supports": ["tools"]}],
        }
    )
    hello = b'{"model": "auto", "messages": [{"role": "user", "content": "hello"}]'
    for more, tier in ((b"}", "simple"), (b', "tools": [{"type": "function"}]}', "complex")):
        exchange = arrived(parts)
        await prepare(parts, Metrics(), exchange, hello + more)
        assert exchange.requested is not None
        assert exchange.decision is not None
        assert (exchange.requested.tier, exchange.requested.reason) == ("simple", "auto")
        assert (exchange.decision.tier, exchange.decision.reason) == (tier, "auto")


async def test_a_trace_hears_of_the_decision_with_its_pool():
    class Trace:
        def decided(self, exchange: Exchange) -> None:
            told.append((exchange.decision, exchange.pool))

    parts, told = made(), []
    exchange = arrived(parts)
    exchange.trace = Trace()  # type: ignore[assignment]
    await prepare(parts, Metrics(), exchange, b'{"messages": []}')
    assert told == [(exchange.decision, exchange.pool)]


@pytest.mark.parametrize(
    ("body", "code", "noted"),
    [
        (b"[]", "invalid_request", (False, False, False)),
        (b'{"messages": 1}', "invalid_request", (True, True, True)),
        (b'{"messages": [], "model": "x"}', "model_not_found", (True, True, True)),
    ],
)
async def test_a_refusal_leaves_what_was_known_by_then(body, code, noted):
    parts, metrics = made(), Metrics()
    exchange = arrived(parts)
    with pytest.raises(Answerable) as refused:
        await prepare(parts, metrics, exchange, body)
    assert refused.value.code == code
    known = (exchange.is_read, exchange.headers is not None, exchange.request is not None)
    assert (known, exchange.decision) == (noted, None)
    assert metrics.tier_requests.read() == {}


MINE = (b"x-request-id", b"mine")
KEY = (b"authorization", b"Bearer k")
ASKED = b'{"messages": [], "model": "x", "stream": true}'


@pytest.mark.parametrize(
    ("body", "pairs", "model", "streaming"),
    [
        (ASKED, [(b"x-sentinel-tier", b"nonsense")], "x", True),
        (b'{"messages": []}', [(b"idempotency-key", b"\xff")], None, False),
        (ASKED.replace(b"[]", b"1"), [], "x", True),
        (ASKED.replace(b"true", b"1"), [], "x", False),
        (ASKED.replace(b'"x"', b"1"), [], None, True),
        (ASKED.replace(b'"x"', b"1"), [(b"x-sentinel-tier", b"nonsense")], None, True),
    ],
)
async def test_of_a_malformed_request_the_record_has_what_can_be_read(
    body, pairs, model, streaming
):
    parts = made()
    exchange, fine = arrived(parts, MINE, KEY, *pairs), arrived(parts, KEY)
    with pytest.raises(InvalidRequest):
        await prepare(parts, Metrics(), exchange, body)
    await prepare(parts, Metrics(), fine, b'{"messages": []}')
    record = record_of(exchange, 0)
    assert (record.client_id, record.owner) == ("mine", record_of(fine, 0).owner)
    assert (record.requested_model, record.streaming) == (model, streaming)


@pytest.mark.parametrize(
    ("body", "tier"), [(b'{"messages": [], "tier": "complex"}', "complex"), (ASKED, None)]
)
async def test_a_tier_that_the_caller_may_not_have_is_what_it_asked_for(body, tier):
    parts = made()
    exchange = arrived(parts)
    exchange.caller = Caller("ada", max_tier="simple")
    with pytest.raises(Answerable):
        await prepare(parts, Metrics(), exchange, body)
    assert (exchange.requested and exchange.requested.tier, exchange.decision) == (tier, None)


async def test_a_default_above_what_the_caller_may_have_was_not_asked_for():
    parts = made()
    exchange = arrived(parts)
    exchange.caller = Caller("ada", tier="complex", max_tier="simple")
    await prepare(parts, Metrics(), exchange, b'{"messages": []}')
    assert exchange.requested == Decision("simple", "default")


async def test_a_tier_of_nobody_is_counted_as_asked_for_and_chosen_never():
    parts, metrics = made(), Metrics()
    exchange = arrived(parts)
    with pytest.raises(Answerable, match="complex"):
        await prepare(parts, metrics, exchange, b'{"messages": [], "tier": "complex"}')
    assert (exchange.requested, exchange.pool) == (Decision("complex", "explicit"), ())
    assert metrics.tier_requests.read() == {("complex",): 1}
    assert metrics.selections.read() == {}


async def test_a_model_that_is_the_hosts_is_passed_on():
    parts = made(routing={"unknown_model": "pass"})
    with pytest.raises(NotOurs):
        await prepare(parts, Metrics(), arrived(parts), b'{"messages": [], "model": "x"}')


@pytest.mark.parametrize(
    ("body", "header", "has_one"),
    [
        (b'{"messages": [], "conversation_id": "c"}', None, True),
        (b'{"messages": []}', b"c", True),
        (b'{"messages": [], "model": "m", "conversation_id": "c"}', None, False),
    ],
)
async def test_a_conversation_counts_unless_the_model_was_named(body, header, has_one):
    parts = made()
    pairs = [(b"x-sentinel-conversation", header)] if header else []
    _, conversation = await prepare(parts, Metrics(), arrived(parts, *pairs), body)
    assert (conversation is not None) is has_one


async def test_a_client_that_leaves_while_its_session_is_read_is_known_by_the_tier_it_asked_for():
    class Slow:
        async def find(self, key: str) -> None:
            await asyncio.Event().wait()

    parts = made()
    parts.sessions = Slow()  # type: ignore[assignment]
    exchange = arrived(parts)
    body = b'{"messages": [], "conversation_id": "c"}'
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await prepare(parts, Metrics(), exchange, body)
    assert exchange.requested == Decision("simple", "default")


# --- the classifier, policies, and what is measured

MORE = {
    "providers": {"p1": {"base_url": "http://h.test"}, "p2": {"base_url": "http://h.test"}},
    "tiers": {
        "simple": [{"provider": "p1", "model": "m"}, {"provider": "p2", "model": "m"}],
        "complex": [{"provider": "p2", "model": "big", "output_price_per_million": 9}],
    },
    "policies": [
        {"name": "ours", "allowed_models": ["m"], "keywords": ["secret"]},
        {"name": "big", "allowed_models": ["big"], "keywords": ["contract"]},
        {"name": "cheap", "max_output_price_per_million": 1},
    ],
}


def asking(text: str = "hello", **members: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}], **members}).encode()


async def prepared(
    parts: Assembly, body: bytes, policy: str | None = None, **facts: Any
) -> Exchange:
    pairs = [] if policy is None else [(b"x-arbstr-policy", policy.encode())]
    exchange = arrived(parts, *pairs)
    for name, value in facts.items():
        setattr(exchange, name, value)
    await prepare(parts, Metrics(), exchange, body)
    return exchange


async def test_what_the_classifier_decided_is_noted_with_its_signals():
    exchange = await prepared(made(**MORE), asking(model="auto"))
    assert exchange.decision is not None
    assert exchange.requested == exchange.decision
    assert exchange.decision.reason == "auto"
    verdict, profile = exchange.decision.verdict, exchange.profile
    assert verdict is not None
    assert profile is not None
    assert profile.signals == {each.name: each.value for each in verdict.signals}
    assert record_of(exchange, 0).score == verdict.score


@pytest.mark.parametrize(
    ("classifier", "body", "measured"),
    [
        ({}, {"tier": "simple"}, False),
        ({}, {}, False),
        ({}, {"model": "auto"}, True),
        ({"measure": "all"}, {"tier": "simple"}, True),
        ({"measure": "all"}, {"model": "big"}, True),
    ],
)
async def test_a_request_is_measured_where_that_decides_or_is_wanted(classifier, body, measured):
    exchange = await prepared(made(**MORE, classifier=classifier), asking(**body))
    assert (exchange.profile is not None) is measured


def offers(**fields: Any) -> dict[str, Any]:
    """Two who offer `m`, of whom the second is different."""
    entry = {"provider": "p1", "model": "m", "input_price_per_million": 1,
             "output_price_per_million": 1}  # fmt: skip
    return {**MORE, "tiers": {"simple": [entry, {**entry, "provider": "p2", **fields}]}}


@pytest.mark.parametrize(
    ("fields", "body", "profiled"),
    [
        ({"input_price_per_million": 0.5}, {"model": "m"}, True),
        ({"input_price_per_million": 0.5}, {"tier": "simple"}, False),
        ({"input_price_per_million": 0.5, "relative_cost": 2}, {"model": "m"}, False),
        ({"input_price_per_million": None}, {"model": "m"}, True),
        ({}, {"model": "m"}, False),
        ({"supports": ["tools"]}, {"tier": "simple"}, True),
        ({"context_window": 9}, {"tier": "simple"}, True),
    ],
)
async def test_what_a_request_takes_is_estimated_where_somebody_is_chosen_by_it(
    fields, body, profiled
):
    given = offers(**{k: v for k, v in fields.items() if v is not None})
    if None in fields.values():
        del given["tiers"]["simple"][1]["input_price_per_million"]
    exchange = await prepared(made(**given), asking(**body))
    assert (exchange.profile is not None) is profiled
    assert exchange.profile is None or exchange.profile.signals == {}


async def test_a_named_policy_leaves_only_whom_it_allows_and_is_noted():
    exchange = await prepared(made(**MORE), asking(tier="complex"), "big")
    assert [each.model for each in exchange.pool] == ["big"]
    record = record_of(exchange, 0)
    assert (record.policy, len(record.reach or "")) == ("big", 8)


@pytest.mark.parametrize("name", ["bigg", ""])
async def test_a_misspelt_policy_is_refused_once_the_tier_is_known(name):
    parts = made(**MORE)
    exchange = arrived(parts, (b"x-arbstr-policy", name.encode()))
    with pytest.raises(InvalidRequest, match="ours, big, cheap") as refusal:
        await prepare(parts, Metrics(), exchange, asking())
    assert refusal.value.param == "X-Arbstr-Policy"
    assert exchange.requested == Decision("simple", "default")
    assert exchange.decision == exchange.requested


async def test_a_policy_that_leaves_nobody_of_the_tier_is_the_clients_error():
    with pytest.raises(InvalidRequest, match="'cheap' leaves nobody of the tier complex"):
        await prepared(made(**MORE), asking(tier="complex"), "cheap")


async def test_a_keyword_turns_no_request_into_an_error():
    parts = made(**MORE)
    for tier in ("simple", "complex"):
        for text in ("a secret contract", "a contract", "hello"):
            exchange = await prepared(parts, asking(text, tier=tier))
            assert exchange.decision == Decision(tier, "explicit")
    kept = await prepared(parts, asking("a contract", tier="simple"))  # `big` has nobody there
    assert [each.share for each in kept.pool] == [0.5, 0.5]


@pytest.mark.parametrize(("policy", "tier"), [("big", "complex"), ("ours", "simple")])
async def test_auto_goes_where_a_named_policy_leaves_somebody(policy, tier):
    """Or the same words were an error or not by a guess that the client cannot know."""
    parts = made(**MORE)
    for text in ("hi", "Prove that there are infinitely many primes, step by step."):
        exchange = await prepared(parts, asking(text, model="auto"), policy)
        assert exchange.decision is not None
        assert (exchange.decision.tier, exchange.decision.reason) == (tier, "auto")


async def test_auto_stays_below_what_the_caller_may_have():
    caller = Caller("ada", max_tier="moderate")
    exchange = await prepared(made(**MORE), asking("x " * 20_000, model="auto"), caller=caller)
    assert exchange.decision is not None
    assert exchange.decision.tier == "simple"  # the only one up to moderate that has somebody


async def test_auto_is_raised_by_its_conversation_and_keeps_its_score():
    parts = made(**MORE)
    key = session_key(parts.key_prefix, Caller("ada"), None, "c")
    await parts.sessions.bind(key, Session("p2", "big", "complex", 1), None)
    body = asking("hi", model="auto", conversation_id="c")
    exchange = await prepared(parts, body, caller=Caller("ada"))
    assert exchange.decision is not None
    assert (exchange.decision.tier, exchange.decision.reason) == ("complex", "session")
    record = record_of(exchange, 0)
    assert (record.requested_reason, record.requested_tier) == ("auto", "simple")
    assert record.score is not None


async def test_a_conversation_whose_model_a_policy_does_not_allow_is_served_by_another():
    two = [{"name": "second", "allowed_models": ["n"]}]
    pool = [{"provider": "p1", "model": "m"}, {"provider": "p2", "model": "n"}]
    parts = made(**{**MORE, "tiers": {"simple": pool}, "policies": two})
    key = session_key(parts.key_prefix, Caller("ada"), None, "c")
    await parts.sessions.bind(key, Session("p1", "m", "simple", 1), None)
    body = asking(conversation_id="c")
    exchange = await prepared(parts, body, "second", caller=Caller("ada"))
    assert [(each.model, each.share) for each in exchange.pool] == [("n", 1)]


async def test_a_default_of_the_hosts_is_passed_on_by_auto_while_nobody_serves_anything():
    routing = {"unknown_model": "pass", "default_tier": "auto"}
    empty = made(tiers={}, routing=routing)
    with pytest.raises(NotOurs, match="names no model"):
        await prepared(empty, asking())
    assert (await prepared(made(routing=routing), asking())).pool != ()
