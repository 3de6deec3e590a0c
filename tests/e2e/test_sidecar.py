"""The sidecar as a newcomer, an app and Kubernetes meet it: real `tiergate serve` processes, real
requests, real signals."""

import asyncio
import json
import re
import shlex
import signal
import time
import uuid

import httpx
import pytest
from e2e.process import ANY_PORT, running, sidecar
from e2e.support import (
    CHAT,
    DONE,
    HELLO,
    completing,
    connected,
    error_of,
    event,
    recording,
    routed,
    silent,
)
from openai import AsyncOpenAI

QUICK = {  # and one fault leaves the next request a fresh provider
    "TIERGATE_RETRY__BACKOFF_SECONDS": "0.01",
    "TIERGATE_RETRY__BUDGET_RATIO": "0",
    "TIERGATE_HEALTH__INITIAL_BACKOFF_SECONDS": "0",
}
STREAM = {**HELLO, "model": "small", "stream": True}
WHOLE = {**HELLO, "model": "small"}
BOTH_SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def configured(tmp_path, *base_urls, **tables):
    """The arguments for a configuration file over these upstreams."""
    file = tmp_path / "own.json"
    file.write_text(json.dumps(routed(*base_urls, **tables)))
    return ("-c", str(file))


async def ask(url, body=HELLO, **headers):
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.post(CHAT, json=body, headers=named)


async def eventually(happened, within=5):
    """Wait for something that only asking again can tell."""
    async with asyncio.timeout(within):
        while not await happened():  # noqa: ASYNC110  # another process tells only when asked
            await asyncio.sleep(0.01)


async def health(process, page="ready"):
    async with httpx.AsyncClient(base_url=process.admin) as client:
        return (await client.get(f"/health/{page}")).status_code


async def refuses(process):
    try:
        async with connected(process.url):
            return False
    except ConnectionRefusedError:
        return True


def gated():
    """A handler that answers, streaming or not, in two parts: the second when the gate opens."""
    gate = asyncio.Event()

    async def handle(call):
        if json.loads(call.body).get("stream"):
            await call.start(200, [("content-type", "text/event-stream")])
            await call.send(event("one"))
            await gate.wait()
            await call.send(event("two", "stop") + DONE)
            await call.finish()
        else:
            await gate.wait()
            await completing("whole")(call)

    return gate, handle


# --- trying it out ---------------------------------------------------------------------------


async def test_the_curl_line_it_prints_is_answered_without_file_key_or_network(tmp_path):
    async with sidecar("--mock", cwd=tmp_path, lines=8) as process:
        printed = process.said.partition("curl ")[2].partition("\n\n")[0].replace("\\\n", "")
        _, url, _, header, _, data = shlex.split(printed)
        assert "X-Mock-Fault: 503" in process.said
        async with httpx.AsyncClient() as client:
            name, _, value = header.partition(": ")
            answer = await client.post(url, content=data, headers={name: value})
        assert answer.status_code == 200
        assert re.fullmatch(
            r"mock-[abc] with mock-small heard: Hello",
            answer.json()["choices"][0]["message"]["content"],
        )
        said = answer.headers
        assert uuid.UUID(said.pop("x-arbstr-request-id")).version == 4
        assert said["x-arbstr-provider"] in ("mock-a", "mock-b", "mock-c")
        assert said["x-arbstr-latency-ms"].isdigit()
        assert re.fullmatch(r"0\.0000\d{4}", said["x-arbstr-cost-usd"])
        assert (said["x-sentinel-tier"], said["x-sentinel-reason"]) == ("simple", "alias")
        assert said["x-sentinel-model"] == "mock-small"
        assert {"x-arbstr-retries", "x-arbstr-streaming", "server"}.isdisjoint(said)
        assert (await health(process), await health(process, "live")) == (200, 200)
        process.signal(signal.SIGTERM)
        assert await process.ended() == (0, "")
    assert list(tmp_path.iterdir()) == []


async def test_the_official_client_reaches_every_tier_streams_and_lists_models(tmp_path):
    async with (
        sidecar("--mock", cwd=tmp_path) as process,
        AsyncOpenAI(base_url=f"{process.url}/v1", api_key="any") as client,
    ):
        models = {}
        for tier in ("simple", "moderate", "complex"):
            raw = await client.chat.completions.with_raw_response.create(
                model="gpt-whatever", messages=HELLO["messages"], extra_body={"tier": tier}
            )
            assert raw.headers["x-sentinel-reason"] == "explicit"
            models[raw.headers["x-sentinel-tier"]] = raw.parse().model
        assert models == {
            "simple": "mock-small",
            "moderate": "mock-medium",
            "complex": "mock-large",
        }
        async with client.chat.completions.stream(
            model="complex",
            messages=HELLO["messages"],
            stream_options={"include_usage": True},
        ) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content.endswith("with mock-large heard: hello")
        assert final.usage.completion_tokens == 5
        listed = [model async for model in client.models.list()]
        assert {"simple", "moderate", "complex", "mock-large"} <= {model.id for model in listed}
        assert (await client.models.retrieve("mock-large")).owned_by == "mock-b"
        whole = (await client.models.with_raw_response.list()).http_response.json()
        assert all(set(m) == {"id", "object", "created", "owned_by"} for m in whole["data"])


async def test_each_fault_of_a_provider_becomes_what_the_contract_says(tmp_path):
    async with sidecar("--mock", cwd=tmp_path, **QUICK) as process:
        # First of all, on a new connection: on a used one a reset is re-sent for free.
        reset = await ask(process.url, X_Mock_Fault="reset")
        assert reset.status_code == 200
        assert re.fullmatch(r"2/mock-[abc]", reset.headers["x-arbstr-retries"])
        cases = {
            "503": (200, r"2/mock-[abc]", None),
            "503 always": (502, r"3/(mock-[abc]), 1/(?!\1)mock-[abc]", "provider_error"),
            "reset always": (502, r"3/(mock-[abc]), 1/(?!\1)mock-[abc]", "provider_error"),
            "cut": (200, r"2/mock-[abc]", None),
            "html": (200, r"2/mock-[abc]", None),
            "402": (200, r"1/(mock-[abc]), 1/(?!\1)mock-[abc]", None),
            "429 30 always": (429, r"1/(mock-[abc]), 1/(?!\1)mock-[abc]", "rate_limit_exceeded"),
            "context always": (
                400,
                r"1/(mock-[abc]), 1/(?!\1)mock-[abc]",
                "context_length_exceeded",
            ),
            "filter": (400, None, "content_filter"),
            "400": (400, None, "invalid_request"),
            "nonsense": (400, None, "unknown_mock_fault"),
        }
        answers = await asyncio.gather(*(ask(process.url, X_Mock_Fault=f) for f in cases))
        for (fault, (status, retries, code)), answer in zip(cases.items(), answers, strict=True):
            assert answer.status_code == status, fault
            tried = answer.headers.get("x-arbstr-retries")
            assert tried is None if retries is None else re.fullmatch(retries, tried), fault
            assert status == 200 or error_of(answer.content)["code"] == code
            hopeless = status in (502, 429)
            assert answer.headers.get("x-should-retry") == ("false" if hopeless else None), fault


async def test_a_fault_of_one_provider_leaves_the_others_alone(tmp_path):
    async with sidecar("--mock", cwd=tmp_path, **QUICK) as process:
        asked = [ask(process.url, X_Mock_Fault="503 @mock-a") for _ in range(30)]
        answers = await asyncio.gather(*asked)
        met = {(a.headers["x-arbstr-provider"], a.headers.get("x-arbstr-retries")) for a in answers}
        assert {answer.status_code for answer in answers} == {200}
        assert ("mock-a", "2/mock-a") in met
        assert met <= {("mock-a", "2/mock-a"), ("mock-b", None), ("mock-c", None)}


async def test_a_deadline_of_the_client_ends_a_silent_provider(tmp_path):
    async with sidecar("--mock", cwd=tmp_path) as process:
        late = await ask(process.url, X_Mock_Fault="silent always", X_Sentinel_Deadline_Ms="200")
        assert (late.status_code, error_of(late.content)["code"]) == (504, "deadline_exceeded")
        assert late.headers["x-arbstr-provider"] in ("mock-a", "mock-b", "mock-c")
        assert late.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("fault", "code"), [("cut", "stream_interrupted"), ("error-event", "internal_error")]
)
async def test_a_stream_that_breaks_says_so_and_has_no_done(tmp_path, fault, code):
    async with sidecar("--mock", cwd=tmp_path) as process:
        answer = await ask(process.url, {**HELLO, "stream": True}, X_Mock_Fault=fault)
        assert (answer.status_code, answer.headers["x-arbstr-streaming"]) == (200, "true")
        *_, last, end = answer.content.split(b"\n\n")
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == code
        assert end == b""
        assert b"[DONE]" not in answer.content
        failed = await ask(process.url, {**HELLO, "stream": True}, X_Mock_Fault="503")
        assert (failed.status_code, failed.headers["x-arbstr-streaming"]) == (502, "true")
        fine = await ask(process.url, {**HELLO, "stream": True})
        assert fine.content.endswith(b"data: [DONE]\n\n")


# --- the end ---------------------------------------------------------------------------------


@BOTH_SIGNALS
async def test_on_a_signal_running_requests_finish_whole_and_no_new_ones_are_taken(
    tmp_path, number
):
    gate, handle = gated()
    async with (
        recording(handle) as upstream,
        sidecar(*configured(tmp_path, upstream.base_url), cwd=tmp_path) as process,
        httpx.AsyncClient(base_url=process.url, timeout=30) as idle,
    ):
        assert (await idle.get("/v1/models")).status_code == 200  # and keeps its connection
        whole = asyncio.create_task(ask(process.url, WHOLE))
        stream = asyncio.create_task(ask(process.url, STREAM))
        await upstream.calls(2)
        assert await health(process) == 200
        process.signal(number)

        async def draining():
            return await health(process) == 503

        await eventually(draining)
        await eventually(lambda: refuses(process))
        assert await health(process, "live") == 200
        assert not whole.done()
        assert not stream.done()
        gate.set()
        assert (await whole).json()["choices"][0]["message"]["content"] == "whole"
        assert (await stream).content == event("one") + event("two", "stop") + DONE
        assert await process.ended() == (0, "")


async def test_the_fake_providers_outlive_the_requests_that_run_on_them(tmp_path):
    async with (
        sidecar("--mock", cwd=tmp_path) as process,
        connected(process.url) as half,
        httpx.AsyncClient(base_url=process.url, timeout=30) as client,
    ):
        await half.say(b"POST /v1/chat/comp")  # a request that never comes holds nobody up
        slow = {"X-Mock-Fault": "slow 0.5"}
        body = {**HELLO, "stream": True}
        async with client.stream("POST", CHAT, json=body, headers=slow) as stream:
            pieces = stream.aiter_bytes()
            got = await anext(pieces)
            assert b'"role":"assistant"' in got
            process.signal(signal.SIGTERM)
            got += b"".join([piece async for piece in pieces])
        assert got.endswith(DONE)
        assert await process.ended() == (0, "")


async def test_the_grace_is_the_longest_that_a_request_may_hold_the_process(tmp_path):
    _, handle = gated()
    async with (
        recording(handle) as upstream,
        sidecar(
            *configured(tmp_path, upstream.base_url),
            cwd=tmp_path,
            TIERGATE_SERVER__GRACE_SECONDS="1",
        ) as process,
    ):
        asked = [asyncio.create_task(ask(process.url, body)) for body in (WHOLE, STREAM)]
        await upstream.calls(2)
        before = time.monotonic()
        process.signal(signal.SIGTERM)
        code, said = await process.ended()
        assert 1 <= time.monotonic() - before < 3
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert code == 0
        (line,) = said.splitlines()
        assert "Cancel 2 running task(s), timeout graceful shutdown exceeded" in line
        assert isinstance(ends[1], httpx.RemoteProtocolError), ends


@BOTH_SIGNALS
async def test_a_second_signal_ends_at_once(tmp_path, number):
    async with (
        recording(silent) as upstream,
        sidecar(*configured(tmp_path, upstream.base_url), cwd=tmp_path) as process,
    ):
        asked = asyncio.create_task(ask(process.url, WHOLE))
        await upstream.calls()
        process.signal(signal.SIGTERM)

        async def draining():
            return await health(process) == 503

        await eventually(draining)
        process.signal(number)
        assert await process.ended(within=1) == (1, "")
        with pytest.raises(httpx.RemoteProtocolError):
            await asked


async def test_without_an_admin_address_there_is_one_listener(tmp_path):
    async with running(
        *("serve", "--mock", "--listen", ANY_PORT, "--admin", ""), cwd=tmp_path, lines=2
    ) as process:
        assert process.said.count("http://") == 1
        assert (await ask(process.url)).status_code == 200
        for page in ("live", "ready"):
            async with httpx.AsyncClient(base_url=process.url) as client:
                gone = await client.get(f"/health/{page}")
            assert error_of(gone.content)["code"] == "endpoint_not_found"
        process.signal(signal.SIGTERM)
        assert await process.ended() == (0, "")


@BOTH_SIGNALS
async def test_the_fake_providers_answer_alone_until_a_signal(tmp_path, number):
    async with running("mock", "--listen", ANY_PORT, cwd=tmp_path) as mock:
        async with httpx.AsyncClient(base_url=mock.url) as client:
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            answer = await client.post("/mock-b/v1/chat/completions", json=body)
            assert answer.json()["choices"][0]["message"]["content"] == "mock-b with m heard: hi"
            assert (await client.get("/mock-a/v1/models")).status_code == 200
        mock.signal(number)
        assert await mock.ended() == (0, "")


# --- bad company -----------------------------------------------------------------------------


@pytest.mark.parametrize("body", [WHOLE, STREAM], ids=["whole", "stream"])
async def test_a_client_that_leaves_frees_the_provider_within_a_second(tmp_path, body):
    _, handle = gated()
    async with (
        recording(handle) as upstream,
        sidecar(*configured(tmp_path, upstream.base_url), cwd=tmp_path) as process,
    ):
        async with connected(process.url) as client:
            await client.post(json.dumps(body).encode())
            (call,) = await upstream.calls()
            if body is STREAM:
                assert (await client.head())[0] == 200
            assert not call.gone.is_set()
        async with asyncio.timeout(1):
            await call.gone.wait()
        assert len(upstream.received) == 1
        process.signal(signal.SIGTERM)
        assert await process.ended() == (0, "")


GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"\r\n\r\n\0\0\0",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{}",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET " + b"/" * 200_000,
    b"GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n",
)


async def test_garbage_on_the_wire_ends_no_more_than_its_connection(tmp_path):
    environ = {"TIERGATE_LOGGING__FORMAT": "json"}
    async with sidecar("--mock", cwd=tmp_path, **environ) as process:
        for garbage in GARBAGE:
            async with connected(process.url) as client, asyncio.timeout(5):
                await client.say(garbage)
                client.writer.write_eof()
                answer = await client.reader.read()
                # 501: a WebSocket, which is no garbage and yet not spoken here
                assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501 "))
            assert (await ask(process.url)).status_code == 200
        process.signal(signal.SIGTERM)
        code, said = await process.ended()
        assert code == 0
        lines = [json.loads(line) for line in said.splitlines()]
        assert lines, "uvicorn tells of what it could not read"
        assert all({"time", "level", "logger", "message"} == set(line) for line in lines)
        assert {line["level"] for line in lines} == {"warning"}


async def test_a_configuration_newer_than_the_process_is_a_warning_in_the_chosen_form(tmp_path):
    tables = {"server": {"strict": False, "novel": 1}, "retry": {"newer": 2}}
    arguments = configured(tmp_path, "http://127.0.0.1:1/v1", logging={"format": "json"}, **tables)
    async with sidecar(*arguments, cwd=tmp_path) as process:
        process.signal(signal.SIGTERM)
        code, said = await process.ended()
    assert code == 0
    messages = [json.loads(line)["message"] for line in said.splitlines()]
    assert ["server.novel" in messages[0], "retry.newer" in messages[1]] == [True, True]


async def test_a_provider_that_is_killed_is_an_error_and_no_more(tmp_path):
    async with running("mock", "--listen", ANY_PORT, cwd=tmp_path) as mock:
        provider = {"base_url": f"{mock.url}/mock-a/v1", "forward_headers": ["X-Mock-Fault"]}
        tables = {"providers": {"p1": provider}}
        arguments = configured(tmp_path, "http://replaced/v1", **tables)
        async with (
            sidecar(*arguments, cwd=tmp_path, **QUICK) as process,
            httpx.AsyncClient(base_url=process.url, timeout=30) as client,
        ):
            whole = asyncio.create_task(ask(process.url, WHOLE, X_Mock_Fault="stall"))
            stall = {"X-Mock-Fault": "stall"}
            async with client.stream("POST", CHAT, json=STREAM, headers=stall) as stream:
                pieces = stream.aiter_bytes()
                got = await anext(pieces)
                mock.process.kill()
                got += b"".join([piece async for piece in pieces])
            assert stream.status_code == 200
            last = json.loads(got.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]
            assert (last["code"], last["provider"]) == ("stream_interrupted", "p1")
            assert b"[DONE]" not in got
            answer = await whole
            assert (answer.status_code, error_of(answer.content)["provider"]) == (502, "p1")
            assert answer.headers["x-arbstr-retries"] == "3/p1"
            process.signal(signal.SIGTERM)
            assert await process.ended() == (0, "")


async def test_two_sidecars_do_not_disturb_each_other(tmp_path):
    async with sidecar("--mock", cwd=tmp_path) as one, sidecar("--mock", cwd=tmp_path) as other:
        assert len({one.url, one.admin, other.url, other.admin}) == 4
        asked = asyncio.create_task(ask(other.url, X_Mock_Fault="slow 0.5"))
        assert (await ask(one.url)).status_code == 200
        one.process.kill()
        assert await one.ended() == (-signal.SIGKILL, "")
        assert (await asked).status_code == 200
        assert await health(other) == 200
