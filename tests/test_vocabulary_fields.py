"""The groups of `vocabulary_fields`: none is empty, none has a word twice."""

from tiergate.vocabulary import word_groups
from tiergate.vocabulary_fields import FIELDS


def test_every_group_is_shipped_whole():
    for name, words in FIELDS:
        assert len(words.split()) > 20
        assert set(words.split()) == set(word_groups()[name])


def test_no_group_has_a_word_twice():
    for name, words in FIELDS:
        each = words.split()
        assert len(each) == len(set(each)), name
