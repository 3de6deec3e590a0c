"""Traces of a real sidecar, as a collector receives them: OTLP over HTTP, decoded from protobuf."""

import asyncio
import gzip
import json
import signal
import time

import httpx
import pytest
from e2e.process import sidecar
from e2e.support import CHAT, DONE, HELLO, completing, event, failing, recording, routed, streaming
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SERVER = f"POST {CHAT}"
PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
PROTOBUF = (("content-type", "application/x-protobuf"),)
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
QUICK = {"TIERGATE_RETRY__RETRIES": "0", "TIERGATE_HEALTH__INITIAL_BACKOFF_SECONDS": "0"}
KINDS = {Span.SPAN_KIND_SERVER: "SERVER", Span.SPAN_KIND_CLIENT: "CLIENT"}


def collector(status=200):
    async def answer(call):
        await call.respond(status, b"", PROTOBUF)

    return recording(answer)


def exports(upstream):
    """What the collector has received: every span with its scope and its resource."""
    found = []
    for call in upstream.received:
        headers = headers_of(call)
        assert headers["content-type"] == "application/x-protobuf"
        packed = headers.get("content-encoding") == "gzip"
        body = gzip.decompress(call.body) if packed else call.body
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = values(of_resource.resource.attributes)
            for of_scope in of_resource.scope_spans:
                found += [(span, of_scope.scope.name, resource) for span in of_scope.spans]
    return found


def headers_of(call):
    return {name.decode().lower(): value.decode("latin-1") for name, value in call.headers}


def values(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


async def spans(upstream, count):
    """So many spans, once the collector has them."""
    async with asyncio.timeout(10):
        while len(exports(upstream)) < count:
            await upstream.calls(len(upstream.received) + 1)
    return [span for span, _, _ in exports(upstream)]


def tree(found):
    roots = [each for each in found if KINDS[each.kind] == "SERVER"]
    lines = []
    for root in roots:
        below = [each for each in found if each.parent_span_id == root.span_id]
        assert {each.trace_id for each in below} <= {root.trace_id}
        for each in (root, *sorted(below, key=lambda span: span.start_time_unix_nano)):
            said = values(each.attributes)
            failed = "ERROR" if each.status.code == Status.STATUS_CODE_ERROR else ""
            who = said.get("sentinel.provider", said.get("sentinel.outcome"))
            facts = (KINDS[each.kind], each.name, who, said.get("http.response.status_code"))
            lines.append(" ".join(str(fact) for fact in (*facts, failed) if fact))
            assert root.start_time_unix_nano <= each.start_time_unix_nano
            assert each.start_time_unix_nano <= each.end_time_unix_nano <= root.end_time_unix_nano
    return lines


def configured(tmp_path, *base_urls):
    file = tmp_path / "own.json"
    file.write_text(json.dumps(routed(*base_urls, telemetry={"service_name": "mine"})))
    return ("-c", str(file))


async def ask(url, *, stream=False, **headers):
    body = {**HELLO, "model": "small", "stream": stream}
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        return await client.post(CHAT, json=body, headers=headers)


async def test_a_collector_receives_one_well_formed_trace_for_each_request(tmp_path):
    said = streaming(*[event("a")] * 50, event("b", "stop"), DONE)
    async with (
        collector() as otlp,
        recording(completing(), failing(503), said) as p1,
        recording() as p2,
        sidecar(
            *configured(tmp_path, p1.base_url, p2.base_url),
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.server.url,
            **AT_ONCE,
            **QUICK,
        ) as process,
    ):
        answers = [
            await ask(process.url, traceparent=PARENT, tracestate="v=1"),
            await ask(process.url),
            await ask(process.url, stream=True),
        ]
        found = await spans(otlp, 7)
        received = [headers_of(call) for call in (*p1.received, *p2.received)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {call.path for call in otlp.received} == {"/v1/traces"}
    assert sorted(tree(found)) == sorted(
        [
            f"SERVER {SERVER} ok 200",
            "CLIENT chat small p1 200",
            f"SERVER {SERVER} ok 200",
            "CLIENT chat small p1 503 ERROR",
            "CLIENT chat small p2 200",
            f"SERVER {SERVER} ok 200",
            "CLIENT chat small p1 200",
        ]
    )
    # Each provider was told of the span of its own attempt, and of no other.
    attempts = [span for span in found if span.kind == Span.SPAN_KIND_CLIENT]
    told = [each["traceparent"].split("-")[1:3] for each in received]
    known = [[span.trace_id.hex(), span.span_id.hex()] for span in attempts]
    assert sorted(told) == sorted(known)
    assert received[0]["tracestate"] == "v=1"
    # Each client was told where to look.
    shown = {answer.headers["x-sentinel-trace-id"] for answer in answers}
    assert shown == {span.trace_id.hex() for span in found}
    assert answers[0].headers["x-sentinel-trace-id"] == "a" * 32
    [(_, scope, resource), *_] = exports(otlp)
    assert (scope, resource["service.name"]) == ("tiergate", "mine")
    # Nothing is recorded for a chunk.
    assert max(len(span.events) for span in found) == 1


async def test_sigterm_sends_what_is_left(tmp_path):
    async with (
        collector() as otlp,
        recording() as p1,
        sidecar(
            *configured(tmp_path, p1.base_url),
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.server.url,
            OTEL_BSP_SCHEDULE_DELAY="600000",
        ) as process,
    ):
        for _ in range(30):
            assert (await ask(process.url)).status_code == 200
        assert exports(otlp) == []
        process.signal(signal.SIGTERM)
        assert await process.ended() == (0, "")
        assert len(exports(otlp)) == 60


async def test_what_is_not_sampled_is_handed_on_and_not_sent(tmp_path):
    async with (
        collector() as otlp,
        recording() as p1,
        sidecar(
            *configured(tmp_path, p1.base_url),
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.server.url,
            OTEL_TRACES_SAMPLER="always_off",
            **AT_ONCE,
        ) as process,
    ):
        answer = await ask(process.url, traceparent=PARENT)
        process.signal(signal.SIGTERM)
        assert await process.ended() == (0, "")
        assert otlp.received == []
    [call] = p1.received
    told = headers_of(call)["traceparent"]
    assert told.startswith(f"00-{'a' * 32}-")
    assert told[-2:] == "00"
    assert told != PARENT
    assert "x-sentinel-trace-id" not in answer.headers


async def test_without_an_endpoint_the_clients_context_passes_through(tmp_path):
    async with (
        recording() as p1,
        sidecar(*configured(tmp_path, p1.base_url), cwd=tmp_path) as process,
    ):
        answer = await ask(process.url, traceparent=PARENT, tracestate="v=1")
    [call] = p1.received
    told = headers_of(call)
    assert (told["traceparent"], told["tracestate"]) == (PARENT, "v=1")
    assert "x-sentinel-trace-id" not in answer.headers


@pytest.mark.parametrize("status", [None, 503, 400])
async def test_a_collector_that_fails_costs_one_line_and_no_request(tmp_path, status):
    async with (
        collector(status or 200) as otlp,
        recording() as p1,
        sidecar(
            *configured(tmp_path, p1.base_url),
            cwd=tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.server.url if status else "http://127.0.0.1:9",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            **AT_ONCE,
        ) as process,
    ):
        for _ in range(20):
            assert (await ask(process.url)).status_code == 200
        process.signal(signal.SIGTERM)
        begun = time.monotonic()
        code, error = await process.ended()
        assert time.monotonic() - begun < 5
    assert code == 0
    assert [line.partition("tiergate  ")[2] for line in error.splitlines()] == [
        "spans are lost: the OTLP endpoint does not take them"
    ]
