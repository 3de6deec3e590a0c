"""What moves for whatever becomes of a request, and what must not move: CONTRACT section 13."""

import asyncio
import secrets

import msgspec
import pytest
from msgspec.structs import replace
from wired import ANSWER, ask, token, world

from tiergate import Refused
from tiergate.candidates import Candidate
from tiergate.metrics import CLIENT_LEFT, NO_TIER, Metrics
from tiergate.record import AttemptRecord, Record
from tiergate.series import MOST_SETS, OTHER
from tiergate.testing import Say

FIVE = ("tier_requests", "selections", "failures", "changes")
OK = Say.completion()
BUSY = Say.error(503)
P1, P2 = ("p1", "m"), ("p2", "m")
CHAT = "chat"

RECORD = Record(
    id="id",
    client_id=None,
    at=0,
    conversation=None,
    owner="o",
    requested_tier="simple",
    requested_reason="default",
    tier="simple",
    reason="default",
    score=None,
    requested_model=None,
    provider="p",
    model="m",
    streaming=False,
    attempts=(AttemptRecord("p", "m", 200, None, 100, 2_000_000),),
    status=200,
    outcome="ok",
    error_code=None,
    input_tokens=10,
    cached_tokens=None,
    output_tokens=5,
    partial=False,
    cost=0.00001250,
    latency_us=2_000_400,
    first_token_us=None,
    overhead_us=300,
    trace_id=None,
    caller_tier=None,
    caller_max_tier=None,
    policy=None,
    policy_binds=None,
    reach=None,
    profile=None,
    pool=(),
)


def moved(metrics):
    """The counters of the seeds, those without an entry left out."""
    read = {name: getattr(metrics, name).read() for name in FIVE}
    return {name: values for name, values in read.items() if values}


def seen(histogram):
    """How many values each set of labels has, and their sum."""
    return {labels: (read.count, read.sum) for labels, read in histogram.read().items()}


# --- the seeds' counters


@pytest.mark.parametrize(
    ("script", "settings", "failures", "changes"),
    [
        ({"p1": OK, "p2": OK}, {}, {}, {}),
        ({"p1": [BUSY, OK], "p2": OK}, {}, {}, {}),
        ({"p1": BUSY, "p2": OK}, {}, {P1: 1}, {("moderate", "m", "m"): 1}),
        ({"p1": BUSY, "p2": BUSY}, {}, {P1: 1, P2: 1}, {("moderate", "m", "m"): 1}),
        ({"p1": Say.error(400), "p2": OK}, {}, {}, {}),
        ({"p1": BUSY}, {}, {P1: 1}, {}),
        ({"p1": BUSY, "p2": OK}, {"health": {"initial_backoff_seconds": 0}}, {}, None),
    ],
    ids=[
        "success",
        "a retry at the same candidate",
        "failover",
        "nobody",
        "the client's fault",
        "nobody else",
        "health off",
    ],
)
async def test_one_request_moves_the_counters_of_the_seeds_once(
    script, settings, failures, changes
):
    made = world(script, **settings)
    await ask(made, stream=False)
    changed = {("moderate", "m", "m"): 1} if changes is None else changes
    expected = {
        "tier_requests": {("moderate",): 1},
        "selections": {("moderate", *P1): 1},
        "failures": failures,
        "changes": changed,
    }
    assert moved(made.gateway.metrics) == {name: read for name, read in expected.items() if read}


async def test_who_is_in_back_off_is_not_selected_and_passing_it_by_is_no_retry():
    made = world({"p1": [BUSY, BUSY, BUSY, OK], "p2": OK})
    for _ in range(3):
        await ask(made, stream=False)
    await asyncio.sleep(30)
    await ask(made, stream=False)  # the probe
    assert made.asked() == ["p1", "p1", "p1", "p2", "p2", "p2", "p1"]
    assert moved(made.gateway.metrics) == {
        "tier_requests": {("moderate",): 4},
        "selections": {("moderate", *P1): 2, ("moderate", *P2): 2},
        "failures": {P1: 1},
        "changes": {("moderate", "m", "m"): 1},
    }


async def test_ten_requests_failing_together_are_one_verdict():
    made = world({"p1": Say(503, after=1)}, retry={"retries": 0})
    await asyncio.gather(*(ask(made, stream=False) for _ in range(10)))
    assert moved(made.gateway.metrics)["failures"] == {P1: 1}


def test_a_change_of_provider_or_of_model_is_a_change_and_neither_is_none():
    metrics = Metrics()
    pairs = [("p", "a"), ("p", "a"), ("q", "a"), ("q", "b"), ("q", "b")]
    attempts = tuple(AttemptRecord(*pair, 503, "unavailable", 0, 1) for pair in pairs)
    metrics.finished(replace(RECORD, attempts=attempts))
    assert metrics.changes.read() == {("simple", "a", "a"): 1, ("simple", "a", "b"): 1}


# --- what becomes of requests


@pytest.mark.parametrize(
    ("script", "asked", "counted"),
    [
        ({"p1": OK}, {"stream": False}, ("moderate", "ok")),
        ({"p1": Say.error(404)}, {"stream": False}, ("moderate", "client_error")),
        ({"p1": BUSY}, {"stream": False}, ("moderate", "upstream_error")),
        ({"p1": Say.never()}, {"stream": False}, ("moderate", "timeout")),
        ({"p1": Say.never()}, {"stream": False, "leave_after": 1}, ("moderate", CLIENT_LEFT)),
        ({"p1": Say.stream(token("a"), cut=True)}, {}, ("moderate", "stream_interrupted")),
        ({"p1": Say.stream(*ANSWER)}, {}, ("moderate", "ok")),
        (
            {"p1": OK},
            {"stream": False, "headers": {"x-sentinel-tier": "huge"}},
            (NO_TIER, "client_error"),
        ),
    ],
    ids=lambda value: "/".join(value) if isinstance(value, tuple) else "",
)
async def test_every_request_is_counted_once_by_what_became_of_it(script, asked, counted):
    made = world(script)
    heard = await ask(made, **asked)
    metrics = made.gateway.metrics
    assert metrics.requests.read() == {counted: 1}
    ((tier,), (count, seconds)) = next(iter(seen(metrics.request_duration).items()))
    assert (tier, count, round(seconds, 3)) == (counted[0], 1, heard.seconds)
    assert metrics.refusals.read() == {}
    assert repr(metrics) == "<Metrics 1 requests>"


async def test_what_ends_before_its_body_is_read_is_only_counted_by_its_code():
    made = world({"p1": OK}, limits={"max_in_flight": 1})
    gateway = made.gateway
    for body in (b"{", b"[]"):
        async with gateway.handle(gateway.begin([]), body):
            pass
    refused = gateway.begin([])
    gateway.refuse(refused, Refused(401))
    gateway.end(refused)
    gateway.end(refused)
    gateway.end(gateway.begin([]))
    metrics = gateway.metrics
    assert metrics.refusals.read() == {
        ("invalid_request",): 2,
        ("invalid_api_key",): 1,
        (CLIENT_LEFT,): 1,
    }
    assert (metrics.requests.read(), moved(metrics)) == ({}, {})


async def test_a_hundred_thousand_model_names_of_clients_are_no_label():
    gateway = world({"p1": OK}).gateway
    for _ in range(100_000):
        body = msgspec.json.encode({"model": secrets.token_hex(8), "messages": []})
        async with gateway.handle(gateway.begin([]), body) as reply:
            assert reply.status == 404
    metrics = gateway.metrics
    assert metrics.requests.read() == {(NO_TIER, "client_error"): 100_000}
    assert sum(len(each.read()) for each in (*metrics.counters, *metrics.histograms)) <= 6
    assert metrics.overflow == 0


async def test_an_error_code_of_a_providers_own_making_is_no_label():
    made = world({"p1": [Say.error(400, f"code-{number}") for number in range(50)]})
    for _ in range(50):
        await ask(made, stream=False)
    assert made.gateway.metrics.requests.read() == {("moderate", "client_error"): 50}
    assert seen(made.gateway.metrics.operation_duration) == {(CHAT, *P1, "rejected"): (50, 0)}


def test_models_of_ever_new_configurations_are_counted_together_from_some_point_on():
    metrics = Metrics()
    for number in range(2 * MOST_SETS):
        model = f"m{number}"
        metrics.selected("simple", Candidate("p", model, 1))
        metrics.failed("p", model)
        attempts = (AttemptRecord("p", model, 200, None, 0, 1),)
        metrics.finished(replace(RECORD, model=model, attempts=attempts))
    sets = [len(each.read()) for each in (*metrics.counters, *metrics.histograms)]
    assert max(sets) == MOST_SETS + 1
    assert sum(sets) < 10_000
    assert metrics.failures.read()[(OTHER, OTHER)] == MOST_SETS
    # Of each: one selection, verdict, cost, duration and, of a series half as long, two of tokens.
    assert metrics.overflow == 4 * MOST_SETS + 3 * MOST_SETS


# --- GenAI


async def test_each_attempt_has_its_duration_and_its_error():
    made = world({"p1": Say(503, after=0.5), "p2": Say.completion(after=1)})
    await ask(made, stream=False)
    metrics = made.gateway.metrics
    # The body comes as long after the headers as they did after the request.
    assert seen(metrics.operation_duration) == {
        (CHAT, *P1, "unavailable"): (3, 1.5),
        (CHAT, *P2, ""): (1, 2),
    }
    assert seen(metrics.first_chunk) == seen(metrics.first_token) == {}
    assert seen(metrics.tokens) == {(CHAT, *P2, "input"): (1, 10), (CHAT, *P2, "output"): (1, 5)}


async def test_a_client_that_leaves_is_no_error_of_the_attempt():
    made = world({"p1": Say.never()})
    await ask(made, stream=False, leave_after=2)
    assert seen(made.gateway.metrics.operation_duration) == {(CHAT, *P1, ""): (1, 2)}


async def test_time_to_first_token_is_from_the_request_for_us_and_from_the_attempt_for_genai():
    made = world({"p1": Say(503, after=0.5), "p2": Say.stream(*ANSWER, after=1)})
    await ask(made, mode="first_token", stream=True)
    metrics = made.gateway.metrics
    ((_, (count, seconds)),) = seen(metrics.first_chunk).items()
    assert (count, seconds) == (1, 3)
    assert seen(metrics.first_token) == {("moderate",): (1, 1.5 + 3 + 3)}  # with the two waits


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens", "expected"),
    [
        (None, None, {}),
        (0, None, {(CHAT, "p", "m", "input"): (1, 0)}),
        (None, 7, {(CHAT, "p", "m", "output"): (1, 7)}),
    ],
    ids=["unknown", "zero is a number", "half known"],
)
def test_unknown_tokens_are_not_reported(input_tokens, output_tokens, expected):
    metrics = Metrics()
    metrics.finished(
        replace(RECORD, input_tokens=input_tokens, output_tokens=output_tokens, cost=None)
    )
    assert seen(metrics.tokens) == expected
    assert metrics.cost.read() == {}


def test_providers_are_called_as_the_conventions_call_them_and_elsewhere_as_configured():
    metrics = Metrics()
    attempts = (AttemptRecord("gemini", "m", 200, None, 0, 1_000_000),)
    metrics.finished(replace(RECORD, provider="gemini", attempts=attempts))
    assert seen(metrics.operation_duration) == {(CHAT, "gcp.gemini", "m", ""): (1, 1)}
    assert {labels[1] for labels in metrics.tokens.read()} == {"gcp.gemini"}
    assert list(metrics.cost.read()) == [("simple", "gemini", "m")]


def test_costs_add_up_to_the_last_digit():
    metrics = Metrics()
    for _ in range(100_000):
        metrics.finished(RECORD)
    assert metrics.cost.read() == {("simple", "p", "m"): 1.25}


# --- ours


async def test_overhead_is_neither_a_providers_time_nor_a_wait():
    made = world({"p1": Say(503, after=3), "p2": Say.completion(after=2)})
    await ask(made, stream=False)
    assert seen(made.gateway.metrics.overhead) == {(): (1, 0)}


@pytest.mark.parametrize(
    ("overhead_us", "expected"), [(None, (0, 0)), (300, (1, 0.0003)), (-1, (1, 0))]
)
def test_an_unknown_overhead_is_not_reported(overhead_us, expected):
    metrics = Metrics()
    metrics.finished(replace(RECORD, overhead_us=overhead_us))
    assert seen(metrics.overhead) == {(): expected}


async def test_events_that_were_left_out_are_counted():
    broken = b"data: {no json\n\n"
    made = world({"p1": Say.stream(broken, ANSWER[0], broken, *ANSWER[1:])})
    heard = await ask(made)
    assert heard.whole
    assert made.gateway.metrics.events_dropped.read() == {(): 2}


def test_the_buckets_are_the_conventions_and_ours_see_50_microseconds():
    metrics = Metrics()
    durations = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96)
    assert metrics.operation_duration.bounds == (*durations, 81.92)
    assert metrics.first_chunk.bounds == metrics.operation_duration.bounds
    assert metrics.tokens.bounds == tuple(4**n for n in range(14))
    assert (metrics.overhead.bounds[0], metrics.overhead.bounds[-1]) == (0.00005, 1)
    for each in metrics.histograms:
        assert list(each.bounds) == sorted(set(each.bounds)), each
