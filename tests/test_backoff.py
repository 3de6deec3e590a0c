"""Back-off over whole requests: 503s that say when, probes that cost nobody, an outage survived.

Through ASGI over scripted providers in virtual time. Who is charged is `test_verdicts`'s.
"""

import asyncio

import pytest
from wired import ANSWER, ROLE, STOP, Heard, World, ask, token, world

from tiergate.faults import UNREACHABLE, AttemptFailed
from tiergate.health import State
from tiergate.testing import Say, ScriptedTransport

FINE = Say.completion("hi")
STREAM = Say.stream(*ANSWER)
BROKEN = Say.error(501)  # left at once
MODES = ["off", "first_token", "buffered"]


async def whole(made: World, **more) -> Heard:
    """One request that is no stream."""
    return await ask(made, stream=False, **more)


# --- everybody in back-off


async def test_when_all_are_in_back_off_it_is_503_with_the_shortest_wait_rounded_up():
    made = world({"p1": BROKEN, "p2": Say.error(429, retry_after="20")})
    await whole(made)
    await asyncio.sleep(12.3)
    heard = await whole(made)
    assert (heard.status, heard.code) == (503, "service_unavailable")
    assert (heard.headers["retry-after"], heard.headers["x-should-retry"]) == ("8", "false")
    assert heard.headers["x-sentinel-tier"] == "moderate"
    assert "x-arbstr-provider" not in heard.headers
    assert made.asked() == ["p1", "p2"]


@pytest.mark.parametrize(
    ("waited", "retry_after", "should"),
    [(27, "3", "false"), (27.9, "3", "false"), (28, "2", None), (29.5, "1", None)],
)
async def test_a_503_that_is_soon_over_may_be_retried_by_the_client(waited, retry_after, should):
    made = world({"p1": BROKEN})
    await whole(made)
    await asyncio.sleep(waited)
    heard = await ask(made, mode="buffered")
    assert (heard.status, heard.headers["retry-after"]) == (503, retry_after)
    assert heard.headers.get("x-should-retry") == should


async def test_when_the_only_candidate_is_lost_between_plan_and_send_it_is_503_too():
    made = world({"p1": [BROKEN, Say.stream(*ANSWER, after=2)]})
    await whole(made)
    await asyncio.sleep(30)  # all of them plan before the first sends
    answers = await asyncio.gather(*[ask(made, mode="buffered") for _ in range(20)])
    assert sorted(heard.status for heard in answers) == [200] + [503] * 19
    assert {heard.code for heard in answers if heard.status == 503} == {"service_unavailable"}
    assert made.asked() == ["p1", "p1"]


async def test_while_the_only_candidate_is_probed_the_others_hear_503():
    made = world({"p1": [BROKEN, Say.completion(after=4)]})
    await whole(made)
    await asyncio.sleep(30)
    answers = await asyncio.gather(*[whole(made) for _ in range(20)])
    assert sorted(heard.status for heard in answers) == [200] + [503] * 19
    assert made.asked() == ["p1", "p1"]


async def test_a_last_resort_is_one_attempt_at_the_one_nearest_its_end():
    made = world(
        {"p1": BROKEN, "p2": [Say.error(429, retry_after="20"), Say.error(503), FINE]},
        health={"last_resort": True},
    )
    await whole(made)
    heard = await whole(made)
    assert (heard.status, made.asked()) == (502, ["p1", "p2", "p2"])
    assert made.failures() == {"p1": 1, "p2": 2}
    await asyncio.sleep(1)
    await whole(made)
    assert made.asked()[3:] == ["p1"]  # by now the nearer
    await asyncio.sleep(20)
    assert (await whole(made)).status == 200
    assert made.failures() == {"p1": 2}


async def test_health_that_is_off_asks_everybody_every_time():
    made = world({"p1": BROKEN, "p2": FINE}, health={"initial_backoff_seconds": 0})
    for _ in range(3):
        assert (await whole(made)).status == 200
    assert made.asked() == ["p1", "p2"] * 3


# --- probes


async def test_a_probe_is_one_attempt_without_a_retry_and_costs_no_request():
    made = world({"p1": Say.error(503), "p2": FINE})
    await whole(made)
    await asyncio.sleep(30)
    before = len(made.transport.sent)
    answers = await asyncio.gather(*[whole(made) for _ in range(20)])
    assert {heard.status for heard in answers} == {200}
    assert made.asked()[before:].count("p1") == 1
    assert made.failures() == {"p1": 2}


PROBE_ENDS = {
    "a client that leaves": ({"leave_after": 1}, Say.never()),
    "a deadline of its own": ({"headers": {"X-Sentinel-Deadline-Ms": "1"}}, Say.never()),
    "a request at fault": ({}, Say.error(400)),
}


@pytest.mark.parametrize(("how", "met"), PROBE_ENDS.values(), ids=PROBE_ENDS)
async def test_a_probe_without_a_verdict_frees_its_place(how, met):
    made = world({"p1": [BROKEN, met, FINE]})
    await whole(made)
    await asyncio.sleep(30)
    await whole(made, **how)
    assert made.failures() == {"p1": 1}
    assert (await whole(made)).status == 200
    assert made.failures() == {}


@pytest.mark.parametrize("mode", MODES)
async def test_a_probing_stream_admits_others_from_its_first_token_on(mode):
    made = world({"p1": [BROKEN, Say.stream(*ANSWER, after=2), FINE], "p2": FINE})
    await whole(made)
    await asyncio.sleep(30)
    probe = asyncio.create_task(ask(made, mode=mode))
    await asyncio.sleep(5)
    assert made.state("p1") is State.PROBING
    await asyncio.sleep(2)  # headers, preamble, token: held or not
    assert made.state("p1") is State.AVAILABLE
    assert (await probe).whole
    assert made.failures() == {}


async def test_long_buffered_streams_do_not_keep_a_candidate_on_probation():
    long = Say.stream(ROLE, *[token("a")] * 20, STOP, after=1)
    made = world({"p1": [BROKEN, long], "p2": [FINE, STREAM]}, streaming={"failover": "buffered"})
    await whole(made)
    await asyncio.sleep(30)
    begun = [asyncio.create_task(ask(made))]
    for _ in range(4):
        await asyncio.sleep(5)  # less than an answer, and than the expiry of a probe
        begun.append(asyncio.create_task(ask(made)))
    heard = await asyncio.gather(*begun)
    assert [answer.text for answer in heard] == ["a" * 20] * 5
    assert made.failures() == {}
    assert made.state("p1") is State.AVAILABLE


# --- an outage


class Weather(ScriptedTransport):
    """`p1` refuses connections from 10 to 70 seconds; so does its model list."""

    @property
    def raining(self) -> bool:
        return 10 <= asyncio.get_running_loop().time() < 70

    async def post(self, endpoint, headers, body):
        answer = await super().post(endpoint, headers, body)
        if endpoint.name == "p1" and self.raining:
            answer.close()
            raise AttemptFailed(UNREACHABLE)
        return answer

    async def probe(self, endpoint):
        await super().probe(endpoint)
        return not self.raining


async def outage(**health) -> tuple[World, list[Heard], list[float]]:
    """Five requests a second for five minutes: who heard what, and when `p1` was asked."""
    script = {"p1": FINE, "p2": FINE}
    made = world(script, transport=Weather(script), health=health)
    answers = []
    for _ in range(1500):
        answers.append(asyncio.create_task(whole(made)))
        await asyncio.sleep(0.2)
    heard = await asyncio.gather(*answers)
    return made, heard, [sent.at for sent in made.transport.sent if sent.provider == "p1"]


async def test_an_outage_of_a_minute_fails_no_request_and_is_probed_once_a_period():
    made, heard, calls = await outage()
    assert {answer.status for answer in heard} == {200}
    assert max(answer.seconds for answer in heard) <= 3  # a second and two: its retries
    opened = 10 + 3
    assert len([at for at in calls if opened + 0.5 < at < 70]) == 1  # at the end of its 30 s
    back = [at for at in calls if at >= 70]
    assert back[0] <= 70 + 60  # within the back-off that was running
    assert len(back) == pytest.approx(5 * (300 - back[0]), abs=2)  # and in use from then on
    assert made.failures() == {}


async def test_with_background_probes_the_primary_is_back_within_ten_seconds():
    made, heard, calls = await outage(probe_interval_seconds=5)
    assert {answer.status for answer in heard} == {200}
    assert min(at for at in calls if at >= 70) <= 80
    assert made.failures() == {}
    assert {name for name, _ in made.transport.probed} == {"p1"}
    assert max(at for _, at in made.transport.probed) <= 80
    await made.gateway.close()
