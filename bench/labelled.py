"""Labelled chat requests, as `bench/evaluation` has them: read, and turned into members.

What is made of them is in `evaluate` and `tune`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tiergate.tiers import Tier

FOLDER: Final = Path(__file__).parent / "evaluation"
TUNING: Final = FOLDER / "tuning"
HELD_OUT: Final = FOLDER / "held_out"
FRESH: Final = FOLDER / "fresh"

_members = msgspec.json.Decoder(dict[str, Raw])


class Row(Struct, frozen=True):
    """One labelled request. `kind`, `language` and `adversarial` only tell where we err."""

    id: str
    tier: Tier
    request: dict[str, Any]
    kind: str = "unknown"
    language: str = "unknown"
    adversarial: str | None = None

    @property
    def members(self) -> dict[str, Raw]:
        return _members.decode(json.dumps(self.request, ensure_ascii=False).encode())


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """The rows of JSONL files, in their order; raises `msgspec.ValidationError` naming what is
    wrong with a row.
    """
    return [
        msgspec.json.decode(line, type=Row)
        for path in paths
        for line in path.read_bytes().splitlines()
        if line.strip()
    ]


def read_part(folder: Path) -> list[Row]:
    return read_rows(sorted(folder.glob("*.jsonl")))
