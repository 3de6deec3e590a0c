"""Decisions: what peers get wrong is right, no evidence is moderate, and score and tier agree.

How often it is right is in `test_evaluate`.
"""
# ruff: noqa: RUF001 - letters of other alphabets are meant

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tiergate.classify import MAX_WORDS, NO_EVIDENCE, WEIGHTS, Classifier, problems_of
from tiergate.routing_config import ClassifierSettings, WordList
from tiergate.signals import PLAIN
from tiergate.vocabulary import FAMILIAR, word_groups

OURS = Classifier(ClassifierSettings())
PROSE = "The committee met again about the harbour and nobody could agree on what was said before. "
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def members(text=None, *, messages=None, **more):
    said = messages if messages is not None else [{"role": "user", "content": text}]
    return msgspec.json.decode(json.dumps({"messages": said, **more}), type=dict[str, Raw])


def tier(text, **more):
    return OURS.classify(members(text, **more)).tier


@pytest.mark.parametrize(
    "text",
    [
        "Prove that there are infinitely many primes congruent to 3 modulo 4.",
        "Prove that the square root of 2 is irrational.",
        "Beweise, dass es unendlich viele Primzahlen gibt.",
        "Démontre que toute suite bornée admet une sous-suite convergente.",
        "Demuestra que no existe el mayor número primo.",
        "Prove que a soma de dois números ímpares é par.",
        "Dimostra che la radice di due è irrazionale.",
        "Bewijs dat er oneindig veel priemgetallen zijn.",
        "Udowodnij, że liczb pierwszych jest nieskończenie wiele.",
        "Докажите, что простых чисел бесконечно много.",
        "证明素数有无穷多个。",
        "素数が無限に存在することを証明してください。",
        "소수가 무한히 많음을 증명하세요.",
        "Asal sayıların sonsuz olduğunu kanıtla.",
        "أثبت أن الأعداد الأولية لا نهائية.",
        "72-year-old on apixaban with chest pain and rising troponin: next steps?",
        "My patient with renal failure needs pain relief; what dose of morphine is safe?",
        "Can I take ibuprofen with lithium?",
        "Patientin, 34, Fieber, Nackensteife und Petechien. Was tun?",
        "Femme enceinte de 30 semaines, céphalées et tension à 160/110 : que faire ?",
        "Paciente con insuficiencia renal e hiperpotasemia de 7: ¿qué hago primero?",
        "Paciente diabético com dor no peito e febre, qual a conduta?",
        "孕妇30周，头痛、血压160/110，怎么办？",
        "70歳男性、突然の胸痛と背部痛。鑑別診断と最初の検査は？",
        "У пациента боль в груди и одышка, что делать в первую очередь?",
        PROSE * 450,
        PROSE * 450 + "\n\nWhat should we do, and what are we getting wrong?",
        "What went wrong here, and who is to blame?\n\n" + PROSE * 450,
        "Why is this so?\n\n" + "字" * 20_000,
    ],
    ids=lambda text: text[:40],
)
def test_proofs_clinical_questions_and_long_prompts_are_never_simple(text):
    assert tier(text) != "simple"


@pytest.mark.parametrize(
    "text",
    [
        "hi",
        "yo",
        "hey",
        "嗨",
        "hi!",
        "ok",
        "thx",
        "hola",
        "ciao",
        "oi",
        "привет",
        "你好",
        "안녕",
        "Hello, how are you today?",
        "What is the capital of France?",
        "Fix the typos: teh cat",
        "17*23?",
        "what does HTTP stand for",
        "Decode this base64: aGVsbG8=",
        "Translate to German: 'a proof of the theorem by induction, step by step'",
    ],
)
def test_greetings_and_small_tasks_are_simple(text):
    assert tier(text) == "simple"


DEEP = "Prove that every compact Hausdorff space is normal, and give a counterexample without it."


@pytest.mark.parametrize(
    "text",
    [
        f"Hello,\n\n{DEEP}\n\nThanks!",
        f"Hi team, can you help?\n\n{DEEP}\n\nBest regards,\nAnn",
        f"I have a question.\n\n{DEEP} I tried for days.\n\nThank you, and have a good day",
        f"Please help\n\n1. {DEEP}\n2. Show that the bound is sharp.\n\nthanks",
        f'"{DEEP}"',
        "Yes or no: is every continuous function on a compact set uniformly continuous?",
        "Reply with only the number: how many groups of order 16 are there up to isomorphism?",
        "Ja oder nein: Ist jede stetige Funktion auf einem kompakten Raum gleichmäßig stetig?",
        "Oui ou non : toute suite de Cauchy converge-t-elle dans un espace métrique ?",
        "只回答是或否：每个有限生成群的子群都是有限生成的吗？",
        "Fix this: our lock-free queue loses items when two consumers pop concurrently",
        *(
            f"{ask}\n```python\nif a.balance >= n:\n    a.balance -= n\n```"
            for ask in (
                "Find the bug:",
                "Debug this",
                "Finde den Bug",
                "Encuentra el error",
                "Trova il bug",
                "Найди ошибку",
                "这里为什么报错",
                "バグを見つけて",
            )
        ),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_asked_between_manners_or_with_few_words_is_never_simple(text):
    assert tier(text) != "simple"


@pytest.mark.parametrize(
    "go_on", ["yes", "ok", "continue", "go ahead", "ja", "oui", "sí", "да", "はい", "继续"]
)
def test_what_goes_on_with_a_deep_task_is_never_simple(go_on):
    said = [{"role": "user", "content": DEEP}]
    for _ in range(6):
        said += [{"role": "assistant", "content": "…"}, {"role": "user", "content": go_on}]
    assert OURS.classify(members(messages=said)).tier != "simple"


@pytest.mark.parametrize("size", [0, 20_000])
def test_what_clients_wrap_around_a_greeting_leaves_it_simple(size):
    around = "We must verify each step rigorously. " * (size // 30)
    for text in (
        f"<context>{around}</context><reminderInstructions>{around}</reminderInstructions>"
        "<userRequest>\nhi\n</userRequest>",
        f"<task>\nhi\n</task>\n\n# task_progress: {around[:3000]}",
        f"<system-reminder>{around}</system-reminder>\nhi",
    ):
        assert tier(text) == "simple"


def test_a_huge_system_prompt_around_a_greeting_changes_nothing():
    system = {"role": "system", "content": "Prove it step by step, rigorously. " * 5000}
    said = [system, {"role": "user", "content": "hi"}]
    assert OURS.classify(members(messages=said)) == OURS.classify(members("hi"))


def test_tools_offered_around_a_greeting_leave_it_simple():
    tools = [{"type": "function", "function": {"name": f"prove_{i}"}} for i in range(60)]
    assert tier("hi", tools=tools) == "simple"


def test_scaffolding_around_a_greeting_leaves_it_simple():
    assert tier("<system-reminder>prove the theorem</system-reminder>\nhi") == "simple"


@pytest.mark.parametrize("text", ["", "  ", "ያልታወቀ ጽሑፍ", "Chứng minh có vô hạn số nguyên tố"])
def test_no_evidence_is_moderate(text):
    verdict = OURS.classify(members(text))
    assert (verdict.tier, verdict.score) == ("moderate", NO_EVIDENCE)


def test_decode_is_no_code():
    ours = Classifier(ClassifierSettings(weights={"mine": 5}, words={"mine": WordList(("code",))}))
    assert "mine" not in ours.measure(members("decode the encoder"))
    assert "mine" in ours.measure(members("read the code"))


def test_signals_come_strongest_first_and_make_the_score():
    verdict = OURS.classify(members("Prove the theorem, please, without the axiom of choice!"))
    strengths = [abs(signal.value * signal.weight) for signal in verdict.signals]
    assert strengths == sorted(strengths, reverse=True)
    assert {"proof", "mathematics"} <= {signal.name for signal in verdict.signals}
    assert verdict.score == round(verdict.score, 3)


@pytest.mark.parametrize(
    ("total", "score", "tier"),
    [(-99, 0.0, "simple"), (0, 0.5, "moderate"), (99, 1.0, "complex"), (-1, 0.269, "simple")],
)
def test_judge_is_the_logistic_of_the_sum(total, score, tier):
    ours = Classifier(ClassifierSettings(weights={"brief": 1}))
    verdict = ours.judge({"brief": total, "nobody": 7})
    assert (verdict.score, verdict.tier) == (score, tier)


def test_the_tier_is_decided_on_the_score_that_is_shown():
    ours = Classifier(ClassifierSettings(moderate=0.4, complex=0.6, weights={"brief": 1}))
    verdict = ours.judge({"brief": 0.405})  # 0.59989
    assert (verdict.score, verdict.tier) == (0.6, "complex")


def test_weights_and_words_are_settings():
    settings = ClassifierSettings(
        weights={"mine": 3.0, "brief": 0.0},
        words={"mine": WordList(add=("Zorgel*",)), "proof": WordList(remove=("prove",))},
    )
    assert not list(problems_of(settings))
    found = Classifier(settings).classify(members("prove zorgeling"))
    assert found.signals[0].name == "mine"
    assert "proof" not in {signal.name for signal in found.signals}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (ClassifierSettings(moderate=0.8, complex=0.7), "classifier.complex: must be above"),
        (ClassifierSettings(moderate=0.6), "classifier.moderate: a request without"),
        (ClassifierSettings(complex=0.5), "classifier.moderate: a request without"),
        (ClassifierSettings(weights={"profo": 1}), "classifier.weights.profo: no signal of"),
        (ClassifierSettings(weights={"profo": 1}), "did you mean 'proof'?"),
        (ClassifierSettings(weights={"qqqq": 1}), "no signal of this name"),
        (ClassifierSettings(words={"lore": WordList()}), "words.lore: a new group needs a weight"),
        (ClassifierSettings(words={"brief": WordList()}), "not made of words"),
        (ClassifierSettings(words={"law": WordList(add=("",))}), "1 to 64 characters"),
        (ClassifierSettings(words={"law": WordList(add=("x" * 65,))}), "1 to 64 characters"),
        (ClassifierSettings(words={"law": WordList(add=("ab*",))}), "a stem has at least"),
        (ClassifierSettings(words={"law": WordList(remove=("zz",))}), "'zz' is not in the group"),
        (
            ClassifierSettings(words={"law": WordList(add=tuple(map(str, range(MAX_WORDS + 1))))}),
            "more than",
        ),
        (ClassifierSettings(weights={f"w{i}": 1 for i in range(200)}), "classifier: more than"),
    ],
)
def test_settings_that_are_wrong_are_told(settings, said):
    assert any(said in problem for problem in problems_of(settings))


def test_the_default_settings_are_right_and_every_signal_has_a_weight():
    assert list(problems_of(ClassifierSettings())) == []
    assert WEIGHTS.keys() == {*PLAIN, *word_groups()} - {FAMILIAR}
    assert all(-20 <= weight <= 20 for weight in WEIGHTS.values())


@given(JSON, JSON, JSON)
def test_no_request_raises_and_the_same_is_always_judged_the_same(messages, tools, most):
    body = {"messages": messages, "tools": tools, "max_tokens": most, "reasoning_effort": most}
    asked = {name: Raw(json.dumps(value).encode()) for name, value in body.items()}
    measured = OURS.measure(asked)
    kept = msgspec.json.decode(msgspec.json.encode(measured), type=dict[str, float])
    verdict = OURS.classify(asked)
    assert 0 <= verdict.score <= 1
    assert verdict == OURS.judge(measured) == OURS.judge(kept)
