"""The shipped words are as the lexicon wants them: no group twice, no entry that finds nothing."""

import pytest

from tiergate.lexicon import MAX_ENTRY, STEM_HEAD, Lexicon, Text
from tiergate.signals import DEEP, DEMANDING, PLAIN
from tiergate.vocabulary import FAMILIAR, word_groups


@pytest.mark.parametrize("group", word_groups())
def test_every_word_finds_itself(group):
    for entry in word_groups()[group]:
        lexicon = Lexicon({group: [entry]})
        assert lexicon.count(Text(entry.replace("_", " ").rstrip("*"))) == {group: 1}, entry


@pytest.mark.parametrize("group", word_groups())
def test_words_are_short_and_stems_are_not_too_short(group):
    for entry in word_groups()[group]:
        assert len(entry) <= MAX_ENTRY
        assert entry == entry.lower()
        assert not entry.endswith("*") or len(entry) > STEM_HEAD, entry


def test_groups_have_names_of_their_own():
    assert not word_groups().keys() & set(PLAIN)
    assert {*DEEP, *DEMANDING, FAMILIAR} <= word_groups().keys()


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (
            "proof",
            "prove beweis démontre demuestra prova dimostra bewijs dowód докажи 证明 証明 증명",
        ),
        ("medicine", "patient patientin enceinte paciente pazienti pacjent пациент 患者 환자"),
        ("smalltalk", "hello hallo bonjour hola olá ciao hoi cześć привет 你好 こんにちは 안녕"),
        ("chore", "typos rechtschreibung orthographe ortografía grammatica орфография 错别字 誤字"),
    ],
)
def test_the_large_languages_are_there(group, words):
    lexicon = Lexicon(word_groups())
    missing = [word for word in words.split() if group not in lexicon.count(Text(word))]
    assert len(missing) <= 1, missing
