"""The operators' pages: is the process alive, may it be sent traffic, what is amiss; and reload."""

from collections.abc import Callable
from enum import Enum

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tiergate import Answerable, ConfigError, Gateway, SourceError
from tiergate_sidecar.errors import ReloadRefused, answer, not_found, wrong_method


class Phase(Enum):
    """The life of the process; it only moves on."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Life:
    """Which phase the process is in."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING

    def __repr__(self) -> str:
        return f"<Life {self.phase.value}>"


def admin_app(
    gateway: Gateway, life: Life, *, needs_restart: Callable[[], tuple[str, ...]] = tuple
) -> Starlette:
    """The pages. `needs_restart` names the tables beside the gateway's that a reload cannot reach.

    `/health/live` while the process runs, `/health/ready` while it should be sent requests.
    `/health` says how everything stands; `POST /reload` reads the configuration again.
    """

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
        }

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/reload", reload, methods=["POST"]),
        ],
        exception_handlers={404: not_found, 405: wrong_method, Answerable: answer},
    )
