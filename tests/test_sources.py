"""Where the tiers come from: each source speaks Sentinel's document, whatever it read."""

import msgspec

from tiergate.loading import load_config
from tiergate.sources import InlineSource, TierDocument

SENTINELS = {
    "version": "7",
    "updatedAt": "2026-01-01T00:00:00Z",
    "tiers": {
        "simple": [
            {
                "provider": "p1",
                "model": "small-1",
                "relativeCost": 2.5,
                "inputPricePerMillion": 0.1,
                "outputPricePerMillion": 0.4,
                "cachedInputPricePerMillion": 0.05,
            }
        ],
        "moderate": [],
        "complex": [{"provider": "p1", "model": "big"}],
    },
}


async def test_the_inline_tiers_become_the_document_they_stand_for():
    config = load_config(
        {
            "providers": {"p1": {"base_url": "http://p1.test/v1"}},
            "tiers": {
                "simple": [
                    {
                        "provider": "p1",
                        "model": "small-1",
                        "relative_cost": 2.5,
                        "input_price_per_million": 0.1,
                        "output_price_per_million": 0.4,
                        "cached_input_price_per_million": 0.05,
                    }
                ],
                "moderate": [],
                "complex": [{"provider": "p1", "model": "big"}],
            },
        },
        environ={},
    )
    document = await InlineSource(config).fetch()
    assert document == msgspec.convert({**SENTINELS, "version": "inline"}, TierDocument)


def test_the_document_is_written_with_sentinels_names():
    document = msgspec.convert(SENTINELS, TierDocument)
    written = msgspec.to_builtins(document)
    assert list(written["tiers"]["simple"]) == SENTINELS["tiers"]["simple"]
    assert document.tiers["complex"][0].relative_cost == 1
    assert document.tiers["complex"][0].input_price_per_million is None
