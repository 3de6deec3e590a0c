"""What is counted, published through the meters of OpenTelemetry where somebody has set them up.

Counters and gauges are read when they are asked for; what a histogram sees it also tells an
instrument, for the API knows none that is read. The API itself is imported by `telemetry` alone and
handed in.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

from tiergate.capacity import Capacity
from tiergate.harmless import Complaints, harmless
from tiergate.health import CandidateHealth
from tiergate.metrics import Metrics
from tiergate.series import Counter, Histogram, Labels

Observe = Callable[[float, Mapping[str, str]], Any]
Read = Callable[["Source"], Mapping[Labels, float]]


class Candidates(Protocol):
    @property
    def candidates(self) -> Sequence[CandidateHealth]: ...


class Source(Protocol):
    """What is published: a gateway."""

    @property
    def metrics(self) -> Metrics: ...

    @property
    def capacity(self) -> Capacity: ...

    def status(self) -> Candidates: ...


class _Publication:
    """The instruments of one meter provider. Gateways come and go, instruments cannot: each reads
    the sum over those that are alive."""

    def __init__(self, metrics: Metrics, meter: Any, observe: Observe) -> None:
        self.sources: WeakSet[Source] = WeakSet()
        self._observe = observe
        for index, counter in enumerate(metrics.counters):
            meter.create_observable_counter(
                counter.name,
                [self._reader(_nth(index), counter.labels)],
                unit=counter.unit,
                description=counter.description,
            )
        meter.create_observable_gauge(
            "sentinel_provider_health",
            [self._reader(_healths, ("provider", "model"))],
            description="1 available, 0 in back-off or being probed.",
        )
        meter.create_observable_gauge(
            "tiergate_requests_in_flight",
            [self._reader(lambda source: {(): source.capacity.in_flight}, ())],
            description="Requests being served.",
        )
        self._histograms = {
            each.name: meter.create_histogram(
                each.name,
                unit=each.unit,
                description=each.description,
                explicit_bucket_boundaries_advisory=each.bounds,
            )
            for each in metrics.histograms
        }

    def add(self, source: Source) -> None:
        self.sources.add(source)
        for each in source.metrics.histograms:
            each.also = _Recorder(each, self._histograms[each.name]).record

    def _reader(self, read: Read, names: Labels) -> Callable[[Any], Iterable[Any]]:
        def callback(_: Any) -> Iterator[Any]:
            sums: dict[Labels, float] = {}
            for source in list(self.sources):
                for labels, value in read(source).items():
                    sums[labels] = sums.get(labels, 0) + value
            for labels, value in sums.items():
                yield self._observe(value, _attributes(names, labels))

        return callback


_publications: WeakKeyDictionary[Any, _Publication] = WeakKeyDictionary()


def publish(source: Source, provider: Any, meter: Any, observe: Observe) -> None:
    """Publish a gateway through a meter of this provider, as long as the gateway is alive.

    `observe` makes the API's observation of a value and its attributes.
    """
    publication = _publications.get(provider)
    if publication is None:
        publication = _publications[provider] = _Publication(source.metrics, meter, observe)
    publication.add(source)


def _nth(index: int) -> Read:
    def read(source: Source) -> Mapping[Labels, float]:
        counter: Counter = source.metrics.counters[index]
        return counter.read()

    return read


def _healths(source: Source) -> Mapping[Labels, float]:
    states = {(each.provider, each.model): each.state for each in source.status().candidates}
    return {candidate: float(state == "available") for candidate, state in states.items()}


class _Recorder:
    """Tells an instrument what a histogram sees; what the instrument raises ends here."""

    def __init__(self, histogram: Histogram, instrument: Any) -> None:
        self.complaints = Complaints(f"{histogram.name} is lost: OpenTelemetry has raised")
        self._names, self._scale = histogram.labels, histogram.scale
        self._instrument = instrument

    @harmless
    def record(self, labels: Labels, value: int) -> None:
        self._instrument.record(value / self._scale, _attributes(self._names, labels))


def _attributes(names: Labels, labels: Labels) -> dict[str, str]:
    """An empty label is one that does not apply."""
    return {name: label for name, label in zip(names, labels, strict=True) if label}
