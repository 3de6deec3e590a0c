"""`tiergate explain`: what would become of a request, by the configuration alone.

Nothing is called but where the configuration names a service of tiers; no running process is asked,
so that everybody is available.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from tiergate import Answerable, Config, ConfigError, Effort, Explanation, Gateway, Prospect

_COLUMNS = ("provider", "model", "weight", "share", "state", "back-off", "cost $")


def read_body(file: str | None, text: str | None, tier: str | None, model: str | None) -> bytes:
    """The request's body: of a file, of stdin (`-`), or made of a text; raises `ConfigError`."""
    if file is not None and (text is not None or tier or model):
        raise click.UsageError("Give either a body with -f, or TEXT with --tier or --model.")
    if file is None:
        messages = [{"role": "user", "content": text or "Hello"}]
        named = {"tier": tier, "model": model}
        body = {name: value for name, value in named.items() if value} | {"messages": messages}
        return msgspec.json.encode(body)
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None


def explained(config: Config, body: bytes) -> Explanation:
    """What would become of it; raises `ConfigError` for what would be refused."""
    silent = replace(config, request_log=replace(config.request_log, url=""))  # it makes no file

    async def ask() -> Explanation:
        async with Gateway(silent) as gateway:
            return gateway.explain(body)

    try:
        return asyncio.run(ask())
    except Answerable as error:
        raise ConfigError(f"{error.status} {error.code}: {error.message}") from None


def told(explanation: Explanation) -> Iterator[str]:
    """Lines for people."""
    said, tokens = explanation, explanation.estimate
    yield f"tier      {said.tier}"
    yield f"reason    {said.reason}{f' ({said.model})' if said.model else ''}"
    yield f"asked     {'drawn by weight' if said.drawn else 'cheapest first'}"
    yield (
        f"estimate  {tokens.input_tokens} tokens in, {tokens.output_tokens} out"
        f"{' (assumed)' if tokens.output_assumed else ''}"
    )
    yield f"plan      {_effort(said.plan)}"
    if said.retry_after is not None:
        yield f"answer    503 for {said.retry_after:.0f} s: everybody is in back-off"
    yield ""
    rows = [_COLUMNS, *(_row(each) for each in said.candidates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, 1, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _effort(plan: Effort) -> str:
    retries = f"{plan.retries} {'retry' if plan.retries == 1 else 'retries'}"
    fallbacks = f"{plan.fallbacks} fallback{'' if plan.fallbacks == 1 else 's'}"
    times = f"{plan.attempt_timeout_seconds:g} s an attempt, {plan.deadline_seconds:g} s in all"
    stream = {None: "", "off": "; stream without failover", "buffered": "; buffered stream"}
    told = stream.get(plan.streaming_failover, "; stream held to its first token")
    return f"{retries}, {fallbacks}; {times}{told}"


def _row(each: Prospect) -> tuple[str, ...]:
    return (
        each.provider,
        each.model,
        f"{each.weight:.3f}",
        f"{each.share:.3f}",
        each.state,
        f"{each.seconds_left:.0f}" if each.seconds_left else "-",
        "unknown" if each.cost is None else f"{each.cost:.8f}",
    )
