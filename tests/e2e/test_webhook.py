"""A real `tiergate webhook` over real TLS, asked as API servers ask: right answers in time, bad
questions refused cleanly, certificates that change under way, and an orderly end."""

import asyncio
import gzip
import json
import re
import signal
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic

import httpx
import jsonpatch
from admission_reviews import patch_of, question, response_of, status_of
from e2e.config_map import ConfigMap
from e2e.process import ANY_PORT, running
from e2e.replicas import eventually
from e2e.support import RawClient
from kubeapi import SILENT, FakeApi

from tiergate_sidecar.make_certs import make_certs

NAMESPACE, POD = "/inject/namespace", "/inject/pod"
WORKS = '[providers.openai]\n[proxy]\nprovider = "openai"\n[routing]\nunknown_model = "pass"\n'
BREAKS = "[providers.openai]\n"


def certified(folder):
    make_certs(folder, ["localhost", "127.0.0.1"], datetime.now(UTC))
    return folder


@asynccontextmanager
async def webhook(folder, *arguments, **environ):
    """The process, with certificates of that folder; `reviews` is where it takes them."""
    listens = ("--listen", ANY_PORT, "--probes", ANY_PORT, "--linger-seconds", "0")
    quiet = ("--log-level", "warning")  # what is said then is a complaint
    command = ("webhook", "--image", "tiergate:0.1.0", "--certs", str(folder), *listens)
    async with running(*command, *quiet, *arguments, cwd=folder, lines=2, **environ) as here:
        here.reviews = re.search(r"https://\S+:\d+", here.said)[0]
        yield here


class ApiServer(RawClient):
    """One kept connection, on which reviews are sent as kube-apiserver does."""

    async def review(self, document, path=NAMESPACE, *headers):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        if not any(line.lower().startswith("content-type") for line in headers):
            headers = (*headers, "Content-Type: application/json")
        lines = [
            f"POST {path}?timeout=5s HTTP/1.1",
            "Host: tiergate-webhook.tiergate.svc:443",
            "User-Agent: kube-apiserver-admission",
            "Accept-Encoding: gzip",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        await self.say("\r\n".join([*lines, "", ""]).encode() + body)
        return await self.answer()

    async def injected(self, document, path=NAMESPACE):
        """The patch of an answer with the same uid."""
        status, _, body = await self.review(document, path)
        response = response_of(body)
        assert (status, response["uid"]) == (200, document["request"]["uid"])
        assert response["allowed"]
        return patch_of(response)


@asynccontextmanager
async def api_server(url, authority):
    host, port = url.removeprefix("https://").split(":")
    trust = ssl.create_default_context(cafile=authority)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=trust)
    try:
        yield ApiServer(reader, writer)
    finally:
        writer.close()
        await asyncio.wait({asyncio.ensure_future(writer.wait_closed())}, timeout=1)


async def test_a_kept_connection_gets_right_answers_within_20_ms(tmp_path):
    seconds = []
    async with (
        webhook(certified(tmp_path)) as here,
        api_server(here.reviews, tmp_path / "ca.crt") as api,
    ):
        patch = await api.injected(question("replica"))
        for number in range(300):
            asked = question("replica", uid=f"{number}")
            begun = monotonic()
            assert await api.injected(asked) == patch
            seconds.append(monotonic() - begun)
    pod = jsonpatch.apply_patch(asked["request"]["object"], patch)
    assert pod["spec"]["initContainers"][0]["image"] == "tiergate:0.1.0"
    assert sorted(seconds)[int(len(seconds) * 0.99)] < 0.020, sorted(seconds)[-10:]


async def test_dry_runs_second_rounds_and_gzip_are_answered_alike(tmp_path):
    async with (
        webhook(certified(tmp_path)) as here,
        api_server(here.reviews, tmp_path / "ca.crt") as api,
    ):
        asked = question("dry_run")
        patch = await api.injected(asked, POD)
        packed = gzip.compress(json.dumps(asked).encode())
        _, headers, body = await api.review(packed, POD, "Content-Encoding: gzip")
        assert patch_of(response_of(body)) == patch
        assert "content-encoding" not in headers
        pod = jsonpatch.apply_patch(asked["request"]["object"], patch)
        pod["spec"]["containers"].append({"name": "late", "image": "late"})
        more = await api.injected(question("dry_run", uid="second", object=pod), POD)
        again = jsonpatch.apply_patch(pod, more)
        _, _, body = await api.review(question("dry_run", uid="third", object=again), POD)
        response = response_of(body)
        assert (response["uid"], response["allowed"], "patch" in response) == ("third", True, False)


async def test_what_is_no_question_is_refused_and_the_connection_lives_on(tmp_path):
    limit = 100_000
    good = json.dumps(question("replica")).encode()
    cases = (
        (b"", (), 400),
        (b"[" * 50_000, (), 400),
        (good[:-1], (), 400),
        (good.replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"), (), 400),
        (good, ("Content-Type: application/yaml",), 415),
        (good, ("Content-Encoding: br",), 415),
        (good, ("Content-Encoding: gzip",), 400),
        (gzip.compress(b" " * (limit + 1)), ("Content-Encoding: gzip",), 413),
        (b" " * (limit + 1), (), 413),
        (b" " * 20_000_000, (), 413),
    )
    async with (
        webhook(certified(tmp_path), "--max-body-bytes", str(limit)) as here,
        api_server(here.reviews, tmp_path / "ca.crt") as api,
    ):
        for body, headers, expected in cases:
            status, _, answer = await api.review(body, NAMESPACE, *headers)
            assert status == status_of(answer)["code"] == expected
        assert await api.injected(question("replica"))
        metrics = (await get(here, "/metrics")).text
        assert re.search(r'requests_total\{reason="too_large",result="malformed"\} 3.0', metrics)
        assert "errors_total{" not in metrics
        here.signal(signal.SIGTERM)
        assert await here.ended() == (0, "")


async def test_who_speaks_no_tls_or_leaves_in_the_middle_harms_nobody(tmp_path):
    async with (
        webhook(certified(tmp_path)) as here,
        api_server(here.reviews, tmp_path / "ca.crt") as api,
    ):
        host, port = here.reviews.removeprefix("https://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.read()  # it ends
        writer.close()
        async with api_server(here.reviews, tmp_path / "ca.crt") as other:
            await other.say(b"POST /inject/pod HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert await api.injected(question("replica"))
        here.signal(signal.SIGTERM)
        assert await here.ended() == (0, "")


async def get(here, page):
    async with httpx.AsyncClient(base_url=here.url) as plain:
        return await plain.get(page)


def secret(folder):
    return {name: (folder / name).read_text() for name in ("tls.crt", "tls.key")}


async def test_a_certificate_is_replaced_while_requests_flow(tmp_path):
    made = certified(tmp_path / "made")
    mounted = ConfigMap(tmp_path / "mounted", **secret(made))
    certified(made)  # the bundle trusts both now
    old = ssl.PEM_cert_to_DER_cert(mounted.path("tls.crt").read_text())
    new = ssl.PEM_cert_to_DER_cert((made / "tls.crt").read_text())
    shown, asked = [], []

    async with webhook(mounted.folder) as here:

        async def over_new_connections():
            while shown[-1:] != [new] or len(shown) < 50:
                async with api_server(here.reviews, made / "ca.crt") as api:
                    tls = api.writer.get_extra_info("ssl_object")
                    shown.append(tls.getpeercert(binary_form=True))
                    assert await api.injected(question("replica"))
                if len(shown) == 10:
                    mounted.swap(**secret(made))

        async def over_a_kept_one(stop):
            async with api_server(here.reviews, made / "ca.crt") as api:
                while not stop.done():
                    asked.append(await api.injected(question("replica")))

        async with asyncio.timeout(20):
            flowing = asyncio.create_task(over_new_connections())
            await asyncio.gather(flowing, over_a_kept_one(flowing))
        assert [shown[0], shown[-1]] == [old, new]
        assert shown == sorted(shown, key=[old, new].index)  # never back
        assert len(asked) > len(shown)
        metrics = (await get(here, "/metrics")).text
        assert 'result="injected"' in metrics
        assert 'result="malformed"' not in metrics
        mounted.swap(**(secret(made) | {"tls.key": "no key"}))

        async def noticed():
            return 'errors_total{error="certificate"} 1.0' in (await get(here, "/metrics")).text

        await eventually(noticed)
        async with api_server(here.reviews, made / "ca.crt") as api:
            assert await api.injected(question("replica"))
        assert (await get(here, "/health/ready")).status_code == 200


async def test_a_secret_that_comes_late_makes_it_ready(tmp_path):
    folder = tmp_path / "tls"
    folder.mkdir()
    async with webhook(folder) as here:
        assert (await get(here, "/health/live")).status_code == 200
        assert (await get(here, "/health/ready")).status_code == 503
        certified(folder)

        async def ready():
            return (await get(here, "/health/ready")).status_code == 200

        await eventually(ready)
        async with api_server(here.reviews, folder / "ca.crt") as api:
            assert await api.injected(question("replica"))


async def test_sigterm_finishes_what_runs_and_exits_0(tmp_path):
    body = json.dumps(question("replica")).encode()
    async with (
        webhook(certified(tmp_path)) as here,
        api_server(here.reviews, tmp_path / "ca.crt") as api,
    ):
        head = f"POST {NAMESPACE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        await api.say(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:50])
        await get(here, "/health/live")  # the loop has seen the beginning
        here.signal(signal.SIGTERM)

        async def draining():
            return (await get(here, "/health/ready")).status_code == 503

        await eventually(draining)
        await api.say(body[50:])
        status, headers, answer = await api.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert patch_of(response_of(answer))
        assert await here.ended() == (0, "")


async def test_a_second_signal_exits_at_once(tmp_path):
    async with webhook(certified(tmp_path), "--linger-seconds", "60") as here:
        here.signal(signal.SIGTERM)

        async def draining():
            return (await get(here, "/health/ready")).status_code == 503

        await eventually(draining)
        here.signal(signal.SIGTERM)
        assert (await here.ended(within=2))[0] == 1


async def test_it_asks_the_api_server_for_the_configuration(tmp_path):
    maps = {("shop", "tiergate"): WORKS, ("b", "tiergate"): BREAKS, ("s", "tiergate"): SILENT}
    maps["e", "tiergate"] = 500, b"no"
    folder = certified(tmp_path / "tls")
    expected = {
        "shop": ("injected", True),
        "b": ("config_breaks_app", False),
        "none": ("config_missing", False),
        "e": ("injected", True),  # what cannot be known stops nobody
        "s": ("injected", True),
    }
    async with FakeApi(tmp_path, maps).serving() as kube:
        host, port = kube.url.removeprefix("https://").split(":")
        where = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        flags = ("--read-config", "--service-account", str(kube.account))
        async with (
            webhook(folder, *flags, **where) as here,
            api_server(here.reviews, folder / "ca.crt") as api,
        ):
            for namespace, (reason, allowed) in expected.items():
                begun = monotonic()
                _, _, body = await api.review(question("replica", namespace=namespace))
                response = response_of(body)
                assert response["auditAnnotations"]["reason"] == reason
                assert response["allowed"] is allowed
                assert monotonic() - begun < 2
            kube.rotate("two")
            await api.review(question("replica"))  # remembered
            await api.review(question("replica", namespace="none"))  # asked anew
            metrics = (await get(here, "/metrics")).text
            assert 'errors_total{error="config_read"} 2.0' in metrics
    tokens = [token for _, token in kube.asked]
    assert tokens == ["Bearer one"] * 5 + ["Bearer two"]
