"""The conversations of a log: where each stood, where it would stand, and what tier that makes.

Sessions as CONTRACT section 5 has them, under a tier that may be another. Whom a request is led to
is `what_if`'s.
"""

from collections import OrderedDict
from collections.abc import Container
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tiergate.exchange import Decision
from tiergate.log_row import RequestRow
from tiergate.row_reading import bound_tier, has_bound, reason_of, tier_before
from tiergate.tally import Draw
from tiergate.tiers import RANK, TIERS, Tier

MOST_COURSES: Final = 100_000
"""Kept at a time, about 0.5 kB each: as many as a process holds sessions (`max_in_process`)."""


class Course(Struct):
    """Of one conversation: its tier in the log, the one that it would have, when it was used last
    (as `at`), and the draw that it would be held to."""

    logged: Tier | None = None
    tier: Tier | None = None
    used: int = 0
    draw: Draw | None = None

    @property
    def is_in_step(self) -> bool:
        """Whether nothing has moved it."""
        return self.logged == self.tier

    def go_on(self, row: RequestRow, decision: Decision | None, *, stays: bool) -> None:
        """Stand where a request leaves it that would be decided so; None of one that is refused,
        or chose its model. `stays`: with the chances that it had."""
        in_step = self.is_in_step
        if in_step and decision is not None and decision.reason == "session":  # of before the log
            self.logged = self.tier = higher(self.tier, decision.tier)
        if in_step and stays and decision is not None:
            if has_bound(row) and decision.tier == row.tier:  # else it had escalated
                self.logged = self.tier = higher(self.tier, decision.tier)
            return
        self.logged = higher(self.logged, bound_tier(row))
        if decision is not None and (has_bound(row) or tier_before(row) is None):
            self.tier = higher(self.tier, decision.tier)


class Courses:
    """Those of many conversations; `ttl` is of a session, in microseconds."""

    def __init__(self, ttl: int, *, most: int = MOST_COURSES) -> None:
        self.variance = 0.0
        """Of the draws that are over, in dollars squared."""
        self.forgotten = 0
        self._ttl = ttl
        self._most = most
        self._held: OrderedDict[tuple[str, str], Course] = OrderedDict()

    def of(self, row: RequestRow) -> Course | None:
        """That which the request uses; None for one that names none, or is routed by its model."""
        if row.conversation is None or reason_of(row) == "model":
            return None
        key = (row.owner, row.conversation)
        found = self._held.get(key)
        if found is None:
            found = self._held[key] = Course()
            if len(self._held) > self._most:
                _, oldest = self._held.popitem(last=False)
                self._settle(oldest)
                self.forgotten += oldest.used + self._ttl >= row.at
        elif found.used + self._ttl < row.at:
            self._settle(found)
            found.tier = None
            if row.reason != "session":
                found.logged = None
        self._held.move_to_end(key)
        found.used = row.at + (row.latency_us if has_bound(row) else 0)
        return found

    def vary(self, course: Course | None, draw: Draw) -> None:
        """Count a draw: a conversation's holds for all of it, until its chances change."""
        if course is None:
            self.variance += draw.variance
        elif course.draw is not None and course.draw.digest == draw.digest:
            course.draw.add(draw.costs)
        else:
            self._settle(course)
            course.draw = draw

    def all_variance(self) -> float:
        """With that of the draws that still hold."""
        draws = (each.draw for each in self._held.values())
        return self.variance + sum(draw.variance for draw in draws if draw is not None)

    def _settle(self, course: Course) -> None:
        if course.draw is not None:
            self.variance += course.draw.variance
            course.draw = None


def decisions(
    row: RequestRow,
    own: Decision,
    course: Course | None,
    served: Container[Tier],
    *,
    is_same: bool,
) -> list[Decision]:
    """What its conversation makes of its own decision; the likeliest first where several may be.

    `is_same` says that it asks for the tier that it asked for: then, in a conversation that nothing
    has moved, it gets what it got by the log, for not every request finds its session. Several may
    be where a request of a session escalated. `served` are the tiers that have somebody.
    """
    if course is None or own.model is not None:
        return [own]
    if course.is_in_step and row.reason == "session" and row.tier is not None:
        if is_same:
            between = TIERS[RANK[own.tier] + 1 : RANK[row.tier] + 1]
            tiers = [tier for tier in reversed(between) if tier in served]
            return [replace(own, tier=tier, reason="session") for tier in tiers] or [own]
        course.logged = course.tier = higher(course.logged, row.tier)  # it began before the log
    elif course.is_in_step and is_same:
        return [own]
    session, highest = course.tier, row.caller_max_tier
    if session is None or session not in served or RANK[session] <= RANK[own.tier]:
        return [own]
    if highest is not None and RANK[session] > RANK[highest]:
        return [own]
    return [replace(own, tier=session)]


def higher(one: Tier | None, other: Tier | None) -> Tier | None:
    """The higher of two tiers; None is lower than any."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=RANK.__getitem__)
