"""The SDK of the process is what the `OTEL_*` variables say, and none where they say nothing.

Each case is a process of its own: what was imported, what was logged and how long the end took can
only be told there.
"""

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from e2e.process import environment
from opentelemetry.sdk.trace.export import SpanExportResult

from tiergate import ConfigError
from tiergate_sidecar.otel import Exporting, configure_telemetry, watched

PROGRAM = """
import asyncio, json, logging, os, sys, time

logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s %(message)s", level="INFO")
from tiergate_sidecar.otel import configure_telemetry


async def main():
    async with configure_telemetry("mine", os.environ) as made:
        traces = made.tracer_provider
        if traces is not None:
            tracer = traces.get_tracer("test")
            for batch in range(int(sys.argv[1])):
                for _ in range(int(sys.argv[2])):
                    tracer.start_span("a span").end()
                traces.force_flush()
        resource = None if traces is None else dict(traces.resource.attributes)
        sdk = "opentelemetry.sdk" in sys.modules
        made = (traces is not None, made.meter_provider is not None)
        print(json.dumps({"made": made, "resource": resource, "sdk": sdk}), flush=True)
        begun = time.monotonic()
    print(json.dumps(time.monotonic() - begun), flush=True)


asyncio.run(main())
"""
NOBODY_THERE = "http://127.0.0.1:9"
QUICK = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}


def run(batches: int = 0, spans: int = 0, **variables: str) -> tuple[dict[str, Any], float, str]:
    """What was made, how long its end took, and what was logged."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(batches), str(spans)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said, seconds = ran.stdout.splitlines()
    return json.loads(said), json.loads(seconds), ran.stderr


@contextmanager
def collector(*answers: int) -> Iterator[tuple[str, list[str]]]:
    """Answers with these statuses, the last again and again; yields its URL and the paths asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": NOBODY_THERE}
MADE: dict[str, tuple[dict[str, str], tuple[bool, bool], str]] = {
    "nothing": ({}, (False, False), ""),
    "an endpoint": (ENDPOINT, (True, False), ""),
    "an endpoint for traces": (
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOBODY_THERE},
        (True, False),
        "",
    ),
    "an endpoint for metrics": (
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": NOBODY_THERE},
        (False, True),
        "",
    ),
    "an exporter": ({"OTEL_TRACES_EXPORTER": "otlp"}, (True, False), ""),
    "both exporters": (
        {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_SERVICE_NAME": "theirs",
        },
        (True, True),
        "",
    ),
    "no exporter": ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, (False, False), ""),
    "switched off": ({**ENDPOINT, "OTEL_SDK_DISABLED": " True "}, (False, False), ""),
    "not switched off": ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, (True, False), ""),
    "another exporter": (
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "zipkin"},
        (False, False),
        "OTEL_TRACES_EXPORTER=zipkin: only otlp is known here",
    ),
    "another protocol": (
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        (False, False),
        "TRACES are not sent: we speak OTLP as http/protobuf, not grpc",
    ),
    "another protocol for something else": (
        {
            **ENDPOINT,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        },
        (True, False),
        "",
    ),
}


@pytest.mark.parametrize("case", MADE)
async def test_what_is_set_up_is_what_the_variables_ask_for(case, caplog):
    variables, made, warning = MADE[case]
    async with configure_telemetry("mine", variables) as exporting:
        providers = (exporting.tracer_provider, exporting.meter_provider)
        assert tuple(each is not None for each in providers) == made
    assert [record.getMessage() for record in caplog.records] == ([warning] if warning else [])


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "100"}, "max_export_batch_size"),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "-1"}, "interval"),
    ],
)
def test_what_the_sdk_does_not_start_with_is_an_error_of_the_configuration(
    variables, why, monkeypatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    threads = threading.active_count()
    with pytest.raises(ConfigError, match=f"^OTEL_.*does not start: .*{why}"):
        configure_telemetry("mine", {**ENDPOINT, **variables})
    assert threading.active_count() == threads


def test_without_a_variable_nothing_is_imported():
    assert run() == (
        {"made": [False, False], "resource": None, "sdk": False},
        pytest.approx(0, abs=0.1),
        "",
    )


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "mine"),
        ({"OTEL_SERVICE_NAME": "theirs"}, "theirs"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs,x=y"}, "theirs"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "x=y"}, "mine"),
    ],
)
def test_the_service_is_named_by_the_variables_before_the_configuration(variables, name):
    said, _, _ = run(OTEL_TRACES_EXPORTER="otlp", **variables)
    assert said["resource"]["service.name"] == name
    assert said["resource"]["service.version"]


def test_a_collector_gets_the_last_spans_at_the_end():
    with collector(200) as (url, asked):
        _, seconds, logged = run(1, 1, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert (asked, logged) == (["/v1/traces"], "")
    assert seconds < 2


def test_a_sampler_named_by_the_variables_is_obeyed():
    with collector(200) as (url, asked):
        run(1, 5, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_TRACES_SAMPLER="always_off")
    assert asked == []


def test_a_collector_that_is_away_is_told_of_once_and_holds_nobody_up():
    begun = time.monotonic()
    _, seconds, logged = run(1, 3000, OTEL_EXPORTER_OTLP_ENDPOINT=NOBODY_THERE, **QUICK)
    ours = "WARNING tiergate spans are lost: the OTLP endpoint does not take them"
    full = "WARNING opentelemetry.sdk._shared_internal Queue full, dropping Span."
    lines = logged.splitlines()
    assert lines.count(ours) == 1
    assert lines.count(full) == len(lines) - 1 <= 1  # of 1,000 spans that found no room
    assert seconds < 4
    assert time.monotonic() - begun < 40


def test_a_collector_that_comes_back_is_told_of():
    with collector(400, 400, 200, 400) as (url, _):
        _, _, logged = run(4, 1, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert [line.partition(" tiergate ")[2] for line in logged.splitlines()] == [
        "spans are lost: the OTLP endpoint does not take them",
        "the OTLP endpoint takes spans again",
        "spans are lost: the OTLP endpoint does not take them",
    ]


async def test_an_end_that_hangs_is_left_behind(caplog):
    never = threading.Event()
    await Exporting(_Provider(never.wait), _Provider(lambda: None)).close(within=0.05)
    assert [record.getMessage() for record in caplog.records] == [
        "the collector did not take the last spans within 0.05 s"
    ]
    never.set()


async def test_the_time_of_an_end_runs_from_its_beginning():
    never, loop = threading.Event(), asyncio.get_running_loop()
    exporting = Exporting(_Provider(never.wait))
    exporting.begin_close()
    await asyncio.sleep(0.2)  # as long as another's end takes
    begun = loop.time()
    await exporting.close(within=0.2)
    assert loop.time() - begun < 0.1
    never.set()


async def test_an_end_that_fails_is_an_end(caplog):
    def fail() -> None:
        raise RuntimeError

    await Exporting(_Provider(fail)).close()
    assert not caplog.records


class _Exporter:
    """An exporter that fails or not, as it is told."""

    def __init__(self, *results: SpanExportResult) -> None:
        self.results = list(results)

    def export(self, *_: Any) -> SpanExportResult:
        return self.results.pop(0)


def test_each_change_for_better_or_worse_is_told_of_once(caplog):
    caplog.set_level("INFO")
    fine, lost = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    exporter = watched(_Exporter(fine, lost, lost, fine, fine, lost), "spans")
    for expected in (fine, lost, lost, fine, fine, lost):
        assert exporter.export([]) is expected
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "spans are lost: the OTLP endpoint does not take them"),
        ("INFO", "the OTLP endpoint takes spans again"),
        ("WARNING", "spans are lost: the OTLP endpoint does not take them"),
    ]


def test_a_full_queue_is_told_of_once(caplog):
    watched(_Exporter(), "spans")
    log = logging.getLogger("opentelemetry.sdk._shared_internal")
    for _ in range(3):
        log.warning("Queue %s", "full")
    assert len(caplog.records) == 1


class _Provider:
    def __init__(self, shutdown: Any) -> None:
        self.shutdown = shutdown
