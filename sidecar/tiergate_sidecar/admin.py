"""The operators' listener: is the process alive, may it be sent traffic?"""

from enum import Enum

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tiergate import Gateway


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


def health_app(gateway: Gateway, life: Life) -> Starlette:
    """`/health/live` while the process runs, `/health/ready` while it should be sent requests."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        if life.phase is not Phase.SERVING:
            return JSONResponse({"status": life.phase.value}, status_code=503)
        if not gateway.status().ready:
            return JSONResponse({"status": "no usable configuration"}, status_code=503)
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route("/health/live", live), Route("/health/ready", ready)])
