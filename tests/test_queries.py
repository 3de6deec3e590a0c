"""What a page's parameters ask for, and which of them are refused by name."""

import pytest
from records import record

from tiergate import row_of
from tiergate_sidecar.errors import QueryInvalid
from tiergate_sidecar.queries import Counts, Query, Totals, page_of, read_query, stats_of

NOW = 1_700_000_000_000_000
HOUR = 3_600_000_000


def test_without_a_word_it_is_the_last_week_newest_first():
    asked = read_query({}, NOW)
    assert asked == Query(since=NOW - 7 * 24 * HOUR, until=NOW)
    assert (asked.page, asked.per_page, asked.sort, asked.order) == (1, 20, "timestamp", "desc")


@pytest.mark.parametrize(
    ("given", "since", "until"),
    [
        ({"range": "last_1h"}, NOW - HOUR, NOW),
        ({"range": "LAST_24H"}, NOW - 24 * HOUR, NOW),
        ({"range": "last_30d"}, NOW - 30 * 24 * HOUR, NOW),
        ({"range": "last_1h", "until": str(NOW - HOUR)}, NOW - 2 * HOUR, NOW - HOUR),
        ({"range": "last_1h", "since": "5"}, 5, NOW),
        ({"since": "1970-01-01T00:00:01Z"}, 1_000_000, NOW),
        ({"since": "1970-01-01T01:00:01.000001 01:00"}, 1_000_001, NOW),
        ({"since": "1970-01-01T00:00:01"}, 1_000_000, NOW),
        ({"since": "-" + "9" * 40, "until": "9" * 40}, -(2**62), 2**62),
    ],
)
def test_a_time_is_a_range_or_its_two_ends(given, since, until):
    asked = read_query(given, NOW)
    assert (asked.since, asked.until) == (since, until)


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"model": "GPT-5", "provider": "OpenAI"}, {"model": "GPT-5", "provider": "OpenAI"}),
        ({"tier": "simple", "outcome": "ok"}, {"tier": "simple", "outcome": "ok"}),
        ({"tier": "unknown", "group_by": "tier"}, {"tier": "unknown", "group_by": "tier"}),
        ({"success": "true", "streaming": "FALSE"}, {"success": True, "streaming": False}),
        ({"success": "0", "streaming": "1"}, {"success": False, "streaming": True}),
        ({"sort": "cost", "order": "asc"}, {"sort": "cost", "order": "asc"}),
        ({"page": "3", "per_page": "7"}, {"page": 3, "per_page": 7, "offset": 14}),
        ({"page": "0", "per_page": "0"}, {"page": 1, "per_page": 1}),
        ({"page": "-4", "per_page": "101"}, {"page": 1, "per_page": 100}),
        ({"page": "9" * 30}, {"page": 10**30 - 1}),
        ({"model": "", "tier": "", "success": "", "page": ""}, {"model": None, "success": None}),
    ],
)
def test_filters_paging_and_order_are_taken(given, fields):
    asked = read_query(given, NOW)
    assert {name: getattr(asked, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"range": "last_year"}, "range"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-13-01T00:00:00Z"}, "until"),
        ({"since": str(NOW + 1)}, "since"),
        ({"tier": "huge"}, "tier"),
        ({"outcome": "fine"}, "outcome"),
        ({"success": "maybe"}, "success"),
        ({"streaming": "2"}, "streaming"),
        ({"page": "one"}, "page"),
        ({"per_page": "1.5"}, "per_page"),
        ({"page": "9" * 5000}, "page"),
        ({"sort": "latency_ms"}, "sort"),
        ({"order": "up"}, "order"),
        ({"group_by": "provider"}, "group_by"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(given, param):
    with pytest.raises(QueryInvalid, match=param) as refused:
        read_query(given, NOW)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (20, 1), (21, 2)])
def test_a_page_tells_how_many_there_are(total, pages):
    page = page_of(Query(since=1, until=2), [row_of(record())], total)
    assert (page.total, page.total_pages, page.since, page.until) == (total, pages, 1, 2)
    assert [row.id for row in page.data] == ["r1"]


@pytest.mark.parametrize(
    ("group_by", "models", "tiers"),
    [
        (None, None, None),
        ("model", {"m"}, None),
        ("tier", None, {"simple", "moderate", "complex", "m"}),
    ],
)
def test_sums_have_the_groups_that_were_asked_for(group_by, models, tiers):
    one = Totals(counts=Counts(total=1))
    stats = stats_of(Query(since=1, until=2, group_by=group_by), one, {"m": one})
    assert stats.models == (models and dict.fromkeys(models, one))
    assert stats.tiers == (tiers and {**dict.fromkeys(tiers, Totals()), "m": one})
    assert stats.counts.total == 1
