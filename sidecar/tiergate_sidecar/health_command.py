"""`tiergate health`: asks a running one how it is, for the health check of an image.

A container runs it every few seconds on little CPU, so this module imports next to nothing: no
gateway, no event loop, and HTTP/1.0 on a plain socket, which `http.client` would make half as dear
again. `__main__` runs it without the other commands; `cli` lists it among them.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

import click

TIMEOUT_SECONDS: Final = 3.0
"""Below the 5 s after which the image's health check gives up itself."""

PROBES_VARIABLE: Final = "TIERGATE_SERVER__PROBES"
"""Set, as in the image and in every pod, it saves reading the configuration: 0.2 s of CPU, and the
file may have been broken since the process that we ask has read it."""

_MOST_BYTES: Final = 65_536  # the two pages have under 100; who says more is none of ours
_LOOPBACK: Final = {None: "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@click.command()
@click.option("-c", "--config", "file", type=click.Path(), help="The file that `serve` reads.")
@click.option("--url", help="Where it listens (http://…), instead of looking that up.")
@click.option("--ready", is_flag=True, help="Ask whether it is ready, not only alive.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, max=3600, min_open=True),
    default=TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds for the whole question.",
)
def health(file: str | None, url: str | None, ready: bool, timeout: float) -> None:
    """Ask a running tiergate how it is; exit code 0 when all is well.

    Looks where `serve` would listen with the same file and environment: at server.probes where that
    is set, else at server.admin.
    """
    environ = os.environ  # noqa: TID251  # the composition root
    at = _place(url or f"http://{_address(file, environ)}")
    page = f"{at.geturl().rstrip('/')}/health/{'ready' if ready else 'live'}"
    try:
        status, said = _asked(at, page, timeout)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{page}: {getattr(error, 'strerror', None) or error}") from None
    if status != 200:
        raise click.ClickException(f"{page}: {status} {said}")
    click.echo(f"{page}: {said}")


alone: Final = click.Group(
    "tiergate", commands=[health], context_settings={"help_option_names": ["-h", "--help"]}
)
"""The command line as far as this command is concerned."""


def _address(file: str | None, environ: Mapping[str, str]) -> str:
    """What `serve` listens on for probes, as text."""
    if environ.get(PROBES_VARIABLE):
        return environ[PROBES_VARIABLE]
    # These two bring the gateway along: see above.
    from tiergate import ConfigError, read_document
    from tiergate_sidecar.settings import DEFAULT_FILE, Server

    try:
        document = read_document(file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None))
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    # As it stands: what else is wrong with the file is no answer to how the process is.
    server = document.values.get("server", {})
    if not isinstance(server, Mapping):
        raise click.ClickException("server: must be a table")
    address = server.get("probes", Server().probes) or server.get("admin", Server().admin)
    if not address:
        raise click.ClickException("server.probes and server.admin are empty: nobody to ask")
    return str(address)


def _place(url: str) -> SplitResult:
    """The URL with a port, and loopback for every address; raises `click.ClickException`."""
    try:
        at = urlsplit(url)
        port = at.port
    except ValueError:
        port = None
    else:
        if port and at.scheme == "http":
            host = _LOOPBACK.get(at.hostname, at.hostname)
            netloc = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
            return at._replace(netloc=netloc, query="", fragment="")
    raise click.ClickException(f"{url} has no port to ask at (say --url http://host:port)")


def _asked(at: SplitResult, page: str, timeout: float) -> tuple[int, str]:
    """Status and body; raises `OSError` without an answer, `ValueError` when it is no HTTP."""
    clock = time.monotonic  # noqa: TID251  # the composition root
    end = clock() + timeout
    request = f"GET {urlsplit(page).path} HTTP/1.0\r\nHost: {at.netloc}\r\n\r\n"
    answer = b""
    place = (at.hostname or "", at.port or 0)
    with socket.create_connection(place, timeout=timeout) as wire:
        wire.sendall(request.encode())
        while piece := wire.recv(_MOST_BYTES):  # HTTP/1.0: its end is that of the connection
            answer += piece
            left = end - clock()
            if left <= 0 or len(answer) > _MOST_BYTES:
                raise TimeoutError("no end of its answer")
            wire.settimeout(left)
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("the answer is no HTTP")
    return int(words[1]), " ".join(body.decode("utf-8", "replace").split())
