"""Asking the fake providers over a real socket, and taking apart what they said."""

import asyncio
import json
from typing import Any

import httpx

from tiergate_sidecar.mock import MockProviders

HELLO = [{"role": "user", "content": "hello there"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {}}}


def asking(stream: bool = False, **more: Any) -> dict[str, Any]:
    return {"model": "mock-small", "messages": HELLO, "stream": stream, **more}


async def ask(
    client: httpx.AsyncClient,
    fault: str | None = None,
    provider: str = "mock-a",
    key: str | None = None,
    **more: Any,
) -> httpx.Response:
    headers = {"x-mock-fault": fault, "idempotency-key": key}
    return await client.post(
        f"/{provider}/v1/chat/completions",
        json=asking(**more),
        headers={name: value for name, value in headers.items() if value is not None},
    )


async def heard(client: httpx.AsyncClient, fault: str, **more: Any) -> tuple[bytes, bool]:
    """What of an answer arrived, and whether it ended as it should."""
    got = bytearray()
    request = client.stream(
        "POST",
        "/mock-a/v1/chat/completions",
        json=asking(**more),
        headers={"x-mock-fault": fault},
    )
    try:
        async with request as answer:
            assert answer.status_code == 200
            async for piece in answer.aiter_raw():
                got += piece
    except httpx.RemoteProtocolError:
        return bytes(got), False
    return bytes(got), True


async def heard_until_silence(
    client: httpx.AsyncClient, fault: str, **more: Any
) -> tuple[httpx.Response, bytes]:
    got = bytearray()
    request = client.stream(
        "POST",
        "/mock-a/v1/chat/completions",
        json=asking(**more),
        headers={"x-mock-fault": fault},
        timeout=httpx.Timeout(5, read=0.2),
    )
    async with request as answer:
        try:
            async for piece in answer.aiter_raw():
                got += piece
        except httpx.ReadTimeout:
            return answer, bytes(got)
    raise AssertionError("the answer came to an end")


async def everyone_gone(mock: MockProviders) -> None:
    async with asyncio.timeout(5):
        while mock.server.open:
            await asyncio.wait(mock.server.open)


def events(stream: bytes) -> list[Any]:
    """Every whole event: JSON decoded, or its text where it is not JSON."""
    frames = stream.split(b"\n\n")[:-1]
    assert all(frame.startswith(b"data: ") for frame in frames)
    return [_decoded(frame.removeprefix(b"data: ")) for frame in frames]


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode()


def said(stream: bytes, index: int = 0) -> str:
    chunks = [event for event in events(stream) if isinstance(event, dict)]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    mine = [choice["delta"] for choice in choices if choice["index"] == index]
    return "".join(delta.get("content") or "" for delta in mine)


def finishes(stream: bytes) -> list[str]:
    chunks = [event for event in events(stream) if isinstance(event, dict)]
    found = [c["finish_reason"] for chunk in chunks for c in chunk.get("choices", ())]
    return [finish for finish in found if finish]
