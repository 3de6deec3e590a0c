"""Well-known providers: the names of CONTRACT section 12, each with an address that can be used."""

import pytest

from tiergate.errors import ConfigError
from tiergate.loading import load_config
from tiergate.wellknown import WELL_KNOWN, gen_ai_name

CLOUD = ["openai", "anthropic", "gemini", "groq", "mistral", "deepseek"]
CLOUD += ["together", "fireworks", "openrouter"]


def test_the_names_are_those_that_are_promised():
    assert {*CLOUD, "azure", "ollama", "vllm"} <= set(WELL_KNOWN)


@pytest.mark.parametrize("name", sorted(WELL_KNOWN))
def test_a_name_alone_is_a_provider(name):
    tables = {"providers": {name: {}}, "tiers": {"simple": [{"provider": name, "model": "m"}]}}
    if name == "azure":  # each user's own address
        with pytest.raises(ConfigError, match=r"providers\.azure\.base_url: missing"):
            load_config(tables, environ={})
        tables["providers"][name]["base_url"] = "https://mine.openai.azure.com/openai/v1"
    provider = load_config(tables, environ={}).providers[name]
    assert not provider.base_url.endswith("/")
    assert provider.api_key_env == WELL_KNOWN[name].api_key_env


def test_a_key_is_never_sent_in_the_clear():
    for name, known in WELL_KNOWN.items():
        assert known.base_url.startswith("https://") or not (known.base_url and known.api_key_env)
        assert name in [*CLOUD, "azure"] or known.base_url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *(("azure", "azure.ai.openai"), ("gemini", "gcp.gemini"), ("mistral", "mistral_ai")),
        *((same, same) for same in ("openai", "anthropic", "groq", "deepseek", "vllm", "mine")),
    ],
)
def test_the_conventions_have_other_names_for_some(name, told):
    assert gen_ai_name(name) == told
