"""What reaches a provider and what comes back, to the byte: the members of the body that are not
ours as they were sent, no header that is not meant for the provider, none of its own that would
speak for our host."""

import asyncio
import json

import httpx
import msgspec
import pytest
from e2e.support import (
    CHAT,
    HELLO,
    completing,
    connected,
    failing,
    gatewayed,
    recording,
    routed,
    serving,
)

from tiergate import Gateway, TierMiddleware

# fmt: off
ODD_MEMBERS = {
    "temperature": b"1.10", "top_p": b"1E-1", "seed": b"-0", "max_tokens": b"1.0e2",
    "big": b"123456789012345678901234567890.10", "tiny": b"4.9406564584124654e-324",
    "stop": rb'["\u0041\/", "\n\t\"", "\ud83d\ude00"]', "user": '"Zoë 😀 \u2028"'.encode(),
    "metadata": b'{ "z" : 1 ,\n\t"a" :\r\n [ ] , "a" : { } }', "response_format": b"null",
    "messages": rb'[ {"role":"user", "content" : null, "tool_calls":[{"id":"\u00e9"}] } ]',
    "": b'"no name"', "x_unknown": b"[true,false , null]",
}
# fmt: on
REQUEST = {"user-agent", "accept-encoding", "content-type", "idempotency-key", "content-length"}


def joined(members: dict[str, bytes]) -> bytes:
    """A JSON object with odd white space around its members."""
    pairs = [b" %s :\t%s\n" % (json.dumps(name).encode(), raw) for name, raw in members.items()]
    return b"\r\n{" + b",".join(pairs) + b"} "


def members_of(body: bytes) -> list[tuple[str, bytes]]:
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return [(name, bytes(value)) for name, value in raw.items()]


@pytest.mark.parametrize("place", range(0, len(ODD_MEMBERS) + 1, 4))
async def test_every_member_arrives_byte_for_byte_in_order_but_ours(place):
    odd = list(ODD_MEMBERS.items())
    ours = [("tier", b'"complex"'), ("model", b'"gpt-4o"'), ("conversation_id", b'"c-1"')]
    sent = dict([*odd[:place], *ours, *odd[place:]])
    async with (
        recording() as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        answer = await client.post(url + CHAT, content=joined(sent))
    assert answer.status_code == 200
    expected = [*odd[:place], ("model", b'"large"'), *odd[place:]]
    assert members_of(upstream.received[0].body) == expected
    assert answer.headers["x-sentinel-model"] == "large"


async def test_the_model_sent_is_the_one_reported_on_every_attempt():
    async with recording(failing(503)) as one, recording() as two:
        config = routed(one.base_url, two.base_url, retry={"backoff_seconds": 0.01})
        config["tiers"]["simple"][1]["model"] = "other"
        app = TierMiddleware(None, config=config, authorize="open")
        async with serving(app, lifespan="off") as url, httpx.AsyncClient() as client:
            answers = [await client.post(url + CHAT, json=HELLO) for _ in range(8)]
            await app.gateway.close()
    models = {answer.headers["x-sentinel-model"] for answer in answers}
    assert models == {"other"}  # whoever was asked first, only p2 answers
    assert {json.loads(call.body)["model"] for call in one.received} <= {"small"}
    assert {json.loads(call.body)["model"] for call in two.received} == {"other"}


async def test_the_answer_is_the_providers_byte_for_byte():
    body = b'{ "choices" : [ ], "model":"real-\\u0041" ,"usage" : null,\r\n"x":1.10 }\n'

    async def odd(call):
        await call.respond(200, body)

    async with (
        recording(odd) as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        answer = await client.post(url + CHAT, json=HELLO)
    assert answer.content == body
    assert answer.headers["content-length"] == str(len(body))


NOT_FOR_PROVIDERS = [
    "Authorization: Bearer sk-client",
    "Cookie: session=secret",
    "api-key: sk-client",
    "x-api-key: sk-client",
    "OpenAI-Organization: org-client",
    "OpenAI-Project: project-client",
    "Proxy-Authorization: Basic c2VjcmV0",
    "Connection: x-hop, authorization, content-type",
    "X-Hop: 1",
    "Keep-Alive: timeout=5",
    "TE: trailers",
    "Expect: 100-continue",
    "X-Forwarded-For: 10.0.0.1",
    "Forwarded: for=10.0.0.1",
    "Origin: https://app.example",
    "Referer: https://app.example/secret",
    "User-Agent: a client",
    "Accept-Encoding: gzip, br",
    "X-Sentinel-Tier: complex",
    "X-Sentinel-Deadline-Ms: 9000",
    "X-Request-Id: client-1",
    "X-Whatever: 1",
]


async def test_a_provider_gets_the_headers_of_the_list_and_no_other():
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    passed = [
        "Accept: application/json",
        "OpenAI-Beta: assistants=v2",
        f"traceparent: {trace}",
        "tracestate: vendor=1",
    ]
    kind = "Content-Type: application/json; charset=utf-8"
    async with recording() as upstream:
        app = gatewayed(upstream.base_url)
        async with serving(app) as url, connected(url) as client:
            await client.post(json.dumps(HELLO).encode(), kind, *passed, *NOT_FOR_PROVIDERS)
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            status, _, _ = await client.answer()
    call = upstream.received[0]
    assert status == 200
    assert {name.decode() for name, _ in call.headers} == REQUEST | {
        "host",
        "accept",
        "openai-beta",
        "traceparent",
        "tracestate",
    }
    assert (call.header("traceparent"), call.header("tracestate")) == (trace, "vendor=1")
    assert call.header("content-type") == "application/json; charset=utf-8"
    assert call.header("openai-beta") == "assistants=v2"
    assert (call.header("user-agent"), call.header("accept-encoding")) == ("tiergate", "identity")
    assert call.header("host") == upstream.base_url.split("/")[2]


@pytest.mark.parametrize("chunks", [[b""], [b"x" * 100_000] * 5, [b"a", b"b", b"c"] * 50])
async def test_a_chunked_upload_arrives_whole_with_its_length(chunks):
    padding = b"".join(chunks)
    body = b'{"messages":[],"pad":"%s"}' % padding

    async def pieces():
        yield body[:20]
        for start in range(20, len(body), max(1, len(body) // 7)):
            yield body[start : start + max(1, len(body) // 7)]

    async with (
        recording() as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        answer = await client.post(url + CHAT, content=pieces())
    call = upstream.received[0]
    assert answer.request.headers["transfer-encoding"] == "chunked"
    assert call.header("transfer-encoding") is None
    assert call.header("content-length") == str(len(call.body))
    assert ("pad", b'"%s"' % padding) in members_of(call.body)


async def test_the_length_is_that_of_what_is_sent_whatever_the_model_is_called():
    async with (
        recording() as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):
        for model in ("simple", "", "complex"):
            await client.post(url + CHAT, json={"model": model, "tier": None, **HELLO})
    lengths = [(call.header("content-length"), len(call.body)) for call in upstream.received]
    assert len(lengths) == 3
    assert all(announced == str(real) for announced, real in lengths)


async def test_the_providers_own_key_goes_to_that_provider_only():
    async with recording(failing(500)) as one, recording() as two:
        config = routed(one.base_url, two.base_url, retry={"retries": 0})
        config["providers"]["p1"]["api_key_env"] = "ONE_KEY"
        config["providers"]["p2"] |= {"api_key_env": "TWO_KEY", "headers": {"X-Team": "blue"}}
        gateway = Gateway(config, environ={"ONE_KEY": "sk-one", "TWO_KEY": "sk-two"})
        app = TierMiddleware(None, gateway=gateway, authorize="open")
        async with serving(app, lifespan="off") as url, httpx.AsyncClient() as client:
            client.headers["authorization"] = "Bearer sk-client"
            await client.post(url + CHAT, json={"model": "small", **HELLO})
            await gateway.close()
    assert one.received[0].header("authorization") == "Bearer sk-one"
    assert two.received[0].header("authorization") == "Bearer sk-two"
    assert (one.received[0].header("x-team"), two.received[0].header("x-team")) == (None, "blue")


async def test_what_a_provider_may_have_besides_is_named_in_its_configuration():
    async with recording() as upstream:
        config = routed(upstream.base_url)
        config["providers"]["p1"] |= {"credentials": "client", "forward_headers": ["X-Tenant"]}
        app = TierMiddleware(None, config=config, authorize="open")
        said = {"authorization": "Bearer sk-client", "x-tenant": "t1", "cookie": "a=b", "x-y": "1"}
        async with serving(app, lifespan="off") as url, httpx.AsyncClient() as client:
            await client.post(url + CHAT, json=HELLO, headers=said)
            await app.gateway.close()
    headers = dict(upstream.received[0].headers)
    assert (headers[b"authorization"], headers[b"x-tenant"]) == (b"Bearer sk-client", b"t1")
    assert not {b"cookie", b"x-y"} & headers.keys()


async def test_two_clients_never_see_each_others_cookies():
    setting = completing(headers=(("set-cookie", "who=first; Path=/"),))
    async with (
        recording(setting) as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient(cookies={"mine": "1"}) as one,
        httpx.AsyncClient() as two,
    ):
        answers = [await client.post(url + CHAT, json=HELLO) for client in (one, two, one)]
    assert upstream.server.connections == 1  # one pool for both
    assert all(call.header("cookie") is None for call in upstream.received)
    assert all("set-cookie" not in answer.headers for answer in answers)


@pytest.mark.parametrize("status", [200, 400, 503])
async def test_of_a_providers_headers_only_those_of_the_list_come_back(status):
    stop = [
        ("set-cookie", "a=b"), ("strict-transport-security", "max-age=1"), ("alt-svc", "h3"),
        ("access-control-allow-origin", "*"), ("content-security-policy", "none"),
        ("server", "provider"), ("date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("via", "1.1 x"),
        ("x-arbstr-provider", "forged"), ("x-sentinel-tier", "forged"), ("x-should-retry", "true"),
        ("location", "/elsewhere"), ("www-authenticate", "Basic"), ("keep-alive", "timeout=1"),
    ]  # fmt: skip
    passing = [
        ("x-request-id", "req-1"), ("x-ratelimit-remaining-tokens", "7"), ("retry-after", "1"),
        ("openai-processing-ms", "12"),
    ]  # fmt: skip
    headers = tuple(stop + passing)
    handler = completing(headers=headers) if status == 200 else failing(status, headers=headers)
    async with recording(handler) as upstream:
        app = gatewayed(upstream.base_url, retry={"retries": 0})
        async with serving(app) as url, httpx.AsyncClient() as client:
            answer = await client.post(url + CHAT, json=HELLO)
    ours = {"x-arbstr-provider": "p1", "x-sentinel-tier": "simple"}
    hidden = {name for name, _ in stop} - {*ours, "server", "date", "x-should-retry"}
    assert not hidden & answer.headers.keys()
    assert {name: answer.headers[name] for name in ours} == ours
    assert answer.headers.get_list("server") == ["uvicorn"]
    assert len(answer.headers.get_list("date")) == 1
    assert answer.headers.get("x-should-retry") == ("false" if status == 503 else None)
    if status != 503:  # an answer of our own has none of a provider's
        assert passing == [(name, answer.headers[name]) for name, _ in passing]


async def test_requests_at_once_do_not_mix():
    async def echo(call):
        pad = dict(members_of(call.body))["pad"]
        await asyncio.sleep(0)
        await call.respond(200, b'{"choices":[],"pad":%s}' % pad)

    async with (
        recording(echo) as upstream,
        serving(gatewayed(upstream.base_url)) as url,
        httpx.AsyncClient() as client,
    ):

        async def ask(number: int) -> bool:
            answer = await client.post(url + CHAT, json={**HELLO, "pad": [number] * number})
            return answer.json()["pad"] == [number] * number

        assert all(await asyncio.gather(*(ask(number) for number in range(1, 60))))
    keys = [call.header("idempotency-key") for call in upstream.received]
    assert len(set(keys)) == 59
