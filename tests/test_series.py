"""One measured thing: counts are exact, buckets are the standard's, and nothing grows for ever."""

import pytest

from tiergate.series import OTHER, Counter, Histogram


def test_a_counter_counts_each_set_of_labels_by_itself():
    counter = Counter("c", "d", ("a", "b"))
    counter.add(("x", "y"))
    counter.add(("x", "z"), 5)
    counter.add(("x", "y"), 2)
    assert counter.read() == {("x", "y"): 3, ("x", "z"): 5}
    assert repr(counter) == "<Counter c, 2 sets of labels>"


def test_without_labels_it_is_there_at_zero_and_with_labels_it_is_not():
    assert Counter("c", "d").read() == {(): 0}
    assert Counter("c", "d", ("a",)).read() == {}
    assert Histogram("h", "d", bounds=(1, 2)).read()[()].cumulative == (0, 0, 0)
    assert Histogram("h", "d", ("a",), bounds=(1, 2)).read() == {}


@pytest.mark.parametrize(
    ("value", "cumulative"),
    [
        (0, (1, 1, 1)),
        (10, (1, 1, 1)),
        (11, (0, 1, 1)),
        (100, (0, 1, 1)),
        (101, (0, 0, 1)),
        (10**18, (0, 0, 1)),
    ],
)
def test_a_value_is_counted_up_to_the_first_bound_that_it_does_not_pass(value, cumulative):
    histogram = Histogram("h", "d", ("a",), bounds=(10, 100))
    histogram.observe(("x",), value)
    read = histogram.read()[("x",)]
    assert (read.cumulative, read.count, read.sum) == (cumulative, 1, value)
    assert repr(histogram) == "<Histogram h, 1 sets of labels>"


def test_what_is_read_is_in_the_unit_and_sums_stay_exact():
    counter, histogram = Counter("c", "d", scale=100), Histogram("h", "d", bounds=(5,), scale=10)
    for _ in range(1_000):
        counter.add(amount=1)
        histogram.observe((), 1)
    assert counter.read() == {(): 10.0}  # a thousand times 0.01 in floats is 9.999999999999831
    assert (histogram.bounds, histogram.read()[()].sum) == ((0.5,), 100.0)


def test_what_was_read_does_not_move():
    counter, histogram = Counter("c", "d"), Histogram("h", "d", bounds=(5,))
    before = (counter.read(), histogram.read())
    counter.add()
    histogram.observe((), 1)
    assert before == (Counter("c", "d").read(), Histogram("h", "d", bounds=(5,)).read())


def test_beyond_the_most_sets_new_labels_are_counted_together_and_known_ones_go_on():
    counter = Counter("c", "d", ("a", "b"), most=2)
    histogram = Histogram("h", "d", ("a",), bounds=(5,), most=2)
    for number in range(1_000):
        counter.add((str(number), "y"))
        histogram.observe((str(number),), 1)
    counter.add(("0", "y"))
    assert counter.read() == {("0", "y"): 2, ("1", "y"): 1, (OTHER, OTHER): 998}
    assert {labels: read.count for labels, read in histogram.read().items()} == {
        ("0",): 1,
        ("1",): 1,
        (OTHER,): 998,
    }
    assert (counter.overflow, histogram.overflow) == (998, 998)


def test_whoever_else_keeps_a_histogram_hears_every_value_with_bounded_labels():
    heard = []
    histogram = Histogram("h", "d", ("a",), bounds=(5,), scale=10, most=1)
    histogram.also = lambda labels, value: heard.append((labels, value))
    for name in ("x", "y"):
        histogram.observe((name,), 7)
    assert heard == [(("x",), 7), ((OTHER,), 7)]
