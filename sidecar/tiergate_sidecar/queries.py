"""What is asked of the requests of the past, and what is answered: values of the arbstr kind.

Times are Unix time in integer microseconds. Where the requests are kept is not known here.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from tiergate import TIERS, RequestRow
from tiergate_sidecar.errors import QueryInvalid

Sort = Literal["timestamp", "cost", "latency"]
Order = Literal["desc", "asc"]
Group = Literal["model", "tier"]
Named = Literal["model", "provider"]
Source = Literal["request_log", "memory"]

OUTCOMES: Final = (
    "ok",
    "client_error",
    "upstream_error",
    "timeout",
    "client_disconnected",
    "stream_interrupted",
    "overloaded",
)

UNKNOWN: Final = "unknown"
"""The group of what has no tier or no model, for it was refused before it got one."""

_HOUR: Final = 3_600_000_000
_RANGES: Final = {
    "last_1h": _HOUR,
    "last_24h": 24 * _HOUR,
    "last_7d": 7 * 24 * _HOUR,
    "last_30d": 30 * 24 * _HOUR,
}
_MOST_PER_PAGE: Final = 100
FARTHEST: Final = 2**62  # of either side of 1970, in microseconds: what every store can compare
_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}


class Query(Struct, frozen=True, kw_only=True):
    """Which requests, from `since` to `until`, both included; None leaves a question open.

    `model` and `provider` are those of the last attempt, in any case. `success` is an outcome of
    `ok`.
    """

    since: int
    until: int
    model: str | None = None
    provider: str | None = None
    tier: str | None = None
    outcome: str | None = None
    success: bool | None = None
    streaming: bool | None = None
    page: int = 1
    per_page: int = 20
    sort: Sort = "timestamp"
    order: Order = "desc"
    group_by: Group | None = None

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.per_page


class Page(Struct, frozen=True):
    """Some of the requests; past the end there are none. `total` are all that the query is of."""

    data: tuple[RequestRow, ...]
    page: int
    per_page: int
    total: int
    total_pages: int
    since: int
    until: int


class Counts(Struct, frozen=True):
    """How many requests; `error` are all that are no success."""

    total: int = 0
    success: int = 0
    error: int = 0
    streaming: int = 0


class Costs(Struct, frozen=True):
    """Sums of what is known; `without_cost` requests have no known cost."""

    total_cost: float = 0.0
    total_input_tokens: int = 0
    total_cached_tokens: int = 0
    total_output_tokens: int = 0
    without_cost: int = 0


class Performance(Struct, frozen=True):
    """None where there was no request."""

    avg_latency_us: int | None = None


class Totals(Struct, frozen=True):
    counts: Counts = Counts()
    costs: Costs = Costs()
    performance: Performance = Performance()


class Stats(Struct, frozen=True, omit_defaults=True):
    """Totals of all requests, and of each group where the query has `group_by`.

    `empty` and a `message` for people where there was no request.
    """

    since: int
    until: int
    counts: Counts
    costs: Costs
    performance: Performance
    models: dict[str, Totals] | None = None
    tiers: dict[str, Totals] | None = None
    empty: bool = False
    message: str | None = None


def read_query(given: Mapping[str, str], now_us: int) -> Query:
    """The query of a page's parameters; `now_us` is Unix time. Raises `QueryInvalid`.

    `range` (last_1h, last_24h, last_7d, last_30d; the third unless given), over it `since` and
    `until` (RFC 3339 or integer microseconds), and the fields of `Query`. A page below 1 and a
    `per_page` out of 1 to 100 are taken for the nearest.
    """
    until = _time(given, "until", now_us)
    span = _RANGES[_choice(given, "range", _RANGES) or "last_7d"]
    since = _time(given, "since", until - span)
    if since > until:
        raise QueryInvalid("since is later than until.", param="since")
    chosen: dict[str, Any] = {
        "tier": _choice(given, "tier", (*TIERS, UNKNOWN)),
        "outcome": _choice(given, "outcome", OUTCOMES),
        "sort": _choice(given, "sort", get_args(Sort)),
        "order": _choice(given, "order", get_args(Order)),
        "group_by": _choice(given, "group_by", get_args(Group)),
        "success": _TRUTH.get(_choice(given, "success", _TRUTH) or ""),
        "streaming": _TRUTH.get(_choice(given, "streaming", _TRUTH) or ""),
        "model": given.get("model"),
        "provider": given.get("provider"),
        "page": max(1, _number(given, "page", 1)),
        "per_page": min(max(1, _number(given, "per_page", 20)), _MOST_PER_PAGE),
    }
    said = {name: value for name, value in chosen.items() if value not in (None, "")}
    return Query(since=since, until=until, **said)


def page_of(query: Query, data: Iterable[RequestRow], total: int) -> Page:
    """The answer to a query that is of `total` requests, with those of its page."""
    return Page(
        data=tuple(data),
        page=query.page,
        per_page=query.per_page,
        total=total,
        total_pages=-(-total // query.per_page),
        since=query.since,
        until=query.until,
    )


def stats_of(query: Query, everything: Totals, groups: Mapping[str, Totals]) -> Stats:
    """The answer to a query of sums; the tiers are always all there."""
    known: dict[str, Totals] = {tier: Totals() for tier in TIERS}
    return Stats(
        since=query.since,
        until=query.until,
        counts=everything.counts,
        costs=everything.costs,
        performance=everything.performance,
        models=dict(groups) if query.group_by == "model" else None,
        tiers={**known, **groups} if query.group_by == "tier" else None,
        empty=not everything.counts.total,
        message=None if everything.counts.total else "No requests match in this time.",
    )


def with_models(stats: Stats, names: Iterable[str]) -> Stats:
    """The same with these models in its groups by model, if there are any: without a request 0."""
    if stats.models is None:
        return stats
    return replace(stats, models={**dict.fromkeys(names, Totals()), **stats.models})


def _choice(given: Mapping[str, str], name: str, allowed: Iterable[str]) -> str | None:
    said = given.get(name, "").lower()
    if said and said not in allowed:
        raise QueryInvalid(f"{name} must be one of {', '.join(allowed)}.", param=name)
    return said or None


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(given.get(name) or default)
    except ValueError:
        raise QueryInvalid(f"{name} must be a whole number.", param=name) from None


def _time(given: Mapping[str, str], name: str, default: int) -> int:
    said = given.get(name)
    if not said:
        return default
    try:
        return max(-FARTHEST, min(int(said), FARTHEST))
    except ValueError:
        pass
    try:  # a + that was not encoded arrives as a space
        moment = datetime.fromisoformat(said.replace(" ", "+"))
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        text = f"{name} must be a time of RFC 3339, or Unix time in microseconds."
        raise QueryInvalid(text, param=name) from None
