"""Where the tiers come from: inline and files speak Sentinel's document, whatever they were.

The service is met in `test_http_source`, over real sockets.
"""

import json
from typing import Any

import pytest

from tiergate.config import Config
from tiergate.document import DocumentEntry, SourceError, TierDocument, parse_document
from tiergate.loading import load_config
from tiergate.routing_config import TierEntry
from tiergate.sources import MAX_DOCUMENT_BYTES, FileSource, HttpSource, InlineSource

PRICES = {"inputPricePerMillion": 0.1, "outputPricePerMillion": 0.4}
SENTINELS: dict[str, Any] = {
    "version": "7",
    "tiers": {
        "simple": [
            {
                "provider": "p1",
                "model": "small-1",
                "relativeCost": 2.5,
                "cachedInputPricePerMillion": 0.05,
                **PRICES,
            }
        ],
        "moderate": [],
        "complex": [{"provider": "p1", "model": "big", **PRICES}],
    },
}
TOML = """
version = "7"
[[tiers.simple]]
provider = "p1"
model = "small-1"
relativeCost = 2.5
inputPricePerMillion = 0.1
outputPricePerMillion = 0.4
cachedInputPricePerMillion = 0.05
[[tiers.complex]]
provider = "p1"
model = "big"
inputPricePerMillion = 0.1
outputPricePerMillion = 0.4
"""


def document(fetched_at: float, version: str = "7") -> TierDocument:
    return parse_document({**SENTINELS, "version": version}, fetched_at=fetched_at)


async def test_the_inline_tiers_become_the_document_they_stand_for():
    prices = {"input_price_per_million": 0.1, "output_price_per_million": 0.4}
    small = {"relative_cost": 2.5, "cached_input_price_per_million": 0.05, **prices}
    config = load_config(
        {
            "providers": {"p1": {"base_url": "http://p1.test/v1"}},
            "tiers": {
                "simple": [{"provider": "p1", "model": "small-1", **small}],
                "moderate": [],
                "complex": [{"provider": "p1", "model": "big", **prices}],
            },
        },
        environ={},
    )
    source = InlineSource(config)
    assert await source.fetch(None) == source.document == document(0, "inline")
    assert (source.name, source.shared) == ("inline", False)


async def test_whatever_an_inline_entry_says_is_in_its_document():
    said = {
        "relative_cost": 2.5,
        "input_price_per_million": 0.1,
        "output_price_per_million": 0.4,
        "cached_input_price_per_million": 0.05,
        "context_window": 8000,
        "supports": ("tools",),
        "rename": {"max_tokens": "max_completion_tokens"},
        "drop": ("temperature",),
        "set": {"reasoning_effort": "low"},
    }
    entry = TierEntry(provider="p1", model="m", **said)
    assert said.keys() | {"provider", "model"} == set(TierEntry.__struct_fields__)
    (kept,) = InlineSource(Config(tiers={"simple": (entry,)})).document.tiers["simple"]
    assert kept == DocumentEntry("p1", "m", **said)


async def test_inline_tiers_need_no_prices():
    config = load_config(
        {
            "providers": {"p1": {"base_url": "http://p1.test/v1"}},
            "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
        },
        environ={},
    )
    ((entry,),) = InlineSource(config).document.tiers.values()
    assert (entry.relative_cost, entry.input_price_per_million) == (1, None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tiers.json", json.dumps(SENTINELS)),
        ("tiers.json", json.dumps({"success": True, "data": SENTINELS})),
        ("tiers.yaml", json.dumps(SENTINELS)),
        ("tiers.toml", TOML),
    ],
)
async def test_a_file_is_read_by_its_extension_each_time_it_is_asked(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    times = iter([1000.5, 1001.5])
    source = FileSource(str(file), wall=lambda: next(times))
    assert (source.name, source.shared) == (f"file {file}", False)
    held = await source.fetch(None)
    assert held == document(1000.5)
    file.write_text(text.replace("7", "8", 1))
    assert await source.fetch(held) == document(1001.5, "8")


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.json", None, "tier_config.file: cannot read {file}: No such file or directory"),
        ("a.json", b"\xff", "tier_config.file: cannot read {file}: not UTF-8"),
        ("a.json", b"{", "{file}: Expecting property name"),
        ("a.json", b"[1]", "{file}: must hold tables of settings, not a list"),
        ("a.json", b"[" * 100_000, "{file}: maximum recursion depth exceeded"),
        ("a.txt", b"{}", "{file}: the name must end in .toml, .yaml, .yml, .json"),
        ("a.yaml", b"", "the document has no 'tiers'"),
        ("a.json", b'{"success": false}', "the service says success: false"),
    ],
)
async def test_a_file_that_holds_no_document_is_refused_with_the_reason(
    tmp_path, name, content, text
):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        await FileSource(str(file), wall=lambda: 0).fetch(None)
    assert str(caught.value).startswith(text.format(file=file))


async def test_a_file_that_is_no_list_of_tiers_by_its_size_is_not_parsed(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("#" * (MAX_DOCUMENT_BYTES + 1))
    with pytest.raises(SourceError, match=f"over {MAX_DOCUMENT_BYTES} bytes"):
        await FileSource(str(file), wall=lambda: 0).fetch(None)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://c.test", "https://c.test/api/v1/tiers/config"),
        ("https://c.test:8443/", "https://c.test:8443/api/v1/tiers/config"),
        ("http://c.test/?env=a", "http://c.test/api/v1/tiers/config?env=a"),
        ("http://c.test/tiers?env=a%20b", "http://c.test/tiers?env=a%20b"),
        ("http://[::1]:8000/t/", "http://[::1]:8000/t/"),
    ],
)
def test_an_address_without_a_path_gets_the_seeds(url, asked):
    source = HttpSource(url, "zion", wall=lambda: 0)
    assert source.url == asked
    assert source.name == asked.partition("?")[0]
    assert source.shared


def test_a_service_is_shown_without_its_key_and_query():
    source = HttpSource("http://c.test/tiers?token=secret", "zion", wall=lambda: 0)
    assert repr(source) == "<HttpSource http://c.test/tiers>"
