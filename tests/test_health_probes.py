"""After a back-off one request is the probe, and only its verdict decides: CONTRACT section 6.

Also what shortens the way there: a good answer in the background, the last resort.
"""

import pytest
from health_clock import ONE, OTHER_MODEL, OTHER_PROVIDER, PROBE_SECONDS, admit, fail, health

from tiergate.health import CandidateHealth, State


def test_of_twenty_requests_at_the_end_of_a_back_off_one_is_the_probe():
    made, clock = health()
    fail(made, clock)
    clock.now += 30
    permits = [made.admit(ONE, PROBE_SECONDS) for _ in range(20)]
    assert [permit is not None for permit in permits] == [True] + [False] * 19
    assert permits[0].probe
    assert made.state(ONE) is State.PROBING
    assert not made.admits(ONE)
    made.succeeded(permits[0])
    assert [admit(made).probe for _ in range(20)] == [False] * 20


def test_a_failed_probe_is_the_next_step():
    made, clock = health()
    fail(made, clock)
    clock.now += 500
    made.failed(admit(made))
    assert made.ailing() == [CandidateHealth("p1", "m1", "backing off", 2, 60)]


def test_a_probe_without_a_verdict_leaves_its_place_to_the_next():
    made, clock = health()
    fail(made, clock)
    clock.now += 30
    first = admit(made)
    made.released(first)
    assert made.ailing() == [CandidateHealth("p1", "m1", "backing off", 1, 0)]
    assert admit(made).probe
    assert made.admit(ONE, PROBE_SECONDS) is None
    made.released(first)  # twice, and the place is another's by now
    assert made.admit(ONE, PROBE_SECONDS) is None


def test_a_probe_that_nobody_ends_expires_and_has_no_say_afterwards():
    made, clock = health()
    fail(made, clock)
    clock.now += 30
    lost = admit(made)
    clock.now += PROBE_SECONDS - 0.1
    assert made.admit(ONE, PROBE_SECONDS) is None
    clock.now += 0.1
    second = admit(made)
    made.failed(lost)
    assert (made.state(ONE), made.ailing()[0].failures) == (State.PROBING, 1)
    made.succeeded(second)
    assert made.state(ONE) is State.AVAILABLE


def test_an_expired_probe_that_answers_before_another_begins_still_counts():
    made, clock = health()
    fail(made, clock)
    clock.now += 30
    slow = admit(made)
    clock.now += 60
    made.succeeded(slow)
    assert not admit(made).probe


def test_a_probing_stream_admits_others_at_its_first_token_and_is_judged_at_its_end():
    made, clock = health()
    fail(made, clock, 2)
    clock.now += 60
    stream = admit(made)
    made.responds(stream)
    assert not admit(made).probe
    made.released(stream)  # its client left: no verdict, and the failures stay
    made.failed(admit(made))
    assert made.ailing() == [CandidateHealth("p1", "m1", "backing off", 3, 120)]


def test_a_probing_stream_that_completes_erases_the_failures():
    made, clock = health()
    fail(made, clock, 2)
    clock.now += 60
    stream = admit(made)
    made.responds(stream)
    made.succeeded(stream)
    fail(made, clock)
    assert made.seconds_left(ONE) == 30


# --- background probes, last resort


def test_a_good_answer_in_the_background_makes_a_provider_ready_for_its_probe():
    made, clock = health()
    for candidate in (ONE, OTHER_MODEL, OTHER_PROVIDER):
        made.failed(admit(made, candidate))
    clock.now += 1
    made.ready_early("p1")
    assert [made.seconds_left(each) for each in (ONE, OTHER_MODEL, OTHER_PROVIDER)] == [0, 0, 29]
    probe = admit(made)
    assert probe.probe
    made.ready_early("p1")  # the probe that is under way stays the only one
    assert made.admit(ONE, PROBE_SECONDS) is None
    made.failed(probe)
    assert made.seconds_left(ONE) == 60
    assert made.state(OTHER_PROVIDER) is State.BACKING_OFF


def test_ready_early_does_not_move_the_end_of_a_back_off_that_has_passed():
    made, clock = health()
    fail(made, clock)
    clock.now += 40
    made.ready_early("p1")
    assert (made.seconds_left(ONE), made.state(ONE)) == (0, State.BACKING_OFF)


def test_a_last_resort_is_admitted_in_back_off_and_its_verdict_counts():
    made, clock = health()
    fail(made, clock)
    made.failed(made.last_resort(ONE))
    assert made.seconds_left(ONE) == 60
    made.released(made.last_resort(ONE))
    assert made.seconds_left(ONE) == 60
    made.succeeded(made.last_resort(ONE))
    assert made.state(ONE) is State.AVAILABLE


@pytest.mark.parametrize("verdict", ["failed", "succeeded", "released", "responds"])
def test_a_last_resort_beside_anothers_probe_does_not_decide_for_it(verdict):
    made, clock = health()
    fail(made, clock)
    clock.now += 30
    probe, desperate = admit(made), made.last_resort(ONE)
    assert desperate.probe  # one attempt, like a probe
    getattr(made, verdict)(desperate)
    assert (made.state(ONE), made.admit(ONE, PROBE_SECONDS)) == (State.PROBING, None)
    made.succeeded(probe)
    assert made.state(ONE) is State.AVAILABLE
