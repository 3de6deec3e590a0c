"""The manifests of `k8s/` as a real kustomize makes them, and what a selector selects."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

K8S = Path(__file__).parent.parent / "k8s"
FOLDERS = sorted(path.parent.name for path in K8S.glob("*/kustomization.yaml"))
INSTALLED = K8S.parent / ".venv" / "bin" / "kustomize"  # `make system`, where there is no kubectl


@functools.cache
def rendered(folder):
    """The documents of a kustomization, in the order in which they are applied."""
    done = subprocess.run([*_renderer(), K8S / folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "a field that will be gone one day"
    return list(yaml.safe_load_all(done.stdout))


def one(folder, kind, name=None):
    """The only document of a kind (and name)."""
    found = [
        each
        for each in rendered(folder)
        if each["kind"] == kind and name in (None, each["metadata"]["name"])
    ]
    assert len(found) == 1, (folder, kind, name)
    return found[0]


def pods_of(documents):
    """Every pod's template, with the document that it is in."""
    return [
        (each, each["spec"]["template"]) for each in documents if "template" in each.get("spec", {})
    ]


def selects(selector, labels):
    """Whether a selector of Kubernetes does: absent is In nothing, and NotIn anything."""
    wanted = (selector or {}).get("matchLabels", {}).items()
    return wanted <= labels.items() and all(
        (labels.get(each["key"]) in each["values"])
        == {"In": True, "NotIn": False}[each["operator"]]
        for each in (selector or {}).get("matchExpressions", ())
    )


@functools.cache
def _renderer():
    for command in ([INSTALLED, "build"], ["kubectl", "kustomize"], ["kustomize", "build"]):
        if shutil.which(command[0]):
            return command
    says = "kustomize: not installed (`make system` does it)"
    return (pytest.fail if os.environ.get("CI") else pytest.skip)(says)
