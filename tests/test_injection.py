"""An injection gives each pod of `tests/injection` the patch that was reviewed; whatever the pod,
the patch applies, the result is a valid pod, twice is once, and undone it is as it was.

`PYTHONPATH=tests python tests/test_injection.py` writes the patches anew; look at the difference.
A case is a pod, and perhaps a second document: the namespace's labels, settings, kind, the
ConfigMap's text (null: there is none).
"""

import copy
import json
from pathlib import Path

import jsonpatch
import kubernetes_validate
import podrules
import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tiergate import __version__
from tiergate_sidecar.injection import KINDS, Injector, inject, uninject
from tiergate_sidecar.labels import CONTAINER, INJECT, STATUS

FOLDER = Path(__file__).parent / "injection"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
IMAGE = "tiergate:1.2.3"
ASKED = {INJECT: "enabled"}


def read(case):
    pod, *options = yaml.safe_load_all((FOLDER / f"{case}.yaml").read_text())
    return pod, (options or [{}])[0]


def ask(pod, options):
    config = options.get("config")

    def read_config(name):
        if isinstance(config, dict):
            raise LookupError(config["error"])
        return config

    return inject(
        pod,
        namespace_labels=options.get("namespace", ASKED),
        settings=Injector(image=IMAGE, **options.get("settings", {})),
        read_config=read_config if "config" in options else None,
        kind=options.get("kind", "Pod"),
    )


def told(injection):
    """As the file beside the case has it: one operation a line."""
    lines = [
        f' "{name}": {json.dumps(getattr(injection, name))},'
        for name in ("reason", "refused", "message", "warnings")
    ]
    patch = ",\n".join(f"  {json.dumps(each)}" for each in injection.patch)
    text = "\n".join(["{", *lines, f' "patch": [\n{patch}\n ]' if patch else ' "patch": []', "}"])
    return text.replace(__version__, "VERSION") + "\n"


def applied(pod, injection):
    return jsonpatch.apply_patch(pod, list(injection.patch))


INJECTED = [case for case in CASES if ask(*read(case)).patch]


@pytest.mark.parametrize("case", CASES)
def test_a_pod_gets_the_patch_that_was_reviewed(case):
    pod, options = read(case)
    before = copy.deepcopy(pod)
    assert told(ask(pod, options)) == (FOLDER / f"{case}.json").read_text()
    assert pod == before


def test_there_are_cases_enough_of_both_sorts():
    assert len(INJECTED) >= 40
    assert len(CASES) - len(INJECTED) >= 40
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CASES)


@pytest.mark.parametrize("case", [each for each in INJECTED if not read(each)[1].get("invalid")])
def test_the_result_is_a_pod_that_an_api_server_takes(case):
    pod, options = read(case)
    after = applied(pod, ask(pod, options))
    document = {"apiVersion": "v1", "kind": "Pod"} | after
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)
    assert list(podrules.broken(after)) == []
    ours = [each for each in podrules.containers(after["spec"]) if each["name"] == CONTAINER]
    assert [list(podrules.broken_restricted_container(each)) for each in ours] == [[]]
    if options.get("restricted"):
        assert list(podrules.broken_restricted(after["spec"])) == []


@pytest.mark.parametrize("case", INJECTED)
def test_injected_twice_is_injected_once(case):
    pod, options = read(case)
    once = applied(pod, ask(pod, options))
    again = ask(once, options)
    assert (again.reason, again.patch) == ("already_injected", ())


@pytest.mark.parametrize("case", [each for each in INJECTED if not each.startswith("again-")])
def test_undone_it_is_the_pod_that_it_was(case):
    pod, options = read(case)
    after = applied(pod, ask(pod, options))
    before = copy.deepcopy(after)
    undone = uninject(after)
    assert after == before
    assert undone.reason == "uninjected"
    assert undone.warnings == ()
    # A status that tells of nothing is the one thing that does not come back.
    (pod.get("metadata", {}).get("annotations") or {}).pop(STATUS, None)
    assert applied(after, undone) == pod


def either(values):
    """A few values, one of them drawn."""
    return st.sampled_from(values)


def some(required=None, /, **optional):
    """An object that has each field, or has it as null, or lacks it."""
    present = {name: st.none() | values for name, values in optional.items()}
    return st.fixed_dictionaries(required or {}, optional=present)


NAMES = ["app", "worker", "late", "istio-proxy", "daprd", "a"]
INIT_NAMES = ["migrate", "linkerd-init", "linkerd-proxy", "vault-agent-init", "b"]
VARIABLES = ["OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY", "A", "B"]
VALUES = ["1", "$(OPENAI_BASE_URL)", "$$(OPENAI_API_KEY)", "http://127.0.0.1:4190/v1"]
ENV = st.lists(
    some({"name": either(VARIABLES)}, value=either(VALUES)),
    max_size=4,
    unique_by=lambda each: each["name"],
)
FIELDS = {
    "env": ENV,
    "envFrom": st.lists(some(prefix=either(["", "OPENAI_", "X_"])), max_size=2),
    "restartPolicy": st.just("Always"),
    "ports": st.lists(some(containerPort=either([80, 81, 4190])), max_size=1),
    "volumeMounts": st.lists(some(name=st.just("cache")), max_size=1),
}


def containers(names, least):
    each = some({"name": either(names)}, **FIELDS)
    return st.lists(each, min_size=least, max_size=3, unique_by=lambda each: each["name"])


ANNOTATIONS = some(
    **{
        "tiergate.io/mode": either(["native", "classic"]),
        "tiergate.io/containers": either(["app", "late,app", "worker,none"]),
        "tiergate.io/port": st.just("4290"),
        "kubectl.kubernetes.io/default-container": either(["app", "worker"]),
        "a/b~c": st.just("d"),
    }
)
SPECS = some(
    {"containers": containers(NAMES, 1)},
    initContainers=containers(INIT_NAMES, 0),
    volumes=st.lists(some(name=st.just("cache")), max_size=1),
    terminationGracePeriodSeconds=either([5, 60]),
)
PODS = some({"spec": SPECS}, metadata=some(annotations=ANNOTATIONS, labels=some(app=st.just("a"))))


def without_nulls(node):
    if isinstance(node, dict):
        return {key: without_nulls(each) for key, each in node.items() if each is not None}
    return [without_nulls(each) for each in node] if isinstance(node, list) else node


@given(PODS, either(["native", "classic"]))
@settings(max_examples=300, deadline=None)
def test_whatever_the_pod_twice_is_once_and_undone_it_is_as_it_was(pod, mode):
    for made in (pod, without_nulls(pod)):
        before = copy.deepcopy(made)
        options = {"settings": {"mode": mode}}
        once = applied(made, ask(made, options))
        assert ask(once, options).patch == ()
        undone = uninject(once)
        event(ask(made, options).reason)
        if once != made:
            assert undone.reason == "uninjected"
            assert applied(once, undone) == made
        assert made == before


WORDS = [
    *("metadata", "annotations", "labels", "spec", "containers", "initContainers", "volumes"),
    *("env", "envFrom", "name", "value", "ports", "kind", "affinity", "nodeAffinity", "os"),
    *(INJECT, STATUS, "tiergate.io/mode", "ownerReferences", "volumeMounts", "a"),
]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
)
STATUSES = either(
    [
        '{"version":"1","hash":"x","mode":"native","port":4190,"env":{"a":["A"]},"created":["env:a"]}',
        '{"version":"1","hash":"x","mode":"native","port":4190,"env":{},"nulls":["metadata"]}',
    ]
)
JSON = st.recursive(
    SCALARS | either([*WORDS, "enabled", "tiergate"]) | STATUSES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(either(WORDS), inner, max_size=4),
    max_leaves=12,
)
KEYS = [STATUS, "tiergate.io/port", "tiergate.io/containers", "a"]
HOSTILE = st.builds(
    lambda annotations, spec, more: {
        "metadata": {"annotations": annotations},
        "spec": {**spec, **more},
    },
    st.dictionaries(either(KEYS), JSON | STATUSES, max_size=2) | JSON,
    SPECS,
    st.dictionaries(either(WORDS), JSON, max_size=2),
)


@given(JSON | HOSTILE)
@settings(max_examples=300, deadline=None)
def test_no_json_makes_it_raise_and_each_patch_applies(pod):
    before = copy.deepcopy(pod)
    for result in (ask(pod, {}), uninject(pod)):
        event(result.reason)
        applied(pod, result)
    assert pod == before


@pytest.mark.parametrize("kind", ["Service", "", None, ["Pod"], {}])
def test_a_kind_that_holds_no_template_is_told(kind):
    pod = {"kind": kind, "spec": {"containers": [{"name": "app"}]}}
    expected = "unsupported_kind" if kind not in ("", None, {}) else "injected"
    assert ask(pod, {}).reason == expected


def test_every_kind_of_kubernetes_that_holds_a_template_is_known():
    pod = {"spec": {"containers": [{"name": "app"}]}}
    assert {ask(pod, {"kind": kind}).reason for kind in KINDS} == {"injected"}


def test_the_config_map_is_read_once_by_its_name_and_only_where_it_matters():
    read = []

    def read_config(name):
        read.append(name)

    for annotations, labels in (
        ({"tiergate.io/config": "tiers"}, ASKED),
        ({"tiergate.io/config-check": "off"}, ASKED),
        ({"tiergate.io/mode": "other"}, ASKED),
        ({}, {}),
    ):
        inject(
            {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app"}]}},
            namespace_labels=labels,
            settings=Injector(image=IMAGE),
            read_config=read_config,
        )
    assert read == ["tiers"]


def write():
    for case in CASES:
        (FOLDER / f"{case}.json").write_text(told(ask(*read(case))))


if __name__ == "__main__":
    write()
