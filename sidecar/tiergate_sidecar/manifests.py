"""Manifests in and out: files, folders and stdin, their documents, and the workloads in them.

A document that nobody changes is never written anew: its text goes out as it came in.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from tiergate_sidecar.yaml_edits import Edited, edited
from tiergate_sidecar.yaml_places import Place, Unreadable, checked, places

Way = tuple[str | int, ...]
"""Keys and indexes, from a document's root."""

LARGEST: Final = 64 * 2**20
"""Bytes of all that is read, which is held in memory. All that a large cluster runs is a few
megabytes of manifests."""

LARGEST_DOCUMENT: Final = 8 * 2**20
"""Characters. A document takes up to a hundred times its length while it is read; etcd takes no
object over 1.5 MiB, and a `List` of a few thousand is smaller than this."""

STDIN: Final = "-"

_ENDINGS: Final = (".yaml", ".yml", ".json")
_BOM: Final = "\ufeff"
_MARKER: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_NO_DOCUMENT: Final = re.compile(r"(?:[ \t]*(?:#.*)?\r?\n|%.*\n)*[ \t]*(?:#.*)?")

_NOT_BLANK: Final = re.compile(r"[^ \t\r\n]")

_CORE: Final = ("",)
_APPS: Final = ("apps", "extensions")
_BATCH: Final = ("batch",)
_IN_SPEC: Final = ("spec", "template")

_TEMPLATES: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "Pod": (_CORE, ()),
    "PodTemplate": (_CORE, ("template",)),
    "ReplicationController": (_CORE, _IN_SPEC),
    "Deployment": (_APPS, _IN_SPEC),
    "StatefulSet": (_APPS, _IN_SPEC),
    "DaemonSet": (_APPS, _IN_SPEC),
    "ReplicaSet": (_APPS, _IN_SPEC),
    "Job": (_BATCH, _IN_SPEC),
    "CronJob": (_BATCH, ("spec", "jobTemplate", "spec", "template")),
}
"""By kind: its groups, and where its pod is. Other groups have kinds of the same name, which hold
something else."""

_OF_INTEREST: Final = re.compile(rf"\b(?:{'|'.join(_TEMPLATES)}|ConfigMap|\w*List)\b")
"""A document without any of these words has no workload: it is checked, not kept."""


class ManifestError(Exception):
    """What was given cannot be read; the message names file and line."""


class Source(msgspec.Struct, frozen=True):
    """A file, or stdin, by the name that a message gives it."""

    name: str
    text: str


class Workload(msgspec.Struct, frozen=True):
    """An object with a pod in it; `pod` is a Pod or a template, as it is written."""

    kind: str
    name: str
    namespace: str
    pod: Any

    def __str__(self) -> str:
        place = f" in {self.namespace}" if self.namespace else ""
        called = f"{self.kind}/{self.name}{place}"
        return called if called.isprintable() else repr(called)  # a line break is not ours to print


class Document(msgspec.Struct, frozen=True):
    """One document of a source; `line` is that of its first character, from 1."""

    source: str
    line: int
    text: str


def read_sources(names: Iterable[str], stdin: BinaryIO, *, recursive: bool) -> list[Source]:
    """What files, folders (in the order of their names) and `-` hold; raises `ManifestError`.

    Of a folder: its *.yaml, *.yml and *.json, and those of the folders in it when `recursive`.
    """
    found: list[Source] = []
    left = LARGEST
    for name in names:
        for file in [None] if name == STDIN else _files(Path(name), recursive=recursive):
            source, size = _read(file, stdin, left)
            found.append(source)
            left -= size
    return found


def documents(source: Source) -> list[Document]:
    """A source's documents, unread: their texts, put together, are its text."""
    markers = [marker.start() for marker in _MARKER.finditer(source.text)]
    starts = sorted({0, *(markers or _json_objects(source.text))})
    found: list[Document] = []
    line = 1
    for start, end in pairwise([*starts, len(source.text)]):
        found.append(Document(source.name, line, source.text[start:end]))
        line += source.text.count("\n", start, end)
    return found


def config_maps(document: Document) -> Iterator[Mapping[str, Any]]:
    """The ConfigMaps of a document, those in lists too; raises `ManifestError`."""
    if "ConfigMap" in document.text:
        root = _root(document)
        for found in _objects(root and root.value):
            if found.kind == "ConfigMap":
                yield found.value


def changed(document: Document, change: Callable[[Workload], Mapping[str, Any] | None]) -> Edited:
    """The document with each workload's pod as `change` returns it; None leaves it as it is.

    Raises `ManifestError`.
    """
    root = _root(document)
    value = root and root.value
    for found in list(_objects(value)):
        workload, way = _workload(found)
        pod = None if workload is None else change(workload)
        if pod is not None:
            value = _with(value, (*found.path, *way), pod)
    if root is None or value is root.value:
        return Edited(document.text)
    body = document.text.removeprefix(_BOM)
    new = edited(body, root, value)
    return Edited(document.text.removesuffix(body) + new.text, new.rewritten)


def joined(texts: Iterable[str]) -> str:
    """One stream of the texts of several sources; one alone is as it was."""
    first, *rest = texts
    if rest:
        first, *rest = map(_with_markers, (first, *rest))
    if rest and first.lstrip(f"{_BOM} \t\r\n").startswith("{"):
        first = f"---\n{first.removeprefix(_BOM)}"  # or kubectl takes the whole stream for JSON
    for text in rest:
        text = text.removeprefix(_BOM)
        end = "" if first.endswith("\n") or not first else "\n"
        first += end + ("" if _MARKER.match(text) else "---\n") + text
    return first


def _json_objects(text: str) -> list[int]:
    """Where the second and later ones begin of JSON objects in a row, which kubectl takes too."""
    starts: list[int] = []
    if not text.lstrip(f"{_BOM} \t\r\n").startswith("{"):
        return starts
    at, decoder = text.index("{"), json.JSONDecoder()
    try:
        while at >= 0:
            starts.append(at)
            _, end = decoder.raw_decode(text, at)
            following = _NOT_BLANK.search(text, end)
            at = following.start() if following else -1
    except (ValueError, RecursionError):  # YAML, or nothing at all: the scanner will tell
        return []
    return starts[1:]


def _with_markers(text: str) -> str:
    """JSON objects in a row as documents of YAML."""
    starts = [0, *_json_objects(text)]
    others = [f"{text[start:end].rstrip()}\n---\n" for start, end in pairwise(starts)]
    return "".join([*others, text[starts[-1] :]])


def _files(path: Path, *, recursive: bool) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = path.rglob("*") if recursive else path.iterdir()
    found = sorted(each for each in inside if each.suffix in _ENDINGS and each.is_file())
    if not found:
        raise ManifestError(f"{path}: no {', '.join(f'*{each}' for each in _ENDINGS)} in it")
    return found


def _read(file: Path | None, stdin: BinaryIO, left: int) -> tuple[Source, int]:
    name = "stdin" if file is None else str(file)
    try:
        if file is None:
            found = stdin.read(left + 1)
        else:
            with file.open("rb") as opened:
                found = opened.read(left + 1)
        text = found.decode()
    except OSError as error:
        raise ManifestError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ManifestError(f"{name}:{line}: not UTF-8") from None
    if len(found) > left:
        raise ManifestError(f"{name}: more than {LARGEST // 2**20} MiB in all")
    return Source(name, text), len(found)


def _root(document: Document) -> Place | None:
    """None for a document without a value, and for one that has nothing of interest."""
    body = document.text.removeprefix(_BOM)
    try:
        if _NO_DOCUMENT.fullmatch(body):
            return None
        if len(body) > LARGEST_DOCUMENT:
            raise Unreadable(f"a document of more than {LARGEST_DOCUMENT // 2**20} Mi characters")
        if _OF_INTEREST.search(body):
            return places(body)
        checked(body)
    except Unreadable as error:
        line = document.line + error.line
        raise ManifestError(f"{document.source}:{line}: {error}") from None
    return None


class _Object(msgspec.Struct, frozen=True):
    """An object of a document, and where in it. One in a `DeploymentList` need not say its kind."""

    path: Way
    version: str
    kind: str
    value: dict[str, Any]


def _objects(value: Any, path: Way = (), version: str = "", kind: str = "") -> Iterator[_Object]:
    if not isinstance(value, dict):
        return
    version, kind = str(value.get("apiVersion", version)), str(value.get("kind", kind))
    items = value.get("items")
    if kind.endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from _objects(item, (*path, "items", index), version, kind.removesuffix("List"))
    else:
        yield _Object(path, version, kind, value)


def _workload(found: _Object) -> tuple[Workload | None, tuple[str, ...]]:
    groups, way = _TEMPLATES.get(found.kind, ((), ()))
    if found.version.rpartition("/")[0] not in groups:
        return None, ()
    pod: Any = found.value
    for step in way:
        pod = pod.get(step) if isinstance(pod, dict) else None
    meta = found.value.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    name = meta.get("name") or f"{meta.get('generateName', '')}*"
    return Workload(found.kind, str(name), str(meta.get("namespace") or ""), pod), way


def _with(value: Any, way: Way, pod: Mapping[str, Any]) -> Any:
    if not way:
        return pod
    step, *rest = way
    new = _with(value[step], tuple(rest), pod)
    if isinstance(value, list):
        index = int(step)
        return [*value[:index], new, *value[index + 1 :]]
    return {**value, step: new}
