"""The rules that pods are held to in other tests find what breaks them."""

import podrules
import pytest


def pod(container=None, **spec):
    return {"spec": {"containers": [{"name": "app", **(container or {})}], **spec}}


GOOD = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (pod({"name": "App"}), "no DNS label"),
        (pod(initContainers=[{"name": "app"}]), "container app: twice"),
        (pod(volumes=[{"name": "a"}, {"name": "a"}]), "volume a: twice"),
        (pod() | {"metadata": {"annotations": {"a/b/c": ""}}}, "no qualified name"),
        (pod({"env": [{"name": "A"}, {"name": "A"}]}), "A twice"),
        (pod({"ports": [{"containerPort": 1}, {"containerPort": 1}]}), "port 1: twice"),
        (pod({"ports": [{"containerPort": 99999}]}), "out of range"),
        (pod({"ports": [{"containerPort": 1, "name": "a" * 16}]}), "no name of a service"),
        (pod(volumes=[{"name": "a", "configMap": {"name": "A"}}]), "no name of a configMap"),
        (pod({"volumeMounts": [{"name": "a", "mountPath": "/"}]}), "no volume a"),
        (pod({"startupProbe": {"httpGet": {"port": "http"}}}), "asks at no port http"),
        (pod({"resources": {"limits": {"cpu": "1x"}}}), "no quantity"),
        (
            pod({"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}}),
            "more memory requested",
        ),
        (pod(initContainers=[{"name": "a", "lifecycle": {}}]), "without restartPolicy Always"),
        (pod({"restartPolicy": "Always"}), "container app: restartPolicy"),
    ],
)
def test_what_an_api_server_refuses_is_found(broken, why):
    assert any(why in each for each in podrules.broken(broken))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"allowPrivilegeEscalation": None}, "privileges may grow"),
        ({"privileged": True}, "privileged"),
        ({"capabilities": {}}, "keeps capabilities"),
        ({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}, "adds capabilities"),
        ({"runAsNonRoot": None}, "may be root"),
        ({"runAsUser": 0}, "is root"),
        ({"seccompProfile": {"type": "Unconfined"}}, "no seccomp profile"),
    ],
)
def test_what_the_restricted_standard_forbids_is_found(change, why):
    found = list(podrules.broken_restricted(pod({"securityContext": GOOD | change})["spec"]))
    assert any(why in each for each in found)


def test_a_hosts_things_are_found():
    spec = pod({"securityContext": GOOD, "ports": [{"containerPort": 1, "hostPort": 1}]})["spec"]
    spec |= {"hostPID": True, "volumes": [{"name": "a", "hostPath": {"path": "/"}}]}
    assert len(list(podrules.broken_restricted(spec))) == 3


def test_a_good_pod_breaks_nothing():
    good = pod({"securityContext": GOOD, "ports": [{"containerPort": 80, "name": "http"}]})
    assert list(podrules.broken(good)) == []
    assert list(podrules.broken_restricted(good["spec"])) == []
