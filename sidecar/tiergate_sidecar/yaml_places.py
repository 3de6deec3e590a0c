"""A YAML document's values, each with its place in the text: what an edit in place needs to know.

Reading only; `yaml_edits` changes the text. The scanner is libyaml, of which kubectl's own is a
port: what it reads, kubectl reads, by the same rules.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

DEEPEST: Final = 200
"""Levels in a document. The deepest schemas of custom resources have about 80."""

MOST_VALUES: Final = 1_000_000
"""Values in a document with every alias written out: 4 kB of aliases can stand for 4 GB."""

_PLAIN: Final = frozenset(("int", "float", "bool", "null"))


class Unreadable(ValueError):
    """No YAML, or none that kubectl would take. `line` is counted from 0."""

    def __init__(self, problem: str, line: int = 0) -> None:
        super().__init__(problem)
        self.line = line


class Place(msgspec.Struct, eq=False):
    """A value, and the characters that spell it: `text[start:end]`, comments after it left out."""

    kind: Literal["scalar", "mapping", "sequence", "alias"]
    start: int
    end: int
    value: Any = None
    block: bool = False
    first: int = 0
    """Of a block collection: where its first key or dash stands."""
    column: int = 0
    """Of a block collection: the column of its keys or dashes."""
    entries: Sequence[tuple["Place", "Place"]] = ()
    items: Sequence["Place"] = ()
    target: "Place | None" = None
    """Of an alias: what it stands for."""
    merged: Mapping[str, Any] = MappingProxyType({})
    """Of a mapping: what its `<<` brings, in the value but not in the entries."""
    merges: Sequence["Place"] = ()
    size: int = 1


_SURROGATES: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_JSON: Final = re.compile(r"(?:---)?\s*\{")


def checked(text: str) -> None:
    """Raise `Unreadable` where the text is no YAML; nothing is kept of it."""
    for _ in _events(_without_pairs(text)):
        pass


def places(text: str) -> Place | None:
    """The document's root, or None for one without a value; raises `Unreadable`."""
    return _Composer(text).document()


def _without_pairs(text: str) -> str:
    r"""With two spaces for JSON's `\ud83d\ude00`, which YAML refuses: as many characters."""
    return _SURROGATES.sub(r"\\u0020\\u0020", text) if _JSON.match(text) else text


def _events(text: str) -> Iterator[Any]:
    import yaml  # only the two commands that read manifests need it

    try:
        yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(
            error.problem or error.context or "no YAML", mark.line if mark else 0
        ) from None
    except yaml.YAMLError as error:  # of the reader: a control character
        position = getattr(error, "position", 0)
        reason = str(getattr(error, "reason", error))
        raise Unreadable(reason, text.count("\n", 0, position)) from None


class _Composer:
    def __init__(self, text: str) -> None:
        import yaml  # as above

        self._text = text
        readable = _without_pairs(text)
        self._has_pairs = readable != text
        self._events = _events(readable)
        self._anchors: dict[str, Place] = {}
        self._resolver: Any = yaml.resolver.Resolver()
        self._constructor = yaml.constructor.SafeConstructor()
        self._scalar = yaml.ScalarNode

    def document(self) -> Place | None:
        root: Place | None = None
        for event in self._events:
            match type(event).__name__:
                case "StreamStartEvent" | "StreamEndEvent" | "DocumentEndEvent":
                    continue
                case "DocumentStartEvent":
                    if root is not None:
                        raise Unreadable("a second document without ---", event.start_mark.line)
                case _:
                    root = self._place(event, 0)
        return None if root is None or root.start == root.end else root

    def _place(self, event: Any, depth: int) -> Place:
        line = event.start_mark.line
        if depth > DEEPEST:
            raise Unreadable(f"more than {DEEPEST} levels", line)
        name = type(event).__name__
        start, end = event.start_mark.index, event.end_mark.index
        if name == "AliasEvent":
            target = self._anchors.get(event.anchor)
            if target is None:
                raise Unreadable(f"*{event.anchor} is not anchored before", line)
            place = Place("alias", start, end, target.value, target=target, size=target.size)
        elif name == "ScalarEvent":
            place = Place("scalar", start, self._scalar_end(event), self._value(event))
        elif name == "MappingStartEvent":
            place = self._mapping(event, Place("mapping", start, end), depth)
        else:
            place = self._sequence(event, Place("sequence", start, end), depth)
        if place.size > MOST_VALUES:
            raise Unreadable(f"more than {MOST_VALUES} values with aliases written out", line)
        if name != "AliasEvent" and event.anchor is not None:
            self._anchors[event.anchor] = place
        return place

    def _mapping(self, event: Any, place: Place, depth: int) -> Place:
        place.block = not event.flow_style
        own: dict[str, Any] = {}
        entries: list[tuple[Place, Place]] = []
        merges: list[Place] = []
        while type(found := next(self._events)).__name__ != "MappingEndEvent":
            line = found.start_mark.line
            if type(found).__name__ != "ScalarEvent":
                raise Unreadable("a key that is not a scalar", line)
            key = self._place(found, depth + 1)
            # As it is written: kubectl makes strings of all keys.
            key.value = name = self._string(found)
            value = self._place(next(self._events), depth + 1)
            place.size += value.size
            if not entries and not merges:
                place.first, place.column = found.start_mark.index, found.start_mark.column
            if found.value == "<<" and found.implicit[0]:
                merges += value.items if value.kind == "sequence" else [value]
                place.end = value.end
                continue
            if name in own:
                raise Unreadable(f"the key {name!r} is there twice", line)
            own[name] = value.value
            entries.append((key, value))
            place.end = value.end
        place.entries, place.merges = entries, merges
        place.end = place.end if place.block else found.end_mark.index
        place.merged = self._merged(place, event.start_mark.line)
        place.value = {**own, **{k: v for k, v in place.merged.items() if k not in own}}
        return place

    def _merged(self, place: Place, line: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for each in place.merges:
            if not isinstance(each.value, dict):
                raise Unreadable("<< of something that is not a mapping", line)
            merged = {**each.value, **merged}
        return merged

    def _sequence(self, event: Any, place: Place, depth: int) -> Place:
        place.block = not event.flow_style
        items: list[Place] = []
        if place.block:
            place.first, place.column = self._dash(event)
        while type(found := next(self._events)).__name__ != "SequenceEndEvent":
            item = self._place(found, depth + 1)
            items.append(item)
            place.size += item.size
            place.end = item.end
        place.end = place.end if place.block else found.end_mark.index
        place.items, place.value = items, [item.value for item in items]
        return place

    def _dash(self, event: Any) -> tuple[int, int]:
        start, end = event.start_mark, event.end_mark
        if event.anchor is None and event.tag is None:
            return start.index, start.column
        at = end.index if self._text[end.index : end.index + 1] == "-" else end.index - 1
        return at, end.column - (end.index - at)

    def _scalar_end(self, event: Any) -> int:
        """Without the blank lines that follow a block scalar, where they are not part of it."""
        start, end = event.start_mark.index, event.end_mark.index
        if event.style not in ("|", ">"):
            return int(end)
        header, *lines = self._text[start:end].split("\n")
        if "+" in header.partition("#")[0]:
            return int(end)
        # A blank line that is longer than the others' indentation is part of it.
        indent = max(_indent(lines) - _indent(event.value.split("\n")), 0)
        empty = not event.value.strip("\n")
        while lines and not lines[-1].strip() and (empty or len(lines[-1].rstrip("\r")) <= indent):
            lines.pop()
        return int(start) + len("\n".join([header, *lines]).rstrip("\r"))

    def _value(self, event: Any) -> Any:
        tag = event.tag or self._resolver.resolve(self._scalar, event.value, event.implicit)
        kind = tag.rpartition(":")[2]
        # To kubectl a date is a string too, and so is 22:22, which YAML 1.1 calls a number.
        if kind not in _PLAIN or (event.tag is None and ":" in event.value):
            return self._string(event)
        try:
            construct = getattr(self._constructor, f"construct_yaml_{kind}")
            return construct(self._scalar(tag, event.value))
        except (ValueError, KeyError):  # `!!int x`
            raise Unreadable(f"no {kind}: {event.value}", event.start_mark.line) from None

    def _string(self, event: Any) -> str:
        if not (self._has_pairs and event.style == '"'):
            return str(event.value)
        try:
            return str(json.loads(self._text[event.start_mark.index : event.end_mark.index]))
        except ValueError:
            problem = "neither a string of JSON nor one of YAML"
            raise Unreadable(problem, event.start_mark.line) from None


def _indent(lines: list[str]) -> int:
    """Of the first line that is not blank."""
    return next((len(each) - len(each.lstrip(" ")) for each in lines if each.strip()), 0)
