"""Containers of other injectors are known by names that containers can have."""

from tiergate_sidecar.labels import CONTAINER
from tiergate_sidecar.other_sidecars import MESH, OTHERS
from tiergate_sidecar.pod_grammar import is_container_name


def test_each_is_a_containers_name_and_none_is_ours():
    assert all(is_container_name(name) for name in OTHERS)
    assert CONTAINER not in OTHERS


def test_a_meshs_container_is_no_app():
    assert MESH < OTHERS
