"""Bodies within their limits: size packed and unpacked, all at a time, types; and how a refusal
looks to an API server."""

import asyncio
import gzip

import pytest
from admission_reviews import status_of
from starlette.requests import ClientDisconnect, Request

from tiergate_sidecar.webhook_body import BadRequest, Bodies, answered

JSON = {"content-type": "application/json"}
GZIP = JSON | {"content-encoding": "gzip"}


def request(*pieces, headers=JSON, left=False):
    """A request whose body comes in pieces; `left`: its client does not send the last."""
    messages = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
    end = {"type": "http.disconnect"} if left else {"type": "http.request", "body": b""}
    script = [*messages, end]

    async def receive():
        return script.pop(0)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs, "method": "POST"}, receive)


async def read(bodies, asked):
    async with bodies.of(asked) as body:
        return body


async def refusal(bodies, asked):
    with pytest.raises(BadRequest) as refused:
        await read(bodies, asked)
    assert bodies.held == 0
    return refused.value.status, refused.value.reason


@pytest.mark.parametrize(
    "headers",
    [
        JSON,
        {"content-type": "Application/JSON; charset=utf-8", "content-encoding": "identity"},
    ],
)
async def test_a_body_comes_in_pieces_and_is_held_until_it_is_done_with(headers):
    bodies = Bodies(largest=10)
    async with bodies.of(request(b"12345", b"67890", headers=headers)) as body:
        assert (body, bodies.held) == (b"1234567890", 10)
    assert bodies.held == 0


async def test_gzip_is_unpacked_within_the_same_limit():
    bodies = Bodies(largest=1000)
    assert await read(bodies, request(gzip.compress(b"a" * 1000), headers=GZIP)) == b"a" * 1000
    packed = gzip.compress(b"a" * 1001)
    assert await refusal(bodies, request(packed, headers=GZIP)) == (413, "too_large")
    bomb = gzip.compress(b"\0" * 30_000_000)
    assert len(bomb) > 1000
    assert await refusal(Bodies(largest=100_000), request(bomb, headers=GZIP)) == (413, "too_large")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}") + b"more",
        gzip.compress(b"{}")[:-6] + b"\0\0\0\0\0\0",
    ],
)
async def test_what_is_not_one_whole_gzip_stream_is_malformed(body):
    assert await refusal(Bodies(), request(body, headers=GZIP)) == (400, "malformed")


async def test_what_is_too_large_is_read_to_its_end_and_not_kept():
    asked = request(b"12345", b"678901", b"more", b"and more")
    assert await refusal(Bodies(largest=10), asked) == (413, "too_large")
    with pytest.raises(IndexError):  # nothing of it is left to read
        await asked.receive()


async def test_all_bodies_at_a_time_have_a_limit_too():
    bodies = Bodies(largest=10, most=15)
    async with bodies.of(request(b"1234567890")):
        assert bodies.held == 10
        with pytest.raises(BadRequest) as refused:
            await read(bodies, request(b"123456"))
        assert (refused.value.status, refused.value.reason) == (503, "overloaded")
        assert await read(bodies, request(b"12345")) == b"12345"
    assert await read(bodies, request(b"123456")) == b"123456"


async def test_what_was_packed_is_counted_as_it_is_unpacked():
    packed = gzip.compress(b"\0" * 10_000)
    bodies = Bodies(largest=10_000, most=15_000)
    async with bodies.of(request(packed, headers=GZIP)):
        assert bodies.held == len(packed) + 10_000
        with pytest.raises(BadRequest) as refused:
            await read(bodies, request(packed, headers=GZIP))
        assert refused.value.reason == "overloaded"
        assert bodies.held == len(packed) + 10_000
    assert bodies.held == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/vnd.kubernetes.protobuf"},
        JSON | {"content-encoding": "br"},
        JSON | {"content-encoding": "gzip, gzip"},
    ],
)
async def test_what_is_not_json_is_not_read(headers):
    assert await refusal(Bodies(), request(headers=headers)) == (415, "content_type")


async def test_a_client_that_leaves_leaves_nothing_held():
    bodies = Bodies()
    with pytest.raises(ClientDisconnect):
        await read(bodies, request(b"123", left=True))
    assert bodies.held == 0


async def test_a_caller_whose_time_is_over_leaves_nothing_held():
    bodies, held = Bodies(), []

    async def receive():
        if not held:
            held.append(1)
            return {"type": "http.request", "body": b"123", "more_body": True}
        await asyncio.Event().wait()
        raise AssertionError

    slow = Request(request().scope, receive)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await read(bodies, slow)
    assert bodies.held == 0


@pytest.mark.parametrize("close", [True, False])
def test_a_refusal_is_a_status_of_kubernetes(close):
    response = answered(BadRequest(413, "too_large", "Longer than 9 bytes.", close=close))
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/json"
    assert response.headers.get("connection") == ("close" if close else None)
    status = status_of(response.body)
    assert (status["code"], status["message"]) == (413, "tiergate: Longer than 9 bytes.")
