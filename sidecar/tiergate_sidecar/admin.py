"""The operators' pages, put together: the sidecar's own listener, or mounted in a host app.

    app.mount("/ops", admin_app(gateway))      # behind the host's own guard

Each page is in a file of its own; who may see them is `guard`'s, or the host's, to say.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tiergate import TIERS, Answerable, Gateway, __version__
from tiergate_sidecar.api import api_routes
from tiergate_sidecar.effective import Setting, effective
from tiergate_sidecar.errors import answer, answered, not_found, wrong_method
from tiergate_sidecar.history import History, history_of
from tiergate_sidecar.inspector import inspector_page
from tiergate_sidecar.life import Life, Phase
from tiergate_sidecar.live import Live
from tiergate_sidecar.probes import probe_routes
from tiergate_sidecar.prometheus import metrics_page
from tiergate_sidecar.recent import Ring
from tiergate_sidecar.sealing import Sealed

_log = logging.getLogger("tiergate")


def admin_app(
    gateway: Gateway,
    *,
    recent_requests: int = 1000,
    ring: Ring | None = None,
    life: Life | None = None,
    history: History | None = None,
    configuration: Callable[[], list[Setting]] | None = None,
    needs_restart: Callable[[], tuple[str, ...]] = tuple,
    now: Callable[[], float] = time.time,  # noqa: TID251  # a composition root
) -> ASGIApp:
    """The pages of one gateway, to be made once: it observes every request from now on.

    Without a `ring` of one's own the last `recent_requests` are kept; `history` is where older ones
    are looked for, that of `[request_log]` unless given; `configuration` gives what `/config` says;
    `needs_restart` names the tables beside the gateway's that a reload cannot reach; `now` is Unix
    time.
    """
    if ring is None:
        ring = Ring(recent_requests)
        gateway.observe(ring)
    if configuration is None:
        configuration = partial(_of_host, gateway)
    past = history or history_of(gateway.config, ring)
    page = inspector_page()

    async def inspector(_: Request) -> Response:
        return page

    def hello() -> dict[str, Any]:
        return {
            "version": __version__,
            "kept": ring.size,
            "tiers": TIERS,
            "trace_link": gateway.config.telemetry.trace_link,
        }

    routes = [
        Route("/", inspector),
        Route("/metrics", metrics_page(gateway)),
        *probe_routes(gateway, life or Life(Phase.SERVING), needs_restart),
        Route("/v1/live", Live(ring, hello), methods=["GET"]),
        *api_routes(gateway, ring, past, configuration, now),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(_Whole)],
        exception_handlers={404: not_found, 405: wrong_method, Answerable: answer},
    )
    return Sealed(app)


class _Whole:
    """The pages `app`, where a bug of ours is logged, and answered like any other error."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            if begun or scope["type"] != "http":  # the server ends it: nothing can be answered
                raise
            _log.exception("The page %s failed.", scope["path"])
            bug = Answerable("An internal error; the log has the details.")
            await answered(bug)(scope, receive, send)


def _of_host(gateway: Gateway) -> list[Setting]:
    return effective(None, gateway.config, None)
