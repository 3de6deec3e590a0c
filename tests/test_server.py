"""The process's two listeners in one loop: where they are, whom they answer, how a signal reloads
them, and their orderly end. What only a process of its own can show (exit codes, a second signal)
is in `e2e/test_sidecar.py`."""

import asyncio
import gc
import json
import signal
import socket
from contextlib import asynccontextmanager

import httpx
import pytest
from e2e.replicas import eventually
from e2e.support import (
    CHAT,
    HELLO,
    completing,
    connected,
    error_of,
    failing,
    recording,
    routed,
    silent,
)

from tiergate import ConfigError, Gateway
from tiergate_sidecar.sealing import COMMON
from tiergate_sidecar.server import serve
from tiergate_sidecar.settings import Admin, Auth, Server, Settings


class Sidecar:
    """One that serves in this loop. `stop` says SIGTERM once: a second one would end the tests."""

    def __init__(self, where):
        self.clients, self.admin, self.probes = where.clients, where.admin, where.probes
        self.stopped = False

    def stop(self, number=signal.SIGTERM):
        if not self.stopped:
            self.stopped = True
            signal.raise_signal(number)


@asynccontextmanager
async def sidecar(
    base_url="http://127.0.0.1:1/v1", *, config=None, token_env="", tokens="", **server
):
    """Leaving it is SIGTERM, and waits for the end. `config` takes the place of the usual one."""
    started = asyncio.get_running_loop().create_future()
    settings = Settings(
        server=Server(**{"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **server}),
        admin=Admin(token_env=token_env),
        auth=Auth(tokens_file=str(tokens)),
    )
    gateway = Gateway(config or routed(base_url), environ={})
    serving = asyncio.create_task(
        serve(
            settings,
            gateway,
            started=started.set_result,
            now=lambda: 7.0,
        )
    )
    await asyncio.wait({serving, started}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    running = Sidecar(started.result())
    try:
        yield running
    finally:
        running.stop()
        await asyncio.wait_for(serving, timeout=5)


async def get(address, path):
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        return await client.get(path)


async def post(address, path=CHAT, json=HELLO, **headers):
    async with httpx.AsyncClient(base_url=f"http://{address}", headers=headers) as client:
        return await client.post(path, json=json)


async def configuration(here):
    return (await get(here.admin, "/health")).json()["configuration"]


async def connect_again_and_again(address):
    """uvicorn looks at its flag ten times a second."""
    async with asyncio.timeout(5):
        while True:
            async with connected(f"http://{address}"):
                await asyncio.sleep(0.01)


async def test_clients_and_operators_have_a_listener_each():
    async with recording(completing("hi")) as upstream, sidecar(upstream.base_url) as here:
        assert here.clients.port != here.admin.port
        answer = await post(here.clients)
        assert answer.json()["choices"][0]["message"]["content"] == "hi"
        assert "server" not in answer.headers
        models = (await get(here.clients, "/v1/models")).json()["data"]
        assert {model["created"] for model in models} == {7}
        for page in ("/health/live", "/health/ready"):
            assert (await get(here.admin, page)).status_code == 200
            assert error_of((await get(here.clients, page)).content)["code"] == "endpoint_not_found"
        assert (await get(here.admin, "/v1/models")).status_code == 404


async def test_the_operators_listener_is_guarded():
    async with sidecar() as here:
        for host, status in (("localhost", 200), ("[::1]:9090", 200), ("evil.test", 403)):
            answer = await post(here.admin, "/reload", json={}, host=host)
            assert answer.status_code == status
            assert COMMON.items() <= dict(answer.headers).items()
    async with sidecar(admin="0.0.0.0:0") as here:
        everywhere = f"127.0.0.1:{here.admin.port}"
        assert (await get(everywhere, "/health/ready")).status_code == 200
        assert (await post(everywhere, "/reload", json={})).status_code == 404


async def test_a_redis_that_is_away_stops_neither_requests_nor_readiness():
    async with recording(completing("hi")) as upstream:
        away = routed(upstream.base_url, sessions={"url": "redis://127.0.0.1:1"})
        async with sidecar(config=away) as here:
            for _ in range(2):
                answer = await post(here.clients, json=HELLO | {"conversation_id": "c"})
                assert answer.status_code == 200
            assert (await get(here.admin, "/health/ready")).status_code == 200
            said = (await get(here.admin, "/health")).json()
    assert (said["sessions"]["held"], said["sessions"]["unsaved"]) == (1, 1)
    (store,) = said["stores"]
    assert (store["name"], store["available"]) == ("redis://127.0.0.1:1/0", False)
    assert store["errors"] > 1
    assert store["last_error"]


async def test_a_sighup_reads_the_configuration_again_and_a_bad_one_changes_nothing(tmp_path):
    file = tmp_path / "tiergate.json"
    config = routed("http://127.0.0.1:1/v1")
    file.write_text(json.dumps(config))

    async with sidecar(config=file) as here:

        async def listed():
            models = (await get(here.clients, "/v1/models")).json()["data"]
            return {model["id"] for model in models}

        async def renamed():
            return "tiny" in await listed()

        async def refused():
            return (await configuration(here))["last_error"]

        assert not await renamed()
        config["tiers"]["simple"][0]["model"] = "tiny"
        file.write_text(json.dumps(config))
        signal.raise_signal(signal.SIGHUP)
        await eventually(renamed)
        file.write_text(json.dumps(config | {"retry": {"retires": 1}}))
        signal.raise_signal(signal.SIGHUP)
        await eventually(refused)
        assert await renamed()
        assert "retry.retires" in await refused()
        assert (await get(here.admin, "/health/ready")).status_code == 200
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


async def test_the_end_does_not_wait_for_a_reload_that_does(tmp_path):
    file, config = tmp_path / "tiergate.json", routed("http://127.0.0.1:1/v1")
    file.write_text(json.dumps(config))
    async with recording(silent) as service, sidecar(config=file):
        source = {"source": "http", "url": service.base_url, "timeout_seconds": 60}
        file.write_text(json.dumps(config | {"tier_config": source}))
        for _ in range(2):  # the second waits for the first
            signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(0.01)
        await service.calls()


async def test_however_many_signals_come_while_one_reload_runs_one_more_follows_it(tmp_path):
    file, config, gate = (
        tmp_path / "tiergate.json",
        routed("http://127.0.0.1:1/v1"),
        asyncio.Event(),
    )
    file.write_text(json.dumps(config))

    async def wait(call):
        await gate.wait()
        await failing(500)(call)

    async with recording(wait) as service, sidecar(config=file) as here:
        source = {"source": "http", "url": service.base_url, "timeout_seconds": 60}
        file.write_text(json.dumps(config | {"tier_config": source}))
        signal.raise_signal(signal.SIGHUP)
        await service.calls()
        for _ in range(5):
            signal.raise_signal(signal.SIGHUP)
            await get(here.clients, "/v1/models")  # the loop has seen the signal
        gate.set()
        await service.calls(2)
        assert [len(await service.calls(2)), (await get(here.admin, "/health")).status_code] == [
            2,
            200,
        ]


async def test_with_a_token_the_operators_pages_are_for_who_shows_it(monkeypatch):
    monkeypatch.setenv("OPS_TOKEN", "swordfish")
    async with sidecar(token_env="OPS_TOKEN") as here:
        assert (await get(here.admin, "/health")).status_code == 200
        assert (await get(here.admin, "/v1/requests")).status_code == 401
        async with httpx.AsyncClient(base_url=f"http://{here.admin}") as client:
            assert (await client.post("/login", json={"token": "swordfish"})).status_code == 204
            assert (await client.get("/v1/requests")).status_code == 200


async def test_an_open_live_page_ends_with_the_process():
    async with (
        sidecar() as here,
        httpx.AsyncClient(base_url=f"http://{here.admin}") as client,
        client.stream("GET", "/v1/live") as live,
    ):
        lines = live.aiter_lines()
        assert await anext(lines) == "retry: 500"
        here.stop()
        async with asyncio.timeout(0.9):  # before the server's own grace would cut it
            assert [line async for line in lines][1] == "event: hello"


async def test_without_a_token_in_its_variable_nothing_is_served(monkeypatch):
    monkeypatch.delenv("OPS_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="OPS_TOKEN"):
        async with sidecar(token_env="OPS_TOKEN"):
            pass
    async with sidecar(token_env="OPS_TOKEN", admin="") as here:  # nobody needs it
        assert here.admin is None


async def test_without_an_admin_address_only_clients_are_served():
    async with sidecar(admin="") as here:
        assert here.admin is None
        assert (await get(here.clients, "/v1/models")).status_code == 200


async def test_a_pod_has_probes_and_metrics_for_everybody_and_nothing_else():
    async with sidecar(probes="127.0.0.1:0") as here:
        for host in ("10.1.2.3:4192", "localhost"):
            async with httpx.AsyncClient(
                base_url=f"http://{here.probes}", headers={"host": host}
            ) as kubelet:
                for page in ("/health/live", "/health/ready", "/metrics"):
                    assert (await kubelet.get(page)).status_code == 200
                for page in ("/health", "/config", "/v1/requests", "/v1/live", "/"):
                    answer = await kubelet.get(page)
                    assert error_of(answer.content)["code"] == "endpoint_not_found"
                assert (await kubelet.post("/reload", json={})).status_code == 404
                assert (await kubelet.post("/health/live", json={})).status_code == 405


async def test_probes_are_answered_until_the_last_request_has_ended():
    gate = asyncio.Event()

    async def wait(call):
        await gate.wait()
        await completing("whole")(call)

    async with (
        recording(wait) as upstream,
        sidecar(upstream.base_url, admin="", probes="127.0.0.1:0") as here,
    ):
        asked = asyncio.create_task(post(here.clients))
        await upstream.calls()
        here.stop()
        assert (await get(here.probes, "/health/ready")).status_code == 503
        assert (await get(here.probes, "/health/live")).status_code == 200
        gate.set()
        assert (await asked).status_code == 200


async def test_with_tokens_the_whole_listener_is_for_who_shows_one(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("ada: swordfish\n")
    async with (
        recording(completing("hi")) as upstream,
        sidecar(upstream.base_url, tokens=file) as here,
        httpx.AsyncClient(base_url=f"http://{here.clients}") as client,
    ):
        for ask in (client.get("/v1/models"), client.get("/"), client.post(CHAT, json=HELLO)):
            answer = await ask
            assert (answer.status_code, error_of(answer.content)["code"]) == (
                401,
                "invalid_api_key",
            )
        assert await upstream.calls(0) == []
        client.headers["authorization"] = "Bearer swordfish"
        assert (await client.get("/v1/models")).status_code == 200
        assert (await client.post(CHAT, json=HELLO)).status_code == 200
        (call,) = await upstream.calls()
        assert "swordfish" not in str(call.headers)

        async def replaced():
            return (await client.get("/v1/models")).status_code == 401

        file.write_text("ada: trout\n")
        await eventually(replaced)
        client.headers["authorization"] = "Bearer trout"
        assert (await client.get("/v1/models")).status_code == 200


async def test_a_file_without_tokens_lets_nobody_serve(tmp_path):
    with pytest.raises(ConfigError, match=r"^auth\.tokens_file: cannot read"):
        async with sidecar(tokens=tmp_path / "tokens"):
            pass


@pytest.mark.parametrize(
    ("listen", "keys", "warned"),
    [("127.0.0.1:0", True, False), ("0.0.0.0:0", False, False), ("0.0.0.0:0", True, True)],
)
async def test_a_listener_open_to_others_is_warned_of_while_it_spends_our_keys(
    tmp_path, caplog, listen, keys, warned
):
    config = routed("http://127.0.0.1:1/v1")
    if keys:
        (tmp_path / "key").write_text("sk-1")
        config["providers"] = {
            name: each | {"api_key_file": str(tmp_path / "key")}
            for name, each in config["providers"].items()
        }
    async with sidecar(config=config, listen=listen):
        assert ("spends your keys" in caplog.text) is warned


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_every_address_is_of_both_families():
    async with sidecar(probes=":0") as here:
        for host in ("127.0.0.1", "[::1]"):
            assert (await get(f"{host}:{here.probes.port}", "/health/live")).status_code == 200


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_an_ipv6_address_is_printed_in_brackets():
    async with sidecar(listen="[::1]:0") as here:
        assert str(here.clients) == f"[::1]:{here.clients.port}"
        assert (await get(here.clients, "/v1/models")).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_not_ready_then_no_new_connections_then_the_end(number):
    gate = asyncio.Event()

    async def wait(call):
        await gate.wait()
        await completing("whole")(call)

    async with recording(wait) as upstream, sidecar(upstream.base_url) as here:
        asked = asyncio.create_task(post(here.clients))
        await upstream.calls()
        here.stop(number)
        ready = await get(here.admin, "/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
        assert (await get(here.admin, "/health/live")).status_code == 200
        with pytest.raises(ConnectionRefusedError):
            await connect_again_and_again(here.clients)
        assert not asked.done()
        gate.set()
        assert (await asked).json()["choices"][0]["message"]["content"] == "whole"
    for address in (here.clients, here.admin):
        with pytest.raises(httpx.ConnectError):
            await get(address, "/health/live")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_without_a_grace_running_requests_are_let_go_of(caplog):
    async with recording(silent) as upstream:
        async with sidecar(upstream.base_url, grace_seconds=0) as here:
            asked = asyncio.create_task(post(here.clients))
            (call,) = await upstream.calls()
            here.stop()
            assert (await asked).status_code >= 500
        async with asyncio.timeout(1):
            await call.gone.wait()
    assert "Cancel 1 running task(s)" in caplog.text


async def test_a_signal_while_starting_ends_it_before_it_serves():
    heard = []
    serving = asyncio.create_task(
        serve(
            Settings(server=Server(listen="127.0.0.1:0", admin="")),
            Gateway(routed("http://127.0.0.1:1/v1"), environ={}),
            started=heard.append,
        )
    )
    await asyncio.sleep(0)  # its handlers are set
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        await serving
    assert heard == []


async def test_the_end_of_the_last_request_is_told_of_before_the_gateway_is_closed():
    heard, started = [], asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(
            Settings(server=Server(listen="127.0.0.1:0", admin="")),
            Gateway(routed("http://127.0.0.1:1/v1"), environ={}),
            started=started.set_result,
            ended=lambda: heard.append("ended"),
        )
    )
    async with asyncio.timeout(5):
        await started
        assert heard == []
        signal.raise_signal(signal.SIGTERM)
        await serving
    assert heard == ["ended"]


@pytest.mark.parametrize("where", ["listen", "admin", "probes"])
@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1", "Address already in use"), ("192.0.2.1", "Cannot assign requested address")],
)
async def test_an_address_that_cannot_be_had_is_one_clear_error(where, host, reason):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as failed:
            async with sidecar(**{where: f"{host}:{port}"}):
                pass
    assert str(failed.value) == f"server.{where}: cannot listen on {host}:{port}: {reason}"
    del failed
    gc.collect()  # a listener that was had already is not left open: that would warn here
