"""Well-known providers: a table of base URL and key variable, nothing more.

A provider of one of these names needs no `base_url`; where that is empty here (azure) the address
is each user's own and must be given.
"""

from typing import Final, NamedTuple


class WellKnown(NamedTuple):
    base_url: str
    api_key_env: str


WELL_KNOWN: Final[dict[str, WellKnown]] = {
    "openai": WellKnown("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": WellKnown("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "gemini": WellKnown(
        "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"
    ),
    "groq": WellKnown("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": WellKnown("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "deepseek": WellKnown("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "together": WellKnown("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "fireworks": WellKnown("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "openrouter": WellKnown("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "azure": WellKnown("", "AZURE_OPENAI_API_KEY"),
    "ollama": WellKnown("http://127.0.0.1:11434/v1", ""),
    "vllm": WellKnown("http://127.0.0.1:8000/v1", ""),
}

_GEN_AI_NAMES: Final = {"azure": "azure.ai.openai", "gemini": "gcp.gemini", "mistral": "mistral_ai"}


def gen_ai_name(provider: str) -> str:
    """What OpenTelemetry's GenAI conventions call a provider; others keep their name."""
    return _GEN_AI_NAMES.get(provider, provider)
