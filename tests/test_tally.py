"""The sums of a trial: each request is counted once on either side, and no map grows without end.

What is summed up for whole logs is in `test_what_if`.
"""

import pytest
from records import AT, record

from tiergate.candidates import Candidate
from tiergate.log_row import row_of
from tiergate.tally import MOST_LOADS, Draw, Tally
from tiergate.what_if_result import CostRange, TierMove

P1, P2 = Candidate("p1", "a", 1, 1.0, 2.0), Candidate("p2", "b", 1, 3.0, 6.0)


def row(**fields):
    return row_of(record(**({"tier": "simple", "model": "a", "cost": 2e-5} | fields)))


def test_nothing_is_a_result_too():
    result = Tally().result(0.0, ())
    assert (result.since, result.until, result.requests) == (None, None, 0)
    assert result.cost == CostRange(0, 0, 0, 0)
    assert set(result.tiers_before.values()) == set(result.tiers_after.values()) == {0}
    assert (result.moves, result.loads) == ((), ())


def test_every_request_is_on_both_sides():
    tally = Tally()
    for number, each in enumerate((row(), row(), row(cost=None, input_tokens=None), row())):
        tally.seen(row(at=AT - number), "simple")
        if number == 3:
            tally.refused("simple", "model_not_found")
        elif number == 1:
            assert tally.drawn(each, "simple", "complex", ((P1, 0.25), (P2, 0.75))) is not None
        else:
            tally.kept(each, "simple", P1)
    tally.seen(row(error_code="x"), None)
    tally.refused(None, "x")
    result = tally.result(1e-10, ["a remark"])
    assert (result.since, result.until, result.requests) == (AT - 3, AT, 5)
    assert (result.kept, result.drawn) == (2, 1)
    assert (result.refused_before, result.refused) == ({"x": 1}, {"model_not_found": 1, "x": 1})
    assert result.moves == (
        TierMove("simple", "simple", 2),
        TierMove("simple", "complex", 1),
        TierMove("simple", None, 1),
        TierMove(None, None, 1),
    )
    assert result.tiers_before == {"simple": 4, "moderate": 0, "complex": 0, "refused": 1}
    assert result.tiers_after == {"simple": 2, "moderate": 0, "complex": 1, "refused": 2}
    expected = 2e-5 + 0.25 * 2e-5 + 0.75 * 6e-5
    assert result.cost.after == pytest.approx(expected)
    assert result.cost.high == pytest.approx(expected + 2e-5)
    assert result.unknown.without_tokens == 1
    assert "a remark" in result.notes
    loads = {load.model: load for load in result.loads}
    assert (loads["a"].requests_before, loads["a"].requests_after) == (5, 2.25)
    assert (loads["b"].requests_before, loads["b"].requests_after) == (0, 0.75)


def test_the_range_of_a_cost_does_not_go_below_nothing():
    tally = Tally()
    tally.seen(row(), "simple")
    tally.kept(row(), "simple", P1)
    assert tally.result(1.0, ()).cost.low == 0


def test_who_asked_nobody_is_no_load():
    tally = Tally()
    tally.seen(row(provider=None, model=None), "simple")
    tally.kept(row(), "simple", None)
    result = tally.result(0.0, ())
    assert (result.loads, result.unknown.without_tokens, result.kept) == ((), 0, 1)


def test_of_more_models_than_are_told_apart_the_rest_is_one():
    tally = Tally()
    for number in range(MOST_LOADS + 20):
        tally.seen(row(model=f"m{number}"), "simple")
    loads = tally.result(0.0, ()).loads
    assert len(loads) == MOST_LOADS + 1
    (others,) = [load for load in loads if load.provider == "others"]
    assert others.requests_before == 20


def test_a_draw_varies_by_its_chances():
    sure = Draw("x", ((P1, 1.0),), [5.0])
    even = Draw("x", ((P1, 0.5), (P2, 0.5)), [1.0, 2.0])
    even.add([0.0, 1.0])
    assert (sure.variance, even.variance) == (0.0, 1.0)
