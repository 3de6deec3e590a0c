"""What the webhook counts, in a registry of its own, and the page that tells it.

Names are listed in docs/kubernetes.md. What is worth counting is decided where it happens.
"""

import math
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from tiergate import __version__

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Most answers take 1 ms, our own bound is 20 ms, and after 5 s the API server has left."""


class WebhookMetrics:
    """The counters of one process; `expires` is the certificate's end in Unix seconds, if known.

    Label values are ids of ours: nothing that a pod or a caller has written.
    """

    def __init__(self, expires: Callable[[], float | None]) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._requests = Counter(
            "tiergate_webhook_requests",
            "Requests of API servers, by what became of them and why.",
            ("result", "reason"),
            registry=registry,
        )
        self._duration = Histogram(
            "tiergate_webhook_duration_seconds",
            "From the request's headers to the answer.",
            buckets=SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            "tiergate_webhook_errors",
            "What went wrong on our side: exception, timeout, config_read, certificate.",
            ("error",),
            registry=registry,
        )
        certificate = Gauge(
            "tiergate_webhook_certificate_expiry_timestamp_seconds",
            "When the certificate that is served ends; NaN without one.",
            registry=registry,
        )
        certificate.set_function(lambda: _known(expires()))
        Info("tiergate_build", "What runs.", registry=registry).info({"version": __version__})
        ProcessCollector(registry=registry)

    def answered(self, result: str, reason: str, seconds: float) -> None:
        self._requests.labels(result, reason).inc()
        self._duration.observe(seconds)

    def erred(self, error: str) -> None:
        self._errors.labels(error).inc()

    async def page(self, request: Request) -> Response:
        """The endpoint of `/metrics`."""
        try:
            encode, media_type = choose_encoder(request.headers.get("accept", ""))
        except (TypeError, ValueError):  # a version that is none
            encode, media_type = choose_encoder("")
        return Response(encode(self._registry), media_type=media_type)


def _known(seconds: float | None) -> float:
    return math.nan if seconds is None else seconds
