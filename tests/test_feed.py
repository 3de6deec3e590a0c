"""A feed: which source a configuration describes, and a question to it that always ends."""

import asyncio
import math
import os
import threading

import pytest

from tiergate.aside import Aside
from tiergate.config import Config, Provider, TierConfig
from tiergate.document import DocumentEntry, SourceError, TierDocument
from tiergate.feed import cache_key, feed_of
from tiergate.routing_config import TierEntry
from tiergate.testing import MemorySource

PROVIDERS = {"p1": Provider(base_url="http://p1.test/v1")}
TIERS = {"simple": (TierEntry(provider="p1", model="m"),)}
HTTP = TierConfig(source="http", url="http://c/tiers", ttl_seconds=60, timeout_seconds=2)


def feed(aside=None, **tables):
    config = Config(providers=PROVIDERS, **tables)
    return feed_of(config, "key", key_prefix="s:", wall=lambda: 7.0, aside=aside)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (TierConfig(), "sentinel:tiers:config"),
        (TierConfig(source="file", file="a.json"), "sentinel:tiers:config"),
        (HTTP, "sentinel:tiers:config:bf09d80698696cd7"),
    ],
)
def test_the_key_of_a_services_document_is_tied_to_its_address(settings, key):
    assert cache_key("sentinel:", settings) == key


@pytest.mark.parametrize(
    ("tables", "name", "ttl", "standby"),
    [
        ({"tiers": TIERS}, "inline", math.inf, "inline"),
        ({"tier_config": HTTP}, "http://c/tiers", 60, None),
        ({"tier_config": HTTP, "tiers": TIERS}, "http://c/tiers", 60, "inline"),
        ({"tier_config": TierConfig(source="file", file="a.json")}, "file a.json", 1800, None),
    ],
)
def test_a_configuration_says_where_its_tiers_come_from(tables, name, ttl, standby):
    made = feed(**tables)
    assert (made.source.name, made.ttl) == (name, ttl)
    assert (made.standby and made.standby.version) == standby


def asking(says, **source):
    return feed(tier_config=HTTP).__class__(
        source=MemorySource([says], **source),
        standby=None,
        compile=feed(tier_config=HTTP).compile,
        key="k",
        ttl=60,
        timeout=2,
    )


async def test_a_document_comes_compiled():
    says = TierDocument("7", {"simple": (DocumentEntry("p1", "m"),)})
    document, snapshot = await asking(says).fetch(None)
    assert (document, snapshot.version, len(snapshot.pools["simple"])) == (says, "7", 1)


async def test_a_source_that_is_silent_is_given_up_after_its_time():
    with pytest.raises(SourceError, match="memory: no answer within 2 s"):
        await asking(TierDocument("7"), after=3).fetch(None)
    assert asyncio.get_running_loop().time() == 2


def test_a_file_on_a_disk_that_does_not_answer_is_given_up_and_holds_up_neither_loop_nor_others(
    tmp_path,
):
    file, aside = tmp_path / "tiers.json", Aside("tiergate-test")
    os.mkfifo(file)  # nobody writes: opening it does not return
    settings = TierConfig(source="file", file=str(file), timeout_seconds=0.05)
    made, beside = feed(tier_config=settings, aside=aside), []

    async def ask() -> str:
        asyncio.get_running_loop().call_soon(beside.append, 1)
        with pytest.raises(SourceError) as caught:
            await made.fetch(None)
        return str(caught.value)

    assert asyncio.run(ask()) == f"file {file}: no answer within 0.05 s"
    assert beside == [1]
    assert asyncio.run(ask()) == f"file {file}: earlier calls have not returned: 1"
    hung = [each for each in threading.enumerate() if each.name == "tiergate-test"]
    assert len(hung) == 1
    file.write_bytes(b"{")
    hung[0].join(10)
    file.unlink()
    assert "cannot read" in asyncio.run(ask())


async def test_a_document_that_nobody_can_use_is_refused_in_the_name_of_its_source():
    with pytest.raises(SourceError, match="memory: no entry of the document"):
        await asking(TierDocument("7")).fetch(None)
