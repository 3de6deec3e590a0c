"""An app finds the sidecar by variables that are added only where it has not decided itself."""

import pytest

from tiergate_sidecar.app_env import added_env, entry
from tiergate_sidecar.pod_reading import spec_of

URL, OLD, KEY = "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY"
HERE = {"name": URL, "value": "http://127.0.0.1:4190/v1"}


def added(env=None, env_from=None):
    container = {"name": "app", "env": env, "envFrom": env_from}
    return added_env(spec_of({"spec": {"containers": [container]}}).main[0], 4190)


def literal(name, value):
    return {"name": name, "value": value}


@pytest.mark.parametrize(
    ("env", "names"),
    [
        (None, (URL, OLD, KEY)),
        ([], (URL, OLD, KEY)),
        ([literal("A", "1")], (URL, OLD, KEY)),
        ([HERE], (OLD, KEY)),
        ([literal(KEY, "k")], (URL, OLD)),
        ([literal(KEY, "")], (URL, OLD)),
        ([{"name": KEY, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}], (URL, OLD)),
        ([HERE, literal(OLD, "http://127.0.0.1:4190/v1"), literal(KEY, "k")], ()),
        ([literal(URL, "https://elsewhere.test/v1")], ()),
        ([literal(OLD, "https://elsewhere.test/v1")], ()),
        ([literal(URL, "")], ()),
        ([{"name": URL}], ()),
        ([HERE, literal(OLD, "http://127.0.0.1:4290/v1")], ()),
        (["x", None, {}, {"name": 1}, {"name": ["a"]}, {"value": URL}], (URL, OLD, KEY)),
    ],
)
def test_what_is_absent_is_added(env, names):
    assert added(env).names == names


def test_an_app_that_has_decided_is_told_of():
    (warning,) = added([literal(OLD, "https://elsewhere.test/v1")]).warnings
    assert "'app'" in warning
    assert OLD in warning
    assert added([HERE]).warnings == ()


@pytest.mark.parametrize(
    ("env_from", "key", "warned"),
    [
        ([], True, 0),
        ([{"secretRef": {"name": "s"}}], False, 2),
        ([{"prefix": "", "secretRef": {"name": "s"}}], False, 2),
        ([{"prefix": "OPENAI_", "secretRef": {"name": "s"}}], False, 2),
        ([{"prefix": "OPENAI_API_", "configMapRef": {"name": "c"}}], False, 1),
        ([{"prefix": "OPENAI_B", "configMapRef": {"name": "c"}}], True, 1),
        ([{"prefix": "OPENAI_API_KEY", "configMapRef": {"name": "c"}}], True, 0),
        ([{"prefix": "APP_", "configMapRef": {"name": "c"}}], True, 0),
        ([{"prefix": "APP_"}, {"configMapRef": {"name": "c"}}], False, 2),
        ([None], False, 2),
        ([{"prefix": 1}], False, 2),
    ],
)
def test_what_may_come_from_elsewhere_is_no_reason_for_a_key(env_from, key, warned):
    result = added(None, env_from)
    assert result.names == ((URL, OLD, KEY) if key else (URL, OLD))
    assert len(result.warnings) == warned


@pytest.mark.parametrize(
    ("values", "index"),
    [
        (["1", "2"], None),
        (["1", "$(OPENAI_BASE_URL)"], 1),
        (["x$(OPENAI_API_KEY)y", "$(OPENAI_BASE_URL)"], 0),
        (["$$(OPENAI_BASE_URL)", "$(A)"], None),
        (["$$$(OPENAI_BASE_URL)"], 0),
        (["$(OPENAI_BASE_URL", "$OPENAI_BASE_URL", "${OPENAI_BASE_URL}"], None),
        (["$(OPENAI_ORG)", "$(openai_base_url)"], None),
        (["$($(OPENAI_BASE_URL))"], None),
        ([None, 5, "$(A)$(OPENAI_API_BASE)"], 2),
        (["$(OPENAI_BASE_URL$(A", "$(\n)$(OPENAI_BASE_URL)"], 1),
        (["$(" * 500_000, "$(OPENAI_API_KEY)"], 1),  # looked through once, not from each
    ],
)
def test_ours_stand_before_the_first_that_refers_to_them(values, index):
    env = [literal(f"V{number}", value) for number, value in enumerate(values)]
    assert added(env).index == index


def test_what_the_app_has_itself_needs_no_place_of_ours():
    env = [literal("A", "$(OPENAI_BASE_URL)"), HERE, literal("B", "$(OPENAI_API_BASE)")]
    assert added(env).index == 2


def test_an_entry_says_where_the_sidecar_listens():
    assert entry(URL, 4290) == {"name": URL, "value": "http://127.0.0.1:4290/v1"}
    assert entry(KEY, 4290) == {"name": KEY, "value": "unused"}
