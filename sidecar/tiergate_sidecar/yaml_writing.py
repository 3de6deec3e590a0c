"""New YAML in the style of the text around it: block lines, and one-line or indented JSON.

Knows values and columns; where they go is decided in `yaml_edits`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_PLAIN: Final = re.compile(r"[A-Za-z/](?:[\w./@+-]|:(?=[\w/.]))*|\d+(?:m|[KMGTPE]i?)", re.ASCII)
_WORDS: Final = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))
"""What YAML 1.1 or 1.2 takes for something else than a string."""
_QUOTABLE: Final = re.compile(r"[\x20-\x26\x28-\x7e]+")
_UNREADABLE: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON lets stand and YAML refuses, or takes for the end of a line."""


class Style(msgspec.Struct, frozen=True):
    """How a document indents, in columns, and ends its lines."""

    step: int = 2
    dash: int = 2
    newline: str = "\n"


def block_entry(key: str, value: Any, column: int, style: Style) -> Iterator[str]:
    """The lines of `key: value` with the key at a column."""
    head = f"{' ' * column}{scalar(key)}:"
    if _nested(value):
        yield head
        yield from block_value(value, column, style)
    else:
        yield f"{head} {inline(value)}"


def block_value(value: Any, column: int, style: Style) -> Iterator[str]:
    """The lines of a collection, not empty, that is the value of a key at a column."""
    if isinstance(value, list):
        for item in value:
            yield from block_item(item, column + style.dash, style)
    else:
        for key, each in value.items():
            yield from block_entry(key, each, column + style.step, style)


def block_item(value: Any, column: int, style: Style) -> Iterator[str]:
    """The lines of `- value` with the dash at a column."""
    lead = f"{' ' * column}- "
    for number, line in enumerate(block_lines(value, column + 2, style)):
        yield line if number else lead + line[column + 2 :]


def block_lines(value: Any, column: int, style: Style) -> Iterator[str]:
    """The lines of a value whose own keys or dashes stand at a column."""
    if not _nested(value):
        yield " " * column + inline(value)
    elif isinstance(value, list):
        for item in value:
            yield from block_item(item, column, style)
    else:
        for key, each in value.items():
            yield from block_entry(key, each, column, style)


def inline(value: Any) -> str:
    """On the rest of a line: a scalar, or JSON, which is YAML too."""
    return scalar(value) if isinstance(value, str) else flow(value)


def flow(value: Any, lead: str | None = None, unit: str = "", newline: str = "\n") -> str:
    """JSON: on one line, or indented by `unit` with its first line standing at `lead`."""
    if lead is None or not unit:
        return _json(value)
    return _json(value, unit).replace("\n", f"{newline}{lead}")


def scalar(value: str) -> str:
    """A string, plain where no reader can take it for anything else."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if '"' in value and _QUOTABLE.fullmatch(value):
        return f"'{value}'"
    return _json(value)


def _json(value: Any, indent: str | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNREADABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _nested(value: Any) -> bool:
    return isinstance(value, dict | list) and bool(value)
