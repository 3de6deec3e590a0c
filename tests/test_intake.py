"""A body on its way in: within its limits, never more of it held, and a refusal that is heard."""

import asyncio
from typing import Any

import pytest
from wired import account

from tiergate.errors import ClientGone, Overloaded, RequestTooLarge
from tiergate.intake import discard, read_body

LEFT = {"type": "http.disconnect"}


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Client:
    """An ASGI `receive` that brings these messages, one every `each` seconds, and then nothing."""

    def __init__(self, *messages: dict[str, Any], each: float = 0, repeat: bool = False) -> None:
        self.taken = 0
        self._messages, self._each, self._repeat = messages, each, repeat

    async def __call__(self) -> dict[str, Any]:
        if self.taken == len(self._messages) and not self._repeat:
            await asyncio.Event().wait()
        await asyncio.sleep(self._each)
        self.taken += 1
        return self._messages[(self.taken - 1) % len(self._messages)]


async def body_of(client: Client, *, announced: bytes | None = None, limit: int = 10) -> bytes:
    pairs = [(b"accept", b"*/*")]
    if announced is not None:
        pairs.append((b"content-length", announced))
    return await read_body(client, pairs, account(), max_bytes=limit)


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([part(b"whole", more=False)], b"whole"),
        ([part(b"in"), part(b""), part(b" three", more=False)], b"in three"),
        ([{"type": "http.request"}], b""),
        ([part(b"x" * 10, more=False)], b"x" * 10),
        ([part(b"x" * 10), part(b"", more=False)], b"x" * 10),
    ],
)
async def test_a_body_within_its_limit_is_read_whole(messages, body):
    assert await body_of(Client(*messages)) == body


@pytest.mark.parametrize("announced", [b"11", b"9" * 30, b"9" * 5_000_000])
async def test_a_body_that_announces_too_much_is_not_begun(announced):
    client = Client(part(b"x"))
    with pytest.raises(RequestTooLarge) as refusal:
        await body_of(client, announced=announced)
    assert client.taken == 0
    assert (refusal.value.status, refusal.value.code) == (413, "request_too_large")


@pytest.mark.parametrize("announced", [None, b"10", b"0", b"nonsense", b"-1", b""])
async def test_a_body_that_grows_too_large_is_cut_off_whatever_it_announced(announced):
    client = Client(part(b"x" * 4), repeat=True)  # endless
    with pytest.raises(RequestTooLarge):
        await body_of(client, announced=announced)
    assert client.taken == 3


async def test_a_client_that_leaves_before_the_end_is_gone():
    with pytest.raises(ClientGone):
        await body_of(Client(part(b"x"), LEFT))


async def test_a_body_that_the_process_has_no_room_for_is_shed_as_it_comes():
    client = Client(part(b"x" * 4), repeat=True)
    held = account(max_buffered_bytes=9)
    with pytest.raises(Overloaded):
        await read_body(client, [], held, max_bytes=100)
    assert client.taken == 3
    held.close()
    held.hold(9)  # what had come is given back


@pytest.mark.parametrize(
    ("client", "taken", "seconds"),
    [
        (Client(part(b"x"), part(b"y", more=False), part(b"next")), 2, 0),
        (Client(part(b"x"), LEFT), 2, 0),
        (Client(part(b"x")), 1, 1),
        (Client(part(b"x" * 1000), each=0.3, repeat=True), 3, 1),
    ],
)
async def test_what_still_comes_is_discarded_to_its_end_or_for_a_second(client, taken, seconds):
    await discard(client)
    assert client.taken == taken
    assert asyncio.get_running_loop().time() == pytest.approx(seconds)
