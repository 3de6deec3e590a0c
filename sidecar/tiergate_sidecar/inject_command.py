"""`tiergate inject` and `tiergate uninject`: manifests through a sidecar's injection, as a filter.

Options, streams and exit codes; the work is in `manifest_injection`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from tiergate import __version__
from tiergate_sidecar.injector import (
    FAILOVERS,
    LOG_LEVELS,
    MODES,
    Injector,
    InvalidSettingError,
    user_of,
)
from tiergate_sidecar.labels import ADMIN_PORT, CLIENT_PORT, USER
from tiergate_sidecar.manifest_injection import (
    ASKED_BY_NAME,
    Result,
    difference,
    explained,
    inject_sources,
    report,
    uninject_sources,
)
from tiergate_sidecar.manifests import STDIN, ManifestError, Source, joined, read_sources

Command = TypeVar("Command", bound=Callable[..., Any])

_FLAGS = {"config": "config-map"}
"""By the name of a setting, where the flag has another one."""


def _inputs(command: Command) -> Command:
    """The options that both commands read manifests with."""
    for option in (
        click.option("--diff", is_flag=True, help="Print a unified diff instead of manifests."),
        click.option(
            "-R", "--recursive", is_flag=True, help="Folders inside a folder too, as kubectl's -R."
        ),
        click.option(
            "-f",
            "--filename",
            "names",
            required=True,
            multiple=True,
            metavar="FILE|DIR|-",
            help="Manifests: a file, a folder's *.yaml, *.yml and *.json, or stdin. Repeatable.",
        ),
    ):
        command = option(command)
    return command


@click.command(
    epilog="Exit code: 0; 1 when nothing could be read, no workload was found, or one was refused"
    " (the others are written all the same); 2 for a wrong call."
)
@_inputs
@click.option("--check", is_flag=True, help="Tell of each workload what would be done, and why.")
@click.option("--labelled", is_flag=True, help="Only pods that ask by their own label.")
@click.option("--image", default=f"tiergate:{__version__}", show_default=True)
@click.option("--mode", type=click.Choice(MODES), default="native", show_default=True)
@click.option(
    "--config-map",
    "config",
    default="tiergate",
    show_default=True,
    help="The ConfigMap, in the pod's namespace, with the sidecar's configuration.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The TOML that this ConfigMap will hold, to check that no app breaks. A ConfigMap among"
    " the manifests is checked without.",
)
@click.option("--secret", default="", help="A Secret, in the pod's namespace, with provider keys.")
@click.option(
    "--port", type=int, default=CLIENT_PORT, show_default=True, help="For the app, on loopback."
)
@click.option(
    "--admin-port", type=int, default=ADMIN_PORT, show_default=True, help="Operators' pages."
)
@click.option(
    "--run-as-user",
    default=str(USER),
    show_default=True,
    help='A number; "" leaves it to the cluster, as OpenShift wants it.',
)
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default=None)
@click.option("--stream-failover", type=click.Choice(FAILOVERS), default=None)
@click.option("--cpu-request", default="50m", show_default=True)
@click.option("--cpu-limit", default="", help="None by default.")
@click.option("--memory-request", default="128Mi", show_default=True)
@click.option("--memory-limit", default="256Mi", show_default=True)
def inject(
    names: tuple[str, ...],
    recursive: bool,
    diff: bool,
    check: bool,
    labelled: bool,
    config_file: Path | None,
    **settings: Any,
) -> None:
    """Put the sidecar into the workloads of manifests, and print them.

    Naming a file is asking for it: each workload in it gets the sidecar, unless the label or
    annotation tiergate.io/inject of its pod says "disabled". Comments, order and layout stay, and
    what is injected already is left alone:

    \b
      tiergate inject -f deployment.yaml | kubectl apply -f -
      kubectl get pod web-0 -o yaml | tiergate inject --check -f -
    """
    if check and diff:
        raise click.UsageError("Give either --check or --diff.")
    injector = _injector(settings)
    sources = _sources(names, recursive)
    try:
        config = None if config_file is None else config_file.read_text("utf-8")
        result = inject_sources(sources, injector, config, {} if labelled else ASKED_BY_NAME)
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"cannot read {config_file}: {getattr(error, 'strerror', 'not UTF-8')}")
    except ManifestError as error:
        _fail(str(error))
    if check:
        for told in result.told:
            for line in explained(told):
                click.echo(line)
        _end(result)
    else:
        _write(sources, result, diff=diff)


@click.command()
@_inputs
def uninject(names: tuple[str, ...], recursive: bool, diff: bool) -> None:
    """Take the sidecar out of the workloads of manifests, and print them.

    Only what an injection has put in goes; manifests without a sidecar come out as they are.
    """
    sources = _sources(names, recursive)
    try:
        result = uninject_sources(sources)
    except ManifestError as error:
        _fail(str(error))
    _write(sources, result, diff=diff)


def _injector(settings: dict[str, Any]) -> Injector:
    user = settings.pop("run_as_user")
    given: dict[str, Any] = {
        name: "" if value is None else value for name, value in settings.items()
    }
    try:
        return Injector(**given, run_as_user=user_of(user))
    except InvalidSettingError as error:
        flag = _FLAGS.get(error.setting, error.setting.replace("_", "-"))
        raise click.UsageError(f"--{flag} {error.reason}.") from None


def _sources(names: tuple[str, ...], recursive: bool) -> list[Source]:
    if names.count(STDIN) > 1:
        raise click.UsageError("Stdin can be read once: give -f - once.")
    try:
        return read_sources(names, sys.stdin.buffer, recursive=recursive)
    except ManifestError as error:
        _fail(str(error))


def _write(sources: list[Source], result: Result, *, diff: bool) -> None:
    text = "".join(map(difference, sources, result.texts)) if diff else joined(result.texts)
    click.echo(text.encode(), nl=False)  # bytes, or a console's encoding would change them
    for told in result.told:
        for line in report(told):
            click.echo(line, err=True)
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    _end(result)


def _end(result: Result) -> None:
    if not result.told:
        _fail("no workload found: nothing here has a pod")
    if result.refused:
        click.get_current_context().exit(1)


def _fail(message: str) -> NoReturn:
    raise click.ClickException(message) from None
