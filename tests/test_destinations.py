"""Where a proxied request goes: the app byte for byte, a provider below its base; who says no."""

import pytest

from tiergate.config import Provider
from tiergate.endpoint import Endpoint, compile_endpoints
from tiergate_sidecar.destinations import (
    APP_CONNECT_SECONDS,
    APP_KEEPALIVE_SECONDS,
    App,
    ProviderPath,
    Silence,
)
from tiergate_sidecar.errors import ProviderFailed, RequestInvalid


def scope(raw_path: bytes = b"/", query: bytes = b"", **more) -> dict:
    return {"raw_path": raw_path, "query_string": query, "headers": [], "client": None, **more}


def provided(path: str = "embeddings", **settings) -> ProviderPath:
    provider = Provider(**{"base_url": "http://p1.test/v1", **settings})
    return ProviderPath(compiled(provider), path, Silence(600, 30))


def compiled(provider: Provider, key: str = "sk-1") -> Endpoint:
    return compile_endpoints({"p1": provider}, {"p1": key})["p1"]


@pytest.mark.parametrize("target", ["http://app.test", "http://app.test/"])
@pytest.mark.parametrize(
    ("path", "query", "url"),
    [
        (b"/", b"", "http://app.test/"),
        (b"/a%2Fb//c/../d", b"", "http://app.test/a%2Fb//c/../d"),
        (b"//a", b"x=%zz&y=?&&", "http://app.test//a?x=%zz&y=?&&"),
    ],
)
def test_the_app_is_asked_for_the_same_bytes(target, path, query, url):
    assert App(target, 600, 9).url(scope(path, query)) == url


def test_what_is_no_path_does_not_become_a_part_of_the_host():
    with pytest.raises(RequestInvalid):
        App("http://app.test", 600, 9).url(scope(b"*"))


def test_an_app_may_live_below_a_path():
    assert App("http://app.test/base/", 600, 9).url(scope(b"/a")) == "http://app.test/base/a"


def test_the_app_is_near_and_waited_for_as_long_as_without_us():
    app = App("http://app.test", 600, 9)
    made = app.connections()
    assert (made.limit, made.connect) == (9, APP_CONNECT_SECONDS)
    assert made.keepalive == APP_KEEPALIVE_SECONDS < 2  # the shortest of the servers known
    assert app.silence == Silence(600, 600)


@pytest.mark.parametrize(
    ("base", "query", "url"),
    [
        ("http://p1.test/v1", b"", "http://p1.test/v1/embeddings"),
        ("http://p1.test/v1/", b"a=%2F", "http://p1.test/v1/embeddings?a=%2F"),
        ("http://p1.test/d?api-version=1", b"", "http://p1.test/d/embeddings?api-version=1"),
        ("http://p1.test/d?api-version=1", b"a", "http://p1.test/d/embeddings?api-version=1&a"),
    ],
)
def test_a_provider_is_asked_below_its_base(base, query, url):
    assert provided(base_url=base).url(scope(b"/v1/embeddings", query)) == url


def test_the_connections_of_a_provider_are_those_of_its_settings():
    made = provided(
        max_connections=7,
        acquire_timeout_seconds=2,
        connect_timeout_seconds=4,
        keepalive_seconds=5,
        proxy_url="http://proxy.test:1",
    ).connections()
    assert (made.limit, made.patience, made.connect, made.keepalive) == (7, 2, 4, 5)
    assert (made.trust, made.proxy_url) == (True, "http://proxy.test:1")


def test_a_new_key_needs_no_new_connections_a_new_address_does():
    first = provided()
    other_key = ProviderPath(compiled(first.endpoint.settings, "sk-2"), "x", first.silence)
    assert first.pool == other_key.pool
    assert first.pool != provided(base_url="http://p2.test/v1").pool
    app = App("http://a", 1, 9).pool
    assert app == App("http://a", 2, 9).pool
    assert app != App("http://b", 1, 9).pool
    assert app != App("http://a", 1, 8).pool


@pytest.mark.parametrize("status", [401, 403])
def test_a_providers_no_to_our_key_is_not_the_clients_to_hear(status):
    with pytest.raises(ProviderFailed) as failed:
        provided().answer_headers([], status)
    assert (failed.value.provider, failed.value.status) == ("p1", 502)
    assert provided(credentials="client").answer_headers([], status) == []


@pytest.mark.parametrize(
    ("say", "status", "app_code", "provider_code"),
    [
        ("failed", 502, "bad_gateway", "provider_error"),
        ("late", 504, "deadline_exceeded", "deadline_exceeded"),
        ("busy", 503, "overloaded", "overloaded"),
    ],
)
def test_who_does_not_answer_is_said_without_an_address(say, status, app_code, provider_code):
    by_app, by_provider = [
        getattr(each, say)() for each in (App("http://h.test", 1, 9), provided())
    ]
    assert (by_app.status, by_app.code, by_app.provider) == (status, app_code, None)
    assert (by_provider.status, by_provider.code, by_provider.provider) == (
        status,
        provider_code,
        "p1",
    )
    assert b".test" not in by_app.body() + by_provider.body()
    assert (by_app.retry_after is not None) is (status == 503)
