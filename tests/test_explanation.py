"""What would become of a request: the decision, everybody's chance, health and cost, and nobody is
asked."""

import asyncio
import random

import msgspec
import pytest

from tiergate import Answerable, Caller, Gateway
from tiergate.candidates import Candidate
from tiergate.errors import ModelNotFound
from tiergate.testing import Say, ScriptedTransport

PRICED = {"input_price_per_million": 2.0, "output_price_per_million": 10.0}
POOL = [
    {"provider": "p1", "model": "m1", "relative_cost": 1, **PRICED},
    {"provider": "p2", "model": "m1", "relative_cost": 2},
    {"provider": "p2", "model": "m2", "relative_cost": 5, **PRICED},
]


def gateway(**tables):
    config = {
        "providers": {name: {"base_url": f"http://{name}/v1"} for name in ("p1", "p2")},
        "tiers": {"moderate": POOL},
        **tables,
    }
    transport = ScriptedTransport({"p1": Say.completion(), "p2": Say.completion()})
    made = Gateway(
        config,
        transport=transport,
        clock=asyncio.get_running_loop().time,
        chance=random.Random(7),
        environ={},
    )
    return made, transport


def body(**members):
    return msgspec.json.encode({"messages": [{"role": "user", "content": "hello"}], **members})


def backs_off(made, provider, model, seconds):
    permit = made.health.admit(Candidate(provider, model, 1), 15)
    made.health.failed(permit, seconds)


async def test_a_tier_is_drawn_by_weight_and_costs_what_its_prices_say():
    made, transport = gateway()
    async with made:
        told = made.explain(body(tier="moderate", max_tokens=100, stream=True))
    assert (told.tier, told.reason, told.model) == ("moderate", "explicit", None)
    assert (told.drawn, told.streaming, told.retry_after) == (True, True, None)
    assert [(e.provider, e.weight, round(e.share, 3)) for e in told.candidates] == [
        ("p1", 1.0, 0.588),
        ("p2", 0.5, 0.294),
        ("p2", 0.2, 0.118),
    ]
    size = len(msgspec.json.encode([{"role": "user", "content": "hello"}])) // 4
    assert (told.estimate.input_tokens, told.estimate.output_tokens) == (size, 100)
    assert told.estimate.output_assumed is False
    assert told.candidates[0].cost == pytest.approx((size * 2 + 100 * 10) / 1e6)
    assert told.candidates[1].cost is None
    assert transport.sent == []


async def test_a_named_model_is_asked_cheapest_first():
    made, _ = gateway()
    async with made:
        told = made.explain(body(model="m1"))
    assert (told.reason, told.model, told.drawn) == ("model", "m1", False)
    assert [(e.provider, e.share) for e in told.candidates] == [("p1", 1.0), ("p2", 0.0)]


async def test_back_offs_are_told_with_what_is_left_of_them():
    made, _ = gateway()
    async with made:
        made.explain(body(tier="moderate"))
        backs_off(made, "p1", "m1", 20)
        first = made.explain(body(tier="moderate")).candidates[0]
        assert (first.state, first.share, first.failures) == ("backing off", 0.0, 1)
        assert first.seconds_left == pytest.approx(20)
        backs_off(made, "p2", "m1", 40)
        assert made.explain(body(tier="moderate")).retry_after is None
        backs_off(made, "p2", "m2", 10)
        told = made.explain(body(tier="moderate"))
        assert told.retry_after == pytest.approx(10)
        assert [each.share for each in told.candidates] == [0, 0, 0]


@pytest.mark.parametrize(
    ("members", "tokens", "assumed"),
    [
        ({}, 256, True),
        ({"n": 3}, 768, True),
        ({"max_tokens": 7, "n": 2}, 14, False),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9, False),
        ({"max_tokens": None}, 256, True),
        ({"max_tokens": "many"}, 256, True),
        ({"max_tokens": -5}, 256, True),
        ({"max_tokens": 0}, 256, True),
        ({"max_tokens": 10**400}, 2**31, False),
        ({"max_tokens": 7, "n": 10**400}, 2**31, False),
    ],
)
async def test_the_answers_length_is_what_the_request_allows_else_a_usual_one(
    members, tokens, assumed
):
    made, _ = gateway()
    async with made:
        estimate = made.explain(body(tier="moderate", **members)).estimate
    assert (estimate.output_tokens, estimate.output_assumed) == (tokens, assumed)


async def test_the_prompt_is_its_messages_and_tools_and_at_least_one_token():
    made, _ = gateway()
    async with made:

        def tokens(**members):
            named = msgspec.json.encode({"tier": "moderate", **members})
            return made.explain(named).estimate.input_tokens

        assert tokens(messages=[]) == 1
        assert tokens(messages=["x" * 4000]) == 1001
        assert tokens(messages=["x" * 4000], tools=["y" * 4000], user="z" * 4000) == 2002


async def test_headers_and_the_caller_have_their_say():
    made, _ = gateway()
    async with made:
        told = made.explain(body(), pairs=[(b"x-sentinel-tier", b"moderate")])
        assert (told.tier, told.reason) == ("moderate", "explicit")
        told = made.explain(body(), caller=Caller("ada", tier="moderate"))
        assert (told.tier, told.reason) == ("moderate", "default")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"{}", "invalid_request"),
        (b"no", "invalid_request"),
        (body(model="nope"), "model_not_found"),
        (body(tier="complex"), "tier_not_configured"),
    ],
)
async def test_what_a_request_would_be_refused_is_refused(said, code):
    made, _ = gateway()
    async with made:
        with pytest.raises(Answerable) as refused:
            made.explain(said)
    assert refused.value.code == code


async def test_a_model_that_would_be_handed_to_the_host_is_not_found():
    made, _ = gateway(routing={"unknown_model": "pass"})
    async with made:
        with pytest.raises(ModelNotFound, match="not configured") as refused:
            made.explain(body(model="nope"))
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("members", "headers", "planned"),
    [
        ({}, {}, (3, 2, 4.0, 20.0, None)),
        ({"tier": "simple"}, {}, (3, 2, 15.0, 30.0, None)),
        ({}, {"x-sentinel-deadline-ms": "3000"}, (3, 2, 3.0, 3.0, None)),
        ({"stream": True}, {}, (0, 0, 7.0, 7.0, "off")),
        (
            {"stream": True},
            {"x-sentinel-stream-failover": "first_token"},
            (3, 2, 7.0, 20.0, "first_token"),
        ),
        (
            {"stream": True, "tier": "simple"},
            {"x-sentinel-stream-failover": "buffered"},
            (3, 2, 10.0, 120.0, "buffered"),
        ),
    ],
)
async def test_the_plan_says_how_hard_this_request_would_be_tried(members, headers, planned):
    own = {"attempt_timeout_seconds": 4, "deadline_seconds": 20}
    made, _ = gateway(
        tiers={"moderate": POOL, "simple": POOL},
        retry={"retries": 3, "fallbacks": 2, "tiers": {"moderate": own}},
        streaming={"tiers": {"moderate": {"first_token_timeout_seconds": 7}}},
    )
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    async with made:
        plan = made.explain(body(**{"tier": "moderate"} | members), pairs=pairs).plan
    assert (
        plan.retries,
        plan.fallbacks,
        plan.attempt_timeout_seconds,
        plan.deadline_seconds,
        plan.streaming_failover,
    ) == planned


async def test_before_there_are_tiers_it_says_so(tmp_path):
    source = {"source": "file", "file": str(tmp_path / "gone.json")}
    made, _ = gateway(tier_config=source, tiers={})
    with pytest.raises(Answerable) as refused:
        made.explain(body())
    assert refused.value.code == "config_unavailable"


BIG = [
    {"provider": "p1", "model": "texts", "supports": [], **PRICED},
    {"provider": "p2", "model": "tools", "supports": ["tools"], "context_window": 9000, **PRICED},
]
TOOLS = {"tools": [{"type": "function", "function": {"name": "f"}}]}


def left_out(told):
    return {each.model: each.left_out for each in told.candidates}


async def test_the_classifiers_verdict_is_told_with_its_signals_and_what_it_is_held_against():
    settings = {"moderate": 0.3, "complex": 0.9, "weights": {"question": 0.5}}
    made, _ = gateway(classifier=settings)
    async with made:
        told = made.explain(body(model="auto", messages=[{"role": "user", "content": "Why?"}]))
        now = made.weighing()
    assert told.reason == "auto"
    assert (told.boundaries.moderate, told.boundaries.complex) == (0.3, 0.9)
    assert told.boundaries == now.boundaries
    [question] = [each for each in told.verdict.signals if each.name == "question"]
    assert (question.value, question.weight) == (1.0, 0.5)
    assert {each.name: each.weight for each in told.verdict.signals}.items() <= now.weights.items()


async def test_who_was_not_asked_has_no_verdict():
    made, _ = gateway()
    async with made:
        told = made.explain(body(tier="moderate"))
    assert (told.verdict, told.boundaries, told.policy) == (None, None, None)


async def test_who_would_not_serve_quotes_no_price_and_is_told_why_not():
    policy = {"name": "own", "allowed_models": ["tools"]}
    made, _ = gateway(tiers={"moderate": BIG}, policies=[policy])
    async with made:
        needs = made.explain(body(tier="moderate", **TOOLS))
        bound = made.explain(body(tier="moderate"), pairs=[(b"x-arbstr-policy", b"own")])
    assert needs.features == ("tools",)
    assert left_out(needs) == {"tools": None, "texts": "does not support tools"}
    assert (bound.policy.name, bound.policy.binding) == ("own", True)
    assert left_out(bound) == {"tools": None, "texts": "the policy 'own'"}
    for told in (needs, bound):
        one, other = told.candidates
        assert (one.share, other.share) == (1.0, 0.0)
        assert (other.cost, told.cost) == (None, one.cost)


async def test_a_keyword_only_prefers_and_leaves_nobody_out():
    policy = {"name": "own", "allowed_models": ["m2"], "keywords": ["hello"]}
    made, _ = gateway(policies=[policy])
    async with made:
        told = made.explain(body(tier="moderate"))
    assert (told.policy.name, told.policy.binding) == ("own", False)
    assert [each.share for each in told.candidates] == [0, 0, 1]
    assert {each.left_out for each in told.candidates} == {None}


async def test_where_nobody_fits_nobody_is_left_out():
    made, _ = gateway(tiers={"moderate": BIG[:1]})
    async with made:
        told = made.explain(body(tier="moderate", **TOOLS))
    assert left_out(told) == {"texts": None}
    assert told.candidates[0].share == 1.0


async def test_higher_tiers_follow_where_a_request_may_escalate():
    tiers = {"moderate": POOL[:1], "complex": [{"provider": "p2", "model": "large"}]}
    made, _ = gateway(tiers=tiers, routing={"escalate": True})
    async with made:
        calm = made.explain(body(tier="moderate"))
        backs_off(made, "p1", "m1", 20)
        told = made.explain(body(tier="moderate"))
    assert [(each.tier, each.share) for each in calm.candidates] == [
        ("moderate", 1.0),
        ("complex", 0.0),
    ]
    assert [each.share for each in told.candidates] == [0.0, 1.0]
    assert (told.tier, told.retry_after) == ("moderate", None)


async def test_the_cost_is_expected_over_the_shares_and_unknown_with_a_price_of_them():
    priced = [POOL[0], {**POOL[2], "output_price_per_million": 20.0}]
    made, _ = gateway(tiers={"moderate": priced, "simple": POOL})
    async with made:
        told = made.explain(body(tier="moderate"))
        assert made.explain(body(tier="simple")).cost is None
        backs_off(made, "p2", "m1", 20)  # whose price is unknown
        assert made.explain(body(tier="simple")).cost is not None
    assert told.cost == pytest.approx(sum(each.share * each.cost for each in told.candidates))


async def test_as_a_last_resort_the_nearest_to_its_end_is_asked_all_the_same():
    made, _ = gateway(health={"last_resort": True})
    async with made:
        for provider, model, seconds in (("p1", "m1", 20), ("p2", "m1", 10), ("p2", "m2", 30)):
            made.explain(body(tier="moderate"))
            backs_off(made, provider, model, seconds)
        told = made.explain(body(tier="moderate"))
    assert [each.share for each in told.candidates] == [0, 1, 0]
    assert told.retry_after is None


async def test_the_order_that_is_told_of_a_named_model_is_the_one_that_is_made():
    offers = [{"provider": "p1", "model": "m1"}, {**POOL[0], "provider": "p2"}]
    made, _ = gateway(tiers={"moderate": offers})
    async with made:
        told = made.explain(body(model="m1"))
        exchange = made.begin([])
        async with made.handle(exchange, body(model="m1")):
            pass
    assert [each.share for each in told.candidates] == [1.0, 0.0]
    assert exchange.candidate.provider == told.candidates[0].provider
