"""Rows of what was asked for and what was found, and how they are printed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`met` is None where nothing was asked for, or where it could not be measured."""

    what: str
    must: str
    measured: str
    met: bool | None = None


def at_most(what: str, most: float, measured: float, unit: str = "", aim: float = 0) -> Row:
    must = f"≤ {most:g} {unit}".rstrip() + (f" (aim {aim:g})" if aim else "")
    return Row(what, must, shown(measured, unit), measured <= most)


def at_least(what: str, least: float, measured: float, unit: str = "", aim: float = 0) -> Row:
    must = f"≥ {least:g} {unit}".rstrip() + (f" (aim {aim:g})" if aim else "")
    return Row(what, must, shown(measured, unit), measured >= least)


def told(what: str, measured: float, unit: str = "") -> Row:
    return Row(what, "", shown(measured, unit))


def absent(what: str, must: str, why: str) -> Row:
    return Row(what, must, f"absent: {why}")


def shown(measured: float, unit: str) -> str:
    digits = 2 if abs(measured) < 100 else 0
    return f"{measured:,.{digits}f} {unit}".rstrip()


def rows(found: Iterable[Row]) -> str:
    said = {True: "met", False: "NOT MET", None: ""}
    lines = [(row.what, row.must, row.measured, said[row.met]) for row in found]
    return columns([("", "must", "measured", ""), *lines])


def columns(lines: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right; a pipe table for the documentation."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    drawn = []
    for number, line in enumerate(lines):
        first, *others = zip(line, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        drawn.append("| " + " | ".join(cells) + " |")
        if not number:
            rule = ["-" * first[1], *("-" * (width - 1) + ":" for _, width in others)]
            drawn.append("| " + " | ".join(rule) + " |")
    return "\n".join(drawn)
