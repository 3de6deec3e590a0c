"""The life of a pod with an injected sidecar, from its first container to its last.

The promise: the app starts when its models answer and not before, and whatever it asks for until
its own end is answered, in either mode; a Job ends. The processes and signals are real, the rules
by which they come are kubelet's (`pod`).
"""

import asyncio
import json
import re

from e2e.injected import (
    GRACE_SECONDS,
    SHIPPED,
    TIERED,
    app_pod,
    asked_for,
    asking,
    injected,
    placed,
    speaking,
)
from e2e.pod import COMMAND
from e2e.replicas import eventually
from e2e.support import connected, recording
from e2e.tier_service import KEY, KEY_NAME, TierService, document, entry

DRAIN_SECONDS = 2  # in place of the container's 10


async def refuses(url):
    """Once nobody listens there any more."""

    async def refused():
        try:
            async with connected(url):
                return False
        except ConnectionResetError:
            return False  # it stood in the queue of a socket that is closing
        except ConnectionRefusedError:
            return True

    await eventually(refused, within=10)


async def begin(pod, *prompts):
    """Requests to the app for a model of a tier and for one that is passed on, once they stream."""
    begun = [asyncio.Event(), asyncio.Event()]
    asked = [
        asyncio.create_task(asking(pod, model, *prompts, begun=each))
        for model, each in zip(("gpt-4o", "o3"), begun, strict=True)
    ]
    async with asyncio.timeout(10):
        for each in begun:
            await each.wait()
    return asked


def heard(*prompts):
    """What `begin` brings when nothing is lost."""
    return [[f"{model} heard {each}" for each in prompts] for model in ("gpt-5-mini", "o3")]


def logged(pod):
    """The outcomes in the sidecar's request log: of the tiers' requests, not of what it passes."""
    return [json.loads(line)["outcome"] for line in pod["tiergate"].out.splitlines()]


def with_tiers_of(service):
    """The shipped configuration, whose tiers somebody else has."""
    table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in service.source.items())
    return f'{SHIPPED}\n[routing.aliases]\n"gpt-4o*" = "moderate"\n[tier_config]\n{table}\n'


# --- the beginning


async def test_the_app_is_held_back_until_the_sidecar_is_ready_and_its_first_call_succeeds(
    tmp_path,
):
    health = (*COMMAND, "health")
    tiers = document("1", moderate=[entry("gpt-5-mini", "openai")])
    async with recording(speaking()) as provider, TierService(tiers) as service:
        service.fault = "500"
        config = with_tiers_of(service)
        pod = injected(app_pod("once", "gpt-4o", secret="keys"), config)
        async with placed(pod, tmp_path, provider, config, keys={KEY_NAME: KEY}) as one:
            starting = asyncio.create_task(one.start())

            async def kept_waiting():
                return 503 in one["tiergate"].probed

            await eventually(kept_waiting, within=20)
            code, said = await one.run("tiergate", *health, "--ready")
            assert (code, "503" in said) == (1, True), said
            code, said = await one.run("tiergate", *health)
            assert code == 0, said
            assert set(one["tiergate"].probed) <= {0, 503}
            assert one.told == ["tiergate started"]

            service.fault = None
            await starting
            assert one["tiergate"].probed[-1] == 200
            code, said = await one.run("tiergate", *health, "--ready")
            assert code == 0, said
            assert await one.completed() == [0]
            assert one["app"].out == "gpt-5-mini heard hello\n"
            assert one.told[:2] == ["tiergate started", "app started"]
        assert len(provider.received) == 1


async def test_a_pod_that_is_deleted_before_it_was_ready_ends_at_once(tmp_path):
    async with recording(speaking()) as provider, TierService(document("1")) as service:
        service.fault = "hang"
        config = with_tiers_of(service)
        pod = injected(app_pod("once", "gpt-4o", secret="keys"), config)
        async with placed(pod, tmp_path, provider, config, keys={KEY_NAME: KEY}) as one:
            starting = asyncio.create_task(one.start())

            async def asked():
                return service.received

            await eventually(asked, within=20)
            starting.cancel()
            await asyncio.wait([starting])
            assert await one.end() < 5
            assert one.told == ["tiergate started", "tiergate SIGTERM", "tiergate exited 0"]


# --- the end


async def test_a_native_sidecar_ends_after_the_app_and_nothing_is_lost(tmp_path):
    gate = asyncio.Event()
    pod = injected(app_pod("serve", "8000"), TIERED)
    async with (
        recording(speaking(held=gate)) as provider,
        placed(pod, tmp_path, provider, TIERED) as one,
    ):
        await one.start()
        asked = await begin(one, "held", "late")
        ending = asyncio.create_task(one.end())
        await refuses(one.url(8000))
        gate.set()
        assert await asyncio.gather(*asked) == heard("held", "late")
        assert await ending < GRACE_SECONDS
        assert one.told == [
            *("tiergate started", "app started"),
            *("app SIGTERM", "app exited 0", "tiergate SIGTERM", "tiergate exited 0"),
        ]
        assert logged(one) == ["ok"] * 2
        assert len(provider.received) == 4


def shortened(pod):
    """A classic pod whose preStop waits for a shorter time: the number is the only change."""
    container = pod["spec"]["containers"][-1]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    (seconds,) = re.findall(r"\d+", command[-1])
    command[-1] = command[-1].replace(seconds, str(DRAIN_SECONDS))
    env = {each["name"]: each["value"] for each in container["env"]}
    assert int(seconds) + int(env["TIERGATE_SERVER__GRACE_SECONDS"]) < GRACE_SECONDS
    return pod


async def test_a_classic_sidecar_outlives_the_app_by_its_pre_stop_and_nothing_is_lost(tmp_path):
    gates = {"held": asyncio.Event(), "long": asyncio.Event()}
    pod = shortened(injected(app_pod("serve", "8000", mode="classic"), TIERED))
    async with (
        recording(speaking(**gates)) as provider,
        placed(pod, tmp_path, provider, TIERED) as one,
    ):
        await one.start()
        asked, longer = await begin(one, "held", "late"), await begin(one, "long")
        ending = asyncio.create_task(one.end())
        await refuses(one.url(8000))
        gates["held"].set()
        assert await asyncio.gather(*asked) == heard("held", "late")
        assert one.told[2:] == ["app SIGTERM"]
        await refuses(one.url(4190))  # what still runs has the sidecar's own grace
        gates["long"].set()
        assert await asyncio.gather(*longer) == heard("long")
        assert DRAIN_SECONDS <= await ending < GRACE_SECONDS
        assert one.told[:5] == [
            *("app started", "tiergate started"),
            *("app SIGTERM", "tiergate preStop over", "tiergate SIGTERM"),
        ]
        assert sorted(one.told[5:]) == ["app exited 0", "tiergate exited 0"]
        assert logged(one) == ["ok"] * 3
        assert len(provider.received) == 6


async def test_without_its_pre_stop_a_classic_sidecar_loses_the_apps_last_calls(tmp_path):
    """What the tests above show is not so by itself: here the same requests fail."""
    gate = asyncio.Event()
    pod = injected(app_pod("serve", "8000", mode="classic"), TIERED)
    del pod["spec"]["containers"][-1]["lifecycle"]
    async with (
        recording(speaking(held=gate)) as provider,
        placed(pod, tmp_path, provider, TIERED) as one,
    ):
        await one.start()
        asked = await begin(one, "held", "late")
        ending = asyncio.create_task(one.end())
        await refuses(one.url(8000))
        await refuses(one.url(4190))
        gate.set()
        lost = " lost: APIConnectionError"
        assert await asyncio.gather(*asked) == [[*held, lost] for held in heard("held")]
        await ending
        assert len(provider.received) == 2


async def test_a_job_completes_and_its_sidecar_ends_in_order(tmp_path):
    pod = injected(app_pod("once", "gpt-4o", owner="Job"))
    async with recording(speaking()) as provider, placed(pod, tmp_path, provider) as one:
        await one.start()
        async with asyncio.timeout(10):
            assert await one.completed() == [0]
        assert one["app"].out == "gpt-4o heard hello\n"
        assert one.told[2:] == ["app exited 0", "tiergate SIGTERM", "tiergate exited 0"]


def test_a_classic_sidecar_in_a_job_is_refused_because_the_job_would_never_end():
    injection = asked_for(app_pod("once", "gpt-4o", owner="Job", mode="classic"))
    assert (injection.reason, injection.refused) == ("job_needs_native", True)
    assert injection.patch == ()
