"""The five `sentinel_*` metrics move exactly as CONTRACT section 13 says, read as Prometheus reads
them: over HTTP, from a real sidecar, before and after traffic that is known."""

import asyncio
import json

import httpx
from e2e.process import sidecar
from e2e.support import CHAT, DONE, completing, event, failing, recording, routed, streaming
from prometheus_client.parser import text_string_to_metric_families

NO = failing(503)
YES = completing()
STREAM = streaming(event("a"), event("b", "stop"), DONE)
BACKOFF_SECONDS = 3
SETTINGS = {
    "retry": {"backoff_seconds": 0.01, "fallbacks": 1},
    "health": {"initial_backoff_seconds": BACKOFF_SECONDS},
}


async def scrape(process, prefix="sentinel_"):
    """Every sample of that prefix by its name and label values, in the order of their names."""
    async with httpx.AsyncClient(base_url=process.admin) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name.startswith(prefix)
    }


async def ask(process, content=None, headers=None, **members):
    body = content or json.dumps({"messages": [{"role": "user", "content": "hi"}], **members})
    async with httpx.AsyncClient(base_url=process.url, timeout=10) as client:
        return (await client.post(CHAT, content=body, headers=headers)).status_code


async def moves(process, *, expect=200, **asked):
    """What one request moves: of counters the difference, of the health the new value."""
    before = await scrape(process)
    assert await ask(process, **asked) == expect
    after = await scrape(process)
    return {
        key: value if key[0] == "sentinel_provider_health" else value - before.get(key, 0)
        for key, value in after.items()
        if before.get(key, 0) != value
    }


async def healthy(process, *candidate):
    """Wait for the end of a back-off, which only asking again can tell."""
    async with asyncio.timeout(BACKOFF_SECONDS + 5):
        while not (await scrape(process))[health(*candidate)]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def tier(name):
    return ("sentinel_tier_requests_total", name)


def selection(model, provider, name):
    return ("sentinel_model_selections_total", model, provider, name)


def failure(model, provider):
    return ("sentinel_provider_failures_total", model, provider)


def change(failed, again, name):
    return ("sentinel_model_retries_total", failed, again, name)


def health(model, provider):
    return ("sentinel_provider_health", model, provider)


async def test_the_five_metrics_move_exactly_with_known_traffic(tmp_path):
    p1 = [YES, NO, YES, NO, NO, NO, YES, STREAM, failing(400), NO, NO, NO, YES]
    async with recording(*p1) as one, recording(YES, YES, NO) as two:
        file = tmp_path / "own.json"
        file.write_text(json.dumps(routed(one.base_url, two.base_url, **SETTINGS)))
        async with sidecar("-c", str(file), cwd=tmp_path) as process:
            told = await scrape(process)
            everybody = {health(m, p) for m in ("small", "medium", "large") for p in ("p1", "p2")}
            assert told == dict.fromkeys(everybody, 1)

            success = await moves(process, model="small")
            assert success == {tier("simple"): 1, selection("small", "p1", "simple"): 1}

            retry_at_the_same = await moves(process, model="small")
            assert retry_at_the_same == success

            failover = await moves(process, model="small")
            assert failover == {
                tier("simple"): 1,
                selection("small", "p1", "simple"): 1,
                failure("small", "p1"): 1,
                change("small", "small", "simple"): 1,
                health("small", "p1"): 0,
            }

            in_back_off = await moves(process, model="small")
            assert in_back_off == {tier("simple"): 1, selection("small", "p2", "simple"): 1}

            await healthy(process, "small", "p1")
            probe = await moves(process, model="small")
            assert probe == success

            stream = await moves(process, model="medium", stream=True)
            assert stream == {tier("moderate"): 1, selection("medium", "p1", "moderate"): 1}

            clients_fault = await moves(process, model="large", expect=400)
            assert clients_fault == {tier("complex"): 1, selection("large", "p1", "complex"): 1}

            nobody = await moves(process, model="large", expect=502)
            assert nobody == {
                tier("complex"): 1,
                selection("large", "p1", "complex"): 1,
                failure("large", "p1"): 1,
                failure("large", "p2"): 1,
                change("large", "large", "complex"): 1,
                health("large", "p1"): 0,
                health("large", "p2"): 0,
            }

            # Nobody is left to select, and nobody is asked.
            assert await moves(process, model="large", expect=503) == {tier("complex"): 1}

            assert await moves(process, model="nobody's", expect=404) == {}
            assert await moves(process, content="{", expect=400) == {}
            assert (len(one.received), len(two.received)) == (12, 3)

            ours = await scrape(process, "tiergate_requests")
            assert ours == {
                ("tiergate_requests_total", "ok", "simple"): 5,
                ("tiergate_requests_total", "ok", "moderate"): 1,
                ("tiergate_requests_total", "client_error", "complex"): 1,
                ("tiergate_requests_total", "client_error", "none"): 1,
                ("tiergate_requests_total", "upstream_error", "complex"): 2,
                ("tiergate_requests_refused_total", "invalid_request"): 1,
                ("tiergate_requests_in_flight",): 0,
            }
