"""`tiergate webhook`'s options: what each comes to, by flag or by variable, and how a wrong one is
refused. The process that it starts is in `e2e/test_webhook.py`."""

import logging
import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tiergate_sidecar.cli import main
from tiergate_sidecar.injection import Injector
from tiergate_sidecar.kube import SERVICE_ACCOUNT
from tiergate_sidecar.webhook import Rules
from tiergate_sidecar.webhook_command import chosen, webhook
from tiergate_sidecar.webhook_server import Serving

IMAGE = ("--image", "tiergate:0.1.0")
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def run(*arguments, **environ):
    """The command, with a log of its own that ends with it."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        return CliRunner().invoke(main, ["webhook", *arguments], env=environ)
    finally:
        root.handlers[:], root.level = before, level


def options(*arguments, environ=POD):
    """Serving, injector and rules of a command line."""
    return chosen(webhook.make_context("webhook", [*IMAGE, *arguments]).params, environ)


def test_the_defaults_are_those_of_the_parts():
    serving, injector, rules = options()
    assert serving == Serving(
        listen=":8443",
        probes=":8080",
        certificate=Path("/certs/tls.crt"),
        key=Path("/certs/tls.key"),
        kube_account=SERVICE_ACCOUNT,
    )
    assert injector == Injector(image="tiergate:0.1.0")
    assert rules == Rules()


def test_each_option_has_its_effect():
    line = """
        --listen 127.0.0.1:1 --probes 127.0.0.1:2 --certs /a --tls-key /b/key --read-config
        --service-account /c --linger-seconds 1.5 --grace-seconds 3
        --on-error allow --refused warn --max-body-bytes 2048 --time-limit-seconds 2
        --mode classic --config-map other --secret keys --run-as-user 1000
        --port 5000 --admin-port 5001
        --sidecar-log-level debug --stream-failover buffered
        --cpu-request 10m --cpu-limit 1 --memory-request 64Mi --memory-limit 128Mi
    """
    serving, injector, rules = options(*shlex.split(line))
    assert serving == Serving(
        listen="127.0.0.1:1",
        probes="127.0.0.1:2",
        certificate=Path("/a/tls.crt"),
        key=Path("/b/key"),
        kube_url="https://10.0.0.1:443",
        kube_account=Path("/c"),
        linger_seconds=1.5,
        grace_seconds=3,
    )
    assert rules == Rules(on_error="allow", on_refused="warn", largest_body=2048, seconds=2)
    assert injector == Injector(
        image="tiergate:0.1.0",
        mode="classic",
        config="other",
        secret="keys",
        port=5000,
        admin_port=5001,
        run_as_user=1000,
        log_level="debug",
        stream_failover="buffered",
        cpu_request="10m",
        cpu_limit="1",
        memory_request="64Mi",
        memory_limit="128Mi",
    )
    assert options("--tls-cert", "/b/crt")[0].certificate == Path("/b/crt")
    assert options("--run-as-user", "")[1].run_as_user is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run-as-user", "root"), "--run-as-user: is neither a user's number nor empty"),
        (("--run-as-user", "9" * 5000), "--run-as-user: is neither"),
        (("--port", "80"), "--port: "),
        (("--config-map", "No"), "--config-map: "),
        (("--memory-limit", "1Mi"), "--memory-limit: "),
        (("--listen", "nowhere"), "--listen: 'nowhere' is not host:port"),
        (("--listen", "127.0.0.1:0", "--probes", "x"), "--probes: 'x' is not host:port"),
        (("--read-config",), "--read-config: this is not a pod"),
        (("--make-certs", "/dev/null/x"), "--make-certs: cannot write"),
    ],
)
def test_a_wrong_value_is_one_line_and_exit_code_1(arguments, said):
    result = run(*IMAGE, *arguments, KUBERNETES_SERVICE_HOST="")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {said}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (*IMAGE, "--on-error", "maybe"),
        (*IMAGE, "--time-limit-seconds", "0"),
        (*IMAGE, "--mode", "odd"),
    ],
)
def test_a_wrong_call_is_exit_code_2(arguments):
    assert run(*arguments).exit_code == 2


def test_each_option_is_a_variable_too():
    result = run(TIERGATE_WEBHOOK__IMAGE="bad image", TIERGATE_WEBHOOK__LISTEN="127.0.0.1:0")
    assert (result.exit_code, "--image: " in result.stderr) == (1, True)
    result = run(*IMAGE, TIERGATE_WEBHOOK__ON_ERROR="maybe")
    assert (result.exit_code, "--on-error" in result.stderr) == (2, True)
    for option in webhook.params:
        flag = option.opts[0].removeprefix("--")
        assert option.envvar == f"TIERGATE_WEBHOOK__{flag.replace('-', '_').upper()}"


def test_what_kubernetes_says_of_a_service_of_that_name_is_no_option():
    link = "tcp://10.0.0.1:443"
    about = {"SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "443", "PORT": link, "PORT_443_TCP": link}
    links = {f"TIERGATE_WEBHOOK_{name}": value for name, value in about.items()}
    result = run("--image", "bad image", "--listen", "127.0.0.1:0", **links)
    assert (result.exit_code, "--image: " in result.stderr) == (1, True)


def test_certificates_are_made_in_one_call(tmp_path):
    result = run("--make-certs", str(tmp_path), "--name", "localhost", "--name", "127.0.0.1")
    assert result.exit_code == 0, result.stderr
    assert "localhost, 127.0.0.1" in result.stdout
    assert (tmp_path / "tls.crt").exists()


def test_the_shipped_deployment_calls_it_with_options_that_it_has():
    file = Path(__file__).parent.parent / "k8s" / "webhook" / "deployment.yaml"
    container = yaml.safe_load(file.read_text())["spec"]["template"]["spec"]["containers"][0]
    command, *arguments = container["args"]
    assert command == "webhook"
    serving, _, _ = chosen(webhook.make_context("webhook", arguments).params, POD)
    (mount,) = container["volumeMounts"]
    assert serving.certificate.parent == Path(mount["mountPath"])
    listened = {int(each.rpartition(":")[2]) for each in (serving.listen, serving.probes)}
    assert {port["containerPort"] for port in container["ports"]} == listened


def test_the_help_names_every_option_with_a_word():
    told = run("--help").stdout
    for option in webhook.params:
        assert re.search(rf"^  {option.opts[0]}\b", told, re.MULTILINE), option.opts
        assert option.help
