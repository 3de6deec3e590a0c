"""The webhook's process in this loop: both listeners, the certificate it waits for, the API server
it asks, and its orderly end. Exit codes and a load are in `e2e/test_webhook.py`."""

import asyncio
import gc
import json
import signal
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from admission_reviews import patch_of, question, response_of
from e2e.replicas import eventually
from kubeapi import FakeApi

from tiergate import ConfigError
from tiergate_sidecar.injection import Injector
from tiergate_sidecar.make_certs import make_certs
from tiergate_sidecar.settings import Address
from tiergate_sidecar.webhook import BY_NAMESPACE, Rules
from tiergate_sidecar.webhook_server import Serving, serve_webhook

ANY = "127.0.0.1:0"


@dataclass
class Here:
    reviews: Address
    probes: Address
    stopped: bool = False

    def stop(self, number=signal.SIGTERM):
        """Once: a second signal would end the tests."""
        if not self.stopped:
            self.stopped = True
            signal.raise_signal(number)


def settings(folder, **about):
    files = {"certificate": folder / "tls.crt", "key": folder / "tls.key"}
    return Serving(**{"listen": ANY, "probes": ANY, "linger_seconds": 0, **files, **about})


@asynccontextmanager
async def webhook(folder, **about):
    """Leaving it is SIGTERM, and waits for the end."""
    started = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_webhook(
            settings(folder, **about),
            Injector(image="tiergate:0.1.0"),
            Rules(),
            started=lambda *both: started.set_result(both),
        )
    )
    await asyncio.wait({serving, started}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    here = Here(*started.result())
    try:
        yield here
    finally:
        here.stop()
        await asyncio.wait_for(serving, timeout=5)


def certified(folder):
    make_certs(folder, ["127.0.0.1"], datetime.now(UTC))
    return folder


def client(here, folder):
    trusted = ssl.create_default_context(cafile=folder / "ca.crt")
    return httpx.AsyncClient(base_url=f"https://{here.reviews}", verify=trusted)


async def probed(here, page):
    async with httpx.AsyncClient(base_url=f"http://{here.probes}") as plain:
        return await plain.get(page)


async def ready(here):
    answer = await probed(here, "/health/ready")
    return answer.status_code, answer.json()["status"]


async def until(here, status, said):
    async def so():
        return await ready(here) == (status, said)

    await eventually(so)


async def test_reviews_are_answered_over_tls_and_probes_beside_them(tmp_path):
    async with webhook(certified(tmp_path)) as here, client(here, tmp_path) as api:
        answer = await api.post(BY_NAMESPACE, json=question("replica"))
        assert patch_of(response_of(answer.content))
        assert "connection" not in answer.headers
        assert (await probed(here, "/health/live")).status_code == 200
        assert await ready(here) == (200, "ok")
        told = (await probed(here, "/metrics")).text
        assert 'tiergate_webhook_requests_total{reason="injected",result="injected"} 1.0' in told
        assert (await api.get("/metrics")).status_code == 404
        assert (await probed(here, BY_NAMESPACE)).status_code == 404


async def test_until_there_is_a_certificate_it_is_alive_and_not_ready(tmp_path):
    async with webhook(tmp_path) as here:
        assert (await probed(here, "/health/live")).status_code == 200
        assert await ready(here) == (503, "no certificate")
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(verify=False) as api:
                await api.post(f"https://{here.reviews}{BY_NAMESPACE}", json=question("replica"))
        assert "tiergate_webhook_errors_total" in (await probed(here, "/metrics")).text
        certified(tmp_path)
        await until(here, 200, "ok")
        async with client(here, tmp_path) as api:
            assert (await api.post(BY_NAMESPACE, json=question("replica"))).status_code == 200


async def test_an_api_server_may_be_asked_for_the_configuration(tmp_path):
    folder = certified(tmp_path / "tls")
    async with (
        FakeApi(tmp_path, {("shop", "tiergate"): "[providers.openai]\n"}).serving() as kube,
        webhook(folder, kube_url=kube.url, kube_account=kube.account) as here,
        client(here, folder) as api,
    ):
        response = response_of((await api.post(BY_NAMESPACE, json=question("replica"))).content)
        assert response["auditAnnotations"]["reason"] == "config_breaks_app"
        assert len(kube.asked) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_not_ready_but_served_until_api_servers_know(tmp_path, number):
    folder = certified(tmp_path)
    async with webhook(folder, linger_seconds=0.3) as here, client(here, folder) as api:
        await api.post(BY_NAMESPACE, json=question("replica"))
        here.stop(number)
        assert await ready(here) == (503, "draining")
        last = await api.post(BY_NAMESPACE, json=question("replica"))
        assert patch_of(response_of(last.content))
        assert last.headers["connection"] == "close"
    for address in (here.reviews, here.probes):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address.host, address.port)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_review_that_runs_when_the_signal_comes_is_answered(tmp_path):
    folder = certified(tmp_path)
    arrived, rest = asyncio.Event(), asyncio.Event()
    body = json.dumps(question("replica")).encode()

    async def slowly():
        yield body[:100]
        arrived.set()
        await rest.wait()
        yield body[100:]

    async with webhook(folder) as here, client(here, folder) as api:
        sent = {"content-type": "application/json"}
        asked = asyncio.create_task(api.post(BY_NAMESPACE, content=slowly(), headers=sent))
        await arrived.wait()
        here.stop()
        await until(here, 503, "draining")
        rest.set()
        assert patch_of(response_of((await asked).content))


async def test_a_signal_while_it_starts_ends_it_before_it_serves(tmp_path):
    heard = []
    serving = asyncio.create_task(
        serve_webhook(
            settings(tmp_path, linger_seconds=60),
            Injector(image="i"),
            Rules(),
            started=lambda *both: heard.append(both),
        )
    )
    await asyncio.sleep(0)  # its handlers are set
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        await serving
    assert heard == []


@pytest.mark.parametrize("where", ["listen", "probes"])
async def test_an_address_that_cannot_be_had_is_one_clear_error(tmp_path, where):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError) as failed:
            async with webhook(tmp_path, **{where: address}):
                pass
    assert str(failed.value) == f"--{where}: cannot listen on {address}: Address already in use"
    del failed
    gc.collect()  # a listener that was had already is not left open: that would warn here
