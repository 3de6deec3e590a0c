"""`tiergate inject` and `uninject`: streams, options and exit codes."""

import json

import pytest
from click.testing import CliRunner

from tiergate_sidecar.cli import main

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations: {{{annotations}}}
spec:
  containers:
    - name: app  # the app
      image: "app:1"
"""
GOOD = POD.format(name="good", annotations="")
BAD = POD.format(name="bad", annotations="tiergate.io/port: x")
OFF = POD.format(name="out", annotations="tiergate.io/inject: disabled")
OPEN = '[proxy]\nprovider = "openai"\n[routing]\nunknown_model = "pass"\n'


def run(*args, given=b""):
    return CliRunner().invoke(main, [str(arg) for arg in args], input=given)


def test_stdin_goes_through_as_a_filter_and_its_own_output_as_it_is():
    once = run("inject", "-f", "-", given=GOOD.encode())
    assert (once.exit_code, once.stderr) == (0, "Pod/good: injected\n")
    assert once.stdout.startswith(GOOD.partition("  annotations")[0])
    twice = run("inject", "-f", "-", given=once.stdout_bytes)
    assert (twice.exit_code, twice.stdout_bytes) == (0, once.stdout_bytes)
    assert "Pod/good: skipped (already_injected)" in twice.stderr
    back = run("uninject", "-f", "-", given=once.stdout_bytes)
    assert (back.exit_code, back.stdout, back.stderr) == (0, GOOD, "Pod/good: uninjected\n")


def test_characters_and_line_ends_are_not_those_of_the_console():
    text = f"\ufeff# é\r\n{OFF}".encode()
    assert run("inject", "-f", "-", given=text).stdout_bytes == text


def test_a_refused_workload_ends_with_1_after_the_others_were_written(tmp_path):
    (tmp_path / "a.yaml").write_text(BAD)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.yml").write_text(f"{OFF}---\n{GOOD}")
    done = run("inject", "-R", "-f", tmp_path)
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{BAD}---\n{OFF}---\n")
    assert "- name: tiergate" in done.stdout
    first, second, third = done.stderr.splitlines()
    assert first.startswith("Pod/bad: refused (invalid_annotation): tiergate.io/port (")
    assert second.startswith("Pod/out: skipped (disabled): ")
    assert third == "Pod/good: injected"


def test_where_there_is_no_workload_the_text_comes_out_and_the_code_is_1():
    done = run("inject", "-f", "-", given=b"kind: Service\n")
    assert (done.exit_code, done.stdout) == (1, "kind: Service\n")
    assert done.stderr == "Error: no workload found: nothing here has a pod\n"


def test_a_diff_instead_of_manifests(tmp_path):
    for name, text in (("a.yaml", GOOD), ("b.yaml", OFF)):
        (tmp_path / name).write_text(text)
    done = run("inject", "--diff", "-f", tmp_path / "a.yaml", "-f", tmp_path / "b.yaml")
    assert done.exit_code == 0
    head = [f"--- {tmp_path}/a.yaml", f"+++ {tmp_path}/a.yaml"]
    assert done.stdout.splitlines()[:2] == head
    assert "b.yaml" not in done.stdout
    injected = run("inject", "-f", tmp_path / "a.yaml").stdout_bytes
    taken = run("uninject", "--diff", "-f", "-", given=injected)
    assert taken.stdout.startswith("--- stdin\n+++ stdin\n")


def test_a_check_explains_and_prints_no_manifest():
    live = json.dumps({"apiVersion": "v1", "kind": "List", "items": [json_of(GOOD), json_of(BAD)]})
    done = run("inject", "--check", "-f", "-", given=live.encode())
    assert done.exit_code == 1
    good, bad = done.stdout.splitlines()
    assert good.startswith("Pod/good: would be injected (mode native, ")
    assert bad.startswith("Pod/bad: would not be injected (invalid_annotation): ")
    assert done.stderr == ""


def json_of(text):
    name = text.partition("name: ")[2].partition("\n")[0]
    annotations = {"tiergate.io/port": "x"} if name == "bad" else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
        "status": {"phase": "Running"},
    }


def test_a_check_of_a_running_pod_says_that_it_has_its_sidecar():
    injected = run("inject", "-f", "-", given=GOOD.encode()).stdout_bytes
    done = run("inject", "--check", "-f", "-", given=injected)
    assert done.exit_code == 0
    assert done.stdout.startswith("Pod/good: would not be injected (already_injected): ")


def test_the_options_are_those_of_the_injector(tmp_path):
    (tmp_path / "tiergate.toml").write_text(OPEN)
    done = run(
        *("inject", "-f", "-", "--image", "registry/t:2", "--mode", "classic"),
        *("--config-map", "mine", "--config", tmp_path / "tiergate.toml", "--secret", "keys"),
        *("--port", "5000", "--admin-port", "5001", "--run-as-user", "", "--log-level", "debug"),
        *("--stream-failover", "off", "--cpu-request", "1", "--cpu-limit", "2"),
        *("--memory-request", "64Mi", "--memory-limit", "1Gi"),
        given=GOOD.encode(),
    )
    assert done.exit_code == 0
    for line in (
        "image: registry/t:2",
        "127.0.0.1:5000/v1",
        "127.0.0.1:5001",
        "name: mine",
        "name: keys",
        "value: debug",
        'cpu: "2"',
        "memory: 1Gi",
        "preStop:",
    ):
        assert line in done.stdout
    assert "runAsUser" not in done.stdout


def test_only_pods_that_ask_by_their_label():
    done = run("inject", "--labelled", "-f", "-", given=GOOD.encode())
    assert (done.exit_code, done.stdout) == (0, GOOD)
    assert "Pod/good: skipped (not_asked)" in done.stderr


def test_a_configuration_that_breaks_the_app_is_refused(tmp_path):
    (tmp_path / "tiergate.toml").write_text("")
    config = ["--config", tmp_path / "tiergate.toml"]
    done = run("inject", "-f", "-", *config, given=GOOD.encode())
    assert (done.exit_code, done.stdout) == (1, GOOD)
    assert "Pod/good: refused (config_breaks_app)" in done.stderr


def test_what_was_written_anew_is_told():
    text = "? apiVersion\n: v1\n? kind\n: Pod\n? spec\n: {containers: [{name: a}]}\n"
    done = run("inject", "-f", "-", given=text.encode())
    assert done.exit_code == 0
    assert "warning: stdin:1: the document was written anew" in done.stderr


@pytest.mark.parametrize("command", ["inject", "uninject"])
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("broken.yaml", b"kind: Pod\nspec: [\n", "broken.yaml:3: did not find expected node"),
        ("twice.yaml", b"---\nkind: Pod\nkind: Pod\n", "twice.yaml:3: the key 'kind' is there twi"),
        ("gone.yaml", None, "cannot read "),
    ],
)
def test_what_cannot_be_read_ends_with_1_and_nothing_is_written(
    tmp_path, command, name, content, says
):
    good = tmp_path / "good.yaml"
    good.write_text(GOOD)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = run(command, "-f", good, "-f", tmp_path / name)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert says in done.stderr


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_configuration_that_cannot_be_read_ends_with_1(tmp_path, content):
    file = tmp_path / "tiergate.toml"
    if content is not None:
        file.write_bytes(content)
    done = run("inject", "-f", "-", "--config", file, given=GOOD.encode())
    assert (done.exit_code, done.stdout) == (1, "")
    reason = "No such file or directory" if content is None else "not UTF-8"
    assert done.stderr == f"Error: cannot read {file}: {reason}\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "Missing option '-f'"),
        (["-f", "-", "-f", "-"], "give -f - once"),
        (["-f", "-", "--check", "--diff"], "either --check or --diff"),
        (
            ["-f", "-", "--run-as-user", "root"],
            "--run-as-user is neither a user's number nor empty",
        ),
        (["-f", "-", "--run-as-user", "0"], "--run-as-user is not a user"),
        (["-f", "-", "--port", "80"], "--port is not a port"),
        (["-f", "-", "--config-map", "A_B"], "--config-map is not a name"),
        (["-f", "-", "--memory-limit", "1Mi"], "--memory-limit is 1Mi, less than"),
        (["-f", "-", "--mode", "other"], "'other' is not one of"),
    ],
)
def test_a_wrong_call_ends_with_2(args, says):
    done = run("inject", *args, given=GOOD.encode())
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in " ".join(done.stderr.split())
