"""Never executed: every public name, used as a host app would, must type-check."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Scope

from tiergate import (
    TIERS,
    Answerable,
    Boundaries,
    Caller,
    Config,
    ConfigError,
    CostRange,
    Document,
    Effort,
    Endpoint,
    Estimate,
    Exchange,
    Explanation,
    FileWatch,
    Gateway,
    LogUrl,
    ModelLoad,
    PolicyInForce,
    Prospect,
    Record,
    Refused,
    Reply,
    RequestLogState,
    RequestRow,
    Share,
    Signal,
    SourceError,
    Status,
    Tier,
    TiergateError,
    TierMiddleware,
    TierMove,
    TierResponse,
    Unknowns,
    Verdict,
    Weighing,
    WhatIf,
    WhatIfResult,
    __version__,
    config_of,
    decode_tables,
    load_config,
    log_engine,
    log_table,
    read_document,
    read_log_url,
    read_secret,
    row_of,
    trial_config,
    warnings_of,
)
from tiergate_sidecar import admin_app


async def who(scope: Scope) -> Caller:
    if scope.get("user") is None:
        raise Refused(401, "Sign in first.")
    if scope["user"] == "busy":
        raise Refused(429, retry_after=2.5)
    return Caller("ada", tier="simple", max_tier="moderate")


def in_a_list() -> Starlette:
    return Starlette(middleware=[Middleware(TierMiddleware, config="tiergate.toml", authorize=who)])


def around_an_app(app: ASGIApp, tables: Mapping[str, Any], config: Config) -> list[ASGIApp]:
    gateway = Gateway(config)
    return [
        TierMiddleware(app, config="tiergate.toml", authorize="open"),
        TierMiddleware(app, config=tables, authorize=who),
        TierMiddleware(app, config=config, watch=True),
        TierMiddleware(app, gateway=gateway),
    ]


async def in_a_route(gateway: Gateway, request: Request) -> TierResponse:
    return TierResponse(gateway, request, caller=Caller(id="ada"))


async def by_hand(body: bytes) -> tuple[int, bytes]:
    async with Gateway({"providers": {}}) as gateway:
        exchange: Exchange = gateway.begin([(b"x-sentinel-tier", b"complex")])
        async with gateway.handle(exchange, body) as reply:
            answer: Reply = reply
            return answer.status, answer.body


def looked_at(gateway: Gateway, body: bytes) -> tuple[bool, int, list[float]]:
    status: Status = gateway.status()
    try:
        told: Explanation = gateway.explain(body, pairs=[], caller=Caller("ada"))
    except Answerable as error:
        refusal: tuple[int, str, bytes] = (error.status, error.code, error.body())
        raise TiergateError(str(refusal)) from error
    tier: Tier = told.tier
    assert tier in TIERS
    first: Prospect = told.candidates[0]
    tokens: Estimate = told.estimate
    costs: list[float | None] = [first.cost, told.cost, tokens.input_tokens]
    assert costs
    return status.ready, len(status.candidates), [each.share for each in told.candidates]


def why(gateway: Gateway, told: Explanation) -> list[float]:
    weighing: Weighing = gateway.weighing()
    held: Boundaries = told.boundaries or weighing.boundaries
    policy: PolicyInForce | None = told.policy
    plan: Effort = told.plan
    assert policy is None or policy.binding
    verdict: Verdict | None = told.verdict
    if verdict is None:
        return [held.moderate, held.complex, plan.deadline_seconds]
    signals: tuple[Signal, ...] = verdict.signals
    return [each.value * weighing.weights[each.name] for each in signals]


async def reloaded(path: str) -> str | None:
    gateway = Gateway(path, watch=True, read=lambda: load_config(path))
    async with gateway:
        try:
            await gateway.reload()
        except (ConfigError, SourceError) as error:
            return str(error)
        paths: frozenset[str] = gateway.paths
        status: Status = gateway.status()
        assert paths
        assert not status.needs_restart
        assert [each.seconds_left for each in status.candidates]
        assert [each.available for each in status.stores]
        assert status.sessions.held + status.sessions.unsaved == 0
        return status.configuration.last_error


def configured(path: str) -> Config:
    try:
        document: Document = read_document(path, environ={}, flags={"retry.retries": 1})
        config: Config = config_of(document)
        tables: Config = decode_tables(document.values, Config, strict=document.strict)
    except ConfigError as error:
        raise SystemExit(f"tiergate {__version__}: {error}") from None
    warnings: list[str] = warnings_of(tables)
    return load_config(path) if warnings else config


def logged(gateway: Gateway, record: Record) -> tuple[int, str, list[Any]]:
    url: LogUrl = read_log_url(gateway.config.request_log.url)
    row: RequestRow = row_of(record)
    log: RequestLogState | None = gateway.status().request_log
    with log_engine(url, read_only=True).connect() as connection:
        found = connection.execute(select(log_table).where(log_table.c.id == row.id)).all()
    return log.dropped if log is not None else 0, row.outcome, list(found)


def tried(tables: Mapping[str, Any], rows: list[RequestRow]) -> tuple[float, list[str]]:
    try:
        trial = WhatIf(trial_config(tables, environ={}, alone=True))
    except (ConfigError, SourceError) as error:
        return 0.0, [str(error)]
    for row in rows:
        trial.add(row)
    result: WhatIfResult = trial.result()
    cost: CostRange = result.cost
    moves: list[TierMove] = [move for move in result.moves if move.before != move.after]
    loads: list[ModelLoad] = list(result.loads)
    unknown: Unknowns = result.unknown
    assert len(moves) + len(loads) + unknown.without_price
    return cost.after - cost.before, list(result.notes)


def operated(app: FastAPI, gateway: Gateway, record: Record) -> tuple[str, list[float]]:
    app.mount("/ops", admin_app(gateway, recent_requests=100))
    pool: tuple[Share, ...] = record.pool
    return read_secret("OPS_TOKEN", "ops.token"), [each.seconds_left for each in pool]


async def watching(paths: list[Path]) -> bool:
    async def changed() -> None:
        return

    watch = FileWatch(lambda: paths, changed, tick=2.0)
    watch.start()
    await watch.close()
    return watch.running


def forwarded(gateway: Gateway) -> tuple[str, bool, dict[str, str]]:
    endpoint: Endpoint | None = gateway.endpoint("openai")
    if endpoint is None:
        return "", False, {}
    context = endpoint.trust()
    return endpoint.below("embeddings", "a=1"), context is True, dict(endpoint.fixed)
