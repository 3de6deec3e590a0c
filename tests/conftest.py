"""Where each test runs: on virtual time, or, in the few files that open sockets, on a real loop.

The two fixtures are those of the fake providers' own tests (`test_mock*.py`).
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import uvloop

from tiergate.testing import VirtualLoop
from tiergate_sidecar.mock import MockProviders

REAL_SOCKETS = {
    "test_transport.py",
    "test_rawhttp.py",
    "test_mock.py",
    "test_mock_answers.py",
    "test_mock_scripts.py",
    "test_server.py",
    "test_listener.py",
    "test_http_protocol.py",
    "test_redis_link.py",
    "test_redis_client.py",
    "test_cache.py",
    "test_shared_sessions.py",
    "test_file_watch.py",
    "test_http_source.py",
    "test_log_schema.py",
    "test_log_sql.py",
    "test_requestlog.py",
    "test_sql_history.py",
    "test_in_thread.py",
    "test_trials.py",
    "test_log_queries.py",
    "test_replaying.py",
    "test_otel.py",
    "test_upstreams.py",
    "test_kube.py",
    "test_webhook_server.py",
}


# The sidecar serves on uvloop, a host app on either: each ring meets both.
ON_ASYNCIO = REAL_SOCKETS | {"test_faults.py", "test_hosts.py"}


def pytest_asyncio_loop_factories(config, item):
    if item.path.name in ON_ASYNCIO:
        return {"asyncio": asyncio.new_event_loop}
    if item.path.parent.name == "e2e":
        return {"uvloop": uvloop.new_event_loop}
    return {"virtual": VirtualLoop}


@pytest.fixture
async def mock() -> AsyncIterator[MockProviders]:
    times = iter(range(10_000))
    async with MockProviders(
        now=lambda: 1_700_000_000.5, clock=lambda: float(next(times)), token_delay_seconds=0
    ) as providers:
        yield providers


@pytest.fixture
async def client(mock: MockProviders) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mock.server.url, timeout=5) as one:
        yield one
