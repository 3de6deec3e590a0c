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
    ("'", re.compile(r"'(?<=[\s(:,]')(?>(?:[^'\n]|(?<=\w)'(?=\w))*)'(?!\w)")),
)
"""An opening mark and what it opens. Each stops where the next would begin, so that a text of
nothing but opening marks is read once. Up to Python 3.11.3 a possessive group finds nothing; an
atomic one does."""
_INLINE: Final = re.compile(r"`[^`\n]*+`")
_ITEM: Final = re.compile(r"(?:[-*•]|\(?\d{1,2}[.)]|\(?[a-z]\)|[①-⑳])\s?")
_FIRST_WORDS: Final = """
def class import from func fn function const let var return export public private static package use
using try try: except except: SELECT INSERT UPDATE DELETE CREATE ALTER WITH FROM WHERE JOIN diff
index at File Traceback
"""
_MACHINE_HEADS: Final = {
    **dict.fromkeys(_FIRST_WORDS.split(), ""),
    "if": "if (",
    "for": "for (",
    "while": "while (",
    "Caused": "Caused by",
}
"""First words of lines that people do not write to each other, and how such a line begins."""
_MACHINE: Final = re.compile(
    r"@@|\+\+\+|---|#include|#!|//|/\*|\$ |>>>|[})\]]|<\w|</|\[?\d{4}-\d\d-\d\d[T ]|\d\d:\d\d:\d\d"
)
"""How the lines begin that begin with no letter."""
_TABLE_MARKS: Final = ";|\t"
TABLE_MARKS: Final = 3
"""Of one sort in a line, at least, that make it a row."""
_MACHINE_END: Final = frozenset("{}[;|")
_MACHINE_ENDS: Final = ("},", "],", "/>")

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
    block: list[str] = []
    blocks = [block]
    items = 0
    marks = [mark for mark in _TABLE_MARKS if text.count(mark) >= TABLE_MARKS]
    for line in text.split("\n")[:MAX_LINES]:
        bare = line.strip()
        if not bare:
            if block:
                block = []
                blocks.append(block)
            continue
        if bare[0].isalpha() and bare[1:2] != ")":  # most lines; and no search
            head = _MACHINE_HEADS.get(bare.split(None, 1)[0])
            is_code = head is not None and bare.startswith(head)
        elif _ITEM.match(bare):
            items += 1
            block.append(line)
            continue
        else:
            is_code = _MACHINE.match(bare) is not None
        if (
            is_code
            or bare[-1] in _MACHINE_END
            or (bare[-1] in ",>" and bare.endswith(_MACHINE_ENDS))
            or (marks and any(line.count(mark) >= TABLE_MARKS for mark in marks))
        ):
            code.append(line)
        else:
            block.append(line)
    blocks = [block for block in blocks if block]
    if not blocks:
        return "", items
    asked: list[str] = []
    end = len(blocks) - 1
    for index, block in enumerate(blocks):
        if index and (index < end or not _is_own(block, blocks[0])):
            given += block
        elif len(block) > 4 and not _ITEM.match(block[1].strip()):
            asked.append(block[0])
            given += block[1:]
        else:
            asked += block
    return "\n".join(asked), items


def _is_own(last: list[str], first: list[str]) -> bool:
    """Whether the last paragraph is the user's: a long one below a short one is not, unless it
    asks.
    """
    if last[-1].rstrip().endswith(("?", "？", "؟")):
        return True
    size = sum(map(len, last))
    return size <= SHORT_PARAGRAPH or (
        size <= LONG_PARAGRAPH and size <= MUCH_LONGER * sum(map(len, first))
    )
