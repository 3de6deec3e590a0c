"""The configurations that we ship can be used as they are."""

import re

import pytest

from tiergate import Config, Gateway, read_document, warnings_of
from tiergate.wellknown import WELL_KNOWN
from tiergate_sidecar.samples import INIT, MOCK_FAULT_HEADER, mock_config
from tiergate_sidecar.settings import Server, settings_of

KEYS = {
    "OPENAI_API_KEY": "k",
    "LOCAL_API_KEY": "l",
    "TIER_SERVICE_KEY": "t",
    "REDIS_PASSWORD": "r",
}


def loaded(tmp_path, text):
    file = tmp_path / "tiergate.toml"
    file.write_text(text)
    own, config = settings_of(read_document(file, environ=KEYS))
    return own, Gateway(config, environ=KEYS).config


def test_what_init_prints_loads_with_one_key(tmp_path):
    own, config = loaded(tmp_path, INIT)
    assert own.server == Server()
    assert {tier: len(pool) for tier, pool in config.tiers.items()} == {
        "simple": 1,
        "moderate": 1,
        "complex": 1,
    }
    assert config.providers["openai"].api_key_env == "OPENAI_API_KEY"


def test_what_init_comments_out_loads_too(tmp_path):
    text = re.sub(r"^# (?=\[|\w+ = )", "", INIT, flags=re.MULTILINE)
    _, config = loaded(tmp_path, text)
    assert set(config.providers) == {"openai", "local"}
    assert len(config.tiers["simple"]) == 2
    assert config.tier_config.source == "http"
    assert config.cache.url == "redis://:r@redis:6379/0"
    defaults = Config()
    assert config.tier_config.ttl_seconds == defaults.tier_config.ttl_seconds
    assert config.sessions == defaults.sessions


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_init_names_every_well_known_provider(name):
    assert re.search(rf"\b{name}\b", INIT)


def test_the_mock_configuration_serves_every_tier_with_a_fallback():
    own, config = settings_of(read_document(mock_config(lambda name: f"http://x/{name}/v1")))
    assert own.server == Server()
    assert warnings_of(config) == []
    assert list(config.tiers) == ["simple", "moderate", "complex"]
    assert {p.base_url for p in config.providers.values()} == {
        f"http://x/mock-{letter}/v1" for letter in "abc"
    }
    for provider in config.providers.values():
        assert provider.forward_headers == (MOCK_FAULT_HEADER,)
    for pool in config.tiers.values():
        assert all(entry.input_price_per_million for entry in pool)
