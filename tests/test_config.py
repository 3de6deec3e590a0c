"""The configuration as a value: the documented defaults, and the bounds of every number."""

import msgspec
import pytest

from tiergate.config import (
    Cache,
    Config,
    HealthSettings,
    Limits,
    Provider,
    RequestLogSettings,
    Retry,
    RetryTimes,
    SessionSettings,
    Streaming,
    StreamTimes,
    TierConfig,
)
from tiergate.routing_config import ClassifierSettings, Policy, TierEntry

DEFAULTS = {
    "routing": {
        "paths": ("/v1/chat/completions",),
        "default_tier": "simple",
        "unknown_model": "reject",
        "escalate": False,
        "aliases": {},
    },
    "classifier": {
        "moderate": ClassifierSettings().moderate,  # tuned: `make evaluate` speaks for them
        "complex": ClassifierSettings().complex,
        "weights": {},
        "words": {},
        "measure": "auto",
        "max_prompt_bytes": 1_048_576,
    },
    "policies": (),
    "retry": {
        "retries": 2,
        "backoff_seconds": 1.0,
        "jitter": 0.2,
        "fallbacks": 1,
        "attempt_timeout_seconds": 0,
        "deadline_seconds": 30,
        "max_retry_after_seconds": 2,
        "budget_ratio": 0.2,
        "budget_window_seconds": 10,
        "budget_minimum": 10,
        "tiers": {},
    },
    "health": {
        "initial_backoff_seconds": 30,
        "multiplier": 2.0,
        "max_backoff_seconds": 300,
        "failures_to_open": 1,
        "probe_interval_seconds": 0,
        "last_resort": False,
    },
    "streaming": {
        "failover": "off",
        "first_token_timeout_seconds": 10,
        "idle_timeout_seconds": 20,
        "comment_seconds": 15,
        "buffered_deadline_seconds": 120,
        "max_buffer_bytes": 8_388_608,
        "max_event_bytes": 1_048_576,
        "summary": False,
        "tiers": {},
    },
    "limits": {
        "max_body_bytes": 10_485_760,
        "body_timeout_seconds": 30,
        "max_in_flight": 1000,
        "max_response_bytes": 67_108_864,
        "max_buffered_bytes": 67_108_864,
        "send_timeout_seconds": 30,
    },
    "providers": {},
    "tiers": {},
    "tier_config": {
        "source": "inline",
        "url": "",
        "file": "",
        "api_key_env": "",
        "ttl_seconds": 1800,
        "timeout_seconds": 5,
    },
    "cache": {"url": "memory://", "key_prefix": "sentinel:", "timeout_seconds": 0.25},
    "sessions": {"ttl_seconds": 86_400, "max_in_process": 100_000, "url": ""},
    "headers": {"expose": ("*",), "client_retries": False},
    "request_log": {"url": "", "queue_size": 10_000, "retention_days": 30},
    "telemetry": {"service_name": "tiergate", "capture_content": False, "trace_link": ""},
}


def test_the_defaults_are_those_of_the_contract():
    assert msgspec.to_builtins(Config(), builtin_types=(tuple,)) == DEFAULTS


def test_a_provider_begins_with_the_numbers_of_the_contract():
    assert Provider(base_url="http://a") == Provider(
        base_url="http://a",
        credentials="own",
        max_connections=1000,
        acquire_timeout_seconds=1,
        connect_timeout_seconds=3,
        keepalive_seconds=None,
        ca_file="",
        proxy_url="",
        stream_usage=True,
    )


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        Config().retry = Retry()


@pytest.mark.parametrize(
    ("provider", "seconds"),
    [
        (Provider(base_url="http://a"), 4),
        (Provider(base_url="https://a"), 30),
        (Provider(base_url="https://a", keepalive_seconds=0), 0),
    ],
)
def test_idle_connections_live_shorter_than_a_python_server_keeps_them(provider, seconds):
    assert provider.keepalive == seconds


def test_a_provider_is_shown_without_what_may_be_a_key():
    provider = Provider(
        base_url="http://a/v1", headers={"api-key": "secret"}, proxy_url="http://u:secret@p"
    )
    assert repr(provider) == "<Provider http://a/v1>"


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (Cache(), "<Cache in this process>"),
        (Cache(url="redis://u:secret@redis/0"), "<Cache in Redis>"),
        (SessionSettings(), "<SessionSettings 86400 s, where the cache is>"),
        (SessionSettings(url="redis://:secret@r"), "<SessionSettings 86400 s, in Redis>"),
        (SessionSettings(url="memory://"), "<SessionSettings 86400 s, in this process>"),
        (TierConfig(), "<TierConfig inline>"),
        (TierConfig(source="file", file="/a.json"), "<TierConfig file>"),
        (TierConfig(source="http", url="https://u:secret@c/t?key=secret"), "<TierConfig http>"),
    ],
)
def test_an_address_that_may_hold_a_password_is_not_shown(part, shown):
    assert repr(part) == shown


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://a/v1", "a"), ("https://a:8443", "a:8443"), ("http://[::1]:80/v1", "[::1]:80")],
)
def test_a_providers_host_has_its_port(url, host):
    assert Provider(base_url=url).host == host


@pytest.mark.parametrize(
    ("retry", "attempt", "deadline"),
    [
        (Retry(), 15, 30),
        (Retry(attempt_timeout_seconds=5), 5, 30),
        (Retry(tiers={"complex": RetryTimes(deadline_seconds=120)}), 60, 120),
        (Retry(tiers={"complex": RetryTimes(attempt_timeout_seconds=20)}), 20, 30),
        (Retry(attempt_timeout_seconds=5, tiers={"complex": RetryTimes()}), 5, 30),
        (
            Retry(
                attempt_timeout_seconds=5,
                tiers={"complex": RetryTimes(attempt_timeout_seconds=0, deadline_seconds=8)},
            ),
            4,
            8,
        ),
    ],
)
def test_an_attempt_has_half_of_its_tiers_deadline_where_nothing_is_said(retry, attempt, deadline):
    allowed = retry.deadline("complex")
    assert (retry.attempt_timeout("complex", allowed), allowed) == (attempt, deadline)


def test_an_attempt_has_half_of_a_deadline_that_its_client_shortened():
    assert Retry().attempt_timeout("simple", 4) == 2
    assert Retry(attempt_timeout_seconds=5).attempt_timeout("simple", 4) == 5


def test_a_tiers_own_times_are_for_that_tier_only():
    own = StreamTimes(first_token_timeout_seconds=60)
    streaming = Streaming(tiers={"complex": own, "moderate": StreamTimes(idle_timeout_seconds=7)})
    times = [
        (streaming.first_token_timeout(tier), streaming.idle_timeout(tier))
        for tier in ("simple", "moderate", "complex")
    ]
    assert times == [(10, 20), (10, 7), (60, 20)]
    retry = Retry(tiers={"complex": RetryTimes(deadline_seconds=120)})
    assert retry.deadline("simple") == 30


ENTRY = {"provider": "p", "model": "m"}


@pytest.mark.parametrize("cost", [0, 1, 2.5, 10, "2.5"])
def test_a_relative_cost_is_any_number_up_to_ten(cost):
    entry = msgspec.convert({**ENTRY, "relative_cost": cost}, TierEntry, strict=False)
    assert entry.relative_cost == float(cost)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TierEntry, {**ENTRY, "relative_cost": 10.1}),
        (TierEntry, {**ENTRY, "relative_cost": -1}),
        (TierEntry, {**ENTRY, "relative_cost": "nan"}),
        (TierEntry, {**ENTRY, "input_price_per_million": -0.1}),
        (TierEntry, {**ENTRY, "output_price_per_million": float("inf")}),
        (TierEntry, {"provider": "p", "model": ""}),
        (TierEntry, {"provider": "p"}),
        (Retry, {"retries": -1}),
        (Retry, {"retries": 1.5}),
        (Retry, {"jitter": 1.1}),
        (Retry, {"deadline_seconds": 0}),
        (Retry, {"deadline_seconds": float("inf")}),
        (Retry, {"deadline_seconds": float("nan")}),
        (Retry, {"budget_window_seconds": 0}),
        (Limits, {"max_body_bytes": 0}),
        (Limits, {"send_timeout_seconds": 0}),
        (Limits, {"max_in_flight": 0}),
        (Limits, {"max_buffered_bytes": 0}),
        (Streaming, {"failover": "always"}),
        (Streaming, {"comment_seconds": 0}),
        (Streaming, {"buffered_deadline_seconds": 0}),
        (Streaming, {"max_buffer_bytes": 0}),
        (HealthSettings, {"initial_backoff_seconds": -1}),
        (HealthSettings, {"multiplier": 0.9}),
        (HealthSettings, {"multiplier": 10.1}),
        (HealthSettings, {"max_backoff_seconds": 0}),
        (HealthSettings, {"failures_to_open": 0}),
        (HealthSettings, {"probe_interval_seconds": 86_401}),
        (Streaming, {"max_event_bytes": 0}),
        (Provider, {"max_connections": 0}),
        (Provider, {"keepalive_seconds": float("inf")}),
        (Provider, {"acquire_timeout_seconds": 86_401}),
        (Config, {"tiers": {"huge": []}}),
        (Config, {"quotas": []}),
        (TierEntry, {**ENTRY, "context_window": 0}),
        (TierEntry, {**ENTRY, "supports": ["pdf"]}),
        (TierEntry, {**ENTRY, "rename": {"a": ""}}),
        (TierEntry, {**ENTRY, "drop": ["x" * 65]}),
        (Policy, {"name": ""}),
        (Policy, {"name": "x" * 65}),
        (Policy, {"name": "p", "max_output_price_per_million": -1}),
        (Policy, {"name": "p", "keywords": [""]}),
        (RequestLogSettings, {"queue_size": 0}),
        (RequestLogSettings, {"retention_days": 0}),
        (TierConfig, {"source": "redis"}),
        (TierConfig, {"ttl_seconds": 0}),
        (TierConfig, {"ttl_seconds": 366 * 86_400 + 1}),
        (TierConfig, {"timeout_seconds": 0}),
        (Cache, {"timeout_seconds": 0}),
        (SessionSettings, {"ttl_seconds": 0}),
        (SessionSettings, {"ttl_seconds": float("inf")}),
        (SessionSettings, {"max_in_process": 0}),
    ],
)
def test_a_number_out_of_bounds_is_refused(kind, values):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, kind, strict=False)
