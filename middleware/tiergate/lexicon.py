"""Words, stems and phrases in groups, found in a text in one pass over its words.

Whole words only, so that "decode" is no "code"; stems where an entry ends in `*`; anywhere in
scripts that write no spaces. How the groups are called and what they weigh is not known here.
"""
# ruff: noqa: RUF001 - marks of other scripts are meant

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain
from typing import Final
from unicodedata import is_normalized, normalize

MAX_ENTRY: Final = 64
"""Characters of one entry."""
STEM_HEAD: Final = 3
"""Letters that a stem has at least: of fewer, half the language would be its forms."""
MAX_SEEN: Final = 16_384
"""Words whose groups are remembered, so that a word is looked up once: at most 3 MB, and the words
that come first are the common ones."""
MAX_STEM: Final = 12
"""Letters of a stem that count: by so many all are told apart."""

_PARTING: Final = bytes(
    code if code > 127 or chr(code).isalnum() or code == ord("_") else ord(" ")
    for code in range(256)
)
_MARKS: Final = "’“”„«»‘–—…¿¡、。，？！：；（）「」『』·•।؟،"
"""What else parts words. All this is three times as fast as a regular expression."""
_UNSEEN: Final = "\u00ad\u200b\u200c\u200d\u200e\u200f\ufeff"
"""Soft hyphens, joiners, marks of direction, of the beginning of a file: nobody reads them."""
_AT_ONCE: Final = 128
"""Characters that are composed at once: of marks alone it takes the square of their number."""


@cache
def _unspaced() -> re.Pattern[str]:
    """Compiled when it is asked for: a set of so many letters takes three milliseconds."""
    return re.compile(r"[\u0590-\u1dff\u2e80-\ufaff]")


def plain(text: str) -> str:
    """In small letters, each with its accents in one character, without what is not seen."""
    text = text.lower()
    if text.isascii():
        return text
    for mark in _UNSEEN:
        if mark in text:
            text = text.replace(mark, "")
    if is_normalized("NFC", text):
        return text
    pieces = range(0, len(text), _AT_ONCE)
    return "".join(normalize("NFC", text[at : at + _AT_ONCE]) for at in pieces)


def words_of(text: str) -> list[str]:
    """The words of a text; what joins words (hyphens, apostrophes) parts them."""
    if not text.isascii():
        for mark in _MARKS:
            if mark in text:
                text = text.replace(mark, " ")
    return text.encode(errors="replace").translate(_PARTING).decode().split()


def is_unspaced(text: str) -> bool:
    """Whether there are letters beyond the Latin, Greek and Cyrillic ones."""
    return not text.isascii() and _unspaced().search(text) is not None


class Text:
    """One text, made ready once to be looked through: `words` in small letters."""

    def __init__(self, text: str) -> None:
        self.raw = text
        self.lower = plain(text)
        self.words = words_of(self.lower)
        self.distinct = frozenset(self.words)
        self.unspaced = is_unspaced(self.lower)
        self._joined: str | None = None

    @property
    def joined(self) -> str:
        """The words with one space around each."""
        if self._joined is None:
            self._joined = f" {' '.join(self.words)} "
        return self._joined


class _Seen(dict[str, tuple[str, ...]]):
    """The groups of each word; a word is looked up once."""

    def __init__(
        self, words: Mapping[str, tuple[str, ...]], stems: Mapping[str, tuple[str, ...]]
    ) -> None:
        super().__init__()
        self._words = words
        self._stems = stems

    def __missing__(self, word: str) -> tuple[str, ...]:
        found = self._words.get(word, ())
        for size in range(STEM_HEAD, min(len(word), MAX_STEM) + 1):
            found += self._stems.get(word[:size], ())
        if len(word) <= MAX_ENTRY and len(self) < MAX_SEEN:
            self[word] = found
        return found


class Lexicon:
    """Groups of entries, compiled: about a microsecond for each.

    What it finds never changes; it only remembers words that it has looked up.
    """

    def __init__(self, groups: Mapping[str, Iterable[str]]) -> None:
        self.groups = {name: frozenset(entries) for name, entries in groups.items()}
        self._words: dict[str, tuple[str, ...]] = {}
        self._stems: dict[str, tuple[str, ...]] = {}
        self._phrases: dict[str, dict[str, list[tuple[str, str]]]] = {}
        self._anywhere: dict[str, tuple[tuple[str, str, str], ...]] = {}
        for name, entries in self.groups.items():
            for entry in sorted(entries):
                self._take(name, entry)
        self._groups_of = _Seen(self._words, self._stems).__getitem__
        self._heads = frozenset(self._phrases)
        self._seconds = {head: frozenset(each) for head, each in self._phrases.items()}

    def _take(self, group: str, entry: str) -> None:
        entry = plain(entry).replace("_", " ")
        stem = entry.endswith("*")
        if is_unspaced(entry):
            entry = entry.rstrip("*")
            known = self._anywhere.get(entry[0], ())
            self._anywhere[entry[0]] = (*known, (entry[-1], entry, group))
            return
        parts = words_of(entry)
        if len(parts) > 1:
            phrase = f" {' '.join(parts)}{'' if stem else ' '}"
            second = parts[0] if stem and len(parts) == 2 else parts[1]
            seconds = self._phrases.setdefault(parts[0], {})
            seconds.setdefault(second, []).append((phrase, group))
        elif parts:
            index, key = (self._stems, parts[0][:MAX_STEM]) if stem else (self._words, parts[0])
            index[key] = (*index.get(key, ()), group)

    def count(self, text: Text) -> dict[str, int]:
        """How many different words of each group the text has; groups without any are left out."""
        distinct = text.distinct
        found = list(chain.from_iterable(map(self._groups_of, distinct)))
        for head in distinct & self._heads:
            for second in distinct & self._seconds[head]:
                for phrase, group in self._phrases[head][second]:
                    if phrase in text.joined:
                        found.append(group)
        if text.unspaced:
            self._look_anywhere(text.lower, found)
        count: dict[str, int] = {}
        for group in found:
            count[group] = count.get(group, 0) + 1
        return count

    def _look_anywhere(self, text: str, found: list[str]) -> None:
        letters = set(text)
        for first in letters & self._anywhere.keys():
            for last, entry, group in self._anywhere[first]:
                if last in letters and entry in text:
                    found.append(group)
