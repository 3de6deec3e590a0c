"""Policies: one that is named binds, and has to exist; a keyword prefers, and is a whole word."""

import msgspec
import pytest

from tiergate.candidates import Candidate
from tiergate.errors import InvalidRequest
from tiergate.policies import Applied, Policies
from tiergate.routing_config import Policy
from tiergate.wire import read_members

ENOUGH = 100_000


def asking(text: str) -> dict[str, msgspec.Raw]:
    said = [
        {"role": "system", "content": "secret system word: sysadmin"},
        {"role": "user", "content": "earlier word: yesterday"},
        {"role": "assistant", "content": "its word: robot"},
        {"role": "user", "content": text},
    ]
    return read_members(msgspec.json.encode({"messages": said}))


def policies(*made: Policy, most_bytes: int = ENOUGH) -> Policies:
    return Policies(made, most_bytes=most_bytes)


def matches(keyword: str, text: str) -> bool:
    return policies(Policy(name="p", keywords=(keyword,))).applied(None, asking(text)) is not None


# --- named


def test_the_policy_that_a_client_names_binds():
    some = policies(Policy(name="one"), Policy(name="two", keywords=("hello",)))
    for name in ("one", "two"):
        assert some.applied(name, asking("hello")) == Applied(some.rule(name), binding=True)


@pytest.mark.parametrize("name", ["tow", "", "TWO", "one, two", "önë"])
def test_a_misspelt_policy_is_refused_and_the_others_are_named(name):
    """A21: the ancestor dropped the constraint silently."""
    with pytest.raises(InvalidRequest, match="must name a policy: one, two") as refusal:
        policies(Policy(name="one"), Policy(name="two")).applied(name, asking("hello"))
    assert (refusal.value.status, refusal.value.code) == (400, "invalid_request")
    assert refusal.value.param == "X-Arbstr-Policy"


def test_where_no_policy_is_configured_any_name_is_refused():
    with pytest.raises(InvalidRequest, match="none is configured"):
        policies().applied("one", asking("hello"))


# --- by keyword


def test_a_keyword_prefers_and_the_first_policy_of_the_configuration_wins():
    some = policies(
        Policy(name="never"),
        Policy(name="law", keywords=("contract", "court")),
        Policy(name="code", keywords=("python", "contract")),
    )
    for text, name in (("A contract in Python", "law"), ("python?", "code"), ("the court", "law")):
        assert some.applied(None, asking(text)) == Applied(some.rule(name), binding=False)
    assert some.applied(None, asking("hello")) is None


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("code", "Review this code."),
        ("code", "CODE"),
        ("CoDe", "(code)"),
        ("code", "code\nand more"),
        ("tell me", "so TELL \t\n\u3000 me"),
        ("tell   me", "tell me"),
        ("c++", "is c++ old?"),
        (".net", "why .net?"),
        ("straße", "STRASSE"),
        ("STRASSE", "eine Straße"),
        ("договор", "Проверь ДОГОВОР!"),
        ("代码", "请看这段代码吧"),
        ("代码", "x代码y"),
        ("代码 审查", "代码  审查"),
        ("code", "请写code吧"),
        ("ai助手", "问ai助手吧"),
        ("法律", "この法律について"),
        ("법률", "법률을 알려줘"),
        ("กฎหมาย", "ถามเรื่องกฎหมายครับ"),
        ("𠮷野", "在𠮷野家"),
        ("ai", "人々aiを"),
        ("カ", "ｶ"),
        ("code", "\uff23\uff2f\uff24\uff25"),
        ("café", "Un Cafe\u0301?"),
        ("cafe\u0301", "CAFÉ"),
        ("कर", "कर।"),
    ],
)
def test_a_keyword_is_found(keyword, text):
    assert matches(keyword, text)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("code", "decode"),  # A21
        ("code", "codes"),
        ("code", "code_review"),
        ("code", "code2"),
        ("tell me", "tellme"),
        ("tell me", "tell him"),
        ("a.c", "abc"),
        ("c++", "c++17"),
        (".net", "asp.net"),
        ("договор", "договоры"),
        ("ai助手", "openai助手"),
        ("代码", "代 码"),
        ("cafe", "cafe\u0301"),
        ("कर", "करो"),  # the vowel sign is part of the word
        ("ब", "किताब"),
        ("sysadmin", "hello"),
        ("yesterday", "hello"),
        ("robot", "hello"),
        ("code", ""),
    ],
)
def test_what_is_not_the_word_itself_in_the_last_user_message_is_not_found(keyword, text):
    assert not matches(keyword, text)


@pytest.mark.parametrize(
    "messages",
    [b"[]", b"5", b'[{"role": "user", "content": {"code": 1}}]', b"[5, null, {}]", b"",
     b'[{"role": "user", "content": "\\ud800"}]'],
)  # fmt: skip
def test_a_keyword_never_refuses_what_it_cannot_read(messages):
    members = {"messages": msgspec.Raw(messages)} if messages else {}
    assert policies(Policy(name="p", keywords=("code",))).applied(None, members) is None


def test_messages_over_the_limit_are_not_read():
    long = asking("code " + "x" * 500)
    code = Policy(name="p", keywords=("code",))
    assert policies(code).applied(None, long) is not None
    assert policies(code, most_bytes=500).applied(None, long) is None


@pytest.mark.parametrize("keyword", ["tell me", "a a a b", "代码 审查", "c++", "x"])
@pytest.mark.parametrize(
    "unit", [" ", "tell ", "a ", "a\t", "代码 ", "代", "+", "x_", "\u3000", "İ"]
)
def test_a_megabyte_of_one_thing_is_read_like_any_other_message(unit, keyword):
    """An expression that backtracks would not return at all."""
    text = unit * (1_000_000 // len(unit.encode()))
    code = policies(Policy(name="p", keywords=(keyword,)), most_bytes=10_000_000)
    assert code.applied(None, asking(text)) is None


# --- whom it allows


@pytest.mark.parametrize(
    ("models", "ceiling", "allowed"),
    [
        ((), None, "gpt-5 gpt-5-mini opus free"),
        (("gpt-5",), None, "gpt-5"),
        (("gpt-5*",), None, "gpt-5 gpt-5-mini"),
        (("opus", "gpt-5-*"), None, "gpt-5-mini opus"),
        (("*",), None, "gpt-5 gpt-5-mini opus free"),
        ((), 10, "gpt-5 gpt-5-mini"),
        ((), 2, "gpt-5-mini"),
        ((), 0, ""),
        (("gpt-5",), 2, ""),
    ],
)
def test_a_policy_allows_by_model_and_by_price(models, ceiling, allowed):
    priced = {"gpt-5": 10.0, "gpt-5-mini": 2.0, "opus": 75.0, "free": None}
    made = Policy(name="p", allowed_models=models, max_output_price_per_million=ceiling)
    rule = policies(made).rule("p")
    asked = [Candidate("p1", name, 1, 1.0, price) for name, price in priced.items()]
    assert " ".join(each.model for each in asked if rule.allows(each)) == allowed
