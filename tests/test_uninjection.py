"""What an injection put in is taken out; whatever has been edited since then stays.

That a pod becomes what it was, for every pod, is in `test_injection`.
"""

import json

import jsonpatch
import pytest

from tiergate_sidecar.injection import Injector, inject, uninject
from tiergate_sidecar.labels import INJECT, STATUS

ASKED = {INJECT: "enabled"}


def injected(pod, **settings):
    result = inject(pod, namespace_labels=ASKED, settings=Injector(image="tiergate:1", **settings))
    return jsonpatch.apply_patch(pod, list(result.patch))


def undone(pod):
    result = uninject(pod)
    return jsonpatch.apply_patch(pod, list(result.patch)), result.warnings


def bare():
    return {"metadata": {"name": "shop"}, "spec": {"containers": [{"name": "app"}]}}


@pytest.mark.parametrize(
    "pod",
    [
        {},
        bare(),
        [],
        None,
        {"metadata": 5},
        {"metadata": {"annotations": {STATUS: "injected"}}},
        {"metadata": {"annotations": {STATUS: 5}}},
        injected(bare()) | {"spec": {"containers": {}}},
        {"spec": {"containers": [{"name": "tiergate", "image": "tiergate:1"}]}},
    ],
)
def test_what_was_not_injected_stays_as_it_is(pod):
    result = uninject(pod)
    assert (result.reason, result.patch, result.refused) == ("not_injected", (), False)
    assert result.message


def test_edits_beside_it_stay():
    pod = injected(bare())
    spec, metadata = pod["spec"], pod["metadata"]
    spec["containers"].insert(0, {"name": "new", "env": [{"name": "A", "value": "1"}]})
    spec["containers"][1]["env"].insert(1, {"name": "B", "value": "2"})
    spec["initContainers"].insert(0, {"name": "migrate"})
    spec["volumes"].append({"name": "cache", "emptyDir": {}})
    metadata["annotations"]["team"] = "web"
    metadata["labels"] = {"app": "shop"}
    assert undone(pod) == (
        {
            "metadata": {
                "name": "shop",
                "annotations": {"team": "web"},
                "labels": {"app": "shop"},
            },
            "spec": {
                "containers": [
                    {"name": "new", "env": [{"name": "A", "value": "1"}]},
                    {"name": "app", "env": [{"name": "B", "value": "2"}]},
                ],
                "initContainers": [{"name": "migrate"}],
                "volumes": [{"name": "cache", "emptyDir": {}}],
            },
        },
        (),
    )


def test_what_others_have_made_of_ours_goes_too():
    pod = injected(bare(), mode="classic")
    pod["spec"]["containers"][1]["imagePullPolicy"] = "Always"
    pod["spec"]["volumes"][0]["configMap"]["defaultMode"] = 420
    assert undone(pod) == (bare(), ())


def test_a_variable_with_another_value_is_somebodys():
    pod = injected(bare())
    pod["spec"]["containers"][0]["env"][0]["value"] = "https://models.example.test/v1"
    after, (warning,) = undone(pod)
    assert [each["name"] for each in after["spec"]["containers"][0]["env"]] == ["OPENAI_BASE_URL"]
    assert "OPENAI_BASE_URL was changed" in warning


def test_an_annotation_with_another_value_is_somebodys():
    pod = injected(bare())
    pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] = "new"
    after, _ = undone(pod)
    assert after["metadata"]["annotations"] == {"kubectl.kubernetes.io/default-container": "new"}


def test_a_volume_that_somebody_else_uses_stays():
    pod = injected(bare())
    mounts = ["odd", {"name": "tiergate-config", "mountPath": "/tiers"}]
    pod["spec"]["containers"][0]["volumeMounts"] = mounts
    after, (warning,) = undone(pod)
    assert [each["name"] for each in after["spec"]["volumes"]] == ["tiergate-config"]
    assert "'app'" in warning


def test_what_is_gone_already_is_not_missed():
    pod = injected(bare())
    for key in ("initContainers", "volumes"):
        del pod["spec"][key]
    del pod["spec"]["containers"][0]["env"]
    pod["metadata"]["annotations"] = {STATUS: pod["metadata"]["annotations"][STATUS]}
    assert undone(pod) == (bare(), ())


def test_entries_of_any_shape_are_passed_by():
    pod = bare()
    pod["spec"]["volumes"] = ["odd", {"name": "cache", "emptyDir": {}}]
    pod["spec"]["containers"][0] |= {"env": ["odd", {"name": ["x"]}, {}], "volumeMounts": "odd"}
    assert undone(injected(pod)) == (pod, ())


def test_a_status_takes_nothing_that_no_injection_puts_in():
    pod = bare()
    pod["metadata"]["annotations"] = {"team": "web"}
    pod["spec"]["containers"][0]["env"] = [{"name": "KEY", "value": "1"}]
    pod["spec"]["tolerations"] = []
    status = {
        "version": "1",
        "hash": "",
        "mode": "native",
        "port": 4190,
        "env": {"app": ["KEY"]},
        "annotations": {"team": "web"},
        "created": ["tolerations", "containers", "env:other"],
    }
    copied = json.loads(json.dumps(pod))
    copied["metadata"]["annotations"][STATUS] = json.dumps(status)
    after, warnings = undone(copied)
    assert after == pod
    assert len(warnings) == 1
