"""What becomes of a request is told once, to everybody, and nobody who listens can break it."""

import logging
from typing import Any

import pytest
from wired import account

from tiergate.exchange import Exchange
from tiergate.metrics import Metrics
from tiergate.record import Record
from tiergate.reporting import Reporter
from tiergate.telemetry import Telemetry


class Heard:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def finished(self, record: Record) -> None:
        self.records.append(record)


class Broken:
    """One that cannot even be told apart by its hash."""

    __hash__ = None  # type: ignore[assignment]

    def finished(self, record: Record) -> None:
        raise RuntimeError("broken")


class World:
    def __init__(self, metrics: Metrics | None = None) -> None:
        self.metrics = metrics or Metrics()
        self.reporter = Reporter(self.metrics, Telemetry(), lambda: 107.5)
        self.heard = Heard()

    def end(self, **members: Any) -> Exchange:
        """Tell of the end of a request that arrived at 100; by default it was read and served."""
        exchange = Exchange("id-1", 100.0, [], account(), **{"is_read": True, **members})
        exchange.status = 200
        self.reporter.ended(exchange)
        return exchange

    def counted(self) -> tuple[float, float]:
        """Requests that ended, and those that were refused."""
        ended, refused = self.metrics.requests.read(), self.metrics.refusals.read()
        return sum(ended.values()), sum(refused.values())


def test_a_request_is_told_of_once_however_often_it_ends():
    world = World()
    world.reporter.add(world.heard)
    world.reporter.ended(world.end())
    assert [record.latency_us for record in world.heard.records] == [7_500_000]
    assert world.counted() == (1, 0)


def test_everybody_hears_the_same_record_in_the_order_they_came():
    world, other = World(), Heard()
    world.reporter.add(world.heard)
    world.reporter.add(other)
    world.end()
    assert world.heard.records[0] is other.records[0]


def test_whoever_was_removed_hears_no_more():
    world, other = World(), Heard()
    world.reporter.add(world.heard)
    world.reporter.add(other)
    world.reporter.remove(world.heard)
    world.reporter.remove(Heard())
    world.end()
    assert (len(world.heard.records), len(other.records)) == (0, 1)


def test_what_was_refused_unread_is_counted_by_its_code_and_nobody_hears():
    world = World()
    world.reporter.add(world.heard)
    for code in ("request_too_large", None):
        world.reporter.ended(world.end(is_read=False, error_code=code))
    assert world.heard.records == []
    assert world.metrics.refusals.read() == {("request_too_large",): 1, ("client_disconnected",): 1}
    assert world.counted() == (0, 2)


def test_what_is_not_ours_is_told_only_when_it_becomes_ours_after_all():
    world = World()
    world.reporter.add(world.heard)
    exchange = world.end(is_ours=False)
    assert (world.heard.records, world.counted()) == ([], (0, 0))
    exchange.is_ours = True
    world.reporter.ended(exchange)
    assert (len(world.heard.records), world.counted()) == (1, (1, 0))


def test_each_broken_observer_is_logged_once_and_the_others_hear(caplog):
    world = World()
    for observer in (Broken(), Broken(), world.heard):
        world.reporter.add(observer)
    world.end()
    world.end()
    assert len(world.heard.records) == 2
    assert len(caplog.records) == 2
    assert "RuntimeError: broken" in caplog.text


def test_one_that_comes_again_may_be_complained_of_again(caplog):
    world, broken = World(), Broken()
    for _ in range(2):
        world.reporter.add(broken)
        world.end()
        world.reporter.remove(broken)
    assert len(caplog.records) == 2


def test_a_bug_in_the_telling_is_logged_with_the_request_and_ends_there(caplog):
    class BrokenMetrics(Metrics):
        def finished(self, record: Record, events_dropped: int = 0) -> None:
            raise RuntimeError("broken")

    world = World(BrokenMetrics())
    world.reporter.add(world.heard)
    with caplog.at_level(logging.ERROR, "tiergate"):
        world.end()
    assert "request id-1: reporting it failed" in caplog.text
    assert len(world.heard.records) == 1


class Trace:
    """A trace that hears of its end, and may break at it."""

    id = None

    def __init__(self, error: BaseException | None = None) -> None:
        self.outcomes: list[str] = []
        self._error = error

    def finish(self, exchange: Exchange, outcome: str) -> None:
        self.outcomes.append(outcome)
        if self._error is not None:
            raise self._error


def test_a_trace_that_breaks_hides_the_request_from_nobody_else(caplog):
    world = World()
    world.reporter.add(world.heard)
    world.end(trace=Trace(RuntimeError("broken")))
    assert (len(world.heard.records), world.counted()) == (1, (1, 0))
    assert "request id-1: reporting it failed" in caplog.text


def test_a_trace_ends_also_where_there_can_be_no_record(caplog):
    world, trace = World(), Trace()
    world.reporter.add(world.heard)
    world.end(trace=trace, attempts=(None,))
    assert (world.heard.records, world.counted()) == ([], (0, 0))
    assert (trace.outcomes, len(caplog.records)) == (["ok"], 1)


def test_the_end_of_the_process_is_no_bug_and_goes_on(caplog):
    with pytest.raises(KeyboardInterrupt):
        World().end(trace=Trace(KeyboardInterrupt()))
    assert not caplog.records
