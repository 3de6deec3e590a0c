"""What a turn asks, apart from what it brings along: quotations, code, pasted pages and tables.

Words of difficulty in a text that is to be translated say nothing about the task. Which words those
are is not known here.
"""
# ruff: noqa: RUF001 - marks of other scripts are meant

import re
from typing import Final

from msgspec import Struct

_QUOTED: Final = (
    ('"', re.compile(r'"[^"\n]*+"')),
    ("“", re.compile(r"“[^“”]*+”")),
    ("„", re.compile(r"„[^„“”\"]*+[“”\"]")),
    ("«", re.compile(r"«[^«»]*+»")),
    ("»", re.compile(r"»[^«»]*+«")),
    ("「", re.compile(r"「[^「」]*+」")),
    ("『", re.compile(r"『[^『』]*+』")),
    ("‘", re.compile(r"‘[^‘’\n]*+’")),
    ("'", re.compile(r"'(?<=[\s(:,]')(?:[^'\n]|(?<=\w)'(?=\w))*+'(?!\w)")),
)
"""An opening mark and what it opens. Each stops where the next would begin, so that a text of
nothing but opening marks is read once."""
_INLINE: Final = re.compile(r"`[^`\n]*+`")
_ITEM: Final = re.compile(r"(?:[-*•]|\(?\d{1,2}[.)]|\(?[a-z]\)|[①-⑳])\s?")
_FIRST_WORDS: Final = """
def class import from func fn function const let var return export public private static package use
using try try: except except: SELECT INSERT UPDATE DELETE CREATE ALTER WITH FROM WHERE JOIN diff
index at File Traceback
"""
_MACHINE_WORDS: Final = frozenset(_FIRST_WORDS.split())
"""First words of lines that people do not write to each other, as a whole."""
_MACHINE_HEADS: Final = ("if (", "for (", "while (", "Caused by")
_MACHINE: Final = re.compile(
    r"@@|\+\+\+|---|#include|#!|//|/\*|\$ |>>>|[})\]]|<\w|</|\[?\d{4}-\d\d-\d\d[T ]|\d\d:\d\d:\d\d"
)
"""How the lines begin that begin with no letter."""
_TABLE_MARKS: Final = ";|\t"
_MACHINE_END: Final = ("{", "}", ";", "};", ");", "},", "],", "[", "/>", "|")

MAX_LEAD: Final = 90
"""Characters before a colon that announces what is worked on."""
MAX_LINES: Final = 400
SHORT_PARAGRAPH: Final = 200
MUCH_LONGER: Final = 3
LONG_PARAGRAPH: Final = 900
"""Characters of a last paragraph that can still be the question after what was pasted."""


class Demand(Struct, frozen=True):
    """A turn in parts: `asked` is the user's demand, `given` what they quoted or pasted, `code`
    what is written for machines. `items` are lines of a list, `fences` blocks of code, `quotes`
    quotations.
    """

    asked: str
    given: str
    code: str
    items: int
    fences: int
    quotes: int


def split(text: str) -> Demand:
    """The parts of one turn."""
    code: list[str] = []
    given: list[str] = []
    pieces = text.split("```")
    fences = len(pieces) // 2
    if fences:
        code += pieces[1::2]
        text = "\n\n".join(pieces[::2])
    quotes = 0

    def quoted(match: re.Match[str]) -> str:
        given.append(match[0])
        return " ␟ "

    text = f" {text}"
    for mark, pattern in _QUOTED:
        if mark in text:
            text, count = pattern.subn(quoted, text)
            quotes += count
    if "`" in text:

        def inline(match: re.Match[str]) -> str:
            code.append(match[0])
            return " ␟ "

        text = _INLINE.sub(inline, text)
    asked, items = _own_lines(text, given, code) if "\n" in text else (text, 0)
    return Demand(
        asked=asked,
        given="\n".join(given),
        code="\n".join(code),
        items=items,
        fences=fences,
        quotes=quotes,
    )


def _own_lines(text: str, given: list[str], code: list[str]) -> tuple[str, int]:
    """The first paragraph and the last, with the items of lists; the rest is brought along."""
    blocks: list[list[str]] = [[]]
    items = 0
    has_tables = any(mark in text for mark in _TABLE_MARKS)
    for line in text.split("\n")[:MAX_LINES]:
        bare = line.strip()
        if not bare:
            if blocks[-1]:
                blocks.append([])
            continue
        if _is_item(bare):
            items += 1
        elif bare.endswith(_MACHINE_END) or _is_machine(bare) or (has_tables and _is_table(line)):
            code.append(line)
            continue
        blocks[-1].append(line)
    blocks = [block for block in blocks if block]
    asked: list[str] = []
    sizes = [sum(map(len, block)) for block in blocks]
    for index, block in enumerate(blocks):
        own = index == 0 or index == len(blocks) - 1
        if own and len(blocks) > 1:
            own = _is_own(sizes[index], sizes[-1 if index == 0 else 0], block[-1], last=index > 0)
        if own and len(block) > 4 and not _is_item(block[1].strip()):
            asked.append(block[0])
            given.append("\n".join(block[1:]))
        else:
            (asked if own else given).append("\n".join(block))
    return "\n".join(asked), items


def _is_item(bare: str) -> bool:
    """Whether a line begins an item of a list; most begin with a word, and cost no search."""
    return not (bare[0].isalpha() and bare[1:2] != ")") and _ITEM.match(bare) is not None


def _is_machine(bare: str) -> bool:
    if bare[0].isalpha():
        return bare.split(None, 1)[0] in _MACHINE_WORDS or bare.startswith(_MACHINE_HEADS)
    return _MACHINE.match(bare) is not None


def _is_table(line: str) -> bool:
    return max(map(line.count, _TABLE_MARKS)) > 2


def _is_own(size: int, other: int, end: str, *, last: bool) -> bool:
    """Whether the first or the last paragraph is the user's: a long one beside a short one is not,
    unless it asks.
    """
    if end.rstrip().endswith(("?", "？", "؟")):
        return True
    if last and size > LONG_PARAGRAPH:
        return False
    return not (last and size > SHORT_PARAGRAPH and size > MUCH_LONGER * other)
