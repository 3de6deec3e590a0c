"""Which headers pass the proxy: none of the hop, one framing, no credential by accident."""

import pytest

from tiergate.config import Provider
from tiergate.endpoint import Endpoint, compile_endpoints
from tiergate_sidecar.errors import RequestInvalid
from tiergate_sidecar.proxy_headers import (
    asks_for_websocket,
    framing_of,
    headers_for_app,
    headers_for_provider,
    headers_of_app,
    headers_of_provider,
)


def scope(*headers: tuple[str, str], **more) -> dict:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"headers": pairs, "scheme": "http", "client": ("10.0.0.9", 5), **more}


def endpoint(**settings) -> Endpoint:
    provider = Provider(base_url="http://p1.test/v1", **settings)
    return compile_endpoints({"p1": provider}, {"p1": "sk-1"})["p1"]


# --- how long a body is


@pytest.mark.parametrize(
    ("headers", "version", "length"),
    [
        ([], "1.1", 0),
        ([], "1.0", 0),
        ([("content-length", "0")], "1.1", 0),
        ([("content-length", " 12 ")], "1.1", 12),
        ([("transfer-encoding", "Chunked")], "1.1", None),
        ([], "2", None),
        ([("content-length", "12")], "2", 12),
    ],
)
def test_the_framing_is_read_once(headers, version, length):
    framing = framing_of(scope(("accept", "a/b"), *headers, http_version=version))
    assert (framing.length, framing.is_empty) == (length, length == 0)


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "1"), ("content-length", "2")],
        [("content-length", "1"), ("content-length", "1")],
        [("content-length", "1, 1")],
        [("content-length", "+1")],
        [("content-length", "-1")],
        [("content-length", "")],
        [("content-length", "1" * 19)],
        [("content-length", "1"), ("transfer-encoding", "chunked")],
        [("transfer-encoding", "gzip, chunked")],
        [("transfer-encoding", "identity")],
        [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
    ],
)
def test_a_framing_that_two_servers_could_read_in_two_ways_is_refused(headers):
    with pytest.raises(RequestInvalid):
        framing_of(scope(*headers))


# --- towards the app


def test_an_app_gets_all_but_the_hop_and_is_told_of_it():
    asked = scope(
        ("host", "app.test"), ("x-a", "1"), ("x-b", "2"), ("x-a", "3"), ("cookie", "c=1"),
        ("authorization", "Bearer me"), ("content-length", "3"), ("transfer-encoding", "chunked"),
        ("expect", "100-continue"), ("te", "trailers"), ("trailer", "x"), ("upgrade", "h2c"),
        ("keep-alive", "5"), ("proxy-authorization", "p"), ("proxy-connection", "close"),
        ("connection", "Keep-Alive, X-Hop"), ("x-hop", "1"), ("content-encoding", "gzip"),
    )  # fmt: skip
    assert headers_for_app(asked) == [
        ("x-a", "1"),
        ("x-b", "2"),
        ("x-a", "3"),
        ("cookie", "c=1"),
        ("authorization", "Bearer me"),
        ("content-encoding", "gzip"),
        ("host", "app.test"),
        ("x-forwarded-for", "10.0.0.9"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "app.test"),
    ]


def test_what_proxies_before_us_said_is_continued_and_no_client_can_take_it_away():
    asked = scope(
        ("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3"),
        ("x-forwarded-proto", "https"), ("x-forwarded-host", "www.test"), ("host", "app.test"),
        ("connection", "x-forwarded-for, x-forwarded-proto, x-forwarded-host, host"),
    )  # fmt: skip
    assert headers_for_app(asked) == [
        ("host", "app.test"),
        ("x-forwarded-for", "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.test"),
    ]


@pytest.mark.parametrize(
    ("client", "told"),
    [
        ("::ffff:10.0.0.9", "10.0.0.9"),
        ("10.0.0.9", "10.0.0.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:a00:9", "::ffff:a00:9"),
        ("::1", "::1"),
    ],
)
def test_an_app_is_told_an_ipv4_address_as_it_would_see_it_itself(client, told):
    said = dict(headers_for_app(scope(client=(client, 5))))
    assert said["x-forwarded-for"] == told


def test_a_client_without_address_or_host_is_told_of_as_far_as_it_goes():
    assert headers_for_app(scope(client=None)) == [("x-forwarded-proto", "http")]


def test_two_hosts_are_refused():
    with pytest.raises(RequestInvalid):
        headers_for_app(scope(("host", "a"), ("host", "a")))


def test_a_header_is_written_in_utf8():
    asked = scope(("x-a", "caf\xc3\xa9"), ("x-b", "caf\xe9"))
    assert headers_for_app(asked)[:2] == [("x-a", "café"), ("x-b", "café")]


# --- from the app


def test_of_an_apps_answer_passes_all_but_the_hop_in_its_order():
    answered = [
        (b"Set-Cookie", b"a=1"), (b"Server", b"app"), (b"Set-Cookie", b"b=1"), (b"X-A", b"caf\xe9"),
        (b"Connection", b"close, X-Hop"), (b"X-Hop", b"1"), (b"Keep-Alive", b"5"),
        (b"Content-Length", b"3"), (b"Date", b"now"), (b"set-cookie", b"a=2"),
        (b"Strict-Transport-Security", b"max-age=1"),
    ]  # fmt: skip
    assert headers_of_app(answered, 200) == [
        (b"set-cookie", b"a=1"),
        (b"server", b"app"),
        (b"set-cookie", b"b=1"),
        (b"x-a", b"caf\xe9"),
        (b"content-length", b"3"),
        (b"set-cookie", b"a=2"),
        (b"strict-transport-security", b"max-age=1"),
    ]


@pytest.mark.parametrize(
    ("status", "more", "kept"),
    [
        (200, [], True),
        (206, [], True),
        (204, [], False),
        (304, [], False),
        (200, [(b"Transfer-Encoding", b"chunked")], False),
    ],
)
def test_a_length_passes_where_a_body_of_that_length_comes(status, more, kept):
    answered = [(b"Content-Length", b"3"), *more]
    expected = [(b"content-length", b"3")] if kept else []
    assert headers_of_app(answered, status) == expected
    assert headers_of_provider(answered, status, endpoint()) == expected


# --- towards a provider, and from it


def test_a_provider_gets_its_own_credential_and_what_its_endpoints_need():
    asked = scope(
        ("host", "us"), ("authorization", "Bearer client"), ("api-key", "c"), ("cookie", "a=1"),
        ("openai-project", "p"), ("user-agent", "me"), ("x-forwarded-for", "1.1.1.1"),
        ("content-type", "a/b"), ("accept", "c/d"), ("openai-beta", "x"), ("range", "bytes=1-"),
        ("content-encoding", "gzip"), ("idempotency-key", "k"), ("traceparent", "t"),
        ("x-team", "7"), ("content-length", "3"), ("expect", "100-continue"),
    )  # fmt: skip
    to = endpoint(forward_headers=["X-Team"], headers={"X-Own": "1"})
    assert headers_for_provider(asked, to) == [
        ("accept-encoding", "identity"),
        ("user-agent", "tiergate"),
        ("authorization", "Bearer sk-1"),
        ("x-own", "1"),
        ("content-type", "a/b"),
        ("accept", "c/d"),
        ("openai-beta", "x"),
        ("range", "bytes=1-"),
        ("content-encoding", "gzip"),
        ("idempotency-key", "k"),
        ("traceparent", "t"),
        ("x-team", "7"),
    ]


def test_a_client_may_ask_a_provider_for_a_compressed_answer():
    said = dict(headers_for_provider(scope(("accept-encoding", "gzip")), endpoint()))
    assert said["accept-encoding"] == "gzip"


def test_what_the_configuration_fixes_no_client_changes():
    asked = scope(("content-encoding", "gzip"), ("range", "bytes=1-"), ("accept", "a/b"))
    to = endpoint(headers={"Content-Encoding": "br", "Range": "bytes=2-", "Accept": "c/d"})
    said = headers_for_provider(asked, to)
    assert len(dict(said)) == len(said)
    assert dict(said)["content-encoding"] == "br"
    assert dict(said)["range"] == "bytes=2-"
    assert dict(said)["accept"] == "c/d"


def test_what_connection_names_is_not_for_a_provider():
    asked = scope(("accept", "a/b"), ("connection", "accept"))
    assert "accept" not in dict(headers_for_provider(asked, endpoint()))


@pytest.mark.parametrize("value", ["caf\xe9", "a\x00b", "a\x7f"])
def test_what_is_not_printable_is_refused_on_the_way_to_a_provider(value):
    with pytest.raises(RequestInvalid, match="accept"):
        headers_for_provider(scope(("accept", value)), endpoint())


def test_of_a_providers_answer_passes_its_content_and_nothing_that_speaks_for_us():
    passed = [
        (b"content-length", b"3"), (b"content-range", b"bytes 0-2/9"), (b"etag", b'"1"'),
        (b"location", b"/v1/x"), (b"vary", b"a"), (b"vary", b"b"),
        (b"content-type", b"a/b"), (b"content-encoding", b"gzip"), (b"openai-version", b"1"),
        (b"x-ratelimit-reset", b"1"), (b"retry-after", b"1"), (b"x-team", b"7"),
    ]  # fmt: skip
    stopped = [
        (b"set-cookie", b"a=1"), (b"server", b"p"), (b"alt-svc", b"h3"), (b"date", b"now"),
        (b"strict-transport-security", b"x"), (b"access-control-allow-origin", b"*"),
        (b"content-security-policy", b"x"), (b"x-arbstr-provider", b"me"), (b"x-other", b"1"),
    ]  # fmt: skip
    given = [(name.title(), value) for name, value in stopped + passed]
    assert headers_of_provider(given, 206, endpoint(expose_headers=["X-Team"])) == passed


def test_what_is_content_passes_once_even_where_it_is_exposed_too():
    made = endpoint(expose_headers=["ETag"])
    assert headers_of_provider([(b"ETag", b"1")], 200, made) == [(b"etag", b"1")]


@pytest.mark.parametrize(
    ("header", "asks"),
    [
        (("upgrade", "websocket"), True),
        (("upgrade", "WebSocket"), True),
        (("upgrade", "h2c, websocket"), True),
        (("upgrade", "h2c"), False),
        (("x-upgrade", "websocket"), False),
    ],
)
def test_a_websocket_is_told_by_its_upgrade(header, asks):
    assert asks_for_websocket(scope(("host", "a"), header)) is asks
