"""`tiergate health`: where it looks, what it makes of each answer, that it always ends, and that it
stays cheap: it runs every few seconds."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from e2e.process import COMMAND, environment

from tiergate_sidecar.cli import main
from tiergate_sidecar.health_command import TIMEOUT_SECONDS, alone

OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"status":"ok"}'
DRAINING = b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"status":\n"draining"}'


@contextlib.contextmanager
def answering(*pieces, host="127.0.0.1", hold=False):
    """A server of one connection that says so, whatever it is asked; yields port and request."""
    asked = []
    with socket.create_server(
        (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
    ) as listening:
        listening.settimeout(10)
        done = threading.Event()

        def answer():
            with contextlib.suppress(OSError):
                wire, _ = listening.accept()
                with wire:
                    asked.append(wire.recv(65_536))
                    for piece in pieces:
                        wire.sendall(piece)
                    if hold:
                        done.wait(10)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield listening.getsockname()[1], asked
        finally:
            done.set()
            thread.join(10)


def told(*arguments, toml=None, **environ):
    """What the command says in a folder that holds nothing but, perhaps, `tiergate.toml`."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        if toml is not None:
            Path("tiergate.toml").write_text(toml, encoding="utf-8")
        return CliRunner().invoke(
            alone, ["health", *arguments], env={"TIERGATE_SERVER__PROBES": None, **environ}
        )


@pytest.mark.parametrize(("flags", "page"), [((), "live"), (("--ready",), "ready")])
def test_it_is_well_when_the_page_says_so(flags, page):
    with answering(OK) as (port, asked):
        result = told("--url", f"http://127.0.0.1:{port}/", *flags)
    url = f"http://127.0.0.1:{port}/health/{page}"
    assert (result.exit_code, result.output) == (0, f'{url}: {{"status":"ok"}}\n')
    assert asked[0].startswith(
        b"GET /health/%s HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n" % (page.encode(), port)
    )


def test_what_is_not_200_is_told_in_one_line():
    with answering(DRAINING) as (port, _):
        result = told("--url", f"http://127.0.0.1:{port}", "--ready")
    said = f'Error: http://127.0.0.1:{port}/health/ready: 503 {{"status": "draining"}}\n'
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", said)


@pytest.mark.parametrize(
    ("variable", "file", "host"),
    [
        ("127.0.0.1:{}", None, "127.0.0.1"),
        (":{}", None, "127.0.0.1"),
        ("0.0.0.0:{}", None, "127.0.0.1"),
        ("[::]:{}", None, "::1"),
        ("localhost:{}", None, "127.0.0.1"),
        (":{}", "[server\n", "127.0.0.1"),  # never read
        (None, 'probes = ":{}"\nadmin = "127.0.0.1:1"', "127.0.0.1"),
        (None, 'probes = "[::1]:{}"', "::1"),
        (None, 'admin = "127.0.0.1:{}"\nunheard_of = 1', "127.0.0.1"),
        ("", 'admin = "127.0.0.1:{}"\nprobes = "127.0.0.1:1"', "127.0.0.1"),  # probes turned off
    ],
)
def test_it_looks_where_serve_listens(variable, file, host):
    with answering(OK, host=host) as (port, _):
        environ = {} if variable is None else {"TIERGATE_SERVER__PROBES": variable.format(port)}
        toml = file and (file if file == "[server\n" else "[server]\n" + file.format(port))
        result = told(toml=toml, **environ)
    shown = f"[{host}]" if ":" in host else "localhost" if "local" in str(variable) else host
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"http://{shown}:{port}/health/live: ")


def test_a_file_may_be_named(tmp_path):
    with answering(OK) as (port, _):
        named = tmp_path / "named.yaml"
        named.write_text(f"server: {{admin: '127.0.0.1:{port}'}}", encoding="utf-8")
        result = told("-c", str(named), toml="[server\n")
    assert (result.exit_code, result.stderr) == (0, "")


def test_nobody_there_is_told_with_the_address():
    with socket.socket() as unused:  # bound, so that nobody else listens, and not listening
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        result = told(TIERGATE_SERVER__ADMIN=f"127.0.0.1:{port}")
    said = f"Error: http://127.0.0.1:{port}/health/live: Connection refused\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", said)


@pytest.mark.parametrize(
    ("arguments", "toml", "complaint"),
    [
        (["-c", "missing.toml"], None, "configuration: cannot read missing.toml: No such file"),
        ([], "[server\n", "tiergate.toml: Expected ']'"),
        ([], '[server]\nadmin = ""', "server.probes and server.admin are empty: nobody to ask"),
        ([], 'server = "odd"', "server: must be a table"),
        ([], '[server]\nprobes = ":0"', "http://:0 has no port to ask at"),
        ([], '[server]\nprobes = "nowhere"', "http://nowhere has no port to ask at"),
        (["--url", "127.0.0.1:9090"], None, "127.0.0.1:9090 has no port to ask at"),
        (["--url", "https://127.0.0.1:9090"], None, "https://127.0.0.1:9090 has no port to ask"),
        (["--url", "http://127.0.0.1:70000"], None, "http://127.0.0.1:70000 has no port to ask"),
        (["--url", "http://[::1:5"], None, "http://[::1:5 has no port to ask"),
        (["--url", "http://a..b:5"], None, "http://a..b:5/health/live: "),  # no name of a host
    ],
)
def test_what_cannot_be_asked_is_one_line_and_exit_1(arguments, toml, complaint):
    result = told(*arguments, toml=toml)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"Error: {complaint}")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1", b"HTTP/1.1 two", b"SSH-2.0-x y\r\n", b"\x00\xff\r\n\r\n"]
)
def test_what_speaks_no_http_is_not_well(answer):
    with answering(answer) as (port, _):
        result = told("--url", f"http://127.0.0.1:{port}")
    said = f"Error: http://127.0.0.1:{port}/health/live: the answer is no HTTP\n"
    assert (result.exit_code, result.stderr) == (1, said)


@pytest.mark.parametrize(
    ("pieces", "complaint"),
    [
        ((), "timed out"),  # nothing at all
        ((OK,), "timed out"),  # no end
        ((b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 100_000), "no end of its answer"),
    ],
)
def test_it_always_ends(pieces, complaint):
    assert TIMEOUT_SECONDS < 5  # the image's own limit
    with answering(*pieces, hold=True) as (port, _):
        result = told("--url", f"http://127.0.0.1:{port}", "--timeout", "0.2")
    said = f"Error: http://127.0.0.1:{port}/health/live: {complaint}\n"
    assert (result.exit_code, result.stderr) == (1, said)


def test_it_is_one_of_the_commands_and_the_same():
    assert main.commands["health"] is alone.commands["health"]


def test_it_imports_next_to_nothing():
    """0.04 s of CPU against 0.27: what a container pays every few seconds."""
    started = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "health", "--ready"],
        env=environment(TIERGATE_SERVER__PROBES="127.0.0.1:1"),
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert started.returncode == 1
    imported = {line.rpartition("|")[2].strip() for line in started.stderr.splitlines()}
    assert "tiergate_sidecar.health_command" in imported
    costly = {"tiergate", "aiohttp", "asyncio", "uvloop", "msgspec", "http.client", "ssl", "email"}
    assert not costly & imported


def test_a_trickling_peer_is_left_in_time():
    """Each piece comes in time, the whole never does."""

    def trickle():
        wire, _ = listening.accept()
        with wire, contextlib.suppress(OSError):
            for piece in [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x"] * 200]:
                wire.sendall(piece)
                left.wait(0.05)

    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        thread = threading.Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        result = told("--url", url, "--timeout", "0.3")
        trickled = thread.is_alive()
        left.set()
        thread.join(10)
    assert (result.exit_code, trickled) == (1, True)
    assert result.stderr.endswith((": no end of its answer\n", ": timed out\n"))
