"""Traces and metrics, through the OpenTelemetry API: the one file that imports it.

Never sets an SDK up; without one nothing is made and the client's trace context passes through.
What spans say is in `spans`, who publishes counts in `meters`. A broken SDK breaks no request.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final
from weakref import ref

from opentelemetry import context as contexts
from opentelemetry import metrics as meters_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tiergate import spans
from tiergate.candidates import Candidate
from tiergate.completion import Usage
from tiergate.content import Prompt, Tape, output_messages
from tiergate.endpoint import Endpoint
from tiergate.exchange import Attempt, AttemptTrace, Exchange, RequestTrace
from tiergate.harmless import Complaints, harmless
from tiergate.meters import Source, publish
from tiergate.request_headers import Pairs
from tiergate.transport import Answer

_SCOPE: Final = "tiergate"
_SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.0"
_LONGEST_PARENT: Final = 512  # bytes of a traceparent; over a longer one OpenTelemetry would log

_ERROR: Final = Status(StatusCode.ERROR)
_QUIET: Final = contexts.set_value(contexts._SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, Context())
"""Nothing else is in it: a connection that is kept also keeps the context it was opened in."""

_NO_TRACERS = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
_NO_METERS: Final = "opentelemetry.metrics"
"""Where the providers are from that do nothing; one of the two has no public name."""

_propagator: Final = TraceContextTextMapPropagator()
Headers = list[tuple[str, str]]


class Telemetry:
    """Begins and ends the traces of a gateway's requests.

    Without a `tracer_provider` the global one is used once there is one, without a `meter_provider`
    the global one if it is set when we are made or at the first request; it publishes what `source`
    counts. `capture_content` is asked for every attempt that is recorded: whether prompts and
    answers may be in it.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: meters_api.MeterProvider | None = None,
        *,
        source: Source | None = None,
        capture_content: Callable[[], bool] = lambda: False,
    ) -> None:
        self.complaints = Complaints("traces are broken: OpenTelemetry has raised")
        self.capture_content = capture_content
        self._provider = tracer_provider
        self._meter_provider = meter_provider
        self._source = ref(source) if source is not None else lambda: None
        self._tracer: Tracer | None = None
        self._is_off = False
        self._is_measured = False
        self._measure()

    def begin(
        self, exchange: Exchange, path: str, scheme: str, paths: frozenset[str]
    ) -> RequestTrace | None:
        """Begin the span of a request that has just arrived; None where nobody makes spans.

        It is a child of the host's own span where that is current, else of the client's. `paths`
        are ours: any other one is too many to be the name of a span.
        """
        if not self._is_measured:
            self._is_measured = True
            self._measure()
        if self._tracer is None:
            if self._is_off:
                return None
            self._tracer = self._bind()
        return self._begin(self._tracer, exchange, path, scheme, paths) if self._tracer else None

    def end(self, exchange: Exchange, outcome: str) -> None:
        """End the span of a request that has one."""
        assert exchange.trace is not None
        exchange.trace.finish(exchange, outcome)

    @harmless
    def _measure(self) -> None:
        """Publish what is counted, where a meter provider is given or set by now."""
        source = self._source()
        provider = self._meter_provider or meters_api.get_meter_provider()
        if source is not None and not type(provider).__module__.startswith(_NO_METERS):
            self._is_measured = True
            meter = provider.get_meter(_SCOPE, schema_url=_SCHEMA_URL)
            publish(source, provider, meter, meters_api.Observation)

    @harmless
    def _bind(self) -> Tracer | None:
        provider = self._provider or trace.get_tracer_provider()
        if isinstance(provider, _NO_TRACERS):
            return None
        tracer = provider.get_tracer(_SCOPE, schema_url=_SCHEMA_URL)
        self._is_off = isinstance(tracer, trace.NoOpTracer)  # OTEL_SDK_DISABLED
        return None if self._is_off else tracer

    @harmless
    def _begin(
        self, tracer: Tracer, exchange: Exchange, path: str, scheme: str, paths: frozenset[str]
    ) -> RequestTrace | None:
        base = contexts.get_current()
        current = trace.get_current_span(base).get_span_context()
        kind = SpanKind.INTERNAL if current.is_valid and not current.is_remote else SpanKind.SERVER
        if not current.is_valid and (told := _trace_context(exchange.pairs)):
            base = _propagator.extract(told, base)
        route = spans.route_of(path, paths)
        span = tracer.start_span(
            f"POST {route}" if route else "POST",
            context=base,
            kind=kind,
            attributes=spans.request_facts(exchange, path, scheme, route),
        )
        if not span.get_span_context().is_valid:
            return None  # all zeros: the client's own context is worth more
        if not span.is_recording():
            return _UnrecordedRequest(span.get_span_context())
        return _RecordedRequest(self, tracer, span, base)


class _UnrecordedRequest:
    """A request of which no span is kept: the provider gets its context all the same."""

    id: str | None = None

    def __init__(self, span: SpanContext) -> None:
        self._attempt = _UnrecordedAttempt(_headers_of(span))

    def decided(self, exchange: Exchange) -> None:
        del exchange

    def attempt(
        self, exchange: Exchange, candidate: Candidate, endpoint: Endpoint, resends: int
    ) -> AttemptTrace:
        del exchange, candidate, endpoint, resends
        return self._attempt

    def finish(self, exchange: Exchange, outcome: str) -> None:
        del exchange, outcome


class _UnrecordedAttempt:
    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def calling(self) -> AbstractContextManager[Headers]:
        return _Calling(self._headers)

    def heard(self, answer: Answer) -> Answer:
        return answer

    def unsent(self) -> None:
        return

    def end(self, attempt: Attempt, usage: Usage | None, first_token: float | None) -> None:
        del attempt, usage, first_token


class _RecordedRequest:
    def __init__(self, telemetry: Telemetry, tracer: Tracer, span: Span, base: Context) -> None:
        self.complaints = telemetry.complaints
        self.id: str | None = f"{span.get_span_context().trace_id:032x}"
        self._capture_content = telemetry.capture_content
        self._prompt = Prompt()
        self._facts: spans.Facts = {}  # of the decision, told with those of the end: one call
        self._tracer = tracer
        self._span = span
        self._inside = trace.set_span_in_context(span, base)

    @harmless
    def decided(self, exchange: Exchange) -> None:
        self._facts = spans.decision_facts(exchange)
        self._span.add_event(spans.CANDIDATES_EVENT, spans.candidates_facts(exchange.pool))

    @harmless
    def attempt(
        self, exchange: Exchange, candidate: Candidate, endpoint: Endpoint, resends: int
    ) -> AttemptTrace | None:
        facts = spans.attempt_facts(exchange, candidate, endpoint, resends)
        assert exchange.request is not None
        capture = self._capture_content()
        told = self._prompt.told(exchange.request.members["messages"]) if capture else None
        if told is not None:
            facts["gen_ai.input.messages"] = told
        span = self._tracer.start_span(
            f"chat {candidate.model}",
            context=self._inside,
            kind=SpanKind.CLIENT,
            attributes=facts,
        )
        told_on = span.get_span_context()
        if not told_on.is_valid:
            return None
        stream = exchange.request.stream if capture else None
        return _RecordedAttempt(self, span, _headers_of(told_on), candidate, stream)

    @harmless
    def unsent(self, candidate: Candidate) -> None:
        self._span.add_event(spans.UNSENT_EVENT, spans.unsent_facts(candidate))

    @harmless
    def finish(self, exchange: Exchange, outcome: str) -> None:
        try:
            facts = {**self._facts, **spans.request_end_facts(exchange, outcome)}
            self._span.set_attributes(facts)
            if "error.type" in facts:
                self._span.set_status(_ERROR)
        finally:
            self._span.end()


class _RecordedAttempt:
    """`stream` says of which kind the answer is that is to be recorded; None: it is not."""

    def __init__(
        self,
        request: _RecordedRequest,
        span: Span,
        headers: Headers,
        candidate: Candidate,
        stream: bool | None,
    ) -> None:
        self.complaints = request.complaints
        self._request = request
        self._span = span
        self._headers = headers
        self._candidate = candidate
        self._stream = stream
        self._tape: Tape | None = None

    def calling(self) -> AbstractContextManager[Headers]:
        return _Calling(self._headers)

    def heard(self, answer: Answer) -> Answer:
        if self._stream is None:
            return answer
        self._tape = Tape(answer)
        return self._tape

    def unsent(self) -> None:
        # A span that never ends is never told.
        self._request.unsent(self._candidate)

    @harmless
    def end(self, attempt: Attempt, usage: Usage | None, first_token: float | None) -> None:
        try:
            self._span.set_attributes(spans.attempt_end_facts(attempt, usage, first_token))
            if spans.has_failed(attempt):
                self._span.set_status(_ERROR)
            if self._tape is not None:
                told = output_messages(self._tape.kept, stream=bool(self._stream))
                if told is not None:
                    self._span.set_attribute("gen_ai.output.messages", told)
        finally:
            self._span.end()


class _Calling:
    """Gives the headers of a trace. Inside, a host's instrumentation of aiohttp is silent: it would
    make a second span of the attempt, and put its own context over ours."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def __enter__(self) -> Headers:
        self._token = contexts.attach(_QUIET)
        return self._headers

    def __exit__(self, *_: object) -> None:
        contexts.detach(self._token)


def _trace_context(pairs: Pairs) -> Mapping[str, list[str]]:
    carrier: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in (b"traceparent", b"tracestate") and len(value) <= _LONGEST_PARENT:
            carrier.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return carrier


def _headers_of(span: SpanContext) -> Headers:
    parent = f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    state = span.trace_state.to_header()
    return [("traceparent", parent)] + ([("tracestate", state)] if state else [])
