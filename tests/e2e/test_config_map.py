"""Files that Kubernetes replaces under a running process, as it does: all at once, by one link.

The promise: what an operator writes is live within five seconds and no request notices; what is
wrong is refused by name and the old one stays.
"""

import asyncio
import json
from time import monotonic

import pytest
from e2e.config_map import ConfigMap
from e2e.load import percentile, told, traffic
from e2e.replicas import eventually, inline, replica, says, started
from e2e.support import completing, error_of, recording
from e2e.tier_service import document, entry, small

from tiergate_sidecar.rawhttp import RawServer

RATE = 200
LIVE_WITHIN = 5


def weighted(version, first, second):
    """A document in which `small-VERSION` is p1's and p2's, at these costs."""
    model = f"small-{version}"
    return document(version, simple=[entry(model, "p1", first), entry(model, "p2", second)])


def share(got, provider):
    return sum(each.provider == provider for each in got) / len(got)


@pytest.mark.parametrize("kind", ["the configuration", "the file of the tiers"])
async def test_a_swapped_config_map_is_live_within_five_seconds_and_nobody_notices(tmp_path, kind):
    gate = asyncio.Event()

    async def slow(call):
        await gate.wait()
        await completing()(call)

    async with (
        RawServer(completing()) as first,
        RawServer(completing()) as second,
        recording(slow) as third,
    ):
        both = {"p1": f"{first.url}/v1", "p2": f"{second.url}/v1"}
        if kind == "the configuration":
            # The provider of the slow request is gone with the swap, and its pool with it.
            old, new = inline("1", 1, 1, **both, old=third.base_url), inline("2", 1, 4, **both)
            old["tiers"]["complex"] = [{"provider": "old", "model": "slow", "relative_cost": 1}]
            mounted = ConfigMap(tmp_path / "mount", config=json.dumps(old))
            file, swap = mounted.path("config"), {"config": json.dumps(new)}
        else:
            old, new = weighted("1", 1, 1), weighted("2", 1, 4)
            old["data"]["tiers"]["complex"] = [entry("slow", "old")]
            mounted = ConfigMap(tmp_path / "mount", tiers=json.dumps(old))
            config = inline("0", **both, old=third.base_url)
            config["tier_config"] = {"source": "file", "file": str(mounted.path("tiers"))}
            del config["tiers"]
            file, swap = tmp_path / "config.json", {"tiers": json.dumps(new)}
            file.write_text(json.dumps(config))
        async with started(file) as one:
            waiting = asyncio.create_task(one.ask(tier="complex"))
            await third.calls()
            async with traffic(one.client, RATE, lambda _: {"tier": "simple"}) as got:
                await asyncio.sleep(1.5)
                swapped = monotonic()
                mounted.swap(**swap)
                took = await eventually(says(one, "small-2"), within=LIVE_WITHIN)
                await asyncio.sleep(2)
            assert not waiting.done()
            gate.set()
            late = await waiting
            assert (late.status, late.served_by) == (200, ("old", "slow"))
            gone = await one.ask(tier="complex")
            assert error_of(gone.body)["code"] == "tier_not_configured"
    before = [each for each in got if each.model == "small-1"]
    after = [each for each in got if each.model == "small-2"]
    print(  # noqa: T201  # what `pytest -rP` shows
        f"{kind}: live after {took:.2f} s; {told(got)}; share of p2 {share(before, 'p2'):.2f},"
        f" then {share(after, 'p2'):.2f}"
    )
    assert len(before) + len(after) == len(got) > RATE * 3
    assert {each.status for each in got} == {200}
    assert percentile(got, 1) < 0.5
    assert 0.35 < share(before, "p2") < 0.65  # 0.5 of 300: five times its deviation
    assert 0.1 < share(after, "p2") < 0.3  # 0.2 of 400
    assert all(each.due <= swapped + took + 0.1 for each in before)


@pytest.mark.parametrize(
    ("kind", "broken", "named"),
    [
        ("config", '{"providers": {', "config.json"),
        ("config", json.dumps(inline("2", 1) | {"retry": {"retires": 1}}), "retry.retires"),
        ("tiers", '{"success": tr', "tiers.json"),
        ("tiers", json.dumps(document("2", simple=[entry("m", "nobody")])), "nobody"),
    ],
    ids=["not JSON", "unknown key", "tiers not JSON", "nothing usable"],
)
async def test_a_swap_to_a_broken_file_changes_nothing_and_is_named(tmp_path, kind, broken, named):
    async with RawServer(completing()) as provider:
        config, tiers = inline("1", 1, p1=f"{provider.url}/v1"), small("1")
        better = inline("3", 1, p1=f"{provider.url}/v1"), small("3")
        if kind == "tiers":
            for each in (config, better[0]):
                del each["tiers"]
                each["tier_config"] = {"source": "file", "file": str(tmp_path / "m" / "tiers.json")}
        texts = {"config": json.dumps(config), "tiers": json.dumps(tiers)}
        mounted = ConfigMap(tmp_path / "m", **texts)
        async with started(mounted.path("config")) as one:
            async with traffic(one.client, 50, lambda _: {"tier": "simple"}) as got:
                before = await one.configuration()
                mounted.swap(**{**texts, kind: broken})

                async def noticed():
                    return (await one.configuration())["last_error"]

                await eventually(noticed, within=LIVE_WITHIN)
                said = await one.configuration()
                assert named in said["last_error"]
                assert said["version"] == before["version"]
                assert await one.ready() == 200
            assert {(each.status, each.model) for each in got} == {(200, "small-1")}
            mounted.swap(config=json.dumps(better[0]), tiers=json.dumps(better[1]))
            await eventually(says(one, "small-3"), within=LIVE_WITHIN)
            assert await noticed() is None


async def test_a_new_key_is_used_within_five_seconds_of_being_mounted(tmp_path):
    async with recording(completing()) as provider:
        secret = ConfigMap(tmp_path / "secret", **{"key.txt": "sk-old\n"})
        config = inline("1", 1, p1=provider.base_url)
        config["providers"]["p1"]["api_key_file"] = str(secret.path("key.txt"))
        async with replica(config, tmp_path) as one:

            async def sent(key):
                got = await one.ask()
                assert got.status == 200
                return provider.received[-1].header("authorization") == f"Bearer {key}"

            assert await sent("sk-old")
            secret.swap(**{"key.txt": "sk-new\n"})
            took = await eventually(lambda: sent("sk-new"), within=LIVE_WITHIN)
            print(f"new key after {took:.2f} s")  # noqa: T201
            secret.swap(**{"key.txt": "\n"})

            async def noticed():
                return (await one.configuration())["last_error"]

            await eventually(noticed, within=LIVE_WITHIN)
            assert "p1" in await noticed()
            assert await sent("sk-new")
            assert await one.ready() == 200
            everything = json.dumps(await one.health())
            assert "sk-" not in everything
