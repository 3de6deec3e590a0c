"""What the sidecar answers beside chat requests: the list of models, and a clear no in the one
shape to everything else."""

import httpx
import pytest

from tiergate import Gateway, TierMiddleware
from tiergate.testing import Say, ScriptedTransport
from tiergate_sidecar.app import sidecar_app

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
        "gpt-4o*": "tiergate",
        "org/large": "tiergate",  # an alias goes before the model of its name
        "small": "p2",  # the cheapest that offers it
        "a/b c": "p1",
    }
    for entry in listed["data"]:
        assert set(entry) == {"id", "object", "created", "owned_by"}
        assert (entry["object"], entry["created"]) == ("model", 1_700_000_000)


@pytest.mark.parametrize("name", ["simple", "gpt-4o*", "small", "org/large", "a%2Fb%20c", "a/b c"])
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
