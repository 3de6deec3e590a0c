"""One request, one trace: a span of its own, one below it for every attempt, and nothing per chunk.

The trees are whole: a span too many or too few is a failure. The provider is told of the attempt's
span; whatever an SDK does, the client gets its answer.
"""

import asyncio
import gc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from wired import ANSWER, ERROR, ROLE, Heard, World, ask, token, world

from tiergate import Refused, TierMiddleware
from tiergate.faults import BUSY, STALE
from tiergate.testing import Say, ScriptedTransport

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
SERVER = "POST /v1/chat/completions"
NOBODY = {"retries": 0, "fallbacks": 0}
HANGING = Say.stream(ROLE, token("a"), after=0.5, hang=True)


class Traced:
    """An SDK that keeps in memory what it is given. `processor` stands in for its own."""

    def __init__(self, sampler: Sampler = ALWAYS_ON, processor: SpanProcessor | None = None):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(processor or SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def tree(self) -> list[str]:
        """A line for each span, children indented below their parent in the order they ended."""
        spans = self.exporter.get_finished_spans()
        known = {span.context.span_id for span in spans}
        roots = [span for span in spans if span.parent is None or span.parent.span_id not in known]
        return [line for root in roots for line in _lines(root, spans, "")]


def _lines(span: Any, spans: Any, indent: str) -> list[str]:
    said = span.attributes
    facts = [
        span.kind.name,
        span.name,
        said.get("sentinel.provider"),
        said.get("sentinel.outcome"),
        said.get("http.response.status_code"),
        f"resend {said['http.request.resend_count']}" if "http.request.resend_count" in said else 0,
        "resent" if said.get("sentinel.resent") else 0,
        "abandoned" if said.get("sentinel.abandoned") else 0,
        "" if span.status.is_unset else span.status.status_code.name,
        said.get("error.type"),
    ]
    below = [each for each in spans if each.parent and each.parent.span_id == span.context.span_id]
    lines = [indent + " ".join(str(fact) for fact in facts if fact)]
    return lines + [line for each in below for line in _lines(each, spans, indent + "  ")]


def received(made: World) -> list[str | None]:
    return [dict(sent.headers).get("traceparent") for sent in made.transport.sent]


def parent_of(span: Any) -> str:
    told = span.context
    return f"00-{told.trace_id:032x}-{told.span_id:016x}-{told.trace_flags:02x}"


# --- whole trees -----------------------------------------------------------------------------

FINE = Say.stream(*ANSWER)
TREES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]] = {
    "a success": (
        {"p1": Say.completion()},
        {},
        {"stream": False},
        [f"SERVER {SERVER} ok 200", "  CLIENT chat m p1 200"],
    ),
    "a stream": (
        {"p1": FINE},
        {},
        {},
        [f"SERVER {SERVER} ok 200", "  CLIENT chat m p1 200"],
    ),
    "a retry": (
        {"p1": [Say.error(503), Say.completion()]},
        {},
        {"stream": False},
        [
            f"SERVER {SERVER} ok 200",
            "  CLIENT chat m p1 503 ERROR unavailable",
            "  CLIENT chat m p1 200 resend 1",
        ],
    ),
    "a fallback": (
        {"p1": Say.error(402), "p2": Say.completion()},
        {},
        {"stream": False},
        [
            f"SERVER {SERVER} ok 200",
            "  CLIENT chat m p1 402 ERROR refused",
            "  CLIENT chat m p2 200",
        ],
    ),
    "a connection that had gone stale": (
        {"p1": [Say(fault=STALE), Say.completion()]},
        {},
        {"stream": False},
        [f"SERVER {SERVER} ok 200", "  CLIENT chat m p1 200 resent"],
    ),
    "a stream that fails over": (
        {"p1": Say.error(503), "p2": FINE},
        {"retry": {"retries": 0}},
        {"mode": "first_token"},
        [
            f"SERVER {SERVER} ok 200",
            "  CLIENT chat m p1 503 ERROR unavailable",
            "  CLIENT chat m p2 200",
        ],
    ),
    "a stream that is cut": (
        {"p1": Say.stream(ROLE, token("a"), cut=True)},
        {},
        {},
        [
            f"SERVER {SERVER} stream_interrupted 200 ERROR stream_interrupted",
            "  CLIENT chat m p1 200 ERROR stream_interrupted",
        ],
    ),
    "a stream with an error in it": (
        {"p1": Say.stream(ROLE, token("a"), ERROR)},
        {},
        {},
        [
            f"SERVER {SERVER} stream_interrupted 200 ERROR provider_error",
            "  CLIENT chat m p1 200 ERROR provider_error",
        ],
    ),
    "a client that leaves a stream": (
        {"p1": HANGING},
        {},
        {"leave_after": 2},
        [f"SERVER {SERVER} client_disconnected 200", "  CLIENT chat m p1 200 abandoned"],
    ),
    "a client that leaves before the answer": (
        {"p1": Say.never()},
        {},
        {"stream": False, "leave_after": 2},
        [f"SERVER {SERVER} client_disconnected", "  CLIENT chat m p1 abandoned"],
    ),
    "a deadline": (
        {"p1": Say.never(), "p2": Say.never()},
        {"retry": {"deadline_seconds": 4}},
        {"stream": False},
        [
            f"SERVER {SERVER} timeout 504 ERROR 504",
            "  CLIENT chat m p1 ERROR timeout",
            "  CLIENT chat m p2 ERROR timeout",
        ],
    ),
    "a request that the provider refuses": (
        {"p1": Say.error(400, "content_filter")},
        {},
        {"stream": False},
        [f"SERVER {SERVER} client_error 400", "  CLIENT chat m p1 400 ERROR rejected"],
    ),
    "a rate limit everywhere": (
        {"p1": Say.error(429)},
        {"retry": NOBODY},
        {"stream": False},
        [f"SERVER {SERVER} upstream_error 429", "  CLIENT chat m p1 429 ERROR rate_limited"],
    ),
    "a request that is refused by us": (
        {"p1": Say.completion()},
        {},
        {"headers": {"content-encoding": "gzip"}},
        [f"SERVER {SERVER} client_error 415"],
    ),
    "no free connection": (
        {"p1": Say(fault=BUSY), "p2": Say.completion()},
        {},
        {"stream": False},
        [f"SERVER {SERVER} ok 200", "  CLIENT chat m p2 200"],
    ),
}


@pytest.mark.parametrize("case", TREES)
async def test_a_trace_is_one_span_for_the_request_and_one_for_every_attempt(case):
    script, tables, asked, tree = TREES[case]
    traced = Traced()
    made = world(script, tracer_provider=traced.provider, **tables)
    heard = await ask(made, **asked)
    assert traced.tree() == tree
    assert made.clean
    shown = f"{traced.spans[SERVER].context.trace_id:032x}"
    assert heard.headers.get("x-sentinel-trace-id", shown) == shown
    attempts = [each for each in traced.exporter.get_finished_spans() if each.name != SERVER]
    told = [each for each in received(made) if each in map(parent_of, attempts)]
    assert len(set(told)) == len(attempts)  # a stale connection was told twice of one span


async def test_every_attempt_of_a_buffered_stream_is_in_the_trace_though_its_client_waits():
    traced = Traced()
    made = world({"p1": Say.stream(*ANSWER, after=3)}, tracer_provider=traced.provider)
    assert (await ask(made, mode="buffered")).whole
    assert traced.tree() == [f"SERVER {SERVER} ok 200", "  CLIENT chat m p1 200"]


async def test_nothing_is_recorded_for_a_chunk():
    traced, many = Traced(), [token("a")] * 200
    made = world({"p1": Say.stream(ROLE, *many, *ANSWER[-2:])}, tracer_provider=traced.provider)
    await ask(made)
    assert len(traced.tree()) == 2
    chat = traced.spans["chat m"]
    assert (len(chat.events), len(chat.attributes)) == (0, 12)
    assert len(traced.spans[SERVER].events) == 1


# --- what the spans say ----------------------------------------------------------------------


async def test_the_spans_of_a_stream_say_what_was_decided_used_and_waited_for(tmp_path):
    key = tmp_path / "key"
    key.write_text("hush")
    usage = b'"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,'
    last = b'data: {"choices":[],%s"prompt_tokens_details":{"cached_tokens":4}}}\n\n' % usage
    script = {"p1": Say.error(503), "azure": Say.stream(*ANSWER[:-1], last, ANSWER[-1], after=0.5)}
    traced = Traced()
    made = world(
        script,
        tracer_provider=traced.provider,
        retry={"retries": 0},
        providers={
            "p1": {"base_url": "http://p1.test"},
            "azure": {
                "base_url": "https://h.test:8443/openai?api-version=1&key=hush",
                "api_key_file": str(key),
            },
        },
    )
    asked = {"x-sentinel-conversation": "c1", "x-request-id": "mine"}
    heard = await ask(made, mode="first_token", headers=asked)
    server, chat = traced.spans[SERVER], traced.spans["chat m"]
    assert dict(chat.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.conversation.id": "c1",
        "gen_ai.response.time_to_first_chunk": pytest.approx(1.5),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "h.test",
        "server.port": 8443,
        "url.full": "https://h.test:8443/openai/chat/completions",
        "sentinel.provider": "azure",
        "sentinel.tier": "moderate",
    }
    assert dict(server.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/chat/completions",
        "url.path": "/v1/chat/completions",
        "url.scheme": "http",
        "gen_ai.conversation.id": "c1",
        "sentinel.request_id": heard.headers["x-arbstr-request-id"],
        "sentinel.client_request_id": "mine",
        "sentinel.tier": "moderate",
        "sentinel.requested_tier": "moderate",
        "sentinel.requested_model": "m",
        "sentinel.reason": "model",
        "sentinel.stream": True,
        "sentinel.outcome": "ok",
        "sentinel.attempts": 2,
        "sentinel.overhead_seconds": pytest.approx(0),
    }
    [event] = server.events
    assert (event.name, dict(event.attributes)) == (
        "sentinel.candidates",
        {
            "sentinel.candidates": ("p1/m", "azure/m"),
            "sentinel.candidates.state": ("available", "available"),
            "sentinel.candidates.share": (1, 0),
            "sentinel.candidates.seconds_left": (0, 0),
        },
    )


async def test_a_decision_tells_who_was_in_back_off_and_for_how_long():
    traced = Traced()
    script = {"p1": [Say.error(503), Say.completion()], "p2": Say.completion()}
    made = world(script, tracer_provider=traced.provider, retry={"retries": 0})
    await ask(made, stream=False)
    await asyncio.sleep(10)
    traced.exporter.clear()
    await ask(made, stream=False)
    [event] = traced.spans[SERVER].events
    assert event.attributes["sentinel.candidates.state"] == ("backing off", "available")
    assert event.attributes["sentinel.candidates.seconds_left"] == (20, 0)


async def test_a_candidate_without_a_free_connection_is_an_event_and_no_attempt():
    traced = Traced()
    script = {"p1": Say(fault=BUSY), "p2": Say.completion()}
    made = world(script, tracer_provider=traced.provider)
    await ask(made, stream=False)
    told = {event.name: dict(event.attributes) for event in traced.spans[SERVER].events}
    assert told["sentinel.no_connection"] == {
        "sentinel.provider": "p1",
        "gen_ai.request.model": "m",
    }


@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("said", [Say.completion("secret"), Say.stream(token("secret"), *ANSWER)])
async def test_prompts_and_answers_are_recorded_only_where_that_was_asked_for(capture, said):
    traced = Traced()
    made = world(
        {"p1": said},
        tracer_provider=traced.provider,
        telemetry={"capture_content": True} if capture else {},
    )
    await ask(made, stream=said.content_type != "application/json")
    assert len(traced.spans) == 2
    recorded = [span.to_json() for span in traced.spans.values()]
    assert any("secret" in text for text in recorded) is capture
    assert any("gen_ai.output.messages" in text for text in recorded) is capture
    assert made.clean


async def test_a_prompt_is_recorded_with_the_attempt():
    traced, body = Traced(), b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    made = world(
        {"p1": [Say.error(503), Say.completion("yes")]},
        tracer_provider=traced.provider,
        telemetry={"capture_content": True},
    )
    async with made.gateway.handle(made.gateway.begin([]), body) as reply:
        assert reply.status == 200
    failed, served, _ = [span.attributes for span in traced.exporter.get_finished_spans()]
    told = '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]'
    assert [each["gen_ai.input.messages"] for each in (failed, served)] == [told, told]
    assert failed["gen_ai.input.messages"] is served["gen_ai.input.messages"]  # made once
    assert "gen_ai.output.messages" not in failed
    assert '"content":"yes"' in served["gen_ai.output.messages"]
    assert traced.exporter.get_finished_spans()[-1].name == "POST"  # by hand, below no path


# --- whose child -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "v=1", "v=1,w=2"])
async def test_a_trace_of_the_clients_goes_on(state):
    traced = Traced()
    made = world({"p1": Say.completion()}, tracer_provider=traced.provider)
    told = {"traceparent": PARENT, **({"tracestate": state} if state else {})}
    heard = await ask(made, stream=False, headers=told)
    server = traced.spans[SERVER]
    assert (server.kind, server.parent.span_id) == (SpanKind.SERVER, int("b" * 16, 16))
    assert heard.headers["x-sentinel-trace-id"] == "a" * 32
    [sent] = made.transport.sent
    assert received(made) == [parent_of(traced.spans["chat m"])]
    assert dict(sent.headers).get("tracestate", "") == state
    assert [name for name, _ in sent.headers].count("traceparent") == 1


@pytest.mark.parametrize("parent", ["", "00-zz", f"00-{'0' * 32}-{'b' * 16}-01", "0" * 5000])
async def test_a_trace_context_that_is_none_is_not_handed_on(parent, caplog):
    traced = Traced()
    made = world({"p1": Say.completion()}, tracer_provider=traced.provider)
    await ask(made, stream=False, headers={"traceparent": parent, "tracestate": "v=1"})
    assert traced.spans[SERVER].parent is None
    assert received(made) == [parent_of(traced.spans["chat m"])]
    assert "tracestate" not in dict(made.transport.sent[0].headers)
    assert not caplog.records


async def test_below_a_span_of_the_hosts_ours_is_internal():
    traced = Traced()
    made = world({"p1": Say.completion()}, tracer_provider=traced.provider)
    with traced.provider.get_tracer("host").start_as_current_span("host") as host:
        await ask(made, stream=False, headers={"traceparent": PARENT})
        assert trace.get_current_span() is host
    assert traced.tree() == [
        "INTERNAL host",
        f"  INTERNAL {SERVER} ok 200",
        "    CLIENT chat m p1 200",
    ]


@pytest.mark.parametrize(("remote", "kind"), [(True, SpanKind.SERVER), (False, SpanKind.INTERNAL)])
async def test_a_hosts_span_of_another_process_makes_ours_the_server(remote, kind):
    traced = Traced()
    made = world({"p1": Say.completion()}, tracer_provider=traced.provider)
    parent = SpanContext(7, 8, is_remote=remote, trace_flags=TraceFlags(1))
    with trace.use_span(NonRecordingSpan(parent)):
        await ask(made, stream=False)
    server = traced.spans[SERVER]
    assert (server.kind, server.context.trace_id, server.parent.span_id) == (kind, 7, 8)


# --- nobody records --------------------------------------------------------------------------


async def test_without_an_sdk_the_clients_context_passes_through():
    made = world({"p1": Say.completion()})
    heard = await ask(made, stream=False, headers={"traceparent": PARENT, "tracestate": "v=1"})
    assert received(made) == [PARENT]
    assert dict(made.transport.sent[0].headers)["tracestate"] == "v=1"
    assert "x-sentinel-trace-id" not in heard.headers


async def test_an_sdk_that_is_switched_off_is_none():
    made = world({"p1": Say.completion()}, tracer_provider=_SwitchedOff())
    for _ in range(2):
        await ask(made, stream=False, headers={"traceparent": PARENT})
    assert received(made) == [PARENT, PARENT]


class _SwitchedOff(trace.TracerProvider):
    """What an SDK is under `OTEL_SDK_DISABLED`: its tracers do nothing."""

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return trace.NoOpTracer()


@pytest.mark.parametrize("parent", [None, PARENT.removesuffix("01") + "00"])
@pytest.mark.parametrize("said", [Say.completion(), FINE, Say(fault=BUSY), Say.error(503)])
async def test_what_is_not_sampled_is_handed_on_as_that(parent, said):
    traced = Traced(ALWAYS_OFF if parent is None else ParentBased(ALWAYS_ON))
    made = world({"p1": said}, tracer_provider=traced.provider, retry=NOBODY)
    stream = said.content_type != "application/json"
    heard = await ask(made, stream=stream, headers={"traceparent": parent} if parent else {})
    [told] = received(made)
    assert told is not None
    assert told != parent
    assert re.fullmatch(r"00-(\w{32})-\w{16}-0[02]", told)
    assert (told[3:35] == "a" * 32) is (parent is not None)
    assert "x-sentinel-trace-id" not in heard.headers
    assert traced.tree() == []


async def test_a_hosts_instrumentation_of_the_http_client_is_silent_during_our_call():
    class Listening(ScriptedTransport):
        async def post(self, *given: Any) -> Any:
            quiet.append(bool(context.get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY)))
            return await super().post(*given)

    quiet: list[bool] = []
    for sampler in (ALWAYS_ON, ALWAYS_OFF):
        listening = Listening({"p1": [Say.error(503), Say.completion()]})
        traced = Traced(sampler)
        made = world({"p1": None}, transport=listening, tracer_provider=traced.provider)
        await ask(made, stream=False)
        assert context.get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY) is None
    assert quiet == [True] * 4


# --- whatever an SDK does --------------------------------------------------------------------


class _Broken(SpanProcessor, SpanExporter, Sampler):
    """Raises at one of its doors."""

    def __init__(self, door: str) -> None:
        self.door = door

    def _open(self, door: str) -> None:
        if door == self.door:
            raise RuntimeError(door)

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._open("on_start")

    def on_end(self, span: Any) -> None:
        self._open("on_end")

    def should_sample(self, _: Any, __: Any, name: str, kind: Any = None, *rest: Any) -> Any:
        self._open("should_sample")
        if kind is SpanKind.CLIENT:
            self._open("should_sample an attempt")
        return ALWAYS_ON.should_sample(None, 1, name)

    def get_description(self) -> str:
        return "broken"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "door", ["on_start", "on_end", "should_sample", "should_sample an attempt"]
)
async def test_a_broken_sdk_breaks_no_request_and_is_told_of_once(door, stream, caplog):
    broken = _Broken(door)
    traced = Traced(sampler=broken, processor=broken)
    script = {"p1": Say.error(503), "p2": FINE if stream else Say.completion()}
    made = world(script, tracer_provider=traced.provider, retry={"retries": 0})
    for _ in range(3):
        heard: Heard = await ask(made, stream=stream, mode="first_token")
        assert heard.status == 200
    assert [record.getMessage() for record in caplog.records] == [
        "traces are broken: OpenTelemetry has raised"
    ]
    assert made.clean


class _Odd(trace.TracerProvider, trace.Tracer):
    """Its spans have the context that is given for their kind, or raise in its place."""

    def __init__(self, **contexts: SpanContext | None) -> None:
        self.contexts = contexts

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return self

    def start_span(self, _: str, *, kind: SpanKind, **__: Any) -> Any:
        return _OddSpan(self.contexts[kind.name])

    def start_as_current_span(self, *_: Any, **__: Any) -> Any: ...


class _OddSpan(NonRecordingSpan):
    def is_recording(self) -> bool:
        return self._context is None or self._context.trace_flags == TraceFlags(1)

    def get_span_context(self) -> SpanContext:
        if self._context is None:
            raise RuntimeError
        return self._context


KEPT = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))
ZEROS = SpanContext(0, 0, is_remote=False, trace_flags=TraceFlags(1))


@pytest.mark.parametrize(
    ("contexts", "logged"),
    [
        ({"SERVER": KEPT, "CLIENT": None}, 1),
        ({"SERVER": KEPT, "CLIENT": ZEROS}, 0),
        ({"SERVER": None}, 1),
        ({"SERVER": ZEROS}, 0),
        ({"SERVER": trace.INVALID_SPAN_CONTEXT}, 0),
    ],
)
async def test_a_span_without_a_context_leaves_the_clients_own(contexts, logged, caplog):
    made = world({"p1": Say.completion()}, tracer_provider=_Odd(**contexts))
    assert (await ask(made, stream=False, headers={"traceparent": PARENT})).status == 200
    assert received(made) == [PARENT]
    assert len(caplog.records) == logged


class _NoTracers(trace.TracerProvider):
    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        raise RuntimeError


async def test_a_provider_without_tracers_breaks_no_request(caplog):
    made = world({"p1": Say.completion()}, tracer_provider=_NoTracers())
    for _ in range(2):
        assert (await ask(made, stream=False, headers={"traceparent": PARENT})).status == 200
    assert received(made) == [PARENT, PARENT]
    assert len(caplog.records) == 1


async def test_an_exporter_that_fails_breaks_no_request(caplog):
    class Failing(SpanExporter):
        def export(self, spans: Any) -> Any:
            raise OSError("no collector")

    traced = Traced(processor=SimpleSpanProcessor(Failing()))
    made = world({"p1": FINE}, tracer_provider=traced.provider)
    assert (await ask(made)).whole
    assert made.clean


# --- what it keeps ---------------------------------------------------------------------------


async def test_a_request_is_let_go_of_without_a_garbage_collection():
    traced = Traced()
    made = world({"p1": FINE}, tracer_provider=traced.provider)
    gc.disable()
    try:
        exchange = made.gateway.begin([])
        assert exchange.trace is not None
        held = ref(exchange.account)
        made.gateway.end(exchange)
        del exchange
        assert held() is None  # else a request and its trace would keep each other
    finally:
        gc.enable()


async def test_a_request_that_is_passed_on_to_the_host_leaves_no_trace():
    traced = Traced()
    made = world(
        {"p1": FINE},
        tracer_provider=traced.provider,
        routing={"unknown_model": "pass"},
        tiers={"simple": [{"provider": "p1", "model": "another", "relative_cost": 1}]},
    )
    seen: list[str] = []

    async def host(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b'{"model":"m","messages":[]}', "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    await TierMiddleware(host, gateway=made.gateway)(scope, receive, None)
    assert seen == ["/v1/chat/completions"]
    assert traced.tree() == []


async def test_a_refused_caller_has_a_span_and_no_attempt():
    async def who(scope: Any) -> Any:
        raise Refused(401)

    traced, sent = Traced(), list[Any]()
    made = world({"p1": FINE}, tracer_provider=traced.provider)
    scope = {"type": "http", "method": "POST", "path": "/t/v1/chat/completions", "headers": []}
    scope |= {"root_path": "/t", "scheme": "https"}

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await TierMiddleware(None, gateway=made.gateway, authorize=who)(scope, receive, send)
    assert sent[0]["status"] == 401
    assert traced.tree() == [f"SERVER {SERVER} client_error 401"]
    said = traced.spans[SERVER].attributes
    assert (said["url.path"], said["url.scheme"]) == ("/t/v1/chat/completions", "https")


PROGRAM = """
import asyncio
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from test_telemetry import Traced
from wired import ask, world
from tiergate.testing import Say, VirtualLoop


async def main():
    made = world({"p1": Say.completion()})
    traced, reader = Traced(), InMemoryMetricReader()
    if LATE:
        await ask(made, stream=False)
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    trace.set_tracer_provider(traced.provider)
    await ask(made, stream=False)
    print(len(traced.spans), reader.get_metrics_data() is not None)


with asyncio.Runner(loop_factory=VirtualLoop) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize(("late", "told"), [(False, "2 True"), (True, "2 False")])
def test_the_global_providers_are_used_once_they_are_set(late, told):
    """A process has one of each: this is one of its own. Meters are looked for only once."""
    program = PROGRAM.replace("LATE", str(late))
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.stdout.strip(), ran.stderr) == (told, "")
