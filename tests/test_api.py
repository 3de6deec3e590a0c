"""The pages under /v1 and /config: what was, what would be, and by which settings; each answered
from where it is kept, and refused in the one shape."""

import asyncio
import random
from contextlib import asynccontextmanager

import httpx
import pytest
from finished import record

from tiergate import Gateway
from tiergate.testing import Say, ScriptedTransport
from tiergate_sidecar.admin import admin_app
from tiergate_sidecar.effective import Setting
from tiergate_sidecar.recent import Ring
from tiergate_sidecar.trials import MOST_BYTES

NOW = 1_700_000_000
CONFIG = {
    "providers": {"p1": {"base_url": "http://p1/v1", "headers": {"X-Key": "swordfish"}}},
    "tiers": {
        "simple": [{"provider": "p1", "model": "m", "input_price_per_million": 1.0}],
        "moderate": [],
    },
}
BODY = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}


@asynccontextmanager
async def pages(records=(), config=CONFIG, **given):
    """A client of the pages, and the scripted provider that nobody should ask."""
    ring = Ring(100)
    for each in records:
        ring.finished(each)
    transport = ScriptedTransport({"p1": Say.completion()})
    gateway = Gateway(
        config,
        transport=transport,
        clock=asyncio.get_running_loop().time,
        chance=random.Random(7),
        environ={},
    )
    app = admin_app(gateway, ring=ring, now=lambda: NOW, **given)
    async with (
        gateway,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin") as client,
    ):
        yield client
    assert transport.sent == []


def hours_ago(hours, **changes):
    return record(f"h{hours}", at=int((NOW - hours * 3600) * 1e6), **changes)


async def test_requests_are_listed_by_the_query():
    kept = [hours_ago(200), hours_ago(30), hours_ago(2, outcome="timeout"), hours_ago(0)]
    async with pages(kept) as client:
        said = (await client.get("/v1/requests?range=last_24h&per_page=1&page=2")).json()
        assert [row["id"] for row in said["data"]] == ["h2"]
        assert (said["total"], said["total_pages"]) == (2, 2)
        assert said["until"] == NOW * 1_000_000
        said = (await client.get("/v1/requests")).json()
        assert [row["id"] for row in said["data"]] == ["h0", "h2", "h30"]  # of the last 7 days


async def test_sums_are_told_by_the_query():
    async with pages([hours_ago(1), hours_ago(2, tier="complex")]) as client:
        said = (await client.get("/v1/stats?group_by=tier")).json()
    assert said["counts"]["total"] == 2
    assert said["tiers"]["complex"]["counts"]["total"] == 1


@pytest.mark.parametrize("path", ["/v1/requests?sort=colour", "/v1/stats?group_by=owner"])
async def test_a_query_that_says_nothing_sensible_is_refused(path):
    async with pages() as client:
        answer = await client.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_request")
    assert error["param"] in path


@pytest.mark.parametrize("path", ["/v1/requests", "/v1/stats"])
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("model=gone&provider=OLD&range=last_1h", None),  # in the log, if not in this hour
        ("model=M&provider=P1&tier=complex", None),  # configured, if without a request
        ("model=nope", "model_not_found"),
        ("model=simple", "model_not_found"),  # a tier, which no provider is asked for
        ("model=m&provider=nope", "provider_not_found"),
    ],
)
async def test_a_name_that_nobody_has_heard_of_is_no_empty_answer(path, query, code):
    async with pages([hours_ago(30, model="Gone", provider="old")]) as client:
        answer = await client.get(f"{path}?{query}")
    if code is None:
        assert answer.status_code == 200
    else:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, code)
        assert error["param"] == code.partition("_")[0]


async def test_sums_by_model_have_the_configured_ones_and_no_requests_are_told_as_such():
    async with pages([hours_ago(30, model="old")]) as client:
        said = (await client.get("/v1/stats?group_by=model")).json()
        assert {name: of["counts"]["total"] for name, of in said["models"].items()} == {
            "m": 0,
            "old": 1,
        }
        assert not {"empty", "message"} & said.keys()
        said = (await client.get("/v1/stats?range=last_1h&group_by=model")).json()
        assert (said["empty"], said["message"]) == (True, "No requests match in this time.")
        assert list(said["models"]) == ["m"]


class Past:
    """A log in which one request is found that the ring has no more."""

    async def request(self, name):
        return record("older") if name == "older" else None


async def test_one_request_is_looked_for_in_the_ring_and_then_in_the_past():
    kept = [record("a", client_id="their/s", latency_us=7)]
    async with pages(kept, history=Past()) as client:
        for name in ("a", "their/s", "their%2Fs"):
            said = (await client.get(f"/v1/requests/{name}")).json()
            assert (said["id"], said["latency_us"]) == ("a", 7)
            assert said["pool"][0]["share"] == 1.0  # which only the ring knows
        assert (await client.get("/v1/requests/older")).json()["id"] == "older"
        answer = await client.get("/v1/requests/nobody")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "request_not_found"


async def test_what_would_become_of_a_request_is_told_and_nobody_is_called():
    async with pages() as client:
        said = (await client.post("/v1/explain", json={**BODY, "tier": "simple"})).json()
        assert (said["tier"], said["reason"], said["drawn"]) == ("simple", "explicit", True)
        assert said["estimate"] == {
            "input_tokens": len('[{"role":"user","content":"Hello"}]') // 4,
            "output_tokens": 10,
            "output_assumed": False,
        }
        assert said["candidates"] == [
            {
                "provider": "p1",
                "model": "m",
                "weight": 1.0,
                "share": 1.0,
                "state": "available",
                "failures": 0,
                "seconds_left": 0.0,
                "cost": None,  # the price of its output is not known
                "tier": "simple",
                "left_out": None,
            }
        ]
        named = await client.post("/v1/explain", json=BODY, headers={"X-Sentinel-Tier": "simple"})
        assert named.json()["reason"] == "explicit"


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"json": {**BODY, "model": "nope"}}, 404, "model_not_found"),
        ({"json": {**BODY, "tier": "complex"}}, 503, "tier_not_configured"),
        ({"json": {}}, 400, "invalid_request"),
        (
            {"content": b"{", "headers": {"content-type": "application/json"}},
            400,
            "invalid_request",
        ),
        ({"json": {**BODY, "user": "x" * 2000}}, 413, "request_too_large"),
        ({"data": {"a": "b"}}, 415, "unsupported_content_type"),
    ],
)
async def test_what_would_be_refused_is_refused(said, status, code):
    async with pages(config=CONFIG | {"limits": {"max_body_bytes": 1000}}) as client:
        answer = await client.post("/v1/explain", **said)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_policy_is_named_by_the_header_that_a_client_would_send():
    policy = {"name": "own", "allowed_models": ["m"]}
    async with pages(config=CONFIG | {"policies": [policy]}) as client:
        ask = {"json": {**BODY, "tier": "simple"}}
        said = await client.post("/v1/explain", **ask, headers={"X-Arbstr-Policy": "own"})
        assert said.json()["policy"] == {"name": "own", "binding": True}
        wrong = await client.post("/v1/explain", **ask, headers={"X-Arbstr-Policy": "onw"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "X-Arbstr-Policy")


async def test_how_the_classifier_decides_now_is_told():
    settings = {"moderate": 0.3, "complex": 0.7, "weights": {"question": 2.5}}
    async with pages(config=CONFIG | {"classifier": settings}) as client:
        said = (await client.get("/v1/classifier")).json()
    assert said["boundaries"] == {"moderate": 0.3, "complex": 0.7}
    assert said["weights"]["question"] == 2.5
    assert len(said["weights"]) > 10  # those that nobody has set too


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"json": {"config": "x" * MOST_BYTES}}, 413, "request_too_large"),
        ({"data": {"config": ""}}, 415, "unsupported_content_type"),
        ({"json": {"configuration": ""}}, 400, "invalid_request"),
    ],
)
async def test_a_trial_that_is_none_is_refused(said, status, code):
    async with pages() as client:
        answer = await client.post("/v1/replay", **said)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_the_settings_in_effect_are_told_without_secrets():
    async with pages() as client:
        answer = await client.get("/config")
    settings = {each["path"]: each for each in answer.json()["settings"]}
    assert settings["retry.retries"] == {"path": "retry.retries", "value": 2, "origin": "default"}
    assert settings["providers.p1.base_url"]["origin"] == "given"
    assert "swordfish" not in answer.text


async def test_the_sidecar_says_where_each_came_from():
    told = [Setting("server.listen", ":1", "flag")]
    async with pages(configuration=lambda: told) as client:
        said = (await client.get("/config")).json()
    assert said == {"settings": [{"path": "server.listen", "value": ":1", "origin": "flag"}]}
