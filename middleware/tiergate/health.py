"""Which candidates may be asked now: per (provider, model), from what this process saw itself.

    AVAILABLE ── failures in a row ──▶ BACKING_OFF ── time passed, one request ──▶ PROBING
        ▲                                   ▲                                         │
        │                                   └──────────────── failed ─────────────────┤
        └──────────────────────────────────── answered ───────────────────────────────┘

A probe that expires, or whose client left, goes back to a back-off whose time has passed. All
transitions are in `_Record`; nothing here sends, waits or knows why an attempt failed.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from msgspec import Struct

from tiergate.candidates import AVAILABLE, Candidate
from tiergate.config import HealthSettings

Key = tuple[str, str]

_LARGEST_EXPONENT: Final = 64
"""Capped before it is used: the ancestor's clock overflowed at the 61st failure in a row."""
_NO_EPOCH: Final = -1


class State(Enum):
    """Where a candidate stands."""

    AVAILABLE = AVAILABLE
    BACKING_OFF = "backing off"
    PROBING = "probing"


class Permit(Struct, frozen=True):
    """Leave to send to one candidate, to be given back with a verdict or without one.

    `epoch` tells whether the back-off that it was given in is still the present one: verdicts from
    before are old news. A `probe` is the one request that tries a candidate after its back-off.
    """

    key: Key
    epoch: int
    probe: bool = False


class CandidateHealth(Struct, frozen=True):
    """How a candidate stands: failures in a row, seconds of back-off left."""

    provider: str
    model: str
    state: str
    failures: int
    seconds_left: float


class _Record:
    """One candidate. `until` is the end of a back-off, or the expiry of a probe."""

    def __init__(self) -> None:
        self.state = State.AVAILABLE
        self.failures = 0
        self.until = 0.0
        self.epoch = 0

    def back_off(self, until: float) -> None:
        self.state = State.BACKING_OFF
        self.until = until
        self.epoch += 1

    def probe(self, expires: float) -> None:
        self.state = State.PROBING
        self.until = expires
        self.epoch += 1

    def recover(self) -> None:
        self.state = State.AVAILABLE

    def forget(self) -> None:
        """As if nothing had been heard of it; verdicts on what was asked before are old news."""
        self.state = State.AVAILABLE
        self.failures = 0
        self.epoch += 1

    def await_probe(self, since: float) -> None:
        """In back-off with its time passed: the next request is the probe."""
        self.state = State.BACKING_OFF
        self.until = since

    def admits(self, now: float) -> bool:
        """Also a back-off that has passed, and a probe that has expired, let one more try."""
        return self.state is State.AVAILABLE or self.until <= now


class Health:
    """The memory of failures. Read when planning and before every send, written by verdicts.

    `on_failure` hears of every verdict that counts, by provider and model.
    """

    def __init__(self, settings: HealthSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._records: dict[Key, _Record] = {}
        self.on_failure: Callable[[str, str], None] = _nobody

    def __repr__(self) -> str:
        lines = [
            f"{a.provider}/{a.model} {a.state} {a.seconds_left:.0f} s after {a.failures}"
            for a in self.ailing()
        ]
        return f"<Health {', '.join(lines) or 'all available'}>"

    @property
    def is_calm(self) -> bool:
        """Whether nothing bad is remembered of anybody: everybody is available."""
        return not self._records

    def state(self, candidate: Candidate) -> State:
        record = self._records.get(_key(candidate))
        return State.AVAILABLE if record is None else record.state

    def admits(self, candidate: Candidate) -> bool:
        """Whether a request may be sent now; takes nothing."""
        record = self._records.get(_key(candidate))
        return record is None or record.admits(self._clock())

    def seconds_left(self, candidate: Candidate) -> float:
        """Of its back-off or of the probe that is under way; 0 when it may be asked."""
        record = self._records.get(_key(candidate))
        if record is None or record.state is State.AVAILABLE:
            return 0.0
        return max(0.0, record.until - self._clock())

    def ailing(self) -> list[CandidateHealth]:
        """Everybody who is not available."""
        now = self._clock()
        return [
            CandidateHealth(*key, record.state.value, record.failures, max(0.0, record.until - now))
            for key, record in self._records.copy().items()  # metrics ask from a thread of theirs
            if record.state is not State.AVAILABLE
        ]

    def of(self, candidates: Iterable[Candidate]) -> list[CandidateHealth]:
        """How each of them stands, whether or not anything was ever heard of it."""
        ailing = {(each.provider, each.model): each for each in self.ailing()}
        return [
            ailing.get(_key(candidate))
            or CandidateHealth(
                *_key(candidate), State.AVAILABLE.value, self._failures(candidate), 0
            )
            for candidate in candidates
        ]

    def _failures(self, candidate: Candidate) -> int:
        record = self._records.get(_key(candidate))
        return record.failures if record is not None else 0

    def admit(self, candidate: Candidate, probe_seconds: float) -> Permit | None:
        """Leave to send now, or None: in back-off, or being probed by another request.

        A probe expires after `probe_seconds`, the time that one attempt may take.
        """
        key, now = _key(candidate), self._clock()
        record = self._records.get(key)
        if record is None or record.state is State.AVAILABLE:
            return Permit(key, record.epoch if record else 0)
        if not record.admits(now):
            return None
        record.probe(now + probe_seconds)
        return Permit(key, record.epoch, probe=True)

    def last_resort(self, candidate: Candidate) -> Permit:
        """Leave to send although it is in back-off; its verdicts count as those of a probe do.

        Beside the probe of another request it has no say: that probe is the one that decides.
        """
        record = self._records[_key(candidate)]
        epoch = _NO_EPOCH if record.state is State.PROBING else record.epoch
        return Permit(_key(candidate), epoch, probe=True)

    def succeeded(self, permit: Permit) -> None:
        """It answered: its failures are forgotten."""
        record = self._current(permit)
        if record is not None:
            record.recover()
            record.failures = 0

    def responds(self, permit: Permit) -> None:
        """A stream has its first token: a probe ends here, but it has yet to complete."""
        record = self._current(permit)
        if record is not None:
            record.recover()

    def failed(self, permit: Permit, retry_after: float | None = None) -> None:
        """The request has left it, and it was the provider's fault; `retry_after` in seconds."""
        settings = self._settings
        if settings.initial_backoff_seconds == 0:  # health is off
            return
        record = self._current(permit) or self._new(permit)
        if record is None:
            return
        record.failures += 1
        self.on_failure(*permit.key)
        beyond = record.failures - settings.failures_to_open
        if beyond < 0:
            return
        grown = settings.multiplier ** min(beyond, _LARGEST_EXPONENT)
        wait = settings.initial_backoff_seconds * grown if retry_after is None else retry_after
        record.back_off(self._clock() + min(wait, settings.max_backoff_seconds))

    def released(self, permit: Permit) -> None:
        """No verdict: the client left, or the request was at fault."""
        record = self._current(permit)
        if record is not None and record.state is State.PROBING:
            record.await_probe(self._clock())

    def ready_early(self, provider: str) -> None:
        """A provider answered in the background: its candidates may be probed by a request."""
        for key, record in self._records.items():
            if key[0] == provider and record.state is State.BACKING_OFF:
                record.await_probe(min(record.until, self._clock()))

    def reconfigure(self, settings: HealthSettings) -> None:
        """Judge by other settings from now on.

        What is in back-off stays there, no longer than the new cap; turned off, health forgets.
        """
        self._settings = settings
        cap = self._clock() + settings.max_backoff_seconds
        for record in self._records.values():
            if settings.initial_backoff_seconds == 0:
                record.forget()
            elif record.state is State.BACKING_OFF:
                record.until = min(record.until, cap)

    def retain(self, candidates: Iterable[Candidate]) -> None:
        """Forget everybody else: who is no longer configured has no health."""
        kept = {_key(candidate) for candidate in candidates}
        self._records = {key: each for key, each in self._records.items() if key in kept}

    def _current(self, permit: Permit) -> _Record | None:
        record = self._records.get(permit.key)
        return record if record is not None and record.epoch == permit.epoch else None

    def _new(self, permit: Permit) -> _Record | None:
        if permit.key in self._records:
            return None  # of an earlier epoch
        return self._records.setdefault(permit.key, _Record())


def _nobody(provider: str, model: str) -> None:
    del provider, model


def _key(candidate: Candidate) -> Key:
    return (candidate.provider, candidate.model)
