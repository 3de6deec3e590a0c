"""The configurations that we ship: that of `serve --mock`, and what `tiergate init` prints."""

from collections.abc import Callable
from typing import Any, Final

MOCK_FAULT_HEADER: Final = "X-Mock-Fault"

_MOCK_TIERS: Final = {
    "simple": [
        ("mock-a", "mock-small", 1), ("mock-b", "mock-small", 2), ("mock-c", "mock-small", 5),
    ],
    "moderate": [("mock-a", "mock-medium", 3), ("mock-b", "mock-medium", 4)],
    "complex": [("mock-b", "mock-large", 8), ("mock-c", "mock-large", 10)],
}  # fmt: skip


def mock_config(base_url: Callable[[str], str]) -> dict[str, Any]:
    """All three tiers on the built-in fake providers, which are told of `X-Mock-Fault`."""
    names = sorted({name for pool in _MOCK_TIERS.values() for name, _, _ in pool})
    return {
        "providers": {
            name: {"base_url": base_url(name), "forward_headers": [MOCK_FAULT_HEADER]}
            for name in names
        },
        "tiers": {
            tier: [
                {
                    "provider": name,
                    "model": model,
                    "relative_cost": cost,
                    "input_price_per_million": 0.05 * cost,
                    "output_price_per_million": 0.2 * cost,
                }
                for name, model, cost in pool
            ]
            for tier, pool in _MOCK_TIERS.items()
        },
        "health": {"initial_backoff_seconds": 5},  # short enough to be watched
        "request_log": {"url": ""},
    }


INIT: Final = """\
# tiergate: which models serve which tier. Every setting is in docs/configuration.md.
# A request names a tier (simple, moderate, complex) as `tier` or `model`, or a model listed here.

[server]
listen = "127.0.0.1:8080"       # clients
admin = "127.0.0.1:9090"        # operators: /health, POST /reload

[routing]
default_tier = "simple"         # for requests that name neither tier nor model

[routing.aliases]               # what apps ask for today; "*" only at the end
"gpt-4o*" = "moderate"

# Well-known names need no base_url, and their key is read from the usual variable:
# OPENAI_API_KEY here. Others: anthropic, gemini, groq, mistral, deepseek, together, fireworks,
# openrouter, azure, ollama, vllm.
[providers.openai]

# Any other OpenAI-compatible server:
# [providers.local]
# base_url = "http://127.0.0.1:8000/v1"
# api_key_env = "LOCAL_API_KEY"  # or api_key_file; neither where none is needed

# Candidates of a tier. The weight of a draw is 1 / relative_cost (1 to 10). Prices are US dollars
# per million tokens, for costs only: look them up, they change.
[[tiers.simple]]
provider = "openai"
model = "gpt-5-nano"
relative_cost = 1
input_price_per_million = 0.05
output_price_per_million = 0.40

[[tiers.moderate]]
provider = "openai"
model = "gpt-5-mini"
relative_cost = 3
input_price_per_million = 0.25
output_price_per_million = 2.00

[[tiers.complex]]
provider = "openai"
model = "gpt-5"
relative_cost = 8
input_price_per_million = 1.25
output_price_per_million = 10.00
# What this model takes by another name, or not at all; docs/tiers.md has more, also who fits what.
# rename = {max_tokens = "max_completion_tokens"}
# drop = ["temperature"]

# A second candidate is what makes a tier survive its first one:
# [[tiers.simple]]
# provider = "local"
# model = "qwen3-8b"

# Tiers from a service (or "file"), asked again in the background; docs/tiers.md has the document.
# The [[tiers.X]] above then serve until its first answer.
# [tier_config]
# source = "http"
# url = "https://config.internal/api/v1/tiers/config"
# api_key_env = "TIER_SERVICE_KEY"
# ttl_seconds = 1800

# A Redis that several replicas or workers share, for the service's tiers and for the sessions. A
# request never fails because of it. With TLS: rediss://…?ssl_ca_certs=/etc/redis/ca.crt
# [cache]
# url = "redis://:${REDIS_PASSWORD}@redis:6379/0"

# A conversation (`conversation_id` in the body) keeps its model so long after its last use, and
# only moves up in tier.
# [sessions]
# ttl_seconds = 86400

[retry.tiers.complex]           # 30 s are the default; reasoning models need more
attempt_timeout_seconds = 90
deadline_seconds = 120

[streaming.tiers.complex]
first_token_timeout_seconds = 60
idle_timeout_seconds = 60
"""
