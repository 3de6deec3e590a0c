"""Who gets a request, over real sockets: the classifier, policies, escalation, seen by a client.

What the classifier makes of a prompt is its evaluation's; here, that its word is followed and told.
"""

import json
import re
from typing import Any

import httpx
import openai
import pytest
from e2e.process import sidecar
from e2e.support import (
    CHAT,
    Upstream,
    completing,
    error_of,
    event,
    failing,
    gatewayed,
    recording,
    serving,
    streaming,
)
from openai import AsyncOpenAI

MODELS = {"simple": "small", "moderate": "medium", "complex": "large"}
GREETING = "hi"
PROOF = (
    "Prove rigorously, step by step, that there are infinitely many primes of the form 4k+3, "
    "then analyse why the same argument fails for 4k+1 and give a correct proof for that case."
)
POLICIES = [
    {"name": "frugal", "allowed_models": ["small", "medium"]},
    {"name": "big", "allowed_models": ["large"], "keywords": ["contract", "合同"]},
]


def tables(*upstreams: Upstream, **more: Any) -> dict[str, Any]:
    """A provider for each tier: p1 has `small`, p2 `medium`, p3 `large`."""
    providers = {f"p{number}": {"base_url": u.base_url} for number, u in enumerate(upstreams, 1)}
    tiers = {
        tier: [{"provider": provider, "model": model}]
        for provider, (tier, model) in zip(providers, MODELS.items(), strict=True)
    }
    given = {"policies": POLICIES, "retry": {"retries": 0}, **more}
    return {"providers": providers, "tiers": tiers, **given}


def said(text: str, **members: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **members}


def told(answer: httpx.Response) -> str:
    """Tier, reason and model: `complex auto large`."""
    names = ("x-sentinel-tier", "x-sentinel-reason", "x-sentinel-model")
    return " ".join(answer.headers.get(name, "-") for name in names)


async def test_an_official_client_leaves_the_tier_to_the_sidecar(tmp_path):
    """With a default of auto too: the same prompts, with that name and without any."""
    file = tmp_path / "own.json"
    async with recording() as one, recording() as two, recording() as three:
        file.write_text(json.dumps(tables(one, two, three, routing={"default_tier": "auto"})))
        async with (
            sidecar("-c", str(file), cwd=tmp_path) as process,
            AsyncOpenAI(base_url=f"{process.url}/v1", api_key="k", max_retries=0) as client,
        ):
            listed = [each.id async for each in await client.models.list()]
            scores, tiers = {}, {}
            for text in (GREETING, PROOF):
                messages: Any = said(text)["messages"]
                for model in ("auto", ""):
                    raw = await client.chat.completions.with_raw_response.create(
                        model=model, messages=messages
                    )
                    assert raw.headers["x-sentinel-reason"] == "auto"
                    assert re.fullmatch(r"[01]\.\d{3}", raw.headers["x-sentinel-score"])
                    tiers[text] = raw.headers["x-sentinel-tier"]
                    assert raw.headers["x-sentinel-model"] == MODELS[tiers[text]]
                    scores.setdefault(text, set()).add(raw.headers["x-sentinel-score"])
            raw = await client.chat.completions.with_raw_response.create(
                model="simple", messages=messages
            )
            assert "x-sentinel-score" not in raw.headers
    assert "auto" in listed
    assert (tiers[GREETING], tiers[PROOF]) == ("simple", "complex")
    assert [len(each) for each in scores.values()] == [1, 1]
    assert max(scores[GREETING]) < min(scores[PROOF])
    assert [json.loads(call.body)["model"] for call in three.received] == ["large", "large"]


async def asked(
    upstreams: tuple[Upstream, ...], *bodies: dict[str, Any], policy: str | None = None, **more: Any
) -> list[httpx.Response]:
    """What becomes of each body, one after the other, through one gateway."""
    given = tables(*upstreams, **more)
    headers = {} if policy is None else {"X-Arbstr-Policy": policy}
    async with serving(gatewayed(**given)) as url, httpx.AsyncClient(timeout=10) as client:
        return [await client.post(url + CHAT, json=body, headers=headers) for body in bodies]


async def test_a_conversation_that_auto_has_raised_stays_there_and_keeps_its_score():
    async with recording() as one, recording() as two, recording() as three:
        bodies = [said(t, model="auto", conversation_id="c") for t in (GREETING, PROOF, GREETING)]
        first, second, third = await asked((one, two, three), *bodies)
    assert [told(first), told(second), told(third)] == [
        "simple auto small", "complex auto large", "complex session large",
    ]  # fmt: skip
    assert third.headers["x-sentinel-score"] == first.headers["x-sentinel-score"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_misspelt_policy_is_a_400_that_an_official_client_understands(stream):
    async with recording() as one, recording() as two, recording() as three:
        app = gatewayed(**tables(one, two, three))
        async with (
            serving(app) as url,
            AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client,
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.chat.completions.create(
                    model="simple",
                    messages=[{"role": "user", "content": GREETING}],
                    stream=stream,
                    extra_headers={"X-Arbstr-Policy": "frugall"},
                )
    error = refused.value
    assert (error.code, error.param, error.type) == (
        "invalid_request", "X-Arbstr-Policy", "invalid_request_error",
    )  # fmt: skip
    assert "frugal, big" in error.message
    assert refused.value.response.headers["x-sentinel-tier"] == "simple"
    assert [each.received for each in (one, two, three)] == [[], [], []]


async def test_a_policy_that_leaves_nobody_of_the_tier_is_a_400_and_no_503():
    async with recording() as one, recording() as two, recording() as three:
        bodies = said(GREETING, tier="complex"), said(GREETING, tier="moderate")
        refused, served = await asked((one, two, three), *bodies, policy="frugal")
    error = error_of(refused.content)
    assert (refused.status_code, error["param"]) == (400, "X-Arbstr-Policy")
    assert "'frugal'" in error["message"]
    assert "complex" in error["message"]
    assert (served.status_code, told(served)) == (200, "moderate explicit medium")


async def test_auto_keeps_to_a_policy_that_was_named():
    async with recording() as one, recording() as two, recording() as three:
        greeting, proof = await asked(
            (one, two, three), said(GREETING, model="auto"), said(PROOF, model="auto"), policy="big"
        )
        (frugal,) = await asked((one, two, three), said(PROOF, model="auto"), policy="frugal")
    assert {told(greeting), told(proof)} == {"complex auto large"}
    assert told(frugal) == "moderate auto medium"


async def test_a_keyword_turns_no_request_into_an_error():
    """A21: there it was a 400."""
    texts = ("Is this contract fair?", "这份合同公平吗", "contractual", "hello")
    bodies = [said(text, model=model) for text in texts for model in (*MODELS, *MODELS.values())]
    async with recording() as one, recording() as two, recording() as three:
        answers = await asked((one, two, three), *bodies)
    assert {answer.status_code for answer in answers} == {200}


async def test_a_keyword_prefers_whom_its_policy_allows():
    async with recording() as one, recording() as two, recording() as three:
        given = tables(one, two, three)
        both = [{"provider": "p1", "model": "small"}, {"provider": "p3", "model": "large"}]
        more = {"tiers": {"simple": both}, "providers": given["providers"]}
        bodies = [said("请看这份合同吧", tier="simple")] * 8
        answers = await asked((one, two, three), *bodies, **more)
        alone = await asked((one, two, three), *[said("decontract")] * 20, **more)
    assert {told(answer) for answer in answers} == {"simple explicit large"}
    assert {answer.headers["x-sentinel-model"] for answer in alone} == {"small", "large"}


ESCALATE = {"routing": {"escalate": True}, "retry": {"retries": 0, "fallbacks": 2}}


async def test_with_a_tier_down_a_higher_one_serves_and_the_conversation_is_not_raised():
    down = failing(503)
    body = said(GREETING, tier="simple", conversation_id="c")
    async with recording(down, completing()) as one, recording() as two, recording() as three:
        more = {**ESCALATE, "health": {"initial_backoff_seconds": 0}}
        failed, after = await asked((one, two, three), body, body, **more)
    assert (failed.status_code, told(failed)) == (200, "moderate explicit medium")
    assert failed.headers["x-arbstr-retries"] == "1/p1, 1/p2"
    assert told(after) == "simple explicit small"


async def test_no_lower_tier_stands_in_for_a_higher_one():
    async with recording() as one, recording() as two, recording(failing(503)) as three:
        body = said(GREETING, tier="complex")
        first, second = await asked((one, two, three), body, body, **ESCALATE)
    assert (first.status_code, second.status_code) == (502, 503)
    assert {each.headers["x-sentinel-tier"] for each in (first, second)} == {"complex"}
    assert [one.received, two.received] == [[], []]


async def test_a_stream_is_served_by_the_next_higher_tier_once_its_own_is_in_back_off():
    down, tokens = failing(503), streaming(event("hi"), event("", "stop"))
    async with recording(down) as one, recording(tokens) as two, recording() as three:
        body = said(GREETING, tier="simple", stream=True)
        first, second = await asked((one, two, three), body, body, **ESCALATE)
    assert (first.status_code, told(first)) == (502, "simple explicit small")
    assert (second.status_code, told(second)) == (200, "moderate explicit medium")
    assert second.text.endswith("data: [DONE]\n\n")
    assert three.received == []


async def test_nobody_escalates_where_that_is_not_allowed():
    async with recording(failing(503)) as one, recording() as two, recording() as three:
        body = said(GREETING, tier="simple")
        first, second = await asked((one, two, three), body, body)
    assert (first.status_code, second.status_code) == (502, 503)
    assert second.headers["x-sentinel-tier"] == "simple"
    assert [two.received, three.received] == [[], []]


async def test_a_model_by_its_name_goes_where_this_request_costs_least():
    prices = [{"input_price_per_million": 1, "output_price_per_million": 20},
              {"input_price_per_million": 4, "output_price_per_million": 4}]  # fmt: skip
    async with recording() as one, recording() as two, recording() as three:
        providers = tables(one, two, three)["providers"]
        tiers = {"simple": [{"provider": name, "model": "m", **price}
                            for name, price in zip(("p1", "p2"), prices, strict=True)]}  # fmt: skip
        bodies = (
            said("x" * 40_000, model="m", max_tokens=10),
            said("x", model="m", max_tokens=4_000),
        )
        long, talkative = await asked((one, two, three), *bodies, tiers=tiers, providers=providers)
    assert long.headers["x-arbstr-provider"] == "p1"
    assert talkative.headers["x-arbstr-provider"] == "p2"
