"""The pages under `/v1` and `/config`: requests of the past, sums over them, what would become of
one, what would have become of them all, and the settings in effect.

What a query may say and where the past is kept is `history`'s; here it is asked and answered.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tiergate import Gateway
from tiergate_sidecar.effective import Setting
from tiergate_sidecar.errors import BodyTooLarge, ModelNotFound, ProviderNotFound, RequestUnknown
from tiergate_sidecar.history import History
from tiergate_sidecar.queries import Named, Query, read_query, with_models
from tiergate_sidecar.recent import Ring
from tiergate_sidecar.trials import MOST_BYTES, Trials


def api_routes(
    gateway: Gateway,
    ring: Ring,
    history: History,
    configuration: Callable[[], list[Setting]],
    now: Callable[[], float],
) -> list[Route]:
    """The pages; `now` is Unix time, by which `range` counts back."""

    trials = Trials(history)

    async def requests(request: Request) -> Response:
        query = read_query(request.query_params, _us(now()))
        page = await history.requests(query)
        if not page.total:
            await check_names(query)
        return _answer(page)

    async def stats(request: Request) -> Response:
        query = read_query(request.query_params, _us(now()))
        sums = await history.stats(query)
        if not sums.counts.total:
            await check_names(query)
        return _answer(with_models(sums, configured()["model"]))

    def configured() -> dict[Named, list[str]]:
        models = [each.model for each in gateway.status().candidates]
        return {"model": models, "provider": [*gateway.config.providers]}

    async def check_names(query: Query) -> None:
        """Raise 404 for a name that is neither configured nor kept: a slip, and no empty answer."""
        ours, asked = configured(), {"model": query.model, "provider": query.provider}
        for kind, names in ours.items():
            name = asked[kind]
            if name is None or name.lower() in [each.lower() for each in names]:
                continue
            if not await history.knows(kind, name):
                error = ModelNotFound if kind == "model" else ProviderNotFound
                text = f"The {kind} {name[:100]!r} is not configured, nor has a request been there."
                raise error(text, param=kind)

    async def one(request: Request) -> Response:
        name = request.path_params["name"]
        # The ring first: it has more to say, and a row is written a moment later.
        found = ring.find(name) or await history.request(name)
        if found is None:
            raise RequestUnknown("No request with this id is kept.")
        return _answer(found)

    async def explain(request: Request) -> Response:
        limit = gateway.config.limits.max_body_bytes
        text = f"The body is over {limit} bytes (limits.max_body_bytes)."
        body = await _body(request, limit, text)
        return _answer(gateway.explain(body, pairs=list(request.headers.raw)))

    async def replay(request: Request) -> Response:
        text = f"A trial is over {MOST_BYTES} bytes; `tiergate replay` takes a file of any size."
        body = await _body(request, MOST_BYTES, text)
        return _answer(await trials.run(body, _us(now())))

    async def classifier(_: Request) -> Response:
        return _answer(gateway.weighing())

    async def settings(_: Request) -> Response:
        return _answer({"settings": configuration()})

    return [
        Route("/v1/requests", requests),
        Route("/v1/requests/{name:path}", one),
        Route("/v1/stats", stats),
        Route("/v1/explain", explain, methods=["POST"]),
        Route("/v1/replay", replay, methods=["POST"]),
        Route("/v1/classifier", classifier),
        Route("/config", settings),
    ]


async def _body(request: Request, most: int, complaint: str) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise BodyTooLarge(complaint)
    return bytes(body)


def _answer(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)
