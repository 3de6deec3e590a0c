"""Columns of one width: words from the left, numbers to the right, and no space at the end."""

from tiergate_sidecar.text_table import text_table


def test_words_begin_and_numbers_end_below_each_other():
    rows = [("name", "n", "state"), ("a", "10", ""), ("longer", "7", "ok")]
    assert list(text_table(rows, words=(0, 2))) == [
        "name     n  state",
        "a       10",
        "longer   7  ok",
    ]
