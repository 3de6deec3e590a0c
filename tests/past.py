"""Requests of the past, and what is to be found among them: the same of every kind of history."""

from collections.abc import Iterator
from typing import Any

from records import AT, record

from tiergate import Record, RequestRow
from tiergate_sidecar.queries import Costs, Counts, Performance, Query, Totals

HOUR = 3_600_000_000
ALL = {"since": AT - 24 * HOUR, "until": AT + HOUR}

PAST: list[Record] = [  # the oldest first
    record("a", at=AT, model="GPT-5", provider="OpenAI", tier="simple", cost=3e-8),
    record("b", at=AT + 1, streaming=True, cost=None, latency_us=9, client_id="mine"),
    record("c", at=AT + 2, outcome="timeout", status=504, cost=1e-8, latency_us=5),
    record("d", at=AT + 3, outcome="client_error", tier=None, model=None, provider=None),
    record("e", at=AT + 4, cost=2e-8, latency_us=7, client_id="mine", cached_tokens=4),
    record("f", at=AT + 5, tier="complex", cost=None, input_tokens=None, client_id="a"),
]

FOUND: list[tuple[dict[str, Any], str]] = [
    ({}, "fedcba"),
    ({"order": "asc"}, "abcdef"),
    ({"since": AT + 2, "until": AT + 4}, "edc"),
    ({"since": AT + 6}, ""),
    ({"model": "gpt-5"}, "a"),
    ({"provider": "OPENAI"}, "a"),
    ({"model": "gpt-5", "provider": "p1"}, ""),
    ({"model": "%"}, ""),
    ({"tier": "moderate"}, "ecb"),
    ({"tier": "unknown"}, "d"),
    ({"outcome": "timeout"}, "c"),
    ({"success": True}, "feba"),
    ({"success": False}, "dc"),
    ({"streaming": True}, "b"),
    ({"streaming": False}, "fedca"),
    ({"sort": "cost"}, "daecfb"),
    ({"sort": "cost", "order": "asc"}, "ceadfb"),
    ({"sort": "latency", "order": "asc"}, "cebfda"),
    ({"sort": "latency", "order": "desc"}, "fdabec"),
    ({"per_page": 4}, "fedc"),
    ({"per_page": 4, "page": 2}, "ba"),
    ({"per_page": 4, "page": 3}, ""),
    ({"per_page": 100, "page": 10**30}, ""),
]
"""What a query finds among them, in that order: of equals the newer comes first."""

BY_NAME: list[tuple[str, str | None]] = [
    ("b", "b"), ("mine", "e"), ("a", "a"), ("nobody", None), ("", None),
]  # fmt: skip
"""Our id goes before a client's, a later request with a client's id before an earlier one."""

NEWEST: list[tuple[dict[str, Any], int, str, bool]] = [
    ({}, 3, "def", True),
    ({}, 6, "abcdef", False),
    ({"success": False}, 1, "d", True),
    ({"since": AT + 6}, 3, "", False),
]
"""The newest so many of a query, the oldest of them first, and whether there are older ones."""


def told(older_left_out: bool, rows: Iterator[RequestRow]) -> tuple[bool, str]:
    return older_left_out, "".join(row.id for row in rows)


async def check(history: Any) -> None:
    """Assert that a history over `PAST` finds all of that, and sums it up."""
    for asked, ids in FOUND:
        query = Query(**(ALL | asked))
        page = await history.requests(query)
        assert "".join(row.id for row in page.data) == ids, asked
        if "page" not in asked and "per_page" not in asked:
            assert page.total == len(ids)
    for name, id in BY_NAME:
        row = await history.request(name)
        assert (row and row.id) == id, name
    for asked, most, ids, is_cut in NEWEST:
        work, _ = history.over(Query(**(ALL | asked)), most, told)
        assert work() == (is_cut, ids)
    stats = await history.stats(Query(**ALL))
    assert stats.counts == Counts(total=6, success=4, error=2, streaming=1)
    latencies = [each.latency_us for each in PAST]
    assert stats.performance == Performance(round(sum(latencies) / 6))
    assert stats.costs.total_cost == sum([3e-8, 1e-8, 1.25e-5, 2e-8])
    assert stats.costs.total_input_tokens == 50
    assert (stats.costs.total_cached_tokens, stats.costs.without_cost) == (4, 2)
    names = [("model", "gpt-5"), ("model", "OpenAI"), ("provider", "openai"), ("provider", "%")]
    assert [await history.knows(*each) for each in names] == [True, False, True, False]
    nothing = await history.stats(Query(since=1, until=2, group_by="model"))
    assert (nothing.counts, nothing.costs, nothing.models) == (Counts(), Costs(), {})
    assert nothing.performance == Performance(None)
    by_tier = (await history.stats(Query(**ALL, group_by="tier"))).tiers
    totals = {name: each.counts.total for name, each in by_tier.items()}
    assert totals == {"simple": 1, "moderate": 3, "complex": 1, "unknown": 1}
    by_tier = (await history.stats(Query(**ALL, tier="simple", group_by="tier"))).tiers
    assert by_tier["complex"] == Totals()
    by_model = (await history.stats(Query(**ALL, group_by="model", success=True))).models
    assert {name: each.counts.total for name, each in by_model.items()} == {"GPT-5": 1, "m1": 3}
