"""The page `/metrics`: what a gateway counted and how it stands, as Prometheus reads it.

Names follow from the library's as OpenTelemetry says (dots become underscores, the unit a suffix).
Nothing is counted here: a scrape reads, and two of them say the same.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from tiergate import Config, Gateway, Metrics, Status, __version__

_DIGEST_CHARACTERS: Final = 12
_SUFFIXES: Final = {"s": "_seconds"}
_SECRETS_OF_URL: Final = re.compile(r"(?<=://)[^/?#]*@|\?.*", re.DOTALL)


def metrics_page(gateway: Gateway) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of `/metrics`: OpenMetrics or the older text, as the request accepts."""
    process = ProcessCollector(registry=None)

    async def page(request: Request) -> Response:
        encode, media_type = _encoder(request.headers.get("accept", ""))
        told = GatewayCollector(gateway, process, status=gateway.status())
        # In a thread: writing takes 5 µs a line, and the loop has requests to serve.
        return Response(await asyncio.to_thread(encode, told), media_type=media_type)

    return page


class GatewayCollector(Collector):
    """All that a gateway has to say, then what `others` have; may stand in a host's registry too.

    `status` is the one to tell of; None: that of each moment at which it is asked.
    """

    def __init__(self, gateway: Gateway, *others: Collector, status: Status | None = None) -> None:
        self._gateway = gateway
        self._others = others
        self._status = status

    def collect(self) -> Iterator[Metric]:
        gateway, status = self._gateway, self._status or self._gateway.status()
        yield from _counted(gateway.metrics)
        yield from _health(status)
        yield from _load(gateway, status)
        yield from _configuration(gateway, status)
        yield from _sessions(status)
        yield from _stores(status)
        yield from _request_log(status)
        for other in self._others:
            yield from other.collect()


def config_digest(config: Config) -> str:
    """12 hex digits of the effective configuration, secrets left out: equal where replicas agree.

    Keys are named by their variable there, so what is left out is the password and the query of
    each URL, and the values of a provider's own headers.
    """
    tables: dict[str, Any] = msgspec.to_builtins(config)
    for provider in tables["providers"].values():
        provider["headers"] = sorted(provider["headers"])
    said = msgspec.json.encode(_without_secrets(tables), order="sorted")
    return hashlib.sha256(said).hexdigest()[:_DIGEST_CHARACTERS]


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRETS_OF_URL.sub("", value) if "://" in value else value
    if isinstance(value, dict):
        return {key: _without_secrets(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(each) for each in value]
    return value


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        return choose_encoder("")


def _counted(metrics: Metrics) -> Iterator[Metric]:
    for counter in metrics.counters:
        labels = _names(counter.labels)
        counted = CounterMetricFamily(_name(counter), counter.description, labels=labels)
        for values, value in counter.read().items():
            counted.add_metric(values, value)
        yield counted
    for histogram in metrics.histograms:
        labels = _names(histogram.labels)
        bounds = [*map(str, histogram.bounds), "+Inf"]
        spread = HistogramMetricFamily(_name(histogram), histogram.description, labels=labels)
        for values, read in histogram.read().items():
            spread.add_metric(values, list(zip(bounds, read.cumulative, strict=True)), read.sum)
        yield spread
    yield _count(
        "tiergate_series_overflow",
        "Counted as `other`, because a metric had too many sets of labels.",
        metrics.overflow,
    )


def _health(status: Status) -> Iterator[Metric]:
    healthy = GaugeMetricFamily(
        "sentinel_provider_health",
        "1 when a request may be sent there, 0 in back-off or while another request probes.",
        labels=("provider", "model"),
    )
    # Once each: a candidate of two tiers may stand there with two prices.
    waits = {(each.provider, each.model): each.seconds_left for each in status.candidates}
    for candidate, seconds in waits.items():
        healthy.add_metric(candidate, seconds == 0)
    yield healthy


def _load(gateway: Gateway, status: Status) -> Iterator[Metric]:
    capacity, budget = gateway.capacity, status.retry_budget
    yield _gauge("tiergate_requests_in_flight", "Requests being served.", capacity.in_flight)
    yield _gauge(
        "tiergate_held_bytes", "Held in memory for all requests together.", capacity.held_bytes
    )
    if budget.left is not None:
        yield _gauge(
            "tiergate_retry_budget_left", "Same-candidate retries affordable now.", budget.left
        )
    yield _count(
        "tiergate_retries_refused",
        "Retries not made because the budget was spent.",
        budget.refused,
    )


def _configuration(gateway: Gateway, status: Status) -> Iterator[Metric]:
    tiers = status.configuration
    yield _info("tiergate_build", "What runs.", version=__version__)
    yield _info(
        "tiergate_config",
        "Digest of the effective configuration, secrets left out.",
        hash=config_digest(gateway.config),
    )
    yield _gauge("tiergate_ready", "1 when requests can be served.", status.ready)
    if tiers.version is not None:
        yield _info(
            "tiergate_tiers", "The tiers served.", source=tiers.source, version=tiers.version
        )
    if tiers.age_seconds is not None:
        yield _gauge(
            "tiergate_tiers_age_seconds",
            "Since the source gave the tiers served.",
            tiers.age_seconds,
        )
    yield _gauge("tiergate_tiers_skipped", "Entries of the tiers left out.", len(tiers.skipped))
    yield _gauge(
        "tiergate_config_error",
        "1 when the last try to read configuration or tiers failed.",
        tiers.last_error is not None,
    )


def _sessions(status: Status) -> Iterator[Metric]:
    sessions = status.sessions
    yield _gauge("tiergate_sessions_held", "Sessions in this process.", sessions.held)
    yield _gauge(
        "tiergate_sessions_unsaved", "Sessions that Redis has yet to learn.", sessions.unsaved
    )
    yield _count(
        "tiergate_sessions_dropped", "Sessions that Redis never learned.", sessions.dropped
    )
    yield _count(
        "tiergate_sessions_served_without",
        "Requests that found Redis away.",
        sessions.served_without,
    )
    yield _count("tiergate_sessions_errors", "Sessions that Redis refused.", sessions.errors)


def _stores(status: Status) -> Iterator[Metric]:
    label = ("store",)
    available = GaugeMetricFamily(
        "tiergate_store_available", "1 when a store answers, 0 while it is down.", labels=label
    )
    errors = CounterMetricFamily(
        "tiergate_store_errors", "Operations that a store did not serve.", labels=label
    )
    for store in status.stores:
        available.add_metric((store.name,), store.available)
        errors.add_metric((store.name,), store.errors)
    yield available
    yield errors


def _request_log(status: Status) -> Iterator[Metric]:
    log = status.request_log
    if log is None:
        return
    yield _gauge("tiergate_request_log_available", "1 when its store takes rows.", log.available)
    yield _gauge("tiergate_request_log_queue", "Rows that wait for the store.", log.queued)
    yield _count("tiergate_request_log_written", "Rows written.", log.written)
    yield _count("tiergate_request_log_dropped", "Rows that never will be.", log.dropped)


def _name(series: Any) -> str:
    return f"{series.name.replace('.', '_')}{_SUFFIXES.get(series.unit, '')}"


def _names(labels: Iterable[str]) -> list[str]:
    return [label.replace(".", "_") for label in labels]


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(name, description, value=value)


def _count(name: str, description: str, value: float) -> Metric:
    return CounterMetricFamily(name, description, value=value)


def _info(name: str, description: str, **labels: str) -> Metric:
    return InfoMetricFamily(name, description, value=labels)
