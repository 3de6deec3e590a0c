"""The other ends of what is measured: a client, a provider that answers at once, a collector.

    python bench/ends.py provider|collector [PORT [PAUSE]]

PAUSE is in seconds, between two chunks of a stream; without one they follow each other at once.
Prints `role:port` and serves until it is ended. All do as little as they can: what is measured is
not here.
"""

import asyncio
import json
import sys
from functools import partial

import uvloop

CHUNKS, MANY_CHUNKS = 50, 500
"""The two lengths of a stream; a request asks for one by its `max_tokens`."""

CLIENTS = 8

CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[%s]}\n\n'
)
USAGE = b'"usage":{"prompt_tokens":60,"completion_tokens":50,"total_tokens":110}'
ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],%s}' % USAGE
)


async def load(port: int, body: bytes, requests: int) -> None:
    """So many requests over `CLIENTS` connections; raises when an answer is none."""
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    asked, left = head.encode() + body, iter(range(requests))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port), limit=2**20)
        for _ in left:
            writer.write(asked)
            await _answer(reader)
        writer.close()

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"no answer: {head!r}")
    length = head.lower().partition(b"content-length:")[2]
    if length:
        await reader.readexactly(int(length.split(b"\r\n")[0]))
    else:
        await reader.readuntil(b"data: [DONE]\n\n")
        await reader.readuntil(b"0\r\n\r\n")


def stream(chunks: int) -> list[bytes]:
    """Each event as a chunk of HTTP of its own, as a provider that writes token by token."""
    said = b'{"index":0,"delta":{"content":"token"},"finish_reason":null}'
    events = [CHUNK % said] * chunks
    events.append(CHUNK % b'{"index":0,"delta":{},"finish_reason":"stop"}')
    events += [b'data: {"choices":[],%s}\n\n' % USAGE, b"data: [DONE]\n\n"]
    return [b"%x\r\n%b\r\n" % (len(event), event) for event in events] + [b"0\r\n\r\n"]


async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n"
    whole = ok % (b"application/json", b"Content-Length: %d\r\n" % len(ANSWER)) + ANSWER
    begins = ok % (b"text/event-stream", b"Transfer-Encoding: chunked\r\n")
    streams = {count: stream(count) for count in (CHUNKS, MANY_CHUNKS)}
    try:
        while asked := await _request(reader):
            said = json.loads(asked)
            if not said.get("stream"):
                writer.write(whole)
                continue
            writer.write(begins)
            for event in streams[said["max_tokens"]]:
                writer.write(event)
                await asyncio.sleep(pause)  # a write of its own each
    finally:  # of a body that is no JSON, too: before 3.11.7 asyncio would leave it open
        writer.close()


async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await _request(reader):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request; empty when there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        return await reader.readexactly(int(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def listen(role: str, port: float = 0, pause: float = 0) -> None:
    """Until whoever started this ends it."""
    serve = {"provider": partial(provide, pause=pause), "collector": collect}[role]
    server = await asyncio.start_server(serve, "127.0.0.1", int(port), limit=2**22, backlog=2048)
    print(f"{role}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    role, *given = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(listen(role, *map(float, given)))
