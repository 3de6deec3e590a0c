"""The configuration in effect, for people to read: every value with its origin, and no secret."""

import re

import pytest

from tiergate import Config, decode_tables, load_config, read_document
from tiergate_sidecar.effective import Setting, effective
from tiergate_sidecar.settings import settings_of

TABLES = {
    "providers": {
        "p1": {"base_url": "http://p1/v1", "headers": {"X-Secret": "swordfish"}},
        "p2": {"base_url": "http://p2/v1", "proxy_url": "http://me:swordfish@proxy:3128"},
    },
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
}


def shown(**tables):
    environ = {"TIERGATE_RETRY__RETRIES": "1"}
    document = read_document(TABLES | tables, environ=environ, flags={"server.listen": ":1"})
    return {each.path: each for each in effective(*settings_of(document), document)}


def test_every_setting_has_its_value_and_origin():
    said = shown()
    assert list(said) == sorted(said)
    assert said["server.listen"] == Setting("server.listen", ":1", "flag")
    assert said["retry.retries"].origin == "environment TIERGATE_RETRY__RETRIES"
    assert said["retry.fallbacks"] == Setting("retry.fallbacks", 1, "default")
    assert said["providers.p1.base_url"].origin == "given"
    assert said["routing.aliases"] == Setting("routing.aliases", {}, "default")
    (entry,) = said["tiers.simple"].value
    assert (entry["provider"], entry["model"]) == ("p1", "m")
    assert said["admin.token_env"].value == ""


@pytest.mark.parametrize(
    ("path", "tables", "expected"),
    [
        ("providers.p1.headers.X-Secret", {}, "****"),
        ("providers.p2.proxy_url", {}, "http://me:****@proxy:3128"),
        (
            "cache.url",
            {"cache": {"url": "redis://:swordfish@redis:6379/0"}},
            "redis://:****@redis:6379/0",
        ),
        (
            "request_log.url",
            {
                "request_log": {
                    "url": "postgresql://u:sword/fish@x@db/t?options=swordfish&sslmode=require"
                }
            },
            "postgresql://u:****@db/t?options=****&sslmode=require",
        ),
        (
            "tier_config.url",
            {"tier_config": {"url": "https://h/x?sv=swordfish&swordfish&API-Version=1#f"}},
            "https://h/x?sv=****&****&API-Version=1#f",
        ),
        (
            "telemetry.trace_link",
            {"telemetry": {"trace_link": "https://jaeger/{trace_id}?a=swordfish&q={trace_id}"}},
            "https://jaeger/{trace_id}?a=****&q={trace_id}",
        ),
        (
            "cache.url",
            {"cache": {"url": "rediss://r?ssl_ca_certs=/ca.crt&client_name=swordfish"}},
            "rediss://r?ssl_ca_certs=/ca.crt&client_name=****",
        ),
        ("telemetry.trace_link", {"telemetry": {"trace_link": "h?a=swordfish"}}, "h?a=****"),
        ("routing.aliases.a?b=c", {"routing": {"aliases": {"a?b=c": "simple"}}}, "simple"),
        ("tier_config.api_key_env", {"tier_config": {"api_key_env": "sk-swordfish"}}, "****"),
        ("tier_config.api_key_env", {"tier_config": {"api_key_env": "ZION_KEY"}}, "ZION_KEY"),
    ],
)
def test_secrets_are_masked_and_the_rest_stays_readable(path, tables, expected):
    config = decode_tables({**TABLES, **tables}, Config, strict=True)  # whatever a check would say
    said = {each.path: each.value for each in effective(None, config, None)}
    assert said[path] == expected
    assert not {"swordfish", "sword/fish"} & set(re.findall(r"sword.?fish", str(said)))


def test_of_a_hosts_gateway_what_was_given_is_told_from_the_defaults():
    config = load_config(TABLES | {"retry": {"retries": 1}}, environ={})
    said = {each.path: each for each in effective(None, config, None)}
    assert (said["retry.retries"].origin, said["retry.fallbacks"].origin) == ("given", "default")
    assert said["providers.p1.base_url"].origin == "given"
    assert "server.listen" not in said
