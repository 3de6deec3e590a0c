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

from tiergate import (
    Answerable,
    Boundaries,
    Config,
    ConfigError,
    Effort,
    Explanation,
    Gateway,
    Prospect,
    Verdict,
)
from tiergate_sidecar.text_table import text_table

_COLUMNS = ("provider", "model", "tier", "weight", "share", "state", "back-off", "cost $")
_SIGNALS = ("signal", "value", "weight", "adds")


def read_body(file: str | None, text: str | None, tier: str | None, model: str | None) -> bytes:
    """The request's body: of a file, of stdin (`-`), or made of a text; raises `ConfigError`."""
    if file is not None and (text is not None or tier or model):
        raise click.UsageError("Give either a body with -f, or TEXT with --tier or --model.")
    if file is None:
        messages = [{"role": "user", "content": text or "Hello"}]
        named = {"tier": tier, "model": model}
        body = {name: value for name, value in named.items() if value} | {"messages": messages}
        try:
            return msgspec.json.encode(body)
        except UnicodeEncodeError:
            raise ConfigError("the text and the model must be UTF-8") from None
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None


def explained(config: Config, body: bytes, policy: str | None = None) -> Explanation:
    """What would become of it; raises `ConfigError` for what would be refused.

    `policy` is named as a client would, in a header.
    """
    silent = replace(config, request_log=replace(config.request_log, url=""))  # it makes no file
    pairs = (
        [] if policy is None else [(b"x-arbstr-policy", policy.encode(errors="surrogateescape"))]
    )

    async def ask() -> Explanation:
        async with Gateway(silent) as gateway:
            return gateway.explain(body, pairs=pairs)

    try:
        return asyncio.run(ask())
    except Answerable as error:
        raise ConfigError(f"{error.status} {error.code}: {error.message}") from None


def told(explanation: Explanation) -> Iterator[str]:
    """Lines for people."""
    said, tokens = explanation, explanation.estimate
    yield f"tier      {said.tier}"
    yield f"reason    {said.reason}{f' ({said.model})' if said.model else ''}"
    if said.verdict is not None and said.boundaries is not None:
        yield f"score     {_score(said.verdict, said.boundaries, said.tier)}"
    if said.policy is not None:
        how = "it was named, and binds" if said.policy.binding else "by a keyword, which prefers"
        yield f"policy    {said.policy.name}: {how}"
    if said.features:
        yield f"needs     {', '.join(said.features)}"
    yield f"asked     {'drawn by weight' if said.drawn else 'cheapest first'}"
    yield (
        f"estimate  {tokens.input_tokens} tokens in, {tokens.output_tokens} out"
        f"{' (assumed)' if tokens.output_assumed else ''}"
        f"{'' if said.cost is None else f', ${said.cost:.8f} for the first attempt'}"
    )
    yield f"plan      {_effort(said.plan)}"
    higher = dict.fromkeys(each.tier for each in said.candidates if each.tier != said.tier)
    if higher and said.model is None:
        yield f"escalate  to {', then '.join(higher)}, with nobody left below"
    if said.retry_after is not None:
        yield f"answer    503 for {said.retry_after:.0f} s: everybody is in back-off"
    if said.verdict is not None:
        yield ""
        yield from _signals(said.verdict)
    yield ""
    rows = [_row(each) for each in said.candidates]
    yield from text_table([_COLUMNS, *rows], words=(0, 1, 2, 5))
    for each in said.candidates:
        if each.left_out is not None:
            yield f"left out: {each.provider}/{each.model}: {each.left_out}"


def _score(verdict: Verdict, boundaries: Boundaries, tier: str) -> str:
    """With what it is held against, and why the tier is another one, where it is."""
    text = f"{verdict.score:.3f} (moderate from {boundaries.moderate:g}, "
    text += f"complex from {boundaries.complex:g})"
    return text if verdict.tier == tier else f"{text}: {verdict.tier}, where nobody may serve it"


def _signals(verdict: Verdict) -> Iterator[str]:
    """What each adds, the strongest first, and the sum that the score is made of."""
    if not verdict.signals:
        yield "no signal: without evidence a request is moderate"
        return
    adds = [each.value * each.weight for each in verdict.signals]
    rows = [
        (each.name, f"{each.value:.3f}", f"{each.weight:.3f}", f"{add:+.3f}")
        for each, add in zip(verdict.signals, adds, strict=True)
    ]
    yield from text_table([_SIGNALS, *rows, ("sum", "", "", f"{sum(adds):+.3f}")], words=(0,))


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
        each.tier,
        f"{each.weight:.3f}",
        "-" if each.left_out is not None else f"{each.share:.3f}",
        each.state,
        f"{each.seconds_left:.0f}" if each.seconds_left else "-",
        _price(each),
    )


def _price(each: Prospect) -> str:
    if each.left_out is not None:
        return "-"
    return "unknown" if each.cost is None else f"{each.cost:.8f}"
