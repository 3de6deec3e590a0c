"""Counters and histograms as plain integers: one value, or one list, for each set of labels.

Names, units and label names are OpenTelemetry's; whoever publishes them derives its own. What is
measured, and when, is in `metrics`. Read from any thread: each read copies in one step.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import Final, Generic, TypeVar

from msgspec import Struct

Labels = tuple[str, ...]
T = TypeVar("T")

MOST_SETS: Final = 1_000
"""Sets of labels of one series. Labels come from configurations, and a process may see many of
those in its life: 1,000 hold 300 models with three outcomes each, and a scrape stays under 3 MB
for each histogram."""

OTHER: Final = "other"
"""Every label of the set that counts what came after the last set that was let in."""


class Spread(Struct, frozen=True):
    """One set of labels: how many values were at most each bound, at last how many in all."""

    cumulative: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        return self.cumulative[-1]


class Series(ABC, Generic[T]):
    """What a counter and a histogram have in common. `overflow` counts what went to `OTHER`.

    Values are integers in `1/scale` of the unit: sums of microseconds stay exact. Without labels a
    series is there from the start, at 0.
    """

    def __init__(
        self,
        name: str,
        description: str,
        labels: Labels = (),
        *,
        unit: str = "",
        scale: int = 1,
        most: int = MOST_SETS,
    ) -> None:
        self.name = name
        self.description = description
        self.labels = labels
        self.unit = unit
        self.scale = scale
        self.overflow = 0
        self._most = most
        self._sets: dict[Labels, T] = {} if labels else {(): self._new()}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {len(self._sets)} sets of labels>"

    @abstractmethod
    def _new(self) -> T:
        """The value of labels that were never seen."""

    def _admit(self, labels: Labels) -> Labels:
        """Where to count what has no value yet: under its own labels as long as there is room."""
        if len(self._sets) >= self._most:
            self.overflow += 1
            labels = (OTHER,) * len(labels)
        self._sets.setdefault(labels, self._new())
        return labels


class Counter(Series[int]):
    """Only grows."""

    def add(self, labels: Labels = (), amount: int = 1) -> None:
        try:
            self._sets[labels] += amount
        except KeyError:
            self._sets[self._admit(labels)] += amount

    def read(self) -> dict[Labels, float]:
        """What was counted so far, in the unit."""
        return {labels: value / self.scale for labels, value in self._sets.copy().items()}

    def _new(self) -> int:
        return 0


class Histogram(Series[list[int]]):
    """How values spread: up to each of `bounds` (in `1/scale` of the unit, ascending), and beyond.

    The attribute `bounds` is in the unit. `also`, where it is set, is told of every value.
    """

    def __init__(
        self,
        name: str,
        description: str,
        labels: Labels = (),
        *,
        bounds: tuple[int, ...],
        unit: str = "",
        scale: int = 1,
        most: int = MOST_SETS,
    ) -> None:
        self.bounds = tuple(bound / scale for bound in bounds)
        self.also: Callable[[Labels, int], None] | None = None
        self._bounds = bounds
        super().__init__(name, description, labels, unit=unit, scale=scale, most=most)

    def observe(self, labels: Labels, value: int) -> None:
        try:
            cells = self._sets[labels]
        except KeyError:
            labels = self._admit(labels)
            cells = self._sets[labels]
        cells[bisect_left(self._bounds, value)] += 1
        cells[-1] += value
        if self.also is not None:
            self.also(labels, value)

    def read(self) -> dict[Labels, Spread]:
        """What was seen so far, in the unit."""
        read = {}
        for labels, cells in self._sets.copy().items():
            *counts, total = cells.copy()
            read[labels] = Spread(tuple(accumulate(counts)), total / self.scale)
        return read

    def _new(self) -> list[int]:
        return [0] * (len(self._bounds) + 2)  # one beyond the last bound, and the sum
