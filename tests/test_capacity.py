"""What a process takes on is bounded, refused at once beyond it, and given back to the last."""

import asyncio

import pytest
from wired import ask, world

from tiergate.capacity import Capacity
from tiergate.config import Limits
from tiergate.errors import Overloaded
from tiergate.testing import Say


def test_places_are_given_until_all_are_taken_and_given_back():
    capacity = Capacity(Limits(max_in_flight=2))
    with capacity:
        with capacity:
            with pytest.raises(Overloaded) as refused, capacity:
                pytest.fail("there is no third place")
            assert capacity.in_flight == 2
        with capacity:
            assert capacity.in_flight == 2
    assert capacity.in_flight == 0
    assert (refused.value.status, refused.value.code) == (503, "overloaded")
    assert refused.value.retry_after == 1


def test_a_place_is_given_back_after_a_failure_too():
    capacity = Capacity(Limits(max_in_flight=1))
    with pytest.raises(KeyError), capacity:
        raise KeyError
    with capacity:
        assert capacity.in_flight == 1
    assert capacity.in_flight == 0


def test_bytes_are_bounded_over_all_requests_together():
    capacity = Capacity(Limits(max_buffered_bytes=10))
    first, second = capacity.account(), capacity.account()
    first.hold(6)
    second.hold(4)
    with pytest.raises(Overloaded) as refused:
        second.hold(1)
    assert (refused.value.code, refused.value.retry_after) == ("overloaded", 1)
    assert capacity.held_bytes == 10  # what was refused is not held
    first.drop(2)
    second.hold(2)
    assert capacity.held_bytes == 10


def test_closing_an_account_gives_all_of_it_back_and_only_once():
    capacity = Capacity(Limits(max_buffered_bytes=10))
    first, second = capacity.account(), capacity.account()
    first.hold(5)
    first.drop(1)
    second.hold(3)
    first.close()
    assert capacity.held_bytes == 3
    first.close()
    assert capacity.held_bytes == 3
    first.hold(7)  # it may be used again
    first.close()
    second.close()
    assert capacity.held_bytes == 0


def test_it_says_how_full_it_is():
    capacity = Capacity(Limits())
    with capacity:
        capacity.account().hold(12)
        assert repr(capacity) == "<Capacity 1 requests, 12 bytes held>"


async def test_a_request_beyond_the_places_is_refused_at_once_and_a_later_one_served():
    made = world({"p1": Say.completion(after=1)}, limits={"max_in_flight": 2})
    answers = await asyncio.gather(*[ask(made, stream=False) for _ in range(5)])
    assert [heard.status for heard in answers] == [200, 200, 503, 503, 503]
    refused = answers[-1]
    assert (refused.code, refused.headers["retry-after"]) == ("overloaded", "1")
    assert len(made.asked()) == 2
    assert (await ask(made, stream=False)).status == 200
    assert made.clean


def test_other_limits_hold_for_whoever_comes_from_then_on():
    capacity = Capacity(Limits(max_in_flight=2, max_buffered_bytes=10))
    account = capacity.account()
    account.hold(9)
    with capacity, capacity:
        capacity.reconfigure(Limits(max_in_flight=1, max_buffered_bytes=5))
        assert capacity.in_flight == 2
        with pytest.raises(Overloaded), capacity:
            pytest.fail("there is one place only")
    with pytest.raises(Overloaded):
        capacity.account().hold(1)
    account.close()
    with capacity:
        capacity.account().hold(5)
