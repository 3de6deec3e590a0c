"""The provider's other endpoints through the sidecar.

Everything but the credential is the client's, nothing but what `proxy.paths` names can be reached,
and a request for an unknown model passes byte for byte.
"""

import asyncio
import json

import openai
from e2e.proxied import heard, request, sidecar_before, sized
from e2e.support import CHAT, Upstream, error_of, failing, recording, routed, silent, streaming

from tiergate_sidecar.rawhttp import Call

THEIRS = (
    ("Authorization", "Bearer client-key"), ("api-key", "client-key"), ("Cookie", "a=1"),
    ("OpenAI-Organization", "org"), ("OpenAI-Project", "proj"), ("X-Api-Key", "client-key"),
    ("X-Forwarded-For", "1.2.3.4"), ("X-Stainless-OS", "Linux"),
)  # fmt: skip
PASSED = (
    ("Content-Type", "multipart/form-data; boundary=x"), ("Accept", "text/plain"),
    ("OpenAI-Beta", "a=1"), ("Idempotency-Key", "k1"), ("Accept-Encoding", "gzip"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
)  # fmt: skip
KEY = {"KEY": "sk-own"}


def before(upstream: Upstream, base: str = "", environ=KEY, paths=None, **provider):
    """The sidecar before a provider `p1` with a key of its own, which the proxy passes on to."""
    own = {"api_key_env": "KEY"} if "credentials" not in provider else {}
    tables = routed(upstream.base_url + base, routing={"unknown_model": "pass"})
    tables["providers"]["p1"] |= own | provider
    listed = {"paths": paths} if paths is not None else {}
    return sidecar_before(config=tables, environ=environ, provider="p1", **listed)


def client_of(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)


# --- the credential, and what goes along with it


async def test_the_provider_gets_its_own_key_and_of_the_client_what_the_endpoint_needs():
    body = b"--x\r\n\x00\xff\r\n--x--"
    async with recording() as upstream, before(upstream) as url:
        sent = sized("POST", "/v1/audio/transcriptions?a=%2F", body, *THEIRS, *PASSED)
        assert (await heard(url, sent, "POST")).status == 200
        (call,) = upstream.received
    assert (call.method, call.target) == ("POST", "/v1/audio/transcriptions?a=%2F")
    assert call.body == body
    said = {name.decode(): value.decode() for name, value in call.headers}
    assert len(said) == len(call.headers)
    assert said == {
        **{name.lower(): value for name, value in PASSED},
        "authorization": "Bearer sk-own",
        "host": upstream.server.url.removeprefix("http://"),
        "user-agent": "tiergate",
        "content-length": str(len(body)),
    }


async def test_a_provider_for_the_clients_own_credentials_gets_them():
    async with recording(failing(401)) as upstream, before(upstream, credentials="client") as url:
        answer = await heard(url, sized("POST", "/v1/embeddings", b"{}", *THEIRS), "POST")
        said = dict(upstream.received[0].headers)
    assert answer.status == 401  # it speaks of the client's key
    assert said[b"authorization"] == b"Bearer client-key"
    assert said[b"openai-organization"] == b"org"
    assert not said.keys() & {b"cookie", b"x-api-key", b"x-forwarded-for"}


async def test_a_query_of_the_base_url_stays_before_the_clients():
    async with recording() as upstream, before(upstream, "?api-version=1") as url:
        for target in ("/v1/embeddings", "/v1/embeddings?a=%20b"):
            await heard(url, sized("POST", target, b"{}"), "POST")
        targets = [call.target for call in upstream.received]
    assert targets == ["/v1/embeddings?api-version=1", "/v1/embeddings?api-version=1&a=%20b"]


async def test_of_the_answer_passes_what_its_content_needs_and_nothing_that_speaks_for_our_domain():
    kept = [
        ("content-type", "audio/mpeg"), ("content-range", "bytes 0-1/2"), ("etag", '"1"'),
        ("content-disposition", "attachment"), ("accept-ranges", "bytes"), ("x-request-id", "r"),
        ("openai-processing-ms", "5"), ("x-ratelimit-remaining-requests", "7"), ("x-mine", "1"),
    ]  # fmt: skip
    dropped = [
        ("set-cookie", "a=1"), ("strict-transport-security", "max-age=1"), ("alt-svc", "h3"),
        ("access-control-allow-origin", "*"), ("server", "p"), ("connection", "x-mine-not"),
    ]  # fmt: skip

    async def say(call: Call) -> None:
        await call.respond(206, b"ab", [*kept, *dropped])

    async with recording(say) as upstream, before(upstream, expose_headers=["X-Mine"]) as url:
        answer = await heard(url, sized("POST", "/v1/audio/speech", b"{}"), "POST")
    own = {"date", "connection"}
    said = [pair for pair in answer.headers if pair[0] not in own]
    assert sorted(said) == sorted([*kept, ("content-length", "2")])
    assert (answer.status, answer.body) == (206, b"ab")


async def test_a_header_that_could_break_out_of_its_line_is_refused():
    async with recording() as upstream, before(upstream) as url:
        sent = sized("POST", "/v1/embeddings", b"{}", ("Accept", "caf\xe9"))
        answer = await heard(url, sent, "POST")
        assert (answer.status, error_of(answer.body)["code"]) == (400, "invalid_request")
        assert upstream.received == []


# --- what can be reached


TRICKS = [
    "/v1/files", "/v1/embeddings/", "/v1/audio/../files", "/v1/audio/%2e%2e/files", "//v1/files",
    "/v1/audio/..%2ffiles", "/v1/audio/%252e%252e/files", "/v1/audio/..;/files", "/x/../v1/files",
]  # fmt: skip


async def test_a_path_that_is_not_named_is_refused_however_it_is_written():
    async with recording() as upstream, before(upstream) as url:
        for target in TRICKS:
            answer = await heard(url, sized("POST", target, b"{}"), "POST")
            error = error_of(answer.body)
            assert (answer.status, error["type"]) == (403, "permission_error"), target
            assert error["code"] == "endpoint_not_allowed"
        assert upstream.received == []


async def test_what_is_matched_is_what_is_asked_for():
    """A server behind may route by what it is sent, without taking the detours out of it."""
    async with recording() as upstream, before(upstream) as url:
        for target in ("/v1/files/../embeddings", "/v1//%65mbeddings", "/v1/audio/a%20b"):
            assert (await heard(url, sized("POST", target, b"{}"), "POST")).status == 200
        targets = [call.target for call in upstream.received]
    assert targets == ["/v1/embeddings", "/v1/embeddings", "/v1/audio/a%20b"]


async def test_all_paths_may_be_named():
    async with recording() as upstream, before(upstream, paths=["*"]) as url:
        asked = {"GET": "/v1/files", "DELETE": "/v1/files/f-1"}
        for method, target in asked.items():
            assert (await heard(url, request(method, target), method)).status == 200
        listed = await heard(url, request("GET", "/v1/models"), "GET")
        assert b'"simple"' in listed.body  # that one stays ours
        assert {call.method: call.target for call in upstream.received} == asked


# --- an unknown model


async def test_a_model_that_nobody_lists_passes_byte_for_byte():
    body = b'{ "model":"gpt-4o", "tier":null,"conversation_id":"c",\t"messages": [],"n":1.0e0 }'
    async with recording() as upstream, before(upstream, paths=[]) as url:
        answer = await heard(url, sized("POST", f"{CHAT}?a=1", body, *THEIRS), "POST")
        (call,) = upstream.received
    assert (call.target, call.body) == (f"{CHAT}?a=1", body)
    assert call.header("authorization") == "Bearer sk-own"
    assert json.loads(answer.body)["model"] == "real"
    assert not [name for name, _ in answer.headers if name.startswith("x-arbstr")]


async def test_a_large_body_of_an_unknown_model_passes_whole():
    body = json.dumps({"model": "gpt-4o", "messages": [], "user": "x" * 3_000_000}).encode()
    async with recording() as upstream, before(upstream) as url:
        assert (await heard(url, sized("POST", CHAT, body), "POST")).status == 200
        assert upstream.received[0].body == body


async def test_a_model_that_somebody_lists_is_routed():
    async with recording() as upstream, before(upstream) as url:
        body = b'{"model": "small", "messages": []}'
        answer = await heard(url, sized("POST", CHAT, body), "POST")
        assert answer.all_of("x-sentinel-reason") == ["model"]


# --- the official client


async def test_the_official_client_embeds_and_transcribes():
    async def embed(call: Call) -> None:
        asked = json.loads(call.body)
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, len(asked["input"])]}]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        said = {"object": "list", "model": asked["model"], "data": data, "usage": usage}
        await call.respond(200, json.dumps(said).encode())

    async def transcribe(call: Call) -> None:
        assert (call.header("content-type") or "").startswith("multipart/form-data; boundary=")
        assert b"RIFF\x00\xff" in call.body
        await call.respond(200, b'{"text": "hello"}')

    async with (
        recording(embed, transcribe) as upstream,
        before(upstream) as url,
        client_of(url) as client,
    ):
        embedded = await client.embeddings.create(model="e", input="abc", encoding_format="float")
        assert embedded.data[0].embedding == [0.5, 3]
        file = ("a.wav", b"RIFF\x00\xff" * 50_000)
        said = await client.audio.transcriptions.create(model="w", file=file)
        assert said.text == "hello"


async def test_the_official_client_hears_a_streamed_response():
    delta = {
        "type": "response.output_text.delta",
        "item_id": "i",
        "output_index": 0,
        "logprobs": [],
    }
    said = [delta | {"content_index": 0, "delta": word, "sequence_number": 1} for word in "ab"]
    events = [f"event: {delta['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in said]
    async with (
        recording(streaming(*events)) as upstream,
        before(upstream) as url,
        client_of(url) as client,
    ):
        stream = await client.responses.create(model="gpt-5", input="hi", stream=True)
        assert [event.delta async for event in stream] == ["a", "b"]


# --- what becomes of its failures


async def test_a_provider_that_refuses_our_key_is_not_shown_to_the_client():
    async def refuse(call: Call) -> None:
        await call.respond(401, b'{"error": {"message": "Incorrect API key provided: sk-own"}}')

    async with recording(refuse) as upstream, before(upstream) as url:
        answer = await heard(url, sized("POST", "/v1/embeddings", b"{}"), "POST")
    error = error_of(answer.body)
    assert (answer.status, error["code"], error["provider"]) == (502, "provider_error", "p1")
    assert b"sk-own" not in answer.body


async def test_its_other_errors_are_the_clients_to_read():
    limited = failing(429, "rate", (("retry-after", "3"),))
    async with recording(limited) as upstream, before(upstream) as url:
        answer = await heard(url, sized("POST", "/v1/embeddings", b"{}"), "POST")
    assert (answer.status, answer.all_of("retry-after")) == (429, ["3"])
    assert json.loads(answer.body)["error"]["code"] == "rate"


async def test_a_provider_without_a_free_connection_is_a_503():
    one = {"max_connections": 1, "acquire_timeout_seconds": 0.05}
    async with recording(silent) as upstream, before(upstream, **one) as url:
        first = asyncio.create_task(heard(url, sized("POST", "/v1/embeddings", b"{}"), "POST"))
        await upstream.calls()
        answer = await heard(url, sized("POST", "/v1/embeddings", b"{}"), "POST")
        first.cancel()
        await asyncio.wait([first])
    assert (answer.status, error_of(answer.body)["code"]) == (503, "overloaded")
    assert answer.all_of("retry-after") == ["1"]
    assert len(upstream.received) == 1


async def test_a_provider_that_is_not_there_is_a_502_that_names_it():
    async with recording() as upstream:
        pass
    async with before(upstream) as url:
        answer = await heard(url, sized("POST", "/v1/embeddings", b"{}"), "POST")
    error = error_of(answer.body)
    assert (answer.status, error["code"], error["provider"]) == (502, "provider_error", "p1")


# --- the list of models


async def test_until_a_tier_is_configured_the_list_of_models_is_the_providers():
    listed = b'{"object": "list", "data": [{"id": "gpt-4o"}]}'

    async def models(call: Call) -> None:
        await call.respond(200, listed)

    bare = {"routing": {"unknown_model": "pass"}, "tiers": {}}
    for tables, paths, theirs in ((bare, ["*"], True), (bare, None, False), ({}, ["*"], False)):
        async with recording(models) as upstream:
            routed_ = routed(upstream.base_url, routing={"unknown_model": "pass"}) | tables
            passes = {"paths": paths} if paths else {}
            async with sidecar_before(config=routed_, provider="p1", **passes) as url:
                answer = await heard(url, request("GET", "/v1/models"), "GET")
        assert answer.status == 200
        assert (answer.body == listed) is theirs
        assert len(upstream.received) == theirs
