"""What the sidecar answers beside chat requests: the list of models, and a clear no in the one
shape to what neither it nor the proxy takes."""

import httpx
import pytest

from tiergate import Gateway, TierMiddleware
from tiergate.testing import Say, ScriptedTransport
from tiergate_sidecar.app import sidecar_app
from tiergate_sidecar.settings import Proxy

CONFIG = {
    "providers": {"p1": {"base_url": "http://p1/v1"}, "p2": {"base_url": "http://p2/v1"}},
    "routing": {"aliases": {"gpt-4o*": "moderate", "org/large": "complex"}},
    "tiers": {
        "simple": [
            {"provider": "p1", "model": "small", "relative_cost": 2},
            {"provider": "p2", "model": "small", "relative_cost": 1},
        ],
        "complex": [{"provider": "p1", "model": "org/large"}, {"provider": "p1", "model": "a/b c"}],
    },
}


async def asking(method, path, body=None, **tables):
    transport = ScriptedTransport({"p1": Say.completion(), "p2": Say.completion()})
    async with Gateway(CONFIG | tables, transport=transport, environ={}) as gateway:
        inner = sidecar_app(gateway, now=lambda: 1_700_000_000.9)
        app = TierMiddleware(inner, gateway=gateway, authorize="open")
        over = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=over, base_url="http://sidecar") as client:
            return await client.request(method, path, json=body)


async def test_the_models_are_the_tiers_the_aliases_and_what_is_configured():
    answer = await asking("GET", "/v1/models")
    listed = answer.json()
    assert (answer.status_code, listed["object"]) == (200, "list")
    assert {entry["id"]: entry["owned_by"] for entry in listed["data"]} == {
        "simple": "tiergate",
        "moderate": "tiergate",
        "complex": "tiergate",
        "auto": "tiergate",
        "gpt-4o*": "tiergate",
        "org/large": "tiergate",  # an alias goes before the model of its name
        "small": "p2",  # the cheapest that offers it
        "a/b c": "p1",
    }
    for entry in listed["data"]:
        assert set(entry) == {"id", "object", "created", "owned_by"}
        assert (entry["object"], entry["created"]) == ("model", 1_700_000_000)


@pytest.mark.parametrize(
    "name", ["simple", "auto", "gpt-4o*", "small", "org/large", "a%2Fb%20c", "a/b c"]
)
async def test_one_model_is_its_entry_of_the_list(name):
    listed = (await asking("GET", "/v1/models")).json()["data"]
    answer = await asking("GET", f"/v1/models/{name}")
    assert answer.status_code == 200
    assert answer.json() in listed
    assert answer.json()["id"] == name.replace("%2F", "/").replace("%20", " ")


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allow"),
    [
        ("GET", "/", 404, "endpoint_not_found", None),
        ("GET", "/v1/modelz", 404, "endpoint_not_found", None),
        ("POST", "/v1/embeddings", 404, "endpoint_not_found", None),
        ("POST", "/v1/chat/completions/", 404, "endpoint_not_found", None),
        ("GET", "/docs", 404, "endpoint_not_found", None),
        ("GET", "/v1/models/unheard-of", 404, "model_not_found", None),
        ("GET", "/v1/models/", 404, "model_not_found", None),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed", {"POST"}),
        ("PUT", "/v1/chat/completions", 405, "method_not_allowed", {"POST"}),
        ("OPTIONS", "/v1/chat/completions", 405, "method_not_allowed", {"POST"}),
        ("POST", "/v1/models", 405, "method_not_allowed", {"GET", "HEAD"}),
        ("DELETE", "/v1/models/small", 405, "method_not_allowed", {"GET", "HEAD"}),
    ],
)
async def test_everything_else_is_refused_in_the_one_shape(method, path, status, code, allow):
    answer = await asking(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    (error,) = answer.json().values()
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert error["message"]
    allowed = answer.headers.get("allow")
    assert (allowed and set(allowed.split(", "))) == allow


async def test_an_unknown_model_is_named_but_not_at_any_length():
    error = (await asking("GET", f"/v1/models/{'x' * 5000}")).json()["error"]
    assert (error["param"], error["message"].count("x")) == ("model", 100)


async def test_a_head_request_is_answered_without_a_body():
    answer = await asking("HEAD", "/v1/models")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_model_that_is_passed_on_finds_nobody_here():
    body = {"model": "unheard-of", "messages": []}
    answer = await asking("POST", "/v1/chat/completions", body, routing={"unknown_model": "pass"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_other_paths_may_be_ours():
    routing = {"paths": ["/chat"]}
    answer = await asking("POST", "/chat", {"messages": []}, routing=routing)
    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert (await asking("GET", "/chat", routing=routing)).headers["allow"] == "POST"
    gone = await asking("POST", "/v1/chat/completions", {"messages": []}, routing=routing)
    assert gone.json()["error"]["code"] == "endpoint_not_found"


async def test_nothing_is_listed_before_the_tiers_are_loaded():
    tables = {"providers": CONFIG["providers"], "tier_config": {"source": "file", "file": "x.json"}}
    gateway = Gateway(tables, transport=ScriptedTransport({}), environ={})
    app = sidecar_app(gateway, now=lambda: 0)
    over = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=over, base_url="http://sidecar") as client:
        assert (await client.get("/v1/models")).json()["data"] == []
        assert (await client.get("/v1/models/simple")).status_code == 404


# --- with the proxy


async def passing(method, path, headers=(), **proxy):
    """The status and the body of an answer, with a target and a provider that are not there."""
    settings = Proxy(**proxy)
    async with Gateway(CONFIG, transport=ScriptedTransport({}), environ={}) as gateway:
        app = sidecar_app(gateway, now=lambda: 0, proxy=lambda: settings)
        over = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=over, base_url="http://sidecar") as client:
            answer = await client.request(method, path, headers=dict(headers))
            return answer.status_code, answer.headers, answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/v1/models", 200, "org/large"),
        ("GET", "/v1/models/small", 200, "small"),
        ("DELETE", "/v1/models/small", 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("GET", "/v1/files", 403, "endpoint_not_allowed"),
    ],
)
async def test_what_is_ours_or_not_allowed_is_not_passed_on(method, path, status, says):
    proxy = {"target": "http://app.invalid", "provider": "p1"}
    answered, _, text = await passing(method, path, **proxy)
    assert (answered, says in text) == (status, True)


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v1/chat/completions"])
async def test_a_websocket_that_comes_as_a_page_is_refused(path):
    asks = {"connection": "upgrade", "upgrade": "websocket"}
    status, headers, text = await passing("GET", path, asks.items(), target="http://app.invalid")
    assert (status, headers["connection"]) == (501, "close")
    assert "websocket_not_supported" in text


async def test_a_websocket_is_closed_before_it_is_accepted():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    gateway = Gateway(CONFIG, transport=ScriptedTransport({}), environ={})
    app = sidecar_app(gateway, now=lambda: 0, proxy=lambda: Proxy(target="http://app.invalid"))
    await app({"type": "websocket", "path": "/"}, receive, send)
    assert sent == ["websocket.close"]


async def test_it_starts_and_ends_with_its_server():
    says = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive():
        return next(says)

    async def send(message):
        sent.append(message["type"])

    gateway = Gateway(CONFIG, transport=ScriptedTransport({}), environ={})
    await sidecar_app(gateway, now=lambda: 0)({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
