"""An app's pod as `inject` makes it, with the configuration that we ship and a provider that talks.

What these pods go through is the tests' own; how a pod runs is `pod`'s.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonpatch
from e2e.config_map import ConfigMap
from e2e.pod import Pod, scheduled
from e2e.support import DONE, Handler, Upstream, event

from tiergate_sidecar.injection import Injection, Injector, inject
from tiergate_sidecar.labels import CONFIG_KEY, INJECT
from tiergate_sidecar.rawhttp import Call

SHIPPED = (Path(__file__).parents[2] / "k8s" / "base" / CONFIG_KEY).read_text(encoding="utf-8")

_ABOVE, _, _EXAMPLE = SHIPPED.partition("\n#\n")
TIERED = f"{_ABOVE}\n" + re.sub(r"(?m)^# ?", "", _EXAMPLE)
"""The shipped file with its own example switched on: `gpt-4o*` is served by gpt-5-mini."""

GRACE_SECONDS = 30


def app_pod(
    *arguments: str, owner: str = "", env: dict[str, str] | None = None, **annotations: str
) -> dict[str, Any]:
    """A pod of `example_app` that asks for a sidecar; annotations without `tiergate.io/`."""
    container: dict[str, Any] = {"name": "app", "image": "example-app:1.0", "args": [*arguments]}
    if env:
        container["env"] = [{"name": name, "value": value} for name, value in env.items()]
    if arguments[0] == "serve":
        probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1, "failureThreshold": 30}
        container |= {"ports": [{"containerPort": 8000}], "startupProbe": probe}
    metadata: dict[str, Any] = {"name": "app", "labels": {INJECT: "enabled"}}
    if annotations:
        metadata["annotations"] = {f"tiergate.io/{name}": it for name, it in annotations.items()}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner, "name": "one", "controller": True}]
    spec = {"containers": [container], "terminationGracePeriodSeconds": GRACE_SECONDS}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def asked_for(pod: dict[str, Any], config: str = SHIPPED) -> Injection:
    return inject(
        pod,
        namespace_labels={},
        settings=Injector(image="tiergate:0.1.0"),
        read_config=lambda name: config,
    )


def injected(pod: dict[str, Any], config: str = SHIPPED) -> dict[str, Any]:
    injection = asked_for(pod, config)
    assert (injection.reason, injection.warnings) == ("injected", ())
    changed: dict[str, Any] = jsonpatch.apply_patch(pod, [*injection.patch])
    return changed


@asynccontextmanager
async def placed(
    pod: dict[str, Any],
    folder: Path,
    provider: Upstream,
    config: str = SHIPPED,
    **secrets: dict[str, str],
) -> AsyncIterator[Pod]:
    """The pod beside its ConfigMap and Secrets; whoever asks for OpenAI there comes to `provider`.

    So the file stays as it is, but for this one variable.
    """
    maps = {"tiergate": ConfigMap(folder / "config", **{CONFIG_KEY: config})}
    openai = {"TIERGATE_PROVIDERS__OPENAI__BASE_URL": provider.base_url}
    async with scheduled(pod, folder, maps, secrets, **openai) as one:
        yield one


def speaking(**gates: asyncio.Event) -> Handler:
    """A provider that streams `MODEL heard PROMPT`; a prompt with a gate waits there, half said."""

    async def speak(call: Call) -> None:
        asked = json.loads(call.body)
        prompt = asked["messages"][0]["content"]
        await call.start(200, [("content-type", "text/event-stream")])
        await call.send(event(f"{asked['model']} heard "))
        if prompt in gates:
            await gates[prompt].wait()
        await call.send(event(prompt, "stop") + DONE)
        await call.finish()

    return speak


async def asking(
    pod: Pod, model: str, *prompts: str, begun: asyncio.Event | None = None
) -> list[str]:
    """The app's answer, a line for each prompt; `begun` is set with the first piece of it."""
    text = ""
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream("POST", pod.url(8000), json={"model": model, "prompts": prompts}) as answer,
    ):
        async for piece in answer.aiter_text():
            text += piece
            if begun is not None:
                begun.set()
    return text.splitlines()
