"""Plain values into typed tables, with every problem named by its path.

msgspec converts; this module finds the words for what it refuses (msgspec stops at the first
problem and cannot name the key of a mapping) and the unknown keys. It knows no setting.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from tiergate.errors import ConfigError

_log = logging.getLogger("tiergate")

T = TypeVar("T", bound=msgspec.Struct)

_LIKENESS: Final = 0.76  # `max_retries` is a slip of `retries`; what has not landed is no slip
_MSGSPEC_NAME: Final = re.compile(r"`(\w+)[^`]*`")
_WORDS: Final = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false",
    "array": "a list", "object": "a table",
}  # fmt: skip


class Problem(NamedTuple):
    """What is wrong, and where; `table` and `key` are set for a key that is merely unknown."""

    path: str
    text: str
    table: dict[str, Any] | None = None
    key: str = ""


def decode_tables(values: Mapping[str, Any], into: type[T], *, strict: bool) -> T:
    """Convert `values`; raises `ConfigError` with every problem.

    With `strict=False` unknown keys are dropped with a warning instead, so that a configuration may
    be newer than the process that reads it. `"3"` is accepted for a number: `${VAR}` gives text.
    """
    tables = _copied(values)
    problems = list(_problems(tables, into, ""))
    if not strict:
        for problem in [problem for problem in problems if problem.table is not None]:
            _log.warning("configuration: %s: %s, ignored", problem.path, problem.text)
            problems.remove(problem)
            del problem.table[problem.key]  # type: ignore[union-attr]  # unknown keys have a table
    if problems:
        raise ConfigError("; ".join(f"{problem.path}: {problem.text}" for problem in problems))
    return msgspec.convert(tables, into, strict=False)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _problems(value: Any, kind: Any, path: str) -> Iterator[Problem]:
    """Walk a value along an annotation; what is no struct, dict or tuple of them is a leaf."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType and isinstance(value, list):  # a list or None
        kind = arguments[0]
        origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _in_struct(value, kind, path)
    elif isinstance(value, dict) and origin is dict:
        yield from _in_dict(value, arguments[0], arguments[1], path)
    elif isinstance(value, list) and origin is tuple:
        for index, item in enumerate(value):
            yield from _problems(item, arguments[0], f"{path}[{index}]")
    else:
        yield from _in_leaf(value, kind, path)


def _in_struct(value: dict[str, Any], kind: type[msgspec.Struct], path: str) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, item in value.items():
        here = f"{path}.{key}" if path else str(key)
        if key in fields:
            yield from _problems(item, fields[key].type, here)
        else:
            yield Problem(here, f"unknown key{_hint(key, fields)}", value, key)
    for name, field in fields.items():
        if field.required and name not in value:
            yield Problem(f"{path}.{name}" if path else name, "missing")


def _in_dict(value: dict[Any, Any], keys: Any, values: Any, path: str) -> Iterator[Problem]:
    names = get_args(keys)  # of a Literal
    for key, item in value.items():
        here = f"{path}.{key}"
        if not isinstance(key, str):
            yield Problem(here, "a name must be text")
        elif names and key not in names:
            yield Problem(here, f"unknown key; must be one of {', '.join(names)}", value, key)
        else:
            yield from _problems(item, values, here)


def _in_leaf(value: Any, kind: Any, path: str) -> Iterator[Problem]:
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        yield Problem(path, _choices(kind) or _in_our_words(str(error)))


def _choices(kind: Any) -> str:
    """What a Literal allows. The value is not repeated: it may hold a password."""
    names = [repr(name) for name in get_args(kind)] if get_origin(kind) is Literal else []
    if len(names) == 1:
        return f"must be {names[0]}, which is all that this version has"
    return f"must be one of {', '.join(names)}" if names else ""


def _in_our_words(text: str) -> str:
    """msgspec speaks of `object` and `array` where a configuration has tables and lists."""
    text = text.partition(" - at ")[0].replace("Expected", "must be").replace(", got", ", not")
    text = _MSGSPEC_NAME.sub(lambda match: _WORDS.get(match[1], match[1]), text)
    return text[:1].lower() + text[1:].removesuffix(".0")


def _hint(key: Any, known: Mapping[str, Any]) -> str:
    close = get_close_matches(str(key), known, n=1, cutoff=_LIKENESS)
    return f" (did you mean {close[0]!r}?)" if close else ""
