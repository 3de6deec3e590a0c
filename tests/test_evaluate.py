"""The promises about how well it decides, on both parts of the labelled requests; the report."""

import json
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

# `bench` is no package: its files are programs, and import each other as such.
sys.path.append(str(Path(__file__).parents[1] / "bench"))

import tune
from baselines import arbstr_score, arbstr_tier, fit_lengths, length_of, length_tier
from evaluate import evaluate, report, result, seconds
from labelled import HELD_OUT, TUNING, read_part, read_rows

TUNED = read_part(TUNING)


def said(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(("part", "margin"), [(TUNING, 10), (HELD_OUT, 5)])
def test_ours_is_right_more_often_than_the_others_and_seldom_dangerous(part, margin):
    found = evaluate(read_part(part), TUNED)
    ours = found.pop("ours")
    assert 100 * (ours.accuracy - found["arbstr's formula"].accuracy) >= 20
    for name, other in found.items():
        assert 100 * (ours.accuracy - other.accuracy) >= margin, name
    assert ours.danger <= 0.03
    assert ours.cost < 0.5


@pytest.mark.parametrize(
    ("messages", "score"),
    [
        (said("Hello, how are you today?"), 0.0248),
        (said("123456789"), 1.0),
        (said("abcdefghij"), 0.0247),
        (said("a" * 4000), 0.1152),
        (said("a" * 40_000), 0.2152),
        (said("abcdefghij") * 12, 0.2009),
        (said("compare design debug"), 0.2248),
        (said("```x```\n```x```\n```x``` compare design debug"), 0.425),
        (said("```x```\n```x```\n```x``` compare design debug a.py b.py c.py"), 0.625),
        ([], 1.0),
        ([{"role": "user", "content": [{"type": "text", "text": "abcdefghij"}, {}]}], 0.0247),
        ([{"role": "user", "content": [{"type": "image_url"}]}], 1.0),
    ],
)
def test_arbstrs_formula_is_as_published(messages, score):
    assert arbstr_score(messages) == pytest.approx(score, abs=2e-4)


def test_arbstrs_tiers_have_its_thresholds():
    assert arbstr_tier(said("hello there, you")) == "simple"
    assert arbstr_tier(said("hi")) == "complex"
    assert arbstr_tier(said("```x```\n```x```\n```x``` compare design debug")) == "moderate"


def test_the_boundaries_of_length_are_the_best_there_are():
    lengths, tiers = [1, 2, 5, 6, 9], ["simple", "simple", "moderate", "moderate", "complex"]
    low, high = fit_lengths(lengths, tiers)
    assert [length_tier(length, (low, high)) for length in lengths] == tiers
    assert length_of([{"role": "system", "content": "x"}]) == 0


def test_cost_and_danger_are_counted():
    found = result([("complex", "simple"), ("complex", "complex"), ("simple", "simple")])
    assert (found.accuracy, found.danger) == (2 / 3, 0.5)
    assert found.cost == pytest.approx((1 + 20 + 1) / 60)
    assert found.confusion["complex"] == Counter(simple=1, complex=1)


def test_the_report_tells_no_text(tmp_path):
    own = tmp_path / "own.jsonl"
    row = {"id": "a", "tier": "simple", "request": {"messages": said("zanzibar greets you")}}
    own.write_text(json.dumps(row) + "\n\n")
    told = report(read_rows([own]), TUNED[:30])
    assert "zanzibar" not in told
    assert "1 requests" in told
    assert "too few" in told


def test_a_row_that_is_wrong_is_refused(tmp_path):
    own = tmp_path / "own.jsonl"
    own.write_text('{"id": "a", "tier": "easy", "request": {}}')
    with pytest.raises(msgspec.ValidationError, match="tier"):
        read_rows([own])


def test_time_is_measured():
    assert 0 < seconds(TUNED[:9], 500, texts=2) < 1


def test_weights_are_found_where_there_is_something_to_find():
    measured = [{"long": i % 3 / 1} for i in range(90)]
    found = tune.fit(measured, [i % 3 for i in range(90)], pull=0.1)
    assert found.weights["long"] > 1
    assert found.moderate < found.complex
    scored = [(tune.logistic(found.total(each)), i % 3) for i, each in enumerate(measured)]
    assert tune.accuracy(scored, tune.logistic(found.moderate), tune.logistic(found.complex)) == 1
    assert tune.danger(scored, 0.0) == 0


def test_the_same_request_is_in_one_fold_only():
    placed = tune.folds(TUNED * 2, 0)
    assert placed[: len(TUNED)] == placed[len(TUNED) :]
    assert set(Counter(placed)) == set(range(tune.FOLDS))


def test_tuning_never_names_the_held_out_part():
    source = Path(tune.__file__).read_text()
    assert "HELD_OUT" not in source
    assert "held_out" not in source
