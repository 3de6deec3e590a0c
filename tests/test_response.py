"""`TierResponse`: the gateway as one route of a host app, behind that route's own guards."""

import asyncio
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.routing import Route

from tiergate import Caller, Gateway, TierResponse
from tiergate.testing import Say, ScriptedTransport

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def gateway(said: Say | None = None, **tables: Any) -> tuple[Gateway, ScriptedTransport]:
    transport = ScriptedTransport({"p1": said or Say.completion()})
    config = {
        "providers": {"p1": {"base_url": "http://p1.test"}},
        "tiers": {tier: [{"provider": "p1", "model": "m"}] for tier in ("simple", "complex")},
        **tables,
    }
    clock = asyncio.get_running_loop().time
    return Gateway(config, transport=transport, clock=clock, environ={}), transport


def starlette(made: Gateway, **more: Any) -> Starlette:
    async def chat(request: Request) -> TierResponse:
        return TierResponse(made, request, **more)

    return Starlette(routes=[Route("/chat", chat, methods=["POST"])])


async def post(app: Any, **given: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
        response = await client.post("/chat", **({"json": CHAT} | given))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return response


async def test_a_starlette_route_answers_through_the_gateway():
    made, transport = gateway()
    response = await post(starlette(made))
    assert (response.status_code, response.content) == (200, Say.completion().pieces[0])
    assert response.headers["x-sentinel-tier"] == "simple"
    assert response.headers["content-length"] == str(len(response.content))
    assert transport.sent[0].json == {**CHAT, "model": "m"}


async def test_a_stream_goes_through_a_route_too():
    made, transport = gateway(Say.stream(CHUNK, b"data: [DONE]\n\n"))
    response = await post(starlette(made), json={**CHAT, "stream": True})
    assert response.content == CHUNK + b"data: [DONE]\n\n"
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert transport.open == 0


async def test_the_caller_of_the_route_counts():
    made, _ = gateway()
    caller = Caller("ada", tier="complex", max_tier="complex")
    response = await post(starlette(made, caller=caller))
    assert response.headers["x-sentinel-tier"] == "complex"
    app = starlette(made, caller=Caller("bob", max_tier="simple"))
    response = await post(app, json={**CHAT, "tier": "complex"})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "tier_not_allowed")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_dependency_that_refuses_protects_the_route(status):
    made, transport = gateway()
    app = FastAPI()

    async def guard() -> None:
        raise HTTPException(status, "not you")

    @app.post("/chat", dependencies=[Depends(guard)])
    async def chat(request: Request) -> Any:
        return TierResponse(made, request)

    response = await post(app)
    assert (response.status_code, response.json()) == (status, {"detail": "not you"})
    assert transport.sent == []


async def test_a_body_that_a_dependency_has_read_is_used():
    made, transport = gateway()
    app = FastAPI()

    async def who(request: Request) -> Caller:
        return Caller((await request.json())["messages"][0]["content"], tier="complex")

    @app.post("/chat", response_model=None)
    async def chat(request: Request, caller: Annotated[Caller, Depends(who)]) -> TierResponse:
        return TierResponse(made, request, caller=caller)

    response = await post(app)
    assert response.status_code == 200
    assert response.headers["x-sentinel-tier"] == "complex"
    assert transport.sent[0].json == {**CHAT, "model": "m"}


async def test_background_work_runs_after_the_answer_in_both_frameworks():
    made, _ = gateway()
    done = []

    async def note(who: str) -> None:
        done.append(who)

    async def chat(request: Request) -> TierResponse:
        response = TierResponse(made, request)
        response.background = BackgroundTask(note, "starlette")
        return response

    app = FastAPI()

    @app.post("/chat", response_model=None)
    async def fast(request: Request, tasks: BackgroundTasks) -> TierResponse:
        tasks.add_task(note, "fastapi")
        return TierResponse(made, request)

    await post(Starlette(routes=[Route("/chat", chat, methods=["POST"])]))
    await post(app)
    assert done == ["starlette", "fastapi"]


@pytest.mark.parametrize("unknown", ["reject", "pass"])
async def test_an_unknown_model_is_404_at_once_even_where_a_middleware_would_pass_it_on(unknown):
    made, transport = gateway(routing={"unknown_model": unknown})
    response = await post(starlette(made), json={**CHAT, "model": "nope"})
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert response.headers["x-arbstr-request-id"]
    assert transport.sent == []
    assert asyncio.get_running_loop().time() == 0


async def test_limits_of_the_gateway_hold_in_a_route():
    made, transport = gateway(limits={"max_body_bytes": 10})
    response = await post(starlette(made))
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
    assert transport.sent == []


async def test_a_client_that_leaves_while_its_body_comes_gets_nothing():
    made, transport = gateway()
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/chat", "headers": [], "query_string": b""}
    await starlette(made)(scope, receive, send)
    assert (sent, transport.sent) == ([], [])
