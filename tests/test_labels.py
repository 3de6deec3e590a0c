"""The words of a pod are words of Kubernetes, and each annotation that can be written is read."""

import podrules
import pytest

from tiergate_sidecar import labels, overrides

TEXTS = {name: value for name, value in vars(labels).items() if isinstance(value, str)}
KEYS = sorted(value for value in TEXTS.values() if value.startswith(f"{labels.DOMAIN}/"))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_one_of_kubernetes(key):
    assert list(podrules.broken_names({"metadata": {"annotations": {key: ""}}, "spec": {}})) == []


def test_each_annotation_is_read_and_no_other():
    assert len(KEYS) == len(set(KEYS))
    assert set(KEYS) == overrides.KNOWN


def test_yes_and_no_are_two_things():
    assert not labels.ENABLED & labels.DISABLED


def test_the_ports_are_three_and_the_probes_have_a_name_of_a_port():
    ports = [labels.CLIENT_PORT, labels.ADMIN_PORT, labels.PROBES_PORT]
    container = {
        "name": labels.CONTAINER,
        "ports": [{"containerPort": port} for port in ports],
        "volumeMounts": [{"name": labels.CONFIG_VOLUME, "mountPath": labels.CONFIG_FOLDER}],
    }
    container["ports"][2]["name"] = labels.PROBES_PORT_NAME
    spec = {
        "containers": [container],
        "volumes": [{"name": labels.CONFIG_VOLUME, "configMap": {"name": labels.CONTAINER}}],
    }
    assert list(podrules.broken({"spec": spec})) == []


def test_the_file_is_the_key_in_its_folder():
    assert f"{labels.CONFIG_FOLDER}/{labels.CONFIG_KEY}" == labels.CONFIG_FILE
