"""Whether a configuration would break an app that knows nothing of tiers.

Such an app asks for `gpt-4o`, for embeddings, for the Responses API: it gets them as before only
when a provider takes what no tier does. The raw text is read, without the variables it names: they
are the sidecar's, not the injector's. Whether the configuration is right is `tiergate check`.
"""

import tomllib
from functools import lru_cache
from typing import Any, Final

LONGEST: Final = 128 << 10
"""Characters that are looked at: a configuration has a few thousand. Whoever may write a ConfigMap
writes this text, and a webhook reads it between all others' pods."""
MOST_DOTS: Final = 500
"""In one line. What the parser does for a key grows with the square of its dots: at these 2 ms."""
REMEMBERED: Final = 64
"""Texts: each pod of a Deployment brings the same one."""


@lru_cache(REMEMBERED)
def breakage_of(text: str) -> str:
    """What of a configuration in TOML would break an app, as a sentence; "" for nothing.

    Raises `LookupError` for a text that would take too long to read.
    """
    if len(text) > LONGEST:
        raise LookupError(f"it is longer than {LONGEST} characters")
    if any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        raise LookupError(f"it has a line with more than {MOST_DOTS} dots")
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return f"it is not TOML: {error}"
    except RecursionError:
        return "it is not TOML that can be read: too deep"
    provider = _setting(tables, "proxy", "provider")
    if not isinstance(provider, str) or not provider:
        return "proxy.provider names nobody who gets what is not for a tier"
    unknown = _setting(tables, "routing", "unknown_model")
    if unknown != "pass" and not _is_open(unknown):
        return 'routing.unknown_model is not "pass": a model that no tier knows would be refused'
    return ""


def _setting(tables: dict[str, Any], table: str, name: str) -> Any:
    found = tables.get(table)
    return found.get(name) if isinstance(found, dict) else None


def _is_open(value: Any) -> bool:
    """Whether a variable decides about it, where the sidecar runs."""
    return isinstance(value, str) and "${" in value
