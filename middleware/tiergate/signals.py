"""What is measured of a request: the signals that tell how hard it is, as numbers.

A signal that is zero says nothing, and nothing is what an empty prompt has. What each weighs, and
what follows, is in `classify`; the words are in `vocabulary`. Sizes are in binary logarithms: from
20 words to 40 is as far as from 200 to 400.
"""
# ruff: noqa: RUF001 - marks of other scripts are meant

import re
from collections.abc import Mapping
from functools import cache
from math import log2
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from tiergate.demand import Demand, split
from tiergate.lexicon import Lexicon, Text
from tiergate.prompt import Prompt
from tiergate.vocabulary import FAMILIAR

_PLAIN: Final = """
very_brief brief long very_long bulk mostly_pasted code code_blocks quotations list_items
commas semicolons parentheses numbers symbols acronyms long_words question yes_or_no
exclamations turns earlier_depth tools tool_calls structured_answer short_answer
long_answer high_effort low_effort
"""
PLAIN: Final = tuple(_PLAIN.split())
"""Signals beside the groups of words, whose signals have the groups' names."""

DEEP: Final = ("proof", "judgement", "mathematics", "systems", "law", "medicine", "learned")

MAX_LEAD: Final = 90
"""Characters before a colon that announces what is worked on."""
ANNOUNCING: Final = ("chore", "transform")
"""Groups whose words, before a colon, announce what they are to be done to."""
DEMANDING: Final = ("chore", "transform", "lookup", "brevity", "compose", "cause")
"""Groups that a demand has a word of."""
NEUTRAL: Final = 5.0
"""Binary logarithm of the words of a demand whose length says nothing: about thirty."""
LONGEST: Final = 11.0
"""Likewise, of what is longest: two thousand words and ten thousand are as long."""
BULK: Final = 11.0
"""Likewise, of demand and material together: from two thousand words on, size alone is work."""
MOST_BULK: Final = 5.0
LETTERS_OF_A_WORD: Final = 6.0
CJK_OF_A_WORD: Final = 1.7
"""Han characters and kana that say as much as an English word."""
KNOWN_SHARE: Final = 0.15
"""Of so many of its words we must know one, or the language may be one that we do not read, and
then shortness says nothing."""
SHORT_ANSWER: Final = 150
LONG_ANSWER: Final = 2000
"""Tokens: `max_tokens` up to the one is a label or a line, from the other on an essay."""
FEW: Final = 3
"""Added to the words of a text before the share of a group is taken, so that one is not all."""

EXACT: Final = 10_000
"""Signals are kept in so many parts of one."""
TENTHS: Final = 10
"""A group that every tenth word is of has the value 1."""

PLEASANTRY: Final = 0.8
"""Of small talk so much is manners, and says nothing of what else is asked."""

_COUNTED: Final = (("commas", ",，、،"), ("semicolons", ";；"), ("parentheses", "(（"))
_SYMBOL: Final = re.compile(r"[∀∃∑∏∫√≤≥≠≈∈∉⊂⊆∪∩→⇒⇔∞∂∇±×λΣμσε²³ℝℕℤπ]")
_ACRONYM: Final = re.compile(r"[A-Z][A-Z0-9]++")
_QUESTION_ENDS: Final = ("?", "？", "؟", "吗", "か", "か。", "呢", "까")
_POLAR_WORDS: Final = """
is are was does do did can could may should must would will has have if ist sind kann darf gilt
hat wird soll est peut doit faut si es son puede hay debe é são pode há deve può è esiste czy
всякая верно можно ли kan mag moet
"""
_POLAR: Final = frozenset(_POLAR_WORDS.split())

T = TypeVar("T")
_number: msgspec.json.Decoder[float] = msgspec.json.Decoder(float)
_string: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)


@cache
def _not_cjk() -> re.Pattern[str]:
    """Neither Han characters nor kana. Compiled when it is asked for: it takes two milliseconds."""
    return re.compile(r"[^\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]++")


def _cjk(text: str) -> int:
    """How many Han characters and kana there are."""
    return 0 if text.isascii() else len(_not_cjk().sub("", text))


def log(count: float) -> float:
    """Binary logarithm of one more: of nothing 0."""
    return log2(1 + count)


def measure(prompt: Prompt, members: Mapping[str, Raw], lexicon: Lexicon) -> dict[str, float]:
    """The signals of a request that are not zero, with four decimals."""
    found = _asked_of(members)
    if prompt.read:
        found.update(_said(prompt, lexicon))
    else:
        size = log(prompt.characters / LETTERS_OF_A_WORD)
        found |= _sizes(size, known=True) | {"bulk": _bulk(size)}
    return {  # `round` takes three times as long
        name: near
        for name, value in found.items()
        if value and (near := int(value * EXACT + 0.5) / EXACT)
    }


def _said(prompt: Prompt, lexicon: Lexicon) -> dict[str, float]:
    demand = split(prompt.last_user)
    asked, given, count = _parted(demand, lexicon)
    text = asked.raw
    scale = prompt.characters / max(1, len(prompt.last_user))
    words = _words(asked)
    material = (_size(given) + len(demand.code) / LETTERS_OF_A_WORD) * scale
    length = log(words * (1 if given else scale))
    brought = log(material)
    distinct = len(asked.distinct)
    found = _sizes(length, known=_is_known(asked, count, distinct))
    share = TENTHS / (FEW + distinct)
    for group, hits in count.items():
        found[group] = hits * share
    found.pop(FAMILIAR, None)
    if "smalltalk" in found:
        found["smalltalk"] = max(0.0, found["smalltalk"] - PLEASANTRY)
    if prompt.recent:
        before = lexicon.count(Text("\n".join(prompt.recent)))
        depth = log(sum(before.get(group, 0) for group in DEEP))
        found["earlier_depth"] = depth
        for name in ("brief", "very_brief"):  # what goes on is as hard as what went before
            found[name] /= 2 + depth
    if text.rstrip().endswith(_QUESTION_ENDS):
        found["question"] = 1.0
        found["yes_or_no"] = float(bool(asked.words) and asked.words[0] in _POLAR)
    found["long_words"] = _long_words(asked)
    found["bulk"] = _bulk(log(words * scale + material))
    if length and brought:
        found["mostly_pasted"] = max(0.0, min(brought, LONGEST) - length)
    for name, marks in _COUNTED:
        if value := sum(map(text.count, marks)):
            found[name] = log2(1 + value)
    counted: tuple[tuple[str, float], ...] = (
        ("code", len(demand.code) / 8),
        ("code_blocks", demand.fences),
        ("quotations", demand.quotes),
        ("list_items", demand.items),
        ("exclamations", "!" in text or "！" in text),
        ("numbers", sum(map(str.isdecimal, asked.distinct))),
        ("symbols", _symbols(text)),
        ("acronyms", _acronyms(text)),
        ("turns", max(0, prompt.turns - 1)),
        ("tool_calls", prompt.tool_calls + prompt.tool_results),
    )
    for name, amount in counted:
        if amount:
            found[name] = log2(1 + amount)
    return found


def _sizes(length: float, *, known: bool) -> dict[str, float]:
    """Of a demand of so many words, as a logarithm; what is short in an unknown language is not."""
    length = min(length, LONGEST)
    brief = known and length > 0
    return {
        "very_brief": max(0.0, 2.5 - length) if brief else 0.0,
        "brief": max(0.0, NEUTRAL - length) if brief else 0.0,
        "long": max(0.0, length - NEUTRAL),
        "very_long": max(0.0, length - 6.5),
    }


def _bulk(size: float) -> float:
    return max(0.0, min(MOST_BULK, size - BULK))


def _parted(demand: Demand, lexicon: Lexicon) -> tuple[Text, str, Mapping[str, int]]:
    """What is asked, what is given, and the words of what is asked.

    "Fix the typos: …" gives all that comes after its colon. Where the paragraphs around ask for
    nothing (a greeting and a farewell, who one is), what seemed to be pasted is the demand.
    """
    asked, given = demand.asked, demand.given
    colon = max(asked.find(":", 0, MAX_LEAD), asked.find("：", 0, MAX_LEAD))
    if 0 < colon < len(asked) - 8:
        lead = Text(asked[:colon])
        count = lexicon.count(lead)
        if not count.keys().isdisjoint(ANNOUNCING) and count.keys().isdisjoint(DEEP):
            return lead, f"{given}\n{asked[colon + 1 :]}", count
    text = Text(asked)
    count = lexicon.count(text)
    if given and not _asks(text, count):
        text, given = Text(f"{asked}\n{given}"), ""
        count = lexicon.count(text)
    return text, given, count


def _asks(text: Text, count: Mapping[str, int]) -> bool:
    if not count.keys().isdisjoint(DEMANDING):
        return True
    return "smalltalk" not in count and any(mark in text.raw for mark in "?？؟:：")


def _words(text: Text) -> float:
    if not text.unspaced:
        return len(text.words)
    return len(text.words) + _cjk(text.lower) / CJK_OF_A_WORD


def _size(text: str) -> float:
    """About how many words, without looking for them."""
    cjk = _cjk(text)
    return (len(text) - cjk) / LETTERS_OF_A_WORD + cjk / CJK_OF_A_WORD


def _is_known(asked: Text, count: Mapping[str, int], distinct: int) -> bool:
    """Whether the text is in a language that we have words of, as far as we can tell."""
    if not any(map(str.isalpha, asked.lower)):
        return any(map(str.isdigit, asked.lower))
    if asked.unspaced and _cjk(asked.lower):
        return True
    return sum(count.values()) >= KNOWN_SHARE * distinct


def _symbols(text: str) -> int:
    found = sum(map(text.count, "^=\\"))
    return found if text.isascii() else found + len(_SYMBOL.findall(text))


def _acronyms(text: str) -> int:
    return len({*_ACRONYM.findall(text)})


def _long_words(asked: Text) -> float:
    """How far the mean length of a word is over English's, in letters."""
    if asked.unspaced or not asked.words:
        return 0.0
    return max(0.0, min(3.0, (len(asked.joined) - 1) / len(asked.words) - 5.5))


def _asked_of(members: Mapping[str, Raw]) -> dict[str, float]:
    """What a request says beside its messages."""
    found: dict[str, float] = {}
    if "tools" in members and memoryview(members["tools"])[:1].tobytes() == b"[":
        found["tools"] = 1.0
    if b'"json' in bytes(memoryview(members.get("response_format", b""))[:1024]):
        found["structured_answer"] = 1.0
    for name in ("max_tokens", "max_completion_tokens"):
        most = _read(_number, members[name]) if name in members else None
        if most is not None and most > 0:
            found["short_answer"] = float(most <= SHORT_ANSWER)
            found["long_answer"] = float(most >= LONG_ANSWER)
    if "reasoning_effort" in members:
        effort = _read(_string, members["reasoning_effort"])
        found["high_effort"] = float(effort in ("high", "xhigh"))
        found["low_effort"] = float(effort in ("low", "minimal", "none"))
    return found


def _read(decoder: msgspec.json.Decoder[T], raw: bytes) -> T | None:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
