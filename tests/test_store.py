"""The one store: a request reads a snapshot and waits for nothing, whatever becomes of the source.

One flight at a time; old documents are renewed in the background before they expire; what fails
changes nothing but what is told. All on virtual time; a day of outage takes no second.
"""

import asyncio
import logging
import math
import random
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from tiergate.cache import MemoryDocuments
from tiergate.config import Config, Provider
from tiergate.document import DocumentEntry, SourceError, TierDocument, parse_document
from tiergate.errors import ConfigUnavailable
from tiergate.feed import Feed
from tiergate.snapshot import Snapshot, compile_snapshot
from tiergate.store import Store
from tiergate.testing import MemorySource, VirtualLoop

BEGUN = 1_700_000_000.0  # the Unix time at which virtual time is 0
TTL = 1800.0
CONFIG = Config(providers={"p1": Provider(base_url="http://p1.test/v1")})


def now() -> float:
    return asyncio.get_running_loop().time()


def wall() -> float:
    return BEGUN + now()


def document(version: str, *, provider: str = "p1", at: float = BEGUN) -> TierDocument:
    return TierDocument(version, {"simple": (DocumentEntry(provider, "m"),)}, fetched_at=at)


class Service:
    """A source that says the present document, or raises; `asked` tells when, `held` with what."""

    def __init__(
        self,
        says: TierDocument | Exception,
        *,
        name: str = "service",
        after: float = 0,
        shared: bool = True,
        dated: bool = True,
    ) -> None:
        self.says = says
        self.name = name
        self.after = after
        self.shared = shared
        self.dated = dated
        self.asked: list[float] = []
        self.held: list[TierDocument | None] = []

    async def fetch(self, held: TierDocument | None) -> TierDocument:
        self.asked.append(now())
        self.held.append(held)
        await asyncio.sleep(self.after)
        if isinstance(self.says, Exception):
            raise self.says
        return replace(self.says, fetched_at=wall()) if self.dated else self.says


DOWN = SourceError("service: Connection refused")


def feed(source: Any, config: Config = CONFIG, **settings: Any) -> Feed:
    chosen: dict[str, Any] = {"standby": None, "key": "k", "ttl": TTL, "timeout": 5} | settings
    return Feed(source=source, compile=partial(compile_snapshot, config=config), **chosen)


def inline(version: str, *, provider: str = "p1") -> Feed:
    says = document(version, provider=provider, at=0)
    source = Service(says, name="inline", shared=False, dated=False)
    return feed(source, standby=says, ttl=math.inf, key="unused")


def store(
    fed: Any, cache: Any = None, *, seed: int = 1, seen: list[Snapshot] | None = None
) -> Store:
    return Store(
        fed if isinstance(fed, Feed) else feed(fed),
        cache or MemoryDocuments(),
        clock=now,
        wall=wall,
        chance=random.Random(seed),
        on_change=(seen if seen is not None else []).append,
    )


async def take(made: Store, fed: Feed) -> None:
    """As a reload does."""
    made.replace(fed, await made.prepare(fed))


async def until(moment: float) -> None:
    await asyncio.sleep(moment - now())


def version(made: Store) -> str | None:
    return made.snapshot.version if made.snapshot is not None else None


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


# the first document


async def test_fifty_first_requests_at_once_make_one_fetch_and_all_get_its_snapshot():
    source = Service(document("7"), after=1)
    made = store(source)
    got = await asyncio.gather(*(made.load() for _ in range(50)))
    assert (source.asked, now()) == ([0], 1)
    assert {id(snapshot) for snapshot in got} == {id(made.snapshot)}
    assert await made.load() is made.snapshot
    assert (now(), got[0].version, got[0].pools["simple"][0].model) == (1, "7", "m")


@pytest.mark.parametrize("leaves", [0, 1], ids=["who began it", "who joined it"])
async def test_a_request_that_is_cancelled_does_not_end_the_flight_of_the_others(leaves):
    source = Service(document("7"), after=1)
    made = store(source)
    waiting = [asyncio.create_task(made.load()) for _ in range(3)]
    await until(0.5)
    waiting[leaves].cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(ended.pop(leaves), asyncio.CancelledError)
    assert ended == [made.snapshot] * 2
    assert source.asked == [0]


async def test_with_nothing_to_serve_a_request_is_told_so_and_when_to_come_back():
    source = Service(DOWN, after=1)
    made = store(source)
    ended = await asyncio.gather(*(made.load() for _ in range(50)), return_exceptions=True)
    assert {type(error) for error in ended} == {ConfigUnavailable}
    assert all(0.2 <= error.retry_after <= 3 for error in ended)  # from try to try 1 to 4 s
    assert (source.asked, made.snapshot) == ([0], None)
    assert made.state.last_error == "service: Connection refused"


async def test_after_a_failure_only_the_request_that_tries_again_waits():
    source = Service(DOWN, after=1)
    made = store(source)
    with pytest.raises(ConfigUnavailable) as caught:
        await made.load()
    with pytest.raises(ConfigUnavailable):
        await made.load()
    assert (source.asked, now()) == ([0], 1), "told at once, and nobody asked"
    source.says = document("7")
    await asyncio.sleep(caught.value.retry_after)
    trying = asyncio.create_task(made.load())
    await asyncio.sleep(0.5)
    before = now()
    with pytest.raises(ConfigUnavailable):
        await made.load()
    assert now() == before
    assert (await trying).version == "7"
    assert len(source.asked) == 2


@pytest.mark.parametrize("seed", range(5))
async def test_until_the_first_document_it_is_tried_again_every_one_to_five_seconds(seed):
    source = Service(DOWN)
    made = store(source, seed=seed)
    made.open()
    await until(600)
    gaps = [after - before for before, after in pairwise(source.asked)]
    assert 1 <= min(gaps) < max(gaps) <= 4
    source.says = document("7")
    await until(605)
    assert version(made) == "7"
    await made.close()


async def test_a_source_that_hangs_has_its_time_and_no_more():
    source = Service(document("7"), after=math.inf)
    made = store(feed(source, timeout=2.5))
    with pytest.raises(ConfigUnavailable):
        await made.load()
    assert (now(), made.state.last_error) == (2.5, "service: no answer within 2.5 s")


# renewal


@pytest.mark.parametrize("seed", range(8))
async def test_a_document_is_renewed_before_it_expires_and_nobody_waits(seed):
    source = Service(document("1"))
    made = store(source, seed=seed)
    made.open()
    await made.load()
    source.says, source.after = document("2"), 4
    while len(source.asked) < 2:  # noqa: ASYNC110  # virtual time: it jumps
        await asyncio.sleep(1)
    assert 0.8 * TTL <= source.asked[1] <= 0.95 * TTL
    before = now()
    assert ((await made.load()).version, now()) == ("1", before), "the old one serves meanwhile"
    await asyncio.sleep(4)
    assert (await made.load()).version == "2"
    await made.close()


async def test_replicas_that_start_together_do_not_ask_together():
    source = Service(document("1"))
    stores = [store(source, seed=seed) for seed in range(20)]
    for made in stores:
        made.open()
    await until(TTL)
    renewed = source.asked[20:]
    assert len(renewed) == 20
    assert max(renewed) - min(renewed) > 0.1 * TTL
    for made in stores:
        await made.close()


async def test_without_a_lifespan_a_request_begins_what_is_due_once_and_waits_for_nothing():
    source = Service(document("1"))
    made = store(source)
    await made.load()
    made.tend()
    await until(0.79 * TTL)
    made.tend()
    await asyncio.sleep(0)
    assert source.asked == [0]
    await until(0.96 * TTL)
    source.says, source.after = document("2"), 1
    for _ in range(50):
        made.tend()
    assert (version(made), now()) == ("1", 0.96 * TTL)
    await asyncio.sleep(2)
    assert (version(made), len(source.asked)) == ("2", 2)


async def test_an_hour_without_the_service_is_served_from_the_last_good_document(caplog):
    source = Service(document("7"))
    made = store(feed(source, ttl=60))
    made.open()
    kept = await made.load()
    source.says = DOWN
    await until(3600)
    assert await made.load() is kept
    assert (made.state.version, made.state.age_seconds) == ("7", 3600)
    assert made.state.last_error == "service: Connection refused"
    tried = source.asked[1:]
    gaps = [after - before for before, after in pairwise(tried)]
    assert 2 <= gaps[0] <= 8
    assert gaps[4:] == pytest.approx([60] * (len(tried) - 5)), "never longer"
    assert warnings(caplog) == ["tier configuration: service: Connection refused"], "told once"
    source.says = document("8")
    await until(3660)
    assert (version(made), made.state.last_error) == ("8", None)
    assert made.state.age_seconds <= 60
    await made.close()


async def test_after_an_outage_the_pauses_begin_anew():
    source = Service(document("7"))
    made = store(source)
    made.open()
    await made.load()
    for _ in range(2):
        source.says, begun = DOWN, now()
        await until(begun + TTL)
        tried = [at for at in source.asked if at > begun]
        assert tried[1] - tried[0] <= 8
        source.says = document("8")
        await asyncio.sleep(60)
    await made.close()


async def test_a_bug_in_a_source_ends_nothing_and_stands_in_the_log(caplog):
    source = Service(document("7"))
    made = store(source)
    made.open()
    kept = await made.load()
    source.says = ZeroDivisionError("of theirs")
    await until(TTL)
    assert made.snapshot is kept
    assert made.state.last_error == "an internal error; the log has the details"
    assert "ZeroDivisionError: of theirs" in caplog.text
    source.says = document("8")
    await until(TTL + 60)
    assert version(made) == "8"
    await made.close()


async def test_a_document_with_nothing_to_use_is_refused_and_the_old_one_stays():
    source = Service(document("7"))
    made = store(source)
    made.open()
    kept = await made.load()
    source.says = document("8", provider="nobody")
    await until(TTL)
    assert made.snapshot is kept
    assert made.state.version == "7"
    assert made.state.last_error == (
        "service: no entry of the document (version 8) is usable:"
        " simple nobody/m: the provider is not in [providers]"
    )
    source.says = document("9")
    await until(TTL + 60)
    assert (version(made), made.state.last_error) == ("9", None)
    await made.close()


async def test_what_is_skipped_is_told_once_and_shown_as_long_as_it_is_so(caplog):
    prices = {"inputPricePerMillion": 1, "outputPricePerMillion": 1}
    listed = [
        {"provider": "p1", "model": "good", **prices},
        {"provider": "p1", "model": "dear", "relativeCost": 300, **prices},
        {"provider": "p9", "model": "lost", **prices},
    ]
    said = parse_document({"version": "1", "tiers": {"simple": listed}}, fetched_at=0)
    source = Service(said)
    made = store(source)
    made.open()
    snapshot = await made.load()
    assert [candidate.model for candidate in snapshot.pools["simple"]] == ["good"]
    told = (
        "tiers.simple[1] (p1/dear): relativeCost: Expected `float` <= 10.0",
        "simple p9/lost: the provider is not in [providers]",
    )
    assert made.state.skipped == told
    assert made.state.last_error is None
    await until(4 * TTL)
    assert len(source.asked) > 4
    assert warnings(caplog) == [f"tier configuration: skipped {text}" for text in told]
    source.says = document("2")
    await until(6 * TTL)
    assert made.state.skipped == ()
    await made.close()


async def test_what_is_new_is_told_to_the_log_and_to_who_wants_to_know(caplog):
    seen: list[Snapshot] = []
    source = Service(document("1"))
    made = store(source, seen=seen)
    made.open()
    await until(TTL)
    source.says = document("2")
    with caplog.at_level(logging.INFO, "tiergate"):
        await until(4 * TTL)
    assert sorted({snapshot.version for snapshot in seen}) == ["1", "2"]
    assert seen[-1] is made.snapshot
    assert [each.getMessage() for each in caplog.records] == [
        "tier configuration: version 2 is live"
    ]
    await made.close()


# standby


async def test_the_tiers_of_the_file_serve_until_the_first_good_document():
    source = Service(DOWN)
    seen: list[Snapshot] = []
    made = store(feed(source, standby=document("inline", at=0)), seen=seen)
    assert (version(made), len(seen)) == ("inline", 1)
    made.open()
    await until(10)
    assert (await made.load()).version == "inline"
    assert (made.state.version, made.state.age_seconds) == ("inline", None)
    assert made.state.last_error == "service: Connection refused"
    source.says = document("7")
    await until(100)
    assert (version(made), made.state.last_error) == ("7", None)
    source.says = DOWN
    await until(4 * TTL)
    assert version(made) == "7", "and never come back"
    assert source.held[:2] == [None, None], "a standby is not the source's document"
    await made.close()


async def test_inline_tiers_need_no_source_and_do_not_age():
    fed = inline("inline")
    made = store(fed)
    made.open()
    made.tend()
    await until(100 * TTL)
    assert (await made.load()).version == "inline"
    assert made.state.age_seconds is None
    assert fed.source.asked == []
    await made.refresh()
    assert (version(made), made.state.age_seconds) == ("inline", None)
    await made.close()


# the cache


async def test_what_the_cache_holds_serves_without_a_fetch_and_is_as_old_as_it_is():
    cache, source = MemoryDocuments(), Service(document("8"))
    await cache.set("k", document("7", at=BEGUN - 1000), TTL)
    made = store(source, cache)
    made.open()
    assert (await made.load()).version == "7"
    assert (source.asked, made.state.age_seconds) == ([], 1000)
    await until(TTL - 1000)
    assert (version(made), len(source.asked)) == ("8", 1), "before the document in the cache ends"
    assert 0.8 * TTL - 1000 <= source.asked[0] <= 0.95 * TTL - 1000
    await made.close()


async def test_a_document_in_the_cache_that_has_expired_serves_while_it_is_renewed():
    cache, source = MemoryDocuments(), Service(document("8"), after=1)
    await cache.set("k", document("7", at=BEGUN - 10 * TTL), TTL)
    made = store(source, cache)
    made.open()
    assert ((await made.load()).version, now()) == ("7", 0)
    await until(2)
    assert (version(made), source.asked) == ("8", [0])
    await made.close()


async def test_two_replicas_on_one_cache_ask_once_and_the_other_adopts_what_is_newer():
    cache, source = MemoryDocuments(), Service(document("7"))
    one, other = store(source, cache, seed=1), store(source, cache, seed=2)
    one.open()
    await one.load()
    other.open()
    assert (await other.load()).version == "7"
    assert source.asked == [0]
    source.says = document("8")
    await until(TTL)
    assert (version(one), version(other), len(source.asked)) == ("8", "8", 2)
    await one.close()
    await other.close()


async def test_the_cache_gives_nothing_that_is_not_newer_than_what_is_held():
    cache, source = MemoryDocuments(), Service(document("8"))
    made = store(source, cache)
    made.open()
    await made.load()
    await cache.set("k", document("7", at=BEGUN), TTL)
    source.says = document("9")
    await until(TTL)
    assert version(made) == "9"
    await made.close()


async def test_a_document_in_the_cache_that_cannot_be_used_is_replaced():
    cache, source = MemoryDocuments(), Service(document("8"))
    await cache.set("k", document("7", provider="nobody"), TTL)
    made = store(source, cache)
    assert (await made.load()).version == "8"
    assert made.state.last_error is None
    kept = await cache.get("k")
    assert kept is not None
    assert kept.version == "8"


class Broken(MemoryDocuments):
    """A cache with a bug."""

    async def get(self, key: str) -> TierDocument | None:
        raise UnicodeDecodeError("utf-8", b"", 0, 1, key)

    async def set(self, key: str, document: TierDocument, ttl_seconds: float) -> None:
        raise OSError(key, document, ttl_seconds)


async def test_a_cache_that_raises_whatever_it_likes_stops_no_fetch_and_is_told_once(caplog):
    source = Service(document("8"))
    made = store(source, Broken())
    await made.load()
    source.says = document("9")
    await until(TTL + 1)
    made.tend()
    await asyncio.sleep(1)
    assert (version(made), made.state.last_error) == ("9", None)
    assert [each.message for each in caplog.records if each.levelno == logging.ERROR] == [
        "tier configuration: the cache cannot be used"
    ]


async def test_a_source_that_is_not_shared_neither_reads_nor_writes_the_cache():
    cache, source = MemoryDocuments(), MemorySource([document("mine")], shared=False)
    await cache.set("k", document("theirs", at=BEGUN + 1), TTL)
    made = store(source, cache)
    assert (await made.load()).version == "mine"
    kept = await cache.get("k")
    assert kept is not None
    assert kept.version == "theirs"


async def test_a_source_whose_documents_have_no_time_is_not_asked_without_end():
    source = MemorySource([document("7", at=0)])
    made = store(source)
    made.open()
    await until(TTL)
    assert source.fetched == 2
    await made.close()


# the held document


async def test_the_source_is_given_the_document_it_gave_last():
    source = Service(replace(document("7"), etag='"7"'))
    made = store(source)
    made.open()
    await until(TTL)
    first, second = source.held
    assert first is None
    assert second is not None
    assert (second.version, second.etag, second.fetched_at) == ("7", '"7"', BEGUN)
    assert (made.state.version, made.state.age_seconds) == (
        "7",
        pytest.approx(TTL - source.asked[1], abs=1e-3),
    )
    await made.close()


async def test_another_service_does_not_hear_what_the_old_one_called_its_document():
    source = Service(replace(document("7"), etag='"7"'))
    other = Service(document("7"), name="other")
    made = store(source)
    await made.load()
    await take(made, feed(other, key="other"))
    await made.refresh()
    assert [held and held.etag for held in other.held] == [None]


async def test_another_services_document_in_the_cache_is_not_read():
    cache, source = MemoryDocuments(), Service(document("7"))
    made = store(source, cache)
    await made.load()
    await take(made, feed(Service(document("8"), name="other"), key="other"))
    made.tend()
    await asyncio.sleep(1)
    assert version(made) == "8"


# a refresh by hand


async def test_a_refresh_asks_the_source_whatever_the_cache_holds():
    cache, source = MemoryDocuments(), Service(document("8"))
    await cache.set("k", document("7", at=BEGUN + 1), TTL)
    made = store(source, cache)
    await made.refresh()
    assert (version(made), source.asked) == ("8", [0])


async def test_a_refresh_during_a_flight_waits_for_it_and_asks_again():
    source = Service(document("7"), after=2)
    made = store(source)
    loading = asyncio.create_task(made.load())
    await until(1)
    source.says = document("8")  # what the flight under way says too, and the next has to confirm
    await made.refresh()
    await loading
    assert (source.asked, now(), version(made)) == ([0, 2], 4, "8")


async def test_refreshes_at_once_are_one_flight_at_a_time():
    source = Service(document("7"), after=1)
    made = store(source)
    await asyncio.gather(*(made.refresh() for _ in range(3)))
    assert source.asked == [0, 1, 2]


async def test_a_refresh_that_fails_says_why_and_changes_nothing():
    source = Service(document("7"))
    made = store(source)
    kept = await made.load()
    source.says = DOWN
    with pytest.raises(SourceError, match="service: Connection refused"):
        await made.refresh()
    assert made.snapshot is kept


async def test_a_refresh_that_failed_is_tried_again_before_the_document_is_due():
    source = Service(document("7"))
    made = store(source)
    made.open()
    await made.load()
    await until(100)
    source.says = DOWN
    with pytest.raises(SourceError):
        await made.refresh()
    source.says = document("8")
    await until(170)
    assert (version(made), made.state.last_error) == ("8", None)
    await made.close()


# another feed


async def test_the_same_source_under_another_configuration_serves_its_document_at_once():
    source = Service(document("7"))
    seen: list[Snapshot] = []
    made = store(source, seen=seen)
    await made.load()
    aliased = replace(CONFIG, routing=replace(CONFIG.routing, aliases={"gpt": "simple"}))
    await take(made, feed(source, aliased))
    assert made.snapshot is seen[-1]
    assert made.snapshot.alias("gpt") == "simple"
    assert source.asked == [0], "not asked again"


async def test_a_shorter_ttl_holds_for_the_document_that_is_held():
    source = Service(document("7"))
    made = store(source)
    made.open()
    await made.load()
    await until(10)
    await take(made, feed(source, ttl=60))
    await until(71)
    assert len(source.asked) == 2
    await made.close()


@pytest.mark.parametrize("opened", [True, False])
async def test_another_service_is_asked_at_once_and_the_old_document_serves_meanwhile(opened):
    made = store(Service(document("7")))
    if opened:
        made.open()
    kept = await made.load()
    other = Service(DOWN, name="other", after=1)
    await take(made, feed(other, key="other"))
    made.tend()
    await until(1.5)
    assert (other.asked, made.snapshot.version, kept.version) == ([0], "7", "7")
    assert (made.state.source, made.state.last_error) == ("other", "service: Connection refused")
    other.says = document("8")
    await until(20)
    made.tend()
    await until(22)
    assert version(made) == "8"
    await made.close()


async def test_tiers_written_into_the_file_take_the_place_of_a_services_and_back():
    source = Service(document("7"))
    made = store(source)
    made.open()
    await made.load()
    await take(made, inline("inline"))
    assert (made.state.source, version(made), made.state.age_seconds) == ("inline", "inline", None)
    await until(3 * TTL)
    assert source.asked == [0], "nobody asks a service that is not configured"
    await take(made, inline("edited"))
    assert version(made) == "edited"
    source.says = document("8")
    await take(made, feed(source))
    assert version(made) == "edited", "until the service has answered"
    await asyncio.sleep(1)
    assert (made.state.source, version(made)) == ("service", "8")
    held = [document.version for document in source.held if document is not None]
    assert held == ["7"], "the file's tiers were not the service's"
    await made.close()


async def test_tiers_that_were_written_into_the_file_are_no_document_of_another_service():
    made = store(Service(document("7")))
    await made.load()
    await take(made, inline("inline"))
    other = Service(document("8"), name="other")
    await take(made, feed(other, key="other"))
    await made.refresh()
    assert (version(made), other.held) == ("8", [None])


async def test_an_edited_standby_serves_until_the_service_has_answered_and_not_after():
    source = Service(DOWN)
    made = store(feed(source, standby=document("one")))
    await take(made, feed(source, standby=document("two")))
    assert version(made) == "two"
    source.says = document("7")
    await made.refresh()
    await take(made, feed(source, standby=document("three")))
    assert version(made) == "7"


async def test_the_first_feed_need_not_have_had_anything_to_serve():
    made = store(Service(DOWN))
    with pytest.raises(ConfigUnavailable):
        await made.load()
    other = Service(document("8"), name="other", after=1)
    await take(made, feed(other, key="other"))
    assert made.snapshot is None
    got = await asyncio.gather(*(made.load() for _ in range(50)))
    assert {each.version for each in got} == {"8"}, "the failures of the old one do not count"


@pytest.mark.parametrize(
    "bad",
    [
        feed(Service(DOWN), Config()),
        feed(Service(DOWN, name="other"), Config(), key="other"),
        inline("bad", provider="nobody"),
    ],
    ids=["same service", "other service", "inline"],
)
async def test_a_feed_that_could_serve_nothing_is_refused_and_changes_nothing(bad):
    source = Service(document("7"))
    made = store(source)
    made.open()
    kept = await made.load()
    before = made.state
    with pytest.raises(SourceError):
        await take(made, bad)
    assert (made.snapshot, made.state) == (kept, before)
    source.says = document("8")
    await until(TTL)
    assert version(made) == "8"
    await made.close()


async def test_a_source_that_hangs_is_tried_again_soon_after_it_was_given_up():
    source = Service(document("7"), after=60)
    made = store(source)
    made.open()
    await until(17)
    assert source.asked == pytest.approx([0, 5.2, 10.4, 15.6])  # the time limit is pause enough
    source.after = 0
    await until(22)
    assert version(made) == "7"
    await made.close()


async def test_providers_and_tiers_that_change_together_are_taken_together():
    source = Service(document("7"))
    made = store(source)
    await made.load()
    source.says = document("8", provider="p2")
    renamed = feed(source, Config(providers={"p2": Provider(base_url="http://p2.test/v1")}))
    await take(made, renamed)
    assert (version(made), source.held) == ("8", [None, None])  # nothing of the old one is used
    await made.refresh()
    assert source.held[2].version == "8"


@pytest.mark.parametrize("late", [document("late"), DOWN], ids=["a document", "a failure"])
async def test_what_the_old_source_says_after_its_time_is_not_heard(late):
    source, other = Service(document("7")), Service(document("8"), name="other")
    made = store(source)
    await made.load()
    source.says, source.after = late, 2
    flight = asyncio.create_task(made.refresh())
    await until(1)
    await take(made, feed(other, key="other"))
    await flight
    assert (version(made), made.state.last_error) == ("7", None)
    made.tend()
    await asyncio.sleep(0)
    await made.refresh()
    assert version(made) == "8"


# loops and ends


def test_a_loop_that_ends_in_the_middle_of_a_flight_does_not_spoil_the_next_one():
    source = Service(document("7"), after=10)
    clock = [0.0]
    made = Store(
        feed(source, timeout=100),
        MemoryDocuments(),
        clock=lambda: clock[0],
        wall=lambda: BEGUN,
        chance=random.Random(1),
        on_change=lambda _: None,
    )

    async def cut_off() -> None:
        made.open()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(made.load(), 1)

    async def served() -> str:
        made.open()
        loaded = await made.load()
        await made.close()
        return loaded.version

    for run, told in ((cut_off, None), (cut_off, None), (served, "7"), (served, "7")):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            assert runner.run(run()) == told
    assert len(source.asked) == 3, "twice cut off, once served, and then held"


def test_what_stopped_with_another_loop_is_neither_waited_for_nor_ended():
    source = Service(document("7"), after=math.inf)
    first = VirtualLoop()

    async def begin() -> Store:
        one = store(source)
        one.open()
        one.tend()
        return one

    async def serve_and_close() -> str:
        source.after = 0
        loaded = await made.load()
        await made.close()
        return loaded.version

    made = first.run_until_complete(begin())
    left = asyncio.all_tasks(first)  # the loop stands still, in the middle of a flight
    with asyncio.Runner(loop_factory=VirtualLoop) as second:
        assert second.run(serve_and_close()) == "7"
    assert len(left) == 2
    assert not any(task.cancelling() for task in left)
    for task in left:
        task.cancel()
    first.run_until_complete(asyncio.wait(left))
    first.close()


def test_closing_ends_nothing_in_another_loop():
    first = VirtualLoop()

    async def begin() -> Store:
        one = store(Service(document("7"), after=math.inf))
        one.open()
        one.tend()
        return one

    made = first.run_until_complete(begin())
    left = asyncio.all_tasks(first)
    with asyncio.Runner(loop_factory=VirtualLoop) as second:
        second.run(made.close())
    assert [task.cancelling() for task in left] == [0, 0]
    for task in left:
        task.cancel()
    first.run_until_complete(asyncio.wait(left))
    first.close()


async def test_closing_leaves_no_task_and_a_later_request_begins_again():
    source = Service(document("7"), after=1)
    made = store(source)
    made.open()
    waiting = asyncio.create_task(made.load())
    await until(0.5)
    await made.close()
    assert asyncio.all_tasks() - {waiting} == {asyncio.current_task()}
    with pytest.raises(ConfigUnavailable):
        await waiting
    await made.close()
    assert (await made.load()).version == "7"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_opening_twice_keeps_one_keeper():
    made = store(Service(document("7")))
    made.open()
    made.open()
    await until(1)
    assert len(asyncio.all_tasks()) == 2
    await made.close()


async def test_a_thousand_feeds_leave_one_keeper():
    source = Service(document("7"))
    made = store(source)
    made.open()
    await made.load()
    for number in range(1000):
        await take(made, inline(str(number)) if number % 2 else feed(source))
        await asyncio.sleep(0)
    await take(made, feed(source))
    await until(1)
    assert len(asyncio.all_tasks()) == 2
    await made.close()


async def test_a_store_tells_what_it_holds():
    made = store(Service(document("7")))
    assert repr(made) == "<Store service: nothing loaded>"
    nothing = made.state
    assert (nothing.source, nothing.version, nothing.updated_at) == ("service", None, None)
    assert (nothing.age_seconds, nothing.last_error, nothing.skipped) == (None, None, ())
    await made.load()
    assert repr(made) == "<Store service: 7>"


async def test_a_document_from_the_future_has_no_age_below_zero():
    cache = MemoryDocuments()
    await cache.set("k", replace(document("7", at=BEGUN + 500), updated_at="2026"), TTL)
    made = store(Service(DOWN), cache)
    await made.load()
    assert (made.state.age_seconds, made.state.updated_at) == (0, "2026")
