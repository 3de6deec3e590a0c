"""Health remembers failures and nothing else: CONTRACT section 6, one table row a test, no waiting.

Probes are `test_health_probes`'s, any order of everything `test_health_bounds`'s.
"""

import pytest
from health_clock import ONE, OTHER_MODEL, OTHER_PROVIDER, PROBE_SECONDS, admit, fail, health

from tiergate.config import HealthSettings
from tiergate.health import CandidateHealth, Permit, State

# --- back-off


def test_nobody_known_means_everybody_available():
    made, _ = health()
    assert made.state(ONE) is State.AVAILABLE
    assert made.admits(ONE)
    assert admit(made) == Permit(("p1", "m1"), 0, probe=False)
    assert (made.seconds_left(ONE), made.ailing()) == (0, [])


def test_back_off_doubles_to_its_cap():
    made, clock = health()
    waits = []
    for _ in range(7):
        fail(made, clock)
        waits.append(made.seconds_left(ONE))
    assert waits == [30, 60, 120, 240, 300, 300, 300]


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        ({"initial_backoff_seconds": 5, "multiplier": 3, "max_backoff_seconds": 40}, [5, 15, 40]),
        ({"multiplier": 1}, [30, 30, 30]),
        ({"initial_backoff_seconds": 50, "max_backoff_seconds": 20}, [20, 20, 20]),
    ],
    ids=["steeper", "constant", "begins at its cap"],
)
def test_back_off_is_configurable(given, waits):
    made, clock = health(**given)
    seen = []
    for _ in waits:
        fail(made, clock)
        seen.append(made.seconds_left(ONE))
    assert seen == waits


@pytest.mark.parametrize("multiplier", [2, 10])
def test_two_hundred_failures_in_a_row_are_300_seconds(multiplier):
    made, clock = health(multiplier=multiplier)
    fail(made, clock, 200)
    assert (made.seconds_left(ONE), made.ailing()[0].failures) == (300, 200)
    assert made.admits(OTHER_MODEL)
    clock.now += 300
    made.succeeded(admit(made))
    assert made.state(ONE) is State.AVAILABLE


def test_in_back_off_nobody_is_admitted_until_its_end():
    made, clock = health()
    fail(made, clock)
    clock.now += 29.9
    assert not made.admits(ONE)
    assert made.admit(ONE, PROBE_SECONDS) is None
    clock.now += 0.1
    assert made.admits(ONE)
    assert admit(made).probe


def test_other_pairs_are_unaffected():
    made, clock = health()
    fail(made, clock, 3)
    assert made.admits(OTHER_MODEL)
    assert made.admits(OTHER_PROVIDER)


def test_success_erases_the_failures():
    made, clock = health()
    fail(made, clock, 4)
    clock.now += 240
    made.succeeded(admit(made))
    assert not admit(made).probe
    fail(made, clock)
    assert made.seconds_left(ONE) == 30


def test_a_success_of_somebody_unknown_leaves_nothing_behind():
    made, _ = health()
    made.succeeded(admit(made))
    made.released(admit(made))
    made.responds(admit(made))
    assert repr(made) == "<Health all available>"


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(None, 30), (7, 7), (300, 300), (86_400, 300), (0, 0)],
    ids=["absent", "short", "the cap", "a day", "none"],
)
def test_retry_after_is_the_back_off_up_to_the_cap(asked, waited):
    made, _ = health()
    made.failed(admit(made), asked)
    assert made.seconds_left(ONE) == waited
    assert made.state(ONE) is State.BACKING_OFF


def test_health_can_be_turned_off():
    made, clock = health(initial_backoff_seconds=0)
    fail(made, clock, 10)
    made.failed(admit(made), 60)
    assert not admit(made).probe
    assert made.ailing() == []


# --- how many failures it takes


def test_it_may_take_several_failures_in_a_row():
    made, clock = health(failures_to_open=3)
    fail(made, clock, 2)
    assert made.state(ONE) is State.AVAILABLE
    made.succeeded(admit(made))
    fail(made, clock, 2)
    assert made.admits(ONE)
    fail(made, clock)
    assert made.seconds_left(ONE) == 30
    fail(made, clock)
    assert made.seconds_left(ONE) == 60


def test_a_probing_stream_that_breaks_after_others_succeeded_is_one_failure_of_three():
    made, clock = health(failures_to_open=3)
    fail(made, clock, 3)
    clock.now += 30
    stream = admit(made)
    made.responds(stream)
    made.succeeded(admit(made))
    made.failed(stream)
    assert made.state(ONE) is State.AVAILABLE


# --- old news


def test_ten_parallel_failures_are_one_step():
    made, _ = health()
    permits = [admit(made) for _ in range(10)]
    for permit in permits:
        made.failed(permit)
    assert made.ailing() == [CandidateHealth("p1", "m1", "backing off", 1, 30)]


def test_ten_parallel_failures_after_a_recovery_are_one_step():
    made, clock = health()
    fail(made, clock, 3)
    clock.now += 120
    made.succeeded(admit(made))
    for permit in [admit(made) for _ in range(10)]:
        made.failed(permit)
    assert made.seconds_left(ONE) == 30


@pytest.mark.parametrize("verdict", ["failed", "succeeded", "released", "responds"])
@pytest.mark.parametrize("at", [10, 30, 31], ids=["during", "at its end", "while probing"])
def test_a_late_verdict_from_before_the_back_off_is_ignored(verdict, at):
    made, clock = health()
    late = admit(made)
    fail(made, clock)
    clock.now += at
    if at > 30:
        admit(made)
    before = (made.state(ONE), made.seconds_left(ONE), made.ailing())
    getattr(made, verdict)(late)
    assert (made.state(ONE), made.seconds_left(ONE), made.ailing()) == before


# --- as a status line


def test_its_repr_is_a_status_line():
    made, clock = health()
    assert repr(made) == "<Health all available>"
    fail(made, clock, 2)
    made.failed(admit(made, OTHER_PROVIDER))
    clock.now += 30
    made.admit(OTHER_PROVIDER, PROBE_SECONDS)
    assert repr(made) == ("<Health p1/m1 backing off 30 s after 2, p2/m1 probing 15 s after 1>")


# --- a configuration that changes


def test_other_settings_judge_from_then_on_and_who_is_in_back_off_stays_there():
    made, clock = health()
    fail(made, clock)
    made.reconfigure(HealthSettings(initial_backoff_seconds=5, failures_to_open=2))
    assert made.seconds_left(ONE) == 30
    made.failed(admit(made, OTHER_PROVIDER))
    assert made.admits(OTHER_PROVIDER)
    made.failed(admit(made, OTHER_PROVIDER))
    assert made.seconds_left(OTHER_PROVIDER) == 5


@pytest.mark.parametrize(("cap", "left"), [(20, 20), (100, 60)], ids=["below", "above"])
def test_a_back_off_longer_than_a_new_cap_ends_at_the_cap(cap, left):
    made, clock = health()
    fail(made, clock, 2)
    made.reconfigure(HealthSettings(max_backoff_seconds=cap))
    assert made.seconds_left(ONE) == left
    clock.now += left
    admit(made)
    made.reconfigure(HealthSettings(max_backoff_seconds=1))
    assert made.seconds_left(ONE) == PROBE_SECONDS


def test_turned_off_it_forgets_who_was_ailing_and_a_probe_under_way_has_no_say():
    made, clock = health(failures_to_open=2)
    fail(made, clock, 2)
    clock.now += 30
    probe, before = admit(made), made.admit(OTHER_PROVIDER, PROBE_SECONDS)
    made.failed(admit(made, OTHER_PROVIDER))
    made.reconfigure(HealthSettings(initial_backoff_seconds=0))
    assert made.ailing() == []
    assert not admit(made).probe
    made.reconfigure(HealthSettings())
    made.failed(probe)
    made.released(probe)
    assert made.of([ONE, OTHER_PROVIDER]) == [
        CandidateHealth("p1", "m1", "available", 0, 0),
        CandidateHealth("p2", "m1", "available", 0, 0),
    ]
    made.failed(before)
    assert made.ailing() == []
    fail(made, clock)
    assert made.seconds_left(ONE) == 30


def test_who_is_no_longer_configured_is_forgotten_and_the_others_are_not():
    made, clock = health()
    fail(made, clock)
    made.failed(admit(made, OTHER_MODEL))
    late = admit(made, OTHER_PROVIDER)
    made.retain([ONE, OTHER_PROVIDER])
    assert [(each.provider, each.model) for each in made.ailing()] == [("p1", "m1")]
    assert made.admits(OTHER_MODEL)
    made.succeeded(late)
    made.retain([])
    assert made.ailing() == []
    for verdict in (made.succeeded, made.responds, made.released):
        verdict(late)  # of a request that ran meanwhile
    assert made.ailing() == []


def test_everybody_asked_after_is_told_of_in_that_order():
    made, clock = health(failures_to_open=2)
    fail(made, clock)
    made.failed(admit(made, OTHER_MODEL))
    made.failed(admit(made, OTHER_MODEL))
    assert made.of([OTHER_PROVIDER, OTHER_MODEL, ONE]) == [
        CandidateHealth("p2", "m1", "available", 0, 0),
        CandidateHealth("p1", "m2", "backing off", 2, 30),
        CandidateHealth("p1", "m1", "available", 1, 0),
    ]
