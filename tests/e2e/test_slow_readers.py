"""Clients that read slowly, or not at all.

The promise: who reads gets everything, however long it takes; who has stopped is ended by the send
timeout, gives its place back, and nobody blames the provider.
"""

import asyncio
import json
import socket

import pytest
from e2e.support import DONE, completing, connected, event, gatewayed, recording, serving

from tiergate_sidecar.rawhttp import Call

MIB = 1 << 20


@pytest.mark.parametrize("mode", ["json", "buffered"])
async def test_a_client_that_reads_slowly_gets_all_of_a_long_answer(mode):
    """The send timeout asks whether it reads at all, not whether it has read everything in time."""
    text = "w" * 500_000
    events = event(text) * 24 + event("", "stop") + DONE

    async def say_much(call: Call) -> None:
        if mode == "json":
            await completing(text * 24)(call)
        else:
            await call.respond(200, events, content_type="text/event-stream")

    loop = asyncio.get_running_loop()
    streaming = {"max_buffer_bytes": 32 * MIB}
    limits = {"send_timeout_seconds": 0.4}
    async with recording(say_much) as upstream:
        app = gatewayed(upstream.base_url, limits=limits, streaming=streaming)
        async with serving(app) as url, connected(url, read_limit=1024) as client:
            client.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536
            )
            begun = loop.time()
            await client.post(*asking(mode), "Connection: close")
            said = bytearray()
            while piece := await client.reader.read(262_144):
                said += piece
                await asyncio.sleep(len(piece) / 10e6)  # so many bytes a second
            assert loop.time() - begun > 3 * limits["send_timeout_seconds"]
            assert said.count(b"w") >= 24 * 500_000
            assert (b"[DONE]" in said) == (mode == "buffered")
            assert not app.gateway.health.ailing()


@pytest.mark.parametrize("mode", ["json", "off", "first_token", "buffered"])
async def test_a_client_that_stops_reading_is_ended_by_the_send_timeout(mode):
    """Its connection ends, its place is free again, and the provider is not blamed."""
    much = event("z" * 500_000)
    sent = asyncio.Event()

    async def say_much(call: Call) -> None:
        if mode == "json":
            await completing("z" * 30 * MIB)(call)
        else:
            await call.start(200, [("content-type", "text/event-stream")])
            for _ in range(60):
                await call.send(much)
            await call.send(event("", "stop") + DONE)
            await call.finish()
        sent.set()

    loop = asyncio.get_running_loop()
    async with recording(say_much) as upstream:
        app = gatewayed(upstream.base_url, limits={"send_timeout_seconds": 0.4})
        async with serving(app) as url, connected(url) as client:
            client.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536
            )
            begun = loop.time()
            await client.post(*asking(mode))
            client.writer.transport.pause_reading()
            await upstream.calls()
            while app.gateway.capacity.in_flight:
                assert loop.time() - begun < 5
                await asyncio.sleep(0.02)
            assert loop.time() - begun >= 0.4
            assert app.gateway.capacity.held_bytes == 0
            assert not app.gateway.health.ailing()


def asking(mode: str) -> tuple[bytes | str, ...]:
    """The body and the header of a request in that mode."""
    body = json.dumps({"model": "small", "messages": [], "stream": mode != "json"}).encode()
    return (body,) if mode == "json" else (body, f"X-Sentinel-Stream-Failover: {mode}")
