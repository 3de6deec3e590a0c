"""Telling what becomes of each request: traces begin and end here, observers hear of its end.

A broken observer cannot break a request. What is told is in `record`; what observers make of it is
theirs.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from tiergate.exchange import Exchange
from tiergate.metrics import Metrics
from tiergate.record import Record, outcome_of, record_of
from tiergate.telemetry import Telemetry

_log = logging.getLogger("tiergate")


class Observer(Protocol):
    """Hears of every request of ours whose body was read, when it has ended. Must not wait."""

    def finished(self, record: Record) -> None: ...


class Reporter:
    """The observers of a gateway. `clock` is monotonic, in seconds."""

    def __init__(self, metrics: Metrics, telemetry: Telemetry, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._telemetry = telemetry
        self._clock = clock
        self._observers: tuple[Observer, ...] = ()
        self._broken: set[int] = set()  # by identity: not every object has a hash

    def add(self, observer: Observer) -> None:
        self._observers = (*self._observers, observer)

    def remove(self, observer: Observer) -> None:
        self._observers = tuple(each for each in self._observers if each is not observer)
        self._broken.discard(id(observer))

    def began(self, exchange: Exchange, path: str, scheme: str, paths: frozenset[str]) -> None:
        """A request has arrived; where spans are made, its own begins. `paths` are ours."""
        exchange.trace = self._telemetry.begin(exchange, path, scheme, paths)

    def ended(self, exchange: Exchange) -> None:
        """A request has ended; told once, however often this is called, if it was ours."""
        if exchange.is_reported or not exchange.is_ours:
            return
        exchange.is_reported = True
        record = None
        # Each of the three alone: what one cannot tell, the others may.
        try:
            if exchange.is_read:
                record = record_of(exchange, self._clock() - exchange.arrived)
        except Exception:  # noqa: BLE001  # the request itself has been served
            self._complain(exchange)
        try:
            if record is not None:
                self._metrics.finished(record, exchange.events_dropped)
            elif not exchange.is_read:
                self._metrics.refused(exchange.error_code)
        except Exception:  # noqa: BLE001  # likewise
            self._complain(exchange)
        if exchange.trace is not None:
            try:
                self._telemetry.end(exchange, outcome_of(exchange))
            except Exception:  # noqa: BLE001  # likewise
                self._complain(exchange)
        if record is not None:
            for observer in self._observers:
                self._tell(observer, record)

    def _complain(self, exchange: Exchange) -> None:
        _log.exception("request %s: reporting it failed", exchange.id)

    def _tell(self, observer: Observer, record: Record) -> None:
        try:
            observer.finished(record)
        except Exception:  # noqa: BLE001  # anybody's code
            if id(observer) not in self._broken:  # once: likely it is so for every request
                self._broken.add(id(observer))
                _log.exception("an observer of requests is broken: %r", observer)
