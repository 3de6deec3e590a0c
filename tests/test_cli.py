"""The command line: what each command prints, and what is wrong said in one line with exit code 1,
or 2 for how it was called. Where the process itself matters, it is a real one."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from e2e.process import ANY_PORT, COMMAND, environment
from e2e.replicas import eventually
from rootlog import kept

from tiergate import __version__
from tiergate_sidecar.cli import _run_mock, _serve_file, _serve_mock, main
from tiergate_sidecar.mock_faults import known_faults
from tiergate_sidecar.samples import INIT

FILE = """\
[server]
grace_seconds = 5
[providers.p1]
base_url = "http://p1/v1"
headers = { X-Secret = "swordfish" }
[[tiers.simple]]
provider = "p1"
model = "small"
"""


FILES = {
    "good.toml": FILE,
    "good.yaml": "providers: {p1: {base_url: 'http://p1/v1'}}\n"
    "tiers: {simple: [{provider: p1, model: a}, {provider: p1, model: b}]}\n",
    "bad.toml": "[server\n",
    "unknown.toml": FILE + "[retry]\nretrys = 1\n",
    "keyless.toml": FILE + "[providers.openai]\n",
    "odd.ini": "",
    "two.toml": FILE.replace("grace_seconds = 5", 'grace_seconds = "x"\nlisten = "y"'),
    "nowhere.toml": "[server]\n",
    "init.toml": INIT,
    "http.toml": FILE.partition("[[tiers")[0]
    + '[tier_config]\nsource = "http"\nurl = "http://c"\napi_key_env = "SERVICE_KEY"\n',
    "file.toml": FILE.partition("[[tiers")[0] + '[tier_config]\nsource = "file"\nfile = "x.json"\n',
    "secret.toml": FILE.replace("[providers.p1]", '[providers.p1]\nproxy_url = "${PROXY}"')
    + '[cache]\nurl = "${REDIS}"\n[sessions]\nurl = "rediss://:${PASSWORD}@r2:7/0?ssl_ca_certs=c"\n',
}


def said(*arguments, **environ):
    """What a command says in a directory that holds `FILES`, with no key in the environment."""
    with kept(), tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        for name, text in FILES.items():
            Path(name).write_text(text, encoding="utf-8")
        return CliRunner().invoke(main, arguments, env={"OPENAI_API_KEY": None, **environ})


def process(*arguments, code=None, **environ):
    start = (sys.executable, "-c", code) if code else COMMAND
    return subprocess.run(
        [*start, *arguments],
        env=environment(**environ),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("missing.toml", "configuration: cannot read missing.toml: No such file or directory"),
        (".", ".: the name must end in .toml, .yaml, .yml, .json"),
        ("odd.ini", "odd.ini: the name must end in .toml, .yaml, .yml, .json"),
        ("bad.toml", "bad.toml: Expected ']' at the end of a table declaration (at line 1,"),
        ("unknown.toml", "retry.retrys: unknown key (did you mean 'retries'?)"),
        ("keyless.toml", "providers.openai: no usable key in the environment variable OPENAI_API"),
        ("two.toml", "server.grace_seconds: "),
        ("nowhere.toml", "tiers: no tier has a candidate"),
        ("http.toml", "tier_config.api_key_env: no usable key in the variable SERVICE_KEY"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line_and_exit_1(command, file, complaint):
    result = said(command, "-c", file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {complaint}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["serve", "--mock", "-c", "good.toml"], "--mock brings its own configuration"),
        (["serve", "--mocks"], "No such option"),
        (["serve", "extra"], "unexpected extra argument"),
        (["unheard-of"], "No such command"),
        (["inject"], "Missing option '-f'"),
    ],
)
def test_a_wrong_call_is_exit_2(arguments, complaint):
    result = said(*arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


@pytest.mark.parametrize("command", ["serve", "check"])
def test_without_any_configuration_it_says_what_to_do(command):
    result = said(command)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: no configuration: give -c FILE (`tiergate init` prints one), or try --mock\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["serve", "--mock", "--listen", "here"], "server.listen: 'here' is not host:port"),
        (["serve", "-c", "good.toml", "--admin", "x:y"], "server.admin: 'x:y' is not host:port"),
        (["serve", "--mock", "--listen", ""], "server.listen: must not be empty"),
        (["mock", "--listen", ""], "--listen: '' is not host:port"),
    ],
)
def test_an_address_that_is_none_is_exit_1(arguments, complaint):
    result = said(*arguments)
    assert (result.exit_code, result.stderr) == (1, f"Error: {complaint}\n")


def test_check_prints_every_value_with_its_origin_and_no_secret():
    given = {
        "TIERGATE_RETRY__RETRIES": "1",
        "TIERGATE_ROUTING__PATHS": '["/chat"]',
        "TIERGATE_SERVICE_HOST": "10.0.0.1",
    }
    result = said("check", "-c", "good.toml", **given)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines == sorted(lines)
    assert {
        'server.listen = "127.0.0.1:8080"  (default)',
        "server.grace_seconds = 5  (file good.toml)",
        "retry.retries = 1  (environment TIERGATE_RETRY__RETRIES)",
        'routing.paths = ["/chat"]  (environment TIERGATE_ROUTING__PATHS)',
        'providers.p1.base_url = "http://p1/v1"  (file good.toml)',
        "providers.p1.headers.X-Secret = ****  (file good.toml)",
        "routing.aliases = {}  (default)",
    } <= set(lines)
    assert all(re.fullmatch(r"\S+ = .+  \((default|file|environment) ?\S*\)", x) for x in lines)
    assert any(line.startswith("tiers.simple = [{") for line in lines)
    assert "swordfish" not in result.output


@pytest.mark.parametrize(
    ("redis", "shown"),
    [
        ("redis://user:swordfish@r1:6379/0", "redis://user:****@r1:6379/0"),
        ("redis://:sword%2Ffish%40@r1", "redis://:****@r1"),
        ("redis://swordfish@r1", "redis://****@r1"),  # a user name, or somebody's slip
        ("redis://r1:6379", "redis://r1:6379"),
    ],
)
def test_check_shows_no_password_of_a_url(redis, shown):
    proxy = "http://user:sword:fish@proxy:3128"
    result = said("check", "-c", "secret.toml", REDIS=redis, PROXY=proxy, PASSWORD="swordfish")
    assert result.exit_code == 0, result.output
    assert {
        f'cache.url = "{shown}"  (file secret.toml)',
        'sessions.url = "rediss://:****@r2:7/0?ssl_ca_certs=c"  (file secret.toml)',
        'providers.p1.proxy_url = "http://user:****@proxy:3128"  (file secret.toml)',
        'providers.p1.base_url = "http://p1/v1"  (file secret.toml)',
    } <= set(result.stdout.splitlines())
    assert "sword" not in result.output


def test_check_needs_no_tiers_where_they_come_from_elsewhere():
    for kind, place in (("http", 'url = "http://c"'), ("file", 'file = "x.json"')):
        result = said("check", "-c", f"{kind}.toml", SERVICE_KEY="sk-swordfish")
        assert (result.exit_code, result.stderr) == (0, "")
        assert f"tier_config.{place}  (file {kind}.toml)" in result.stdout.splitlines()
        assert "swordfish" not in result.output


def test_the_seeds_variable_is_told_as_the_origin_of_the_ttl():
    result = said("check", "-c", "good.toml", TIER_CONFIG_TTL_SECONDS="60")
    line = "tier_config.ttl_seconds = 60.0  (environment TIER_CONFIG_TTL_SECONDS)"
    assert line in result.stdout.splitlines()


def test_check_says_when_the_operators_token_is_missing_and_masks_it():
    alone = said("check", "-c", "good.toml", TIERGATE_ADMIN__TOKEN_ENV="OPS_TOKEN")
    assert alone.exit_code == 1
    assert alone.stderr == (
        "Error: admin.token_env: no usable value in the environment variable OPS_TOKEN\n"
    )
    named = {"TIERGATE_ADMIN__TOKEN_ENV": "OPS_TOKEN", "OPS_TOKEN": "swordfish"}
    result = said("check", "-c", "good.toml", **named)
    assert result.exit_code == 0
    assert 'admin.token_env = "OPS_TOKEN"' in result.stdout
    assert "swordfish" not in result.output


def test_explain_tells_what_would_become_of_a_request():
    result = said("explain", "-c", "good.toml", "--tier", "simple", "Hello")
    assert result.exit_code == 0
    assert result.stdout.startswith("tier      simple\nreason    explicit\n")
    row = r"^p1 +small +simple +1\.000 +1\.000 +available +- +unknown$"
    assert re.search(row, result.stdout, re.M)
    told = said("explain", "-c", "good.toml", "--model", "small", "--json")
    assert '"reason": "model"' in told.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--tier", "tiny"], 2, "Invalid value for '--tier'"),
        (["-f", "-", "--tier", "simple"], 2, "Give either a body with -f"),
        (["-f", "gone.json"], 1, "Error: cannot read gone.json: No such file or directory"),
        (["--model", "nope"], 1, "Error: 404 model_not_found: "),
        (["--policy", "nope"], 1, "Error: 400 invalid_request: 'X-Arbstr-Policy' must name"),
    ],
)
def test_explain_says_what_is_wrong_in_one_line(arguments, code, complaint):
    result = said("explain", "-c", "good.toml", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert complaint in result.stderr


def test_check_warns_of_a_tier_with_a_single_candidate():
    alone = said("check", "-c", "good.toml")
    assert alone.stderr.startswith("warning: tiers.simple: a single candidate;")
    assert said("check", "-c", "good.yaml").stderr == ""


def test_check_reads_the_default_file_or_the_environment_alone(tmp_path):
    (tmp_path / "tiergate.toml").write_text(FILE)
    with contextlib.chdir(tmp_path):
        assert "(file tiergate.toml)" in CliRunner().invoke(main, ["check"]).stdout
    alone = said(
        "check",
        TIERGATE_PROVIDERS__P1__BASE_URL="http://p1/v1",
        TIERGATE_TIERS__SIMPLE='[{"provider": "p1", "model": "m"}]',
    )
    assert alone.exit_code == 0
    assert "(environment TIERGATE_PROVIDERS__P1__BASE_URL)" in alone.stdout
    fetched = said(
        "check",
        TIERGATE_PROVIDERS__P1__BASE_URL="http://p1/v1",
        TIERGATE_TIER_CONFIG__SOURCE="http",
        TIERGATE_TIER_CONFIG__URL="http://c",
    )
    assert fetched.exit_code == 0


def test_what_init_prints_passes_check_once_there_is_a_key():
    assert said("init").stdout == INIT
    assert "OPENAI_API_KEY" in said("check", "-c", "init.toml").stderr
    result = said("check", "-c", "init.toml", OPENAI_API_KEY="sk-swordfish")
    assert result.exit_code == 0
    assert "swordfish" not in result.output


def test_the_version_and_help_are_printed():
    assert said("--version").stdout == f"tiergate, version {__version__}\n"
    help_text = said("-h").stdout
    for command in ("serve", "check", "explain", "init", "mock"):
        assert re.search(rf"^  {command} ", help_text, re.MULTILINE)


def test_the_help_of_mock_lists_every_fault():
    lines = [line.strip() for line in said("mock", "--help").stdout.splitlines()]
    assert set(known_faults()) <= set(lines)


# --- served in this process ------------------------------------------------------------------


def served(work, capsys, *paths, meanwhile=None):
    """Runs it as the command does; what it printed, and the status of each path of its first URL
    while it runs. `meanwhile` is awaited first, with a client of that URL."""

    async def scenario():
        serving = asyncio.create_task(work)
        printed = ""
        async with asyncio.timeout(10):
            while not re.search(r"http://.*\n", printed):  # there is no event to wait for
                await asyncio.sleep(0.01)
                printed += capsys.readouterr().out
                assert not serving.done() or serving.result()
        url = re.search(r"http://[^/ \n]+", printed)[0]
        async with httpx.AsyncClient(base_url=url) as client:
            if meanwhile is not None:
                await meanwhile(client)
            statuses = [(await client.get(path)).status_code for path in paths]
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(serving, timeout=10)
        return printed + capsys.readouterr().out, statuses

    with kept(), asyncio.Runner() as runner:
        return runner.run(scenario())


LISTENERS = {"server.listen": ANY_PORT, "server.admin": ANY_PORT}


def test_serve_with_a_file_prints_where_it_is(tmp_path, capsys):
    file = tmp_path / "tiergate.toml"
    file.write_text(FILE)
    with contextlib.chdir(tmp_path):  # where its log is
        printed, statuses = served(_serve_file(file, LISTENERS), capsys, "/v1/models", "/")
    assert statuses == [200, 404]
    assert re.fullmatch(
        rf"tiergate {__version__} listens on http://127.0.0.1:\d+\n"
        r"operators: http://127.0.0.1:\d+/ \(the inspector\), /health, /metrics\n",
        printed,
    )


def test_serve_without_a_file_follows_the_files_that_the_environment_names(tmp_path, capsys):
    tiers = tmp_path / "tiers.json"
    entry = {"provider": "p1", "inputPricePerMillion": 1, "outputPricePerMillion": 1}

    def write(model):
        text = json.dumps({"version": model, "tiers": {"simple": [{**entry, "model": model}]}})
        tiers.write_text(text)

    async def listed(client):
        return "new" in (await client.get("/v1/models")).text

    async def meanwhile(client):
        assert not await listed(client)
        write("new")
        await eventually(lambda: listed(client))

    write("old")
    given = {"providers.p1.base_url": "http://p1/v1", "tier_config.source": "file"}
    flags = {**LISTENERS, **given, "tier_config.file": str(tiers)}
    with contextlib.chdir(tmp_path):
        _, statuses = served(
            _serve_file(None, flags),
            capsys,
            "/v1/models/new",
            "/v1/models/old",
            meanwhile=meanwhile,
        )
    assert statuses == [200, 404]


def test_serve_with_fake_providers_prints_what_to_try(capsys):
    printed, statuses = served(_serve_mock({**LISTENERS, "server.admin": ""}), capsys, "/v1/models")
    assert statuses == [200]
    assert "operators:" not in printed
    assert re.search(r"curl -i http://127.0.0.1:\d+/v1/chat/completions", printed)


def test_mock_prints_where_the_fake_providers_are(capsys):
    printed, statuses = served(_run_mock(ANY_PORT), capsys, "/mock-a/v1/models", "/v1/models")
    assert statuses == [200, 404]
    assert printed.startswith("fake providers: http://127.0.0.1:")


# --- real processes --------------------------------------------------------------------------


def test_a_taken_port_is_one_line_and_exit_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        served = process("serve", "--mock", "--listen", address)
        mocked = said("mock", "--listen", address)
    complaint = f"cannot listen on {address}"
    assert (served.returncode, served.stdout, mocked.exit_code, mocked.stdout) == (1, "", 1, "")
    assert served.stderr == f"Error: server.listen: {complaint}: Address already in use\n"
    assert re.fullmatch(f"Error: --listen: {complaint}: .*ddress already in use\n", mocked.stderr)


@pytest.mark.parametrize("part", ["click", "uvicorn", "uvloop", "httptools", "h11"])
def test_a_missing_part_is_told_with_the_command_that_brings_it(part):
    blocked = (
        f"import sys; sys.modules['{part}'] = None; import runpy;"
        "runpy.run_module('tiergate_sidecar', run_name='__main__')"
    )
    result = process("serve", "--mock", code=blocked)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(
        rf"tiergate: .*\b{part}\b.*; pip install 'tiergate\[sidecar\]'\n", result.stderr
    )


def test_the_module_is_the_command():
    result = process("--version")
    assert (result.returncode, result.stdout) == (0, f"tiergate, version {__version__}\n")
    assert process("unheard-of").returncode == 2
