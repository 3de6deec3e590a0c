"""How hard a request is, from its signals: a score, a tier, and what made them.

Pure and local. What is measured is in `signals`, the words in `vocabulary`; here is what each
weighs.
The score is the logistic function of the sum of value times weight, so without any evidence it is
0.5, which must be moderate.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from math import exp
from types import MappingProxyType
from typing import Final

from msgspec import Raw, Struct

from tiergate.lexicon import MAX_ENTRY, STEM_HEAD, Lexicon
from tiergate.prompt import read_prompt
from tiergate.routing_config import ClassifierSettings
from tiergate.signals import PLAIN, measure
from tiergate.tiers import Tier
from tiergate.vocabulary import FAMILIAR, word_groups

WEIGHTS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "very_brief": -0.91,
        "brief": -0.14,
        "long": 0.47,
        "very_long": 0.3,
        "bulk": 0.6,
        "mostly_pasted": -0.05,
        "code": -0.01,
        "code_blocks": -0.01,
        "quotations": 0.07,
        "list_items": -0.04,
        "commas": 0.22,
        "semicolons": 0.25,
        "parentheses": 0.08,
        "numbers": -0.07,
        "symbols": 0.03,
        "acronyms": 0.07,
        "long_words": 0.21,
        "question": 0.23,
        "yes_or_no": 1.15,
        "exclamations": -0.32,
        "turns": 0.16,
        "earlier_depth": 0.25,
        "tools": 0.0,
        "tool_calls": 0.3,
        "structured_answer": -0.24,
        "short_answer": -0.27,
        "long_answer": 0.18,
        "high_effort": 0.28,
        "low_effort": -0.27,
        "smalltalk": -1.23,
        "chore": -0.53,
        "transform": -0.08,
        "lookup": -0.81,
        "brevity": -0.27,
        "compose": 0.04,
        "engineering": -0.1,
        "proof": 0.83,
        "judgement": 0.49,
        "cause": 0.69,
        "constraint": 0.35,
        "condition": 0.03,
        "mathematics": 0.38,
        "systems": 0.91,
        "law": 0.85,
        "medicine": 0.47,
        "learned": 0.94,
    }
)
"""By signal, as `bench/tune.py` found them in the tuning part of `bench/evaluation`."""

NO_EVIDENCE: Final = 0.5
"""The score of a request that says nothing."""

MAX_NAMES: Final = 64
"""Of groups, each of which is measured for each request."""
MAX_WORDS: Final = 2000
"""Added to all groups together: the shipped ones are about as many, and are compiled in 2 ms."""


@cache
def _shipped() -> Lexicon:
    """That of most configurations: made once, and not before there is a classifier."""
    return Lexicon(word_groups())


class Signal(Struct, frozen=True):
    """One signal of a request; it adds `value * weight` to the sum behind the score."""

    name: str
    value: float
    weight: float


class Verdict(Struct, frozen=True):
    """`score` from 0 to 1 in three decimals; the signals that are not zero, the strongest first."""

    score: float
    tier: Tier
    signals: tuple[Signal, ...]


class Classifier:
    """The settings of one configuration, compiled. Immutable."""

    def __init__(self, settings: ClassifierSettings) -> None:
        self._moderate = settings.moderate
        self._complex = settings.complex
        self._most_bytes = settings.max_prompt_bytes
        self.weights = {**WEIGHTS, **settings.weights}
        self._lexicon = _changed(settings) if settings.words else _shipped()

    def measure(self, members: Mapping[str, Raw]) -> dict[str, float]:
        """The signals that are not zero, by name; never raises, whatever the members are."""
        prompt = read_prompt(members, most_bytes=self._most_bytes)
        return measure(prompt, members, self._lexicon)

    def judge(self, measured: Mapping[str, float]) -> Verdict:
        """What follows from signals; those of names that are not known here are left out."""
        signals = [
            Signal(name, value, weight)
            for name, value in measured.items()
            if value and (weight := self.weights.get(name)) is not None
        ]
        signals.sort(key=lambda signal: (-abs(signal.value * signal.weight), signal.name))
        total = sum(signal.value * signal.weight for signal in signals)
        score = round(1 / (1 + exp(-max(-30.0, min(30.0, total)))), 3)
        return Verdict(score=score, tier=self._tier(score), signals=tuple(signals))

    def classify(self, members: Mapping[str, Raw]) -> Verdict:
        """`judge` of what is measured."""
        return self.judge(self.measure(members))

    def _tier(self, score: float) -> Tier:
        """Decided on the score as it is shown, so that the two never contradict each other."""
        if score >= self._complex:
            return "complex"
        return "moderate" if score >= self._moderate else "simple"


def problems_of(settings: ClassifierSettings) -> Iterator[str]:
    """What is wrong with the settings as a set: each a path, a colon, what is wrong."""
    if not settings.moderate < settings.complex:
        yield "classifier.complex: must be above classifier.moderate"
    elif not settings.moderate <= NO_EVIDENCE < settings.complex:
        yield (
            "classifier.moderate: a request without any evidence scores 0.5 and must be moderate: "
            "it takes moderate <= 0.5 < complex"
        )
    if len(settings.words) + len(settings.weights) > 2 * MAX_NAMES:
        yield f"classifier: more than {2 * MAX_NAMES} weights and groups"
    groups = (word_groups().keys() | settings.words.keys()) - {FAMILIAR}
    known = {*PLAIN, *groups}
    for name in settings.weights:
        if name not in known:
            yield f"classifier.weights.{name}: no signal of this name{_hint(name, known)}"
    for name, words in settings.words.items():
        path = f"classifier.words.{name}"
        if name in PLAIN:
            yield f"{path}: the name of a signal that is not made of words"
        elif name not in word_groups() and name not in settings.weights:
            yield f"{path}: a new group needs a weight{_hint(name, word_groups())}"
        for each in (*words.add, *words.remove):
            if not each.strip(" *_") or len(each) > MAX_ENTRY:
                yield f"{path}: a word has 1 to {MAX_ENTRY} characters: {each[:MAX_ENTRY]!r}"
            elif each.endswith("*") and len(each) <= STEM_HEAD:
                yield f"{path}: a stem has at least {STEM_HEAD} letters: {each!r}"
        yield from (
            f"{path}.remove: {each!r} is not in the group"
            for each in words.remove
            if each not in word_groups().get(name, ())
        )
    if sum(len(words.add) for words in settings.words.values()) > MAX_WORDS:
        yield f"classifier.words: more than {MAX_WORDS} words are added"


def _hint(name: str, known: "set[str] | Mapping[str, object]") -> str:
    near = get_close_matches(name, known, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _changed(settings: ClassifierSettings) -> Lexicon:
    groups: dict[str, set[str]] = {name: set(words) for name, words in word_groups().items()}
    for name, words in settings.words.items():
        groups[name] = groups.get(name, set()) - {*words.remove} | {*words.add}
    return Lexicon(groups)
