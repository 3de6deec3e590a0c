"""The operators' pages together: each at its path, with its headers, over what the gateway has
seen; in a sidecar or below a host's prefix."""

import asyncio
import random
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import tiergate_sidecar
from tiergate import Gateway, TierMiddleware
from tiergate.testing import Say, ScriptedTransport
from tiergate_sidecar.admin import admin_app
from tiergate_sidecar.sealing import COMMON

CONFIG = {
    "providers": {"p1": {"base_url": "http://p1/v1"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
}


@asynccontextmanager
async def world(*, prefix="", **given):
    """A client of the pages, and one of the gateway that they are about."""
    gateway = Gateway(
        CONFIG,
        transport=ScriptedTransport({"p1": Say.completion()}),
        clock=asyncio.get_running_loop().time,
        chance=random.Random(7),
        environ={},
    )
    pages = admin_app(gateway, **given)
    app = Starlette(routes=[Mount(prefix, pages)]) if prefix else pages
    served = TierMiddleware(app, gateway=gateway, authorize="open")
    over = httpx.ASGITransport(served)
    async with gateway, httpx.AsyncClient(transport=over, base_url="http://admin") as client:
        yield client


async def chat(client):
    return await client.post("/v1/chat/completions", json={"messages": []})


@pytest.mark.parametrize("prefix", ["", "/ops"])
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/health", "application/json"),
        ("/health/live", "application/json"),
        ("/health/ready", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/v1/requests", "application/json"),
        ("/v1/stats", "application/json"),
        ("/config", "application/json"),
    ],
)
async def test_each_page_is_at_its_path_with_the_common_headers(prefix, path, kind):
    async with world(prefix=prefix) as client:
        answer = await client.get(prefix + path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    for name in COMMON.keys() - {"content-security-policy"}:
        assert answer.headers[name] == COMMON[name]


async def test_every_request_that_the_gateway_serves_is_kept_up_to_so_many():
    async with world(recent_requests=2) as client:
        ids = [(await chat(client)).headers["x-arbstr-request-id"] for _ in range(3)]
        said = (await client.get("/v1/requests")).json()
        assert {row["id"] for row in said["data"]} == set(ids[1:])
        assert (await client.get(f"/v1/requests/{ids[2]}")).json()["outcome"] == "ok"
        assert (await client.get(f"/v1/requests/{ids[0]}")).status_code == 404


async def test_the_live_page_says_hello_with_what_the_page_must_know():
    sent = asyncio.Queue()

    async def receive():
        await asyncio.Event().wait()

    gateway = Gateway(CONFIG | {"telemetry": {"trace_link": "http://j/{trace_id}"}}, environ={})
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/live",
        "headers": [],
        "query_string": b"",
    }
    live = asyncio.create_task(admin_app(gateway, recent_requests=7)(scope, receive, sent.put))
    start, hello = await sent.get(), await sent.get()
    assert (b"cache-control", b"no-store") in start["headers"]
    assert b'"kept":7,"tiers":["simple","moderate","complex"]' in hello["body"]
    assert b'"trace_link":"http://j/{trace_id}"' in hello["body"]
    live.cancel()


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allow"),
    [
        ("GET", "/reload", 405, "method_not_allowed", {"POST"}),
        ("DELETE", "/reload", 405, "method_not_allowed", {"POST"}),
        ("GET", "/v1/explain", 405, "method_not_allowed", {"POST"}),
        ("GET", "/v1/replay", 405, "method_not_allowed", {"POST"}),
        ("POST", "/v1/classifier", 405, "method_not_allowed", {"GET", "HEAD"}),
        ("POST", "/health", 405, "method_not_allowed", {"GET", "HEAD"}),
        ("POST", "/", 405, "method_not_allowed", {"GET", "HEAD"}),
        ("GET", "/login", 404, "endpoint_not_found", None),
        ("GET", "/health/else", 404, "endpoint_not_found", None),
        ("GET", "/index.html", 404, "endpoint_not_found", None),
    ],
)
async def test_everything_else_is_refused_in_the_one_shape(method, path, status, code, allow):
    async with world() as client:
        answer = await client.request(method, path, json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    allowed = answer.headers.get("allow")
    assert (allowed and set(allowed.split(", "))) == allow


async def test_a_form_of_a_foreign_page_reloads_nothing():
    async with world() as client:
        for said in ({"data": {"a": "b"}}, {"content": b"{}"}):
            assert (await client.post("/reload", **said)).status_code == 415
        assert (await client.post("/reload", json={})).status_code == 200


async def test_a_bug_is_logged_and_answered_in_the_one_shape(caplog):
    def broken():
        raise RuntimeError("swordfish")

    async with world(configuration=broken) as client:
        answer = await client.get("/config")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (
        500,
        "internal_error",
        "server_error",
    )
    assert answer.headers["x-content-type-options"] == COMMON["x-content-type-options"]
    assert "swordfish" not in answer.text
    [line] = [each for each in caplog.records if each.name == "tiergate"]
    assert (line.getMessage(), line.exc_info[0]) == ("The page /config failed.", RuntimeError)


async def test_a_bug_after_the_answer_has_begun_is_the_servers_to_see():
    gateway = Gateway(CONFIG | {"telemetry": {"trace_link": "x{trace_id}"}}, environ={})

    async def send(message):
        if message["type"] == "http.response.body":
            raise RuntimeError("swordfish")

    scope = {"type": "http", "method": "GET", "path": "/health", "headers": [], "query_string": b""}
    with pytest.raises(RuntimeError, match="swordfish"):
        await admin_app(gateway)(scope, asyncio.Event().wait, send)


def test_a_host_app_gets_the_pages_by_one_name():
    assert tiergate_sidecar.admin_app is admin_app
    with pytest.raises(AttributeError, match="nope"):
        tiergate_sidecar.nope  # noqa: B018  # asked for
