"""What the classifier is measured against: arbstr's published formula, length, a constant.

The formula is that of arbstr's `complexity.rs`, with its own thresholds, as its scorer behaves:
bytes for characters, system prompts counted, the first text part only, very short is hardest.
"""

import re
from bisect import bisect_right
from math import exp
from typing import Any, Final

from tiergate.tiers import TIERS, Tier

ARBSTR_LOW: Final = 0.4
ARBSTR_HIGH: Final = 0.7
_TOO_SHORT: Final = 10  # bytes
_WORDS: Final = (
    "architect",
    "design",
    "tradeoff",
    "refactor",
    "why does",
    "compare",
    "across the codebase",
    "step by step",
    "analyze",
    "evaluate",
    "debug",
)
_PATH: Final = re.compile(r"[\w./-]+\.\w{1,5}\b")
_EXTENSION: Final = re.compile(r"\.(?:rs|py|ts|js|go|java|cpp|c|h|toml|yaml|yml|json|md|sql|sh)\b")
_FENCED: Final = re.compile(r"```.*?```", re.DOTALL)


def _logistic(value: float, midpoint: float, slope: float) -> float:
    return 1 / (1 + exp(-slope * (value - midpoint)))


def _first_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "text":
            return str(part.get("text", ""))
    return ""


def arbstr_score(messages: list[dict[str, Any]]) -> float:
    """arbstr's complexity of a conversation, 0 to 1, all weights 1."""
    text = "\n".join(_first_text(message.get("content")) for message in messages)
    size = len(text.encode())
    if not messages or size < _TOO_SHORT:
        return 1.0
    files = {*_PATH.findall(text), *_EXTENSION.findall(text)}
    lower = text.lower()
    signals = (
        _logistic(size // 4, 1000, 0.003),
        min(1.0, len(_FENCED.findall(text)) / 3),
        min(1.0, len(files) / 3),
        min(1.0, sum(word in lower for word in _WORDS) / 3),
        _logistic(len(messages), 6, 0.5),
    )
    return min(1.0, max(0.0, sum(signals) / len(signals)))


def arbstr_tier(messages: list[dict[str, Any]]) -> Tier:
    score = arbstr_score(messages)
    if score < ARBSTR_LOW:
        return "simple"
    return "complex" if score > ARBSTR_HIGH else "moderate"


def length_of(messages: list[dict[str, Any]]) -> int:
    """Characters of the last user message."""
    said = [message for message in messages if message.get("role") == "user"]
    return len(_first_text(said[-1].get("content"))) if said else 0


def fit_lengths(lengths: list[int], tiers: list[Tier]) -> tuple[int, int]:
    """From how many characters on a request is moderate, and complex: what is right most often."""
    pairs = sorted(zip(lengths, tiers, strict=True))
    sizes = [length for length, _ in pairs]
    before = {tier: [0] for tier in TIERS}
    for _, right in pairs:
        for tier, counts in before.items():
            counts.append(counts[-1] + (tier == right))
    simple, moderate, hard = (before[tier] for tier in TIERS)
    candidates = sorted({0, *sizes, sizes[-1] + 1})
    places = [(each, bisect_right(sizes, each - 1)) for each in candidates]
    best = max(
        (simple[i] + moderate[j] - moderate[i] + hard[-1] - hard[j], low, high)
        for low, i in places
        for high, j in places
        if low <= high
    )
    return best[1], best[2]


def length_tier(length: int, boundaries: tuple[int, int]) -> Tier:
    return TIERS[sum(length >= boundary for boundary in boundaries)]
