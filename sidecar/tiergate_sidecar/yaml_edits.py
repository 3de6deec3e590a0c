"""Another value for a YAML document, by the fewest changes of its text.

What stays the same keeps its characters: comments, quotes, order, indentation. Nothing is trusted:
the new text is read again, and where it does not say what was wanted, the document is written anew.
"""

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

import msgspec

from tiergate_sidecar.yaml_places import Place, Unreadable, places
from tiergate_sidecar.yaml_writing import (
    Style,
    block_entry,
    block_item,
    block_lines,
    block_value,
    flow,
    inline,
)


class Edited(msgspec.Struct, frozen=True):
    """A document's new text; `rewritten`: its comments are lost."""

    text: str
    rewritten: bool = False


def edited(text: str, root: Place, wanted: Any) -> Edited:
    """The text with another value; `root` is what `places` found in it."""
    if wanted == root.value:
        return Edited(text)
    try:
        new = _Editing(text, root).to(wanted)
    except ValueError:  # lines that end by something else than \n
        new = ""
    if _value(new) == wanted:
        return Edited(new)
    style = _style(text, root)
    lines = block_lines(wanted, 0, style) if root.block else [flow(wanted)]
    return Edited(style.newline.join(["---", *lines, ""]), rewritten=True)


def _value(text: str) -> Any:
    try:
        root = places(text)
    except Unreadable:
        return None
    return root and root.value


def _style(text: str, root: Place) -> Style:
    """As the document's first nested mapping and first list do it."""
    step = dash = 0
    for column, value in _nested(root):
        further = value.column - column
        if value.kind == "sequence":
            dash = dash or further + 1  # 1 for those that stand below their key
        else:
            step = step or further
    newline = "\r\n" if text.find("\r\n") == text.find("\n") - 1 >= 0 else "\n"
    return Style(step=step or 2, dash=dash - 1 if dash else 2, newline=newline)


def _nested(place: Place) -> Iterator[tuple[int, Place]]:
    for _, value in place.entries:
        if place.block and value.block:
            yield place.column, value
        yield from _nested(value)
    for item in place.items:
        yield from _nested(item)


class _Editing:
    """One document's edits, gathered as (start, end, replacement) of the text that was read."""

    def __init__(self, text: str, root: Place) -> None:
        self._whole = text.endswith("\n")
        self._style = _style(text, root)
        self._text = text if self._whole else text + self._style.newline
        self._root = root
        self._edits: list[tuple[int, int, str]] = []
        self._becomes: dict[int, Any] = {}
        """By the id of a place: its new value, for the aliases that stand for it."""

    def to(self, wanted: Any) -> str:
        self._change(self._root, wanted, None, in_flow=False)
        parts, at = [], 0
        for start, end, new in sorted(self._edits, key=lambda edit: edit[:2]):
            parts += [self._text[at:start], new]
            at = max(at, end)
        text = "".join([*parts, self._text[at:]])
        return text if self._whole else text.removesuffix(self._style.newline)

    def _edit(self, start: int, end: int, new: str) -> None:
        self._edits.append((start, end, new))

    def _change(self, place: Place, wanted: Any, key: Place | None, *, in_flow: bool) -> None:
        """`key` is given where `place` is the value of a block mapping's key."""
        self._becomes[id(place)] = wanted
        both = (type(place.value), type(wanted))
        if place.target is not None:
            now = self._becomes.get(id(place.target), place.value)
            if now != wanted:
                self._replace(place, wanted, key, in_flow=in_flow)
        elif both == (dict, dict) and wanted and place.value:
            self._change_mapping(place, wanted, key, in_flow=in_flow)
        elif both == (list, list) and wanted and place.value:
            self._change_sequence(place, wanted, key)
        elif place.value != wanted:
            self._replace(place, wanted, key, in_flow=in_flow)

    def _change_mapping(
        self, place: Place, wanted: dict[str, Any], key: Place | None, *, in_flow: bool
    ) -> None:
        names = [each.value for each, _ in place.entries]
        merged: dict[str, Any] = {}
        for each in place.merges:
            source = each.target or each
            merged = {**self._becomes.get(id(source), source.value), **merged}
        nothing_stays = not (wanted.keys() & set(names) or (merged and place.block))
        if merged.keys() - wanted.keys() or nothing_stays:
            self._replace(place, wanted, key, in_flow=in_flow)
            return
        kept = [name in wanted for name in names]
        for entry, stays in zip(place.entries, kept, strict=True):
            if stays:
                head = entry[0] if place.block else None
                self._change(entry[1], wanted[entry[0].value], head, in_flow=not place.block)
        new = {
            name: value
            for name, value in wanted.items()
            if name not in names and not (name in merged and merged[name] == value)
        }
        ends = [(entry.start, value.end) for entry, value in place.entries]
        if place.block:
            self._cut_lines(place.first, ends, kept)
            for name, value in new.items():
                self._insert(place.end, block_entry(name, value, place.column, self._style))
        else:
            self._cut_flow(ends, kept)
            for name, value in new.items():
                self._add_flow(place, ends, len(ends), f"{flow(name)}: ", value)

    def _change_sequence(self, place: Place, wanted: list[Any], key: Place | None) -> None:
        opcodes = [("equal", 0, len(wanted), 0, len(wanted))]
        if place.value != wanted:  # or a long list of equal items would take its square
            matcher = SequenceMatcher(None, _names(place.value), _names(wanted), autojunk=False)
            opcodes = list(matcher.get_opcodes())
        dashes = self._dashes(place) if place.block else [item.start for item in place.items]
        ends = [(dash, item.end) for dash, item in zip(dashes, place.items, strict=True)]
        kept = [True] * len(ends)
        for what, old, old_end, new, new_end in opcodes:
            pairs = min(old_end - old, new_end - new)
            for item, value in zip(place.items[old : old + pairs], wanted[new:], strict=False):
                self._change(item, value, None, in_flow=not place.block)
            if what == "equal":
                continue
            kept[old + pairs : old_end] = [False] * (old_end - old - pairs)
            for value in wanted[new + pairs : new_end]:
                if place.block:
                    at = self._before_item(place, old + pairs, ends, key)
                    self._insert(at, block_item(value, place.column, self._style))
                else:
                    self._add_flow(place, ends, old + pairs, "", value)
        if place.block:
            self._cut_lines(place.first, ends, kept)
        else:
            self._cut_flow(ends, kept)

    def _dashes(self, place: Place) -> list[int]:
        """Where each item's dash stands; items begin on their own lines but for the first."""
        found, lead = [place.first], f"\n{' ' * place.column}-"
        for before in place.items[:-1]:
            found.append(self._text.index(lead, max(before.end - 1, 0)) + len(lead) - 1)
        return found

    def _before_item(
        self, place: Place, index: int, ends: list[tuple[int, int]], key: Place | None
    ) -> int:
        """Right after what comes before: the comments above an item stay above that item."""
        if index:
            return ends[index - 1][1]
        if key is None or place.start != place.first:
            return self._line_start(place.first)
        return self._colon(key)

    def _replace(self, place: Place, wanted: Any, key: Place | None, *, in_flow: bool) -> None:
        collection = isinstance(wanted, dict | list) and bool(wanted)
        if key is None:
            self._edit(place.start, place.end, self._in_place(place, wanted, in_flow=in_flow))
            return
        colon, column = self._colon(key), key.start - self._line_start(key.start)
        same_line = "\n" not in self._text[colon : place.start]
        if same_line:
            self._edit(colon, place.end, "" if collection else _after_colon(wanted))
        else:
            self._edit(self._line_start(place.start), self._next_line(place.end), "")
            if not collection:
                self._edit(colon, colon, _after_colon(wanted))
        if collection:
            at = place.end if same_line else colon
            self._insert(at, block_value(wanted, column, self._style))

    def _in_place(self, place: Place, wanted: Any, *, in_flow: bool) -> str:
        start = self._line_start(place.start)
        lead = self._text[start : place.start]
        if place.start == place.end:
            return f" {flow(wanted)}"
        if in_flow or lead.startswith("---"):
            indent = lead[: len(lead) - len(lead.lstrip())]
            return flow(wanted, indent, self._unit(), self._style.newline)
        lines = list(block_lines(wanted, len(lead), self._style))
        return self._style.newline.join(lines)[len(lead) :]

    def _colon(self, key: Place) -> int:
        return self._text.index(":", key.end) + 1

    def _cut_lines(self, first: int, ends: list[tuple[int, int]], kept: list[bool]) -> None:
        """Take whole lines out; a first entry that shares its line with a dash takes the next."""
        for index, (start, end) in enumerate(ends):
            if kept[index]:
                continue
            shared = self._text[self._line_start(start) : start].strip(" ")
            if start == first and shared and len(ends) > 1:
                self._edit(start, ends[1][0], "")
            else:
                self._edit(self._line_start(start), self._next_line(end), "")

    def _cut_flow(self, ends: list[tuple[int, int]], kept: list[bool]) -> None:
        leading = True
        for index, (start, end) in enumerate(ends):
            leading = leading and not kept[index]
            if leading:
                self._edit(start, ends[index + 1][0] if index + 1 < len(ends) else end, "")
            elif not kept[index]:
                self._edit(ends[index - 1][1], end, "")

    def _add_flow(
        self, place: Place, ends: list[tuple[int, int]], index: int, name: str, value: Any
    ) -> None:
        first = ends[0][0]
        line = self._line_start(first)
        lead = self._text[line:first]
        if place.start < line and not lead.strip():  # one entry a line, as JSON is indented
            gap, new = self._style.newline + lead, flow(value, lead, self._unit())
        else:
            gap, new = " ", flow(value)
        if index:
            at = ends[index - 1][1]
            self._edit(at, at, f",{gap}{name}{new}")
        else:
            self._edit(first, first, f"{name}{new},{gap}")

    def _unit(self) -> str:
        """By how much indented JSON is indented: "" where it is on one line."""
        if self._root.block or not self._root.entries:
            return ""
        first = self._root.entries[0][0].start
        line = self._line_start(first)
        return self._text[line:first] if line > self._root.start else ""

    def _insert(self, after: int, lines: Iterator[str]) -> None:
        at = self._next_line(after)
        self._edit(at, at, "".join(line + self._style.newline for line in lines))

    def _line_start(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _next_line(self, at: int) -> int:
        """The start of the line after what ends here; a kept block scalar ends with its line."""
        if not at or self._text[at - 1] == "\n":
            return at
        return self._text.index("\n", at) + 1


def _after_colon(value: Any) -> str:
    return "" if value is None else f" {inline(value)}"


def _names(items: list[Any]) -> list[str]:
    """What tells the items of a list apart: their names, as Kubernetes merges them."""
    return [
        f"name {item['name']}" if isinstance(item, dict) and "name" in item else repr(item)
        for item in items
    ]
