"""All words of the classifier, by the name of their group, as they are shipped.

Data only: how words are found is in `lexicon`, what a group weighs in `classify`. An entry is a
whole word, a stem that ends in `*`, or a phrase whose words are joined by `_`; in scripts other
than Latin, Greek and Cyrillic it is found anywhere. A word is here because it tells something
wherever it stands, never because one known request has it.
"""
# ruff: noqa: RUF001 - letters of other alphabets are meant

from collections.abc import Mapping
from functools import cache
from typing import Final

from tiergate.vocabulary_depth import DEPTH
from tiergate.vocabulary_ease import EASE
from tiergate.vocabulary_fields import FIELDS

FAMILIAR: Final = "familiar"
"""The group of no weight: where its words stand, the language is one that we have words of."""

_FAMILIAR: Final = """
the a an is are was of to in for and or with on my your it this that i you me we what how who do
does can please give at from by not be have der die das ein eine ist sind und oder mit auf für von
zu den dem ich du wir es wie nicht bitte le la les un une est sont et ou avec sur pour de des je tu
nous il que ce en el los las una son y o con por para del yo tú mi lo no os as um uma é são e com
da eu você meu não em na gli uno è sono per di della io che non het een zijn met op voor van ik wij
dat niet w z nie się jest jak po od za że czy dla и в на не что с по как это я ты мы из за у для к
ve bir bu için ile ne ben sen çok و في من على إلى هذا ما لا أن में है की का को के और से क्या but if
they he she his her their our us so then just about some any there here out up auch noch nur aber
wenn dann über beim einen einer eines dass sich mein meine kann hat haben wird pas plus mais si
elle se sa ses mon ma mes cette cet aux dans qui est-ce faut peut fait été pero más este esta estos
su sus mis muy ser hay tiene fue al entre cuando donde mas isso seu sua nos dos foi tem muito ao
pelo pela più questo questa suo nel nella ho ha alla dal degli anche maar als meer deze dit mijn
jouw naar bij heeft hebben wordt aan er nog ook te ale jeśli bardziej ten ta moje mój być mam są
przez przed но если ещё этот эта мой моя быть есть от до о при бы же ли мне его её их так ama eğer
şu var yok olan olarak kadar daha gibi ok okay yes yep yeah sure nope ja nein oui sí sim sì nee
tak да нет evet hayır 아니요 좋아 계속 はい いいえ 好的 继续 نعم हाँ go continue proceed ahead
weiter continuez sigue continua prosegui ga_door dalej дальше продолжай devam 続けて
"""


@cache
def word_groups() -> Mapping[str, tuple[str, ...]]:
    """The words by group; sorted out when somebody asks, for an import shall cost little."""
    return {
        name: tuple(sorted(set(words.split())))
        for name, words in (*EASE, *DEPTH, *FIELDS, (FAMILIAR, _FAMILIAR))
    }
