"""Whom API servers call, where, for whose pods: `k8s/webhook` agrees with the webhook it calls."""

import pytest
from rendered import one, selects

from tiergate_sidecar import labels, make_certs, webhook
from tiergate_sidecar.injection import Injector
from tiergate_sidecar.selection import wish_of
from tiergate_sidecar.webhook_server import GRACE_SECONDS, LINGER_SECONDS


def test_the_webhook_is_found_by_what_it_is_called():
    hooks = one("webhook", "MutatingWebhookConfiguration")
    service, deployment = one("webhook", "Service"), one("webhook", "Deployment")
    assert hooks["metadata"]["name"] == make_certs.CONFIGURATION
    assert len(hooks["webhooks"]) == make_certs.WEBHOOKS
    place = service["metadata"]["name"], service["metadata"]["namespace"]
    assert f"{place[0]}.{place[1]}.svc" == make_certs.SERVICE
    paths = [each["clientConfig"]["service"]["path"] for each in hooks["webhooks"]]
    assert paths == [webhook.BY_NAMESPACE, webhook.BY_POD]
    (port,) = service["spec"]["ports"]
    for each in hooks["webhooks"]:
        called = each["clientConfig"]["service"]
        assert (called["name"], called["namespace"], called["port"]) == (*place, port["port"])
        assert each["timeoutSeconds"] > webhook.SECONDS
        assert (each["failurePolicy"], each["reinvocationPolicy"]) == ("Fail", "IfNeeded")
        assert each["sideEffects"] == "None"
    pod = deployment["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "certs", "secret": {"secretName": make_certs.SECRET}}]
    assert pod["terminationGracePeriodSeconds"] > LINGER_SECONDS + GRACE_SECONDS
    role = one("webhook", "ClusterRole")["rules"]
    assert role == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [Injector(image="i").config],
            "verbs": ["get"],
        }
    ]
    (who,) = one("webhook", "ClusterRoleBinding")["subjects"]
    assert one("webhook", "ServiceAccount", who["name"])["metadata"]["namespace"] == place[1]
    assert pod["serviceAccountName"] == who["name"]


def called(hooks, namespace, pod):
    """The paths that a pod's creation arrives at."""
    return [
        each["clientConfig"]["service"]["path"]
        for each in hooks["webhooks"]
        if selects(each["namespaceSelector"], namespace) and selects(each["objectSelector"], pod)
    ]


SAID = [None, *sorted(labels.ENABLED | labels.DISABLED), "perhaps"]


@pytest.mark.parametrize("pod", SAID)
@pytest.mark.parametrize("namespace", SAID)
def test_a_pod_comes_to_the_webhook_when_somebody_asked_and_then_once(namespace, pod):
    hooks = one("webhook", "MutatingWebhookConfiguration")
    theirs, own = ({labels.INJECT: said} if said else {} for said in (namespace, pod))
    paths = called(hooks, {"kubernetes.io/metadata.name": "apps"} | theirs, own)
    if wish_of(own, {}, theirs).reason == "asked":
        assert len(paths) == 1
        assert wish_of(own, {}, webhook.NAMESPACE_LABELS[paths[0]]).reason == "asked"
    for path in paths:  # the others hear why not: an unreadable value in a namespace that asks
        assert wish_of(own, {}, webhook.NAMESPACE_LABELS[path]).reason in ("asked", "invalid_label")
    for system in ("kube-system", "kube-node-lease", "tiergate"):
        assert called(hooks, {"kubernetes.io/metadata.name": system} | theirs, own) == []


def test_our_own_pods_depend_on_no_webhook():
    hooks = one("webhook", "MutatingWebhookConfiguration")
    enabled = {labels.INJECT: "enabled", "kubernetes.io/metadata.name": "anywhere"}
    for folder in ("standalone", "webhook"):
        pod = one(folder, "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert called(hooks, enabled, pod) == []
    namespace = one("webhook", "Namespace", "tiergate")["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_certificate_of_cert_manager_is_for_the_service_and_trusted_by_its_authority():
    folder = "webhook-cert-manager"
    leaf, authority = (
        one(folder, "Certificate", f"tiergate-{name}") for name in ("webhook", "authority")
    )
    assert make_certs.SERVICE in leaf["spec"]["dnsNames"]
    assert leaf["spec"]["secretName"] == make_certs.SECRET
    issuer = one(folder, "Issuer", leaf["spec"]["issuerRef"]["name"])
    assert issuer["spec"] == {"ca": {"secretName": authority["spec"]["secretName"]}}
    assert one(folder, "Issuer", authority["spec"]["issuerRef"]["name"])["spec"] == {
        "selfSigned": {}
    }
    trusted = one(folder, "MutatingWebhookConfiguration")["metadata"]["annotations"]
    place = f"{leaf['metadata']['namespace']}/{leaf['metadata']['name']}"
    assert trusted == {"cert-manager.io/inject-ca-from": place}
