"""The sidecar's container is complete by itself, in both modes, and ends within a pod's time."""

import podrules
import pytest

from tiergate_sidecar import labels
from tiergate_sidecar.injector import Injector
from tiergate_sidecar.sidecar_container import (
    CLASSIC_GRACE_SECONDS,
    DRAIN_SECONDS,
    USUAL_GRACE_SECONDS,
    container_of,
    volume_of,
)


def variables(container):
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("mode", ["native", "classic"])
@pytest.mark.parametrize("user", [65532, 1000, None])
def test_it_keeps_the_restricted_standard_by_itself(mode, user):
    container = container_of(Injector(image="tiergate:1", mode=mode, run_as_user=user))
    assert list(podrules.broken_restricted_container(container)) == []
    context = container["securityContext"]
    assert (context.get("runAsUser"), context.get("runAsGroup")) == (user, user)
    assert context["readOnlyRootFilesystem"] is True
    where = "initContainers" if mode == "native" else "containers"
    spec = {where: [container], "volumes": [volume_of(Injector(image="tiergate:1"))]}
    assert list(podrules.broken({"spec": spec})) == []


def test_a_native_one_keeps_running_and_has_nothing_to_wait_for():
    container = container_of(Injector(image="tiergate:1"))
    assert container["restartPolicy"] == "Always"
    assert "lifecycle" not in container
    assert "TIERGATE_SERVER__GRACE_SECONDS" not in variables(container)


def test_a_classic_one_waits_for_the_app_and_ends_before_it_is_killed():
    container = container_of(Injector(image="tiergate:1", mode="classic"))
    assert "restartPolicy" not in container
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0].startswith("/opt/tiergate/bin/")
    assert f"sleep({DRAIN_SECONDS})" in command[2]
    assert variables(container)["TIERGATE_SERVER__GRACE_SECONDS"] == str(CLASSIC_GRACE_SECONDS)
    assert DRAIN_SECONDS + CLASSIC_GRACE_SECONDS < USUAL_GRACE_SECONDS


def test_the_app_waits_until_it_is_ready_and_stays_in_its_service():
    container = container_of(Injector(image="tiergate:1"))
    assert container["startupProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert "readinessProbe" not in container


def test_only_the_probes_are_on_the_pods_address():
    container = container_of(Injector(image="tiergate:1", port=4290, admin_port=4291))
    assert container["args"][-4:] == ["--listen", "127.0.0.1:4290", "--admin", "127.0.0.1:4291"]
    assert container["ports"] == [
        {"name": labels.PROBES_PORT_NAME, "containerPort": labels.PROBES_PORT}
    ]
    assert variables(container)["TIERGATE_SERVER__PROBES"] == f":{labels.PROBES_PORT}"


def test_keys_come_by_reference_and_only_where_a_secret_is_named():
    assert "envFrom" not in container_of(Injector(image="tiergate:1"))
    container = container_of(Injector(image="tiergate:1", secret="keys"))
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]


def test_the_configuration_is_a_folder_that_follows_the_config_map():
    settings = Injector(image="tiergate:1", config="tiers")
    (mount,) = container_of(settings)["volumeMounts"]
    assert mount == {"name": "tiergate-config", "mountPath": "/etc/tiergate", "readOnly": True}
    assert volume_of(settings) == {"name": "tiergate-config", "configMap": {"name": "tiers"}}


def test_settings_of_the_sidecar_are_variables_only_where_they_are_said():
    said = Injector(image="tiergate:1", log_level="debug", stream_failover="buffered")
    added = (
        variables(container_of(said)).items()
        - variables(container_of(Injector(image="tiergate:1"))).items()
    )
    assert added == {
        ("TIERGATE_LOGGING__LEVEL", "debug"),
        ("TIERGATE_STREAMING__FAILOVER", "buffered"),
    }
