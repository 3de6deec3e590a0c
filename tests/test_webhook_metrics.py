"""What the webhook counts, and that Prometheus can read it."""

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request

from tiergate import __version__
from tiergate_sidecar.webhook_metrics import SECONDS, WebhookMetrics


async def scraped(metrics, accept=""):
    page = await metrics.page(Request({"type": "http", "headers": [(b"accept", accept.encode())]}))
    return page.headers["content-type"], page.body.decode()


async def values(metrics):
    families = text_string_to_metric_families((await scraped(metrics))[1])
    samples = [sample for family in families for sample in family.samples]
    # Labels stand in the order of their names there.
    return {(each.name, *each.labels.values()): each.value for each in samples}


async def test_requests_are_counted_by_result_and_reason_with_their_time():
    metrics = WebhookMetrics(lambda: None)
    metrics.answered("injected", "injected", 0.002)
    metrics.answered("injected", "injected", 0.002)
    metrics.answered("refused", "port_clash", 7)
    read = await values(metrics)
    assert read["tiergate_webhook_requests_total", "injected", "injected"] == 2
    assert read["tiergate_webhook_requests_total", "port_clash", "refused"] == 1
    buckets = {
        bound: read["tiergate_webhook_duration_seconds_bucket", str(bound)] for bound in SECONDS
    }
    assert [buckets[bound] for bound in (0.001, 0.0025, 5.0)] == [0, 2, 2]
    assert read["tiergate_webhook_duration_seconds_count",] == 3


async def test_errors_of_our_own_are_counted_beside():
    metrics = WebhookMetrics(lambda: None)
    metrics.erred("timeout")
    assert (await values(metrics))["tiergate_webhook_errors_total", "timeout"] == 1


async def test_the_certificates_end_is_that_of_the_moment():
    ends = [None, 1_800_000_000.0]
    metrics = WebhookMetrics(lambda: ends.pop(0))
    name = "tiergate_webhook_certificate_expiry_timestamp_seconds"
    assert math.isnan((await values(metrics))[name,])
    assert (await values(metrics))[name,] == 1_800_000_000


async def test_it_says_what_runs_and_how_the_process_is():
    read = await values(WebhookMetrics(lambda: None))
    assert read["tiergate_build_info", __version__] == 1
    assert read["process_resident_memory_bytes",] > 0


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("text/plain; version=one", "text/plain"),
    ],
)
async def test_the_page_is_in_the_form_that_was_asked_for(accept, media_type):
    kind, _ = await scraped(WebhookMetrics(lambda: None), accept)
    assert kind.startswith(media_type)


async def test_two_of_them_do_not_share_a_registry():
    one, two = (WebhookMetrics(lambda: None) for _ in range(2))
    one.answered("injected", "injected", 0.1)
    assert ("tiergate_webhook_requests_total", "injected", "injected") not in await values(two)
