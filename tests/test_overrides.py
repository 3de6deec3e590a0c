"""A pod's annotations replace the injector's defaults, and each error names its annotation."""

import pytest
from msgspec.structs import asdict

from tiergate_sidecar import labels
from tiergate_sidecar.injector import Injector
from tiergate_sidecar.overrides import InvalidAnnotationError, overrides_of

DEFAULTS = Injector(image="tiergate:1")


@pytest.mark.parametrize(
    ("annotation", "text", "setting", "value"),
    [
        (labels.IMAGE, "other:2", "image", "other:2"),
        (labels.MODE, "classic", "mode", "classic"),
        (labels.CONFIG, "tiers", "config", "tiers"),
        (labels.SECRET, "keys", "secret", "keys"),
        (labels.SECRET, "", "secret", ""),
        (labels.PORT, "04290", "port", 4290),
        (labels.ADMIN, "4291", "admin_port", 4291),
        (labels.RUN_AS_USER, "1000", "run_as_user", 1000),
        (labels.RUN_AS_USER, "", "run_as_user", None),
        (labels.LOG_LEVEL, "error", "log_level", "error"),
        (labels.STREAMING, "off", "stream_failover", "off"),
        (labels.CPU_REQUEST, "1", "cpu_request", "1"),
        (labels.CPU_LIMIT, "2", "cpu_limit", "2"),
        (labels.MEMORY_REQUEST, "64Mi", "memory_request", "64Mi"),
        (labels.MEMORY_LIMIT, "", "memory_limit", ""),
    ],
)
def test_an_annotation_replaces_one_setting(annotation, text, setting, value):
    asked = overrides_of({annotation: text, "team": "web"}, DEFAULTS)
    assert asdict(asked.settings) == asdict(DEFAULTS) | {setting: value}
    assert (asked.containers, asked.check_config, asked.warnings) == (None, True, ())


def test_the_rest_is_no_setting():
    asked = overrides_of({labels.CONTAINERS: " app ,worker", labels.CONFIG_CHECK: "off"}, DEFAULTS)
    assert asked.settings == DEFAULTS
    assert (asked.containers, asked.check_config) == (("app", "worker"), False)
    assert overrides_of({labels.CONFIG_CHECK: "on"}, DEFAULTS).check_config


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (labels.IMAGE, "a b"),
        (labels.PORT, "0x10"),
        (labels.PORT, "4290 "),
        (labels.PORT, "123456"),
        (labels.PORT, "\u0661"),
        (labels.ADMIN, "99"),
        (labels.ADMIN, "4190"),
        (labels.RUN_AS_USER, "root"),
        (labels.RUN_AS_USER, "12345678901"),
        (labels.CONTAINERS, "App"),
        (labels.CONTAINERS, ""),
        (labels.CONFIG_CHECK, "OFF"),
        (labels.MEMORY_LIMIT, None),
        (labels.MEMORY_LIMIT, 268435456),
        (labels.MODE, True),
        (labels.SECRET, ["keys"]),
        (labels.CPU_LIMIT, "1m"),
    ],
)
def test_an_error_begins_with_its_annotation(annotation, value):
    with pytest.raises(InvalidAnnotationError) as caught:
        overrides_of({annotation: value}, DEFAULTS)
    (problem,) = caught.value.problems
    # Of two ports that are one, either may be moved.
    assert problem.startswith((f"{annotation} ", f"{labels.PORT} is 4190"))


def test_each_wrong_annotation_is_told_in_a_message_that_stays_short():
    wrong = dict.fromkeys((labels.IMAGE, labels.CONFIG, labels.CONTAINERS), "!" * 100_000)
    with pytest.raises(InvalidAnnotationError) as caught:
        overrides_of(wrong, DEFAULTS)
    assert [each.split()[0] for each in caught.value.problems] == list(wrong)
    assert len(str(caught.value)) < 600


def test_an_annotation_is_looked_at_only_as_far_as_any_makes_sense():
    with pytest.raises(InvalidAnnotationError, match=f"^{labels.CONTAINERS} is longer than"):
        overrides_of({labels.CONTAINERS: "a," * 1_000_000}, DEFAULTS)


def test_two_that_do_not_fit_each_other_are_told_by_one_of_them():
    with pytest.raises(InvalidAnnotationError, match=rf"^{labels.MEMORY_LIMIT} is 256Mi, less"):
        overrides_of({labels.MEMORY_REQUEST: "1Gi"}, DEFAULTS)


def test_a_name_that_nobody_reads_is_warned_of():
    annotations = {"tiergate.io/prot": "1", labels.INJECT: "enabled", labels.STATUS: "{}", 5: "odd"}
    assert overrides_of(annotations, DEFAULTS).warnings == (
        "annotation 'tiergate.io/prot' is none of tiergate's",
    )
