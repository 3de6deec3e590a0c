"""What ends a request from outside: a client that leaves, or silence, and nothing else."""

import asyncio
from collections.abc import Callable

import pytest

from tiergate_sidecar.vigil import LOOK_SECONDS, Awaited, Vigil


class Client:
    """A `receive` that says nothing until the client leaves; `pieces` come before that."""

    def __init__(self, leaves_after: float, pieces: int = 0) -> None:
        self.asked = 0
        self._leaves_after = leaves_after
        self._pieces = pieces

    async def __call__(self):
        self.asked += 1
        if self._pieces:
            self._pieces -= 1
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.sleep(self._leaves_after)
        return {"type": "http.disconnect"}


async def watched(client: Client, seconds: float, *, until: float = 3600, **given) -> Vigil:
    """A request that takes so long; raises `TimeoutError` when it is ended before."""
    vigil = Vigil(client)
    vigil.body_read = given.get("body_read", True)
    async with vigil:
        vigil.expect(Awaited.ANSWER, until)
        await asyncio.sleep(seconds)
    return vigil


def time() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("pieces", [0, 1])
@pytest.mark.parametrize("after", [0, LOOK_SECONDS / 2, 1, 100])
async def test_a_client_that_leaves_ends_it_within_a_second(after, pieces):
    begun = time()
    with pytest.raises(TimeoutError):
        await watched(Client(after, pieces), 1000)
    # It listens since its first look; real clients have left by then, this one begins to.
    assert time() - begun == pytest.approx(LOOK_SECONDS + after)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(("leaves_after", "left"), [(1, True), (1000, False)])
async def test_whether_the_client_left_or_somebody_was_silent_is_told_apart(leaves_after, left):
    vigil = Vigil(Client(leaves_after))
    vigil.body_read = True
    with pytest.raises(TimeoutError):
        await expecting(vigil, Awaited.READER)
    assert (vigil.client_left, vigil.awaited) == (left, Awaited.READER)


async def test_a_quick_answer_costs_no_listener():
    client = Client(0)
    await watched(client, LOOK_SECONDS * 0.9)
    assert client.asked == 0


async def test_nobody_listens_while_the_body_is_read_by_others():
    client = Client(0)
    await watched(client, 100, body_read=False)
    assert client.asked == 0


async def test_nobody_listens_to_the_end_of_the_answer():
    client, vigil = Client(1), None
    vigil = Vigil(client)
    vigil.body_read = True
    async with vigil:
        vigil.expect(Awaited.READER, 3600)
        await asyncio.sleep(LOOK_SECONDS * 1.1)
        vigil.stop_listening()
        await asyncio.sleep(100)
    assert (client.asked, vigil.client_left) == (1, False)


@pytest.mark.parametrize("seconds", [0.1, 1, 30])
async def test_silence_ends_it_at_the_next_look(seconds):
    begun = time()
    with pytest.raises(TimeoutError):
        await watched(Client(1000), 1000, until=seconds)
    assert seconds <= time() - begun <= seconds + LOOK_SECONDS


async def test_whatever_happens_in_time_lets_it_go_on():
    vigil = Vigil(Client(1000))
    async with vigil:
        for _ in range(20):
            vigil.expect(Awaited.ANSWER, 10)
            await asyncio.sleep(9)
        vigil.expect(Awaited.BODY, 3600)
        await asyncio.sleep(3000)


async def test_leaving_twice_or_when_all_is_over_changes_nothing():
    def leave_twice(vigil: Vigil) -> None:
        vigil.leave()
        vigil.leave()

    vigil, late = Vigil(Client(1000)), Vigil(Client(1000))
    with pytest.raises(TimeoutError):
        await expecting(vigil, Awaited.BODY, leave_twice)
    async with late:
        late.expect(Awaited.BODY, 10)
    late.leave()
    assert (vigil.client_left, late.client_left) == (True, False)
    await asyncio.sleep(100)


async def test_an_error_inside_is_not_hidden():
    def fail(_: Vigil) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await expecting(Vigil(Client(1000)), Awaited.BODY, fail)
    assert len(asyncio.all_tasks()) == 1


async def expecting(vigil: Vigil, awaited: Awaited, then: Callable[[Vigil], None] = id) -> None:
    async with vigil:
        vigil.expect(awaited, 10)
        then(vigil)
        await asyncio.sleep(100)
