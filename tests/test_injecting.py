"""What is put into a pod that has its sidecar already, and where the sidecar stands in one that
gets it; the patches themselves are in `tests/injection`."""

import jsonpatch
import pytest

from tiergate_sidecar.injection import Injector, inject, uninject
from tiergate_sidecar.labels import INJECT, STATUS

SETTINGS = Injector(image="example.test:5000/ai/gate:1")


def ask(pod, settings=SETTINGS):
    return inject(pod, namespace_labels={INJECT: "enabled"}, settings=settings)


def after(pod, settings=SETTINGS):
    return jsonpatch.apply_patch(pod, list(ask(pod, settings).patch))


def names(pod, where):
    return [each["name"] for each in pod["spec"][where]]


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        (["migrate"], ["tiergate", "migrate"]),
        (["istio-init", "migrate"], ["tiergate", "istio-init", "migrate"]),
        (["istio-init", "istio-proxy*", "a"], ["istio-init", "istio-proxy", "tiergate", "a"]),
        (["linkerd-init", "linkerd-proxy*"], ["linkerd-init", "linkerd-proxy", "tiergate"]),
        (["a", "istio-proxy*"], ["tiergate", "a", "istio-proxy"]),
        (["vault-agent-init"], ["tiergate", "vault-agent-init"]),
        (["kuma-sidecar*", "kuma-init"], ["kuma-sidecar", "tiergate", "kuma-init"]),
    ],
)
def test_it_comes_first_but_for_a_mesh_whose_proxy_runs_already(init, expected):
    containers = [
        {"name": name.rstrip("*"), **({"restartPolicy": "Always"} if name[-1] == "*" else {})}
        for name in init
    ]
    pod = {"spec": {"initContainers": containers, "containers": [{"name": "app"}]}}
    assert names(after(pod), "initContainers") == expected


@pytest.mark.parametrize(
    ("image", "reason", "refused"),
    [
        ("tiergate", "already_injected", False),
        ("tiergate:0.1.0", "already_injected", False),
        ("example.test:5000/x/tiergate@sha256:ab", "already_injected", False),
        ("other.test/gate:2", "already_injected", False),
        ("tiergate-like:1", "name_clash", True),
        ("tiergate/app", "name_clash", True),
        ("", "name_clash", True),
        (None, "name_clash", True),
    ],
)
@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_a_container_of_our_name_is_known_by_its_image(image, reason, refused, where):
    pod = {"spec": {"containers": [{"name": "app"}]}}
    pod["spec"].setdefault(where, []).append({"name": "tiergate", "image": image})
    result = ask(pod)
    assert (result.reason, result.refused, result.patch) == (reason, refused, ())


def test_containers_that_come_later_get_the_variables_once_and_lose_them_with_the_rest():
    pod = {"metadata": {}, "spec": {"containers": [{"name": "app"}]}}
    late = [{"name": "late"}, {"name": "later", "env": None}, {"name": "daprd"}]
    first = after(pod)
    first["spec"]["containers"] += late
    second = after(first)
    assert [("env" in each, each["name"]) for each in second["spec"]["containers"]] == [
        (True, "app"),
        (True, "late"),
        (True, "later"),
        (False, "daprd"),
    ]
    assert names(second, "initContainers") == ["tiergate"]
    assert ask(second).reason == "already_injected"
    back = jsonpatch.apply_patch(second, list(uninject(second).patch))
    assert back == {"metadata": {}, "spec": {"containers": [{"name": "app"}, *late]}}


def test_a_variable_that_was_taken_out_on_purpose_does_not_come_back():
    pod = after({"spec": {"containers": [{"name": "app"}]}})
    del pod["spec"]["containers"][0]["env"]
    assert ask(pod).patch == ()


@pytest.mark.parametrize(
    ("settings", "drift"),
    [
        ({}, False),
        ({"port": 4290}, True),
        ({"image": "tiergate:2"}, True),
        ({"config": "other"}, True),
        ({"mode": "classic"}, True),
        ({"memory_limit": "512Mi"}, True),
    ],
)
def test_other_settings_are_told_of_and_change_nothing(settings, drift):
    pod = after({"spec": {"containers": [{"name": "app"}]}})
    changed = Injector(**({"image": SETTINGS.image} | settings))
    result = ask(pod, changed)
    assert (result.reason, result.patch) == ("already_injected", ())
    assert [("uninject" in each) for each in result.warnings] == ([True] if drift else [])


def test_pods_with_the_same_sidecar_have_the_same_hash():
    one = ask({"spec": {"containers": [{"name": "app"}]}})
    other = ask({"metadata": {"name": "b"}, "spec": {"containers": [{"name": "b"}, {"name": "c"}]}})
    assert one.audit["hash"] == other.audit["hash"]
    assert one.audit.keys() == {"reason", "mode", "version", "hash"}
    assert (
        ask(after({"spec": {"containers": [{"name": "app"}]}})).audit["hash"] == one.audit["hash"]
    )


def test_classic_warns_only_of_a_grace_that_is_too_short():
    classic = Injector(image="tiergate:1", mode="classic")
    for seconds, warned in ((29, 1), (30, 0), (None, 0), ("10", 0), (0, 1)):
        spec = {"containers": [{"name": "app"}], "terminationGracePeriodSeconds": seconds}
        assert len(ask({"spec": spec}, classic).warnings) == warned, seconds
        assert ask({"spec": spec}).warnings == ()


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, ("app", "app")),
        ({"default-container": "worker"}, ("worker", "worker")),
        ({"default-logs-container": "worker"}, ("worker", "worker")),
        ({"default-container": "gone"}, ("gone", "app")),
        ({"default-container": "worker", "default-logs-container": "app"}, ("worker", "app")),
    ],
)
def test_kubectl_goes_on_meaning_the_app(annotations, expected):
    given = {f"kubectl.kubernetes.io/{name}": value for name, value in annotations.items()}
    containers = [{"name": "istio-proxy"}, {"name": "app"}, {"name": "worker"}]
    pod = {"metadata": {"annotations": given}, "spec": {"containers": containers}}
    made = after(pod)["metadata"]["annotations"]
    assert STATUS in made
    assert (
        made["kubectl.kubernetes.io/default-container"],
        made["kubectl.kubernetes.io/default-logs-container"],
    ) == expected
