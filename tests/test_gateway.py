"""The gateway: headers and the one error shape around a delivery, and what it tells of itself."""

import asyncio
import logging
import random
import re
import socket
import subprocess
import sys
import uuid
from typing import Any

import msgspec
import pytest

from tiergate import Caller, ConfigError, Gateway, Reply
from tiergate.errors import ModelNotFound, TierNotConfigured, Unavailable
from tiergate.faults import BUSY, UNREACHABLE
from tiergate.resolve import NotOurs
from tiergate.testing import Say, ScriptedTransport

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
PRICED = {"input_price_per_million": 0.5, "output_price_per_million": 1.5}


def tables(**more: Any) -> dict[str, Any]:
    base = {
        "providers": {"p1": {"base_url": "http://p1.test/v1"}},
        "tiers": {"simple": [{"provider": "p1", "model": "small", **PRICED}]},
    }
    return {**base, **more}


def gateway(
    *said: Say, transport: Any = None, chance: random.Random | None = None, **more: Any
) -> Gateway:
    return Gateway(
        tables(**more),
        transport=transport or ScriptedTransport({"p1": said}),
        clock=asyncio.get_running_loop().time,
        wall=lambda: 0,
        chance=chance or random.Random(1),
        environ={"KEY": "sk-secret"},
    )


def unloaded(path: Any) -> Gateway:
    """One whose tiers are in a file that is not there yet."""
    source = {"source": "file", "file": str(path)}
    return gateway(Say.completion(), tiers={}, tier_config=source)


async def ask(made: Gateway, **members: Any) -> Reply:
    body = msgspec.json.encode({"messages": [], **members})
    async with made.handle(made.begin([]), body) as reply:
        return reply


def headers(reply: Reply) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in reply.headers}


def error(reply: Reply) -> dict[str, Any]:
    return dict(msgspec.json.decode(reply.body)["error"])


async def test_a_whole_answer_says_what_was_decided_and_done():
    said = headers(await ask(gateway(Say.completion(after=0.5))))
    assert uuid.UUID(said.pop("x-arbstr-request-id")).version == 4
    assert said == {
        "x-sentinel-tier": "simple",
        "x-sentinel-reason": "default",
        "x-sentinel-model": "small",
        "x-arbstr-provider": "p1",
        "x-arbstr-latency-ms": "1000",
        "x-arbstr-cost-usd": "0.00001250",
        "content-type": "application/json",
    }


async def test_a_stream_says_so_and_has_no_latency_or_cost():
    said = headers(await ask(gateway(Say.stream(CHUNK)), stream=True))
    assert said.pop("x-arbstr-request-id")
    assert said == {
        "x-sentinel-tier": "simple",
        "x-sentinel-reason": "default",
        "x-sentinel-model": "small",
        "x-arbstr-provider": "p1",
        "x-arbstr-streaming": "true",
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
    }


@pytest.mark.parametrize(
    ("members", "entry"),
    [({"usage": None}, PRICED), ({}, {}), ({"usage": {"prompt_tokens": 3}}, PRICED)],
    ids=["no usage", "no prices", "half a usage"],
)
async def test_an_unknown_cost_is_not_zero(members, entry):
    tiers = {"simple": [{"provider": "p1", "model": "small", **entry}]}
    reply = await ask(gateway(Say.completion(**members), tiers=tiers))
    assert reply.status == 200
    assert "x-arbstr-cost-usd" not in headers(reply)


async def test_expose_says_which_headers_are_seen_but_the_request_id_always_is():
    shown = {"headers": {"expose": ["x-sentinel-tier"]}}
    for said in (Say.completion(), Say.error(501)):
        reply = await ask(gateway(said, **shown))
        ours = {name for name in headers(reply) if name.startswith(("x-sentinel", "x-arbstr"))}
        assert ours == {"x-sentinel-tier", "x-arbstr-request-id"}


async def test_of_a_providers_headers_only_harmless_ones_pass():
    passing = {"Retry-After": "1", "X-RateLimit-Remaining-Requests": "9", "OpenAI-Version": "1",
               "X-Request-Id": "theirs", "X-Mine": "m"}  # fmt: skip
    stopped = {"Set-Cookie": "a=b", "Strict-Transport-Security": "max-age=1", "Alt-Svc": "h3",
               "Access-Control-Allow-Origin": "*", "Content-Security-Policy": "x", "Server": "s",
               "Content-Length": "7", "Transfer-Encoding": "chunked", "Connection": "x",
               "X-Should-Retry": "true", "x-sentinel-tier": "complex"}  # fmt: skip
    given = tuple((n.encode(), v.encode()) for n, v in {**passing, **stopped}.items())
    provider = {"base_url": "http://p1.test/v1", "expose_headers": ["x-mine"]}
    answer = Say(200, Say.completion().pieces, headers=given)
    said = headers(await ask(gateway(answer, providers={"p1": provider})))
    assert {name.lower(): value for name, value in passing.items()}.items() <= said.items()
    assert not {name.lower() for name in stopped} & (said.keys() - {"x-sentinel-tier"})
    assert said["x-sentinel-tier"] == "simple"


async def test_an_answer_without_a_content_type_is_json():
    class Untyped(ScriptedTransport):
        async def post(self, *args: Any) -> Any:
            answer = await super().post(*args)
            answer.headers = ()
            return answer

    reply = await ask(gateway(transport=Untyped({"p1": Say.completion()})))
    assert headers(reply)["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("said", "status", "hushed"),
    [
        (Say.error(501), 502, True),
        (Say.never(), 504, True),
        (Say.error(429, retry_after="1"), 429, True),
        (Say(fault=BUSY), 503, False),
        (Say.error(400), 400, False),
        (Say.error(409), 409, True),
        (Say.completion(), 200, False),
    ],
    ids=["502", "504", "429", "503 for a second", "400", "409", "200"],
)
async def test_official_clients_are_told_not_to_multiply_our_attempts(said, status, hushed):
    reply = await ask(gateway(said))
    assert reply.status == status
    assert headers(reply).get("x-should-retry") == ("false" if hushed else None)
    allowed = await ask(gateway(said, headers={"client_retries": True}))
    assert (allowed.status, headers(allowed).get("x-should-retry")) == (status, None)


@pytest.mark.parametrize(("wait", "said"), [(2, None), (2.5, "false"), (None, None)])
async def test_a_503_is_retried_by_clients_only_after_a_short_wait(wait, said):
    made = gateway()
    reply = made.refuse(made.begin([]), Unavailable("later", retry_after=wait))
    assert headers(reply).get("x-should-retry") == said
    assert headers(reply).get("retry-after") == (None if wait is None else f"{-(-wait // 1):.0f}")


@pytest.mark.parametrize(
    ("members", "status", "code", "param"),
    [
        ({"messages": 1}, 400, "invalid_request", "messages"),
        ({"tier": "huge"}, 400, "invalid_request", "tier"),
        ({"model": "nope"}, 404, "model_not_found", "model"),
        ({"tier": "complex"}, 503, "tier_not_configured", None),
    ],
)
async def test_a_refusal_has_the_one_shape_and_calls_nobody(members, status, code, param):
    transport = ScriptedTransport({"p1": Say.completion()})
    reply = await ask(gateway(transport=transport), **members)
    assert reply.status == status
    told = error(reply)
    assert (told["code"], told["param"]) == (code, param)
    assert set(told) == {"message", "type", "param", "code"}
    assert headers(reply)["content-type"] == "application/json"
    assert {"x-arbstr-request-id", "x-arbstr-latency-ms"} <= headers(reply).keys()
    assert headers(reply).get("x-sentinel-tier") == ("complex" if status == 503 else None)
    assert transport.sent == []


async def test_an_exhausted_request_names_the_provider_and_tells_no_address():
    reply = await ask(gateway(Say(fault=UNREACHABLE)))
    assert reply.status == 502
    assert error(reply)["provider"] == "p1"
    assert b"p1.test" not in reply.body
    assert headers(reply)["x-arbstr-retries"] == "3/p1"


async def test_a_header_that_cannot_go_on_is_the_clients_fault():
    made = gateway(Say.completion())
    body = b'{"messages": []}'
    async with made.handle(made.begin([(b"openai-beta", b"a\nb: c")]), body) as reply:
        assert (reply.status, error(reply)["param"]) == (400, "openai-beta")


async def test_a_bug_is_a_500_logged_with_the_request_id_and_the_next_request_is_served(caplog):
    class Broken(ScriptedTransport):
        async def post(self, *args: Any) -> Any:
            if not self.sent:
                self.sent.append(None)  # type: ignore[arg-type]
                raise RuntimeError("sk-secret")
            return await super().post(*args)

    made = gateway(transport=Broken({"p1": Say.completion()}))
    with caplog.at_level(logging.ERROR, "tiergate"):
        reply = await ask(made)
    assert (reply.status, error(reply)["code"]) == (500, "internal_error")
    assert b"sk-secret" not in reply.body
    assert headers(reply)["x-arbstr-request-id"] in caplog.text
    assert "RuntimeError" in caplog.text
    assert (await ask(made)).status == 200


async def test_a_bug_before_any_provider_is_asked_is_a_500_too(caplog):
    class Crooked(random.Random):
        def expovariate(self, lambd: float = 1.0) -> float:
            raise RuntimeError("no chance")

    pool = [{"provider": "p1", "model": name} for name in ("small", "other")]
    made = gateway(Say.completion(), tiers={"simple": pool}, chance=Crooked())
    with caplog.at_level(logging.ERROR, "tiergate"):
        reply = await ask(made)
    assert (reply.status, headers(reply)["x-should-retry"]) == (500, "false")
    assert "no chance" in caplog.text
    assert (await ask(made, model="small")).status == 200
    assert made.capacity.held_bytes == 0


async def test_an_unknown_model_may_be_somebody_elses():
    made = gateway(routing={"unknown_model": "pass"})
    with pytest.raises(NotOurs, match="nope"):
        await ask(made, model="nope")


async def test_a_gateway_without_a_tier_is_ready_to_hand_everything_on():
    made = Gateway({"routing": {"unknown_model": "pass"}}, environ={})
    async with made:
        assert made.status().ready
        for body in (b'{"messages": []}', b'{"messages": [], "model": "gpt-4o"}'):
            with pytest.raises(NotOurs):
                async with made.handle(made.begin([]), body):
                    pass


async def test_explain_tells_the_decision_and_the_shares_and_calls_nobody():
    transport = ScriptedTransport({"p1": Say.completion()})
    costs = [{"provider": "p1", "model": f"m{cost}", "relative_cost": cost} for cost in (1, 2, 5)]
    made = gateway(transport=transport, tiers={"moderate": costs})
    await made.open()
    told = made.explain(b'{"messages": []}', pairs=[(b"x-sentinel-tier", b"moderate")])
    assert (told.tier, told.reason) == ("moderate", "explicit")
    assert [round(each.share, 3) for each in told.candidates] == [0.588, 0.294, 0.118]
    default = made.explain(b'{"messages": []}', caller=Caller("ada", tier="moderate"))
    assert (default.tier, default.reason) == ("moderate", "default")
    named = made.explain(b'{"messages": [], "model": "m2"}')
    assert [(each.model, each.share) for each in named.candidates] == [("m2", 1.0)]
    assert transport.sent == []


async def test_explain_refuses_what_a_request_would_be_refused(tmp_path):
    with pytest.raises(Unavailable, match="not loaded"):
        unloaded(tmp_path / "tiers.json").explain(b"{}")
    made = gateway()
    with pytest.raises(ModelNotFound):
        made.explain(b'{"messages": [], "model": "nope"}')
    with pytest.raises(TierNotConfigured):
        made.explain(b'{"messages": [], "tier": "complex"}')


def test_inline_tiers_are_there_from_the_start():
    made = Gateway(tables(routing={"aliases": {"gpt-*": "simple"}}), environ={}, wall=lambda: 0)
    status = made.status()
    assert status.ready
    state = status.configuration
    assert (state.source, state.version, state.last_error) == ("inline", "inline", None)
    assert [(each.provider, each.model, each.state) for each in status.candidates] == [
        ("p1", "small", "available")
    ]
    assert (status.needs_restart, status.stores) == ((), ())
    assert (status.sessions.name, status.sessions.held) == ("memory://", 0)
    ours = dict.fromkeys(["simple", "moderate", "complex", "auto", "gpt-*"], "tiergate")
    assert made.models() == {"small": "p1", **ours}


async def test_without_tiers_it_is_not_ready_says_why_and_serves_once_they_come(tmp_path):
    path = tmp_path / "tiers.json"
    made = unloaded(path)
    assert (made.status().ready, made.status().candidates, made.models()) == (False, (), {})
    reply = await ask(made)
    assert (reply.status, error(reply)["code"]) == (503, "config_unavailable")
    assert 1 <= int(headers(reply)["retry-after"]) <= 5
    assert str(path) in str(made.status().configuration.last_error)
    entry = {
        "provider": "p1",
        "model": "small",
        "inputPricePerMillion": 1,
        "outputPricePerMillion": 1,
    }
    path.write_bytes(msgspec.json.encode({"version": 8, "tiers": {"simple": [entry, {}]}}))
    await asyncio.sleep(5)
    one, other = await asyncio.gather(ask(made), ask(made))
    assert (one.status, other.status) == (200, 503)  # who begins it waits, others are told
    state = made.status().configuration
    assert (made.status().ready, state.version, state.last_error) == (True, "8", None)
    assert "tiers.simple[1]" in state.skipped[0]
    await made.close()


@pytest.mark.parametrize(
    ("asked", "members", "ended", "code"),
    [
        ("200", {}, 0.2, "deadline_exceeded"),
        (None, {"tier": "complex"}, 2, "deadline_exceeded"),
        (None, {}, 4, "deadline_exceeded"),
        ("60000", {"tier": "moderate"}, 5, "config_unavailable"),
        ("200", {"tier": "huge"}, 0, "invalid_request"),
    ],
    ids=["its client's", "its tier's", "that of all", "later", "not waited for"],
)
async def test_a_deadline_counts_the_wait_for_the_first_tiers(asked, members, ended, code):
    times = {"complex": {"deadline_seconds": 2}, "moderate": {"deadline_seconds": 30}}
    retry = {"deadline_seconds": 4, "tiers": times}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        source = {"source": "http", "url": url, "timeout_seconds": 5}
        made = gateway(Say.completion(), tiers={}, tier_config=source, retry=retry)
        pairs = [(b"x-sentinel-deadline-ms", asked.encode())] if asked else []
        exchange = made.begin(pairs)
        await asyncio.sleep(30)  # the body takes its time, which is not ours
        loop, body = asyncio.get_running_loop(), {"messages": [], **members}
        async with made.handle(exchange, msgspec.json.encode(body)) as reply:
            assert (error(reply)["code"], loop.time() - 30) == (code, pytest.approx(ended))
        await made.close()


async def test_status_tells_how_every_candidate_stands():
    pool = [{"provider": "p1", "model": name} for name in ("small", "other")]
    made = gateway(Say.error(503), tiers={"simple": pool, "moderate": pool[:1]})
    assert (await ask(made, model="small")).status == 502
    told = [
        (each.model, each.state, each.failures, round(each.seconds_left))
        for each in made.status().candidates
    ]
    assert told == [("small", "backing off", 1, 30), ("other", "available", 0, 0)]


async def test_as_a_context_manager_it_loads_and_closes(tmp_path):
    entry = {"provider": "p1", "model": "m", "inputPricePerMillion": 1, "outputPricePerMillion": 1}
    path, transport = tmp_path / "tiers.json", ScriptedTransport({"p1": Say.completion()})
    path.write_bytes(msgspec.json.encode({"tiers": {"simple": [entry]}}))
    more = {"tiers": {}, "tier_config": {"source": "file", "file": str(path)}}
    async with gateway(transport=transport, **more) as made:
        assert made.status().ready
        assert not transport.closed
        assert len(asyncio.all_tasks()) == 2  # what keeps the tiers fresh
    assert transport.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nothing_that_is_printed_holds_a_key():
    provider = {
        "base_url": "http://p1.test/v1",
        "api_key_env": "KEY",
        "headers": {"x-other-key": "sk-secret-too"},
    }
    transport = ScriptedTransport({"p1": Say.completion()})
    made = gateway(transport=transport, providers={"p1": provider})
    exchange = made.begin([(b"authorization", b"Bearer sk-secret-of-the-client")])
    async with made.handle(exchange, b'{"messages": []}') as reply:
        shown = repr([exchange, exchange.headers, reply, made.health, made.capacity])
    sent = transport.sent[0].headers
    assert {("authorization", "Bearer sk-secret"), ("x-other-key", "sk-secret-too")} <= set(sent)
    tools = made._parts.tools
    shown += repr([made, made.config, made.status(), tools])
    for part in (made, made.config, exchange, exchange.headers, tools):
        assert re.search("p1|RequestHeaders, 1", repr(part))  # each says something of itself
    assert "sk-secret" not in shown


async def test_it_tells_where_a_providers_requests_go():
    tables = {"providers": {"p1": {"base_url": "http://p1.test/v1", "api_key_env": "KEY"}}}
    entries = {"tiers": {"simple": [{"provider": "p1", "model": "m"}]}}
    gateway = Gateway(tables | entries, environ={"KEY": "sk-1"})
    endpoint = gateway.endpoint("p1")
    assert endpoint is not None
    assert (endpoint.name, endpoint.below("x")) == ("p1", "http://p1.test/v1/x")
    assert dict(endpoint.fixed)["authorization"] == "Bearer sk-1"
    assert gateway.endpoint("p2") is None


async def test_it_knows_whether_it_spends_keys_of_its_own():
    provider = {"base_url": "http://p1.test/v1", "api_key_env": "KEY"}
    assert gateway(providers={"p1": provider}).uses_own_keys
    assert not gateway().uses_own_keys
    with pytest.raises(ConfigError, match="OTHER"):
        gateway(providers={"p1": {**provider, "api_key_env": "OTHER"}})


def test_it_can_be_made_without_a_loop_and_needs_no_argument_but_its_configuration():
    made = Gateway(tables(), environ={})
    assert repr(made) == "<Gateway <Store inline: inline>, providers p1>"


FORKING = """
import asyncio, os
from tiergate import Gateway
from tiergate.testing import Say, ScriptedTransport

names = [f"p{number}" for number in range(9)]
transport = ScriptedTransport(dict.fromkeys(names, Say.completion()))
gateway = Gateway(
    {
        "providers": {name: {"base_url": "http://h.test"} for name in names},
        "tiers": {"simple": [{"provider": name, "model": "m"} for name in names]},
    },
    transport=transport,
)

async def serve():
    for _ in range(20):
        async with gateway.handle(gateway.begin([]), b'{"messages": []}'):
            pass

for _ in range(2):
    if os.fork() == 0:
        asyncio.run(serve())
        os.write(1, "".join([sent.provider for sent in transport.sent] + ["\\n"]).encode())
        os._exit(0)
    os.wait()
"""


def test_workers_forked_from_one_process_draw_each_for_itself():
    """Else all of them would send to the same provider at once, and retry at the same moment."""
    ran = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, check=True)
    one, other = ran.stdout.split()
    assert len(one) == len(other) == 40
    assert one != other
