"""The fake providers as servers: their paths, their record of what they were asked, and which
attempts a fault hits."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from mockwire import WEATHER, ask, asking, finishes
from openai import AsyncOpenAI

from tiergate_sidecar.mock import MockProviders
from tiergate_sidecar.mock_faults import Fault


async def test_the_official_client_reads_answers_streams_tools_and_models(
    mock: MockProviders,
) -> None:
    async with AsyncOpenAI(base_url=mock.base_url("mock-c"), api_key="k", max_retries=0) as openai:
        text: Any = [{"role": "user", "content": "use the tool"}]
        whole = await openai.chat.completions.create(model="m", messages=text)
        assert whole.choices[0].message.content == "mock-c with m heard: use the tool"
        tools: Any = [WEATHER]
        async with openai.chat.completions.stream(model="m", messages=text, tools=tools) as stream:
            final = await stream.get_final_completion()
        (call,) = final.choices[0].message.tool_calls or []
        assert (call.function.name, call.function.arguments) == ("weather", "{}")
        models = [model.id async for model in openai.models.list()]
        assert "mock-small" in models
    assert [attempt.path for attempt in mock.attempts][-1] == "/mock-c/v1/models"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/mock-a/v1/embeddings", 404),
        ("POST", "/a/b/v1/chat/completions", 404),
        ("POST", "/v1/chat/completions", 404),
        ("GET", "/mock-a/v1/chat/completions", 405),
        ("POST", "/mock-a/v1/models", 405),
    ],
)
async def test_other_paths_and_methods_are_refused_in_the_same_shape(
    client: httpx.AsyncClient, mock: MockProviders, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["code"]
    assert (mock.attempts[-1].method, mock.attempts[-1].path) == (method, path)


async def test_every_request_is_recorded_with_its_time(
    client: httpx.AsyncClient, mock: MockProviders
) -> None:
    await ask(client, "503 @mock-b", provider="mock-b", stream=True)
    await ask(client, key="k", messages=[{"role": "user", "content": "x" * 50_000}])
    first, second = mock.attempts
    assert (first.time, first.provider, first.model, first.stream, first.fault) == (
        0.0,
        "mock-b",
        "mock-small",
        True,
        Fault("503", provider="mock-b"),
    )
    assert json.loads(first.body) == asking(stream=True)
    assert (second.time, second.fault, second.stream) == (1.0, None, False)
    assert (b"idempotency-key", b"k") in second.headers
    assert second.body_bytes > 50_000 > len(second.body)
    assert "xxx" not in repr(second)
    assert mock.attempts.maxlen == 1000


async def test_without_a_clock_the_loops_time_is_recorded_and_tokens_come_apart() -> None:
    loop = asyncio.get_running_loop()
    async with (
        MockProviders(now=lambda: 0.0) as mock,
        httpx.AsyncClient(base_url=mock.server.url) as client,
    ):
        before = loop.time()
        await ask(client, stream=True)
        # Six tokens, the finish and [DONE], 20 ms before each; an upper limit would test us.
        assert loop.time() - before >= 0.9 * 8 * 0.02
    assert before <= mock.attempts[0].time <= loop.time()


async def test_two_streams_at_once_do_not_wait_for_each_other(client: httpx.AsyncClient) -> None:
    slow = asyncio.create_task(ask(client, "slow 30", stream=True))
    quick = await ask(client, stream=True)
    assert finishes(quick.content) == ["stop"]
    assert not slow.done()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


async def statuses(client: httpx.AsyncClient, fault: str, *providers: str) -> list[int]:
    return [(await ask(client, fault, one, key="k")).status_code for one in providers]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("503", [503, 200, 200, 200]),
        ("503 always", [503, 503, 503, 503]),
        ("503 @mock-b", [200, 200, 503, 200]),
        ("503 always @mock-b", [200, 200, 503, 503]),
        ("503 @mock-a, 500 @mock-b", [503, 200, 500, 200]),
    ],
)
async def test_a_fault_hits_the_first_attempt_unless_told_otherwise(
    client: httpx.AsyncClient, fault: str, expected: list[int]
) -> None:
    assert await statuses(client, fault, "mock-a", "mock-a", "mock-b", "mock-b") == expected


async def test_without_an_idempotency_key_each_attempt_is_a_first(
    client: httpx.AsyncClient,
) -> None:
    assert [(await ask(client, "503")).status_code for _ in range(2)] == [503, 503]


async def test_a_model_name_is_a_fault_for_every_attempt(client: httpx.AsyncClient) -> None:
    answers = [await ask(client, key="k", model="fault-429 7") for _ in range(2)]
    assert [(a.status_code, a.headers["retry-after"]) for a in answers] == [(429, "7")] * 2
    assert (await ask(client, "500", model="fault-503")).status_code == 500
    assert (await ask(client, model="fault-503 @mock-b")).status_code == 200


@pytest.mark.parametrize("more", [{"fault": "oops"}, {"model": "fault-oops"}, {"fault": ""}])
async def test_an_unknown_fault_is_400_and_names_the_known_ones(
    client: httpx.AsyncClient, more: dict[str, str]
) -> None:
    answer = await ask(client, **more)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unknown_mock_fault"
    assert "cut-utf8" in answer.json()["error"]["message"]
