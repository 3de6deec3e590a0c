"""Sentinel's tier document: what files and services say, read entry by entry.

One wrong entry is skipped and named, the rest works. Who the providers are is not known here;
what is made of a document is in `snapshot`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from tiergate.entry_rules import wrong_in
from tiergate.errors import TiergateError
from tiergate.routing_config import Feature
from tiergate.tables import Cost, PositiveCount, Price
from tiergate.tiers import TIERS, Tier

_MOST_NAMED: Final = 20  # entries told of by name; a document of ten thousand has a pattern
_LONGEST_NAME: Final = 64  # of a provider, as in the configuration
_LONGEST_WORD: Final = 100
_WITH_DEFAULTS: Final = frozenset({"relativeCost", "rename", "drop", "set"})


class SourceError(TiergateError):
    """A source gave no document that can be used; the text says what it gave instead."""


class DocumentEntry(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One candidate, in the document's names. Prices are per million tokens; None is unknown."""

    provider: Annotated[str, Meta(min_length=1, max_length=_LONGEST_NAME)]
    model: Annotated[str, Meta(min_length=1, max_length=256)]
    relative_cost: Cost = 1
    input_price_per_million: Price | None = None
    output_price_per_million: Price | None = None
    cached_input_price_per_million: Price | None = None
    context_window: PositiveCount | None = None
    supports: tuple[Feature, ...] | None = None
    rename: dict[str, str] = {}
    drop: tuple[str, ...] = ()
    set: dict[str, Any] = {}


class TierDocument(Struct, frozen=True, rename="camel"):
    """The tiers at one version.

    `fetched_at` is Unix time; `etag` is what the service said of it, for the next request;
    `skipped` names the entries that were wrong.
    """

    version: str
    tiers: dict[Tier, tuple[DocumentEntry, ...]] = {}
    updated_at: str | None = None
    fetched_at: float = 0
    etag: str | None = None
    skipped: tuple[str, ...] = ()


def parse_document(raw: Any, *, fetched_at: float, etag: str | None = None) -> TierDocument:
    """Read a decoded document, in its envelope or bare; raises `SourceError`.

    Every entry that is wrong is skipped. Both prices are required here: whoever serves a document
    to many is to say what its models cost.
    """
    data = _unwrapped(raw)
    tiers = data.get("tiers")
    if not isinstance(tiers, Mapping):
        raise SourceError("the document has no 'tiers'")
    skipped = [f"tiers.{_shown(name)}: not a tier" for name in tiers if name not in TIERS]
    read = {tier: tuple(_entries(tiers.get(tier), f"tiers.{tier}", skipped)) for tier in TIERS}
    version, updated_at = data.get("version"), data.get("updatedAt")
    return TierDocument(
        version="unversioned" if version is None else _shown(version),
        tiers=read,
        updated_at=_shown(updated_at) if isinstance(updated_at, str) else None,
        fetched_at=fetched_at,
        etag=etag,
        skipped=summed_up(skipped),
    )


def summed_up(skipped: Sequence[str]) -> tuple[str, ...]:
    """The first of many, and how many more there are."""
    more = len(skipped) - _MOST_NAMED
    return (*skipped[:_MOST_NAMED], f"and {more} more") if more > 0 else tuple(skipped)


def _unwrapped(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise SourceError("the document is no JSON object")
    if "success" not in raw:
        return raw
    if raw["success"] is not True:
        error = raw.get("error")
        said = error.get("code") if isinstance(error, Mapping) else None
        raise SourceError(f"the service says success: false{f' ({_shown(said)})' if said else ''}")
    if not isinstance(raw.get("data"), Mapping):
        raise SourceError("the document has no 'data'")
    data: Mapping[str, Any] = raw["data"]
    return data


def _entries(listed: Any, where: str, skipped: list[str]) -> Iterator[DocumentEntry]:
    if listed is None:
        return
    if not isinstance(listed, list):
        skipped.append(f"{where}: not a list")
        return
    seen = set()
    for index, item in enumerate(listed):
        try:
            entry = msgspec.convert(_said(item), DocumentEntry)
            wrong = _wrong(entry)
        except msgspec.ValidationError as error:
            text, _, path = str(error).partition(" - at ")
            wrong = f"{path.strip('`').removeprefix('$.')}: {text}" if path else text
        else:
            if wrong is None and (entry.provider, entry.model) in seen:
                wrong = "listed twice"
            if wrong is None:
                seen.add((entry.provider, entry.model))
                yield entry
        if wrong is not None:
            skipped.append(f"{where}[{index}]{_named(item)}: {wrong}")


def _said(item: Any) -> Any:
    """Null is an absent member: many serializers write it for what is not set."""
    if not isinstance(item, Mapping):
        return item
    return {
        name: value
        for name, value in item.items()
        if value is not None or name not in _WITH_DEFAULTS
    }


def _wrong(entry: DocumentEntry) -> str | None:
    if not entry.provider.isascii() or not entry.provider.isprintable():
        return "provider: must be printable ASCII"
    if entry.input_price_per_million is None:
        return "inputPricePerMillion: missing"
    if entry.output_price_per_million is None:
        return "outputPricePerMillion: missing"
    problem = next(wrong_in(entry), None)
    return None if problem is None else _shown(problem)


def _named(item: Any) -> str:
    if not isinstance(item, Mapping):
        return ""
    provider, model = (_shown(item.get(key), _LONGEST_NAME) for key in ("provider", "model"))
    return f" ({provider}/{model})"


def _shown(value: Any, longest: int = _LONGEST_WORD) -> str:
    """What stands in a document, in a line of a log: short, and nothing that breaks the line."""
    try:
        text = str(value)[:longest]
    except (ValueError, RecursionError):  # a number of 4,301 digits, lists in lists
        text = type(value).__name__
    return text if text.isprintable() else ascii(text)[1:-1]
