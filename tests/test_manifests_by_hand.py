"""The sidecars that `k8s/native` and `k8s/classic` show by hand are those that `inject` makes."""

import pytest
from rendered import one

from tiergate import __version__
from tiergate_sidecar import labels
from tiergate_sidecar.injection import Injector, inject
from tiergate_sidecar.patching import patched

MODES = {"native": "initContainers", "classic": "containers"}


def without_sidecar(template, where):
    """The template before anybody put a sidecar into it."""
    spec = dict(template["spec"])
    spec[where] = [each for each in spec[where] if each["name"] != labels.CONTAINER]
    spec["volumes"] = [each for each in spec["volumes"] if each["name"] != labels.CONFIG_VOLUME]
    spec["containers"] = [
        each | {"env": [e for e in each["env"] if not e.get("value", "").startswith("http://127")]}
        for each in spec["containers"]
    ]
    spec = {name: value for name, value in spec.items() if value != []}
    return {"metadata": {"labels": template["metadata"]["labels"]}, "spec": spec}


@pytest.mark.parametrize("mode", MODES)
def test_a_sidecar_by_hand_is_the_one_that_is_injected(mode):
    by_hand = one(mode, "Deployment")["spec"]["template"]
    before = without_sidecar(by_hand, MODES[mode])
    assert (
        labels.CONTAINER not in str(before["spec"]).replace("tiergate-", "").partition("'serv")[0]
    )
    settings = Injector(image=f"tiergate:{__version__}", mode=mode)
    done = inject(
        before, namespace_labels={labels.INJECT: "enabled"}, settings=settings, kind="Deployment"
    )
    assert done.reason == "injected", done.message
    after = patched(before, done.patch)
    assert after["metadata"]["annotations"].pop(labels.STATUS)
    assert after == by_hand
    again = inject(by_hand, namespace_labels={labels.INJECT: "enabled"}, settings=settings)
    assert (again.reason, again.patch) == ("already_injected", ())
