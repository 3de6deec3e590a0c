"""RFC 6902 operations that always apply: each is tried on a copy before it is written down.

A patch that does not apply makes the API server refuse the pod, whatever the webhook's
failurePolicy says. So a missing parent is made as a whole, together with what goes into it. Which
operations an injection needs is not decided here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Path = tuple[str | int, ...]


class PodPatch:
    """The operations so far, and the document as they leave it; what was given stays as it is."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document: Mapping[str, Any] = document
        self.operations: list[dict[str, Any]] = []
        self.created: dict[Path, bool] = {}
        """Parents that were made, and whether a null had stood there."""

    def at(self, path: Path) -> Any:
        """What stands there; None: nothing, or null."""
        return _at(self.document, path)

    def put(self, path: Path, value: Any) -> None:
        """Set the member of an object, with each object above it that is missing or null."""
        for depth in range(1, len(path)):
            if self.at(path[:depth]) is None:
                for deeper in range(depth, len(path)):
                    self._note(path[:deeper])
                for key in reversed(path[depth:]):
                    value = {key: value}
                self.put(path[:depth], value)
                return
        self._do("add", path, value, lambda parent: parent.__setitem__(path[-1], value))

    def insert(self, path: Path, values: Sequence[Any], index: int | None = None) -> None:
        """Put values into the array there, before `index`, or at its end; it may be missing."""
        array = self.at(path)
        if array is None:
            self._note(path)
            self.put(path, list(values))
            return
        for offset, value in enumerate(values):
            place = len(array) if index is None else index
            self._insert(path, place + offset, value, at_end=index is None)

    def remove(self, path: Path) -> None:
        """Take out what stands there."""
        operation = {"op": "remove", "path": pointer(path)}
        self._apply(operation, path, lambda parent: parent.__delitem__(path[-1]))

    def _insert(self, path: Path, place: int, value: Any, *, at_end: bool) -> None:
        written: Path = (*path, "-" if at_end else place)
        self._do("add", written, value, lambda parent: parent.insert(place, value))

    def _note(self, path: Path) -> None:
        parent = self.at(path[:-1])
        self.created[path] = isinstance(parent, Mapping) and path[-1] in parent

    def _do(self, op: str, path: Path, value: Any, change: Callable[[Any], None]) -> None:
        self._apply({"op": op, "path": pointer(path), "value": value}, path, change)

    def _apply(self, operation: dict[str, Any], path: Path, change: Callable[[Any], None]) -> None:
        self.document = _changed(self.document, path[:-1], change)
        self.operations.append(operation)


def pointer(path: Path) -> str:
    """RFC 6901: `~` and `/` in a key are escaped."""
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in path)


def _at(node: Any, path: Path) -> Any:
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else node[key]
        if node is None:
            return None
    return node


def _changed(node: Any, path: Path, change: Callable[[Any], None]) -> Any:
    """A copy of the node, changed below `path`; all that is beside the path is shared."""
    copy: Any = dict(node) if isinstance(node, Mapping) else list(node)
    if path:
        copy[path[0]] = _changed(copy[path[0]], path[1:], change)
    else:
        change(copy)
    return copy
