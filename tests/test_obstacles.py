"""Whatever keeps a sidecar out of a pod is found, and what only looks like it is not."""

import pytest

from tiergate_sidecar.injector import Injector
from tiergate_sidecar.obstacles import MOST_TOLD, clashes, place_obstacles
from tiergate_sidecar.overrides import Overrides
from tiergate_sidecar.pod_reading import spec_of

APP = {"name": "app"}


def pod(**fields):
    return spec_of({"spec": {"containers": [APP], **fields}})


def reasons(obstacles):
    return [each.reason for each in obstacles]


def asked(containers=None, **settings):
    return Overrides(Injector(image="tiergate:1", **settings), containers)


def affinity(*terms):
    required = {"nodeSelectorTerms": [{"matchExpressions": list(term)} for term in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


WINDOWS = {"key": "kubernetes.io/os", "operator": "In", "values": ["windows"]}
OLD = {"key": "beta.kubernetes.io/os", "operator": "In", "values": ["windows"]}
EITHER = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux", "windows"]}
NOT = {"key": "kubernetes.io/os", "operator": "NotIn", "values": ["windows"]}
ZONE = {"key": "zone", "operator": "In", "values": ["windows"]}


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({"os": {"name": "windows"}}, True),
        ({"os": {"name": "linux"}}, False),
        ({"os": "windows"}, False),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, True),
        ({"nodeSelector": {"beta.kubernetes.io/os": "windows"}}, True),
        ({"nodeSelector": {"kubernetes.io/os": "linux"}}, False),
        ({"nodeSelector": None}, False),
        ({"affinity": affinity([WINDOWS])}, True),
        ({"affinity": affinity([ZONE, OLD], [WINDOWS])}, True),
        ({"affinity": affinity([WINDOWS], [ZONE])}, False),
        ({"affinity": affinity([EITHER])}, False),
        ({"affinity": affinity([NOT])}, False),
        ({"affinity": affinity()}, False),
        ({"affinity": affinity([])}, False),
        ({"affinity": {"nodeAffinity": None}}, False),
        ({"affinity": {"nodeAffinity": []}}, False),
    ],
)
def test_a_pod_for_windows_is_known(fields, windows):
    assert reasons(place_obstacles(pod(**fields))) == (["windows"] if windows else [])


@pytest.mark.parametrize(("value", "found"), [(True, True), (False, False), ("true", False)])
def test_a_pod_on_its_nodes_network_is_known(value, found):
    assert reasons(place_obstacles(pod(hostNetwork=value))) == (["host_network"] if found else [])


@pytest.mark.parametrize("containers", [[], [{"name": "istio-proxy"}, {"name": "vault-agent"}]])
def test_a_pod_without_an_app_is_known(containers):
    assert reasons(place_obstacles(pod(containers=containers))) == ["no_containers"]


@pytest.mark.parametrize(
    ("port", "clash"),
    [
        ({"containerPort": 4190}, True),
        ({"containerPort": 4191, "protocol": "TCP"}, True),
        ({"containerPort": 4192, "protocol": None}, True),
        ({"containerPort": 4192, "protocol": "UDP"}, False),
        ({"containerPort": 4190, "protocol": "SCTP"}, False),
        ({"containerPort": "4190"}, False),
        ({"containerPort": 8000, "name": "tiergate-probes"}, True),
        ({"containerPort": 8000, "name": "tiergate-probes", "protocol": "UDP"}, True),
        ({"containerPort": 8000, "hostPort": 4190}, False),
        ("4190", False),
        (None, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_a_port_of_ours_is_a_clash(port, clash, where):
    spec = pod(**{where: [{"name": "other", "ports": [port]}]})
    assert reasons(clashes(spec, asked(), job=False)) == (["port_clash"] if clash else [])


def test_moved_ports_are_what_counts():
    spec = pod(containers=[{"name": "app", "ports": [{"containerPort": 4190}]}])
    assert reasons(clashes(spec, asked(port=4290), job=False)) == []
    assert reasons(clashes(spec, asked(port=4290, admin_port=4190), job=False)) == ["port_clash"]


@pytest.mark.parametrize(
    ("name", "value", "clash"),
    [
        ("LINKERD2_PROXY_CONTROL_LISTEN_ADDR", "0.0.0.0:4190", True),
        ("LINKERD2_PROXY_ADMIN_LISTEN_ADDR", "[::]:4191", True),
        ("LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS", "127.0.0.1:4140,[::1]:4190", True),
        ("LINKERD2_PROXY_ADMIN_LISTEN_ADDR", "0.0.0.0:5191", False),
        ("LINKERD2_PROXY_ADMIN_LISTEN_ADDR", "[::4191]:5191", False),
        ("LINKERD2_PROXY_ADMIN_LISTEN_ADDR", "0.0.0.0:41911", False),
        ("LINKERD2_PROXY_LOG", "x:4190", False),
        ("LINKERD2_PROXY_ADMIN_LISTEN_ADDR", 4191, False),
    ],
)
def test_a_port_that_linkerd_does_not_declare_is_a_clash(name, value, clash):
    spec = pod(initContainers=[{"name": "linkerd-proxy", "env": [{"name": name, "value": value}]}])
    assert reasons(clashes(spec, asked(), job=False)) == (["port_clash"] if clash else [])


def test_the_message_names_whats_in_the_way_and_what_helps_and_stays_short():
    ports = [{"containerPort": port} for port in (4190, 4191, 4192)]
    others = [{"name": f"other-{number}", "ports": ports} for number in range(9)]
    (found,) = clashes(pod(containers=others), asked(), job=False)
    assert found.message.count("container") == MOST_TOLD
    assert "'other-0' has port 4190 (tiergate.io/port moves the sidecar's)" in found.message
    assert "tiergate.io/admin-port" in found.message
    assert "4192 (kubelet asks the sidecar there, which cannot move: the app's" in found.message


def test_a_volume_of_our_name_is_a_clash():
    volumes = ["x", {"name": "other"}, {"name": "tiergate-config"}]
    assert reasons(clashes(pod(volumes=volumes), asked(), job=False)) == ["name_clash"]
    assert reasons(clashes(pod(volumes=volumes[:2]), asked(), job=False)) == []


def test_a_job_needs_a_native_sidecar():
    assert reasons(clashes(pod(), asked(mode="classic"), job=True)) == ["job_needs_native"]
    assert reasons(clashes(pod(), asked(mode="classic"), job=False)) == []
    assert reasons(clashes(pod(), asked(), job=True)) == []


def test_an_init_container_that_ends_finds_no_classic_sidecar():
    init = [{"name": "migrate"}, {"name": "cache", "restartPolicy": "Always"}]
    spec = pod(initContainers=init)
    found = clashes(spec, asked(("migrate", "cache"), mode="classic"), job=False)
    assert [(each.reason, "'migrate'" in each.message) for each in found] == [
        ("invalid_annotation", True)
    ]
    assert reasons(clashes(spec, asked(("migrate",)), job=False)) == []
