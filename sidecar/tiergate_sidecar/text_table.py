"""A table for people, in a terminal. What stands in it is not known here."""

from collections.abc import Collection, Iterator, Sequence


def text_table(rows: Sequence[Sequence[str]], *, words: Collection[int]) -> Iterator[str]:
    """Lines in columns of one width. Those of the places in `words` begin at the left, the others
    are numbers and end at the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if column in words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
