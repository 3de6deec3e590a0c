"""A configuration that is read again because somebody says so, or because a file has changed.

The promise: it is live when the answer says so, running requests finish as they began, and what
cannot be followed without a restart is told.
"""

import asyncio
import json
import signal
import threading
from typing import Any

import pytest
from e2e.load import clients
from e2e.replicas import eventually, inline, replica, says
from e2e.support import completing, error_of, recording, serving
from e2e.tier_service import KEY, KEY_NAME, TierService, document, entry, small
from starlette.applications import Starlette

from tiergate import ConfigError, Gateway, TierMiddleware
from tiergate_sidecar.rawhttp import RawServer

LIVE_WITHIN = 5


# --- at once ---------------------------------------------------------------------------------


async def test_a_post_to_reload_is_live_when_it_is_answered_or_says_what_is_wrong(tmp_path):
    async with RawServer(completing()) as provider:
        p1 = {"p1": f"{provider.url}/v1"}
        async with replica(inline("1", 1, **p1), tmp_path) as one:
            file = tmp_path / "replica.json"
            for version in map(str, range(2, 7)):
                file.write_text(json.dumps(inline(version, 1, **p1)))
                assert (await one.reload()).status_code == 200
                assert (await one.ask()).model == f"small-{version}"
            file.write_text(json.dumps(inline("7", 300, **p1)))
            refused = await one.reload()
            assert refused.status_code == 400
            error = error_of(refused.content)
            assert "tiers.simple" in error["message"]
            assert (await one.ask()).model == "small-6"
            assert await one.ready() == 200
            untyped = await one.pages.post("/reload", content=b"{}")
            assert 400 <= untyped.status_code < 500, "a form of another page may not reload"
            assert (await one.pages.get("/reload")).status_code == 405


@pytest.mark.parametrize("how", ["SIGHUP", "POST"])
async def test_a_reload_asks_the_service_at_once(tmp_path, how):
    async with RawServer(completing()) as provider, TierService(small("1")) as service:
        config = {"providers": {"p1": {"base_url": f"{provider.url}/v1"}}}
        config["tier_config"] = service.source
        async with replica(config, tmp_path, **{KEY_NAME: KEY}) as one:
            assert (await one.ask()).model == "small-1"
            service.document = small("2")
            if how == "SIGHUP":
                one.process.signal(signal.SIGHUP)
                await eventually(says(one, "small-2"), within=1)
            else:
                assert (await one.reload()).status_code == 200
                assert (await one.ask()).model == "small-2"
            assert await one.version() == "2"


async def test_a_sighup_reads_the_file_at_once_and_never_ends_the_process(tmp_path):
    async with RawServer(completing()) as provider:
        p1 = {"p1": f"{provider.url}/v1"}
        file = tmp_path / "replica.json"
        async with replica(inline("1", 1, **p1), tmp_path) as one:
            file.write_text(json.dumps(inline("2", 1, **p1)))
            one.process.signal(signal.SIGHUP)
            await eventually(says(one, "small-2"), within=1)
            file.write_text("nonsense")
            one.process.signal(signal.SIGHUP)

            async def noticed():
                return (await one.configuration())["last_error"]

            await eventually(noticed, within=1)
            assert (await one.ask()).model == "small-2"
            for _ in range(20):  # more often than they can be worked off
                one.process.signal(signal.SIGHUP)
            file.write_text(json.dumps(inline("3", 1, **p1)))
            one.process.signal(signal.SIGHUP)
            await eventually(says(one, "small-3"))


async def test_a_host_that_watches_follows_its_file_and_leaves_nothing_behind(tmp_path):
    file = tmp_path / "host.json"
    async with RawServer(completing()) as provider:
        p1 = {"p1": f"{provider.url}/v1"}
        for watch in (True, False):
            file.write_text(json.dumps(inline("1", 1, **p1)))
            app = TierMiddleware(Starlette(), config=file, watch=watch, authorize="open")
            async with serving(app) as url, clients(url) as client:
                assert (await client.ask()).model == "small-1"
                threads = threading.active_count()
                file.write_text(json.dumps(inline("2", 1, **p1)))
                if watch:
                    await eventually(says(client, "small-2"), within=LIVE_WITHIN)
                else:
                    await asyncio.sleep(0.5)  # longer than it took with a watch
                    assert (await client.ask()).model == "small-1"
            assert threading.active_count() <= threads


async def test_a_reload_that_hangs_does_not_undo_a_later_one(tmp_path):
    file = tmp_path / "tiergate.json"
    async with TierService(small("9")) as service:
        service.fault = "hang"
        file.write_text(json.dumps(alone("p1")))
        async with Gateway(file, environ={KEY_NAME: KEY}) as gateway:
            asks = {"tier_config": {**service.source, "timeout_seconds": 0.5}}
            # Nobody of the old tiers is left, so that the service has to answer first.
            file.write_text(
                json.dumps({"providers": {"p2": {"base_url": "http://p2.test"}}, **asks})
            )
            hanging = asyncio.create_task(gateway.reload())
            await eventually(lambda: _asked(service))
            file.write_text(json.dumps(alone("p3")))
            await gateway.reload()
            with pytest.raises(ConfigError, match="no answer within"):
                await hanging
            assert list(gateway.config.providers) == ["p3"]
            assert gateway.status().configuration.last_error is None


async def test_a_reload_that_is_late_leaves_a_later_one_alone(tmp_path):
    file = tmp_path / "tiergate.json"
    async with TierService(document("9", simple=[entry("m", "p2")])) as service:
        service.delay = 0.3
        file.write_text(json.dumps(alone("p1")))
        async with Gateway(file, environ={KEY_NAME: KEY}) as gateway:
            moved = {"providers": {"p2": {"base_url": "http://p2.test"}}}
            file.write_text(json.dumps({**moved, "tier_config": service.source}))
            late = asyncio.create_task(gateway.reload())
            await eventually(lambda: _asked(service))
            file.write_text(json.dumps(alone("p3")))
            await gateway.reload()
            await late
            assert list(gateway.config.providers) == ["p3"]


# --- what else may change --------------------------------------------------------------------


async def test_what_needs_a_restart_is_told_and_the_rest_is_live(tmp_path):
    async with RawServer(completing()) as provider:
        p1 = {"p1": f"{provider.url}/v1"}
        async with replica(inline("1", 1, **p1), tmp_path) as one:
            assert not (await one.configuration())["needs_restart"]
            changed = inline("2", 1, **p1) | {"server": {"grace_seconds": 7}}
            (tmp_path / "replica.json").write_text(json.dumps(changed))
            assert (await one.reload()).status_code == 200
            assert (await one.ask()).model == "small-2"
            needed = (await one.configuration())["needs_restart"]
            assert needed
            assert all("server" in each for each in needed)
            (tmp_path / "replica.json").write_text(json.dumps(inline("3", 1, **p1)))
            assert (await one.reload()).status_code == 200
            assert not (await one.configuration())["needs_restart"], "as it runs again"


async def test_a_provider_that_moves_is_followed_and_its_running_stream_finishes(tmp_path):
    gate = asyncio.Event()

    async def stream(call):
        await call.start(200, [("content-type", "text/event-stream")])
        await call.send(b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n')
        await gate.wait()
        end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        await call.send(end + b"data: [DONE]\n\n")
        await call.finish()

    async with (
        recording(stream) as first,
        recording(completing()) as second,
        replica(inline("1", 1, p1=first.base_url), tmp_path) as one,
    ):
        running = asyncio.create_task(one.ask(stream=True))
        await first.calls()
        moved = inline("1", 1, p1=second.base_url)
        (tmp_path / "replica.json").write_text(json.dumps(moved))
        assert (await one.reload()).status_code == 200
        assert (await one.ask()).status == 200
        assert (len(first.received), len(second.received)) == (1, 1)
        gate.set()
        got = await running
        assert got.status == 200
        assert got.body.endswith(b"data: [DONE]\n\n")
        await eventually(lambda: _none_open(first.server))


def alone(provider: str) -> dict[str, Any]:
    offers = [{"provider": provider, "model": "m"}]
    return {
        "providers": {provider: {"base_url": f"http://{provider}.test"}},
        "tiers": {"simple": offers},
    }


async def _asked(service: TierService) -> bool:
    return bool(service.received)


async def _none_open(server: RawServer) -> bool:
    return not server.open
