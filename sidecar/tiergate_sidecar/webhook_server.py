"""The webhook's process: reviews over TLS, probes beside them, an orderly end.

SIGTERM: not ready, still served while the Service forgets us, then finish what runs, exit. A second
signal exits at once.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiergate import FileWatch
from tiergate_sidecar.certificates import Certificates
from tiergate_sidecar.errors import not_found, wrong_method
from tiergate_sidecar.injection import Injector
from tiergate_sidecar.kube import ConfigMaps
from tiergate_sidecar.life import Life, Phase
from tiergate_sidecar.listener import Listener
from tiergate_sidecar.settings import Address
from tiergate_sidecar.webhook import Rules, webhook_app
from tiergate_sidecar.webhook_metrics import WebhookMetrics

KEEP_ALIVE_SECONDS: Final = 3600
"""Idle connections. An API server keeps its own for ever, and one that is closed just when it sends
a review on it fails that pod; of the few that there are, none is a burden."""

LINGER_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 10
"""Both together are below the 30 s after which kubelet kills; no review runs for longer than 5."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Where the process listens, what it reads, and how it ends."""

    listen: str
    probes: str
    certificate: Path
    key: Path
    kube_url: str = ""
    """Of the API server that is asked for ConfigMaps; "" asks nobody."""
    kube_account: Path = Path()
    linger_seconds: float = LINGER_SECONDS
    """Still served after SIGTERM: API servers send here until they have heard of it."""
    grace_seconds: int = GRACE_SECONDS


async def serve_webhook(
    serving: Serving,
    settings: Injector,
    rules: Rules,
    *,
    started: Callable[[Address, Address], None],
    clock: Callable[[], float] = time.monotonic,  # noqa: TID251  # the composition root
) -> None:
    """Serve until a signal says otherwise; `started` hears where reviews and probes are taken.

    Raises `ConfigError`.
    """
    life = Life()
    certificates = Certificates(
        serving.certificate, serving.key, lambda: metrics.erred("certificate")
    )
    metrics = WebhookMetrics(lambda: certificates.expires)
    async with AsyncExitStack() as stack:
        read_config = None
        if serving.kube_url:
            maps = ConfigMaps(serving.kube_url, serving.kube_account, clock)
            stack.push_async_callback(maps.close)
            read_config = maps.read
        app = webhook_app(settings, rules, metrics=metrics, clock=clock, read_config=read_config)
        reviews = Listener(
            _letting_go(app, life),
            serving.listen,
            "--listen",
            serving.grace_seconds,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            ssl_context_factory=lambda *_: certificates.context,
        )
        stack.callback(reviews.close)
        probes = Listener(
            probes_app(life, certificates, metrics), serving.probes, "--probes", grace_seconds=1
        )
        stack.callback(probes.close)
        watch = FileWatch(lambda: certificates.paths, certificates.read)
        stack.push_async_callback(watch.close)
        watch.start()  # before the first read: what changes after it is seen
        await certificates.read()
        await _Process(life, reviews, probes, serving.linger_seconds).run(started)


def probes_app(life: Life, certificates: Certificates, metrics: WebhookMetrics) -> Starlette:
    """`/health/live`, `/health/ready` and `/metrics`, on a plain port."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        if life.phase is not Phase.SERVING:
            return JSONResponse({"status": life.phase.value}, status_code=503)
        if not certificates.loaded:
            return JSONResponse({"status": "no certificate"}, status_code=503)
        return JSONResponse({"status": "ok"})

    app = Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics.page),
        ],
        exception_handlers={404: not_found, 405: wrong_method},
    )
    app.router.redirect_slashes = False  # it would send a probe to whatever its Host says
    return app


class _Process:
    def __init__(
        self, life: Life, reviews: Listener, probes: Listener, linger_seconds: float
    ) -> None:
        self._life = life
        self._reviews = reviews
        self._probes = probes
        self._linger_seconds = linger_seconds

    async def run(self, started: Callable[[Address, Address], None]) -> None:
        def ready() -> None:
            self._life.phase = Phase.SERVING
            started(self._reviews.address, self._probes.address)

        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._stop, loop)
        probing = asyncio.create_task(self._probes.listen())
        try:
            await self._reviews.listen(ready)
        finally:  # health stays answered until the last review has ended
            self._probes.should_exit = True
            await probing
            for number in signals:
                loop.remove_signal_handler(number)

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._life.phase is Phase.DRAINING:
            os._exit(1)
        if self._life.phase is Phase.SERVING:
            loop.call_later(self._linger_seconds, self._end)
        else:
            self._end()
        self._life.phase = Phase.DRAINING

    def _end(self) -> None:
        self._reviews.should_exit = True


def _letting_go(app: ASGIApp, life: Life) -> ASGIApp:
    """The app; once it drains, each answer ends its connection, so that none is cut later under a
    request: an API server does not send one twice."""

    async def letting_go(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and life.phase is Phase.DRAINING:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await app(scope, receive, sent)

    return letting_go
