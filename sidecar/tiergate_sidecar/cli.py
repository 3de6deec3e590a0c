"""`tiergate`: the command line. What is wrong is said in one line, with exit code 1."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
import uvloop

from tiergate import (
    TIERS,
    ConfigError,
    Document,
    Gateway,
    __version__,
    read_document,
    warnings_of,
)
from tiergate_sidecar.effective import MASK, effective
from tiergate_sidecar.explaining import explained, read_body, told
from tiergate_sidecar.health_command import health
from tiergate_sidecar.inject_command import inject, uninject
from tiergate_sidecar.login import read_token
from tiergate_sidecar.logs import configure_logging, hold_logs
from tiergate_sidecar.mock import MockProviders
from tiergate_sidecar.mock_faults import known_faults
from tiergate_sidecar.otel import Exporting, configure_telemetry
from tiergate_sidecar.reading import Reading
from tiergate_sidecar.replay_command import replay
from tiergate_sidecar.samples import INIT, MOCK_FAULT_HEADER, mock_config
from tiergate_sidecar.server import Addresses
from tiergate_sidecar.server import serve as serve_forever
from tiergate_sidecar.settings import DEFAULT_FILE, parse_address, settings_of, settings_warnings
from tiergate_sidecar.tokens import read_tokens
from tiergate_sidecar.webhook_command import webhook

_config_option = click.option(
    "-c", "--config", "file", type=click.Path(path_type=Path), help="TOML, YAML or JSON."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tiergate")
def main() -> None:
    """A tier-routed gateway to many model providers."""


main.add_command(health)
main.add_command(webhook)
main.add_command(inject)
main.add_command(uninject)
main.add_command(replay)


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
        read_token(settings.admin, time.time)  # noqa: TID251  # the composition root
        read_tokens(settings.auth)
    except ConfigError as error:
        _fail(error)
    for each in effective(settings, gateway.config, document):
        shown = each.value if each.value == MASK else msgspec.json.encode(each.value).decode()
        click.echo(f"{each.path} = {shown}  ({each.origin})")
    for warning in (*warnings_of(gateway.config), *settings_warnings(settings, gateway.config)):
        click.echo(f"warning: {warning}", err=True)


@main.command()
@_config_option
@click.option("-f", "--file", "body", help="A chat request's JSON body; - is stdin.")
@click.option("--tier", type=click.Choice(TIERS), help="Ask for a tier.")
@click.option("--model", help="Ask for a model, or auto, or whatever an app calls one.")
@click.option("--policy", help="Name a policy, as X-Arbstr-Policy does.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.argument("text", required=False)
def explain(
    file: Path | None,
    body: str | None,
    tier: str | None,
    model: str | None,
    policy: str | None,
    as_json: bool,
    text: str | None,
) -> None:
    """Tell what would become of a request, and call nobody."""
    try:
        _, config = settings_of(_read(file or _default_file(), {}))
        explanation = explained(config, read_body(body, text, tier, model), policy)
    except ConfigError as error:
        _fail(error)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(explanation)))
    else:
        for line in told(explanation):
            click.echo(line)


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
    async with _exporting(reading) as otel:
        gateway = Gateway(
            file or {},
            read=reading,
            accepted=reading.accepted,
            watch=True,  # keys and tiers may be files too
            tracer_provider=otel.tracer_provider,
            meter_provider=otel.meter_provider,
        )
        # Where the rows go to stdout, nothing else does.
        err = gateway.config.request_log.url.startswith("stdout:")
        await _serve(reading, gateway, partial(_say_started, err=err), otel)


async def _serve_mock(flags: Mapping[str, Any]) -> None:
    async with MockProviders(now=time.time) as providers:  # noqa: TID251  # the composition root
        tables = mock_config(providers.base_url)
        reading = Reading(partial(read_document, tables, flags=flags), configure_logging)
        async with _exporting(reading) as otel:
            gateway = Gateway(
                {},
                read=reading,
                accepted=reading.accepted,
                tracer_provider=otel.tracer_provider,
                meter_provider=otel.meter_provider,
            )
            await _serve(reading, gateway, _say_mock_started, otel)


def _exporting(reading: Reading) -> Exporting:
    environ = os.environ  # noqa: TID251  # the composition root, of variables that are not ours
    _, config = settings_of(reading.document)
    return configure_telemetry(config.telemetry.service_name, environ)


async def _serve(
    reading: Reading,
    gateway: Gateway,
    started: Callable[[Addresses], None],
    otel: Exporting,
) -> None:
    await serve_forever(
        reading.started_with,
        gateway,
        started=started,
        needs_restart=lambda: reading.needs_restart,
        configuration=lambda: effective(reading.settings, gateway.config, reading.document),
        proxy=lambda: reading.settings.proxy,
        ended=otel.begin_close,
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


def _say_started(here: Addresses, *, err: bool = False) -> None:
    click.echo(f"tiergate {__version__} listens on http://{here.clients}", err=err)
    if here.admin is not None:
        click.echo(f"operators: http://{here.admin}/ (the inspector), /health, /metrics", err=err)
    if here.probes is not None:
        click.echo(f"probes: http://{here.probes}/health/ready, /health/live, /metrics", err=err)


def _say_mock_started(here: Addresses) -> None:
    _say_started(here)
    clients = here.clients
    click.echo(
        f"""built-in fake providers answer; try

  curl -i http://{clients}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "simple", "messages": [{{"role": "user", "content": "Hello"}}]}}'

and -H '{MOCK_FAULT_HEADER}: 503' to see a provider fail and nobody notice.\
"""
    )
