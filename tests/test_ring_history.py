"""History over the last requests in memory: what a database would find, without one."""

from past import ALL, PAST, check

from tiergate_sidecar.queries import Query
from tiergate_sidecar.recent import Ring
from tiergate_sidecar.ring_history import RingHistory


async def test_everything_is_found_as_it_was_asked_for():
    ring = Ring(100)
    for each in PAST:
        ring.finished(each)
    await check(RingHistory(ring))


async def test_requests_that_ended_out_of_turn_are_in_the_order_of_their_arrival():
    ring = Ring(100)
    for each in (PAST[2], PAST[0], PAST[1]):
        ring.finished(each)
    page = await RingHistory(ring).requests(Query(**ALL))
    assert [row.id for row in page.data] == ["c", "b", "a"]


async def test_what_the_ring_has_forgotten_is_not_there():
    ring = Ring(2)
    for each in PAST:
        ring.finished(each)
    history = RingHistory(ring)
    assert (await history.requests(Query(**ALL))).total == 2
    assert await history.request("b") is None
