"""Manifests through an injection: layout stays, twice is once, and back is as it was before."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergate_sidecar.injector import Injector
from tiergate_sidecar.manifest_injection import (
    difference,
    explained,
    inject_sources,
    report,
    uninject_sources,
)
from tiergate_sidecar.manifests import Source

SETTINGS = Injector(image="tiergate:0.1.0")
OPEN = '[proxy]\nprovider = "openai"\n[routing]\nunknown_model = "pass"\n'
CLOSED = '[routing]\nunknown_model = "default"\n'


def injected(text, **given):
    result = inject_sources([Source("x.yaml", text)], SETTINGS, **given)
    assert result.warnings == ()
    return result.texts[0]


def uninjected(text):
    result = uninject_sources([Source("x.yaml", text)])
    assert result.warnings == ()
    return result.texts[0]


def told(text, **given):
    result = inject_sources([Source("x.yaml", text)], SETTINGS, **given)
    return [line for each in result.told for line in report(each)]


HELM = """\
---
# Source: shop/templates/service.yaml
apiVersion: v1
kind: Service
metadata: { name: shop }   # not a workload
spec:
  ports: [ {port: 80, targetPort: http} ]
---
# Source: shop/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: "shop"
  labels:
    on: "yes"     # a string
spec:
  replicas: 2
  template:
    metadata:
      annotations:
        checksum/config: 0777
      labels: &labels
        app: shop
    spec:
      # first the database
      initContainers:
      # waits
      - name: wait
        image: 'busybox'
        command: [sh, -c, "until nc -z db 5432; do sleep 1; done"]
      containers:
      - name: shop   # the app
        image: "shop:1"
        env:
        - name: NOTE
          value: |
            two
            lines

        # - name: OFF
      - image: helper:1
        name: helper
        envFrom: [{secretRef: {name: keys}}]
      volumes: []
      # the end

---
# Source: shop/templates/empty.yaml
---
# Source: shop/templates/cronjob.yaml
apiVersion: batch/v1
kind: CronJob
metadata:
    name: nightly
spec:
    jobTemplate:
        spec:
            template:
                spec:
                    containers:
                        -   name: job
                            image: "job"
                            env:
                    restartPolicy: Never
"""


def test_a_diff_of_a_chart_has_only_lines_that_are_added():
    diff = difference(Source("x.yaml", HELM), injected(HELM)).splitlines()[2:]
    removed = [line for line in diff if line.startswith("-")]
    added = [line[1:] for line in diff if line.startswith("+")]
    assert removed == ["-      volumes: []"]
    assert "      volumes:" in added
    assert added.count("        - name: TIERGATE_SERVER__PROBES") == 1
    assert added.count("          value: http://127.0.0.1:4190/v1") == 4
    assert "                        - name: tiergate" in added  # four columns a level, as there


def test_the_sidecar_comes_first_and_the_comments_stay_with_what_they_are_about():
    lines = injected(HELM).splitlines()
    first = lines.index("      - name: tiergate")
    assert lines[first - 1] == "      initContainers:"
    assert lines[lines.index("      # waits") + 1] == "      - name: wait"
    env = lines.index("        # - name: OFF")
    assert lines[env - 2 : env] == ["          value: unused", ""]


def test_what_is_injected_is_what_kubectl_reads():
    cron = list(yaml.safe_load_all(injected(HELM)))[-1]
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["tiergate"]
    assert json.loads(pod["metadata"]["annotations"]["tiergate.io/status"])["mode"] == "native"
    assert pod["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("text", [HELM, HELM.replace("\n", "\r\n"), HELM.rstrip(), f"\ufeff{HELM}"])
def test_twice_is_once_and_back_is_as_before_to_the_byte(text):
    once = injected(text)
    assert once != text
    assert injected(once) == once
    assert uninjected(once) == text
    assert uninjected(text) == text


@pytest.mark.parametrize(
    "text",
    [
        # kubectl get -o json, and others' indentation
        *(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "List",
                    "items": [
                        {
                            "apiVersion": "v1",
                            "kind": "Pod",
                            "metadata": {"name": "a", "annotations": {}},
                            "spec": {"containers": [{"name": "a", "image": "a", "env": []}]},
                        },
                    ],
                },
                indent=indent,
            )
            for indent in (None, 2, 4, "\t")
        ),
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
        "spec: {containers: [{name: a, env: []}]}\n",
        # an anchor that two containers share
        """\
apiVersion: v1
kind: Pod
metadata:
  name: a
spec:
  containers:
    - name: a
      env: &env
        - name: A
          value: "1"
    - name: b
      env: *env
""",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\nspec:\n  containers:\n"
        "  - name: a\n    envFrom:\n    env:\n  volumes:\n",
    ],
)
def test_other_layouts_come_back_to_the_byte_too(text):
    once = injected(text)
    assert once != text
    assert injected(once) == once
    assert uninjected(once) == text
    assert text.startswith("{") == once.startswith("{")


def test_a_merge_key_gives_the_container_what_it_brings_and_the_variables():
    text = """\
apiVersion: v1
kind: Pod
metadata: {name: a}
x-base: &base
  env:
    - name: A
spec:
  containers:
    - <<: *base
      name: a
"""
    once = injected(text)
    assert "    - <<: *base\n      name: a\n      env:\n        - name: A\n" in once
    pod = yaml.safe_load(once)
    names = [each["name"] for each in pod["spec"]["containers"][0]["env"]]
    assert names == ["A", "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY"]
    assert pod["x-base"] == {"env": [{"name": "A"}]}
    assert yaml.safe_load(uninjected(once)) == yaml.safe_load(text)


def test_a_document_that_is_written_anew_is_told():
    text = "---\n---\n? apiVersion # c\n: v1\n? kind\n: Pod\n? spec\n: {containers: [{name: a}]}\n"
    result = inject_sources([Source("x.yaml", text)], SETTINGS)
    assert result.warnings == ("x.yaml:2: the document was written anew, without its comments",)
    found = list(yaml.safe_load_all(result.texts[0]))
    assert found[1]["spec"]["initContainers"][0]["name"] == "tiergate"


def pod(name="a", kind="Pod", **more):
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, **more.pop("metadata", {})},
            "spec": {"containers": [{"name": "a", "image": "a"}], **more},
        }
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (pod(), "Pod/a: injected"),
        (pod(metadata={"labels": {"tiergate.io/inject": "disabled"}}), "Pod/a: skipped (disabled)"),
        (pod(metadata={"annotations": {"tiergate.io/port": "x"}}), "Pod/a: refused (invalid_ann"),
        (pod(hostNetwork=True), "Pod/a: skipped (host_network)"),
        ("{apiVersion: apps/v1, kind: Deployment}", "Deployment/*: skipped (invalid_pod)"),
        (
            "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {template: {metadata: "
            "{annotations: {tiergate.io/mode: classic}}, spec: {containers: [{name: a}]}}}}",
            "Job/j: skipped (job_needs_native)",
        ),
        ("kind: Service\n", None),
    ],
)
def test_what_became_of_each_workload_is_told(text, says):
    lines = told(text)
    assert [line.startswith(says) for line in lines[:1]] == ([True] if says else [])
    assert all(line.startswith("warning: ") for line in lines[1:])


def test_naming_a_file_is_asking_unless_labels_decide():
    assert told(pod(), namespace_labels={})[0].startswith("Pod/a: skipped (not_asked)")
    assert told(pod()) == ["Pod/a: injected"]


def test_an_explanation_says_what_would_be_done():
    once = injected(pod())
    result = inject_sources([Source("x", pod()), Source("y", f"---\n{once}")], SETTINGS)
    (first,), (second,) = [list(explained(each)) for each in result.told]
    facts = first.removeprefix("Pod/a: would be injected ")
    assert facts.startswith("(mode native, version ")
    assert second.startswith("Pod/a: would not be injected (already_injected): ")
    assert second.endswith(f" {facts}")


def config_map(text, name="tiergate", **meta):
    found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}}
    return json.dumps(found | {"data": text})


@pytest.mark.parametrize(
    ("config", "maps", "reason"),
    [
        (None, [], "injected"),
        (OPEN, [], "injected"),
        (CLOSED, [], "config_breaks_app"),
        (None, [config_map({"tiergate.toml": OPEN})], "injected"),
        (None, [config_map({"tiergate.toml": CLOSED})], "config_breaks_app"),
        (None, [config_map({"tiergate.toml": CLOSED}, namespace="other")], "injected"),
        (None, [config_map({"tiergate.toml": CLOSED}, name="other")], "injected"),
        (OPEN, [config_map({"tiergate.toml": CLOSED})], "injected"),
        (None, [config_map({"other": OPEN})], "config_missing"),
        (None, [config_map({"tiergate.toml": 1})], "config_missing"),
        (None, [config_map(None)], "config_missing"),
        (None, ['{"apiVersion": "v1", "kind": "ConfigMap"}'], "injected"),
    ],
)
def test_the_configuration_is_checked_where_it_is_known(config, maps, reason):
    text = "\n---\n".join([pod(), *maps])
    result = inject_sources([Source("x.yaml", text)], SETTINGS, config)
    assert [each.decision.reason for each in result.told] == [reason]
    assert result.refused is (reason != "injected")


def test_a_configuration_that_the_cluster_may_have_is_not_called_missing():
    text = pod(metadata={"annotations": {"tiergate.io/config": "other"}})
    assert inject_sources([Source("x", text)], SETTINGS, OPEN).told[0].decision.reason == "injected"


def test_a_diff_tells_of_a_missing_last_newline():
    assert difference(Source("x", "a: 1"), "a: 1\nb: 2\n") == (
        "--- x\n+++ x\n@@ -1 +1,2 @@\n-a: 1\n\\ No newline at end of file\n+a: 1\n+b: 2\n"
    )
    assert difference(Source("x", "a: 1"), "a: 1") == ""


NAMES = st.sampled_from(["app", "db", "web", "x"])
ENV = st.lists(
    st.sampled_from(
        [{"name": "A", "value": "on"}, {"name": "OPENAI_BASE_URL", "value": "http://x"}]
    ),
    max_size=2,
    unique_by=str,
)
CONTAINERS = st.fixed_dictionaries(
    {"image": st.sampled_from(["a:1", "0777"])},
    optional={"env": ENV, "args": st.just(["- x", "é\n"]), "envFrom": st.just([])},
)
LISTS = st.dictionaries(NAMES, CONTAINERS, max_size=2).map(
    lambda found: [{**rest, "name": name} for name, rest in found.items()]
)
TEMPLATES = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"containers": LISTS},
            optional={"volumes": st.just([]) | st.just([{"name": "v", "emptyDir": {}}])},
        )
    },
    optional={
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": st.just({"a": "b"}), "annotations": st.just({"c/d~": "yes"})}
        )
    },
)


@given(
    template=TEMPLATES,
    waits=LISTS,
    flow=st.sampled_from([None, False, True]),
    indent=st.integers(2, 4),
)
@settings(max_examples=80, deadline=None)
def test_back_is_as_before_for_any_workload(template, waits, flow, indent):
    if waits:
        names = {each["name"] for each in template["spec"]["containers"]}
        waits = [each for each in waits if each["name"] not in names]
        template["spec"]["initContainers"] = waits
    whole = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template}}
    dumped = {"default_flow_style": flow, "indent": indent, "sort_keys": False}
    text = yaml.safe_dump(whole, **dumped, allow_unicode=True)
    once = injected(text)
    assert (once == text) == (template["spec"]["containers"] == [])
    assert injected(once) == once
    assert uninjected(once) == text
