"""The dashboard and the alerts speak of what the code publishes: every metric, label and value in
`k8s/monitoring` is one that a sidecar has."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from msgspec.structs import replace
from prometheus_client import ProcessCollector

from tiergate import Gateway, errors, faults
from tiergate.record import Outcome
from tiergate.redis_link import StoreState
from tiergate.requestlog import RequestLogState
from tiergate_sidecar.prometheus import GatewayCollector

FOLDER = Path(__file__).parent.parent / "k8s" / "monitoring"
OF_PROMETHEUS = {"job", "instance", "namespace", "le"}
SUFFIXES = {"counter": ("_total",), "info": ("_info",), "histogram": ("_bucket", "_count", "_sum")}
CONFIG = {
    "providers": {"p1": {"base_url": "http://p1/v1"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
}
VALUES = {
    "outcome": set(get_args(Outcome)),
    "error_type": {"", *(each.label for each in vars(faults).values() if hasattr(each, "label"))},
    "code": {each.code for each in vars(errors).values() if hasattr(each, "code")},
}


def dashboard():
    return json.loads((FOLDER / "dashboard.json").read_text())


def alerts():
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries():
    """Every expression, with the labels that its texts speak of."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"], re.findall(r"{{(\w+)}}", target["legendFormat"])
    for rule in alerts():
        said = " ".join(rule["annotations"].values())
        yield rule["expr"], re.findall(r"\$labels\.(\w+)", said)


def published():
    """Every name that `/metrics` may have, with its labels."""
    gateway = Gateway(CONFIG, environ={})
    status = gateway.status()
    status = replace(
        status,
        configuration=replace(status.configuration, version="1", age_seconds=1),
        stores=(StoreState("redis://h", True),),
        request_log=RequestLogState("sqlite://", True, 0, 0, 0, None),
        candidates=tuple(gateway.health.of([])),
    )
    said = GatewayCollector(gateway, ProcessCollector(registry=None), status=status)
    names = {}
    for family in said.collect():
        labels = {label for sample in family.samples for label in sample.labels}
        for suffix in SUFFIXES.get(family.type, ("",)):
            names[family.name + suffix] = labels | set(getattr(family, "_labelnames", ()))
    return names


PUBLISHED = published()
QUERIES = sorted({(expr, *labels) for expr, labels in queries()})


def parts(expr):
    """The metrics, the labels and the values matched (as label, value) of an expression."""
    matched = re.findall(r'(\w+)\s*(=~|!=|=)\s*"([^"]*)"', expr)
    grouped = re.findall(r"\bby \(([^)]*)\)", expr)
    labels = {label for label, *_ in matched} | {
        label for group in grouped for label in re.split(r",\s*", group)
    }
    bare = re.sub(r'"[^"]*"', "", re.sub(r"\bby \([^)]*\)", "", expr))
    metrics = set(re.findall(r"\b(?:sentinel|tiergate|gen_ai|process)_\w+(?![^{]*})", bare))
    values = {(label, each) for label, _, value in matched for each in value.split("|")}
    return metrics, labels, values


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_a_query_names_only_what_is_published(query):
    expr, *spoken = query
    metrics, labels, values = parts(expr)
    assert metrics, "a query of ours asks for a metric of ours"
    assert metrics <= set(PUBLISHED), metrics - set(PUBLISHED)
    known = OF_PROMETHEUS.union(*(PUBLISHED[name] for name in metrics))
    assert labels <= known, labels - known
    assert set(spoken) <= known, set(spoken) - known
    for label, value in values:
        assert value.startswith("$") or value in VALUES[label], (label, value)


def test_every_histogram_is_asked_for_its_quantiles_by_its_bounds():
    for expr, *_ in QUERIES:
        assert ("_bucket" in expr) == ("histogram_quantile" in expr) == ("le" in parts(expr)[1])


def test_what_is_published_is_looked_at_somewhere():
    asked = {name for expr, *_ in QUERIES for name in parts(expr)[0]}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in PUBLISHED} - families
    assert {name for name in ours if not name.startswith("process_")} <= {
        "tiergate_tiers_skipped",  # in /health, by name
        "tiergate_sessions_errors_total",
        "tiergate_store_errors_total",
    }


def test_panels_do_not_overlap_and_have_ids_of_their_own():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def test_an_alert_says_how_bad_it_is_and_what_to_do():
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names)
    for rule in alerts():
        assert re.fullmatch(r"Tiergate[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_the_folder_is_whole():
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    files = {name.partition("=")[2] for name in listed["configMapGenerator"][0]["files"]}
    names = {*listed["resources"], *files, "kustomization.yaml"}
    assert names == {path.name for path in FOLDER.iterdir()}
    kinds = {yaml.safe_load((FOLDER / name).read_text())["kind"] for name in listed["resources"]}
    assert kinds == {"PrometheusRule", "PodMonitor"}
    monitor = yaml.safe_load((FOLDER / "podmonitor.yaml").read_text())
    assert monitor["spec"]["podMetricsEndpoints"][0]["path"] == "/metrics"
