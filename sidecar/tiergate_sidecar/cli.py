"""`tiergate`: the command line. What is wrong is said in one line, with exit code 1."""

import asyncio
import re
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
import uvloop

from tiergate import (
    Config,
    ConfigError,
    Document,
    Gateway,
    __version__,
    read_document,
    warnings_of,
)
from tiergate_sidecar.logs import configure_logging, hold_logs
from tiergate_sidecar.mock import MockProviders
from tiergate_sidecar.mock_faults import known_faults
from tiergate_sidecar.reading import Reading
from tiergate_sidecar.samples import INIT, MOCK_FAULT_HEADER, mock_config
from tiergate_sidecar.server import serve as serve_forever
from tiergate_sidecar.settings import Address, Settings, parse_address, settings_of

DEFAULT_FILE = Path("tiergate.toml")

_CREDENTIALS = re.compile(r"(?<=://)([^:/@]*:)?[^/]*@")
"""Of a URL: what is before its last `@`; a user name stays where a password follows it."""

_config_option = click.option(
    "-c", "--config", "file", type=click.Path(path_type=Path), help="TOML, YAML or JSON."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tiergate")
def main() -> None:
    """A tier-routed gateway to many model providers."""


@main.command()
@_config_option
@click.option("--mock", is_flag=True, help="Built-in fake providers: no network, no key, no file.")
@click.option("--listen", help="Address for clients, host:port.")
@click.option("--admin", help="Address for operators; an empty one turns it off.")
def serve(file: Path | None, mock: bool, listen: str | None, admin: str | None) -> None:
    """Serve requests until SIGTERM."""
    if mock and file:
        raise click.UsageError("--mock brings its own configuration: leave -c out.")
    given = {"server.listen": listen, "server.admin": admin}
    flags = {path: value for path, value in given.items() if value is not None}
    _run(_serve_mock(flags) if mock else _serve_file(file, flags))


@main.command()
@_config_option
def check(file: Path | None) -> None:
    """Check a configuration, and print every setting with where it came from."""
    try:
        document = _read(file or _default_file(), {})
        settings, config = settings_of(document)
        gateway = Gateway(config)
    except ConfigError as error:
        _fail(error)
    for line in _described(document, settings, gateway.config):
        click.echo(line)
    for warning in warnings_of(gateway.config):
        click.echo(f"warning: {warning}", err=True)


@main.command()
def init() -> None:
    """Print a commented configuration to start from."""
    click.echo(INIT, nl=False)


@main.command(
    epilog="\b\nFaults, by the header X-Mock-Fault or as a model named fault-…:\n  "
    + "\n  ".join(known_faults())
)
@click.option("--listen", default="127.0.0.1:8000", show_default=True, help="host:port.")
def mock(listen: str) -> None:
    """Run the fake providers alone, until SIGTERM."""
    _run(_run_mock(listen))


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except ConfigError as error:
        _fail(error)


def _fail(error: ConfigError) -> NoReturn:
    raise click.ClickException(str(error)) from None


def _default_file() -> Path | None:
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read(file: Path | None, flags: Mapping[str, Any]) -> Document:
    """The document of a file, or of the environment alone."""
    document = read_document(file, flags=flags)
    if file is None and not document.values.keys() & {"tiers", "tier_config"}:
        raise ConfigError(
            "no configuration: give -c FILE (`tiergate init` prints one), or try --mock"
        )
    return document


async def _serve_file(file: Path | None, flags: Mapping[str, Any]) -> None:
    hold_logs()
    file = file or _default_file()
    reading = Reading(partial(_read, file, flags), configure_logging)
    # Also without a file: keys and tiers may be files too.
    gateway = Gateway(file or {}, read=reading, accepted=reading.accepted, watch=True)
    await _serve(reading, gateway, _say_started)


async def _serve_mock(flags: Mapping[str, Any]) -> None:
    async with MockProviders(now=time.time) as providers:  # noqa: TID251  # the composition root
        tables = mock_config(providers.base_url)
        reading = Reading(partial(read_document, tables, flags=flags), configure_logging)
        gateway = Gateway({}, read=reading, accepted=reading.accepted)
        await _serve(reading, gateway, _say_mock_started)


async def _serve(
    reading: Reading, gateway: Gateway, started: Callable[[Address, Address | None], None]
) -> None:
    await serve_forever(
        reading.started_with.server,
        gateway,
        started=started,
        needs_restart=lambda: reading.needs_restart,
    )


async def _run_mock(listen: str) -> None:
    address = parse_address(listen, "--listen")
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # as process 1 of a container it has no default
        loop.add_signal_handler(number, stopped.set)
    try:
        now = time.time  # noqa: TID251  # the composition root
        providers = MockProviders(now=now, host=address.host, port=address.port)
        async with providers:
            click.echo(f"fake providers: {providers.base_url('mock-a')} (any name for mock-a)")
            await stopped.wait()
    except OSError as error:
        raise ConfigError(f"--listen: cannot listen on {address}: {error.strerror}") from None


def _say_started(clients: Address, admin: Address | None) -> None:
    click.echo(f"tiergate {__version__} listens on http://{clients}")
    if admin is not None:
        click.echo(f"health is at http://{admin}/health/ready")


def _say_mock_started(clients: Address, admin: Address | None) -> None:
    _say_started(clients, admin)
    click.echo(
        f"""built-in fake providers answer; try

  curl -i http://{clients}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "simple", "messages": [{{"role": "user", "content": "Hello"}}]}}'

and -H '{MOCK_FAULT_HEADER}: 503' to see a provider fail and nobody notice.\
"""
    )


def _described(document: Document, settings: Settings, config: Config) -> Iterator[str]:
    tables = {**msgspec.to_builtins(settings), **msgspec.to_builtins(config)}
    for path, value in sorted(_leaves(tables)):
        yield f"{path} = {_shown(path, value)}  ({document.origins.get(path, 'default')})"


def _shown(path: str, value: object) -> str:
    if ".headers." in path:
        return "****"
    if isinstance(value, str):
        value = _CREDENTIALS.sub(r"\1****@", value)
    return msgspec.json.encode(value).decode()


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
