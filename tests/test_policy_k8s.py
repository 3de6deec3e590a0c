"""`k8s/policy` puts into a pod what `inject` does, by CEL: both are asked about the same pods.

Shown: the expressions compile against Kubernetes' own schema, and what they come to. Not shown: an
API server that evaluates them (see `kubernetes_cel`).
"""

import functools

import jsonpatch
import kubernetes_validate
import podrules
import pytest
from kubernetes_cel import Policy
from rendered import one, rendered, selects

from tiergate import __version__
from tiergate_sidecar import labels
from tiergate_sidecar.injection import Injector, inject
from tiergate_sidecar.other_sidecars import MESH, OTHERS
from tiergate_sidecar.overrides import overrides_of
from tiergate_sidecar.selection import wish_of

ASKS = {labels.INJECT: "enabled"}
URL = {"name": "OPENAI_BASE_URL", "value": "http://127.0.0.1:4190/v1"}
NODES = "requiredDuringSchedulingIgnoredDuringExecution"


@functools.cache
def mutating():
    return Policy(one("policy", "MutatingAdmissionPolicy"))


@functools.cache
def warning():
    return Policy(one("policy", "ValidatingAdmissionPolicy"))


def pod(*containers, annotations=None, pod_labels=None, **spec):
    metadata = {"generateName": "app-"}
    metadata |= {"labels": pod_labels} if pod_labels else {}
    metadata |= {"annotations": annotations} if annotations else {}
    apps = containers or ({},)
    named = [{"name": f"app{i}", "image": "app:1"} | each for i, each in enumerate(apps)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": named, **spec},
    }


def windows(*terms):
    key = "kubernetes.io/os"
    expressions = [[{"key": key, "operator": "In", "values": [each]}] for each in terms]
    listed = [{"matchExpressions": each} for each in expressions]
    return {"nodeAffinity": {NODES: {"nodeSelectorTerms": listed}}}


def env(*names, **values):
    entries = [{"name": name, "value": "x"} for name in names]
    return {"env": entries + [{"name": name, "value": value} for name, value in values.items()]}


PODS = {
    "bare": pod(),
    "two-containers": pod({}, env("OTHER")),
    "own-key": pod(env("OPENAI_API_KEY")),
    "own-url": pod(env("OPENAI_BASE_URL"), {}),
    "own-older-url": pod(env("OPENAI_API_BASE")),
    "our-url": pod({"env": [URL]}),
    "url-from-elsewhere": pod({"env": [{"name": "OPENAI_BASE_URL", "valueFrom": {
        "configMapKeyRef": {"name": "c", "key": "k"}}}]}),
    "env-from": pod({"envFrom": [{"secretRef": {"name": "s"}}]}),
    "env-from-another-prefix": pod({"envFrom": [{"prefix": "DB_", "secretRef": {"name": "s"}}]}),
    "env-from-our-prefix": pod({"envFrom": [{"prefix": "OPENAI_", "secretRef": {"name": "s"}}]}),
    "refers": pod(env("FIRST", FULL="$(OPENAI_BASE_URL)/chat", LAST="x")),
    "init": pod(initContainers=[{"name": "prepare", "image": "p:1"}]),
    "mesh": pod({}, {"name": "istio-proxy"}, initContainers=[
        {"name": "istio-init", "image": "i"}, {"name": "prepare", "image": "p:1"}]),
    "mesh-runs": pod(initContainers=[
        {"name": "istio-init", "image": "i"},
        {"name": "istio-proxy", "image": "i", "restartPolicy": "Always"},
        {"name": "prepare", "image": "p:1"},
        {"name": "kuma-sidecar", "image": "i", "restartPolicy": "Always"}]),
    "every-other-sidecar": pod({}, *({"name": each} for each in sorted(OTHERS))),
    "only-other-sidecars": pod(*({"name": each} for each in sorted(OTHERS))),
    "every-mesh-runs": pod(initContainers=[
        {"name": each, "image": "i", "restartPolicy": "Always"} for each in sorted(MESH)]),
    "only-mesh-inits": pod(initContainers=[{"name": "linkerd-init", "image": "i"}]),
    "dapr-first": pod({"name": "daprd"}, {}),
    "no-app": pod({"name": "daprd"}),
    "volumes": pod(volumes=[{"name": "data", "emptyDir": {}}]),
    "annotations": pod(annotations={"a.b/c": "d"}),
    "default-container": pod(annotations={labels.DEFAULT_CONTAINER: "app0"}),
    "config": pod(annotations={labels.CONFIG: "others.config"}),
    "config-not-a-name": pod(annotations={labels.CONFIG: "No_Name"}),
    "config-empty": pod(annotations={labels.CONFIG: ""}),
    "secret": pod(annotations={labels.SECRET: "keys"}),
    "secret-not-a-name": pod(annotations={labels.SECRET: "../keys"}),
    "config-check": pod(annotations={labels.CONFIG_CHECK: "off"}),
    "host-network": pod(hostNetwork=True),
    "own-network": pod(hostNetwork=False),
    "mirror": pod(annotations={"kubernetes.io/config.mirror": "5f3c1d"}),
    "windows-os": pod(os={"name": "windows"}),
    "linux-os": pod(os={"name": "linux"}),
    "windows-nodes": pod(nodeSelector={"kubernetes.io/os": "windows"}),
    "windows-affinity": pod(affinity=windows("windows")),
    "either-affinity": pod(affinity=windows("windows", "linux")),
    "no-terms": pod(affinity={"podAffinity": {}}),
    "port": pod({"ports": [{"containerPort": 4191}]}),
    "port-udp": pod({"ports": [{"containerPort": 4190, "protocol": "UDP"}]}),
    "port-of-init": pod(initContainers=[{"name": "i", "image": "i", "ports": [
        {"containerPort": 4192}]}]),
    "port-name": pod({"ports": [{"containerPort": 80, "name": labels.PROBES_PORT_NAME}]}),
    "other-port": pod({"ports": [{"containerPort": 8080, "name": "http"}]}),
    "volume-name": pod(volumes=[{"name": labels.CONFIG_VOLUME, "emptyDir": {}}]),
    "container-name": pod({"name": "tiergate", "image": "other:1"}, {}),
    "by-hand": pod({}, initContainers=[
        {"name": "tiergate", "image": "tiergate:0.1.0", "restartPolicy": "Always",
         "ports": [{"containerPort": 4192, "name": labels.PROBES_PORT_NAME}]}]),
}  # fmt: skip


def mutated(given):
    """What the API server makes of a pod that a binding has let in."""
    if not mutating().matches(given):
        return given
    for operations in mutating().patches(given):
        given = jsonpatch.JsonPatch(operations).apply(given)
    return given


def injected(given):
    settings = Injector(image=f"tiergate:{__version__}")
    done = inject(given, namespace_labels=ASKS, settings=settings)
    after = jsonpatch.JsonPatch(done.patch).apply(given)
    after.get("metadata", {}).get("annotations", {}).pop(labels.STATUS, None)
    return done, after


def compared(given):
    """Without the order of variables, which no rule depends on but that of references."""
    spec = dict(given["spec"])
    for where in ("initContainers", "containers"):
        spec[where] = [
            {**each, "env": {entry["name"]: entry for entry in each.get("env", ())}}
            for each in spec.get(where, ())
        ]
    return {"metadata": given["metadata"], "spec": spec}


@pytest.mark.parametrize("name", PODS)
def test_the_policy_does_what_the_injector_does(name):
    given = PODS[name]
    done, expected = injected(given)
    after = mutated(given)
    if name == "by-hand":  # the injector keeps out of it; the policy adds what the app may lack
        assert (done.reason, done.patch) == ("already_injected", ())
        expected["spec"]["containers"][0]["env"] = injected(pod())[1]["spec"]["containers"][0][
            "env"
        ]
    assert compared(after) == compared(expected), done.message
    assert (after != given) == (done.reason == "injected" or name == "by-hand")
    kubernetes_validate.validate(after, "1.37", strict=True)
    if after != given:
        assert list(podrules.broken(after)) == []
        assert mutating().matches(after), "asked again after other injectors"
        assert mutating().patches(after) == [[]], "twice is once"


def test_the_pods_meet_every_reason():
    reasons = {name: injected(each)[0].reason for name, each in PODS.items()}
    assert set(reasons.values()) >= {
        *("injected", "host_network", "windows", "port_clash", "name_clash", "no_containers"),
        "invalid_annotation",
    }


def test_a_variable_stands_before_whoever_refers_to_it():
    names = [e["name"] for e in mutated(PODS["refers"])["spec"]["containers"][0]["env"]]
    assert names.index("FIRST") < names.index("OPENAI_BASE_URL") < names.index("FULL")


def test_a_container_that_comes_later_gets_the_variables_too():
    once = mutated(PODS["bare"])
    once["spec"]["containers"].append({"name": "late", "image": "l:1"})
    twice = mutated(once)
    assert twice["spec"]["containers"][0] == once["spec"]["containers"][0]
    assert len(twice["spec"]["initContainers"]) == 1
    assert {e["name"] for e in twice["spec"]["containers"][1]["env"]} == {
        *("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY")
    }


ANNOTATIONS = sorted(
    value
    for name, value in vars(labels).items()
    if isinstance(value, str) and value.startswith(f"{labels.DOMAIN}/")
)
READ = {labels.INJECT, labels.CONFIG, labels.CONFIG_CHECK, labels.SECRET}


@pytest.mark.parametrize("annotation", [*ANNOTATIONS, f"{labels.DOMAIN}/unknown"])
def test_what_the_policy_does_not_read_keeps_the_sidecar_out_and_is_told(annotation):
    given = pod(annotations={annotation: "enabled"})
    assert mutating().matches(given) == (annotation in READ)
    if annotation not in READ:
        assert warning().matches(given)
        assert warning().messages(given) == [
            "tiergate: the pod has no sidecar: the policy does not read the annotation "
            + annotation
        ]


def test_each_override_of_the_injector_is_among_them():
    given = {name: "1" for name in ANNOTATIONS if name not in READ | {labels.STATUS}}
    with pytest.raises(ValueError, match=labels.DOMAIN) as caught:
        overrides_of(given, Injector(image="i"))
    assert labels.MODE in str(caught.value)


SAID = [None, *sorted(labels.ENABLED | labels.DISABLED), "perhaps"]


def bound(kind, namespace, pod_labels):
    """How many bindings let a pod in."""
    theirs = {"kubernetes.io/metadata.name": "apps"} | namespace
    return sum(
        selects(each["spec"]["matchResources"]["namespaceSelector"], theirs)
        and selects(each["spec"]["matchResources"]["objectSelector"], pod_labels)
        for each in rendered("policy")
        if each["kind"] == kind
    )


@pytest.mark.parametrize("namespace", SAID)
@pytest.mark.parametrize("label", SAID)
@pytest.mark.parametrize("annotation", SAID)
def test_who_asks_is_answered_by_the_same_table(namespace, label, annotation):
    said = [{labels.INJECT: each} if each else {} for each in (namespace, label, annotation)]
    given = pod(pod_labels=said[1], annotations=said[2])
    policies = bound("MutatingAdmissionPolicyBinding", said[0], said[1])
    assert policies <= 1
    assert policies == bound("ValidatingAdmissionPolicyBinding", said[0], said[1])
    wish = wish_of(said[1], said[2], said[0]).reason
    # No selector sees an annotation, so alone it counts only in a namespace that asks.
    unseen = label is None and namespace not in labels.ENABLED
    assert bool(policies and mutating().matches(given)) == (wish == "asked" and not unseen)
    if policies and wish == "invalid_label":
        assert warning().matches(given)
        (message,) = warning().messages(given)
        assert message.endswith("tiergate.io/inject is neither enabled nor disabled")
    if wish == "disabled" and policies:
        assert not warning().matches(given)


@pytest.mark.parametrize(
    ("name", "why"),
    [("host-network", "hostNetwork"), ("port", "port of the sidecar"), ("windows-os", "Windows")],
)
def test_a_pod_that_can_have_none_is_told_why(name, why):
    (message,) = warning().messages(PODS[name])
    assert why in message
    assert len(message) < 256, "the API server cuts a warning there"


def test_a_pod_that_got_its_sidecar_hears_nothing():
    assert warning().messages(mutated(PODS["bare"])) == []
    assert warning().messages(PODS["by-hand"]) == []


@pytest.mark.parametrize(
    "expression",
    [
        "Object.spec.initContainers{nam: 'a'}",
        "Object.spec.initContainers{name: 1}",
        "Object.spec.volumes{configMap: Object.spec.volumes.secret{}}",
        "variables.later",
    ],
)
def test_a_mistake_in_an_expression_would_be_found(expression):
    document = {
        "spec": {
            "matchConditions": [],
            "variables": [{"name": "now", "expression": expression}],
        }
    }
    with pytest.raises(RuntimeError, match="INVALID_ARGUMENT"):
        Policy(document)
