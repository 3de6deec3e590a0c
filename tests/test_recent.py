"""The ring of the last requests: bounded, newest first, and followed by readers that may be slow,
in another loop, or gone."""

import asyncio
import threading
import timeit

import pytest
from finished import record

from tiergate_sidecar.recent import BATCH, MOST_FOLLOWERS, Batch, Ring


def filled(size, count):
    ring = Ring(size)
    for number in range(count):
        client_id = "r2" if number == 4 else f"c{number % 2}"
        ring.finished(record(f"r{number}", client_id=client_id))
    return ring


def ids(records):
    return [each.id for each in records]


def test_only_the_last_are_kept_newest_first():
    ring = filled(3, 5)
    assert ids(ring.records()) == ["r4", "r3", "r2"]
    assert repr(ring) == "<Ring 3/3, 0 followers>"


@pytest.mark.parametrize(
    ("name", "found"),
    [("r3", "r3"), ("c0", "r2"), ("c1", "r3"), ("r2", "r2"), ("r1", None), ("", None)],
)
def test_a_request_is_found_by_our_id_and_else_the_last_by_the_clients(name, found):
    said = filled(3, 5).find(name)
    assert (said and said.id) == found


@pytest.mark.parametrize(
    ("after", "expected"),
    [(None, ["r2", "r3", "r4"]), ("r3", ["r4"]), ("r4", []), ("long-gone", ["r2", "r3", "r4"])],
)
async def test_a_follower_begins_behind_what_it_has_seen(after, expected):
    ring = filled(3, 5)
    with ring.follow(after) as follower:
        batch = await follower.next(1)
        assert (ids(batch.records), batch.missed) == (expected, 0)


async def test_a_follower_hears_at_once_of_a_request_that_ends():
    ring, loop = Ring(3), asyncio.get_running_loop()
    with ring.follow() as follower:
        assert repr(ring) == "<Ring 0/3, 1 followers>"
        loop.call_later(2, ring.finished, record("a"))
        assert ids((await follower.next(60)).records) == ["a"]
        assert loop.time() == pytest.approx(2)
        assert await follower.next(5) == Batch(())
        assert loop.time() == pytest.approx(7)
    assert repr(ring) == "<Ring 1/3, 0 followers>"


async def test_many_at_once_are_one_wake_up_and_read_in_bounded_batches():
    ring = Ring(1000)
    with ring.follow() as follower:
        for number in range(BATCH + 1):
            ring.finished(record(f"r{number}"))
        first, second = await follower.next(1), await follower.next(1)
        assert ids(first.records) == [f"r{number}" for number in range(BATCH)]
        assert ids(second.records) == [f"r{BATCH}"]


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many():
    ring = filled(3, 3)
    with ring.follow() as follower:
        assert len((await follower.next(1)).records) == 3
        for number in range(10):
            ring.finished(record(f"n{number}"))
        assert await follower.next(1) == Batch(tuple(reversed(ring.records())), missed=7)
        ring.finished(record("last"))
        assert ids((await follower.next(1)).records) == ["last"]


async def test_closing_ends_who_waits_and_who_comes():
    ring, loop = Ring(3), asyncio.get_running_loop()
    with ring.follow() as follower:
        loop.call_later(1, ring.close)
        assert await follower.next(60) is None
        assert loop.time() == pytest.approx(1)
        ring.finished(record("a"))
        assert await follower.next(60) is None
    assert ring.follow() is None
    assert ids(ring.records()) == ["a"]


async def test_only_so_many_follow_at_a_time():
    ring = Ring(3)
    followers = [ring.follow().__enter__() for _ in range(MOST_FOLLOWERS)]
    assert ring.follow() is None
    followers[0].__exit__()
    assert ring.follow() is not None


async def test_requests_may_end_in_another_thread():
    ring = Ring(3)
    with ring.follow() as follower:
        waiting = asyncio.create_task(follower.next(60))
        await asyncio.sleep(0)
        thread = threading.Thread(target=ring.finished, args=(record("a"),))
        thread.start()
        thread.join()
        assert ids((await waiting).records) == ["a"]


def test_a_follower_whose_loop_has_ended_is_let_go_of():
    ring = Ring(3)
    loop = asyncio.new_event_loop()

    async def follow_and_forget():
        ring.follow().__enter__()

    loop.run_until_complete(follow_and_forget())
    loop.close()
    ring.finished(record("a"))
    assert repr(ring) == "<Ring 1/3, 0 followers>"


def test_with_nobody_looking_a_record_costs_next_to_nothing():
    ring, one = filled(1000, 1000), record("a")
    cost = min(timeit.repeat(lambda: ring.finished(one), number=1000, repeat=20)) / 1000
    assert cost < 5e-6  # 0.2 µs here; the bound is one that a copy of the ring would break
