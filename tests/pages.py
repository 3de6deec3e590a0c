"""The documents, and the tables in them, for the tests that hold them to the code."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of the markdown tables whose first column has this title."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        inside = line.startswith("|") and (inside or cells[0].strip() == first)
        if inside and cells[0] != first and not line.startswith("| ---"):
            found.append(cells)
    return found


def named(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall("`([^`]+)`", cell)


def first_cells(text: str, title: str) -> list[str]:
    """What is named in the first column of the tables of this title."""
    return [name for cells in rows(text, title) for name in named(cells[0])]
