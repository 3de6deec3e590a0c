"""What lies in `k8s/` can be applied as it is, to every Kubernetes that we name, and speaks of
nothing that the code does not have: images, ports, paths, keys, variables and options.
"""

import re

import click
import kubernetes_validate
import podrules
import pytest
import yaml
from rendered import FOLDERS, K8S, one, pods_of, rendered, selects

from tiergate import Gateway, __version__, read_document
from tiergate_sidecar import labels
from tiergate_sidecar.app_breakage import breakage_of
from tiergate_sidecar.cli import main
from tiergate_sidecar.life import Life
from tiergate_sidecar.probes import probes_app
from tiergate_sidecar.settings import parse_address, settings_of
from tiergate_sidecar.webhook_metrics import WebhookMetrics
from tiergate_sidecar.webhook_server import probes_app as webhook_probes

VERSIONS = [f"1.{minor}" for minor in range(29, 38)]
FIRST = {
    "MutatingAdmissionPolicy": 36,
    "MutatingAdmissionPolicyBinding": 36,
    "ValidatingAdmissionPolicy": 30,
    "ValidatingAdmissionPolicyBinding": 30,
}
"""Minor versions that have a kind in the version of its API that we use; the rest always do."""

OF_OPERATORS = {
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "Certificate": "cert-manager.io/v1",
    "Issuer": "cert-manager.io/v1",
}
"""Kinds that no schema of Kubernetes knows."""

ONE = {
    "providers": {"p1": {"base_url": "http://p1/v1"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
}
EVERY = [(folder, document) for folder in FOLDERS for document in rendered(folder)]
PODS = [
    pytest.param(pod["spec"], id=f"{folder}-{owner['metadata']['name']}")
    for folder in FOLDERS
    for owner, pod in pods_of(rendered(folder))
]
OURS = [
    pytest.param(folder, pod["spec"], each, id=f"{folder}-{each['name']}")
    for folder in FOLDERS
    for _, pod in pods_of(rendered(folder))
    for each in podrules.containers(pod["spec"])
    if each["image"].startswith("tiergate")
]


def named(document):
    meta = document["metadata"]
    return document["apiVersion"], document["kind"], meta.get("namespace"), meta["name"]


def command_of(container):
    """The options that a container's arguments come to; raises what the command line would say."""
    command = main.commands[container["args"][0]]
    return command.make_context(command.name, list(container["args"][1:])).params


def document_of(folder, spec, container):
    """What a container of ours is configured with: its ConfigMap's file and its variables."""
    volumes = {each["name"]: each for each in spec["volumes"]}
    folders = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
    file = str(command_of(container)["file"])
    path, _, key = file.rpartition("/")
    text = one(folder, "ConfigMap", folders[path]["configMap"]["name"])["data"][key]
    environ = {each["name"]: each.get("value", "redis://h") for each in container["env"]}
    assert all(name.startswith("TIERGATE_") for name in environ)
    assert (
        environ.pop("TIERGATE_SERVER__STRICT") == "false"
    )  # so that a wrong name is an error here
    return text, environ


def loaded(tmp_path, folder, spec, container):
    text, environ = document_of(folder, spec, container)
    (tmp_path / "tiergate.toml").write_text(text)
    given = command_of(container)
    flags = {f"server.{name}": given[name] for name in ("listen", "admin")}
    return settings_of(read_document(tmp_path / "tiergate.toml", environ=environ, flags=flags))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_is_one_of_kubernetes(version):
    seen = []
    for _, document in EVERY:
        minor = int(version.partition(".")[2])
        kind = document["kind"]
        if kind in OF_OPERATORS or minor < FIRST.get(kind, 0) or document in seen:
            continue
        seen.append(document)
        kubernetes_validate.validate(document, version, strict=True)
    assert len(seen) > 20


def test_nothing_is_named_twice_and_no_secret_is_in_it():
    for folder in FOLDERS:
        names = [named(each) for each in rendered(folder)]
        assert len(set(names)) == len(names), folder
        assert "Secret" not in {kind for _, kind, *_ in names}
    for path in K8S.rglob("*.yaml"):
        assert len(list(yaml.safe_load_all(path.read_text()))) >= 1, path
        assert path.read_text().startswith("#") or path.name != "kustomization.yaml", path


def test_what_operators_add_to_kubernetes_has_its_shape():
    found = [each for _, each in EVERY if each["kind"] in OF_OPERATORS]
    assert {each["kind"] for each in found} == set(OF_OPERATORS)
    assert all(each["apiVersion"] == OF_OPERATORS[each["kind"]] for each in found)
    monitor = one("monitoring", "PodMonitor")["spec"]
    assert monitor["selector"] == {}, "the apps' pods have labels of their own"
    assert monitor["podMetricsEndpoints"] == [
        {"port": labels.PROBES_PORT_NAME, "path": "/metrics", "interval": "15s"}
    ]


@pytest.mark.parametrize("spec", PODS)
def test_a_pod_keeps_the_rules(spec):
    assert list(podrules.broken({"spec": spec})) == []
    assert list(podrules.broken_restricted(spec)) == []
    assert spec["enableServiceLinks"] is False
    talks_to_kubernetes = any(
        "--read-config" in each.get("args", ()) for each in spec["containers"]
    )
    assert spec["automountServiceAccountToken"] is talks_to_kubernetes
    for each in podrules.containers(spec):
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert set(each["resources"]["requests"]) == {"cpu", "memory"}
        assert set(each["resources"]["limits"]) == {"memory"}
        assert all("subPath" not in mount for mount in each.get("volumeMounts", ()))


@pytest.mark.parametrize(("folder", "spec", "container"), OURS)
def test_a_container_of_ours_says_what_the_code_understands(folder, spec, container):
    given = command_of(container)
    assert container["image"] == f"tiergate:{__version__}"
    assert container["resources"] == {
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"memory": "256Mi"},
    }
    security = container["securityContext"]
    dockerfile = (K8S.parent / "Dockerfile").read_text()
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}" in dockerfile
    assert security["runAsUser"] == labels.USER
    assert "command" not in container
    assert "ENTRYPOINT" in dockerfile
    waiting = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
    assert waiting is None or waiting[0] == "/opt/tiergate/bin/python"
    assert "/opt/tiergate/bin" in dockerfile
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    if given.get("image"):  # the webhook
        assert given["image"] == container["image"]
        assert {parse_address(given[each], each).port for each in ("listen", "probes")} == set(
            ports.values()
        )
        assert str(given["certs"]) in {mount["mountPath"] for mount in container["volumeMounts"]}
        paths = {
            route.path
            for route in webhook_probes(Life(), None, WebhookMetrics(lambda: None)).routes
        }
    else:
        paths = {route.path for route in probes_app(Gateway(ONE), Life()).routes}
    probes = {name: each for name, each in container.items() if name.endswith("Probe")}
    assert {each["httpGet"]["path"] for each in probes.values()} <= paths
    for each in probes.values():
        assert (
            ports.get(each["httpGet"]["port"], each["httpGet"]["port"]) == ports["tiergate-probes"]
        )


@pytest.mark.parametrize(
    ("folder", "spec", "container"), [each for each in OURS if "webhook" not in each.id]
)
def test_a_gateway_starts_with_its_file_and_variables(tmp_path, folder, spec, container):
    settings, config = loaded(tmp_path, folder, spec, container)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    server = settings.server
    assert parse_address(server.probes, "").port == ports.pop("tiergate-probes")
    assert parse_address(server.admin, "").host == "127.0.0.1"
    clients = parse_address(server.listen, "")
    assert ports == ({} if clients.host == "127.0.0.1" else {"http": clients.port})
    assert config.request_log.url == "stdout:"
    assert settings.logging.format == "json"
    # The end of a pod: the wait, the grace, and something to spare.
    command = (
        container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["0"])
    )
    waits = int(re.findall(r"\d+", command[-1])[-1])
    ends = spec.get("terminationGracePeriodSeconds", 30)
    assert waits + server.grace_seconds + 5 <= ends
    slowest = max([config.retry.deadline(tier) for tier in config.retry.tiers], default=0)
    assert server.grace_seconds >= slowest, "a rollout cuts no request that is in its time"


async def test_the_configuration_of_a_sidecar_changes_nothing_and_is_ready(tmp_path):
    (spec,) = (each.values[1] for each in OURS if each.id == "native-tiergate")
    settings, config = loaded(tmp_path, "native", spec, spec["initContainers"][0])
    assert settings.proxy.provider == "openai"
    assert config.routing.unknown_model == "pass"
    assert (config.tiers, config.routing.aliases) == ({}, {})
    assert breakage_of(one("base", "ConfigMap")["data"][labels.CONFIG_KEY]) in (None, "")
    assert config.providers["openai"].credentials == "client"
    async with Gateway(config, environ={}) as gateway:
        assert gateway.status().ready
        assert gateway.models() == {}  # the list, too, is the provider's


def test_the_examples_in_the_configuration_are_right(tmp_path):
    text = (K8S / "base" / "tiergate.toml").read_text()
    _, _, examples = text.partition("# Then move one model")
    lines = [line.removeprefix("# ") for line in examples.splitlines()[3:]]
    (tmp_path / "t.toml").write_text("\n".join([text, *lines]).replace("\n#", "\n\n#"))
    _, config = settings_of(read_document(tmp_path / "t.toml", environ={}))
    assert config.routing.aliases == {"gpt-4o*": "moderate"}
    assert [each.model for each in config.tiers["moderate"]] == ["gpt-5-mini"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_reference_arrives(folder):
    documents = rendered(folder)
    pods = [(owner["metadata"], pod) for owner, pod in pods_of(documents)]
    for owner, pod in pods_of(documents):
        selector = owner["spec"]["selector"]
        assert selects(selector, pod["metadata"]["labels"])
        account = pod["spec"]["serviceAccountName"]
        assert one(folder, "ServiceAccount", account)["automountServiceAccountToken"] is False
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                assert one(folder, "ConfigMap", volume["configMap"]["name"])
        for each in pod["spec"].get("topologySpreadConstraints", ()):
            assert selects(each["labelSelector"], pod["metadata"]["labels"])
        apart = pod["spec"].get("affinity", {}).get("podAntiAffinity", {})
        for each in apart.get("preferredDuringSchedulingIgnoredDuringExecution", ()):
            assert selects(each["podAffinityTerm"]["labelSelector"], pod["metadata"]["labels"])
    for each in documents:
        spec, where = each.get("spec", {}), each["metadata"].get("namespace")
        if each["kind"] == "HorizontalPodAutoscaler":
            target = one(folder, spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
            assert "replicas" not in target["spec"], "two that set one number"
            assert spec["minReplicas"] >= 2
        if each["kind"] in ("PodDisruptionBudget", "Service"):
            chosen = (
                spec["selector"]
                if each["kind"] == "PodDisruptionBudget"
                else {"matchLabels": spec["selector"]}
            )
            (hit,) = [
                pod
                for owner, pod in pods
                if selects(chosen, pod["metadata"]["labels"]) and owner.get("namespace") == where
            ]
            names = {port["name"] for c in hit["spec"]["containers"] for port in c["ports"]}
            assert {port["targetPort"] for port in spec.get("ports", ())} <= names


def test_several_replicas_stand_on_several_nodes():
    for folder, kind in (("standalone", "topologySpreadConstraints"), ("webhook", "affinity")):
        deployment = one(folder, "Deployment")["spec"]
        assert deployment["template"]["spec"][kind]
        assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        assert deployment.get("replicas", 2) == 2


def test_redis_and_the_network_policy_fit_the_central_gateway():
    plain, shared = (one(each, "Deployment") for each in ("standalone", "redis"))
    added = [
        each
        for each in shared["spec"]["template"]["spec"]["containers"][0]["env"]
        if each not in plain["spec"]["template"]["spec"]["containers"][0]["env"]
    ]
    assert added == [
        {
            "name": "TIERGATE_CACHE__URL",
            "valueFrom": {"secretKeyRef": {"name": "tiergate-redis", "key": "url"}},
        }
    ]
    policy = one("networkpolicy", "NetworkPolicy")["spec"]
    pod = plain["spec"]["template"]
    assert selects(policy["podSelector"], pod["metadata"]["labels"])
    names = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == names
    open_to = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert open_to == {53, 443, 6379}


def test_an_unknown_option_would_be_noticed():
    container = one("webhook", "Deployment")["spec"]["template"]["spec"]["containers"][0]
    with pytest.raises(click.UsageError):
        command_of(container | {"args": [*container["args"], "--nonsense"]})
