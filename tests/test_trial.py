"""A configuration to be tried: what routing needs of it, and nothing that only serving needs.

The promise: no key, no address, no file of keys and no network is needed; what is wrong is named by
its path; and what somebody sends reads neither files nor the environment.
"""

import json

import pytest

from tiergate import Config, ConfigError, trial_config

TIERS = {"simple": [{"provider": "p1", "model": "a", "relative_cost": 2}]}
PLAIN = {"providers": {"p1": {"base_url": "http://h.test"}}, "tiers": TIERS}
FULL = """
[server]
listen = "${LISTEN}"
[auth]
tokens_file = "/nowhere/tokens"
[cache]
url = "${REDIS_URL}"
[sessions]
url = "redis://${REDIS_HOST}"
ttl_seconds = 60
[request_log]
url = "postgresql://${PASSWORD}@db/log"
[tier_config]
api_key_env = "TIER_KEY"
ttl_seconds = 5
[routing]
default_tier = "auto"
aliases = { "gpt-*" = "complex" }
[classifier]
moderate = 0.3
[[policies]]
name = "safe"
allowed_models = ["a"]
[providers.p1]
base_url = "https://${HOST}/v1"
api_key_file = "${KEYS}/p1"
proxy_url = "http://${PROXY}"
headers = { x-org = "${ORG}" }
[providers.openai]
[[tiers.simple]]
provider = "p1"
model = "a"
context_window = 8000
[[tiers.complex]]
provider = "openai"
model = "b"
"""


def test_a_file_of_a_pod_is_tried_where_none_of_its_secrets_are(tmp_path):
    file = tmp_path / "new.toml"
    file.write_text(FULL)
    config = trial_config(file, environ={})
    assert (config.routing.default_tier, config.classifier.moderate) == ("auto", 0.3)
    assert (config.routing.aliases, config.policies[0].name) == ({"gpt-*": "complex"}, "safe")
    assert config.tiers["simple"][0].context_window == 8000
    assert config.tiers["complex"][0].provider == "openai"
    assert config.sessions.ttl_seconds == 60
    assert (config.request_log.url, config.cache.url, config.sessions.url) == ("", "memory://", "")


def test_variables_count_in_what_is_tried():
    environ = {"TIER": "complex", "TIERGATE_CLASSIFIER__MODERATE": "0.2", "TIERGATE_SERVER__X": "y"}
    config = trial_config(PLAIN | {"routing": {"default_tier": "${TIER}"}}, environ=environ)
    assert (config.routing.default_tier, config.classifier.moderate) == ("complex", 0.2)
    config = trial_config(PLAIN, environ=environ, alone=True)
    assert (config.routing.default_tier, config.classifier.moderate) == (
        "simple",
        Config().classifier.moderate,
    )


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"routing": {"default_tier": "huge"}}, "routing.default_tier: must be one of"),
        ({"polices": []}, "polices: unknown key .did you mean 'policies'"),
        ({"routing": {"default_teir": "simple"}}, "routing.default_teir: unknown key"),
        ({"routing": {"default_tier": "${T}"}}, "routing.default_tier: the environment variable T"),
        ({"providers": {"p2": {}}}, "providers.p2.base_url: missing"),
        ({"providers": {"p1": "http://h.test"}}, "providers.p1: must be a table"),
        ({"providers": []}, "providers: must be a table"),
        ({"sessions": 60}, "sessions: must be a table"),
        ({"tiers": {}}, "tiers: no tier has a candidate"),
        ({"tier_config": {"source": "http", "url": "${URL}"}}, "tier_config.source: .http."),
        ({"tier_config": {"source": "file"}, "tiers": {}}, "tier_config.file: missing"),
        ({"tier_config": {"source": "file", "file": "/no/x.json"}}, "tier_config.file: cannot"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tables, says):
    with pytest.raises(ConfigError, match=says):
        trial_config(PLAIN | tables, environ={})


def test_an_unknown_key_is_left_out_where_the_file_says_so():
    config = trial_config(PLAIN | {"polices": [], "server": {"strict": False}}, environ={})
    assert config.tiers["simple"][0].model == "a"


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*none.toml"):
        trial_config(tmp_path / "none.toml", environ={})


def test_tiers_of_a_file_become_inline_ones(tmp_path):
    file = tmp_path / "tiers.json"
    entry = {"provider": "p1", "model": "a", "relativeCost": 3, "supports": ["tools"]}
    prices = {"inputPricePerMillion": 1, "outputPricePerMillion": 2}
    file.write_text(json.dumps({"version": "7", "tiers": {"complex": [entry | prices]}}))
    source = {"tier_config": {"source": "file", "file": str(file)}, "tiers": {}}
    config = trial_config(PLAIN | source, environ={})
    (entry,) = config.tiers["complex"]
    assert (config.tier_config.source, entry.relative_cost) == ("inline", 3)
    assert (entry.supports, entry.output_price_per_million) == (("tools",), 2)
    file.write_text("{}")
    with pytest.raises(ConfigError, match=r"tier_config\.file: "):
        trial_config(PLAIN | source, environ={})


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"tier_config": {"source": "file", "file": "tiers.json"}}, "tier_config.file: no file is"),
        ({"routing": {"default_tier": "${HOME}"}}, "environment variable HOME is not set"),
    ],
)
def test_what_somebody_sends_reads_no_file_and_no_environment(tables, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        trial_config(PLAIN | tables, environ={"HOME": str(tmp_path)}, alone=True)
