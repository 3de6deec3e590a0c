"""Health under any order of requests, verdicts and time: one live probe, bounded waits, no end.

A state machine of hypothesis, against the class itself; the clock is a number.
"""

from health_clock import ONE, PROBE_SECONDS, Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tiergate.config import HealthSettings
from tiergate.health import Health, Permit

NOBODY = Permit(("p1", "m1"), -2)
"""In place of a permit that was not given: of no epoch, it has no say."""


class Whatever(RuleBasedStateMachine):
    """Any order of requests, verdicts and time: one live probe, back-off below its cap, no end."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        settings = HealthSettings(failures_to_open=2, max_backoff_seconds=100)
        self.made = Health(settings, self.clock)
        self.probes: list[tuple[Permit, float]] = []

    @rule(target=permits)
    def ask(self):
        permit = self.made.admit(ONE, PROBE_SECONDS)
        if permit is None:
            assert self.made.seconds_left(ONE) > 0
            return NOBODY
        if permit.probe:
            assert not [end for _, end in self.probes if end > self.clock.now]
            self.probes.append((permit, self.clock.now + PROBE_SECONDS))
        return permit

    @rule(target=permits)
    def insist(self):
        if self.made.ailing():
            return self.made.last_resort(ONE)
        return NOBODY

    @rule(
        permit=consumes(permits),
        verdict=st.sampled_from(["failed", "failed", "succeeded", "released"]),
    )
    def judge(self, permit, verdict):
        getattr(self.made, verdict)(permit)
        self.probes = [each for each in self.probes if each[0] is not permit]

    @rule(permit=permits)
    def hear_a_token(self, permit):
        self.made.responds(permit)
        self.probes = [each for each in self.probes if each[0] is not permit]

    @rule(permit=consumes(permits), asked=st.sampled_from([0, 1, 99, 10_000]))
    def limit_the_rate(self, permit, asked):
        self.made.failed(permit, asked)
        self.probes = [each for each in self.probes if each[0] is not permit]

    @rule()
    def answer_in_the_background(self):
        self.made.ready_early("p1")

    @rule()
    def turn_off_and_on(self):
        self.made.reconfigure(HealthSettings(initial_backoff_seconds=0))
        assert self.made.ailing() == []
        self.made.reconfigure(HealthSettings(failures_to_open=2, max_backoff_seconds=100))
        self.probes.clear()

    @rule(seconds=st.sampled_from([0.5, 10, 14.5, 30, 100]))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def the_wait_is_bounded(self):
        assert 0 <= self.made.seconds_left(ONE) <= 100

    @invariant()
    def nobody_is_blocked_for_ever(self):
        left, now = self.made.seconds_left(ONE), self.clock.now
        self.clock.now += left
        assert self.made.admits(ONE)
        self.clock.now = now


Whatever.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestWhatever = Whatever.TestCase
