"""A pod of any shape is read, or refused with the place that has the wrong shape."""

import pytest

from tiergate_sidecar.pod_reading import (
    MOST_CONTAINERS,
    SHOWN,
    InvalidPodError,
    is_owned_by_job,
    metadata_of,
    shown,
    spec_of,
)


@pytest.mark.parametrize(
    "pod", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"labels": None}}]
)
def test_what_is_missing_or_null_is_empty(pod):
    assert metadata_of(pod, "labels") == {}
    spec = spec_of(pod)
    assert (spec.containers, spec.volumes) == ((), [])
    assert not is_owned_by_job(pod)


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ([], "spec is not an object"),
        ("x", "spec is not an object"),
        ({"containers": {}}, "spec.containers is not an array"),
        ({"initContainers": "x"}, "spec.initContainers is not an array"),
        ({"volumes": {}}, "spec.volumes is not an array"),
        ({"containers": ["x"]}, r"spec.containers\[0\] is not an object"),
        ({"containers": [{}]}, r"spec.containers\[0\] has no name"),
        ({"containers": [{"name": "a"}, {"name": 1}]}, r"spec.containers\[1\] has no name"),
        ({"containers": [{"name": ""}]}, r"spec.containers\[0\] has no name"),
        ({"containers": [{"name": "A b"}]}, r"spec.containers\[0\] has no name"),
        ({"containers": [{"name": "\ud800"}]}, r"spec.containers\[0\] has no name"),
        ({"containers": [{"name": "a", "env": {}}]}, r"containers\[0\].env is not an array"),
        ({"containers": [{"name": "a", "envFrom": 1}]}, r"\[0\].envFrom is not an array"),
        ({"containers": [{"name": "a"}, {"name": "a"}]}, "two containers have the name 'a'"),
        (
            {"containers": [{"name": "a"}], "initContainers": [{"name": "a"}]},
            "two containers have the name 'a'",
        ),
    ],
)
def test_another_shape_is_refused_by_its_place(spec, where):
    with pytest.raises(InvalidPodError, match=where):
        spec_of({"spec": spec})


@pytest.mark.parametrize("metadata", [[], "x", 1, {"labels": []}, {"labels": "x"}])
def test_metadata_of_another_shape_is_refused(metadata):
    with pytest.raises(InvalidPodError, match=r"metadata.* is not an object"):
        metadata_of({"metadata": metadata}, "labels")


def test_containers_know_where_they_stand_and_whether_they_keep_running():
    spec = spec_of(
        {
            "spec": {
                "initContainers": [{"name": "a"}, {"name": "b", "restartPolicy": "Always"}],
                "containers": [{"name": "c", "env": None}],
            }
        }
    )
    assert [(each.name, each.path, each.keeps_running) for each in spec.containers] == [
        ("a", ("spec", "initContainers", 0), False),
        ("b", ("spec", "initContainers", 1), True),
        ("c", ("spec", "containers", 0), True),
    ]


def test_a_pod_of_very_many_containers_holds_up_nobody():
    most = [{"name": f"c{number}"} for number in range(MOST_CONTAINERS)]
    assert len(spec_of({"spec": {"containers": most, "initContainers": []}}).main) == len(most)
    with pytest.raises(InvalidPodError, match=r"^spec.initContainers has more than"):
        spec_of({"spec": {"initContainers": [*most, {"name": "one-more"}]}})


@pytest.mark.parametrize(
    ("owners", "owned"),
    [
        ([{"kind": "Job"}], True),
        ([{"kind": "ReplicaSet"}, {"kind": "Job"}], True),
        ([{"kind": "ReplicaSet"}], False),
        ([], False),
        ([None, "Job"], False),
        ({"kind": "Job"}, False),
        (None, False),
    ],
)
def test_a_jobs_pod_is_known_by_its_owner(owners, owned):
    assert is_owned_by_job({"metadata": {"ownerReferences": owners}}) is owned


def test_a_shown_value_is_short_and_on_one_line():
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown("x" * 1000)) == SHOWN + 3
    assert shown(5) == "'int'"
