"""The status annotation is read back as it was written; what no injection wrote is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergate_sidecar.injection_status import Status, hash_of, read_status, written

STATUS = Status(
    version="1",
    hash="abc",
    mode="classic",
    port=4190,
    env={"app": ("OPENAI_BASE_URL",), "other": ()},
    annotations={"a/b": "app"},
    created=("env:app", "volumes"),
    nulls=("annotations",),
)


def test_it_is_read_back():
    assert read_status(written(STATUS)) == STATUS
    assert "\n" not in written(STATUS)


def test_what_is_empty_is_not_written():
    text = written(Status(version="1", hash="abc", mode="native", port=4190, env={}))
    assert text == '{"version":"1","hash":"abc","mode":"native","port":4190,"env":{}}'


def test_a_newer_version_may_have_written_more():
    text = written(STATUS)
    assert read_status(f'{text[:-1]},"more":[1]}}') == STATUS


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        5,
        {},
        "",
        "injected",
        "{}",
        "[]",
        '{"version":"1","hash":"a","mode":"both","port":1,"env":{}}',
        '{"version":"1","hash":"a","mode":"native","port":"x","env":{}}',
        '{"version":"1","hash":"a","mode":"native","port":1,"env":[]}',
        '{"version":"1","hash":"a","mode":"native","port":0,"env":{}}',
        '{"version":"1","hash":"a","mode":"native","port":65536,"env":{}}',
        '{"version":"1","hash":"%s","mode":"native","port":1,"env":{}}' % ("a" * 65),
        '{"version":"%s","hash":"a","mode":"native","port":1,"env":{}}' % ("1" * 65),
        "[" * 100_000,
        "\ud800",
    ],
)
def test_what_no_injection_wrote_is_none(annotation):
    assert read_status(annotation) is None


@given(st.text(max_size=60))
def test_any_text_is_read(text):
    assert read_status(text) is None


def test_a_hash_is_of_the_content_not_of_the_order():
    assert hash_of({"a": 1, "b": [1, 2]}) == hash_of({"b": [1, 2], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})
    assert len(hash_of({})) == 12
