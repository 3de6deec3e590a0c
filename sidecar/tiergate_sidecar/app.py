"""The app that the sidecar's middleware wraps: `GET /v1/models`, and a clear no to everything else.

What is ours (`POST /v1/chat/completions`) never arrives here.
"""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tiergate import Answerable, Gateway


class EndpointNotFound(Answerable):
    """404 for a path that the sidecar does not serve."""

    status = 404
    type = "invalid_request_error"
    code = "endpoint_not_found"


class MethodNotAllowed(Answerable):
    """405 for a path of ours with another method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class ModelNotFound(Answerable):
    """404 for a model that is not in the list."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


def sidecar_app(gateway: Gateway, *, now: Callable[[], float]) -> Starlette:
    """The inner app; `now` is Unix time, the `created` of a list that has no other."""
    created = int(now())

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

    async def passed_on(_: Request) -> Response:
        raise ModelNotFound("The model of this request is not configured.", param="model")

    app = Starlette(
        routes=[
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", model),
            # Only what `unknown_model = "pass"` hands on arrives at a path of ours.
            *(Route(path, passed_on, methods=["POST"]) for path in gateway.config.routing.paths),
        ],
        exception_handlers={404: _not_found, 405: _wrong_method, Answerable: _answer},
    )
    app.router.redirect_slashes = False
    return app


async def _not_found(_: Request, __: Exception) -> Response:
    return _shaped(EndpointNotFound("There is nothing at this path."))


async def _wrong_method(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _shaped(MethodNotAllowed("This path does not take that method."))
    response.headers.update(error.headers or {})  # Allow
    return response


async def _answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, Answerable)
    return _shaped(error)


def _shaped(error: Answerable) -> Response:
    return Response(error.body(), status_code=error.status, media_type="application/json")
