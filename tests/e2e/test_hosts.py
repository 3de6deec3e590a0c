"""A host app is the same with and without the middleware but for our path, in every framework and
wherever it is put; and what protects our path, and what does not, is shown here for the README."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import httpx
import litestar
import pytest
import websockets
from anyio.from_thread import start_blocking_portal
from e2e.hosts import HOSTS, django_host, starlette_host
from e2e.support import (
    CHAT,
    DONE,
    HELLO,
    Upstream,
    completing,
    error_of,
    event,
    gatewayed,
    recording,
    routed,
    serving,
    streaming,
)
from fastapi import Depends, FastAPI, HTTPException, Request
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from tiergate import Caller, Gateway, Refused, TierMiddleware, TierResponse

ALL = pytest.mark.parametrize("host", HOSTS, ids=[each.__name__ for each in HOSTS])
NOWHERE = routed("http://127.0.0.1:9/v1")
REQUESTS = [
    ("GET", "/hello?a=1&b=%C3%A9"),
    ("POST", "/hello"),
    ("HEAD", "/hello"),
    ("OPTIONS", "/hello"),
    ("DELETE", "/hello"),
    ("GET", "/nothing-here"),
    ("GET", "/stream"),
    ("GET", "/boom"),
    ("GET", CHAT),
    ("PUT", CHAT),
    ("OPTIONS", CHAT),
    ("POST", f"{CHAT}/"),
    ("POST", f"/x{CHAT}"),
    ("POST", "/v1/chat/Completions"),
    ("POST", "/v1/models"),
]


async def seen(app) -> list:
    """What a client sees of an app: every answer, and a conversation by WebSocket."""
    answers = []
    async with serving(app) as url, httpx.AsyncClient(headers={"x-test": "yes"}) as client:
        for method, target in REQUESTS:
            body = b"\x00body" if method in ("POST", "PUT") else b""
            answer = await client.request(method, url + target, content=body)
            said = [
                (name, value.replace(url, "URL"))
                for name, value in answer.headers.multi_items()
                if name != "date"
            ]
            answers.append((method, target, answer.status_code, said, answer.text))
        for path in ("/ws", CHAT):
            answers.append((path, await talk(url.replace("http", "ws") + path)))
    return answers


async def talk(url: str) -> list:
    try:
        async with websockets.connect(url, subprotocols=["chat"], proxy=None) as socket:
            await socket.send("hello")
            await socket.send("é")
            return [socket.subprotocol, await socket.recv(), await socket.recv()]
    except websockets.InvalidStatus as refused:
        return [refused.response.status_code]


@ALL
async def test_all_but_our_path_is_the_same_with_and_without_the_middleware(host, caplog):
    without, within = [], []
    bare = await seen(host(without))
    wrapped = await seen(TierMiddleware(host(within), config=NOWHERE, authorize="open"))
    for one, other in zip(bare, wrapped, strict=True):
        assert one == other
    lasts, talks = (0, 1) if host is django_host else (2, 3)
    assert without == within == ["start", "stop"][:lasts]
    assert {200, 404, 405, 500} <= {status for _, _, status, *_ in bare[: len(REQUESTS)]}
    assert [len(talk) for _, talk in bare[len(REQUESTS) :]] == [talks, 1]
    assert not [record for record in caplog.records if record.name.startswith("tiergate")]


@ALL
async def test_our_path_is_ours_in_every_framework(host):
    async with recording(completing("ours")) as upstream:
        app = gatewayed(upstream.base_url, inner=host([]))
        async with serving(app) as url, httpx.AsyncClient() as client:
            answer = await client.post(url + CHAT, json=HELLO)
    assert answer.json()["choices"][0]["message"]["content"] == "ours"
    assert answer.headers["x-arbstr-provider"] == "p1"


@pytest.mark.parametrize("fail_at", ["start", "stop"])
async def test_a_lifespan_that_fails_fails_the_same_with_and_without(fail_at):
    async def failing(scope, receive, send):
        await receive()
        if fail_at == "start":
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no flush"})

    async def messages(app):
        sent, asked = [], iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive():
            return {"type": next(asked)}

        async def send(message):
            sent.append(message)

        await app({"type": "lifespan", "state": {}}, receive, send)
        return sent

    wrapped = TierMiddleware(failing, config=NOWHERE)
    assert await messages(failing) == await messages(wrapped)


async def test_the_connections_are_closed_with_the_lifespan():
    async with recording() as upstream:
        app = gatewayed(upstream.base_url, inner=starlette_host([]))
        async with serving(app, lifespan="on") as url, httpx.AsyncClient() as client:
            assert (await client.post(url + CHAT, json=HELLO)).status_code == 200
            assert upstream.server.open
        await all_closed(upstream)


async def test_fastapi_add_middleware():
    async with recording() as upstream:
        app = FastAPI()
        app.add_middleware(TierMiddleware, config=routed(upstream.base_url), authorize="open")
        async with serving(app) as url, httpx.AsyncClient() as client:
            assert (await client.post(url + CHAT, json=HELLO)).status_code == 200
            assert (await client.get(f"{url}/openapi.json")).status_code == 200


async def test_litestar_define_middleware_answers_where_the_app_has_a_route():
    @litestar.post(CHAT)
    async def never() -> None:
        raise AssertionError("the middleware answers before this")

    async with recording() as upstream:
        layer = DefineMiddleware(TierMiddleware, config=routed(upstream.base_url), authorize="open")
        app = litestar.Litestar([never], middleware=[layer], logging_config=None)
        async with serving(app) as url, httpx.AsyncClient() as client:
            answer = await client.post(url + CHAT, json=HELLO)
    assert answer.json()["choices"][0]["message"]["content"] == "hello"


async def test_quart_asgi_app_wrapped_in_place():
    quart = HOSTS[3]([])
    async with recording() as upstream:
        quart.asgi_app = gatewayed(upstream.base_url, inner=quart.asgi_app)
        async with serving(quart) as url, httpx.AsyncClient() as client:
            assert (await client.post(url + CHAT, json=HELLO)).status_code == 200
            assert (await client.get(f"{url}/hello")).text.startswith("GET ")


MOUNTS = {
    "mounted": lambda app: (Starlette(routes=[Mount("/api", app=app)]), {}, "/api"),
    "mounted twice": lambda app: (
        Starlette(routes=[Mount("/a", routes=[Mount("/b", app=app)])]), {}, "/a/b"
    ),
    "behind --root-path": lambda app: (app, {"root_path": "/api"}, ""),
}  # fmt: skip


@pytest.mark.parametrize("mount", MOUNTS.values(), ids=MOUNTS)
async def test_below_a_prefix(mount):
    async with recording() as upstream:
        app, settings, prefix = mount(gatewayed(upstream.base_url, inner=starlette_host([])))
        async with serving(app, **settings) as url, httpx.AsyncClient() as client:
            ours = await client.post(f"{url}{prefix}{CHAT}", json=HELLO)
            hosts = await client.post(f"{url}{prefix}/x{CHAT}", json=HELLO)
    assert (ours.status_code, hosts.status_code) == (200, 404)
    assert "x-arbstr-request-id" not in hosts.headers


def test_under_test_client_with_and_without_with():
    with start_blocking_portal() as portal:
        script = completing(), streaming(event("hi", "stop"), DONE)
        with portal.wrap_async_context_manager(recording(*script, *script)) as upstream:
            app = gatewayed(upstream.base_url, inner=starlette_host([]))
            client = TestClient(app)
            stream = {**HELLO, "stream": True}
            without = [client.post(CHAT, json=body) for body in (HELLO, stream)]
            with client:
                within = [client.post(CHAT, json=body) for body in (HELLO, stream)]
                assert client.get("/hello").headers["x-host"] == "lifespan"
    assert [answer.status_code for answer in without + within] == [200] * 4
    assert without[1].text == within[1].text == (event("hi", "stop") + DONE).decode()


@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_in_two_event_loops_one_after_the_other(lifespan):
    async def ask() -> int:
        async with serving(app, lifespan=lifespan) as url, httpx.AsyncClient() as client:
            return (await client.post(url + CHAT, json=HELLO)).status_code

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(recording()) as upstream,
    ):
        app = gatewayed(upstream.base_url, inner=starlette_host([]))
        for number in (1, 2):
            assert asyncio.run(ask()) == 200
            portal.call(all_closed, upstream)  # with the loop at the latest
            assert upstream.server.connections == number


async def all_closed(upstream: Upstream) -> None:
    if upstream.server.open:
        _, pending = await asyncio.wait(list(upstream.server.open), timeout=1)
        assert not pending


PAGE = "https://app.example"
SHOWN = ["x-arbstr-request-id", "x-sentinel-tier", "x-arbstr-retries"]


def cors(config) -> Starlette:
    outer = Middleware(
        CORSMiddleware,
        allow_origins=[PAGE],
        allow_methods=["POST"],
        allow_headers=["authorization", "content-type", "x-sentinel-tier"],
        expose_headers=SHOWN,
    )
    return Starlette(middleware=[outer, Middleware(TierMiddleware, config=config)])


async def test_a_browsers_preflight_is_answered_by_the_cors_middleware_outside_us():
    wants = {"access-control-request-method": "POST"}
    wants["access-control-request-headers"] = "content-type,x-sentinel-tier"
    async with serving(cors(NOWHERE)) as url, httpx.AsyncClient() as client:
        answer = await client.options(url + CHAT, headers={"origin": PAGE, **wants})
        foreign = await client.options(url + CHAT, headers={"origin": "https://evil", **wants})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "x-sentinel-tier" in answer.headers["access-control-allow-headers"]
    assert foreign.status_code == 400
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize(
    ("body", "status"),
    [(HELLO, 200), ({**HELLO, "stream": True}, 200), ({}, 400), ({**HELLO, "model": "x"}, 404)],
    ids=["answer", "stream", "bad request", "not found"],
)
async def test_a_browser_may_read_every_answer_and_the_exposed_headers(body, status):
    stream = streaming(event("hi", "stop"), DONE)
    async with recording(stream if "stream" in body else completing()) as upstream:
        app = cors(routed(upstream.base_url))
        async with serving(app) as url, httpx.AsyncClient() as client:
            answer = await client.post(url + CHAT, json=body, headers={"origin": PAGE})
    assert answer.status_code == status
    assert answer.headers.get_list("access-control-allow-origin") == [PAGE]
    assert answer.headers["access-control-expose-headers"] == ", ".join(SHOWN)
    assert answer.headers["x-arbstr-request-id"]


async def refuse() -> None:
    raise HTTPException(401, "the host says no")


async def who(scope) -> Caller:
    for name, value in scope["headers"]:
        if name == b"authorization" and value == b"Bearer good":
            return Caller("ada", max_tier="moderate")
    raise Refused(401)


async def post(app, path=CHAT, body=HELLO, **headers) -> httpx.Response:
    async with serving(app) as url, httpx.AsyncClient() as client:
        return await client.post(url + path, json=body, headers=headers)


async def test_a_depends_that_refuses_does_not_protect_our_path():
    async with recording() as upstream:
        app = FastAPI(dependencies=[Depends(refuse)])
        app.add_middleware(TierMiddleware, config=routed(upstream.base_url), authorize="open")

        @app.post(CHAT)
        async def never(): ...

        answer = await post(app)
    assert answer.status_code == 200  # the dependency was never asked
    assert len(upstream.received) == 1


async def test_authorize_protects_our_path():
    async with recording() as upstream:
        app = FastAPI()
        app.add_middleware(TierMiddleware, config=routed(upstream.base_url), authorize=who)
        refused = await post(app)
        allowed = await post(app, authorization="Bearer good")
        above = await post(app, body={**HELLO, "tier": "complex"}, authorization="Bearer good")
    assert (refused.status_code, error_of(refused.text)["code"]) == (401, "invalid_api_key")
    assert allowed.status_code == 200
    assert (above.status_code, error_of(above.text)["code"]) == (403, "tier_not_allowed")
    assert len(upstream.received) == 1


def opening(gateway: Gateway):
    @asynccontextmanager
    async def lifespan(app):
        async with gateway:
            yield

    return lifespan


def with_route(base_url: str, *dependencies) -> FastAPI:
    """`TierResponse` as a route, whose caller is what `who` says."""
    gateway = Gateway(routed(base_url))
    app = FastAPI(lifespan=opening(gateway))

    async def caller(request: Request) -> Caller:
        try:
            return await who(request.scope)
        except Refused as refused:
            raise HTTPException(refused.status) from None

    @app.post("/ask", dependencies=list(dependencies))
    async def ask(request: Request, caller: Caller = Depends(caller)):  # noqa: B008
        return TierResponse(gateway, request, caller=caller)

    return app


async def test_a_depends_that_refuses_protects_a_route_with_tier_response():
    async with recording() as upstream:
        app = with_route(upstream.base_url, Depends(refuse))
        answer = await post(app, "/ask", authorization="Bearer good")
    assert (answer.status_code, answer.json()) == (401, {"detail": "the host says no"})
    assert upstream.received == []


async def test_what_authorize_says_protects_a_route_with_tier_response():
    async with recording() as upstream:
        app = with_route(upstream.base_url)
        refused = await post(app, "/ask")
        allowed = await post(app, "/ask", authorization="Bearer good")
        above = await post(
            app, "/ask", body={**HELLO, "tier": "complex"}, authorization="Bearer good"
        )
    assert refused.status_code == 401
    assert allowed.json()["choices"][0]["message"]["content"] == "hello"
    assert (above.status_code, error_of(above.text)["code"]) == (403, "tier_not_allowed")
    assert len(upstream.received) == 1


async def test_tier_response_streams_and_uses_the_body_that_was_read_already():
    async with recording(streaming(event("hi", "stop"), DONE)) as upstream:
        gateway = Gateway(routed(upstream.base_url))

        async def ask(request: StarletteRequest) -> TierResponse:
            assert "messages" in await request.json()
            return TierResponse(gateway, request)

        routes = [Route("/ask", ask, methods=["POST"])]
        app = Starlette(routes=routes, lifespan=opening(gateway))
        answer = await post(app, "/ask", body={**HELLO, "stream": True})
    assert answer.content == event("hi", "stop") + DONE


async def test_an_unknown_model_can_be_the_hosts_with_its_body_untouched():
    sent = b' {"model" : "my-own", "messages":[], "n":1.10}'

    async def own(request: StarletteRequest):
        return Response(await request.body())

    inner = Starlette(routes=[Route(CHAT, own, methods=["POST"])])
    app = gatewayed("http://127.0.0.1:9/v1", inner=inner, routing={"unknown_model": "pass"})
    async with serving(app) as url, httpx.AsyncClient() as client:
        answer = await client.post(url + CHAT, content=sent)
    assert answer.content == sent
    assert "x-arbstr-request-id" not in answer.headers


async def test_without_authorize_one_warning_is_logged_at_start(caplog):
    config = routed("http://127.0.0.1:9/v1")
    config["providers"]["p1"]["api_key_env"] = "P1_KEY"
    gateway = Gateway(config, environ={"P1_KEY": "sk-secret"})
    with caplog.at_level(logging.WARNING):
        async with serving(TierMiddleware(Starlette(), gateway=gateway)) as url:
            assert [record.name for record in caplog.records] == ["tiergate"]
            async with httpx.AsyncClient() as client:
                await client.post(url + CHAT, content=json.dumps({}))
    assert len(caplog.records) == 1
    assert "sk-secret" not in caplog.text
