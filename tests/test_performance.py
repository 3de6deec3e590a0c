"""What a request costs, counted in calls of functions: the same on every machine, however busy.

`bench/` has the times. A bound here is what was counted when it was written, and a margin;
whoever adds work to every request or every chunk meets it, and either finds less to do or raises
it in the same change. What is not imported is `test_public.py`'s.
"""

import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import pytest
from wired import DONE, ROLE, STOP, token, world

from tiergate import TierMiddleware
from tiergate.testing import Say, ScriptedTransport

PER_REQUEST = 334
"""Calls of Python and of C that were counted for one whole JSON answer."""

PER_CHUNK = 38
"""The same for one more chunk of a stream that has begun."""

MARGIN = 1.15
"""For another version of Python or of a library."""

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello"}]}'
STREAMED = BODY[:-1] + b', "stream": true}'
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/chat/completions",
    "headers": [(b"host", b"h"), (b"content-type", b"application/json"), (b"accept", b"*/*")],
}


class AtOnce(ScriptedTransport):
    """Says everything without waiting, so that none of the calls is the event loop's."""

    def __init__(self, said: Say) -> None:
        super().__init__({"p1": said})
        self._said = said

    async def post(self, endpoint: Any, headers: Any, body: bytes) -> Any:
        return _AllThere(self._said)


class _AllThere:
    def __init__(self, said: Say) -> None:
        self.status = said.status
        self.headers = ((b"Content-Type", said.content_type.encode()),)
        self._pieces = iter(said.pieces)

    async def read(self) -> bytes:
        return next(self._pieces, b"")

    def close(self) -> None:
        return


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """A host app that does nothing: what is counted beside it is ours."""


async def calls(work: Callable[[], Awaitable[None]]) -> int:
    """Of functions, in Python and in C, until it has ended."""
    counted: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        counted[event] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        await work()
    finally:
        sys.setprofile(before)
    return counted["call"] + counted["c_call"]


async def calls_of_a_request(body: bytes, said: Say) -> int:
    """The fewest of some: the first fills caches."""
    gateway = world({"p1": said}, transport=AtOnce(said)).gateway
    app = TierMiddleware(nothing, gateway=gateway, authorize="open")
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    counted = []
    for _ in range(4):
        sent.clear()
        counted.append(await calls(lambda: app(dict(SCOPE), receive, send)))
        assert sent[0]["status"] == 200
        assert not sent[-1].get("more_body")
    return min(counted)


@pytest.mark.parametrize(
    ("scope", "most"),
    [
        ({"type": "http", "method": "GET", "path": "/v1/chat/completions"}, 1),
        ({"type": "websocket", "path": "/v1/chat/completions"}, 1),
        ({"type": "http", "method": "POST", "path": "/hello"}, 4),
    ],
    ids=["another method", "another protocol", "another path"],
)
async def test_the_host_apps_other_routes_pay_a_comparison(scope, most):
    app = TierMiddleware(nothing, gateway=world({"p1": Say()}).gateway, authorize="open")
    plain = await calls(lambda: nothing(scope, None, None))
    assert await calls(lambda: app(scope, None, None)) - plain <= most


async def test_a_request_makes_no_more_calls_than_it_did():
    assert await calls_of_a_request(BODY, Say.completion()) <= PER_REQUEST * MARGIN


async def test_a_chunk_makes_no_more_calls_than_it_did():
    def stream(chunks: int) -> Say:
        return Say.stream(ROLE, *[token("a")] * chunks, STOP, DONE)

    few, many = [await calls_of_a_request(STREAMED, stream(chunks)) for chunks in (20, 120)]
    assert (many - few) / 100 <= PER_CHUNK * MARGIN
