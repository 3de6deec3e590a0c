"""Streams over real sockets: each event goes on before the next is sent, with its own bytes,
however the wire cuts them; a client that leaves ends the provider's work within a second; one
that does not read holds the provider back."""

import asyncio
import contextlib
import json
import socket

import httpx
import pytest
from e2e.support import (
    CHAT,
    DONE,
    HELLO,
    completing,
    connected,
    event,
    gatewayed,
    recording,
    routed,
    serving,
    silent,
    streaming,
)
from starlette.applications import Starlette

from tiergate import Gateway, TierMiddleware
from tiergate.transport import AiohttpTransport

STREAM = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
SHORT = (event("one"), event("two", "stop"), DONE)
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'

FRAMINGS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


def framed(end: bytes) -> bytes:
    """A stream with comments, several data lines, no space after the colon, and long characters."""
    lines = [
        b": ping", b"", event("Zoë").strip(), b"",
        b"id: 1", b"event: message", 'data:{"choices":[{"delta":{"content":"😀'.encode() + b'"}}],',
        b'data: "x" : 1.10 }', b"", b": " + "müde".encode(), event("", "stop").strip(), b"", USAGE,
        b"", b"data:[DONE]", b"", b"",
    ]  # fmt: skip
    return end.join(lines)


class NotingTransport(AiohttpTransport):
    """Real connections; `pieces` has, per request, the pieces in which its answer was read."""

    def __init__(self):
        super().__init__()
        self.pieces = []

    async def post(self, endpoint, headers, body):
        answer = await super().post(endpoint, headers, body)
        self.pieces.append([])
        return NotingAnswer(answer, self.pieces[-1])


class NotingAnswer:
    def __init__(self, answer, pieces):
        self.status, self.headers, self.close = answer.status, answer.headers, answer.close
        self._answer, self._pieces = answer, pieces

    async def read(self):
        piece = await self._answer.read()
        self._pieces.append(piece)
        return piece


@pytest.mark.parametrize("kind", ["httpx", "raw"])
async def test_fifty_chunks_each_arrive_before_the_next_is_sent(kind):
    pieces = [event(f"chunk {number} é") for number in range(49)] + [event("", "stop")]
    read = asyncio.Semaphore(0)

    async def gated(call):
        await call.start(200, [("content-type", "text/event-stream")])
        for piece in pieces:
            await call.send(piece)
            async with asyncio.timeout(5):
                await read.acquire()  # the client has it
        await call.send(DONE)
        await call.finish()

    async with recording(gated) as upstream, serving(gatewayed(upstream.base_url)) as url:
        if kind == "httpx":
            async with (
                httpx.AsyncClient() as client,
                client.stream("POST", url + CHAT, json=STREAM) as answer,
            ):
                arrived = []
                async for piece in answer.aiter_raw():
                    arrived.append(piece)
                    read.release()
        else:
            async with connected(url) as client:
                await client.post(json.dumps(STREAM).encode())
                await client.head()
                arrived = []
                while piece := await client.chunk():
                    arrived.append(piece)
                    read.release()
    assert arrived == [*pieces, DONE]


async def test_the_headers_of_a_stream():
    async with (
        recording(streaming(*SHORT)) as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        answer = await client.post(url + CHAT, json=STREAM)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-arbstr-streaming"] == "true"
    assert "x-arbstr-latency-ms" not in answer.headers
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("end", FRAMINGS.values(), ids=FRAMINGS)
async def test_a_stream_is_byte_for_byte_the_same_at_every_split_of_its_framing(end):
    whole = framed(end)
    script = [streaming(whole[:cut], whole[cut:]) for cut in range(1, len(whole))]
    seen = NotingTransport()
    async with recording(*script) as upstream:
        gateway = Gateway(routed(upstream.base_url), transport=seen)
        app = TierMiddleware(Starlette(), gateway=gateway, authorize="open")
        async with serving(app) as url, connected(url) as client:
            for cut in range(1, len(whole)):
                await client.post(json.dumps(STREAM).encode())
                status, _, body = await client.answer()
                assert (status, body) == (200, whole), f"cut at {cut}"
    assert upstream.server.connections <= 2  # the client is on before the last bytes are drained
    arrived_cut = sum(pieces[:1] == [whole[:cut]] for cut, pieces in enumerate(seen.pieces, 1))
    assert arrived_cut > 0.95 * len(whole)  # a few may meet on a busy machine


@pytest.mark.parametrize("end", FRAMINGS.values(), ids=FRAMINGS)
async def test_a_stream_is_the_same_byte_by_byte(end):
    whole = framed(end)
    pieces = [whole[at : at + 1] for at in range(len(whole))]
    async with (
        recording(streaming(*pieces)) as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        answer = await client.post(url + CHAT, json=STREAM)
    assert answer.content == whole


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize(
    ("handler", "body", "chunks"),
    [
        (silent, HELLO, 0),
        (silent, STREAM, 0),
        (streaming(event("one"), event("two"), hang=True), STREAM, 2),
        (streaming(b"data: {", hang=True), STREAM, 0),
    ],
    ids=["no answer", "no first byte", "mid-stream", "half an event"],
)
async def test_a_client_that_leaves_ends_the_upstream_call_within_a_second(
    handler, body, chunks, reset
):
    async with recording(handler) as upstream, serving(gatewayed(upstream.base_url)) as url:
        async with connected(url) as client:
            await client.post(json.dumps(body).encode())
            (call,) = await upstream.calls()
            if chunks:
                await client.head()
            for _ in range(chunks):
                await client.chunk()
            if reset:
                linger = client.writer.get_extra_info("socket")
                linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert not call.gone.is_set()
        async with asyncio.timeout(1):
            await call.gone.wait()
    assert len(upstream.received) == 1


async def test_a_client_that_leaves_between_two_attempts_is_not_served_any_further():
    retry = {"backoff_seconds": 30, "deadline_seconds": 100}
    async with recording() as upstream:
        failed = asyncio.Event()

        async def refuse(call):
            await call.respond(503)
            failed.set()

        upstream.script = [refuse]
        async with (
            serving(gatewayed(upstream.base_url, retry=retry)) as url,
            connected(url) as client,
        ):
            await client.post(json.dumps(HELLO).encode())
            await failed.wait()
    # `serving` has seen the request's task end: nobody waits for the 30 s
    assert len(upstream.received) == 1


async def test_the_connection_to_the_provider_is_used_again_after_a_finished_stream():
    async with (
        recording(streaming(*SHORT), completing(), streaming(*SHORT)) as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        for body in (STREAM, HELLO, STREAM):
            assert (await client.post(url + CHAT, json=body)).status_code == 200
    assert [call.connection for call in upstream.received] == [1, 1, 1]


async def test_a_provider_that_ends_late_does_not_hold_the_client_up():
    gate = asyncio.Event()

    async def lingering(call):
        await call.start(200, [("content-type", "text/event-stream")])
        await call.send(b"".join(SHORT))
        await gate.wait()
        await call.finish()

    async with (
        recording(lingering) as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        connected(url) as client,
    ):
        await client.post(json.dumps(STREAM).encode())
        _, _, body = await client.answer()  # whole, though the provider has not finished
        gate.set()
    assert body == b"".join(SHORT)


async def test_a_client_that_does_not_read_holds_the_provider_back_until_it_is_given_up():
    written = 0
    piece = event("x" * 60_000)

    async def flood(call):
        nonlocal written
        await call.start(200, [("content-type", "text/event-stream")])
        while True:  # a gateway without back-pressure would take it all, for ever
            await call.send(piece)
            written += len(piece)

    limits = {"send_timeout_seconds": 0.5}
    async with recording(flood) as upstream:
        app = gatewayed(upstream.base_url, limits=limits)
        async with serving(app) as url, connected(url, read_limit=1024) as client:
            await client.post(json.dumps(STREAM).encode())
            (call,) = await upstream.calls()
            async with asyncio.timeout(10):
                await call.gone.wait()
    assert 100_000 < written < 32 * 1024 * 1024


async def test_a_client_that_reads_slowly_gets_everything_in_order():
    pieces = [event(f"{number} " * 5_000) for number in range(400)]  # 6 MB: more than buffers hold

    async with (
        recording(streaming(*pieces, *SHORT)) as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        connected(url) as client,
    ):
        await client.post(json.dumps(STREAM).encode())
        await client.head()
        arrived = b""
        while piece := await client.chunk():
            arrived += piece
            await asyncio.sleep(0)
    assert arrived == b"".join([*pieces, *SHORT])


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("hang up", "stream_interrupted"),
        ("reset", "stream_interrupted"),
        ("stall", "stream_stalled"),
    ],
)
async def test_a_stream_that_breaks_after_it_began_ends_with_one_error_and_no_done(end, code):
    async def breaking(call):
        await call.start(200, [("content-type", "text/event-stream")])
        await call.send(event("one") + b'data: {"half')
        with contextlib.suppress(ConnectionError):
            await begun.wait()
        if end == "stall":
            await call.gone.wait()
        elif end == "reset":
            call.reset()
        else:
            await call.hang_up()

    begun = asyncio.Event()
    async with recording(breaking) as upstream:
        app = gatewayed(upstream.base_url, streaming={"idle_timeout_seconds": 0.2})
        async with serving(app) as url, connected(url) as client:
            await client.post(json.dumps(STREAM).encode())
            await client.head()
            assert await client.chunk() == event("one")
            begun.set()
            last = await client.chunk()
            assert await client.chunk() == b""  # a clean end
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert (error["code"], error["provider"]) == (code, "p1")


@pytest.mark.parametrize(
    ("handler", "status"),
    [(completing(), 502), (streaming(), 502), (silent, 504)],
    ids=["no event stream", "empty", "silent"],
)
async def test_a_stream_that_never_begins_is_an_error_with_its_status(handler, status):
    async with recording(handler) as upstream:
        app = gatewayed(upstream.base_url, streaming={"first_token_timeout_seconds": 0.3})
        async with serving(app) as url, httpx.AsyncClient() as client:
            answer = await client.post(url + CHAT, json=STREAM)
    assert answer.status_code == status
    assert answer.headers["x-arbstr-streaming"] == "true"
    assert answer.headers["content-type"] == "application/json"
    assert len(upstream.received) == 1
