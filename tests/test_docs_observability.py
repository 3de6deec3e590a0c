"""The documents say what can be seen: every metric, attribute, column, page and parameter."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from msgspec import Struct
from msgspec.structs import replace
from pages import ROOT, first_cells, named, page, rows
from prometheus_client import ProcessCollector
from starlette.routing import Route

from tiergate import (
    Explanation,
    Gateway,
    Prospect,
    Share,
    content,
    log_writer,
    requestlog,
    series,
    spans,
    telemetry,
)
from tiergate.exchange import AttemptTrace, RequestTrace
from tiergate.log_row import COLUMNS
from tiergate.log_schema import log_table
from tiergate.record import AttemptRecord, Outcome, Record
from tiergate.redis_link import StoreState
from tiergate.requestlog import RequestLogState
from tiergate_sidecar import guard, live, login, otel, recent, sql_history
from tiergate_sidecar.api import api_routes
from tiergate_sidecar.life import Life
from tiergate_sidecar.probes import probe_routes
from tiergate_sidecar.prometheus import GatewayCollector
from tiergate_sidecar.queries import OUTCOMES, Query, Stats, read_query

SEEN, API, SETTINGS = page("observability.md"), page("api.md"), page("configuration.md")
MAP = page("life-of-a-request.md")
SUFFIXES = {"counter": "_total", "info": "_info"}


def gateway() -> Gateway:
    provider = {"base_url": "http://p1/v1"}
    tiers = {"simple": [{"provider": "p1", "model": "m"}]}
    return Gateway({"providers": {"p1": provider}, "tiers": tiers}, environ={})


def published() -> dict[str, set[str]]:
    """Every metric that `/metrics` may have, with its labels."""
    served = gateway()
    status = replace(
        served.status(),
        configuration=replace(served.status().configuration, version="1", age_seconds=1),
        stores=(StoreState("redis://h", True),),
        request_log=RequestLogState("sqlite://", True, 0, 0, 0, None),
    )
    found = {}
    for each in GatewayCollector(served, ProcessCollector(registry=None), status=status).collect():
        labels = {label for sample in each.samples for label in sample.labels} - {"le"}
        labels |= set(getattr(each, "_labelnames", ()))
        found[each.name + SUFFIXES.get(each.type, "")] = labels
    return found


def test_every_metric_is_documented_with_its_labels_and_no_other():
    said = {
        name: set(named(cells[1])) for cells in rows(SEEN, "metric") for name in named(cells[0])
    }
    assert said == published()


def test_every_attribute_and_event_of_a_span_is_documented_and_no_other():
    pattern = r"\"((?:sentinel|gen_ai|http|url|server|error)\.[a-z_.]+)\""
    set_by_us = {
        name
        for module in (spans, telemetry)
        for name in re.findall(pattern, Path(module.__file__).read_text())
    }
    assert set(first_cells(SEEN, "attribute")) == set_by_us


def test_every_column_is_documented_in_its_order_and_no_other():
    assert tuple(first_cells(SEEN, "column")) == COLUMNS
    assert tuple(column.name for column in log_table.columns) == COLUMNS
    (attempts,) = [cells[1] for cells in rows(SEEN, "column") if cells[0] == "`attempts`"]
    assert set(named(attempts)) == set(AttemptRecord.__struct_fields__)
    for index in log_table.indexes:
        assert f"`{', '.join(column.name for column in index.columns)}`" in SEEN


def test_what_memory_knows_beyond_the_log_is_documented():
    only = {*Record.__struct_fields__} ^ {*COLUMNS}
    assert only == {"pool"}
    told = API.partition("From there the answer also has")[2].partition("```")[0]
    assert {*only, *Share.__struct_fields__} == set(named(told))


def test_every_outcome_is_documented_and_no_other():
    assert tuple(first_cells(SEEN, "outcome")) == get_args(Outcome) == OUTCOMES


def pages() -> Iterator[str]:
    """Every page of the operators' listener with a method that it takes."""
    none: Any = None
    routes: list[Route] = [
        *probe_routes(none, Life(), tuple),
        *api_routes(none, none, none, list, none),
    ]
    for route in routes:
        for method in (route.methods or set()) - {"HEAD"}:
            yield f"{method} {route.path.replace(':path', '')}"
    source = (ROOT / "sidecar" / "tiergate_sidecar" / "admin.py").read_text()
    for path in re.findall(r" Route\(\"([^\"]+)\"", source):
        yield f"GET {path}"
    yield f"POST {guard.LOGIN}"


def test_every_page_of_the_operators_is_documented_and_no_other():
    assert sorted(first_cells(API, "request")) == sorted(pages())
    assert sorted(first_cells(SEEN, "endpoint")) == sorted(pages())


def test_every_parameter_of_a_query_is_documented_with_its_default():
    said = {name: cells[2] for cells in rows(API, "parameter") for name in named(cells[0])}
    assert set(said) == {*Query.__struct_fields__, "range"}
    query = read_query({}, now_us=0)
    assert (said["sort"], said["order"]) == (f"`{query.sort}`", f"`{query.order}`")
    assert said["page"] == f"`{query.page}`, `{query.per_page}`"
    assert query == read_query({"range": said["range"].strip("`")}, now_us=0)


@pytest.mark.parametrize("kind", [Stats, Explanation, Prospect], ids=lambda kind: kind.__name__)
def test_the_examples_of_answers_have_the_members_of_the_code(kind: type[Struct]):
    wanted = {*kind.__struct_fields__} - {"models"}
    assert wanted <= set(re.findall(r"\"(\w+)\":", API))


def test_the_events_of_a_live_page_are_documented():
    source = Path(live.__file__).read_text()
    assert set(first_cells(API, "event")) == set(re.findall(r"_event\(\"(\w+)\"", source))


def test_the_limits_are_those_of_the_code():
    for text, told in (
        (f"{recent.MOST_FOLLOWERS} live pages", API),
        (f"{recent.MOST_FOLLOWERS} may be open", API),
        (f"ends after {live.STREAM_SECONDS:.0f} s", API),
        (f"every {live.HEARTBEAT_SECONDS:.0f} s", API),
        (f"not within {sql_history.READ_SECONDS:.0f} s", API),
        (f"for {login.LIFETIME // 3600} hours", API),
        (f"for at most {otel.FLUSH_SECONDS:.0f} s", SEEN),
        (f"for at most {requestlog.CLOSE_SECONDS:.0f} s", SEEN),
        (f"up to {log_writer.BATCH} rows", SEEN),
        (f"about {log_writer.GATHER_SECONDS} s", SEEN),
        ("after {} s, later every {:.0f} s".format(*log_writer.PAUSES), SEEN),
        (f"{log_writer.PRUNE_STEP} at a time", SEEN),
        (f"{series.MOST_SETS:,} sets", SEEN),
        (f"{content.MAX_TEXT:,} characters", SEEN),
        (f"{content.MAX_TEXTS:,} in all", SEEN),
    ):
        assert text in told, text


def test_every_variable_of_opentelemetry_that_is_read_is_documented_and_no_other():
    read = set()
    for name in re.findall(r"\"(OTEL_[A-Z_{}a-z]+)\"", Path(otel.__file__).read_text()):
        read |= {name.replace("{signal}", signal) for signal in ("TRACES", "METRICS")}
    assert set(first_cells(SETTINGS, "variable")) == read


def test_the_alerts_that_wake_somebody_are_the_critical_ones():
    file = ROOT / "k8s" / "monitoring" / "alerts.yaml"
    groups = yaml.safe_load(file.read_text())["spec"]["groups"]
    critical = {
        rule["alert"]
        for group in groups
        for rule in group["rules"]
        if rule["labels"]["severity"] == "critical"
    }
    assert set(first_cells(SEEN, "alert")) == critical


def test_the_hooks_of_a_trace_are_on_the_map():
    told = MAP.partition("- **Traces.**")[2].partition("\n- ")[0]
    hooks = {name for kind in (RequestTrace, AttemptTrace) for name in vars(kind)}
    assert {name for name in hooks if not name.startswith("_")} - {"id"} <= set(named(told))


def test_every_room_of_what_is_told_is_on_the_map():
    library = {"record", "reporting", "metrics", "series", "telemetry", "spans", "content"}
    library |= {"meters", "harmless", "requestlog", "explanation"}
    library |= {path.stem for path in (ROOT / "middleware" / "tiergate").glob("log_*.py")}
    assert {name for name in library if f"`{name}.py`" not in MAP} == set()
    plain = {"errors", "settings", "logs", "life", "samples"}  # what every house has
    files = (ROOT / "sidecar" / "tiergate_sidecar").glob("[!_]*.py")
    sidecar = {path.stem for path in files if not path.stem.startswith("mock")} - plain
    assert {name for name in sidecar if f"`{name}`" not in MAP} == set()
