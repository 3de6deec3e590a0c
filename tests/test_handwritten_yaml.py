"""YAML as people write it: an injection says what it would say of the values, changes no line that
is there, and an uninjection gives it back to the byte.
"""

import yaml
from handwritten import Writer
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergate_sidecar.injection import Injector, inject
from tiergate_sidecar.manifest_injection import ASKED_BY_NAME, inject_sources, uninject_sources
from tiergate_sidecar.manifests import Source
from tiergate_sidecar.patching import patched

SETTINGS = Injector(image="tiergate:0.1.0")


def text_of(result):
    assert result.warnings == (), "written anew"
    return result.texts[0]


def wanted(value):
    """The value with the sidecar in it, without any text."""
    if value["kind"] == "List":
        return {**value, "items": [wanted(each) for each in value["items"]]}
    if value["kind"] == "Deployment":
        template = wanted({"kind": "", **value["spec"]["template"]})
        return {**value, "spec": {**value["spec"], "template": _without_kind(template)}}
    done = inject(value, namespace_labels=ASKED_BY_NAME, settings=SETTINGS, kind="Pod")
    return patched(value, done.patch)


def _without_kind(value):
    return {name: each for name, each in value.items() if name != "kind"}


@given(st.randoms(use_true_random=True))
@settings(max_examples=150, deadline=None)
def test_what_is_put_in_is_said_there_and_comes_out_again(draw):
    text = Writer(draw).document()
    once = text_of(inject_sources([Source("x.yaml", text)], SETTINGS))
    assert yaml.load(once, yaml.CSafeLoader) == wanted(yaml.load(text, yaml.CSafeLoader))
    assert text_of(inject_sources([Source("x.yaml", once)], SETTINGS)) == once
    assert text_of(uninject_sources([Source("x.yaml", once)])) == text
