"""The settings of routing: tiers and their candidates, the classifier, policies.

Frozen values and their defaults. What one demands of another is checked in `crosscheck`.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from tiergate.tables import Cost, PositiveCount, Price, Score, Table, Weight
from tiergate.tiers import Tier

Feature = Literal["tools", "vision", "audio", "files", "json_schema"]
"""What a request may need of a model beside text."""

_Name = Annotated[str, Meta(min_length=1, max_length=64)]


class Routing(Table, frozen=True):
    """Which requests are ours, and what a request without a tier means."""

    paths: tuple[str, ...] = ("/v1/chat/completions",)
    default_tier: Literal[Tier, "auto"] = "simple"
    """"auto": the classifier decides."""
    unknown_model: Literal["reject", "default", "pass"] = "reject"
    escalate: bool = False
    """With nobody available in a tier, ask the next higher ones; never a lower one."""
    aliases: dict[str, Tier] = field(default_factory=dict)


class WordList(Table, frozen=True):
    """What is changed in a group of the classifier's words."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class ClassifierSettings(Table, frozen=True):
    """How a request that names no tier gets one: `docs/tiers.md` tells what the scores mean."""

    moderate: Score = 0.4
    """From this score on a request is moderate."""
    complex: Score = 0.8
    """From this score on it is complex."""
    weights: dict[str, Weight] = field(default_factory=dict)
    """Of signals, by name; what is not named keeps its own."""
    words: dict[str, WordList] = field(default_factory=dict)
    """By name of a group of words, or of a new one, which needs a weight."""
    measure: Literal["auto", "all"] = "auto"
    """Which requests are measured: those that are to be decided, or all, so that `tiergate replay`
    can try the classifier on those that name a tier. That costs about 50 µs for 1 kB."""
    max_prompt_bytes: PositiveCount = 1_048_576
    """Messages over it are not read: their size alone speaks. 1 MiB is about 250,000 tokens."""


class Policy(Table, frozen=True):
    """Which models a request may use: named in `X-Arbstr-Policy` it binds, by a keyword it prefers.

    No allowed models and no ceiling: everybody is allowed.
    """

    name: _Name
    allowed_models: tuple[str, ...] = ()
    """Model ids; `*` only at the end."""
    max_output_price_per_million: Price | None = None
    """US dollars. A model whose price is not known is not under it."""
    keywords: tuple[_Name, ...] = ()
    """Whole words or phrases of the last user message."""


class TierEntry(Table, frozen=True):
    """One candidate of a tier. A `relative_cost` of 0 counts as 1 (the seeds' rule)."""

    provider: str
    model: Annotated[str, Meta(min_length=1)]
    relative_cost: Cost = 1
    input_price_per_million: Price | None = None
    output_price_per_million: Price | None = None
    cached_input_price_per_million: Price | None = None
    context_window: PositiveCount | None = None
    """Tokens, question and answer together. None is unknown, and keeps nobody away."""
    supports: tuple[Feature, ...] | None = None
    """None is unknown; an empty list is text only."""
    rename: dict[str, _Name] = field(default_factory=dict)
    """Members of a request that this model knows by another name."""
    drop: tuple[_Name, ...] = ()
    """Members that this model does not take."""
    set: dict[str, Any] = field(default_factory=dict)
    """Members that are always as given here."""
