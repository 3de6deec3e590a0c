"""`tiergate webhook`: the admission webhook's options, each by flag or by variable.

Here is the composition root: clock, environment and log are taken, and handed on.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

import click
import uvloop

from tiergate import ConfigError, __version__
from tiergate_sidecar.certificates import CERTIFICATE_FILE, KEY_FILE
from tiergate_sidecar.injector import (
    FAILOVERS,
    LOG_LEVELS,
    MODES,
    Injector,
    InvalidSettingError,
    user_of,
)
from tiergate_sidecar.kube import SERVICE_ACCOUNT, api_server
from tiergate_sidecar.labels import ADMIN_PORT, CLIENT_PORT, USER
from tiergate_sidecar.logs import configure_logging
from tiergate_sidecar.make_certs import SERVICE, make_certs
from tiergate_sidecar.review import OnError, OnRefused
from tiergate_sidecar.settings import Address, Logging
from tiergate_sidecar.webhook import BY_NAMESPACE, BY_POD, SECONDS, Rules
from tiergate_sidecar.webhook_body import LARGEST_BODY
from tiergate_sidecar.webhook_server import GRACE_SECONDS, LINGER_SECONDS, Serving, serve_webhook

CERTIFICATES: Final = Path("/certs")
"""Where the shipped manifests mount them."""

VARIABLES: Final = "TIERGATE_WEBHOOK__"
"""What the variables of the options begin with. Kubernetes itself gives the pods beside a Service
`tiergate-webhook` a `TIERGATE_WEBHOOK_PORT`, of another meaning: hence two underscores."""


def _option(*names: str, help: str, **about: Any) -> Callable[[Any], Any]:
    kind = click.Choice(about.pop("choice")) if "choice" in about else about.pop("type", None)
    variable = VARIABLES + names[0].removeprefix("--").replace("-", "_").upper()
    return click.option(*names, type=kind, help=help, envvar=variable, **about)


_FLAGS: Final = {"config": "config-map", "log_level": "sidecar-log-level"}
"""By the name of a setting, where the flag has another one."""

_FOLDER: Final = click.Path(path_type=Path)


@click.command(
    context_settings={"show_default": True},
    epilog=f"Each option is a variable too: --on-error is {VARIABLES}ON_ERROR.",
)
@_option("--image", help="The sidecar's image; required.")
@_option("--listen", default=":8443", help="Where API servers ask, over TLS.")
@_option("--probes", default=":8080", help="For /health/live, /health/ready and /metrics, plain.")
@_option("--certs", type=_FOLDER, default=CERTIFICATES, help="Folder of tls.crt and tls.key.")
@_option("--tls-cert", type=_FOLDER, help="The certificate, where it is not in --certs.")
@_option("--tls-key", type=_FOLDER, help="Its key, likewise.")
@_option(
    "--on-error",
    choice=get_args(OnError),
    default="deny",
    help="What becomes of a pod that could not be looked at.",
)
@_option(
    "--refused",
    choice=get_args(OnRefused),
    default="deny",
    help="What becomes of a pod that asks for a sidecar it cannot have.",
)
@_option(
    "--read-config",
    is_flag=True,
    help="Ask the API server for the pod's ConfigMap, and refuse what would break the app.",
)
@_option(
    "--service-account",
    type=_FOLDER,
    default=SERVICE_ACCOUNT,
    help="Folder of token and ca.crt, for --read-config.",
)
@_option(
    "--max-body-bytes", type=click.IntRange(min=1024), default=LARGEST_BODY, help="Of a review."
)
@_option(
    "--time-limit-seconds",
    type=click.FloatRange(min=0.1, max=30),
    default=SECONDS,
    help="Of an answer; less than timeoutSeconds of the webhook configuration.",
)
@_option(
    "--linger-seconds",
    type=click.FloatRange(min=0),
    default=LINGER_SECONDS,
    help="Served after SIGTERM as before, until API servers have heard of it.",
)
@_option(
    "--grace-seconds",
    type=click.IntRange(min=0),
    default=GRACE_SECONDS,
    help="After that, for what still runs.",
)
@_option("--log-level", choice=LOG_LEVELS, default="info", help="Of the webhook itself.")
@_option("--log-format", choice=("console", "json"), default="console", help="Likewise.")
@_option("--mode", choice=MODES, default="native", help="classic is for Kubernetes before 1.29.")
@_option("--config-map", "config", default="tiergate", help="With the sidecar's configuration.")
@_option("--secret", default="", help="The Secret that holds its keys.")
@_option("--port", type=int, default=CLIENT_PORT, help="The sidecar's, on the pod's loopback.")
@_option("--admin-port", type=int, default=ADMIN_PORT, help="Its operators' pages, likewise.")
@_option("--run-as-user", default=str(USER), help="The sidecar's; an empty one is the cluster's.")
@_option("--sidecar-log-level", choice=LOG_LEVELS, help="Instead of its configuration's.")
@_option("--stream-failover", choice=FAILOVERS, help="Likewise.")
@_option("--cpu-request", default="50m", help="Of the sidecar, as are the next.")
@_option("--cpu-limit", default="", help="Empty is none.")
@_option("--memory-request", default="128Mi", help="What it needs at the least.")
@_option("--memory-limit", default="256Mi", help="Empty is none.")
@_option("--make-certs", "made", type=_FOLDER, help="Write certificates there, and end.")
@_option(
    "--name", "names", multiple=True, default=[SERVICE], help="The webhook's, for --make-certs."
)
def webhook(made: Path | None, names: tuple[str, ...], **given: Any) -> None:
    """Put sidecars into pods: a Kubernetes admission webhook, until SIGTERM."""
    try:
        if made is not None:
            for line in make_certs(made, names, datetime.now(UTC)):
                click.echo(line)
            return
        if not given["image"]:
            raise click.UsageError("--image is missing: the sidecar's, such as tiergate:0.1.0.")
        configure_logging(Logging(level=given["log_level"], format=given["log_format"]))
        environ = os.environ  # noqa: TID251  # the composition root
        serving, settings, rules = chosen(given, environ)
        work = serve_webhook(serving, settings, rules, started=_say_started)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


def chosen(given: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Serving, Injector, Rules]:
    """What the options come to, by the names of their parameters; raises `ConfigError`.

    `environ` tells where the API server is.
    """
    serving = Serving(
        listen=given["listen"],
        probes=given["probes"],
        certificate=given["tls_cert"] or given["certs"] / CERTIFICATE_FILE,
        key=given["tls_key"] or given["certs"] / KEY_FILE,
        kube_url=api_server(environ) if given["read_config"] else "",
        kube_account=given["service_account"],
        linger_seconds=given["linger_seconds"],
        grace_seconds=given["grace_seconds"],
    )
    rules = Rules(
        on_error=given["on_error"],
        on_refused=given["refused"],
        largest_body=given["max_body_bytes"],
        seconds=given["time_limit_seconds"],
    )
    return serving, _injector(given), rules


def _injector(given: Mapping[str, Any]) -> Injector:
    named = {**given, "log_level": given["sidecar_log_level"]}
    settings = {name: named[name] for name in Injector.__struct_fields__ if named[name] is not None}
    try:
        return Injector(**{**settings, "run_as_user": user_of(given["run_as_user"])})
    except InvalidSettingError as error:
        flag = _FLAGS.get(error.setting, error.setting.replace("_", "-"))
        raise ConfigError(f"--{flag}: {error.reason}") from None


def _say_started(reviews: Address, probes: Address) -> None:
    click.echo(f"tiergate {__version__}: POST https://{reviews}{BY_NAMESPACE} or {BY_POD}")
    click.echo(f"probes: http://{probes}/health/ready, /health/live, /metrics")
