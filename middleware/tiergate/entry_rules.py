"""What an entry of a tier may say, in the configuration as in a document: the one place for it.

The ranges of its numbers are in its types; who its provider is, and whether another entry says the
same, is not known here.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Protocol

from tiergate.adaptation import OURS, as_json

MOST_NAMES: Final = 64
"""Of members that an entry changes; OpenAI's requests have about forty."""

LONGEST_NAME: Final = 64

MOST_SET_BYTES: Final = 16_384
"""Of JSON that an entry sets, all together: it goes out with every attempt, on top of the body that
`limits.max_body_bytes` bounds."""


class Entry(Protocol):
    """What the entries of the configuration and of documents have in common."""

    @property
    def model(self) -> str: ...
    @property
    def supports(self) -> tuple[Any, ...] | None: ...
    @property
    def rename(self) -> Mapping[str, str]: ...
    @property
    def drop(self) -> tuple[str, ...]: ...
    @property
    def set(self) -> Mapping[str, Any]: ...


def wrong_in(entry: Entry) -> Iterator[str]:
    """What is wrong with an entry, each as `path: text`."""
    if not entry.model.isprintable() or not entry.model.isascii():
        yield "model: must be printable ASCII"
    for feature in _repeated(entry.supports or ()):
        yield f"supports: {feature!r} is listed twice"
    for name in _repeated(entry.drop):
        yield f"drop: {name!r} is listed twice"
    yield from _names(entry)
    yield from _values(entry.set)


def _repeated(listed: tuple[str, ...]) -> Iterator[str]:
    return (each for each, times in Counter(listed).items() if times > 1)


def _names(entry: Entry) -> Iterator[str]:
    changes: dict[str, Collection[str]]
    changes = {"rename": entry.rename, "drop": dict.fromkeys(entry.drop), "set": entry.set}
    if sum(map(len, changes.values())) > MOST_NAMES:
        yield f"rename, drop, set: more than {MOST_NAMES} names"
        return
    taken: dict[str, str] = {}
    for change, names in changes.items():
        for name in names:
            yield from _name(change, name)
            if name in taken:
                yield f"{change}.{name}: is in {taken[name]} too"
            taken[name] = change
    for name, new in entry.rename.items():
        yield from _name(f"rename.{name}", new)
        if new in taken:
            yield f"rename.{name}: {new!r} is in {taken[new]} too"


def _name(change: str, name: str) -> Iterator[str]:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        yield f"{change}: a name is 1 to {LONGEST_NAME} printable characters"
    elif name in OURS:
        yield f"{change}: {name!r} is not to be changed, routing and relaying depend on it"


def _values(values: Mapping[str, Any]) -> Iterator[str]:
    size = 0
    for name, value in values.items():
        try:
            size += len(as_json(value))
        except ValueError:
            yield f"set.{name}: must be a value that JSON has"
    if size > MOST_SET_BYTES:
        yield f"set: more than {MOST_SET_BYTES} bytes of JSON"
