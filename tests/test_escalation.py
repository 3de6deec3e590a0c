"""`routing.escalate`: with nobody left in its tier a request is served by a higher one, and told.

Never by a lower one, never above what its caller may have; its conversation is not raised by it.
Through the whole gateway, in virtual time: `low` serves simple, `high` complex, both offer `m`.
"""

import asyncio
from typing import Any

import pytest
from wired import ANSWER, Heard, World, ask, world

from tiergate import Caller
from tiergate.faults import BUSY
from tiergate.record import Record
from tiergate.testing import Say

FINE = Say.completion()
DOWN = Say.error(503)
ESCALATE = {"routing": {"escalate": True}, "retry": {"retries": 0}}
TIERS = {
    "simple": [{"provider": "low", "model": "m"}],
    "complex": [{"provider": "high", "model": "m"}],
}


def two(low: Any = FINE, high: Any = FINE, **tables: Any) -> World:
    return world({"low": low, "high": high}, **{"tiers": TIERS, **ESCALATE, **tables})


class Noted:
    """An observer of requests."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def finished(self, record: Record) -> None:
        self.records.append(record)


async def say(made: World, tier: str = "simple", **given: Any) -> Heard:
    return await ask(made, **{"stream": False, "model": None, "tier": tier, **given})


def away(made: World, *providers: str) -> World:
    """In back-off."""
    for provider in providers:
        made.gateway.health.failed(made.admit(provider))
    return made


# --- who serves


async def test_with_its_tier_in_back_off_a_higher_one_serves_and_is_told():
    made, noted = away(two(), "low"), Noted()
    made.gateway.observe(noted)
    assert (await say(made)).served == "high/m complex explicit"
    (record,) = noted.records
    assert (record.requested_tier, record.tier, record.reason) == ("simple", "complex", "explicit")
    assert [(each.provider, each.share) for each in record.pool] == [("low", 0), ("high", 1)]
    metrics = made.gateway.metrics
    assert metrics.tier_requests.read() == {("simple",): 1}
    assert metrics.selections.read() == {("complex", "high", "m"): 1}


async def test_a_failure_in_its_tier_is_followed_by_a_higher_one():
    heard = await say(two(low=DOWN))
    assert heard.served == "high/m complex explicit"
    assert heard.headers["x-arbstr-retries"] == "1/low, 1/high"


async def test_without_escalation_no_other_tier_serves():
    heard = await say(away(two(routing={}), "low"))
    assert (heard.status, heard.headers["x-sentinel-tier"]) == (503, "simple")
    assert (await say(two(low=DOWN, routing={}))).status == 502


@pytest.mark.parametrize("reason", ["in back-off", "failing"])
async def test_no_lower_tier_ever_serves(reason):
    made = away(two(), "high") if reason == "in back-off" else two(high=DOWN)
    heard = await say(made, "complex")
    assert heard.status in (502, 503)
    assert heard.headers["x-sentinel-tier"] == "complex"
    assert "low" not in made.asked()


@pytest.mark.parametrize(
    ("highest", "status"), [("simple", 503), ("moderate", 503), ("complex", 200)]
)
async def test_a_caller_is_not_led_above_what_it_may_have(highest, status):
    heard = await say(away(two(), "low"), caller=Caller("ada", max_tier=highest))
    assert heard.status == status


async def test_who_named_a_model_keeps_to_it():
    tiers = {**TIERS, "complex": [{"provider": "high", "model": "n"}]}
    heard = await say(away(two(tiers=tiers), "low"), tier=None, model="m")
    assert (heard.status, heard.headers["x-sentinel-tier"]) == (503, "simple")


@pytest.mark.parametrize(
    ("fallbacks", "asked", "tier"),
    [
        (0, ["low"], "simple"),
        (1, ["low", "low2"], "simple"),
        (2, ["low", "low2", "high"], "complex"),
    ],
)
async def test_the_fallbacks_count_whatever_tier_they_are_in(fallbacks, asked, tier):
    tiers = {**TIERS, "simple": [*TIERS["simple"], {"provider": "low2", "model": "m"}]}
    retry = {"retries": 0, "fallbacks": fallbacks}
    made = world(
        {"low": DOWN, "low2": DOWN, "high": DOWN}, tiers=tiers, **{**ESCALATE, "retry": retry}
    )
    heard = await say(made)
    assert (len(made.asked()), heard.status) == (len(asked), 502)
    assert made.asked()[2:] == asked[2:]
    assert heard.headers["x-sentinel-tier"] == tier


async def test_a_higher_tier_without_a_free_connection_was_not_come_to():
    heard = await say(two(low=DOWN, high=Say(fault=BUSY)))
    assert (heard.code, heard.served) == ("overloaded", "low/m simple explicit")


async def test_with_everybody_in_back_off_the_nearest_of_all_is_waited_for_or_the_last_resort():
    made = two(health={"last_resort": True})
    made.gateway.health.failed(made.admit("low"), 60)
    made.gateway.health.failed(made.admit("high"), 9)
    assert (await say(made)).served == "high/m complex explicit"
    made = away(two(), "low")
    made.gateway.health.failed(made.admit("high"), 9)
    heard = await say(made)
    assert (heard.status, heard.headers["retry-after"]) == (503, "9")
    assert heard.headers["x-sentinel-tier"] == "simple"


# --- its conversation


async def test_a_conversation_is_not_raised_by_who_stood_in():
    made = two()
    for turns in (1, 3):
        away(made, "low")
        for _ in range(turns):
            heard = await say(made, conversation_id="c")
            assert heard.headers["x-sentinel-tier"] == "complex"
        await asyncio.sleep(31)
        assert (await say(made, conversation_id="c")).served == "low/m simple explicit"
        assert (await say(made, conversation_id="c")).served == "low/m simple explicit"


async def test_a_conversation_that_only_ever_met_a_higher_tier_is_held_to_nothing():
    made = away(two(), "low")
    await say(made, conversation_id="c")
    assert made.gateway.status().sessions.held == 0


async def test_a_conversation_that_asks_for_more_is_raised_as_ever():
    made = two()
    await say(made, "simple", conversation_id="c")
    assert (await say(made, "complex", conversation_id="c")).served == "high/m complex explicit"
    assert (await say(made, "simple", conversation_id="c")).served == "high/m complex session"


# --- its times


SLOW = {
    **ESCALATE["retry"],
    "deadline_seconds": 30,
    "attempt_timeout_seconds": 5,
    "tiers": {"complex": {"deadline_seconds": 120, "attempt_timeout_seconds": 60}},
}


async def test_with_nobody_in_its_tier_a_request_has_the_times_of_who_serves():
    made = away(two(high=Say.completion(after=50), retry=SLOW), "low")
    assert (await say(made)).seconds == 100


async def test_who_stands_in_has_its_own_time_for_an_attempt_within_the_deadline():
    heard = await say(two(low=Say.never(), high=Say.completion(after=10), retry=SLOW))
    assert (heard.status, heard.seconds) == (200, 25)
    late = two(low=Say.never(), high=Say.never(), retry=SLOW)
    heard = await say(late)
    assert (heard.status, heard.seconds) == (504, 30)
    assert late.failures() == {"low": 1}  # `high` is not judged: it has a minute


async def test_who_stands_in_for_a_stream_has_its_own_time_to_its_first_token():
    streaming = {
        "first_token_timeout_seconds": 5,
        "tiers": {"complex": {"first_token_timeout_seconds": 60}},
    }
    slow = Say.stream(*ANSWER, after=15)
    for mode in ("off", "first_token"):
        made = away(two(high=slow, streaming=streaming, retry=SLOW), "low")
        assert (await say(made, stream=True, mode=mode)).whole


# --- its stream


async def test_a_stream_that_had_begun_with_comments_tells_its_tier_at_the_end():
    """Its headers were gone before anybody had answered."""
    slow = Say.stream(*ANSWER, after=9)
    made = two(low=DOWN, high=slow, streaming={"summary": True, "first_token_timeout_seconds": 60})
    heard = await say(made, stream=True, mode="buffered")
    assert heard.headers["x-sentinel-tier"] == "simple"
    assert b": x-sentinel-tier=complex x-sentinel-model=m x-arbstr-provider=high" in heard.body
    assert b'"tier":"complex"' in heard.body


@pytest.mark.parametrize("mode", ["off", "first_token", "buffered"])
async def test_a_stream_is_served_by_a_higher_tier_too(mode):
    made = away(two(high=Say.stream(*ANSWER)), "low")
    heard = await say(made, stream=True, mode=mode, conversation_id="c")
    assert (heard.whole, heard.served) == (True, "high/m complex explicit")
    assert made.gateway.status().sessions.held == 0
    assert made.clean
