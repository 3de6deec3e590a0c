"""What a gateway says of itself: ready or not, from what, who ails, what a restart would change."""

import asyncio
import random
from typing import Any

import pytest
from wired import ask, world

from tiergate import Gateway, load_config
from tiergate.testing import Say, ScriptedTransport

OFFER = [{"provider": "p1", "model": "m"}]
LOG = {"url": "stdout:"}


def tables(**more: Any) -> dict[str, Any]:
    providers = {"p1": {"base_url": "http://h.test"}}
    return {"providers": providers, "tiers": {"simple": OFFER}, **more}


def test_before_its_tiers_have_come_it_is_not_ready_and_knows_nobody():
    elsewhere = {"source": "http", "url": "http://config.test/tiers"}
    made = Gateway({**tables(tier_config=elsewhere), "tiers": {}}, environ={})
    status = made.status()
    assert (status.ready, status.candidates, made.models()) == (False, (), {})
    assert Gateway(tables(), environ={}).status().ready


async def test_a_candidate_of_two_tiers_is_told_once_with_its_failures_and_its_back_off():
    both = [{"provider": "p1", "model": "m"}, {"provider": "p2", "model": "m"}]
    script = {"p1": Say.error(501), "p2": Say.completion()}
    made = world(script, tiers={"simple": both, "complex": both})
    await ask(made, stream=False)
    await asyncio.sleep(10)
    p1, p2 = made.gateway.status().candidates
    assert (p1.provider, p1.state, p1.failures, p1.seconds_left) == ("p1", "backing off", 1, 20)
    assert (p2.provider, p2.state, p2.failures, p2.seconds_left) == ("p2", "available", 0, 0)


async def test_it_says_where_sessions_are_kept_and_what_is_left_of_the_retry_budget():
    status = world({"p1": Say.completion()}).gateway.status()
    assert (status.sessions.name, status.sessions.held, status.stores) == ("memory://", 0, ())
    assert (status.retry_budget.left, status.retry_budget.refused) == (10, 0)


def test_the_state_of_the_request_log_is_told_where_there_is_one():
    assert Gateway(tables(), environ={}).status().request_log is None
    state = Gateway(tables(request_log=LOG), environ={}).status().request_log
    assert state is not None
    assert (state.name, state.available, state.queued, state.written) == ("stdout:", True, 0, 0)


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ({}, {}, ()),
        ({"request_log": LOG}, {"request_log": LOG}, ()),
        ({}, {"request_log": LOG}, ("request_log",)),
        ({"request_log": LOG}, {}, ("request_log",)),
        ({"request_log": LOG}, {"request_log": {**LOG, "queue_size": 7}}, ("request_log",)),
        ({}, {"cache": {"key_prefix": "x:"}, "request_log": LOG}, ("cache", "request_log")),
    ],
)
async def test_what_a_reload_cannot_change_is_named(before, after, names):
    configs = [load_config(tables(**each), environ={}) for each in (before, after)]
    made = Gateway(
        {},
        read=lambda: configs.pop(0),
        transport=ScriptedTransport({}),
        clock=asyncio.get_running_loop().time,
        chance=random.Random(1),
        environ={},
    )
    assert made.status().needs_restart == ()
    await made.reload()
    assert made.status().needs_restart == names


async def test_models_are_ours_before_they_are_their_providers():
    entries = [*OFFER, {"provider": "p1", "model": "complex"}, {"provider": "p2", "model": "m"}]
    made = world(
        {"p1": Say.completion(), "p2": Say.completion()},
        tiers={"simple": entries},
        routing={"aliases": {"gpt-*": "simple"}},
    ).gateway
    async with made:
        ours = dict.fromkeys(["simple", "moderate", "complex", "auto", "gpt-*"], "tiergate")
        assert made.models() == {**ours, "m": "p1"}
