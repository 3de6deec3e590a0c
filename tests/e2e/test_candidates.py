"""Candidates that fit, over real sockets: a request goes to a model that can take it, in the words
that this model takes, and all that is not adapted arrives as the client wrote it. What is only
estimated refuses nobody."""

import json
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import msgspec
import openai
import pytest
from e2e.support import (
    CHAT,
    DONE,
    HELLO,
    completing,
    connected,
    event,
    failing,
    recording,
    serving,
    streaming,
)
from openai import AsyncOpenAI

from tiergate import Gateway, TierMiddleware

REASONING = {
    "rename": {"max_tokens": "max_completion_tokens"},
    "drop": ["temperature", "top_p"],
    "set": {"reasoning_effort": "low"},
}
SAY_HI = [{"role": "user", "content": "say hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PNG = "data:image/png;base64," + "iVBORw0KGgo" * 20_000
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
ODD_REFUSAL = (
    b'{ "error" : {"message":"Unsupported parameter: \\u0027max_tokens\\u0027","type":'
    b'"invalid_request_error", "param" :"max_tokens","code":"unsupported_parameter"} }\r\n'
)


async def refusing(call) -> None:
    """As OpenAI refuses, in its own spelling."""
    await call.respond(400, ODD_REFUSAL)


async def as_a_reasoning_model(call) -> None:
    """Takes what OpenAI's reasoning models take, and refuses in their words."""
    said = json.loads(call.body)
    if "max_tokens" in said:
        await failing(400, "unsupported_parameter")(call)
    elif said.get("temperature", 1) != 1:
        await failing(400, "unsupported_value")(call)
    else:
        await completing("thought")(call)


class World:
    """Providers p1, p2, …, one for each entry; all offer `m`, each with what its entry says."""

    def __init__(self, url: str, upstreams: list, gateway: Gateway) -> None:
        self.url = url
        self.upstreams = upstreams
        self.gateway = gateway

    @property
    def asked(self) -> list[int]:
        return [len(each.received) for each in self.upstreams]

    def members(self, provider: int = 0) -> list[tuple[str, bytes]]:
        """Of the last request that it received."""
        raw = msgspec.json.decode(self.upstreams[provider].received[-1].body, type=Members)
        return [(name, bytes(value)) for name, value in raw.items()]

    def untouched(self) -> bool:
        """Nothing speaks against anybody."""
        return not list(self.gateway.health.ailing())


Members = dict[str, msgspec.Raw]


@asynccontextmanager
async def world(*providers, **tables):
    """`providers` are pairs: how it answers, and what its entry says beside its name."""
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(recording(how)) for how, _ in providers]
        names = [f"p{number}" for number, _ in enumerate(providers, 1)]
        config = {
            "providers": {
                name: {"base_url": each.base_url}
                for name, each in zip(names, upstreams, strict=True)
            },
            "tiers": {
                "simple": [
                    {"provider": name, "model": "m", "relative_cost": cost, **entry}
                    for cost, (name, (_, entry)) in enumerate(zip(names, providers, strict=True), 1)
                ]
            },
            "retry": {"backoff_seconds": 0.01},
            **tables,
        }
        gateway = Gateway(config, environ={})
        app = TierMiddleware(None, gateway=gateway, authorize="open")
        async with gateway:
            url = await stack.enter_async_context(serving(app, lifespan="off"))
            yield World(url, upstreams, gateway)


async def post(made: World, content: bytes = b"", **members) -> httpx.Response:
    body = content or json.dumps({"model": "m", **HELLO, **members}).encode()
    async with httpx.AsyncClient() as client:
        return await client.post(made.url + CHAT, content=body)


# --- in the words that the model takes

ODD = [
    (b'"temperature"', b"1.10"), (b'"seed"', b"-0"), (b'"big"', b"123456789012345678901234.50"),
    (b'"x"', b"1E-1"), (b'"stop"', rb'["\u0041\/", "\n\t\"", "\ud83d\ude00"]'),
    ("\"gr\u00fc\u00dfe \U0001f600\"".encode(), "\"Zo\u00eb \u2028\"".encode()),
    (rb'"esc\u0061ped"', b'{ "z" : 1 ,\n\t"a" :\r\n [ ] , "a" : { } }'),
    (b'"messages"', rb'[ {"role":"user", "content" : null, "tool_calls":[{"id":"\u00e9"}] } ]'),
    (b'"max_tokens"', b"1.0e2"), (b'""', b'"no name"'), (b'"x"', b"[true,false , null]"),
    (rb'"t\u006fp_p"', b"0.50"), (b'"tier"', b'"simple"'),
]  # fmt: skip


async def test_what_is_not_adapted_arrives_byte_for_byte_whatever_its_spelling():
    body = b"\r\n{" + b",".join(b" %s :\t%s\n" % pair for pair in ODD) + b"} "
    async with world((completing(), REASONING)) as made:
        answer = await post(made, body)
    assert answer.status_code == 200
    assert made.members() == [
        ("seed", b"-0"),
        ("big", b"123456789012345678901234.50"),
        ("x", b"[true,false , null]"),
        ("stop", rb'["\u0041\/", "\n\t\"", "\ud83d\ude00"]'),
        ("gr\u00fc\u00dfe \U0001f600", '"Zo\u00eb \u2028"'.encode()),
        ("escaped", b'{ "z" : 1 ,\n\t"a" :\r\n [ ] , "a" : { } }'),
        ("messages", rb'[ {"role":"user", "content" : null, "tool_calls":[{"id":"\u00e9"}] } ]'),
        ("", b'"no name"'),
        ("model", b'"m"'),
        ("max_completion_tokens", b"1.0e2"),
        ("reasoning_effort", b'"low"'),
    ]


async def test_the_official_client_reaches_a_model_that_takes_no_max_tokens():
    async with (
        world((as_a_reasoning_model, REASONING)) as made,
        AsyncOpenAI(base_url=f"{made.url}/v1", api_key="sk") as client,
    ):
        answer = await client.chat.completions.create(
            model="m", messages=SAY_HI, max_tokens=50, temperature=0.2, top_p=0.9
        )
    assert answer.choices[0].message.content == "thought"
    said = dict(made.members())
    assert said["max_completion_tokens"] == b"50"
    assert said["reasoning_effort"] == b'"low"'
    assert not {"max_tokens", "temperature", "top_p"} & said.keys()


async def test_each_attempt_is_in_the_words_of_its_own_model():
    async with world((failing(501), REASONING), (completing(), {"drop": ["user"]})) as made:
        answer = await post(made, max_tokens=5, temperature=0.5, user="u")
    assert answer.headers["x-arbstr-retries"] == "1/p1, 1/p2"
    first, second = (dict(made.members(number)) for number in (0, 1))
    assert first.keys() == {"model", "messages", "user", "max_completion_tokens"} | {
        "reasoning_effort"
    }
    assert second.keys() == {"model", "messages", "max_tokens", "temperature"}


async def test_a_document_says_the_same_and_a_wrong_entry_of_it_is_left_out(tmp_path):
    prices = {"inputPricePerMillion": 1, "outputPricePerMillion": 1}
    entry = {"provider": "p1", "model": "m", **prices, **REASONING}
    wrong = {**entry, "model": "n", "drop": ["messages"]}
    file = tmp_path / "tiers.json"
    file.write_text(json.dumps({"version": "7", "tiers": {"simple": [wrong, entry]}}))
    source = {"source": "file", "file": str(file)}
    async with world((as_a_reasoning_model, {}), tier_config=source) as made:
        answer = await post(made, max_tokens=5, temperature=0)
        (skipped,) = made.gateway.status().configuration.skipped
    assert (answer.status_code, answer.headers["x-sentinel-model"]) == (200, "m")
    assert skipped.startswith("tiers.simple[0] (p1/n): drop: 'messages'")


# --- a provider says that its model does not take it


@pytest.mark.parametrize(
    "code", ["unsupported_parameter", "unsupported_value", "unknown_parameter"]
)
async def test_what_one_model_does_not_take_goes_to_the_next_and_speaks_against_nobody(code):
    async with world((failing(400, code), {}), (completing(), {})) as made:
        answers = [await post(made, max_tokens=5) for _ in range(3)]
        assert made.untouched()
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-arbstr-retries"] for answer in answers} == {"1/p1, 1/p2"}
    assert made.asked == [3, 3]


@pytest.mark.parametrize("others", [[], [failing(503)], [failing(401)]], ids=["0", "503", "401"])
async def test_with_nobody_left_the_client_gets_that_400_byte_for_byte(others):
    rest = [(each, {}) for each in others]
    async with world((refusing, {}), *rest, retry={"retries": 0}) as made:
        answer = await post(made, max_tokens=5)
    assert (answer.status_code, answer.content) == (400, ODD_REFUSAL)
    assert answer.headers["content-type"] == "application/json"
    assert made.asked == [1] * (1 + len(others))


async def test_the_official_client_hears_which_parameter_it_was():
    async with (
        world((refusing, {})) as made,
        AsyncOpenAI(base_url=f"{made.url}/v1", api_key="sk") as client,
    ):
        with pytest.raises(openai.BadRequestError) as told:
            await client.chat.completions.create(model="m", messages=SAY_HI, max_tokens=5)
    assert (told.value.code, told.value.param) == ("unsupported_parameter", "max_tokens")
    assert made.asked == [1]


@pytest.mark.parametrize(
    ("mode", "status", "asked"),
    [("off", 400, [1, 0]), ("first_token", 200, [1, 1]), ("buffered", 200, [1, 1])],
)
async def test_a_stream_falls_over_where_it_may_and_else_passes_the_refusal_on(mode, status, asked):
    said = event("hi", "stop") + DONE
    async with world((refusing, {}), (streaming(said), {}), streaming={"failover": mode}) as made:
        answer = await post(made, stream=True)
        assert made.untouched()
    assert (answer.status_code, made.asked) == (status, asked)
    assert answer.content == (ODD_REFUSAL if status == 400 else said)


# --- to a model that can take it

ABLE = {"supports": ["tools", "vision", "json_schema"], "context_window": 100_000}
PLAIN = {"supports": [], "context_window": 1000, "relative_cost": 1}
DEAR = {**ABLE, "relative_cost": 10}
LONG = [{"role": "user", "content": "word " * 2000}]

NEEDS = {
    "tools": {"tools": [TOOL]},
    "an image": {"messages": [IMAGE]},
    "a schema": {"response_format": SCHEMA},
    "a long prompt": {"messages": LONG},
    "a long answer": {"max_tokens": 2000},
}


@pytest.mark.parametrize("how", [{"model": "m"}, {"tier": "simple"}], ids=["model", "tier"])
@pytest.mark.parametrize("needs", NEEDS.values(), ids=NEEDS)
async def test_a_request_goes_to_who_can_take_it_however_dear(how, needs):
    async with world((completing(), PLAIN), (completing(), DEAR)) as made:
        for _ in range(6):
            answer = await post(made, **how, **needs)
            assert answer.headers["x-arbstr-provider"] == "p2"
    assert made.asked == [0, 6]


async def test_who_cannot_take_it_is_no_fallback_either():
    async with world((failing(501), ABLE), (completing(), PLAIN)) as made:
        answer = await post(made, tools=[TOOL])
    assert (answer.status_code, made.asked) == (502, [1, 0])


@pytest.mark.parametrize(
    "members",
    [{}, {"tools": []}, {"response_format": {"type": "text"}}, {"max_tokens": 900}],
    ids=["plain", "no tools", "text", "a short answer"],
)
async def test_a_request_that_needs_nothing_more_stays_with_the_cheapest(members):
    async with world((completing(), PLAIN), (completing(), DEAR)) as made:
        await post(made, **members)
    assert made.asked == [1, 0]


async def test_the_length_of_an_embedded_image_is_no_length_of_a_prompt():
    seeing = {"supports": ["vision"], "context_window": 4000}
    async with world((completing(), seeing), (completing(), DEAR)) as made:
        await post(made, messages=[IMAGE])
    assert made.asked == [1, 0]
    assert len(made.upstreams[0].received[0].body) > len(PNG) > 50 * 4000


@pytest.mark.parametrize("messages", [LONG, [IMAGE, *LONG]], ids=["text", "and an image"])
async def test_tools_never_go_where_there_are_none_while_somebody_has_them(messages):
    crowded = {"supports": ["tools", "vision"], "context_window": 10, "relative_cost": 10}
    roomy = {"supports": ["vision"], "context_window": 10**9}
    async with world((completing(), roomy), (completing(), crowded)) as made:
        for _ in range(6):
            await post(made, tools=[TOOL], tier="simple", messages=messages)
    assert made.asked == [0, 6], "what a model has is known, what a request takes is estimated"


@pytest.mark.parametrize("needs", NEEDS.values(), ids=NEEDS)
async def test_an_estimate_alone_refuses_nobody(needs):
    async with world((completing(), PLAIN), (completing(), {**PLAIN, "relative_cost": 2})) as made:
        answer = await post(made, **needs)
    assert (answer.status_code, made.asked) == (200, [1, 0])


async def test_more_parts_than_are_looked_at_arrive_all_the_same():
    part = b'{"type":"image_url","image_url":{"url":"data:;base64,AA"}},'
    body = b'{"model":"m","messages":[{"role":"user","content":[%s1]}]}' % (part * 14_000)
    async with (
        world((completing(), PLAIN), (completing(), DEAR)) as made,
        connected(made.url) as client,
    ):
        await client.post(body)
        status, headers, _ = await client.answer()
    assert (status, headers["x-arbstr-provider"]) == (200, "p2"), "who sees, if without room"
    assert made.upstreams[1].received[0].body == body
