"""The operators' pages: alive while the process runs, ready only while it
should be sent requests."""

import httpx
import pytest

from tiergate import Gateway
from tiergate_sidecar.admin import Life, Phase, health_app

CONFIG = {
    "providers": {"p1": {"base_url": "http://p1/v1"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
}


async def health(page, phase, *, loaded=True):
    life, gateway = Life(), Gateway(CONFIG, environ={})
    life.phase = phase
    if loaded:
        await gateway.open()
    over = httpx.ASGITransport(health_app(gateway, life))
    async with httpx.AsyncClient(transport=over, base_url="http://admin") as client:
        answer = await client.get(f"/health/{page}")
    return answer.status_code, answer.json()["status"]


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase.STARTING, (503, "starting")),
        (Phase.SERVING, (200, "ok")),
        (Phase.DRAINING, (503, "draining")),
    ],
)
async def test_ready_is_only_said_while_serving(phase, expected):
    assert await health("ready", phase) == expected


async def test_without_a_usable_configuration_nothing_is_ready():
    assert await health("ready", Phase.SERVING, loaded=False) == (503, "no usable configuration")


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("loaded", [True, False])
async def test_alive_is_said_always(phase, loaded):
    assert await health("live", phase, loaded=loaded) == (200, "ok")


def test_a_life_begins_with_starting():
    assert repr(Life()) == "<Life starting>"
