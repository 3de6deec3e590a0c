"""`tiergate inject` without its command line: sources in, their new texts and what to report out.

Nothing is printed here, and nothing read but what was given.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import unified_diff
from typing import Any, Final

import msgspec

from tiergate_sidecar.injection import Injection, Injector, ReadConfig, inject, uninject
from tiergate_sidecar.labels import CONFIG_KEY, INJECT
from tiergate_sidecar.manifests import Document, Source, Workload, changed, config_maps, documents
from tiergate_sidecar.patching import patched

ASKED_BY_NAME: Final[Mapping[str, str]] = {INJECT: "enabled"}
"""The namespace's labels that are assumed: naming a file is asking for what is in it."""

_FACTS: Final = ("mode", "version", "hash")
"""Of a sidecar that is there or would be: pods whose hashes differ have drifted apart."""

Decide = Callable[[Workload], Injection]


class Told(msgspec.Struct, frozen=True):
    """What became of one workload."""

    workload: Workload
    decision: Injection


class Result(msgspec.Struct, frozen=True):
    """The new texts, by source and in their order, and what is to be said of them."""

    texts: tuple[str, ...]
    told: tuple[Told, ...]
    warnings: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """Somebody asked for a sidecar and cannot have it."""
        return any(each.decision.refused for each in self.told)


class ConfigMaps:
    """The configurations that can be known without a cluster: a file's, and those in the input.

    `text` is that of the ConfigMap `name` in every namespace; None: there is no such file.
    """

    def __init__(self, name: str, text: str | None) -> None:
        self._name = name
        self._text = text
        self._found: dict[tuple[str, str], str | None] = {}

    def add(self, found: Iterable[Document]) -> None:
        """Remember the ConfigMaps among these documents; raises `ManifestError`."""
        for each in (each for document in found for each in config_maps(document)):
            meta = each.get("metadata")
            if isinstance(meta, dict):
                place = str(meta.get("namespace") or ""), str(meta.get("name"))
                data = each.get("data")
                text = data.get(CONFIG_KEY) if isinstance(data, dict) else None
                self._found[place] = text if isinstance(text, str) else None

    def of(self, namespace: str) -> ReadConfig | None:
        """To be asked for the ConfigMaps of a namespace; None where none is known at all."""
        if self._text is None and not self._found:
            return None

        def read(name: str) -> str | None:
            if self._text is not None and name == self._name:
                return self._text
            return self._found[namespace, name]  # a KeyError: the cluster may have it

        return read


def inject_sources(
    sources: Iterable[Source],
    settings: Injector,
    config: str | None = None,
    namespace_labels: Mapping[str, str] = ASKED_BY_NAME,
) -> Result:
    """Put the sidecar into what may have one; `config` is the TOML that `settings.config` names.

    Raises `ManifestError`.
    """
    read = [documents(source) for source in sources]
    maps = ConfigMaps(settings.config, config)
    for each in read:
        maps.add(each)

    def decide(workload: Workload) -> Injection:
        return inject(
            workload.pod,
            namespace_labels=namespace_labels,
            settings=settings,
            read_config=maps.of(workload.namespace),
            kind=workload.kind,
        )

    return _result(read, decide)


def uninject_sources(sources: Iterable[Source]) -> Result:
    """Take the sidecar out of everything; raises `ManifestError`."""
    read = [documents(source) for source in sources]
    return _result(read, lambda workload: uninject(workload.pod))


def report(told: Told) -> Iterator[str]:
    """What was done with a workload, in lines for people."""
    decision = told.decision
    if decision.reason in ("injected", "uninjected"):
        yield f"{told.workload}: {decision.reason}"
    else:
        what = "refused" if decision.refused else "skipped"
        yield f"{told.workload}: {what} ({decision.reason}): {decision.message}"
    yield from _warned(told)


def explained(told: Told) -> Iterator[str]:
    """What would be done with a workload and why, in lines for people."""
    decision = told.decision
    if decision.reason == "injected":
        verdict = "would be injected"
    else:
        verdict = f"would not be injected ({decision.reason}): {decision.message}"
    facts = [f"{name} {decision.audit[name]}" for name in _FACTS if name in decision.audit]
    shown = f" ({', '.join(facts)})" if facts else ""
    yield f"{told.workload}: {verdict}{shown}"
    yield from _warned(told)


def difference(source: Source, text: str) -> str:
    """A unified diff of a source and its new text; empty where they are equal."""
    found = unified_diff(_lines(source.text), _lines(text), source.name, source.name)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in found
    )


def _result(read: Iterable[Iterable[Document]], decide: Decide) -> Result:
    told: list[Told] = []
    warnings: list[str] = []

    def change(workload: Workload) -> Mapping[str, Any] | None:
        decision = decide(workload)
        told.append(Told(workload, decision))
        return patched(workload.pod, decision.patch) if decision.patch else None

    def text_of(document: Document) -> str:
        new = changed(document, change)
        if new.rewritten:
            where = f"{document.source}:{document.line}"
            warnings.append(f"{where}: the document was written anew, without its comments")
        return new.text

    texts = ["".join([text_of(document) for document in each]) for each in read]
    return Result(tuple(texts), tuple(told), tuple(warnings))


def _warned(told: Told) -> Iterator[str]:
    for warning in told.decision.warnings:
        yield f"warning: {told.workload}: {warning}"


def _lines(text: str) -> list[str]:
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines
