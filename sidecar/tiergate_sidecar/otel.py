"""The process's OpenTelemetry SDK, set up by the standard `OTEL_*` variables and by nothing else.

Where none of them names an exporter or an endpoint there is no SDK, and none is imported. The rest
of the variables (samplers, batches, limits, headers, timeouts) the SDK reads itself. What is told
through it is the library's.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from tiergate import ConfigError, __version__

FLUSH_SECONDS: Final = 3.0
"""For the last spans, when the last request has ended: with `server.grace_seconds` at its default
the process has ended before Kubernetes' 30 s are over, collector or not."""

_PROTOCOL: Final = "http/protobuf"
_log = logging.getLogger("tiergate")

Shutdown = Callable[[], Any]


class Exporting:
    """The SDK of this process; both providers are None where nobody asked for what they give.

    An asynchronous context manager: leaving sends what is left, for `FLUSH_SECONDS` at most.
    """

    def __init__(self, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self._ends: list[asyncio.Future[None]] | None = None
        self._begun_at = 0.0

    async def __aenter__(self) -> "Exporting":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def begin_close(self) -> None:
        """Begin to send what is left, while others end too: the time of `close` runs from here."""
        if self._ends is None:
            made = (self.tracer_provider, self.meter_provider)
            self._begun_at = asyncio.get_running_loop().time()
            self._ends = _in_threads([each.shutdown for each in made if each is not None])

    async def close(self, within: float = FLUSH_SECONDS) -> None:
        """Send what is left, and end the SDK's threads; gives up after so many seconds."""
        self.begin_close()
        if self._ends:
            over = self._begun_at + within - asyncio.get_running_loop().time()
            _, left = await asyncio.wait(self._ends, timeout=max(0.0, over))
            if left:
                _log.warning("the collector did not take the last spans within %g s", within)


def configure_telemetry(service_name: str, environ: Mapping[str, str]) -> Exporting:
    """The SDK as the variables have it; `service_name` is what is told where they name no service.

    Metrics are sent only where a variable of their own asks for them: `/metrics` has them already.
    Raises `ConfigError` for values with which the SDK does not start.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Exporting()
    named = "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = {"service.version": __version__}
    if not (named or environ.get("OTEL_SERVICE_NAME")):
        resource["service.name"] = service_name
    made = Exporting()
    try:
        if _wanted("TRACES", environ, general=True):
            made.tracer_provider = _tracer_provider(resource)
        if _wanted("METRICS", environ, general=False):
            made.meter_provider = _meter_provider(resource)
    except Exception as error:  # noqa: BLE001  # the SDK has no error of its own for this
        if made.tracer_provider is not None:
            made.tracer_provider.shutdown()
        raise ConfigError(f"OTEL_*: the OpenTelemetry SDK does not start: {error}") from None
    return made


def _wanted(signal: str, environ: Mapping[str, str], *, general: bool) -> bool:
    """Whether a signal is to be sent; `general` lets the endpoint of all signals ask for it."""
    places = [f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"]
    if general:
        places.append("OTEL_EXPORTER_OTLP_ENDPOINT")
    exporter = environ.get(f"OTEL_{signal}_EXPORTER", "").strip()
    if exporter not in ("", "otlp"):
        if exporter != "none":
            _log.warning("OTEL_%s_EXPORTER=%s: only otlp is known here", signal, exporter)
        return False
    if not exporter and not any(environ.get(place) for place in places):
        return False
    protocol = environ.get(
        f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL",
        environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", _PROTOCOL),
    )
    if protocol != _PROTOCOL:
        _log.warning("%s are not sent: we speak OTLP as %s, not %s", signal, _PROTOCOL, protocol)
    return protocol == _PROTOCOL


def _tracer_provider(resource: dict[str, Any]) -> Any:
    # 0.1 s and 10 MB that nobody without a collector should pay.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(watched(OTLPSpanExporter(), "spans")))
    return provider


def _meter_provider(resource: dict[str, Any]) -> Any:
    # Likewise.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    reader = PeriodicExportingMetricReader(watched(OTLPMetricExporter(), "metrics"))
    return MeterProvider([reader], resource=Resource.create(resource), shutdown_on_exit=False)


def watched(exporter: Any, what: str) -> Any:
    """An exporter of which one line tells that it fails, and one that it works again.

    The SDK itself would tell of every try.
    """
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    logging.getLogger("opentelemetry.sdk._shared_internal").addFilter(_Once())
    export, failing = exporter.export, False

    def told(*args: Any, **kwargs: Any) -> Any:
        nonlocal failing
        result = export(*args, **kwargs)
        if (result.name != "SUCCESS") != failing:
            failing = not failing
            if failing:
                _log.warning("%s are lost: the OTLP endpoint does not take them", what)
            else:
                _log.info("the OTLP endpoint takes %s again", what)
        return result

    exporter.export = told
    return exporter


class _Once(logging.Filter):
    """Lets each message pass once: a full queue is told of at every span."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        new = str(record.msg) not in self._said
        self._said.add(str(record.msg))
        return new


def _in_threads(shutdowns: list[Shutdown]) -> "list[asyncio.Future[None]]":
    """The ends of these. What does not end can be left behind: its thread is a daemon."""
    loop = asyncio.get_running_loop()

    def run(shutdown: Shutdown, ended: asyncio.Future[None]) -> None:
        with suppress(Exception):  # of an SDK that is going anyway
            shutdown()
        with suppress(RuntimeError):  # the loop has ended before us
            loop.call_soon_threadsafe(ended.set_result, None)

    ends = [loop.create_future() for _ in shutdowns]
    for each in zip(shutdowns, ends, strict=True):
        threading.Thread(target=run, args=each, daemon=True, name="tiergate-flush").start()
    return ends
