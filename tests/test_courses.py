"""Conversations under a trial: a tier only rises, a draw holds, and memory has a bound.

What that makes of whole logs is in `test_what_if`.
"""

from itertools import product

import pytest
from records import AT, record

from tiergate.candidates import Candidate
from tiergate.courses import Course, Courses, decisions, higher
from tiergate.exchange import Decision
from tiergate.log_row import row_of
from tiergate.tally import Draw
from tiergate.tiers import RANK, TIERS

LED = {"requested_tier": "simple", "tier": "simple", "reason": "explicit", "conversation": "c"}
SIMPLE = Decision("simple", "explicit")
TWO = ((Candidate("p1", "a", 1), 0.5), (Candidate("p2", "b", 1), 0.5))


def row(**fields):
    return row_of(record(**(LED | fields)))


def draw(cost, digest="x"):
    return Draw(digest, TWO, [0.0, cost])


@pytest.mark.parametrize(("one", "other"), [*product((None, *TIERS), repeat=2)])
def test_the_higher_of_two_tiers(one, other):
    rank = {None: -1} | RANK
    assert rank[higher(one, other)] == max(rank[one], rank[other])


@pytest.mark.parametrize(
    "fields", [{"conversation": None}, {"requested_reason": "model", "reason": "model"}]
)
def test_who_names_no_conversation_or_a_model_is_in_none(fields):
    assert Courses(1).of(row(**fields)) is None


def test_conversations_of_two_owners_are_two():
    courses = Courses(10**9)
    ours, theirs = courses.of(row()), courses.of(row(owner="1" * 16))
    assert ours is not theirs
    assert ours is courses.of(row())


def test_the_least_recently_used_goes_first_and_is_counted_while_its_session_lives():
    courses = Courses(10_000_000, most=2)
    first = courses.of(row(conversation="a", latency_us=0))
    courses.vary(first, draw(2.0))
    for second, name in enumerate("bac"):
        courses.of(row(conversation=name, at=AT + second * 1_000_000, latency_us=0))
    assert courses.of(row(conversation="a", at=AT)) is first
    assert courses.forgotten == 1
    for name in "de":
        courses.of(row(conversation=name, at=AT + 99_000_000))
    assert courses.forgotten == 1  # the others were over by then
    assert courses.variance == courses.all_variance() == 1.0


def test_costs_of_one_draw_vary_together_and_those_of_several_apart():
    courses = Courses(10**9)
    course = courses.of(row())
    for cost, digest in ((2.0, "x"), (4.0, "x"), (2.0, "y"), (2.0, "x")):
        courses.vary(course, draw(cost, digest))
    assert courses.all_variance() == (6 / 2) ** 2 + 1 + 1
    courses.vary(None, draw(2.0))
    assert courses.all_variance() == 9 + 1 + 1 + 1


def test_a_conversation_that_was_not_used_begins_anew():
    courses = Courses(1_000_000)
    course = courses.of(row(latency_us=500_000))
    course.logged = course.tier = "complex"
    courses.vary(course, draw(2.0))
    assert courses.of(row(at=AT + 1_500_000, latency_us=0)).tier == "complex"
    late = courses.of(row(at=AT + 2_500_001, reason="session", tier="complex"))
    assert (late.tier, late.logged) == (None, "complex")  # sessions of the log live longer
    late.tier = "complex"
    assert courses.of(row(at=AT + 9_000_000)).logged is None
    assert courses.variance == 1.0


@pytest.mark.parametrize(
    ("course", "fields", "is_same", "tiers"),
    [
        (None, {}, True, ["simple"]),
        (Course(), {}, True, ["simple"]),
        (Course("moderate", "moderate"), {}, True, ["simple"]),  # its session was not found
        (Course("moderate", "moderate"), {}, False, ["moderate"]),
        (Course("moderate", "complex"), {}, True, ["complex"]),
        (Course(None, "complex"), {"caller_max_tier": "moderate"}, True, ["simple"]),
        (Course("moderate", None), {}, True, ["simple"]),
        (Course(), {"tier": "complex", "reason": "session"}, True, ["complex", "moderate"]),
        (Course(), {"tier": "complex", "reason": "session"}, False, ["complex"]),
    ],
)
def test_what_a_conversation_makes_of_a_tier(course, fields, is_same, tiers):
    found = decisions(row(**fields), SIMPLE, course, TIERS, is_same=is_same)
    assert [each.tier for each in found] == tiers


def test_a_tier_of_nobody_holds_no_conversation():
    for course in (Course(None, "complex"), Course()):
        held = row(tier="complex", reason="session")
        for is_same in (True, False):
            found = decisions(held, SIMPLE, course, {"simple"}, is_same=is_same)
            assert [each.tier for each in found] == ["simple"]


def test_who_is_led_by_a_model_is_held_to_nothing():
    named = Decision("simple", "model", "m")
    assert decisions(row(), named, Course(None, "complex"), TIERS, is_same=False) == [named]


@pytest.mark.parametrize(
    ("fields", "decision", "stays", "after"),
    [
        ({}, SIMPLE, True, ("simple", "simple")),
        ({"outcome": "timeout"}, SIMPLE, True, (None, None)),
        ({"tier": "complex"}, SIMPLE, True, (None, None)),  # it escalated
        ({}, Decision("complex", "alias"), False, ("simple", "complex")),
        ({"outcome": "timeout", "reach": "0"}, Decision("complex", "alias"), False, (None, None)),
        ({"reach": None, "tier": None}, Decision("complex", "alias"), False, (None, "complex")),
        ({}, None, False, ("simple", None)),
        (
            {"tier": "moderate", "reason": "session", "outcome": "timeout"},
            Decision("moderate", "session"),
            True,
            ("moderate", "moderate"),
        ),
    ],
)
def test_where_a_request_leaves_its_conversation(fields, decision, stays, after):
    course = Course()
    course.go_on(row(**({"reach": "0"} | fields)), decision, stays=stays)
    assert (course.logged, course.tier) == after
