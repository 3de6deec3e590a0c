"""What is counted reaches whoever has set OpenTelemetry's meters up; nobody else pays for it."""

import asyncio
import gc
from typing import Any

import pytest
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from wired import ANSWER, ask, world

from tiergate.testing import Say


class Metered:
    """An SDK that is read when asked."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def read(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """Name → what is known for each set of attributes; empty instruments are left out."""
        read: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        data = self.reader.get_metrics_data()
        for of_resource in data.resource_metrics if data else ():
            for of_scope in of_resource.scope_metrics:
                assert of_scope.scope.name == "tiergate"
                for metric in of_scope.metrics:
                    points = metric.data.data_points
                    read[metric.name] = [(dict(point.attributes), point) for point in points]
        return read

    def values(self, name: str) -> list[tuple[dict[str, Any], float]]:
        return [(attributes, point.value) for attributes, point in self.read().get(name, ())]


MODEL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "p2",
    "gen_ai.request.model": "m",
}


async def test_counters_gauges_and_histograms_of_a_gateway_can_be_read():
    metered = Metered()
    script = {"p1": Say.error(503), "p2": Say.stream(*ANSWER, after=0.5)}
    made = world(script, meter_provider=metered.provider, retry={"retries": 0})
    assert (await ask(made, mode="first_token")).whole
    assert metered.values("sentinel_tier_requests") == [({"tier": "moderate"}, 1)]
    assert metered.values("sentinel_model_selections") == [
        ({"tier": "moderate", "provider": "p1", "model": "m"}, 1)
    ]
    assert metered.values("sentinel_provider_failures") == [({"provider": "p1", "model": "m"}, 1)]
    assert metered.values("sentinel_provider_health") == [
        ({"provider": "p1", "model": "m"}, 0),
        ({"provider": "p2", "model": "m"}, 1),
    ]
    assert metered.values("tiergate_requests_in_flight") == [({}, 0)]
    [(failed, _), (served, duration)] = metered.read()["gen_ai.client.operation.duration"]
    assert failed == {**MODEL, "gen_ai.provider.name": "p1", "error.type": "unavailable"}
    assert served == MODEL  # no empty error.type
    assert (duration.count, duration.sum) == (1, pytest.approx(3))
    assert duration.explicit_bounds[:2] == (0.01, 0.02)
    [(_, first)] = metered.read()["gen_ai.client.operation.time_to_first_chunk"]
    assert first.sum == pytest.approx(1.5)


async def test_gateways_come_and_go_and_the_instruments_stay(caplog):
    metered = Metered()
    for count in (1, 2):
        made = world({"p1": Say.completion()}, meter_provider=metered.provider)
        other = world({"p1": Say.completion()}, meter_provider=metered.provider)
        await ask(made, stream=False)
        await ask(other, stream=False)
        assert metered.values("sentinel_tier_requests") == [({"tier": "moderate"}, 2)]
        [(_, duration)] = metered.read()["gen_ai.client.operation.duration"]
        assert duration.count == 2 * count
        del made, other
        await asyncio.sleep(0)  # who listened for the client's leaving has a last step to make
        gc.collect()
        assert metered.values("sentinel_tier_requests") == []
    assert not caplog.records


async def test_without_meters_nobody_listens():
    made = world({"p1": Say.completion()}, meter_provider=api.NoOpMeterProvider())
    await ask(made, stream=False)
    assert [each.also for each in made.gateway.metrics.histograms if each.also] == []


class _Broken(api.NoOpMeterProvider):
    def get_meter(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no meters")


async def test_broken_meters_break_no_request(caplog):
    made = world({"p1": Say.completion()}, meter_provider=_Broken())
    for _ in range(3):
        assert (await ask(made, stream=False)).status == 200
    assert len(caplog.records) == 1


class _BrokenInstruments(MeterProvider):
    """Whose histograms raise when they are told of a value."""

    def get_meter(self, *given: Any, **named: Any) -> Any:
        meter = super().get_meter(*given, **named)
        meter.create_histogram = lambda *_, **__: _BrokenHistogram()
        return meter


class _BrokenHistogram:
    def record(self, *_: Any) -> None:
        raise RuntimeError("no histogram")


async def test_a_broken_histogram_breaks_neither_the_request_nor_the_counters(caplog):
    metered = _BrokenInstruments(shutdown_on_exit=False)
    made = world({"p1": Say.completion()}, meter_provider=metered)
    for _ in range(3):
        assert (await ask(made, stream=False)).status == 200
    [counted] = made.gateway.metrics.tier_requests.read().values()
    assert counted == 3
    [spread] = made.gateway.metrics.operation_duration.read().values()
    assert spread.count == 3
    said = [record.getMessage() for record in caplog.records]
    assert "gen_ai.client.operation.duration is lost: OpenTelemetry has raised" in said
    assert len(said) == len(set(said))
