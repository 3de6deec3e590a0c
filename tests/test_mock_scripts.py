"""Each fault of the fake providers as a client meets it on the wire."""

import json

import httpx
import pytest
from mockwire import (
    WEATHER,
    ask,
    asking,
    events,
    everyone_gone,
    finishes,
    heard,
    heard_until_silence,
    said,
)

from tiergate_sidecar.mock import MockProviders
from tiergate_sidecar.mock_answers import LONG_TEXT

LONG = "".join(LONG_TEXT)
BOTH = pytest.mark.parametrize("stream", [False, True])


@BOTH
@pytest.mark.parametrize(
    ("fault", "status", "code", "wait"),
    [
        ("400", 400, "invalid_request", None),
        ("401", 401, "invalid_api_key", None),
        ("402", 402, "insufficient_quota", None),
        ("404", 404, "model_not_found", None),
        ("418", 418, "invalid_request", None),
        ("429", 429, "rate_limit_exceeded", None),
        ("429 2", 429, "rate_limit_exceeded", "2"),
        ("500", 500, "internal_error", None),
        ("503 30", 503, "overloaded", "30"),
        ("599", 599, "internal_error", None),
        ("context", 400, "context_length_exceeded", None),
        ("filter", 400, "content_filter", None),
    ],
)
async def test_an_error_status_has_a_plausible_body(
    client: httpx.AsyncClient, stream: bool, fault: str, status: int, code: str, wait: str | None
) -> None:
    answer = await ask(client, fault, stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("retry-after") == wait
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@BOTH
async def test_reset_comes_before_any_header(client: httpx.AsyncClient, stream: bool) -> None:
    with pytest.raises(httpx.ReadError):
        await ask(client, "reset", stream=stream)
    assert (await ask(client)).status_code == 200


@BOTH
async def test_silent_answers_nothing_until_the_client_leaves(
    client: httpx.AsyncClient, mock: MockProviders, stream: bool
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await client.post(
            "/mock-a/v1/chat/completions",
            json=asking(stream),
            headers={"x-mock-fault": "silent"},
            timeout=httpx.Timeout(5, read=0.2),
        )
    await everyone_gone(mock)


@BOTH
async def test_headers_are_followed_by_nothing(client: httpx.AsyncClient, stream: bool) -> None:
    answer, got = await heard_until_silence(client, "headers", stream=stream)
    kind = "text/event-stream" if stream else "application/json"
    assert (answer.status_code, answer.headers["content-type"], got) == (200, kind, b"")


async def test_slow_delays_the_first_token_but_not_the_role(client: httpx.AsyncClient) -> None:
    _, got = await heard_until_silence(client, "slow", stream=True)
    (role,) = events(got)
    assert role["choices"][0]["delta"]["role"] == "assistant"
    stream, whole = await heard(client, "slow 0.01", stream=True)
    assert (whole, finishes(stream)) == (True, ["stop"])


async def test_slow_delays_the_whole_json_answer_headers_included(
    client: httpx.AsyncClient, mock: MockProviders
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await heard_until_silence(client, "slow")
    await everyone_gone(mock)  # it does not sleep on when the client has left
    assert (await ask(client, "slow 0.01")).status_code == 200


async def test_cut_closes_after_so_many_tokens(client: httpx.AsyncClient) -> None:
    for fault, tokens in (("cut", 40), ("cut 3", 3)):
        stream, whole = await heard(client, fault, stream=True)
        assert (whole, said(stream)) == (False, "".join(LONG_TEXT[:tokens]))
        assert not finishes(stream)


async def test_stall_stops_after_so_many_tokens_and_keeps_the_connection(
    client: httpx.AsyncClient,
) -> None:
    _, got = await heard_until_silence(client, "stall", stream=True)
    assert said(got) == "".join(LONG_TEXT[:20])


async def test_stall_of_json_stops_in_the_middle(client: httpx.AsyncClient) -> None:
    answer, got = await heard_until_silence(client, "stall")
    assert 0 < len(got) < int(answer.headers["content-length"])


@BOTH
async def test_cut_utf8_ends_inside_a_character(client: httpx.AsyncClient, stream: bool) -> None:
    got, whole = await heard(client, "cut-utf8", stream=stream, n=2)
    assert not whole
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        got.decode()


async def test_cut_frame_ends_inside_a_frame(client: httpx.AsyncClient) -> None:
    for fault, whole in (("cut-frame", False), ("truncated", False)):
        got, ended = await heard(client, fault, stream=True, n=2)
        assert ended is whole
        torn = got.rpartition(b"\n\n")[2]
        assert torn.startswith(b"data: {")
        assert said(got, 0) == "".join(LONG_TEXT[:31])
        assert said(got, 1) == "".join(LONG_TEXT[:30])


@pytest.mark.parametrize("fault", ["cut", "cut-frame"])
async def test_a_json_body_is_dropped_in_its_middle(client: httpx.AsyncClient, fault: str) -> None:
    got, whole = await heard(client, fault)
    assert not whole
    assert got.startswith(b'{"id":')


async def test_malformed_is_one_event_in_the_middle_and_the_rest_is_fine(
    client: httpx.AsyncClient,
) -> None:
    stream, whole = await heard(client, "malformed", stream=True)
    assert (whole, said(stream), finishes(stream)) == (True, LONG, ["stop"])
    odd = [event for event in events(stream) if isinstance(event, str)]
    assert len(odd) == 2
    assert odd[1] == "[DONE]"


@pytest.mark.parametrize("fault", ["malformed", "truncated"])
async def test_a_whole_body_may_be_no_json(client: httpx.AsyncClient, fault: str) -> None:
    got, whole = await heard(client, fault)
    assert whole
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(got)


async def test_no_done_ends_without_it(client: httpx.AsyncClient) -> None:
    stream, whole = await heard(client, "no-done", stream=True)
    assert (whole, said(stream), finishes(stream)) == (True, LONG, ["stop"])
    assert b"[DONE]" not in stream
    assert (await ask(client, "no-done")).json()["choices"][0]["message"]["content"] == LONG


async def test_no_finish_ends_with_done_but_no_reason(client: httpx.AsyncClient) -> None:
    stream, whole = await heard(client, "no-finish", stream=True)
    assert (whole, said(stream), finishes(stream)) == (True, LONG, [])
    assert events(stream)[-1] == "[DONE]"
    assert (await ask(client, "no-finish")).json()["choices"][0]["finish_reason"] is None


async def test_an_error_event_comes_inside_a_200(client: httpx.AsyncClient) -> None:
    stream, whole = await heard(client, "error-event", stream=True)
    assert (whole, said(stream)) == (True, "".join(LONG_TEXT[:5]))
    assert events(stream)[-1]["error"]["code"] == "internal_error"
    answer = await ask(client, "error-event")
    assert (answer.status_code, list(answer.json())) == (200, ["error"])


@BOTH
async def test_html_and_empty_are_200_without_an_answer(
    client: httpx.AsyncClient, stream: bool
) -> None:
    page = await ask(client, "html", stream=stream)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    empty = await ask(client, "empty", stream=stream)
    assert (empty.status_code, empty.content) == (200, b"")


@pytest.mark.parametrize(("fault", "size"), [("big-event", 2_097_152), ("big-event 5000", 5000)])
async def test_a_big_event_has_exactly_that_size(
    client: httpx.AsyncClient, fault: str, size: int
) -> None:
    stream, _ = await heard(client, fault, stream=True)
    assert max(len(frame) + 2 for frame in stream.split(b"\n\n")) == size
    assert finishes(stream) == ["stop"]
    body, _ = await heard(client, fault)
    assert len(body) == size
    assert json.loads(body)["choices"][0]["finish_reason"] == "stop"


async def test_a_fault_takes_the_place_of_a_tool_call(client: httpx.AsyncClient) -> None:
    messages = [{"role": "user", "content": "use the tool"}]
    got, _ = await heard(client, "cut 2", stream=True, messages=messages, tools=[WEATHER])
    assert said(got) == "".join(LONG_TEXT[:2])
