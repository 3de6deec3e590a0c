"""Tiers from a configuration service that is slow, wrong, or gone.

The promise: no request waits for the service or fails because of it once there was one good
document, from the service or from the Redis that replicas share; before that, an error that says
so at once, and recovery without a restart.
"""

import asyncio
import json

import pytest
from e2e.load import clients, percentile, told, traffic
from e2e.replicas import eventually, replica
from e2e.support import completing, error_of, recording, serving
from e2e.tier_service import FAULTS, KEY, KEY_NAME, TierService, document, entry, small
from redisserver import RedisServer
from starlette.applications import Starlette

from tiergate import Gateway, TierMiddleware
from tiergate_sidecar.rawhttp import RawServer

ENVIRON = {KEY_NAME: KEY}
LATE = 0.5  # what a busy machine may add


def fed(service, *base_urls, ttl=1800.0, timeout=5.0, **tables):
    """A configuration whose tiers are the service's."""
    providers = {f"p{number}": {"base_url": url} for number, url in enumerate(base_urls, 1)}
    source = {**service.source, "ttl_seconds": ttl, "timeout_seconds": timeout}
    return {"providers": providers, "tier_config": source} | tables


def upstream():
    return RawServer(completing())


# --- one fetch, and nobody waits -------------------------------------------------------------


@pytest.mark.parametrize("lifespan", ["on", "off"])
async def test_fifty_first_requests_at_once_make_one_fetch(lifespan):
    async with upstream() as provider, TierService(small("1")) as service:
        service.delay = 0.2
        gateway = Gateway(fed(service, f"{provider.url}/v1"), environ=ENVIRON)
        app = TierMiddleware(Starlette(), gateway=gateway, authorize="open")
        async with serving(app, lifespan=lifespan) as url, clients(url) as client:
            got = await asyncio.gather(*(client.ask() for _ in range(50)))
    assert {(each.status, each.model) for each in got} == {(200, "small-1")}
    (call,) = service.received
    assert call.header("x-api-key") == KEY


async def test_a_document_gets_old_and_no_request_waits_for_the_next(tmp_path):
    async with upstream() as provider, TierService(small("1")) as service:
        config = fed(service, f"{provider.url}/v1", ttl=1)
        async with replica(config, tmp_path, **ENVIRON) as one:
            await one.ask()
            service.document, service.delay = small("2"), 1.0
            async with traffic(one.client, 50) as got:

                async def new():
                    return any(each.model == "small-2" for each in got)

                took = await eventually(new)
                await asyncio.sleep(1)  # another second of traffic, over another refresh
    print(f"live after {took:.2f} s; {told(got)}")  # noqa: T201  # what `pytest -rP` shows
    assert {each.status for each in got} == {200}
    assert percentile(got, 1) < service.delay / 2
    assert took < 1 + service.delay + LATE
    by_time = [each.model for each in sorted(got, key=lambda each: each.due)]
    assert by_time == sorted(by_time), "never back to the old one"


async def test_a_document_that_has_not_changed_is_not_sent_again(tmp_path):
    async with upstream() as provider, TierService(small("1"), etags=True) as service:
        config = fed(service, f"{provider.url}/v1", ttl=0.5)
        async with replica(config, tmp_path, **ENVIRON) as one:
            await one.ask()

            async def asked_thrice():
                return len(service.statuses) > 3

            await eventually(asked_thrice)
            assert service.statuses[:4] == [200, 304, 304, 304]
            said = await one.configuration()
            assert (said["version"], said["last_error"]) == ("1", None)
            assert said["age_seconds"] < 1 + LATE, "an unchanged document is as good as new"
            assert (await one.ask()).model == "small-1"
            service.document = small("2")

            async def new():
                return (await one.ask()).model == "small-2"

            await eventually(new)
            assert await one.version() == "2"


# --- the service fails -----------------------------------------------------------------------


async def test_whatever_becomes_of_the_service_the_last_good_document_serves(tmp_path):
    """Every fault at once, each with a service and a process of its own."""

    async def live_through(fault):
        folder = tmp_path / fault.replace(" ", "-")
        folder.mkdir()
        async with upstream() as provider, TierService(small("1")) as service:
            config = fed(service, f"{provider.url}/v1", ttl=1, timeout=0.5)
            async with replica(config, folder, **ENVIRON) as one:
                assert (await one.ask()).model == "small-1"
                if fault == "refused":
                    await service.stop()
                else:
                    service.fault = fault

                async def noticed():
                    return (await one.configuration())["last_error"]

                async def forgotten():
                    return not await noticed() and await one.version() == "2"

                async with traffic(one.client, 20) as got:
                    await eventually(noticed, within=10)
                    error = (await noticed()).replace(service.url, "the service")
                    younger = (await one.configuration())["age_seconds"]
                    await asyncio.sleep(0.5)  # for the age to grow
                    said = await one.configuration()
                assert {(each.status, each.model) for each in got} == {(200, "small-1")}
                assert (said["version"], said["source"]) == ("1", service.url)
                assert said["age_seconds"] >= younger + 0.4
                assert await one.ready() == 200
                assert KEY not in json.dumps(await one.health())
                service.document, service.fault = small("2"), None
                if fault == "refused":
                    await service.start()
                back = await eventually(forgotten, within=20)  # the pauses grow, the old one serves
                assert (await one.ask()).model == "small-2"
        return fault, error, back

    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(live_through(fault)) for fault in ["refused", *FAULTS]]
    told = [each.result() for each in lives]
    for fault, error, back in told:
        print(f"{fault}: {error!r}, over {back:.2f} s after it")  # noqa: T201
    assert len({error for _, error, _ in told}) == len(told), "each error says what was wrong"


@pytest.mark.parametrize("fault", ["refused", "hang"])
async def test_with_nothing_good_yet_requests_are_refused_at_once_until_the_service_is_back(
    tmp_path, fault
):
    async with upstream() as provider, TierService(small("1")) as service:
        service.fault = "hang"
        if fault == "refused":
            await service.stop()
        config = fed(service, f"{provider.url}/v1", timeout=0.5)
        async with replica(config, tmp_path, **ENVIRON) as one:
            asks = 0.0
            for _ in range(12):  # long enough for the waits between tries to grow
                got = await one.ask()
                asks = max(asks, got.seconds)
                assert got.status == 503
                assert error_of(got.body)["code"] == "config_unavailable"
                assert 1 <= int(got.headers["retry-after"]) <= 5
                assert await one.ready() == 503
                await asyncio.sleep(0.2)
            assert asks < LATE, "a refusal waits for nobody"
            assert (await one.configuration())["last_error"]
            service.fault = None
            if fault == "refused":
                await service.start()

            async def served():
                return (await one.ask()).status == 200

            back = await eventually(served, within=5)
            print(f"{fault}: back after {back:.2f} s")  # noqa: T201
            assert await one.ready() == 200
            assert (await one.configuration())["last_error"] is None


async def test_what_is_wrong_with_a_document_is_skipped_and_named_and_the_rest_works(tmp_path):
    unpriced = entry("unpriced")
    del unpriced["inputPricePerMillion"]
    mixed = document(
        "1",
        simple=[entry("good"), entry("dear", cost=300), entry("lost", provider="nobody"), unpriced],
        complex=[entry("also-good", cost=0)],
    )
    async with (
        upstream() as provider,
        TierService(mixed) as service,
        replica(fed(service, f"{provider.url}/v1"), tmp_path, **ENVIRON) as one,
    ):
        answers = [await one.ask(tier="simple") for _ in range(10)]
        assert {(each.status, each.model) for each in answers} == {(200, "good")}
        assert (await one.ask(tier="complex")).model == "also-good"
        empty = await one.ask(tier="moderate")
        assert (empty.status, error_of(empty.body)["code"]) == (503, "tier_not_configured")
        said = await one.configuration()
        assert said["last_error"] is None
        assert len(said["skipped"]) == 3
        for name in ("dear", "lost", "unpriced"):
            assert any(name in each for each in said["skipped"])


# --- the shared cache ------------------------------------------------------------------------


async def test_a_replica_that_starts_while_the_service_is_down_takes_the_document_from_redis(
    tmp_path,
):
    async with (
        upstream() as provider,
        TierService(small("1")) as service,
        RedisServer(tmp_path) as redis,
    ):
        config = fed(service, f"{provider.url}/v1", cache={"url": redis.url})
        async with replica(config, tmp_path, "first", **ENVIRON) as first:
            assert (await first.ask()).model == "small-1"
            await service.stop()
            async with replica(config, tmp_path, "second", **ENVIRON) as second:
                assert (await second.ask()).model == "small-1"
                assert await second.ready() == 200
                assert (await second.configuration())["version"] == "1"
        other = {**config, "tier_config": {**config["tier_config"], "url": f"{service.url}/other"}}
        async with replica(other, tmp_path, "other", **ENVIRON) as third:
            assert (await third.ask()).status == 503, "another service's document is not ours"


@pytest.mark.parametrize("garbage", [b"\x80\x05.", b'{"version": 7}', b"[]", None])
async def test_a_corrupt_document_in_redis_is_replaced(tmp_path, garbage):
    async with (
        upstream() as provider,
        TierService(small("1")) as service,
        RedisServer(tmp_path) as redis,
    ):
        config = fed(service, f"{provider.url}/v1", cache={"url": redis.url})

        def app():
            gateway = Gateway(config, environ=ENVIRON)
            return TierMiddleware(Starlette(), gateway=gateway, authorize="open")

        async with serving(app()) as url, clients(url) as client:
            assert (await client.ask()).status == 200
        async with redis.client() as inside:
            (key,) = await inside.keys("sentinel:tiers:config*")
            good = await inside.get(key)
            if garbage is None:
                await inside.delete(key)
                await inside.rpush(key, "a list")
            else:
                await inside.set(key, garbage)
            async with serving(app()) as url, clients(url) as client:
                assert (await client.ask()).model == "small-1"
            assert len(service.received) == 2
            again = await inside.get(key)
            assert json.loads(again).keys() == json.loads(good).keys()
            assert await inside.ttl(key) > 0


async def test_without_redis_the_service_serves(tmp_path):
    async with (
        recording() as provider,
        TierService(small("1")) as service,
        RedisServer(tmp_path) as redis,
    ):
        await redis.kill()
        config = fed(service, provider.base_url, cache={"url": redis.url})
        async with replica(config, tmp_path, **ENVIRON) as one:
            assert (await one.ask()).model == "small-1"
            assert await one.ready() == 200
            assert (await one.store())["available"] is False
