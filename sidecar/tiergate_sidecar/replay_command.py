"""`tiergate replay`: the requests of a log through another configuration; nobody is called."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from tiergate import (
    TIERS,
    ConfigError,
    ModelLoad,
    SourceError,
    Tier,
    WhatIf,
    WhatIfResult,
    trial_config,
)
from tiergate_sidecar.queries import FARTHEST
from tiergate_sidecar.replaying import LogRows
from tiergate_sidecar.text_table import text_table

_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}
_SPAN: Final = re.compile(r"(\d{1,6})([mhd])")
_MOST_SHOWN: Final = 40  # models; all of them are in the JSON
_LOADS: Final = ("provider", "model", "requests", "after", "tokens", "after", "cost $", "after")


@click.command()
@click.option("--log", required=True, help="sqlite:///FILE, postgresql://…, JSON lines, or -.")
@click.option(
    "-c", "--config", "file", required=True, type=click.Path(path_type=Path), help="To be tried."
)
@click.option("--since", help="A date or time (UTC unless it says), or 24h, 7d before now.")
@click.option("--until", help="Likewise; now, unless given.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")
def replay(log: str, file: Path, since: str | None, until: str | None, as_json: bool) -> None:
    """Tell what another configuration would have done with the requests of a log.

    Nobody is called, and nothing is written. FILE needs only what routing needs: no keys.
    """
    now = time.time()  # noqa: TID251  # the composition root
    try:
        rows = LogRows(
            log,
            since=-FARTHEST if since is None else moment(since, "--since", now),
            until=FARTHEST if until is None else moment(until, "--until", now),
        )
        trial = WhatIf(trial_config(file))
        for row in rows:
            trial.add(row)
    except (ConfigError, SourceError) as error:
        raise click.ClickException(str(error)) from None
    result = trial.result()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result)))
    else:
        for line in told(result):
            click.echo(line)
    for warning in warnings(rows):
        click.echo(f"warning: {warning}", err=True)


def moment(text: str, option: str, now: float) -> int:
    """A point in time in microseconds: ISO 8601, or so long before `now` (Unix time in seconds).

    Raises `ConfigError`.
    """
    span = _SPAN.fullmatch(text)
    if span is not None:
        return round((now - int(span[1]) * _SECONDS[span[2]]) * 1_000_000)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option}: must be like 2026-11-20, 2026-11-20T08:00Z, 90m, 24h or 7d"
        ) from None
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return round(when.timestamp() * 1_000_000)


def warnings(rows: LogRows) -> Iterator[str]:
    """What was wrong with the log, in lines for people."""
    if rows.unreadable:
        yield f"{rows.unreadable} of what the log holds are no rows, and were left out"
    if rows.late:
        yield (
            f"{rows.late} lines stand after later ones, so that their conversations are followed "
            "in another order; sort the lines by `at`"
        )


def told(result: WhatIfResult) -> Iterator[str]:
    """Lines for people."""
    if result.since is None or result.until is None:
        yield "No requests in this time."
        return
    yield (
        f"{result.requests} requests from {_time(result.since)} to {_time(result.until)}: "
        f"{result.kept} stay with whoever served them, {result.drawn} are drawn anew, "
        f"{sum(result.refused.values())} are refused"
    )
    cost = result.cost
    change = f" ({cost.after / cost.before - 1:+.1%})" if cost.before else ""
    spread = f", by chance {cost.low:.6f} to {cost.high:.6f}" if cost.high > cost.low else ""
    yield f"cost $ {cost.before:.6f} before, {cost.after:.6f} after{change}{spread}"
    yield ""
    names = (*TIERS, "refused")
    moves = {(move.before, move.after): move.requests for move in result.moves}
    tiers = [
        (
            f"{name} before",
            *(str(moves.get((_tier(name), _tier(other)), 0) or "-") for other in names),
            str(result.tiers_before[name]),
        )
        for name in names
    ]
    after = ("all", *(str(result.tiers_after[name]) for name in names), str(result.requests))
    yield from text_table(
        [("", *(f"{name} after" for name in names), "all"), *tiers, after], words=(0,)
    )
    yield ""
    shown = [_load(each) for each in result.loads[:_MOST_SHOWN]]
    yield from text_table([_LOADS, *shown], words=(0, 1))
    if len(result.loads) > _MOST_SHOWN:
        yield f"and {len(result.loads) - _MOST_SHOWN} more, which --json has"
    refused = sorted(result.refused_before.keys() | result.refused.keys())
    if refused:
        yield ""
        rows = [
            (code, str(result.refused_before.get(code, 0)), str(result.refused.get(code, 0)))
            for code in refused
        ]
        yield from text_table([("refused", "before", "after"), *rows], words=(0,))
    yield ""
    yield from (f"- {note}" for note in result.notes)


def _tier(name: str) -> Tier | None:
    return next((tier for tier in TIERS if tier == name), None)


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _load(each: ModelLoad) -> tuple[str, ...]:
    return (
        each.provider,
        each.model,
        str(each.requests_before),
        f"{each.requests_after:.1f}",
        str(each.tokens_before),
        f"{each.tokens_after:.0f}",
        f"{each.cost_before:.6f}",
        f"{each.cost_after:.6f}",
    )
