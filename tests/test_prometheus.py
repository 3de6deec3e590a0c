"""`/metrics` as Prometheus reads it: exact names, valid in both formats, and no secret in it."""

import asyncio

import httpx
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route
from wired import ANSWER, ask, world

from tiergate import Gateway, __version__
from tiergate.config import Config, Provider
from tiergate.loading import config_of, read_document
from tiergate.redis_link import StoreState
from tiergate.requestlog import RequestLogState
from tiergate.testing import Say
from tiergate_sidecar.prometheus import GatewayCollector, config_digest, metrics_page

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
TIERS = {"simple": [{"provider": "p1", "model": "m"}]}
CONFIG = {"providers": {"p1": {"base_url": "http://p1/v1"}}, "tiers": TIERS}


async def page(gateway, accept="*/*"):
    app = Starlette(routes=[Route("/metrics", metrics_page(gateway))])
    over = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=over, base_url="http://admin") as client:
        return await client.get("/metrics", headers={"accept": accept})


def samples(collector):
    """Every sample as `name{labels}`, by which it must be unique."""
    every = [
        (f"{each.name}{sorted(each.labels.items())}", each.value)
        for family in collector.collect()
        for each in family.samples
    ]
    assert len(dict(every)) == len(every)
    return dict(every)


def one(collector, name, **labels):
    """The value of one sample; None where it is not told."""
    return samples(collector).get(f"{name}{sorted(labels.items())}")


async def served():
    """A gateway that has served a success, a failover and a stream."""
    p2 = [Say.completion(), Say.stream(*ANSWER)]
    made = world({"p1": [Say.completion(), *[Say(503)] * 3], "p2": p2})
    for asked in ({"stream": False}, {"stream": False}, {}):
        await ask(made, **asked)
    return made.gateway


async def test_the_five_of_the_seeds_have_their_exact_names_and_labels():
    told = (await page(await served())).text
    for line in (
        'sentinel_tier_requests_total{tier="moderate"} 3.0',
        'sentinel_model_selections_total{model="m",provider="p1",tier="moderate"} 2.0',
        'sentinel_model_selections_total{model="m",provider="p2",tier="moderate"} 1.0',
        'sentinel_provider_failures_total{model="m",provider="p1"} 1.0',
        'sentinel_model_retries_total{failed_model="m",retry_model="m",tier="moderate"} 1.0',
        'sentinel_provider_health{model="m",provider="p1"} 0.0',
        'sentinel_provider_health{model="m",provider="p2"} 1.0',
    ):
        assert line in told.splitlines()


@pytest.mark.parametrize(
    ("accept", "media_type", "parse"),
    [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", text_string_to_metric_families),
        (OPEN_METRICS, f"{OPEN_METRICS}; charset=utf-8", open_families),
        ("text/plain; version=x", "text/plain; version=0.0.4", text_string_to_metric_families),
        ("text/plain; version=1.x", "text/plain; version=0.0.4", text_string_to_metric_families),
    ],
    ids=["text", "OpenMetrics", "nonsense", "more nonsense"],
)
async def test_the_page_is_valid_in_the_format_that_was_asked_for(accept, media_type, parse):
    answer = await page(await served(), accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media_type)
    names = [family.name for family in parse(answer.text)]
    assert len(names) == len(set(names)) > 30
    assert {"process_open_fds", "gen_ai_client_token_usage"} <= set(names)


async def test_histograms_have_cumulative_buckets_in_the_unit():
    gateway = await served()
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "p1",
        "gen_ai_request_model": "m",
        "error_type": "unavailable",
    }
    name = "gen_ai_client_operation_duration_seconds"
    said = GatewayCollector(gateway)
    assert one(said, f"{name}_count", **labels) == 3
    assert one(said, f"{name}_bucket", **labels, le="0.01") == 3
    assert one(said, f"{name}_bucket", **labels, le="+Inf") == 3
    assert one(said, "tiergate_request_overhead_seconds_bucket", le="5e-05") == 3
    assert one(said, "tiergate_request_duration_seconds_bucket", tier="moderate", le="2.56") == 2
    assert one(said, "tiergate_request_duration_seconds_count", tier="moderate") == 3
    assert one(said, "gen_ai_client_operation_time_to_first_chunk_seconds_count", **{
        name: value for name, value in (labels | {"gen_ai_provider_name": "p2"}).items()
        if name != "error_type"
    }) == 1  # fmt: skip


async def test_health_follows_back_off_and_probe():
    made = world({"p1": [*[Say(503)] * 3, Say.completion(after=5)], "p2": Say.completion()})
    said, healthy = GatewayCollector(made.gateway), []

    async def look():
        healthy.append(one(said, "sentinel_provider_health", provider="p1", model="m"))

    await made.gateway.open()
    await look()
    await ask(made, stream=False)
    await look()
    await asyncio.sleep(29)
    await look()
    await asyncio.sleep(2)
    await look()
    probe = asyncio.create_task(ask(made, stream=False))
    await asyncio.sleep(1)
    await look()
    await probe
    await look()
    assert healthy == [1, 0, 0, 1, 0, 1]
    await made.gateway.close()


async def test_a_candidate_of_two_tiers_has_one_health():
    offers = [{"provider": "p1", "model": "m", "relative_cost": cost} for cost in (1, 2)]
    tiers = {"simple": offers[:1], "complex": offers[1:]}
    async with Gateway({**CONFIG, "tiers": tiers}, environ={}) as gateway:
        health = [name for name in samples(GatewayCollector(gateway)) if "provider_health" in name]
    assert len(health) == 1


async def test_what_runs_is_told_so_that_drift_can_be_seen():
    async with Gateway(CONFIG, environ={}) as gateway:
        said = GatewayCollector(gateway)
        digest = config_digest(gateway.config)
        version = gateway.status().configuration.version
        assert one(said, "tiergate_build_info", version=__version__) == 1
        assert one(said, "tiergate_config_info", hash=digest) == 1
        assert one(said, "tiergate_tiers_info", source="inline", version=version) == 1
        assert one(said, "tiergate_ready") == 1
        assert one(said, "tiergate_tiers_age_seconds") is None  # they are as old as the process


async def test_before_the_tiers_are_loaded_it_says_that_it_is_not_ready(tmp_path):
    tier_config = {"source": "file", "file": str(tmp_path / "absent.json")}
    gateway = Gateway({"providers": CONFIG["providers"], "tier_config": tier_config}, environ={})
    await gateway.open()
    said = samples(GatewayCollector(gateway))
    await gateway.close()
    assert (said["tiergate_ready[]"], said["tiergate_config_error[]"]) == (0, 1)
    assert not any("tiergate_tiers_info" in name for name in said)


async def test_an_unlimited_retry_budget_has_nothing_left_to_tell():
    limited, unlimited = (
        GatewayCollector(Gateway({**CONFIG, "retry": {"budget_ratio": ratio}}, environ={}))
        for ratio in (0.2, 0)
    )
    assert one(limited, "tiergate_retry_budget_left") == 10
    assert one(unlimited, "tiergate_retry_budget_left") is None
    assert one(unlimited, "tiergate_retries_refused_total") == 0


async def test_requests_in_flight_and_sessions_are_told_as_they_are():
    made = world({"p1": Say.completion(after=1)})
    said = GatewayCollector(made.gateway)
    asked = asyncio.create_task(ask(made, stream=False))
    await asyncio.sleep(0.5)
    assert one(said, "tiergate_requests_in_flight") == 1
    assert one(said, "tiergate_held_bytes") > 0
    await asked
    assert one(said, "tiergate_requests_in_flight") == one(said, "tiergate_held_bytes") == 0
    assert one(said, "tiergate_sessions_held") == 0


async def test_a_store_that_is_down_can_be_seen():
    gateway = Gateway(CONFIG, environ={})
    down = StoreState("redis://a:6379/0", available=False, errors=3)
    status = replace(gateway.status(), stores=(down, StoreState("redis://b:6379/0", True)))
    said = GatewayCollector(gateway, status=status)
    assert one(said, "tiergate_store_available", store="redis://a:6379/0") == 0
    assert one(said, "tiergate_store_available", store="redis://b:6379/0") == 1
    assert one(said, "tiergate_store_errors_total", store="redis://a:6379/0") == 3


async def test_how_old_the_tiers_of_a_source_are_and_how_its_log_is_doing():
    gateway = Gateway(CONFIG, environ={})
    assert not any("request_log" in name for name in samples(GatewayCollector(gateway)))
    status = gateway.status()
    status = replace(
        status,
        configuration=replace(status.configuration, age_seconds=12),
        request_log=RequestLogState("sqlite:///f", True, 3, 40, 5, None),
    )
    said = GatewayCollector(gateway, status=status)
    assert one(said, "tiergate_tiers_age_seconds") == 12
    assert one(said, "tiergate_request_log_available") == 1
    assert one(said, "tiergate_request_log_queue") == 3
    assert one(said, "tiergate_request_log_written_total") == 40
    assert one(said, "tiergate_request_log_dropped_total") == 5


async def test_a_registry_of_the_hosts_own_can_have_it():
    registry = CollectorRegistry(auto_describe=True)
    registry.register(GatewayCollector(await served()))
    assert registry.get_sample_value("sentinel_tier_requests_total", {"tier": "moderate"}) == 3


# --- the digest of a configuration


def test_replicas_agree_whatever_the_order_and_the_secrets():
    def of(**tables):
        return config_digest(config_of(read_document({**CONFIG, **tables}, environ={})))

    turned = {"providers": {"p2": {"base_url": "http://p2"}, **CONFIG["providers"]}}
    straight = {"providers": {**CONFIG["providers"], "p2": {"base_url": "http://p2"}}}
    assert of(**turned) == of(**straight) != of()
    assert len(of()) == 12


@pytest.mark.parametrize(
    ("one_way", "another", "same"),
    [
        ({"headers": {"x-key": "secret-1"}}, {"headers": {"x-key": "secret-2"}}, True),
        ({"headers": {"x-key": "s"}}, {"headers": {"x-other": "s"}}, False),
        ({"base_url": "http://u:1@h/v1"}, {"base_url": "http://u:2@h/v1"}, True),
        ({"base_url": "http://h/v1?key=1"}, {"base_url": "http://h/v1?key=2"}, True),
        ({"base_url": "http://h/v1"}, {"base_url": "http://h/v2"}, False),
        ({"proxy_url": "http://u:p@x:1@h:2"}, {"proxy_url": "http://h:2"}, True),
        ({"api_key_env": "A"}, {"api_key_env": "B"}, False),
    ],
)
def test_no_secret_is_part_of_a_digest_and_everything_else_is(one_way, another, same):
    digests = {
        config_digest(Config(providers={"p": Provider(**given)})) for given in (one_way, another)
    }
    assert (len(digests) == 1) is same
