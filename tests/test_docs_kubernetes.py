"""docs/kubernetes.md says what the code, the manifests and the command line have: every annotation,
reason, option, metric, folder and port; its examples are valid, and its commands name what exists.
"""

import ast
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import kubernetes_validate
import pytest
import yaml
from pages import ROOT, first_cells, named, page, rows
from rendered import FOLDERS, K8S, _renderer

from tiergate import read_document
from tiergate_sidecar import labels, webhook_metrics
from tiergate_sidecar.app_breakage import breakage_of
from tiergate_sidecar.cli import main
from tiergate_sidecar.injection import Injection, Injector, inject, uninject
from tiergate_sidecar.make_certs import DAYS, SECRET, SERVICE
from tiergate_sidecar.overrides import KNOWN, InvalidAnnotationError, overrides_of
from tiergate_sidecar.selection import Wish
from tiergate_sidecar.settings import settings_of
from tiergate_sidecar.sidecar_container import CLASSIC_GRACE_SECONDS, DRAIN_SECONDS
from tiergate_sidecar.webhook import NAMESPACE_LABELS
from tiergate_sidecar.webhook_body import ALL_BODIES
from tiergate_sidecar.webhook_metrics import WebhookMetrics

PAGE, SEEN = page("kubernetes.md"), page("observability.md")
SIDECAR = ROOT / "sidecar" / "tiergate_sidecar"
VERSION = "1.36"
DEFAULTS = Injector(image="tiergate:0.1.0")

REASON_AT = {"Injection": 0, "Obstacle": 0, "Wish": 0, "BadRequest": 1, "failed": 1, "_count": 1}
"""Which argument of these calls is the id of a reason."""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def reasons_of(path: Path) -> Iterator[str]:
    """The ids of reasons that stand in a file, as texts or as names of texts."""
    tree = ast.parse(path.read_text())
    texts = {
        each.target.id: each.value.value
        for each in tree.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and isinstance(each.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name not in REASON_AT:
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        at = REASON_AT[name]
        reason = given.get("reason", node.args[at] if len(node.args) > at else None)
        if isinstance(reason, ast.Constant) and isinstance(reason.value, str):
            yield reason.value
        elif isinstance(reason, ast.Name) and isinstance(texts.get(reason.id), str):
            yield texts[reason.id]


def reasons() -> set[str]:
    files = [path for path in SIDECAR.glob("*.py") if path.stem != "prometheus"]  # counts otherwise
    found = {each for path in files for each in reasons_of(path)}
    return (found | set(get_args(Wish.__annotations__["reason"]))) - {"asked"}


def options(command: str) -> set[str]:
    found = {name for each in main.commands[command].params for name in each.opts}
    return found | {name for each in main.commands[command].params for name in each.secondary_opts}


def manifests() -> list[dict[str, Any]]:
    found = [each for block in blocks("yaml") for each in yaml.safe_load_all(block)]
    return [each for each in found if each["kind"] != "Kustomization"]


def test_every_annotation_and_label_is_in_the_table_and_no_other():
    known = {
        value
        for name, value in vars(labels).items()
        if name.isupper() and isinstance(value, str) and "/" in value and not value.startswith("/")
    }
    assert {*KNOWN} <= known
    assert set(first_cells(PAGE, "annotation")) == known


@pytest.mark.parametrize(
    "cells", [each for each in rows(PAGE, "annotation") if named(each[3])], ids=lambda each: each[0]
)
def test_an_annotation_does_what_its_row_says(cells):
    (name,), default, (example,), error = named(cells[0]), cells[2], named(cells[3]), cells[4]
    if name == labels.INJECT:
        assert example in labels.DISABLED
        return
    overrides_of({name: example.strip('"')}, DEFAULTS)
    field = name.partition("/")[2].replace("-", "_")
    if field in set(Injector.__struct_fields__) - {"image"}:
        assert (named(default) or [""])[0] == str(getattr(DEFAULTS, field))
    bad = "80" if "port" in name else "No Such"
    with pytest.raises(InvalidAnnotationError) as refused:
        overrides_of({name: bad}, DEFAULTS)
    assert str(refused.value).startswith(name)
    assert error.rstrip(" |").partition(";")[0] in str(refused.value)


def test_every_reason_is_explained_and_no_other():
    told = [*first_cells(PAGE, "reason"), *first_cells(PAGE, "reason of a call")]
    said = {name for name in told if re.fullmatch("[a-z]+(_[a-z]+)*", name)}
    first = {
        named(cells[0])[0]
        for title in ("reason", "reason of a call")
        for cells in rows(PAGE, title)
    }
    assert first == said == reasons()
    assert len(reasons()) > 20


def test_a_reason_that_refuses_says_so():
    pod = {"metadata": {}, "spec": {"containers": [{"name": "app", "image": "a"}]}}
    asked = {"namespace_labels": {labels.INJECT: "enabled"}, "settings": DEFAULTS}
    clash = {"name": "app", "ports": [{"containerPort": labels.CLIENT_PORT}]}
    got: list[Injection] = [
        inject(pod, **asked, read_config=lambda name: None),
        inject(pod, **asked, read_config=lambda name: ""),
        inject({"metadata": {}, "spec": {"containers": [clash]}}, **asked),
        inject({**pod, "metadata": {"annotations": {labels.PORT: "1"}}}, **asked),
        inject({**pod, "spec": {**pod["spec"], "hostNetwork": True}}, **asked),
        inject(pod, namespace_labels={}, settings=DEFAULTS),
        uninject(pod),
    ]
    why = {named(cells[0])[0]: cells[1] for cells in rows(PAGE, "reason")}
    for each in got:
        assert each.refused is why[each.reason].startswith("refused"), each


@pytest.mark.parametrize("command", ["inject", "uninject", "webhook", "health"])
def test_every_option_is_documented(command):
    of_health = PAGE.partition("`tiergate health` is")[2].partition("\n\n")[0]
    tables = [*first_cells(PAGE, "option"), *named(of_health)]
    assert options(command) <= {*tables}


def test_no_option_is_documented_that_is_not_there():
    said = {each for each in first_cells(PAGE, "option") if each.startswith("-")}
    assert said <= options("inject") | options("webhook")
    webhook = {each.name: each for each in main.commands["webhook"].params}
    context = click.Context(main.commands["webhook"])
    for cells in rows(PAGE, "option"):
        names = [name.removeprefix("--").replace("-", "_") for name in named(cells[0])]
        values = named(cells[1])
        if len(names) == len(values) and all(name in webhook for name in names):
            for name, value in zip(names, values, strict=True):
                assert str(webhook[name].get_default(context)) == value, name


def test_every_metric_of_the_webhook_is_documented_with_its_labels_and_no_other():
    source = Path(webhook_metrics.__file__).read_text()
    names = set(re.findall(r"\"(tiergate_webhook_\w+)\"", source))
    registry = WebhookMetrics(lambda: None)._registry
    kept = {}
    for each in registry.collect():
        if each.name in names:
            suffix = "_total" if each.type == "counter" else ""
            kept[each.name + suffix] = each
    said = {named(cells[0])[0]: cells for cells in rows(SEEN, "webhook metric")}
    assert set(said) == set(kept)
    assert len(kept) == len(names) == 4
    assert set(named(said["tiergate_webhook_requests_total"][1])) == {"result", "reason"}
    assert named(said["tiergate_webhook_errors_total"][1]) == ["error"]
    erred = set(
        re.findall(r"erred\(\"(\w+)\"\)", "".join(map(Path.read_text, SIDECAR.glob("*.py"))))
    )
    assert set(named(said["tiergate_webhook_errors_total"][2])) == erred
    for name in kept:
        assert name in PAGE


def test_every_folder_of_manifests_is_named_and_no_other():
    linked = set(re.findall(r"k8s/([a-z-]+)", PAGE))
    assert linked == set(FOLDERS)


def test_ports_paths_and_numbers_are_those_of_the_code():
    ports = {cells[0].partition(",")[0] for cells in rows(PAGE, "port")}
    assert ports == {
        str(each) for each in (labels.CLIENT_PORT, labels.ADMIN_PORT, labels.PROBES_PORT)
    }
    for text in (
        *(f"`{path}`" for path in NAMESPACE_LABELS),
        f"`{labels.PROBES_PORT_NAME}`",
        f"valid for {DAYS} days",
        f"`{SERVICE}`",
        f"`{SECRET}`",
        f"`preStop` waits {DRAIN_SECONDS} s",
        f"`server.grace_seconds` is {CLASSIC_GRACE_SECONDS}",
        f"{ALL_BODIES >> 20} MiB of reviews",
        "`tiergate.io/client: enabled`",
        "namespace `monitoring`",
    ):
        assert text in PAGE, text
    policy = (K8S / "networkpolicy" / "gateway.yaml").read_text()
    for label in ("tiergate.io/client: enabled", "app.kubernetes.io/name: redis", "monitoring"):
        assert label in policy


@pytest.mark.parametrize("document", manifests(), ids=lambda each: each["kind"])
def test_every_manifest_is_one_of_kubernetes(document):
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_what_is_shown_as_added_is_what_is_added():
    (shown,) = [each for each in manifests() if "initContainers" in each.get("spec", {})]
    app = {"name": "app", "image": "example-app:1.0"}
    pod = {"metadata": {"name": "app"}, "spec": {"containers": [app]}}
    result = inject(pod, namespace_labels={labels.INJECT: "enabled"}, settings=DEFAULTS)
    values = {each["path"]: each["value"] for each in result.patch}
    assert [shown["spec"]["initContainers"][0]] == values["/spec/initContainers"]
    assert shown["spec"]["volumes"] == values["/spec/volumes"]
    assert shown["spec"]["containers"][0]["env"] == values["/spec/containers/0/env"]
    annotations = shown["metadata"]["annotations"]
    assert set(annotations) == {labels.STATUS, labels.DEFAULT_CONTAINER, labels.DEFAULT_LOGS}
    assert f'"hash":"{result.audit["hash"]}"' in annotations[labels.STATUS]


def configurations() -> list[str]:
    kept = [each["data"][labels.CONFIG_KEY] for each in manifests() if each["kind"] == "ConfigMap"]
    return [*blocks("toml"), *kept]


@pytest.mark.parametrize("text", configurations())
def test_every_configuration_is_accepted_and_breaks_no_app(tmp_path, text):
    (tmp_path / "tiergate.toml").write_text(text)
    settings, _ = settings_of(read_document(tmp_path / "tiergate.toml", environ={}))
    assert settings.proxy.provider
    assert breakage_of(text) == ""


def test_the_shipped_configuration_is_the_one_that_is_shown():
    assert tomllib.loads(blocks("toml")[0]) == tomllib.loads(
        (K8S / "base" / "tiergate.toml").read_text()
    )


@pytest.mark.parametrize("overlay", [b for b in blocks("yaml") if "kind: Kustomization" in b])
def test_every_overlay_renders_and_reaches_the_webhook(tmp_path, overlay):
    shutil.copytree(K8S, tmp_path / "k8s")
    own = tmp_path / "k8s" / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(overlay)
    done = subprocess.run([*_renderer(), own], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (webhook,) = [
        each["spec"]["template"]["spec"]["containers"][0]
        for each in yaml.safe_load_all(done.stdout)
        if each["kind"] == "Deployment"
    ]
    command = main.commands["webhook"]
    given = command.make_context("webhook", list(webhook["args"][1:])).params
    assert given["image"] == webhook["image"], "both places, or neither"
    assert bool(given["run_as_user"]) is ("runAsUser" in webhook["securityContext"])


def commands() -> Iterator[str]:
    for block in blocks("sh"):
        for line in block.replace("\\\n", "").splitlines():
            yield from (part.strip() for part in line.partition(" #")[0].split(" | "))
    yield from (name for name in named(PAGE) if re.match(r"(tiergate|kubectl|make) ", name))


def test_every_command_names_what_there_is():
    seen = set()
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands():
        words = line.split()
        if words[:1] == ["make"]:
            seen.add("make")
            assert {word for word in words[1:] if "=" not in word} <= made, line
        elif words and words[0].endswith("tiergate") and len(words) > 1:
            seen.add("tiergate")
            flags = {
                word.partition("=")[0] for word in words[2:] if word.startswith("-") and word != "-"
            }
            assert flags <= options(words[1]), line
        for folder in re.findall(r"k8s/[\w./-]*\w", line):
            seen.add("k8s")
            assert (ROOT / folder).exists(), line
    assert seen == {"make", "tiergate", "k8s"}
