"""What a turn asks is told apart from what it quotes and pastes; texts of any size stay linear."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergate.demand import split


@pytest.mark.parametrize(
    "text",
    [
        "Translate 'prove the theorem'",
        'Translate "prove the theorem"',
        "Translate “prove the theorem”",
        "Übersetze „prove the theorem“",
        "Traduis « prove the theorem »",
        "翻訳して「prove the theorem」",
        "Fix `prove the theorem`",
        "Run ```\nprove the theorem\n```",
    ],
)
def test_quotations_are_not_asked(text):
    demand = split(text)
    assert "prove" not in demand.asked
    assert "prove" in demand.given + demand.code


def test_apostrophes_quote_nothing():
    assert split("don't tell what isn't Ann's").asked.strip() == "don't tell what isn't Ann's"
    assert split("say 'it isn't so' now").quotes == 1


def test_the_first_paragraph_and_the_last_are_asked():
    demand = split("What is it?\n\npasted page\n\nAnd why?")
    assert "pasted" not in demand.asked
    assert "And why?" in demand.asked
    assert demand.given == "pasted page"


@pytest.mark.parametrize("size", [300, 1000])
def test_a_long_last_paragraph_is_given_unless_it_asks(size):
    assert split("Title please\n\n" + "word " * (size // 5)).asked.strip() == "Title please"
    assert "why?" in split("Title\n\n" + "word " * (size // 5) + "why?").asked


def test_lines_below_a_demand_are_given_and_items_are_asked():
    lines = split("sort these\n" + "\n".join("abcdef"))
    assert lines.asked.strip() == "sort these"
    items = split("do this\n- a\n- b\n- c\n- d\n- e")
    assert (items.items, "- e" in items.asked) == (5, True)


def test_lines_for_machines_are_code():
    demand = split("why\nimport os\nx = 1;\n2024-01-01 10:00:00 ERROR boom\na|b|c|d")
    assert demand.asked.strip() == "why"
    assert len(demand.code.splitlines()) == 4


@given(st.text())
def test_no_text_raises(text):
    demand = split(text)
    assert demand.fences <= text.count("```")
