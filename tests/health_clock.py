"""Health of two providers and two models, over a clock that is a number which the test moves."""

from tiergate.candidates import Candidate
from tiergate.config import HealthSettings
from tiergate.health import Health, Permit

ONE = Candidate("p1", "m1", 1)
OTHER_MODEL = Candidate("p1", "m2", 1)
OTHER_PROVIDER = Candidate("p2", "m1", 1)
PROBE_SECONDS = 15


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def health(**given) -> tuple[Health, Clock]:
    clock = Clock()
    return Health(HealthSettings(**given), clock), clock


def admit(made: Health, candidate: Candidate = ONE) -> Permit:
    permit = made.admit(candidate, PROBE_SECONDS)
    assert permit is not None
    return permit


def fail(made: Health, clock: Clock, times: int = 1) -> None:
    """So many failed requests, each as soon as it is admitted."""
    for _ in range(times):
        clock.now += made.seconds_left(ONE)
        made.failed(admit(made))
