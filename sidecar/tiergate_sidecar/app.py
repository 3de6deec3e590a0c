"""The app that the sidecar's middleware wraps: `GET /v1/models`, and a clear no to everything else.

What is ours (`POST /v1/chat/completions`) never arrives here.
"""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, request_response

from tiergate import Answerable, Gateway
from tiergate_sidecar.errors import ModelNotFound, answer, not_found, wrong_method


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

    async def anything_else(request: Request) -> Response:
        if request.url.path not in gateway.paths:
            raise HTTPException(404)
        if request.method != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})
        # Only what `unknown_model = "pass"` hands on arrives at a path of ours.
        raise ModelNotFound("The model of this request is not configured.", param="model")

    app = Starlette(
        routes=[Route("/v1/models", models), Route("/v1/models/{name:path}", model)],
        exception_handlers={404: not_found, 405: wrong_method, Answerable: answer},
    )
    app.router.redirect_slashes = False
    app.router.default = request_response(anything_else)
    return app
