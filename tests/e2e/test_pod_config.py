"""The configuration of an injected pod: the one that we ship, and the steps away from it.

The promise: as shipped it changes nothing of what the app asks and hears, byte for byte, and with
one swap of the ConfigMap a model moves to a tier while requests flow.
"""

import asyncio
import json

from e2e.injected import TIERED, app_pod, asking, injected, placed, speaking
from e2e.replicas import eventually
from e2e.support import DONE, recording
from openai import APIStatusError, AsyncOpenAI

from tiergate_sidecar.labels import CONFIG_KEY

KEY = {"OPENAI_API_KEY": "sk-app"}
CHAT = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "h\u00e9 \U0001f600"}],
    "temperature": 0.10,
    "extra_body": {"conversation_id": "mine", "novel": None},
}
RESPOND = {"model": "gpt-5", "input": "hi"}
ASKED = {
    "chat": lambda client: (client.chat.completions, CHAT),
    "streamed chat": lambda client: (client.chat.completions, CHAT | {"stream": True}),
    "unknown model": lambda client: (client.chat.completions, CHAT | {"model": "nobody"}),
    "embeddings": lambda client: (client.embeddings, {"model": "e", "input": ["a", "b"]}),
    "response": lambda client: (client.responses, RESPOND),
    "streamed response": lambda client: (client.responses, RESPOND | {"stream": True}),
}
HEADERS = (
    ("x-request-id", "req_1"), ("openai-processing-ms", "5"), ("openai-version", "2020-10-01"),
    ("x-ratelimit-remaining-requests", "7"), ("x-ratelimit-reset-tokens", "1ms"),
)  # fmt: skip


async def odd(call):
    """Answers that whoever reads and writes them again would spell another way."""
    asked = json.loads(call.body)
    if asked["model"] == "nobody":
        body = b'{ "error": {"message": "no such \\u006dodel", "code" : "model_not_found"}}'
        await call.respond(404, body, HEADERS)
    elif asked.get("stream"):
        await call.start(200, [("content-type", "text/event-stream; charset=utf-8"), *HEADERS])
        for piece in (b": hello\n\n", b"event: x\r\nda", b'ta:{"n":1.50}\r\n\r\n', DONE):
            await call.send(piece)
        await call.finish()
    else:
        body = b'{"path": "%s",  "n": 1.50, "e": "\\u00e9"}\n' % call.path.encode()
        await call.respond(200, body, HEADERS)


async def answer_of(client, ask):
    """What the official client gets: status, headers, bytes."""
    resource, asked = ask(client)
    try:
        async with resource.with_streaming_response.create(**asked) as answer:
            body = b"".join([piece async for piece in answer.iter_bytes()])
    except APIStatusError as error:
        answer, body = error.response, error.response.content
    of_the_hop = {"date", "connection"}
    headers = sorted(pair for pair in answer.headers.items() if pair[0] not in of_the_hop)
    return answer.status_code, headers, body


def request_of(call):
    names = ("authorization", "content-type", "accept")
    return call.method, call.target, call.body, [call.header(name) for name in names]


async def test_as_shipped_it_changes_nothing_of_what_the_app_asks_and_hears(tmp_path):
    pod = injected(app_pod("serve", "8000", env=KEY))
    async with recording(odd) as provider, placed(pod, tmp_path, provider) as one:
        await one.start_sidecars()
        app = one["app"].env
        heard = []
        for base_url in (provider.base_url, app["OPENAI_BASE_URL"]):
            async with AsyncOpenAI(
                base_url=base_url, api_key=app["OPENAI_API_KEY"], max_retries=0
            ) as client:
                heard.append({name: await answer_of(client, ask) for name, ask in ASKED.items()})
        directly, through = heard
        assert through == directly
        statuses = {name: answer[0] for name, answer in directly.items()}
        assert statuses == dict.fromkeys(ASKED, 200) | {"unknown model": 404}

        requests = [request_of(call) for call in provider.received]
        assert requests[len(ASKED) :] == requests[: len(ASKED)]
        assert {credential for *_, (credential, *_) in requests} == {"Bearer sk-app"}
        await one.end()
        assert one.told == ["tiergate started", "tiergate SIGTERM", "tiergate exited 0"]


async def test_a_model_moves_to_a_tier_while_requests_flow_and_none_is_lost(tmp_path):
    old, new = ["gpt-4o heard hello"], ["gpt-5-mini heard hello"]
    pod = injected(app_pod("serve", "8000", env=KEY))
    async with recording(speaking()) as provider, placed(pod, tmp_path, provider) as one:
        await one.start()
        answers, done = ([], []), asyncio.Event()

        async def keep_asking(mine):
            while not done.is_set():
                mine.append(await asking(one, "gpt-4o", "hello"))

        async def flows():
            return all(len(mine) > 3 for mine in answers)

        async def moved():
            return all(new in mine for mine in answers)

        async with asyncio.TaskGroup() as group:
            for mine in answers:
                group.create_task(keep_asking(mine))
            await eventually(flows)
            one.config_maps["tiergate"].swap(**{CONFIG_KEY: TIERED})
            await eventually(moved)
            assert await asking(one, "gpt-4o-2024-11-20", "hello") == new
            assert await asking(one, "o3", "hello") == ["o3 heard hello"]
            done.set()
        for mine in answers:
            turn = mine.index(new)
            assert mine == [old] * turn + [new] * (len(mine) - turn)
            assert turn > 3
        assert len(provider.received) == sum(map(len, answers)) + 2
        assert {call.header("authorization") for call in provider.received} == {"Bearer sk-app"}
        await one.end()
        assert one.told[2:] == [
            *("app SIGTERM", "app exited 0", "tiergate SIGTERM", "tiergate exited 0")
        ]
