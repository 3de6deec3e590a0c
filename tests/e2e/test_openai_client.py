"""The official `openai` client works unchanged against a Starlette and a FastAPI app that carry
the middleware, in the calls people make, and its retries never multiply ours."""

import asyncio
import json

import httpx
import openai
import pytest
from e2e.support import completing, failing, recording, routed, serving, silent
from fastapi import FastAPI
from openai import AsyncOpenAI, OpenAI
from starlette.applications import Starlette
from starlette.middleware import Middleware

from tiergate import TierMiddleware
from tiergate_sidecar.mock import MockProviders

SAY_HI = [{"role": "user", "content": "say hi"}]
QUICK = {"backoff_seconds": 0.02, "deadline_seconds": 0.4}


def starlette_app(config):
    layer = Middleware(TierMiddleware, config=config, authorize="open")
    return Starlette(middleware=[layer])


def fastapi_app(config):
    app = FastAPI()
    app.add_middleware(TierMiddleware, config=config, authorize="open")
    return app


HOSTS = pytest.mark.parametrize("host", [starlette_app, fastapi_app])


def fakes() -> MockProviders:
    return MockProviders(now=lambda: 1_700_000_000, token_delay_seconds=0)


def official(url: str, **settings) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-of-the-client", **settings)


@HOSTS
async def test_chat(host):
    async with fakes() as mock:
        app = host(routed(mock.base_url("mock-a")))
        async with serving(app) as url, official(url) as client:
            answer = await client.chat.completions.create(model="simple", messages=SAY_HI)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.model == mock.attempts[0].model == "small"


async def test_chat_with_the_synchronous_client():
    def ask(url: str) -> str | None:
        with OpenAI(base_url=f"{url}/v1", api_key="sk-of-the-client") as client:
            answer = client.chat.completions.create(model="simple", messages=SAY_HI)
            return answer.choices[0].message.content

    async with (
        recording(completing("hi")) as upstream,
        serving(starlette_app(routed(upstream.base_url))) as url,
    ):
        assert await asyncio.to_thread(ask, url) == "hi"


@HOSTS
async def test_streaming_with_usage(host):
    async with fakes() as mock:
        app = host(routed(mock.base_url("mock-a")))
        async with serving(app) as url, official(url) as client:
            stream = await client.chat.completions.create(
                model="simple",
                messages=SAY_HI,
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [chunk.usage.completion_tokens > 0 for chunk in chunks if chunk.usage] == [True]
    assert chunks[-1].choices == []


async def test_a_stream_without_usage_asked_for_has_none():
    async with fakes() as mock:
        app = starlette_app(routed(mock.base_url("mock-a")))
        async with serving(app) as url, official(url) as client:
            stream = await client.chat.completions.create(
                model="simple", messages=SAY_HI, stream=True
            )
            chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and not chunk.usage for chunk in chunks)
    assert json.loads(mock.attempts[0].body)["stream_options"] == {"include_usage": True}


@HOSTS
async def test_tool_calls_and_their_history_with_content_null(host):
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
    question = {"role": "user", "content": "use the tool"}
    async with fakes() as mock:
        app = host(routed(mock.base_url("mock-a")))
        async with serving(app) as url, official(url) as client:
            ask = client.chat.completions.create
            first = await ask(model="complex", messages=[question], tools=[tool])
            called = first.choices[0].message
            assert called.tool_calls[0].function.name == "get_weather"
            said = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "12 °C"}
            turn = {"role": "assistant", "content": None, "tool_calls": called.tool_calls}
            thanks = {"role": "user", "content": "thanks"}
            last = await ask(model="complex", messages=[question, turn, said, thanks])
    assert last.choices[0].message.content
    sent = json.loads(mock.attempts[1].body)["messages"]
    assert (sent[1]["content"], sent[1]["tool_calls"][0]["id"]) == (None, called.tool_calls[0].id)
    assert sent[2] == said


@HOSTS
async def test_a_providers_400_is_a_bad_request_error_with_the_providers_body(host):
    async with (
        recording(failing(400, "string_above_max_length")) as upstream,
        serving(host(routed(upstream.base_url))) as url,
        official(url) as client,
    ):
        with pytest.raises(openai.BadRequestError) as told:
            await client.chat.completions.create(model="simple", messages=SAY_HI)
    assert told.value.body == {
        "message": "no",
        "type": "t",
        "param": "p",
        "code": "string_above_max_length",
    }
    assert len(upstream.received) == 1


@HOSTS
async def test_the_clients_own_timeout_ends_the_upstream_call(host):
    async with (
        recording(silent) as upstream,
        serving(host(routed(upstream.base_url))) as url,
        official(url, timeout=0.3, max_retries=0) as client,
    ):
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="simple", messages=SAY_HI)
        async with asyncio.timeout(1):
            await upstream.received[0].gone.wait()
    assert len(upstream.received) == 1


@HOSTS
async def test_our_deadline_is_an_api_status_error_504(host):
    async with recording(silent) as upstream:
        app = host(routed(upstream.base_url, retry=QUICK))
        async with serving(app) as url, official(url) as client:
            with pytest.raises(openai.APIStatusError) as told:
                await client.chat.completions.create(model="simple", messages=SAY_HI)
    assert (told.value.status_code, told.value.code) == (504, "deadline_exceeded")
    assert told.value.response.headers["x-arbstr-provider"] == "p1"


@pytest.mark.parametrize(
    ("said", "tier", "reason"),
    [
        ({"model": "moderate"}, "moderate", "alias"),
        ({"model": "large"}, "complex", "model"),
        ({"model": ""}, "simple", "default"),
        ({"model": "gpt-4o", "extra_body": {"tier": "complex"}}, "complex", "explicit"),
        (
            {"model": "gpt-4o", "extra_headers": {"X-Sentinel-Tier": "complex"}},
            "complex",
            "explicit",
        ),
        (
            {"model": "x", "extra_body": {"tier": "simple"}}
            | {"extra_headers": {"X-Sentinel-Tier": "complex"}},
            "simple",
            "explicit",
        ),
    ],
)
async def test_ways_to_name_a_tier(said, tier, reason):
    async with recording() as upstream:
        app = fastapi_app(routed(upstream.base_url))
        async with serving(app) as url, official(url) as client:
            raw = await client.chat.completions.with_raw_response.create(messages=SAY_HI, **said)
    assert raw.headers["x-sentinel-tier"] == tier
    assert raw.headers["x-sentinel-reason"] == reason
    sent = json.loads(upstream.received[0].body)
    assert sent["model"] == raw.headers["x-sentinel-model"]
    assert "tier" not in sent


async def test_an_unknown_model_is_a_not_found_error_that_names_it():
    async with recording() as upstream:
        app = fastapi_app(routed(upstream.base_url))
        async with serving(app) as url, official(url) as client:
            with pytest.raises(openai.NotFoundError, match="gpt-99") as told:
                await client.chat.completions.create(model="gpt-99", messages=SAY_HI)
    assert (told.value.code, told.value.param) == ("model_not_found", "model")
    assert upstream.received == []


@pytest.mark.parametrize(
    ("handler", "status", "history"),
    [
        (failing(503), 502, "3/p1, 1/p2"),
        (silent, 504, "1/p1, 1/p2"),
        (failing(429, headers=(("retry-after", "0"),)), 429, "3/p1, 1/p2"),
    ],
    ids=["502", "504", "429"],
)
async def test_the_clients_retries_do_not_multiply_ours(handler, status, history):
    async with recording(handler) as one, recording(handler) as two:
        app = starlette_app(routed(one.base_url, two.base_url, retry=QUICK))
        async with serving(app) as url, official(url) as client:
            with pytest.raises(openai.APIStatusError) as told:
                await client.chat.completions.create(model="small", messages=SAY_HI)
    answer = told.value.response
    assert (answer.status_code, answer.headers["x-arbstr-retries"]) == (status, history)
    assert answer.headers["x-should-retry"] == "false"
    received = f"{len(one.received)}/p1, {len(two.received)}/p2"
    assert received == history


async def test_client_retries_can_be_allowed():
    async with recording(failing(501), completing("second")) as upstream:
        # Without health: the client would wait for the end of the back-off, 30 s.
        tables = {"headers": {"client_retries": True}, "health": {"initial_backoff_seconds": 0}}
        app = starlette_app(routed(upstream.base_url, **tables))
        async with serving(app) as url, official(url) as client:
            answer = await client.chat.completions.create(model="simple", messages=SAY_HI)
    assert answer.choices[0].message.content == "second"
    assert len(upstream.received) == 2


async def test_the_headers_can_be_read_from_the_raw_response():
    async with recording() as upstream:
        app = starlette_app(routed(upstream.base_url))
        async with serving(app) as url, official(url) as client:
            raw = await client.chat.completions.with_raw_response.create(
                model="simple", messages=SAY_HI
            )
    headers = httpx.Headers(raw.headers)
    assert headers["x-arbstr-provider"] == "p1"
    assert headers["x-arbstr-latency-ms"].isdigit()
    assert len(headers["x-arbstr-request-id"]) == 36
    assert raw.parse().choices[0].message.content == "hello"
