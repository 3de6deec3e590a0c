"""Whatever a client sends, it gets an answer in the one shape, no provider is asked in vain, the
process holds no more of it than the limit, and nothing is ever a 500 or a traceback."""

import asyncio
import json
import logging
import os
import random
from pathlib import Path

import httpx
import pytest
from e2e.support import (
    CHAT,
    HELLO,
    RawClient,
    connected,
    error_of,
    gatewayed,
    recording,
    serving,
)

from tiergate import Caller, Refused
from tiergate_sidecar.mock import MockProviders

MIB = 1024 * 1024
OK = json.dumps(HELLO)


def said(**members) -> str:
    return json.dumps({**HELLO, **members})


# fmt: off
BODIES = [  # what, body, param
    ("nothing", "", None), ("no JSON", "hello", None), ("half", OK[:-1], None),
    ("two documents", OK + OK, None), ("an array", f"[{OK}]", None), ("a number", "1", None),
    ("null", "null", None), ("NaN", '{"messages":[],"x":NaN}', None),
    ("a BOM", b"\xef\xbb\xbf" + OK.encode(), None), ("UTF-16", OK.encode("utf-16"), None),
    ("broken UTF-8", b'{"messages":["\xff"]}', None),
    ("a lone surrogate's bytes", b'{"messages":["\xed\xa0\x80"]}', None),
    ("deep nesting", '{"messages":' + "[" * 200_000 + "]" * 200_000 + "}", None),
    ("deep nesting elsewhere", '{"messages":[],"x":' + '{"a":' * 200_000, None),
    ("no messages", '{"model":"simple"}', "messages"),
    ("messages null", '{"messages":null}', "messages"),
    ("messages an object", '{"messages":{}}', "messages"),
    ("messages a text", '{"messages":"[]"}', "messages"),
    ("a bad tier", said(tier="huge"), "tier"), ("tier a number", said(tier=1), "tier"),
    ("tier in capitals", said(tier="Simple"), "tier"), ("tier empty", said(tier=""), "tier"),
    ("stream a text", said(stream="true"), "stream"), ("stream a number", said(stream=1), "stream"),
    ("model a number", said(model=5), "model"), ("model a list", said(model=["simple"]), "model"),
    ("conversation a number", said(conversation_id=5), "conversation_id"),
    ("conversation empty", said(conversation_id=""), "conversation_id"),
    ("conversation too long", said(conversation_id="c" * 257), "conversation_id"),
    ("conversation with control characters", said(conversation_id="a\nb"), "conversation_id"),
]
HEADERS = [
    ("X-Sentinel-Tier", "huge"), ("X-Sentinel-Tier", ""), ("X-Sentinel-Tier", b"\xff"),
    ("X-Sentinel-Conversation", "c" * 257), ("X-Sentinel-Conversation", b"\xff\xfe"),
    ("X-Sentinel-Deadline-Ms", "0"), ("X-Sentinel-Deadline-Ms", "-5"),
    ("X-Sentinel-Deadline-Ms", "1.5"), ("X-Sentinel-Deadline-Ms", "1e3"),
    ("X-Sentinel-Deadline-Ms", "9" * 30), ("X-Sentinel-Deadline-Ms", "soon"),
    ("X-Sentinel-Deadline-Ms", "٣".encode()), ("X-Arbstr-Policy", "cheap"),
    ("X-Sentinel-Stream-Failover", "sometimes"), ("Idempotency-Key", "k" * 256),
    ("Idempotency-Key", b"\xc3\xa9"),
]
# fmt: on


def check_refusal(answer: httpx.Response, status: int, code: str, param: str | None) -> None:
    error = error_of(answer.content)
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.headers["x-arbstr-request-id"]) == 36
    assert answer.headers["x-arbstr-latency-ms"].isdigit()
    assert "x-arbstr-provider" not in answer.headers


async def test_every_body_that_is_no_chat_request_is_refused_by_name_before_any_call():
    async with (
        recording() as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        for what, body, param in BODIES:
            answer = await client.post(url + CHAT, content=body)
            assert answer.status_code == 400, what
            check_refusal(answer, 400, "invalid_request", param)
    assert upstream.received == []


async def test_every_malformed_header_of_ours_is_refused_by_name_before_any_call():
    async with (
        recording() as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        for name, value in HEADERS:
            answer = await client.post(url + CHAT, json=HELLO, headers=[(name, value)])
            assert answer.status_code == 400, (name, value)
            check_refusal(answer, 400, "invalid_request", name)
    assert upstream.received == []


@pytest.mark.parametrize("members", [{}, {"conversation_id": "ü" * 256}, {"tier": "moderate"}])
async def test_null_for_a_member_of_ours_means_absent(members):
    nulls = dict.fromkeys(["tier", "model", "stream", "conversation_id", "stream_options"])
    async with (
        recording() as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        answer = await client.post(url + CHAT, json={**HELLO, **nulls, **members})
    assert answer.status_code == 200
    assert answer.headers["x-sentinel-tier"] == members.get("tier", "simple")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x"])
async def test_an_encoded_body_is_415(encoding):
    async with (
        recording() as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        answer = await client.post(
            url + CHAT, content=b"\x1f\x8b", headers={"content-encoding": encoding}
        )
    check_refusal(answer, 415, "unsupported_encoding", "Content-Encoding")
    assert upstream.received == []


async def test_a_body_that_does_not_end_in_time_is_408():
    limits = {"body_timeout_seconds": 0.2}
    async with (
        recording() as upstream,
        serving(gatewayed(upstream.base_url, limits=limits)) as url,
        connected(url) as client,
    ):
        await client.say(
            f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{{".encode()
        )
        status, headers, body = await client.answer()
    error = error_of(body)
    assert (status, error["code"], error["type"]) == (
        408,
        "request_timeout",
        "invalid_request_error",
    )
    assert len(headers["x-arbstr-request-id"]) == 36
    assert upstream.received == []


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_limit_is_exact_announced_or_not(size, status, chunked):
    frame = '{"messages":[],"pad":""}'
    body = frame.replace('""', '"' + "x" * (size - len(frame)) + '"').encode()

    async def pieces():
        yield body

    limits = {"max_body_bytes": 1000}
    async with recording() as upstream:
        app = gatewayed(upstream.base_url, limits=limits)
        async with serving(app) as url, httpx.AsyncClient() as client:
            answer = await client.post(url + CHAT, content=pieces() if chunked else body)
    assert answer.status_code == status
    if status == 413:
        check_refusal(answer, 413, "request_too_large", None)
    assert len(upstream.received) == (status == 200)


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("framing", ["Content-Length: 10737418240", "Transfer-Encoding: chunked"])
async def test_a_10_gib_body_is_cut_off_at_the_limit_without_being_stored(framing):
    piece = b"x" * MIB
    if "chunked" in framing:
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    async with (
        recording() as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        connected(url) as client,
    ):
        before = most = resident()
        answer = asyncio.create_task(client.answer())
        await client.say(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
        sent = 0
        while not answer.done() and sent < 10_240 * MIB:
            await client.say(piece)
            sent += len(piece)
            most = max(most, resident())
        status, headers, body = await answer
    assert (status, error_of(body)["code"]) == (413, "request_too_large")
    assert len(headers["x-arbstr-request-id"]) == 36
    assert sent < 64 * MIB
    assert most - before < 32 * MIB
    assert upstream.received == []


async def flood(client: RawClient, piece: bytes) -> None:
    while True:
        await client.say(piece)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("framing", ["Content-Length: 10737418240", "Transfer-Encoding: chunked"])
async def test_what_still_comes_after_a_413_is_read_for_a_second_and_no_longer(framing):
    piece = b"x" * 65_536
    if "chunked" in framing:
        piece = b"%x\r\n%s\r\n" % (len(piece), piece)
    app = gatewayed("http://127.0.0.1:9/v1", limits={"max_body_bytes": 1000})
    async with serving(app) as url, connected(url) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode()
        await client.say(head + piece)
        assert (await client.head())[0] == 413
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(client, piece), timeout=3)


async def test_the_caller_is_asked_before_the_body_is_looked_at():
    async def nobody(scope) -> Caller:
        raise Refused(401)

    app = gatewayed("http://127.0.0.1:9/v1", authorize=nobody)
    async with serving(app) as url, httpx.AsyncClient() as client:
        answer = await client.post(url + CHAT, content="not JSON")
    error = error_of(answer.content)
    assert (answer.status_code, error["code"]) == (401, "invalid_api_key")


def random_bytes(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(200))
    text = bytearray(said(tier="simple", stream=False, user="u" * 60, n=1).encode())
    for _ in range(chance.randrange(1, 4)):  # a good request with a few bytes changed
        text[chance.randrange(len(text))] = chance.randrange(256)
    return bytes(text)


def random_value(chance: random.Random, depth: int = 0):
    simple = [
        None, True, False, 0, -1, 1.5, 10**40, 1e308, "", "simple", "complex", "small", "\x00",
        "é😀", "x" * 300, [], {}, [[]], {"include_usage": 1}, {"include_usage": None},
    ]  # fmt: skip
    if depth > 3 or chance.random() < 0.6:
        return chance.choice(simple)
    count = chance.randrange(4)
    if chance.random() < 0.5:
        return [random_value(chance, depth + 1) for _ in range(count)]
    return {chance.choice(NAMES): random_value(chance, depth + 1) for _ in range(count)}


NAMES = [
    "tier", "model", "stream", "stream_options", "include_usage", "conversation_id", "messages",
    "max_tokens", "max_completion_tokens", "n", "role", "content", "tools", "error", "", "\ud800",
]  # fmt: skip


def random_document(chance: random.Random) -> bytes:
    document = random_value(chance)
    if chance.random() < 0.8:
        count = chance.randrange(6)
        document = {chance.choice(NAMES): random_value(chance) for _ in range(count)}
        if chance.random() < 0.8:
            document["messages"] = [{"role": "user", "content": random_value(chance)}]
    return json.dumps(document, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")


@pytest.mark.parametrize("make", [random_bytes, random_document])
async def test_ten_thousand_random_bodies_are_no_500_and_no_traceback(make, caplog):
    chance = random.Random(20_260)
    statuses: dict[int, int] = {}
    caplog.set_level(logging.WARNING)
    async with MockProviders(now=lambda: 0, token_delay_seconds=0) as mock:
        app = gatewayed(mock.base_url("mock-a"))
        async with serving(app) as url, connected(url) as client:
            for number in range(10_000):
                body = make(chance)
                await client.post(body)
                status, headers, answer = await client.answer()
                statuses[status] = statuses.get(status, 0) + 1
                assert status in (200, 400, 404), f"{number}: {body!r} {answer!r}"
                assert "x-arbstr-request-id" in headers
                if status != 200:
                    error_of(answer)
    assert caplog.records == []
    assert sum(statuses.values()) == 10_000
    assert min(statuses.get(200, 0), statuses.get(400, 0)) > 100  # both sides were seen
