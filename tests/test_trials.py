"""`POST /v1/replay`: a posted configuration on what is kept: bounded, and deaf to files and the
environment."""

import asyncio
import json
import threading

import pytest
from finished import record

from tiergate_sidecar.errors import QueryInvalid, ReloadRefused, TrialUnavailable
from tiergate_sidecar.recent import Ring
from tiergate_sidecar.ring_history import RingHistory
from tiergate_sidecar.trials import Trials

AT = 1_700_000_000_000_000
HOUR = 3_600_000_000
TOML = """
[providers.p1]
base_url = "https://p1.test/v1"
api_key_env = "NOBODY_HAS_THIS"

[[tiers.simple]]
provider = "p1"
model = "m"
input_price_per_million = 1
output_price_per_million = 2

[[tiers.complex]]
provider = "p1"
model = "large"
input_price_per_million = 10
output_price_per_million = 20
"""


def asked(config=TOML, **said):
    return json.dumps({"config": config, **said}).encode()


def history(*records):
    ring = Ring(100)
    for each in records:
        ring.finished(each)
    return RingHistory(ring)


def past(count):
    """Requests for a tier that were served, the oldest first, a minute apart, up to `AT`."""
    return [
        record(str(n), at=AT - (count - 1 - n) * 60_000_000, reach="0" * 8) for n in range(count)
    ]


async def test_it_tells_who_would_have_gone_where_and_where_it_looked():
    told = await Trials(history(*past(3))).run(asked(), AT)
    assert (told.source, told.older_left_out) == ("memory", False)
    assert (told.since, told.until) == (AT - 7 * 24 * HOUR, AT)
    assert told.result.requests == 3
    assert told.result.tiers_after["simple"] == 3
    assert told.result.cost.before == pytest.approx(3 * 0.0000125)
    assert told.result.cost.after == pytest.approx(3 * (10 * 1 + 5 * 2) / 1e6)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"range": "last_1h"}, 1),
        ({"since": AT - 2 * HOUR}, 2),
        ({"since": "2023-11-14T20:13:20Z", "until": AT - HOUR - 1}, 1),
        ({"since": 0}, 2),
    ],
)
async def test_of_which_time_is_said_as_it_is_of_the_other_pages(said, found):
    kept = [record("old", at=AT - 2 * HOUR), record("new", at=AT)]
    told = await Trials(history(*kept)).run(asked(**said), AT)
    assert told.result.requests == found


async def test_only_the_newest_are_looked_at_and_it_says_so():
    told = await Trials(history(*past(30)), most=20).run(asked(), AT)
    assert told.older_left_out
    assert (told.result.requests, told.result.until) == (20, AT)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("[tiers", "config: "),
        ("a = " + "[" * 5000, "config: "),
        ('"\x00" = 1', "config: "),
        ("a." * 64 + "a = 1", "too many parts"),
        ("""["\\"".'a'""" + """ . "\\".".'"'""" * 32 + "]", "too many parts"),
        ("[routing]\ndefault_teir = 1", "routing.default_teir: unknown key"),
        ("[tier_config]\nsource = 'file'\nfile = '/etc/passwd'", "no file is read here"),
        ("[tier_config]\nsource = 'http'\nurl = 'http://h/'", "http"),
        ("[[tiers.simple]]\nprovider = 'nobody'\nmodel = 'm'", "nobody"),
    ],
)
async def test_a_configuration_that_cannot_be_used_is_refused_with_what_is_wrong(config, says):
    with pytest.raises(ReloadRefused, match=says) as refused:
        await Trials(history()).run(asked(config), AT)
    assert (refused.value.status, refused.value.param) == (400, "config")


async def test_the_environment_stays_out_of_it():
    config = TOML.replace('"m"', '"${PATH}"')
    with pytest.raises(ReloadRefused, match="PATH"):
        await Trials(history()).run(asked(config), AT)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"{}", b'{"config": 1}', b'{"config": "", "confg": ""}'),
        *(b"[" * 100_000, b'{"config": "\xff"}'),
        *(asked(since="yesterday"), asked(range="last_5m"), asked(since=AT + 1)),
    ],
)
async def test_a_question_that_is_none_is_refused(body):
    with pytest.raises(QueryInvalid) as refused:
        await Trials(history(*past(1))).run(body, AT)
    assert refused.value.status == 400


class Stuck:
    """A history whose rows come when they may."""

    source = "memory"

    def __init__(self):
        self.go, self.interrupted, self.taken = threading.Event(), threading.Event(), []

    def over(self, query, most, take):
        def rows():
            for each in past(100):
                self.go.wait(10)
                self.taken.append(each)
                yield each

        return (lambda: take(False, rows())), self.interrupted.set


async def test_there_is_one_trial_at_a_time_and_a_second_is_told_to_come_back():
    stuck = Stuck()
    trials = Trials(stuck)
    first = asyncio.create_task(trials.run(asked(), AT))
    await asyncio.sleep(0)
    with pytest.raises(TrialUnavailable) as refused:
        await trials.run(asked(), AT)
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    stuck.go.set()
    assert (await first).result.requests == 100


async def test_a_trial_that_takes_too_long_is_stopped_and_the_next_one_may_begin():
    stuck = Stuck()
    trials = Trials(stuck, seconds=0.05)
    with pytest.raises(TrialUnavailable):
        await trials.run(asked(), AT)
    assert stuck.interrupted.is_set()
    stuck.go.set()
    async with asyncio.timeout(5):
        while trials._threads.under_way:  # noqa: ASYNC110  # its end comes from the thread
            await asyncio.sleep(0.005)
    assert len(stuck.taken) == 1  # what was at hand
