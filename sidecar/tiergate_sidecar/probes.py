"""The pages that say how the process is: alive, ready, how everything stands; and reload.

A pod's own listener has the first two and the metrics, for kubelet and Prometheus.
"""

from collections.abc import Callable

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tiergate import ConfigError, Gateway, SourceError
from tiergate_sidecar.errors import ReloadRefused, not_found, wrong_method
from tiergate_sidecar.life import Life, Phase
from tiergate_sidecar.prometheus import metrics_page

_TOLD = frozenset({"/health/live", "/health/ready"})


def probes_app(gateway: Gateway, life: Life) -> Starlette:
    """What everybody who reaches a pod may know of it: nothing that has a name or a key in it."""
    routes = [each for each in probe_routes(gateway, life, tuple) if each.path in _TOLD]
    return Starlette(
        routes=[*routes, Route("/metrics", metrics_page(gateway))],
        exception_handlers={404: not_found, 405: wrong_method},
    )


def probe_routes(
    gateway: Gateway, life: Life, needs_restart: Callable[[], tuple[str, ...]]
) -> list[Route]:
    """`needs_restart` names the tables beside the gateway's that a reload cannot reach."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        if life.phase is not Phase.SERVING:
            return JSONResponse({"status": life.phase.value}, status_code=503)
        if not gateway.status().ready:
            return JSONResponse({"status": "no usable configuration"}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def health(_: Request) -> Response:
        return Response(msgspec.json.encode(described()), media_type="application/json")

    async def reload(_: Request) -> Response:
        try:
            await gateway.reload()
        except (ConfigError, SourceError) as error:
            raise ReloadRefused(str(error)) from None
        return await health(_)

    def described() -> dict[str, object]:
        status = gateway.status()
        waiting = (*status.needs_restart, *needs_restart())
        return {
            "status": life.phase.value,
            "ready": life.phase is Phase.SERVING and status.ready,
            "configuration": {
                **msgspec.to_builtins(status.configuration),
                "needs_restart": waiting,
            },
            "providers": status.candidates,
            "sessions": status.sessions,
            "stores": status.stores,
            "request_log": status.request_log,
        }

    return [
        Route("/health", health),
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/reload", reload, methods=["POST"]),
    ]
