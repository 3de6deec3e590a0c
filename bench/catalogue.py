"""The programs that are measured: the floor, nginx, tiergate in its ways, and the peers.

Tiergate here is what a user would start: one provider, three tiers, the defaults but for what the
name of the row says. `peers.py` has the others' gateways.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nginx import PROXY
from subject import Place, Start, Subject

HERE = Path(__file__).parent
TIERGATE = str(Path(sys.executable).with_name("tiergate"))
PYTHON = sys.executable

LOG = {"url": "sqlite:///log.db"}
LATE_SECONDS = 0.4
"""Rows and spans are written after the answer, at most 0.2 s after: they are paid for too."""

EVERY = {"OTEL_TRACES_SAMPLER": "always_on"}
TENTH = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}


def config(upstream: int, **tables: Any) -> dict[str, Any]:
    prices = {"input_price_per_million": 1.0, "output_price_per_million": 2.0}
    entry = {"provider": "p", "model": "m", **prices}
    return {
        "providers": {"p": {"base_url": f"http://127.0.0.1:{upstream}/v1"}},
        "tiers": {tier: [entry] for tier in ("simple", "moderate", "complex")},
        **tables,
    }


def sidecar(
    name: str, traces: Mapping[str, str] | None = None, late: float = 0, **tables: Any
) -> Subject:
    """A real `tiergate serve`; `tables` of its configuration, `traces` how it samples."""

    def prepare(place: Place) -> Start:
        file = place.folder / "tiergate.json"
        file.write_text(json.dumps(config(place.upstream, **tables)), encoding="utf-8")
        listen, admin = f"127.0.0.1:{place.port}", "127.0.0.1:0"
        command = (TIERGATE, "serve", "-c", file.name, "--listen", listen, "--admin", admin)
        environ = {} if traces is None else {**traces, **exported(place.collector)}
        return Start(command, environ=environ)

    return Subject(name, prepare, late=late)


def exported(collector: int) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }


def _forwarder(place: Place) -> Start:
    url = f"http://127.0.0.1:{place.upstream}/v1/chat/completions"
    return Start((PYTHON, str(HERE / "forwarder.py"), url, str(place.port)))


def _mounted(place: Place) -> Start:
    file = place.folder / "tiergate.json"
    file.write_text(json.dumps(config(place.upstream)), encoding="utf-8")
    return Start((PYTHON, str(HERE / "mounted.py"), file.name, str(place.port)))


FORWARDER = Subject("bare forwarder", _forwarder)
MOUNTED = Subject("tiergate in a Starlette app", _mounted)

BARE = sidecar("tiergate, no log", request_log={"url": ""})
DEFAULTS = sidecar("tiergate, defaults", request_log=LOG, late=LATE_SECONDS)
STDOUT = sidecar("tiergate, log on stdout", request_log={"url": "stdout:"}, late=LATE_SECONDS)
TENTH_TRACED = sidecar("tiergate, defaults, 10 % traced", TENTH, request_log=LOG, late=LATE_SECONDS)
ALL_TRACED = sidecar("tiergate, defaults, all traced", EVERY, request_log=LOG, late=LATE_SECONDS)

FEW = [FORWARDER, BARE, DEFAULTS]
OURS = [FORWARDER, PROXY, BARE, DEFAULTS, STDOUT, TENTH_TRACED, ALL_TRACED, MOUNTED]
PLAIN = [FORWARDER, PROXY, BARE, DEFAULTS, MOUNTED]


def roomy(most: int) -> Subject:
    """The defaults with room for so many requests at once: 1,000 are the default."""
    limits = {"max_in_flight": most}

    def prepare(place: Place) -> Start:
        url = f"http://127.0.0.1:{place.upstream}/v1"
        providers = {"p": {"base_url": url, "max_connections": most}}
        made = sidecar(DEFAULTS.name, request_log=LOG, limits=limits, providers=providers)
        return made.prepare(place)

    return Subject(DEFAULTS.name, prepare)
