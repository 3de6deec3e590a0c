"""Manifests: what is read from where, which objects have a pod, and texts that stay."""

import io
import json

import pytest

from tiergate_sidecar.manifests import (
    LARGEST,
    LARGEST_DOCUMENT,
    ManifestError,
    Source,
    changed,
    config_maps,
    documents,
    joined,
    read_sources,
)

NOBODY = io.BytesIO()


def pods_of(text):
    """By each workload: its pod; and the text as it comes out."""
    found = {}

    def look(workload):
        found[str(workload)] = workload.pod

    text = "".join(changed(each, look).text for each in documents(Source("x", text)))
    return found, text


def renamed(text):
    """The text with a label on every pod."""

    def label(workload):
        return {**workload.pod, "metadata": {**(workload.pod.get("metadata") or {}), "labels": "x"}}

    return "".join(changed(each, label).text for each in documents(Source("x", text)))


def test_files_and_folders_are_read_in_the_order_of_their_names(tmp_path):
    for name in ("b.yaml", "a.json", "c.yml", "d.txt", "in/e.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def read(recursive):
        found = read_sources([str(tmp_path), "-"], io.BytesIO(b"in"), recursive=recursive)
        return [(each.name.removeprefix(f"{tmp_path}/"), each.text) for each in found]

    own = [(name, name) for name in ("a.json", "b.yaml", "c.yml")]
    assert read(False) == [*own, ("stdin", "in")]
    assert read(True) == [*own, ("in/e.yaml", "in/e.yaml"), ("stdin", "in")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.yaml", None, "cannot read .*gone.yaml: No such file or directory"),
        ("x.yaml", b"a: 1\nb: \xff\n", "x.yaml:2: not UTF-8"),
        ("in/x.txt", b"", r"in: no \*.yaml, \*.yml, \*.json in it"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    asked = path if path.parent == tmp_path else path.parent
    with pytest.raises(ManifestError, match=says):
        read_sources([str(asked)], NOBODY, recursive=False)


def test_more_than_is_held_in_memory_is_not_read(tmp_path):
    with (tmp_path / "x.yaml").open("wb") as file:
        file.truncate(LARGEST - 1)  # a hole of the file system, not so many bytes on a disk
    with pytest.raises(ManifestError, match="stdin: more than 64 MiB in all"):
        read_sources([str(tmp_path / "x.yaml"), "-"], io.BytesIO(b"ab"), recursive=False)


def test_a_document_that_is_too_long_is_not_read():
    with pytest.raises(ManifestError, match="x:2: a document of more than 8 Mi characters"):
        pods_of("---\n---\nkind: Pod\n" + "#" * LARGEST_DOCUMENT)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {}}", "Pod/x"),
        ("{apiVersion: v1, kind: Pod, metadata: {generateName: x-}, spec: {}}", "Pod/x-*"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: n}}", "Pod/x in n"),
        ("{apiVersion: v1, kind: Pod}", "Pod/*"),
        ('{"apiVersion": "v1", "kind": "Pod", "metadata": []}', "Pod/*"),
    ],
)
def test_a_workload_is_called_as_people_do(text, name):
    assert list(pods_of(text)[0]) == [name]


def test_a_name_cannot_pass_for_a_line_of_the_report():
    text = '{apiVersion: v1, kind: Pod, metadata: {name: "a\\e[2J\\nPod/b: injected"}}'
    assert list(pods_of(text)[0]) == [r"'Pod/a\x1b[2J\nPod/b: injected'"]


@pytest.mark.parametrize(
    ("version", "kind", "way"),
    [
        ("v1", "PodTemplate", ["template"]),
        ("v1", "ReplicationController", ["spec", "template"]),
        ("apps/v1", "Deployment", ["spec", "template"]),
        ("extensions/v1beta1", "Deployment", ["spec", "template"]),
        ("apps/v1", "StatefulSet", ["spec", "template"]),
        ("apps/v1", "DaemonSet", ["spec", "template"]),
        ("apps/v1", "ReplicaSet", ["spec", "template"]),
        ("batch/v1", "Job", ["spec", "template"]),
        ("batch/v1", "CronJob", ["spec", "jobTemplate", "spec", "template"]),
    ],
)
def test_the_pod_of_each_kind_is_found_and_changed(version, kind, way):
    pod = "spec: {}"
    for step in reversed(way):
        pod = f"{step}: {{{pod}}}"
    text = f"{{apiVersion: {version}, kind: {kind}, metadata: {{name: x}}, {pod}}}"
    assert pods_of(text)[0] == {f"{kind}/x": {"spec": {}}}
    assert renamed(text).replace(', "metadata": {"labels": "x"}', "") == text
    assert renamed(text) != text


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nspec: {template: {}}\n",
        "apiVersion: v1\nkind: Deployment\n",
        "apiVersion: v1\nkind: [Pod]\n",
        "apiVersion: v1\nkind: Service\n",
        "- kind: Pod\n",
        "Pod\n",
    ],
)
def test_a_kind_of_another_group_is_not_ours(text):
    assert pods_of(text) == ({}, text)


@pytest.mark.parametrize("spec", ["", "spec:\n", "spec: []\n", "spec: {template: 1}\n"])
def test_a_template_that_is_none_is_handed_on_as_it_is(spec):
    found, _ = pods_of(f"apiVersion: apps/v1\nkind: Deployment\n{spec}")
    assert found["Deployment/*"] in (None, 1)


def test_lists_are_looked_into():
    pod = "{metadata: {name: p}, spec: {}}"
    text = (
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: Service}\n- x\n"
        f"- {{apiVersion: v1, kind: PodList, items: [{pod}]}}\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n"
    )
    assert pods_of(text)[0] == {"Pod/p": {"metadata": {"name": "p"}, "spec": {}}}
    assert renamed(text) == text.replace("{name: p}", '{name: p, "labels": "x"}')
    maps = [found for each in documents(Source("x", text)) for found in config_maps(each)]
    assert [each["metadata"]["name"] for each in maps] == ["c"]
    assert list(config_maps(documents(Source("x", "kind: Pod\n"))[0])) == []


POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n"
LABELLED = f"{POD}  labels: x\n"
IN_JSON = r'{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "\ud83d\ude00"}}'
LABELLED_JSON = IN_JSON.replace("}", ', "labels": "x"}', 1)
TOUCHY = """\
%YAML 1.1
---
# Source: chart/templates/x.yaml
apiVersion: v1
kind:   Service   # not ours
on: [ yes,0777 , 1:30]
long: "{long}"
text: >-
    folded
     more

--- # empty

---
...
--- !custom {{a: b}}
"""


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (POD, LABELLED),
        (f"\ufeff{POD}", f"\ufeff{LABELLED}"),
        (POD.replace("\n", "\r\n"), LABELLED.replace("\n", "\r\n")),
        (POD.rstrip(), LABELLED.rstrip()),
        (TOUCHY.format(long="x " * 200), TOUCHY.format(long="x " * 200)),
        (f"{TOUCHY}---\n{POD}...\n", f"{TOUCHY}---\n{LABELLED}...\n"),
        (f"# c\n{POD}---\n{TOUCHY[10:]}", f"# c\n{LABELLED}---\n{TOUCHY[10:]}"),
        ("", ""),
        ("\n# c\n", "\n# c\n"),
        (f"\ufeff{IN_JSON}", f"\ufeff{LABELLED_JSON}"),
        (
            f" {IN_JSON}\n{IN_JSON}{{}} {IN_JSON}",
            f" {LABELLED_JSON}\n{LABELLED_JSON}{{}} {LABELLED_JSON}",
        ),
    ],
)
def test_only_documents_that_change_change(text, new):
    assert renamed(text) == new


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{POD}---\n\n{POD}kind: Pod\n", "^x:11: the key 'kind' is there twice$"),
        ("---\na: 1\n---\n# no pod\na: [\n", "^x:6: did not find expected node content$"),
        ('{"a": 1}\n{"b":\n', "^x:2: did not find expected <document start>$"),
    ],
)
def test_a_broken_document_is_told_with_file_and_line(text, says):
    with pytest.raises(ManifestError, match=says):
        pods_of(text)


@pytest.mark.parametrize(
    ("texts", "stream"),
    [
        (["a: 1"], "a: 1"),
        (["\ufeffa: 1\n", "\ufeffb: 2\n"], "\ufeffa: 1\n---\nb: 2\n"),
        (["a: 1", "--- # x\nb: 2\n", "c: 3"], "a: 1\n--- # x\nb: 2\n---\nc: 3"),
        (['\ufeff {"a": 1}\n', '{"b": 2}\n'], '---\n {"a": 1}\n---\n{"b": 2}\n'),
        (["", "a: 1\n"], "---\na: 1\n"),
        (['{"a": 1}\n{"b": 2} {}'], '{"a": 1}\n{"b": 2} {}'),
        (
            ['{"a": 1}\n{"b": 2} {}', "c: 3\n", "{}{}\n"],
            '---\n{"a": 1}\n---\n{"b": 2}\n---\n{}\n---\nc: 3\n---\n{}\n---\n{}\n',
        ),
    ],
)
def test_several_sources_make_one_stream(texts, stream):
    assert joined(texts) == stream


def test_json_stays_json():
    text = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}, indent=4)
    new = json.loads(text) | {"metadata": {"name": "x", "labels": "x"}}
    assert renamed(text) == json.dumps(new, indent=4)
