"""The app that the sidecar's middleware wraps: `GET /v1/models`, the proxy, and a clear no to the
rest.

What is ours (`POST /v1/chat/completions`) arrives here only where the gateway hands it on.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from tiergate import Answerable, Gateway
from tiergate_sidecar.destinations import ProviderPath
from tiergate_sidecar.errors import (
    EndpointNotAllowed,
    ModelNotFound,
    WebSocketRefused,
    answer,
    answered,
    not_found,
    wrong_method,
)
from tiergate_sidecar.proxy import ReverseProxy
from tiergate_sidecar.proxy_headers import asks_for_websocket
from tiergate_sidecar.settings import Proxy

_MODELS = "/v1/models"


def sidecar_app(
    gateway: Gateway, *, now: Callable[[], float], proxy: Callable[[], Proxy] = Proxy
) -> ASGIApp:
    """The inner app; `now` is Unix time, the `created` of a list that has no other.

    `proxy` gives the settings of the proxy as they are now.
    """
    passing = ReverseProxy(gateway, proxy)
    pages = _pages(gateway, passing, created=int(now()))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008, "reason": "not supported"})
        elif scope["type"] != "http":
            await pages(scope, receive, send)
        elif asks_for_websocket(scope):
            refusal = answered(WebSocketRefused("WebSocket is not passed on here."))
            refusal.headers["connection"] = "close"  # what comes next is no HTTP
            await refusal(scope, receive, send)
        elif _is_models(scope["path"]) and gateway.models():
            await pages(scope, receive, send)
        else:
            # Who has no model of his own yet is in nobody's way: the provider's list is as before.
            models = _is_models(scope["path"])
            try:
                destination = passing.destination(scope)
            except EndpointNotAllowed as error:
                if not models:
                    await answered(error)(scope, receive, send)
                    return
                destination = None
            if destination is None or (models and not isinstance(destination, ProviderPath)):
                await pages(scope, receive, send)
            else:
                await passing.pass_on(destination, scope, receive, send)

    return app


def _is_models(path: str) -> bool:
    return path == _MODELS or path.startswith(f"{_MODELS}/")


def _pages(gateway: Gateway, passing: ReverseProxy, *, created: int) -> Starlette:
    def entry(model: str, owner: str) -> dict[str, str | int]:
        return {"id": model, "object": "model", "created": created, "owned_by": owner}

    async def models(_: Request) -> Response:
        data = [entry(model, owner) for model, owner in gateway.models().items()]
        return JSONResponse({"object": "list", "data": data})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        owner = gateway.models().get(name)
        if owner is None:
            raise ModelNotFound(f"The model {name[:100]!r} is not configured.", param="model")
        return JSONResponse(entry(name, owner))

    async def anything_else(request: Request) -> Response:
        if request.url.path not in gateway.paths:
            raise HTTPException(404)
        if request.method != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})
        # Only what `unknown_model = "pass"` hands on arrives at a path of ours.
        raise ModelNotFound("The model of this request is not configured.", param="model")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await passing.close()

    app = Starlette(
        routes=[Route(_MODELS, models), Route(f"{_MODELS}/{{name:path}}", model)],
        exception_handlers={404: not_found, 405: wrong_method, Answerable: answer},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.router.default = request_response(anything_else)
    return app
