"""The same small web app in five frameworks, for the comparisons of `test_hosts.py`.

Each maker takes a list to which the app's lifespan writes. All of them: GET and POST on `/hello`,
GET on our own path, a stream, a failure, and (but for Django, which has none) a WebSocket echo.
"""

from contextlib import asynccontextmanager
from typing import Any

import django
import litestar
import quart
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import require_http_methods
from fastapi import FastAPI, Request, WebSocket
from litestar.handlers import WebsocketListener
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

Events = list[str]


async def pieces():
    for piece in (b"one ", b"two ", b"three"):
        yield piece


def told(method: str, query: str, header: str | None, body: bytes) -> str:
    return f"{method} {query} {header} {body!r}"


def lifespan_of(events: Events) -> Any:
    @asynccontextmanager
    async def lifespan(app):
        events.append("start")
        yield {"from": "lifespan"}
        events.append("stop")

    return lifespan


async def _echo(socket: Any) -> None:
    await socket.accept(subprotocol="chat")
    async for text in socket.iter_text():
        await socket.send_text(f"{socket.url.path} {text}")


async def _hello(request: Any) -> PlainTextResponse:
    header = request.headers.get("x-test")
    text = told(request.method, request.url.query, header, await request.body())
    return PlainTextResponse(text, headers={"x-host": request.state["from"]})


def starlette_host(events: Events) -> Starlette:
    async def stream(request):
        return StreamingResponse(pieces())

    async def boom(request):
        raise RuntimeError("the host's own bug")

    routes = [
        Route("/hello", _hello, methods=["GET", "POST"]),
        Route("/v1/chat/completions", _hello, methods=["GET"]),
        Route("/stream", stream),
        Route("/boom", boom),
        WebSocketRoute("/ws", _echo),
    ]
    return Starlette(routes=routes, lifespan=lifespan_of(events))


def fastapi_host(events: Events) -> FastAPI:
    app = FastAPI(lifespan=lifespan_of(events))

    @app.api_route("/hello", methods=["GET", "POST"])
    @app.get("/v1/chat/completions")
    async def hello(request: Request):
        return await _hello(request)

    @app.get("/stream")
    async def stream():
        return StreamingResponse(pieces())

    @app.get("/boom")
    async def boom():
        raise RuntimeError("the host's own bug")

    @app.websocket("/ws")
    async def echo(socket: WebSocket):
        await _echo(socket)

    return app


def litestar_host(events: Events) -> litestar.Litestar:
    @litestar.route(["/hello"], http_method=["GET", "POST"], status_code=200)
    async def hello(request: litestar.Request) -> str:
        query = request.url.query
        return told(request.method, query, request.headers.get("x-test"), await request.body())

    @litestar.get("/v1/chat/completions")
    async def chat() -> str:
        return "the host's"

    @litestar.get("/stream")
    async def stream() -> litestar.response.Stream:
        return litestar.response.Stream(pieces())

    @litestar.get("/boom")
    async def boom() -> None:
        raise RuntimeError("the host's own bug")

    class Echo(WebsocketListener):
        path = "/ws"

        async def on_accept(self, socket: litestar.WebSocket) -> None:
            pass

        def on_receive(self, data: str) -> str:
            return f"/ws {data}"

    return litestar.Litestar(
        [hello, chat, stream, boom, Echo],
        on_startup=[lambda: events.append("start")],
        on_shutdown=[lambda: events.append("stop")],
        logging_config=None,
    )


def quart_host(events: Events) -> quart.Quart:
    app = quart.Quart("host")

    @app.route("/hello", methods=["GET", "POST"])
    @app.get("/v1/chat/completions")
    async def hello():
        request = quart.request
        query, header = request.query_string.decode(), request.headers.get("x-test")
        return told(request.method, query, header, await request.get_data())

    @app.get("/stream")
    async def stream():
        return pieces()

    @app.get("/boom")
    async def boom():
        raise RuntimeError("the host's own bug")

    @app.websocket("/ws")
    async def echo():
        await quart.websocket.accept(subprotocol="chat")
        while True:
            await quart.websocket.send(f"/ws {await quart.websocket.receive()}")

    @app.before_serving
    async def start():
        events.append("start")

    @app.after_serving
    async def stop():
        events.append("stop")

    return app


@require_http_methods(["GET", "POST"])
async def _django_hello(request):
    query = request.META["QUERY_STRING"]
    return HttpResponse(told(request.method, query, request.headers.get("x-test"), request.body))


async def _django_stream(request):
    return StreamingHttpResponse(pieces())


async def _django_boom(request):
    raise RuntimeError("the host's own bug")


class Urls:
    urlpatterns = [  # noqa: RUF012
        path("hello", _django_hello),
        path("v1/chat/completions", _django_hello),
        path("stream", _django_stream),
        path("boom", _django_boom),
    ]


settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)
django.setup()  # once in a process


def django_host(events: Events) -> Any:
    return get_asgi_application()


HOSTS = [starlette_host, fastapi_host, litestar_host, quart_host, django_host]
