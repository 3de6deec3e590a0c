"""The request log behind real requests: a row for each, whatever becomes of it or of the store.

The promise: whoever has an id finds the row of it, exact, in SQLite as in PostgreSQL; and a store
that is locked, killed, full or silent is noticed by nobody but the log.
"""

import asyncio
import json
import resource
import signal
import sqlite3
from contextlib import asynccontextmanager, closing, suppress

import httpx
import pytest
from e2e.load import clients, percentile, told, traffic
from e2e.process import sidecar
from e2e.replicas import eventually
from e2e.support import (
    CHAT,
    DONE,
    HELLO,
    completing,
    connected,
    event,
    failing,
    gatewayed,
    recording,
    routed,
    serving,
    silent,
    streaming,
)
from records import KINDS, database

from tiergate import RequestRow, read_log_url
from tiergate_sidecar.log_queries import Reader

EVERYWHERE = "cast(profile AS TEXT) || cast(attempts AS TEXT) || coalesce(requested_model, '')"
MODEL = "small"  # asks p1, then p2
PRICED = {"input_price_per_million": 0.05, "cached_input_price_per_million": 0.0125}
PRICED |= {"output_price_per_million": 0.4}
RATE = 100


def row(url: str, name: str) -> RequestRow:
    """The row of a request by either id."""
    with Reader(read_log_url(url)) as reader:
        found = reader.request(name)
    assert found is not None, name
    return found


@asynccontextmanager
async def logging(url, *handlers, providers=1, **tables):
    """A gateway with its log there, over one provider for each name; yields a client of it.

    On leaving, all that was asked has its row.
    """
    async with recording(*handlers) as upstream:
        names = [f"p{number}" for number in range(1, providers + 1)]
        given = {
            "request_log": {"url": url},
            "retry": {"retries": 0},
            "providers": {name: {"base_url": upstream.base_url} for name in names},
            "tiers": {"simple": [{"provider": name, "model": MODEL, **PRICED} for name in names]},
        }
        app = gatewayed(upstream.base_url, **(given | tables))
        async with (
            serving(app) as base_url,
            httpx.AsyncClient(base_url=base_url, timeout=10) as client,
        ):
            yield client, upstream, app.gateway


async def ask(client, **body) -> str:
    """One request, its answer read to the end if it has one; the id that the client was given."""
    said = HELLO | {"model": MODEL} | body
    async with client.stream("POST", CHAT, json=said) as answer:
        with suppress(httpx.RemoteProtocolError):  # a stream that was cut
            await answer.aread()
        return answer.headers["x-arbstr-request-id"]


CUT = streaming(event("a"), hang=False)
ERROR_INSIDE = streaming(event("a"), b'data: {"error": {"code": "boom", "message": "m"}}\n\n')

OUTCOMES = [
    ("ok", completing(), {}, {}, 200, None),
    ("ok", streaming(event("a"), event("", "stop"), DONE), {"stream": True}, {}, 200, None),
    ("client_error", failing(422, "bad"), {}, {}, 422, "bad"),
    ("client_error", completing(), {"model": "nope"}, {}, 404, "model_not_found"),
    ("upstream_error", failing(500), {}, {}, 502, "provider_error"),
    ("upstream_error", failing(429), {}, {}, 429, "rate_limit_exceeded"),
    ("timeout", silent, {}, {"retry": {"deadline_seconds": 0.3}}, 504, "deadline_exceeded"),
    ("stream_interrupted", CUT, {"stream": True}, {}, 200, "stream_interrupted"),
    ("stream_interrupted", ERROR_INSIDE, {"stream": True}, {}, 200, "provider_error"),
    ("overloaded", completing("x" * 9000), {}, {"limits": {"max_buffered_bytes": 5000}}, 503, None),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_outcome_has_a_row_under_the_id_that_the_client_got(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        for outcome, handler, body, tables, status, code in OUTCOMES:
            async with logging(made.url, handler, **tables) as (client, _, _gateway):
                name = await ask(client, **body)
            found = row(made.url, name)
            said = (found.outcome, found.status, found.error_code)
            assert said == (outcome, status, code or found.error_code), said
            assert (found.requested_model, found.id) == (body.get("model", MODEL), name)
            if code != "model_not_found":
                assert (found.tier, found.reason, found.provider) == ("simple", "model", "p1")
                assert [each.provider for each in found.attempts] == ["p1"]
                assert 0 <= found.attempts[0].started_us <= found.latency_us
            else:
                assert (found.tier, found.provider, found.attempts) == (None, None, ())
        assert len(made.ids()) == len(OUTCOMES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_has_a_row_under_its_own_id(tmp_path, kind, stream):
    handler = streaming(event("a"), hang=True) if stream else silent
    body = json.dumps(HELLO | {"model": MODEL, "stream": stream}).encode()
    async with database(kind, tmp_path) as made:
        async with (
            logging(made.url, handler) as (client, upstream, _gateway),
            connected(str(client.base_url)) as raw,
        ):
            await raw.post(body, "X-Request-Id: mine-1", "Content-Type: application/json")
            await upstream.calls()
            if stream:
                await raw.head()
                await raw.chunk()
        found = row(made.url, "mine-1")
        assert (found.outcome, found.client_id, found.streaming) == (
            "client_disconnected", "mine-1", stream,
        )  # fmt: skip
        assert (found.status is not None) == stream
        assert (found.first_token_us is not None) == stream
        assert (found.input_tokens, found.cost) == (None, None)


async def test_a_failed_over_request_has_both_attempts_in_order(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    async with logging(url, failing(503), completing(), providers=2) as (client, _, _gateway):
        name = await ask(client)
    found = row(url, name)
    made = [(each.provider, each.status, each.error is None) for each in found.attempts]
    assert made == [("p1", 503, False), ("p2", 200, True)]
    assert found.attempts[0].started_us < found.attempts[1].started_us
    assert (found.provider, found.outcome, found.status) == ("p2", "ok", 200)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_decided_a_request_is_kept_as_numbers_and_never_its_text(tmp_path, kind):
    asked = HELLO | {"model": "auto", "max_tokens": 7, "tools": [{"type": "function"}]}
    asked["messages"] = [{"role": "user", "content": "Prove the secret theorem."}]
    policies = [{"name": "own", "allowed_models": ["sm*"], "keywords": ["theorem"]}]
    async with database(kind, tmp_path) as made:
        async with logging(made.url, completing(), policies=policies) as (client, _, _gateway):
            names = [
                (await client.post(CHAT, json=asked, headers=headers)).headers[
                    "x-arbstr-request-id"
                ]
                for headers in ({}, {"x-arbstr-policy": "own"})
            ]
        found, bound = (row(made.url, name) for name in names)
        assert (found.requested_reason, found.reason, found.score is not None) == (
            "auto", "auto", True,
        )  # fmt: skip
        assert [(each.policy, each.policy_binds) for each in (found, bound)] == [
            ("own", False),
            ("own", True),
        ]
        assert (len(found.reach), found.reach != bound.reach) == (8, True)
        assert found.profile.features == ("tools",)
        assert found.profile.estimate.output_tokens == 7
        assert found.profile.signals
        ((said,),) = made.ask(f"SELECT count(*) FROM requests WHERE {EVERYWHERE} LIKE '%secret%'")
        assert said == 0


async def test_what_was_no_request_has_no_row(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    async with logging(url, completing()) as (client, _, _gateway):
        assert (await client.post(CHAT, content=b"no json")).status_code == 400
        assert (await client.get("/elsewhere")).status_code == 404
        name = await ask(client)
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        assert connection.execute("SELECT id FROM requests").fetchall() == [(name,)]


def usage(prompt, completion, cached=None):
    said = {"prompt_tokens": prompt, "completion_tokens": completion}
    return said if cached is None else said | {"prompt_tokens_details": {"cached_tokens": cached}}


def whole(count):
    """An answer with that usage."""
    message = {"role": "assistant", "content": "x"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    said = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    body = said | {"choices": [choice]} | ({} if count is None else {"usage": count})

    async def answer(call):
        await call.respond(200, json.dumps(body).encode())

    return answer


def chunk(count, *choices):
    return b"data: %s\n\n" % json.dumps({"choices": list(choices), "usage": count}).encode()


ENDING = {"index": 0, "delta": {}, "finish_reason": "stop"}
COUNTS = [
    (usage(1000, 7), (1000, None, 7), 1000 * 5e-8 + 7 * 4e-7),
    (usage(1000, 7, cached=999), (1000, 999, 7), 5e-8 + 999 * 1.25e-8 + 7 * 4e-7),
    (usage(0, 0), (0, None, 0), 0.0),
    (usage(1, 0, cached=1), (1, 1, 0), 1.25e-8),
    (None, (None, None, None), None),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_tokens_are_what_the_provider_counted_and_costs_are_exact(tmp_path, kind):
    async with database(kind, tmp_path) as made:
        for count, tokens, cost in COUNTS:
            apart = streaming(event("x"), event("", "stop"), chunk(count), DONE)
            within = streaming(event("x"), chunk(count, ENDING), DONE)
            for handler, stream in ((whole(count), False), (apart, True), (within, True)):
                async with logging(made.url, handler) as (client, _, _gateway):
                    name = await ask(client, stream=stream)
                found = row(made.url, name)
                assert (found.input_tokens, found.cached_tokens, found.output_tokens) == tokens
                assert (found.outcome, found.partial) == ("ok", False)
                assert found.cost == (cost if cost is None else pytest.approx(cost, abs=1e-10))


async def test_tokens_of_a_stream_that_was_cut_are_marked_as_partial(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    async with logging(url, streaming(event("x"), chunk(usage(100, 1)))) as (client, _, _gateway):
        name = await ask(client, stream=True)
    found = row(url, name)
    assert (found.outcome, found.partial) == ("stream_interrupted", True)
    assert (found.input_tokens, found.output_tokens) == (100, 1)


def state(gateway):
    return gateway.status().request_log


@asynccontextmanager
async def busy(url, **log):
    """The same under traffic; on leaving, every request was answered and has its row."""
    async with logging(url, completing(), request_log={"url": url, **log}) as (client, _, gateway):
        base = str(client.base_url).rstrip("/")
        async with clients(base) as asking, traffic(asking, RATE, about) as got:
            yield got, gateway
        print(f"{told(got)}: {state(gateway)}")  # noqa: T201  # what `pytest -rP` shows
        assert {each.status for each in got} == {200}
        assert percentile(got, 0.99) < 0.5
        async with asyncio.timeout(15):
            while state(gateway).queued:  # noqa: ASYNC110  # a thread has no event of ours
                await asyncio.sleep(0.02)
        assert state(gateway).written + state(gateway).dropped == len(got)


def about(number):
    return {"model": MODEL}


async def served_more(got, count=50):
    wanted = len(got) + count
    async with asyncio.timeout(10):
        while len(got) < wanted:  # noqa: ASYNC110  # the traffic is another task's
            await asyncio.sleep(0.01)


async def is_down(gateway):
    return not state(gateway).available


async def test_a_locked_database_is_noticed_by_nobody(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    async with busy(url) as (got, gateway):
        await eventually(lambda: has_written(gateway))
        with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await eventually(lambda: is_down(gateway))
            await served_more(got)
            other.execute("ROLLBACK")
    assert state(gateway).dropped == 0


async def has_written(gateway):
    return state(gateway).written > 0


async def test_a_killed_server_is_noticed_by_nobody_and_has_its_rows_later(tmp_path):
    async with database("postgresql", tmp_path) as made:
        async with busy(made.url) as (got, gateway):
            await eventually(lambda: has_written(gateway), within=20)
            await made.server.kill()
            await eventually(lambda: is_down(gateway))
            await served_more(got)
            await asyncio.to_thread(asyncio.run, made.server.start())  # which looks in, and blocks
        assert state(gateway).dropped == 0
        assert len(made.ids()) == len(got)


async def test_a_silent_server_costs_rows_and_no_request(tmp_path):
    async with database("postgresql", tmp_path) as made:
        async with busy(made.url, queue_size=50) as (_got, gateway):
            await eventually(lambda: has_written(gateway), within=20)
            made.server.pause()
            await eventually(lambda: has_dropped(gateway), within=20)
            made.server.resume()
        assert len(made.ids()) == state(gateway).written


async def has_dropped(gateway):
    return state(gateway).dropped > 20


async def test_a_full_disk_is_noticed_by_nobody(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with busy(url) as (got, gateway):
        await eventually(lambda: has_written(gateway))
        try:
            full = (tmp_path / "log.db-wal").stat().st_size + 20_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (full, before[1]))
            await eventually(lambda: is_down(gateway), within=20)
            await served_more(got)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert state(gateway).dropped == 0


async def test_a_process_that_is_told_to_end_has_a_row_for_every_request_it_finished(tmp_path):
    """200 requests are under way; the log is the sidecar's own: nothing is said of one."""
    leave = asyncio.Event()

    async def late(call):
        await leave.wait()
        await completing()(call)

    async with recording(late) as upstream:
        (tmp_path / "tiergate.json").write_text(json.dumps(routed(upstream.base_url)))
        async with (
            sidecar("-c", "tiergate.json", cwd=tmp_path) as process,
            clients(process.url) as c,
        ):
            asking = [asyncio.create_task(c.ask(tier="simple")) for _ in range(200)]
            await upstream.calls(200)
            process.signal(signal.SIGTERM)
            leave.set()
            got = [await each for each in asking]
            code, said = await process.ended(within=20)
        assert (code, said) == (0, said)
    assert {each.status for each in got} == {200}
    with closing(sqlite3.connect(tmp_path / "tiergate.db")) as connection:
        ids = {name for (name,) in connection.execute("SELECT id FROM requests")}
    assert ids == {each.headers["x-arbstr-request-id"] for each in got}


async def test_the_fake_providers_leave_nothing_on_disk(tmp_path):
    async with sidecar("--mock", cwd=tmp_path) as process, clients(process.url) as client:
        assert (await client.ask(tier="simple")).status == 200
        process.signal(signal.SIGTERM)
        code, _ = await process.ended()
    assert (code, list(tmp_path.iterdir())) == (0, [])
