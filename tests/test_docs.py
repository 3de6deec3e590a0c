"""The documents say what the code does: settings and their defaults, headers, codes, labels."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml
from pages import ROOT, first_cells, page, rows

from tiergate import (
    config,
    errors,
    exchange,
    faults,
    relay,
    request_headers,
    requestlog,
    response_headers,
    sessions,
    store,
    waiting,
)
from tiergate.document import parse_document
from tiergate.health import CandidateHealth
from tiergate.loading import load_config
from tiergate.redis_link import StoreState
from tiergate.snapshot import compile_snapshot
from tiergate.wellknown import WELL_KNOWN
from tiergate_sidecar import errors as sidecar_errors
from tiergate_sidecar.settings import Admin, Auth, Logging, Proxy, Server

SETTINGS, API, STATE = page("configuration.md"), page("api.md"), page("tiers.md")

TABLES = {
    "[routing]": config.Routing,
    "[classifier]": config.ClassifierSettings,
    "[[policies]]": config.Policy,
    "[retry]": config.Retry,
    "[retry.tiers.X]": config.RetryTimes,
    "[health]": config.HealthSettings,
    "[streaming]": config.Streaming,
    "[streaming.tiers.X]": config.StreamTimes,
    "[limits]": config.Limits,
    "[providers.X]": config.Provider,
    "[[tiers.X]]": config.TierEntry,
    "[tier_config]": config.TierConfig,
    "[cache]": config.Cache,
    "[sessions]": config.SessionSettings,
    "[request_log]": config.RequestLogSettings,
    "[telemetry]": config.TelemetrySettings,
    "[headers]": config.Headers,
    "[server]": Server,
    "[auth]": Auth,
    "[proxy]": Proxy,
    "[admin]": Admin,
    "[logging]": Logging,
}
"""Heading of the section: the table it documents."""


def documented(heading: str) -> dict[str, str]:
    """Setting → the text of its default."""
    section = SETTINGS.partition(f"\n## `{heading}`\n")[2].partition("\n## ")[0]
    return {cells[0].strip("`"): cells[2] for cells in rows(section, "setting")}


def defaults(table: type[msgspec.Struct]) -> dict[str, Any]:
    """Setting → its default; the tables of tiers have a section of their own."""
    found = {}
    for field in msgspec.structs.fields(table):
        value = "required" if field.required else field.default
        if field.default_factory is not msgspec.NODEFAULT:
            value = field.default_factory()
        if field.name != "tiers":
            found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


@pytest.mark.parametrize("heading", TABLES)
def test_every_setting_is_documented_with_its_real_default(heading):
    special = {"none": None, "required": "required"}
    said = {
        name: special[text] if text in special else tomllib.loads(f"x = {text.strip('`')}")["x"]
        for name, text in documented(heading).items()
    }
    assert said == defaults(TABLES[heading])


def test_every_table_of_the_configuration_has_a_section():
    structs = {
        kind
        for kind in vars(config).values()
        if isinstance(kind, type) and issubclass(kind, config.Table)
    }
    assert structs - {config.Table, config.Config} == set(TABLES.values()) - {
        Server,
        Auth,
        Proxy,
        Admin,
        Logging,
    }
    assert set(re.findall(r"\n## `(\[.*\])`\n", SETTINGS)) == set(TABLES)


def test_the_well_known_providers_are_those_of_the_code():
    said = {
        name.strip("`"): (url.strip("`"), key.strip("`"))
        for name, url, key in rows(SETTINGS, "name")
    }
    assert said == {
        name: (known.base_url or "your own", known.api_key_env or "none")
        for name, known in WELL_KNOWN.items()
    }


@pytest.mark.parametrize(("kind", "read"), [("toml", tomllib.loads), ("yaml", yaml.safe_load)])
def test_the_examples_load_and_say_the_same(kind, read):
    (example,) = re.findall(rf"```{kind}\n(.*?)```", SETTINGS, re.DOTALL)
    loaded = load_config(read(example), environ={})
    assert loaded.providers["openai"].base_url == WELL_KNOWN["openai"].base_url
    assert [entry.model for pool in loaded.tiers.values() for entry in pool] == [
        "qwen3-8b",
        "gpt-5",
    ]
    deadline = loaded.retry.deadline("complex")
    assert (deadline, loaded.retry.attempt_timeout("complex", deadline)) == (120, 90)


def names_in(module: Any, pattern: str) -> set[str]:
    return set(re.findall(pattern, Path(module.__file__).read_text(), re.IGNORECASE))


def test_every_request_header_that_is_read_is_documented_and_no_other():
    ours = r"\"((?:x-sentinel|x-arbstr|x-request|idempotency|content-enc)[a-z-]*)\""
    read = {name.lower() for name in names_in(request_headers, ours)}
    assert read == {name.lower() for name in first_cells(API, "request header")}


def test_every_response_header_that_is_set_is_documented_and_no_other():
    set_by_us = names_in(response_headers, r"\"((?:x-sentinel|x-arbstr|x-should|retry-a)[a-z-]*)\"")
    assert set_by_us == set(first_cells(API, "response header"))
    for name, value in response_headers.STREAM:
        assert f"{name.decode()}: {value.decode()}" in API


def below(kind: type[errors.Answerable]) -> set[type[errors.Answerable]]:
    return {kind}.union(*(below(child) for child in kind.__subclasses__()))


def test_every_error_is_documented_with_its_status_and_type_and_no_other():
    kinds = below(errors.Answerable) - {errors.Answerable, errors.Refused, errors.Rejected}
    ours = {kind for kind in kinds if kind.__module__ in (errors.__name__, sidecar_errors.__name__)}
    coded = {(str(kind.status), kind.type, kind.code) for kind in ours}
    for status in (401, 403, 429):
        refused = errors.Refused(status)
        coded.add((str(status), refused.type, refused.code))
    coded.add(("4xx", errors.Rejected.type, errors.Rejected.code))
    said = {tuple(cell.strip("`") for cell in cells[:3]) for cells in rows(API, "status")}
    assert said == coded


def test_the_codes_of_an_interrupted_stream_are_documented():
    for code in relay._MESSAGES:
        assert f"`{code}`" in API


def test_every_fault_is_documented_with_what_may_follow_and_no_other():
    table = {f.label: f for f in vars(faults).values() if isinstance(f, faults.Fault)}
    said = {cells[0].strip("`"): cells[2:] for cells in rows(API, "label")}
    assert set(said) == set(table)
    words = {faults.Again.NO: "no", faults.Again.YES: "yes"}
    words |= {faults.Again.AT_ONCE: "once", faults.Again.IF_SOON: "if it"}
    for label, (again, elsewhere, counts) in said.items():
        assert again.startswith(words[table[label].again]), label
        assert elsewhere.startswith("yes") is table[label].elsewhere, label
        blamed = table[label].blame is faults.Blame.PROVIDER
        assert counts.startswith("yes" if blamed else "no"), label


def test_every_reason_is_documented():
    (reasons,) = [cells[2] for cells in rows(API, "response header") if "reason" in cells[0]]
    assert set(re.findall("`([^`]+)`", reasons)) == set(get_args(exchange.Reason))


def test_every_part_of_health_is_documented_and_no_other():
    said: dict[str, set[str]] = {}
    for cells in rows(STATE, "member"):
        named = re.findall("`([^`]+)`", cells[0])
        table = named[0].partition(".")[0]
        said.setdefault(table, set()).update(name.rpartition(".")[2] for name in named)
    parts = {
        "configuration": store.ConfigurationState,
        "sessions": sessions.SessionsState,
        "request_log": requestlog.RequestLogState,
    }
    for table, part in parts.items():
        assert said[table] - {"needs_restart"} == {*part.__struct_fields__} - {"name"}, table
    shown = json.loads(re.findall(r"```json\n(.*?)```", STATE, re.DOTALL)[-1])
    assert set(said) < set(shown)
    for table, part in [*parts.items(), ("providers", CandidateHealth), ("stores", StoreState)]:
        each = shown[table] if isinstance(shown[table], list) else [shown[table]]
        for one in each:
            assert set(one) - {"needs_restart"} == set(part.__struct_fields__), table


def test_the_document_of_the_tiers_is_read_as_its_page_says():
    raw = json.loads(re.findall(r"```json\n(.*?)```", STATE, re.DOTALL)[0])
    (table,) = [
        text for text in re.findall(r"```toml\n(.*?)```", STATE, re.DOTALL) if "tier_config" in text
    ]
    loaded = load_config(tomllib.loads(table), environ={})
    snapshot = compile_snapshot(parse_document(raw, fetched_at=0), loaded)
    assert {tier: len(pool) for tier, pool in snapshot.pools.items()} == {
        "simple": 2,
        "moderate": 0,
        "complex": 1,
    }
    (skipped,) = snapshot.skipped
    assert f"```\n{skipped}\n```" in STATE


def test_every_streaming_mode_is_documented_with_its_header_and_its_setting():
    (header,) = [cells[1] for cells in rows(API, "request header") if "Failover" in cells[0]]
    assert tuple(re.findall(r"`(\w+)`", header)) == get_args(config.Failover)
    (setting,) = [cells[1] for cells in rows(SETTINGS, "setting") if cells[0] == "`failover`"]
    assert tuple(re.findall(r'`"(\w+)"`', setting)) == get_args(config.Failover)


def test_the_comments_of_a_long_buffered_stream_are_documented():
    assert f"`{waiting.COMMENT.decode().strip()}`" in API
    told = re.findall(r"[ `:]([a-z-]+)=", API.partition("`: x-sentinel-model")[2])
    assert {"x-sentinel-model", *told} == {name.decode() for name in response_headers._OF_DELIVERY}


def test_links_between_the_documents_lead_somewhere():
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target, place in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", file.read_text()):
            path = file.parent / target if target else file
            assert path.exists(), (file, target)
            assert not place or place in headings(path.read_text()), (file, target, place)


def headings(text: str) -> set[str]:
    """As the links to them are written."""
    titles = re.findall("^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_promise_of_the_seeds_is_answered_by_a_test_that_exists_or_a_reason():
    answers = re.findall(r"^\| ([TR]\d+) \| .+? \| (.+) \|$", page("seeds.md"), re.MULTILINE)
    assert [number for number, _ in answers] == [f"T{n}" for n in range(1, 32)] + [
        f"R{n}" for n in range(1, 18)
    ]
    for number, answer in answers:
        named = re.findall(r"`(test_\w+)\.(test_\w+)`", answer)
        assert named or "waits" in answer, number
        for file, test in named:
            paths = (ROOT / "tests").rglob(f"{file}.py")
            found = any(f"def {test}(" in path.read_text() for path in paths)
            assert found, f"{number}: {file}.{test}"
