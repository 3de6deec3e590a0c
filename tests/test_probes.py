"""Alive while the process runs, ready only while it should be sent requests, how everything stands,
and a reload that says what is wrong."""

import asyncio
import json
import random
from contextlib import asynccontextmanager

import httpx
import pytest

from tiergate import Gateway, TierMiddleware
from tiergate.testing import Say, ScriptedTransport
from tiergate_sidecar.admin import admin_app
from tiergate_sidecar.life import Life, Phase

CONFIG = {
    "providers": {"p1": {"base_url": "http://p1/v1"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
}
PRICES = {"inputPricePerMillion": 0.1, "outputPricePerMillion": 0.4}


@asynccontextmanager
async def admin(config=CONFIG, phase=Phase.SERVING, *, loaded=True, transport=None, **pages):
    """A client of the pages, and the gateway that they are about; Unix time begins at 1000."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    gateway = Gateway(
        config,
        transport=transport or ScriptedTransport({}),
        clock=loop.time,
        wall=lambda: 1000 + loop.time() - begun,
        chance=random.Random(7),
        environ={},
    )
    if loaded:
        await gateway.open()
    over = httpx.ASGITransport(admin_app(gateway, life=Life(phase), **pages))
    async with httpx.AsyncClient(transport=over, base_url="http://admin") as client:
        yield client, gateway
    await gateway.close()


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase.STARTING, (503, "starting")),
        (Phase.SERVING, (200, "ok")),
        (Phase.DRAINING, (503, "draining")),
    ],
)
async def test_ready_is_only_said_while_serving(phase, expected):
    async with admin(phase=phase) as (client, _):
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["status"]) == expected
        assert (await client.get("/health")).json()["ready"] is (phase is Phase.SERVING)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("loaded", [True, False])
async def test_alive_is_said_always(phase, loaded):
    async with admin(phase=phase, loaded=loaded) as (client, _):
        answer = await client.get("/health/live")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def fed(path, **tables):
    """A configuration whose tiers are those of a file."""
    source = {"source": "file", "file": str(path), "ttl_seconds": 60}
    return {"providers": CONFIG["providers"], "tier_config": source, **tables}


def document(version, *models, provider="p1"):
    entries = [{"provider": provider, "model": model, **PRICES} for model in models]
    return json.dumps({"version": version, "updatedAt": "2026-01-01", "tiers": {"simple": entries}})


async def test_without_any_tiers_nothing_is_ready_and_health_says_why(tmp_path):
    async with admin(fed(tmp_path / "gone.json")) as (client, _):
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "no usable configuration"})
        said = (await client.get("/health")).json()
        assert said["ready"] is False
        configuration = said["configuration"]
        assert (configuration["version"], configuration["age_seconds"]) == (None, None)
        assert "gone.json" in configuration["last_error"]
        assert said["providers"] == []


async def test_the_last_good_document_keeps_it_ready_and_shows_its_age(tmp_path):
    file = tmp_path / "tiers.json"
    file.write_text(document("7", "m", "n").replace('"n"', '""'))
    async with admin(fed(file)) as (client, _):
        file.write_text("{")
        await asyncio.sleep(90)
        assert (await client.get("/health/ready")).status_code == 200
        said = (await client.get("/health")).json()["configuration"]
        assert said.pop("last_error").startswith(str(file))
        (skipped,) = said.pop("skipped")
        assert skipped.startswith("tiers.simple[1] (p1/): model: ")
        assert said == {
            "source": f"file {file}",
            "version": "7",
            "updated_at": "2026-01-01",
            "age_seconds": 90,
            "needs_restart": [],
        }
        file.write_text(document("8", "m"))
        await asyncio.sleep(60)
        said = (await client.get("/health")).json()["configuration"]
        assert (said["version"], said["last_error"], said["skipped"]) == ("8", None, [])
        assert said["age_seconds"] <= 60


async def test_health_tells_of_every_candidate_of_the_sessions_and_of_the_stores():
    config = {
        "providers": {name: {"base_url": f"http://{name}/v1"} for name in ("p1", "p2")},
        "tiers": {
            "simple": [{"provider": "p1", "model": "m"}, {"provider": "p2", "model": "m"}],
            "complex": [{"provider": "p2", "model": "m"}],
        },
        "sessions": {"url": "redis://user:swordfish@127.0.0.1:1/3"},
        "retry": {"retries": 0},
    }
    transport = ScriptedTransport({"p1": Say(500), "p2": Say.completion()})
    async with admin(config, transport=transport) as (client, gateway):
        app = TierMiddleware(admin_app(gateway), gateway=gateway, authorize="open")
        over = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=over, base_url="http://clients") as one:
            while not gateway.health.ailing():  # until p1 has been drawn first
                assert (await one.post("/v1/chat/completions", json={"messages": []})).is_success
        await asyncio.sleep(10)
        answer = await client.get("/health")
    assert answer.headers["content-type"] == "application/json"
    assert "swordfish" not in answer.text
    said = answer.json()
    assert said["status"] == "serving"
    assert said["providers"] == [
        {"provider": "p1", "model": "m", "state": "backing off", "failures": 1, "seconds_left": 20},
        {"provider": "p2", "model": "m", "state": "available", "failures": 0, "seconds_left": 0},
    ]
    redis = "redis://127.0.0.1:1/3"
    assert (said["sessions"]["name"], said["sessions"]["held"]) == (redis, 0)
    (store,) = said["stores"]
    assert (store["name"], store["available"], store["errors"]) == (redis, True, 0)


async def test_in_memory_there_is_no_store_to_tell_of():
    async with admin() as (client, _):
        said = (await client.get("/health")).json()
    assert (said["sessions"]["name"], said["stores"]) == ("memory://", [])


# --- reload ----------------------------------------------------------------------------------


def written(file, **tables):
    file.write_text(json.dumps(CONFIG | tables))
    return file


async def test_a_reload_answers_with_health_as_it_is_now(tmp_path):
    file = written(tmp_path / "config.json")
    async with admin(file, needs_restart=lambda: ("server",)) as (client, gateway):
        written(file, retry={"retries": 5}, cache={"key_prefix": "x:"})
        answer = await client.post("/reload", json={})
        assert answer.status_code == 200
        assert answer.json()["configuration"]["needs_restart"] == ["cache", "server"]
        assert answer.json() == (await client.get("/health")).json()
        assert gateway.config.retry.retries == 5


@pytest.mark.parametrize(
    ("tables", "path"),
    [
        ({"retry": {"retires": 5}}, "retry.retires: unknown key"),
        ({"tiers": {"simple": [{"provider": "p1", "model": "m", "relative_cost": 300}]}}, "tiers."),
        ({"providers": {"p1": {"base_url": "http://x", "api_key_env": "GONE"}}}, "providers.p1: "),
        ({"tier_config": {"source": "http", "url": "ftp://x"}}, "tier_config.url: "),
        ({"cache": {"url": "redis://:swordfish@"}}, "cache.url: "),
    ],
)
async def test_what_cannot_be_used_is_refused_by_its_path_and_changes_nothing(
    tmp_path, tables, path
):
    file = written(tmp_path / "config.json")
    async with admin(file) as (client, gateway):
        before = gateway.config
        written(file, **tables)
        answer = await client.post("/reload", json={})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["message"].startswith(path)
        assert error == {
            "message": error["message"],
            "type": "invalid_request_error",
            "param": None,
            "code": "configuration_refused",
        }
        assert gateway.config is before
        health = await client.get("/health")
        assert health.json()["configuration"]["last_error"] == error["message"]
        assert (await client.get("/health/ready")).status_code == 200
        assert "swordfish" not in answer.text + health.text
        written(file)
        assert (await client.post("/reload", json={})).status_code == 200
        assert (await client.get("/health")).json()["configuration"]["last_error"] is None


async def test_a_source_without_usable_tiers_is_refused_too(tmp_path):
    tiers, file = tmp_path / "tiers.json", tmp_path / "config.json"
    tiers.write_text(document("7", "m"))
    file.write_text(json.dumps(fed(tiers)))
    async with admin(file) as (client, _):
        tiers.write_text(document("8", "m", provider="nobody"))
        answer = await client.post("/reload", json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            400,
            "configuration_refused",
        )
        assert "nobody/m: the provider is not in [providers]" in answer.json()["error"]["message"]
        assert (await client.get("/health")).json()["configuration"]["version"] == "7"
