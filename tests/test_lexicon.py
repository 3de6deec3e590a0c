"""Words are found whole, stems at the beginning, other scripts anywhere, in any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergate.lexicon import MAX_SEEN, Lexicon, Text


def found(entry, text):
    return Lexicon({"g": [entry]}).count(Text(text)).get("g", 0)


@pytest.mark.parametrize(
    ("entry", "text", "count"),
    [
        ("code", "decode this", 0),
        ("code", "the Code, please", 1),
        ("code", "encoder codes", 0),
        ("cod*", "codes decode coding", 2),
        ("step_by_step", "Step-by-step!", 1),
        ("step_by_step", "step by stepping", 0),
        ("memory_order*", "memory orders", 1),
        ("what's", "what\u2019s that", 1),
        ("c'est_quoi", "C'est quoi ?", 1),
        ("証明", "これを証明して", 1),
        ("भाव", "स्वभाव", 1),
        ("quiénes", "¿Quiénes?", 1),
        ("code", "code code code", 1),
        ("internationalis*", "internationalisation", 1),
        ("*", "anything", 0),
        ("démontr*", "de\u0301montre", 1),
        ("안녕", "\u110b\u1161\u11ab\u1102\u1167\u11bc", 1),
        ("prove", "\ufeffPro\u200bve it", 1),
        ("ab_c*", "ab cd", 1),
    ],
)
def test_an_entry_is_found_as_it_is_meant(entry, text, count):
    assert found(entry, text) == count


def test_a_word_counts_in_each_of_its_groups():
    lexicon = Lexicon({"a": ["trust"], "b": ["trust", "tru*"], "c": ["x"]})
    assert lexicon.count(Text("Trust me")) == {"a": 1, "b": 2}


def test_what_is_remembered_is_bounded_and_changes_nothing():
    lexicon = Lexicon({"g": ["wor*"]})
    many = " ".join(f"word{number}" for number in range(MAX_SEEN + 10))
    assert lexicon.count(Text(many)) == lexicon.count(Text(many)) == {"g": MAX_SEEN + 10}


@given(st.text())
def test_no_text_raises(text):
    assert Lexicon({"g": ["a*b", "é", "字"]}).count(Text(text)).keys() <= {"g"}
