"""RFC 6902 operations on a value that stays as it was: each gives a new value.

Only the containers on the way to a change are new, so that a document whose aliases share their
value can be patched at one of them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Change = Callable[[Any, str], Any]


class PatchError(ValueError):
    """An operation that does not apply; the message names it and its path."""


def patched(value: Any, operations: Iterable[Mapping[str, Any]]) -> Any:
    """The value after add, remove, replace and test; raises `PatchError`, changes nothing."""
    for operation in operations:
        what, path = operation["op"], operation["path"]
        try:
            value = _at(value, _steps(path), _CHANGES[what](operation))
        except (KeyError, IndexError, TypeError, ValueError):
            raise PatchError(f"{what} {path} does not apply") from None
    return value


def _steps(path: str) -> list[str]:
    if not path.startswith("/"):
        raise ValueError(path)
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _at(value: Any, steps: list[str], change: Change) -> Any:
    step, *rest = steps
    if not rest:
        return change(value, step)
    if isinstance(value, list):
        index = _index(step, len(value) - 1)
        return [*value[:index], _at(value[index], rest, change), *value[index + 1 :]]
    return {**value, step: _at(value[step], rest, change)}


def _index(step: str, last: int) -> int:
    if not (step.isascii() and step.isdigit()) or int(step) > last:
        raise IndexError(step)
    return int(step)


def _add(operation: Mapping[str, Any]) -> Change:
    new = operation["value"]

    def change(value: Any, step: str) -> Any:
        if isinstance(value, list):
            index = len(value) if step == "-" else _index(step, len(value))
            return [*value[:index], new, *value[index:]]
        return {**value, step: new}

    return change


def _remove(_: Mapping[str, Any]) -> Change:
    def change(value: Any, step: str) -> Any:
        if isinstance(value, list):
            index = _index(step, len(value) - 1)
            return [*value[:index], *value[index + 1 :]]
        _ = value[step]  # what is not there cannot be removed
        return {name: each for name, each in value.items() if name != step}

    return change


def _replace(operation: Mapping[str, Any]) -> Change:
    new = operation["value"]

    def change(value: Any, step: str) -> Any:
        if isinstance(value, list):
            index = _index(step, len(value) - 1)
            return [*value[:index], new, *value[index + 1 :]]
        _ = value[step]
        return {**value, step: new}

    return change


def _test(operation: Mapping[str, Any]) -> Change:
    expected = operation["value"]

    def change(value: Any, step: str) -> Any:
        found = value[_index(step, len(value) - 1)] if isinstance(value, list) else value[step]
        if found != expected:
            raise ValueError(step)
        return value

    return change


_CHANGES = {"add": _add, "remove": _remove, "replace": _replace, "test": _test}
