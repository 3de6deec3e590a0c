"""What the fake providers say when nothing is wrong: completions, tool calls, streams, and the 400
for what is no chat request."""

import json
from typing import Any

import httpx
import pytest
from mockwire import WEATHER, ask, events, finishes, said

from tiergate_sidecar.mock import MockProviders


async def test_a_completion_names_provider_and_model_and_echoes_the_user(
    client: httpx.AsyncClient,
) -> None:
    answer = await ask(client, provider="mock-b", n=2)
    assert answer.status_code == 200
    body = answer.json()
    assert body["object"] == "chat.completion"
    assert (body["id"], body["created"]) == ("chatcmpl-mock-1", 1_700_000_000)
    assert body["model"] == "mock-small"
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    for choice in body["choices"]:
        assert choice["message"]["content"] == "mock-b with mock-small heard: hello there"
        assert choice["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["completion_tokens"] == 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + 12
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


@pytest.mark.parametrize(
    ("messages", "echo"),
    [
        ([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "one"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "x"}, 7]}], "a"),
        ([{"role": "user", "content": "x" * 90}], "x" * 40),
        ([{"role": "user", "content": " ñ €\n🙂 \ud800"}], "ñ € 🙂 ?"),
        ([{"role": "user", "content": {"odd": 1}}], "nothing"),
        ([{"role": "system", "content": "be kind"}, None, "text"], "nothing"),
    ],
)
async def test_any_shape_of_message_is_answered(
    client: httpx.AsyncClient, messages: list[Any], echo: str
) -> None:
    body = json.dumps({"model": "m", "messages": messages})
    answer = await client.post("/mock-a/v1/chat/completions", content=body)
    assert answer.json()["choices"][0]["message"]["content"] == f"mock-a with m heard: {echo}"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"\xff\xfe", None),
        (b"{", None),
        (b"[" * 100_000, None),
        (b"[]", None),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b'{"model": "m", "messages": "hi"}', "messages"),
        (b'{"messages": [1]}', "model"),
        (b'{"model": "", "messages": [1]}', "model"),
        (b'{"model": "m", "messages": [1], "n": 9}', "n"),
        (b'{"model": "m", "messages": [1], "n": 0}', "n"),
        (b'{"model": "m", "messages": [1], "n": true}', "n"),
    ],
)
async def test_what_is_no_chat_request_is_400_in_the_shape_of_openai(
    client: httpx.AsyncClient, mock: MockProviders, body: bytes, param: str | None
) -> None:
    answer = await client.post("/mock-a/v1/chat/completions", content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"]
    assert (mock.attempts[-1].provider, mock.attempts[-1].model) == ("mock-a", "")


@pytest.mark.parametrize(
    ("tools", "text", "called"),
    [
        ([WEATHER], "use the Tool please", True),
        ([{"type": "custom"}, "odd", {"function": {"name": 3}}, WEATHER], "your tools", True),
        ([WEATHER], "the toolbox is closed", False),
        ([], "use the tool", False),
        ("odd", "use the tool", False),
    ],
)
async def test_a_tool_is_called_when_offered_and_spoken_of(
    client: httpx.AsyncClient, tools: Any, text: str, called: bool
) -> None:
    messages = [{"role": "user", "content": text}]
    (choice,) = (await ask(client, messages=messages, tools=tools)).json()["choices"]
    assert choice["finish_reason"] == ("tool_calls" if called else "stop")
    calls = choice["message"].get("tool_calls", [])
    expected = [{"name": "weather", "arguments": "{}"}] if called else []
    assert [call["function"] for call in calls] == expected


async def test_a_stream_has_role_content_finish_usage_and_done_in_this_order(
    client: httpx.AsyncClient,
) -> None:
    answer = await ask(client, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    role, *content, finish, usage, done = events(answer.content)
    assert role["choices"][0]["delta"]["role"] == "assistant"
    assert all(set(chunk["choices"][0]["delta"]) == {"content"} for chunk in content)
    assert said(answer.content) == "mock-a with mock-small heard: hello there"
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], len(content))
    assert done == "[DONE]"


async def test_a_stream_of_several_choices_finishes_each_and_hides_usage_unless_asked(
    client: httpx.AsyncClient,
) -> None:
    stream = (await ask(client, stream=True, n=3)).content
    assert {said(stream, index) for index in range(3)} == {
        "mock-a with mock-small heard: hello there"
    }
    assert finishes(stream) == ["stop"] * 3
    assert b'"usage"' not in stream
