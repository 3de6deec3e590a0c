"""Where a provider's requests go, what they carry of the client's, and what comes back of it."""

import pytest

from tiergate.config import Provider
from tiergate.endpoint import Endpoint, compile_endpoints
from tiergate.request_headers import read_headers

CREDENTIALS = [
    (b"authorization", b"Bearer client"),
    (b"api-key", b"client"),
    (b"openai-organization", b"org"),
    (b"openai-project", b"proj"),
]
COMMON = [(b"content-type", b"application/json"), (b"accept", b"a/b"), (b"openai-beta", b"x=1")]
NEVER = [
    (b"cookie", b"session=1"),
    (b"host", b"us.test"),
    (b"content-length", b"5"),
    (b"transfer-encoding", b"chunked"),
    (b"connection", b"keep-alive, x-secret"),
    (b"expect", b"100-continue"),
    (b"te", b"trailers"),
    (b"accept-encoding", b"gzip"),
    (b"x-forwarded-for", b"10.0.0.1"),
    (b"x-secret", b"1"),
    (b"x-sentinel-tier", b"simple"),
    (b"user-agent", b"OpenAI/Python"),
]
FIXED = {"user-agent": "tiergate", "accept-encoding": "identity"}


def endpoint(key: str | None = None, **provider) -> Endpoint:
    settings = Provider(**{"base_url": "http://p1.test/v1", **provider})
    return compile_endpoints({"p1": settings}, {"p1": key})["p1"]


def sent(made: Endpoint, pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers = made.request_headers(read_headers(pairs), "key-1")
    assert len(dict(headers)) == len(headers), "a header is sent twice"
    assert headers == [(name.lower(), value) for name, value in headers]
    return dict(headers)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://a/v1", "http://a/v1/chat/completions"),
        ("http://a/v1/", "http://a/v1/chat/completions"),
        ("http://a/v1//", "http://a/v1/chat/completions"),
        ("https://a:8443", "https://a:8443/chat/completions"),
        ("https://a/", "https://a/chat/completions"),
        (
            "https://a/openai/deployments/d%2Fe?api-version=2024-10-21&x=%20",
            "https://a/openai/deployments/d%2Fe/chat/completions?api-version=2024-10-21&x=%20",
        ),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1/chat/completions"),
    ],
)
def test_the_chat_path_is_joined_to_the_base(base, url):
    assert endpoint(base_url=base).url == url


@pytest.mark.parametrize(
    ("base", "query", "url"),
    [
        ("http://a/v1", "", "http://a/v1/audio/x%2Fy"),
        ("http://a/v1/", "b=%20", "http://a/v1/audio/x%2Fy?b=%20"),
        ("http://a/d?api-version=1", "", "http://a/d/audio/x%2Fy?api-version=1"),
        ("http://a/d?api-version=1", "b&c=", "http://a/d/audio/x%2Fy?api-version=1&b&c="),
    ],
)
def test_another_path_is_joined_to_the_base_with_both_queries(base, query, url):
    assert endpoint(base_url=base).below("audio/x%2Fy", query) == url


def test_only_the_common_headers_of_a_client_go_on():
    told = sent(endpoint("ours"), [*NEVER, *CREDENTIALS, *COMMON])
    common = {name.decode(): value.decode() for name, value in COMMON}
    ours = {"authorization": "Bearer ours", "idempotency-key": "key-1"}
    assert told == FIXED | common | ours


def test_without_a_key_nothing_is_sent_in_its_place():
    assert "authorization" not in sent(endpoint(), [*CREDENTIALS, *COMMON])


def test_a_request_without_a_content_type_is_sent_as_json():
    assert sent(endpoint(), [])["content-type"] == "application/json"
    assert sent(endpoint(headers={"Content-Type": "a/b"}), COMMON)["content-type"] == "a/b"


def test_the_clients_credentials_go_where_the_provider_says_so_and_cookies_never():
    made = endpoint(credentials="client")
    told = sent(made, [*NEVER, *CREDENTIALS, *COMMON])
    assert {name: told[name.decode()].encode() for name, _ in CREDENTIALS} == dict(CREDENTIALS)
    assert not {name.decode() for name, _ in NEVER} & told.keys() - FIXED.keys()
    assert not made.own_credential
    assert endpoint("ours").own_credential


def test_headers_named_to_be_forwarded_are():
    made = endpoint(forward_headers=("X-Tenant", "User-Agent"))
    told = sent(made, [(b"x-tenant", b"t"), (b"user-agent", b"OpenAI/Python"), (b"x-other", b"o")])
    assert (told["x-tenant"], told["user-agent"]) == ("t", "OpenAI/Python")
    assert "x-other" not in told


def test_fixed_headers_win_over_the_clients():
    made = endpoint(
        "ours",
        credentials="client",
        headers={"X-Tenant": "fixed", "OpenAI-Organization": "fixed", "User-Agent": "fixed"},
        forward_headers=("x-tenant", "user-agent"),
    )
    told = sent(made, [(b"x-tenant", b"c"), (b"user-agent", b"c"), *CREDENTIALS])
    fixed = {told[name] for name in ("x-tenant", "openai-organization", "user-agent")}
    assert fixed == {"fixed"}
    assert told["authorization"] == "Bearer ours"
    assert told["openai-project"] == "proj"


def test_a_configured_authorization_takes_the_place_of_the_key():
    made = endpoint("ours", headers={"Authorization": "Basic abc"})
    assert sent(made, CREDENTIALS)["authorization"] == "Basic abc"


PASSED = [
    (b"Content-Type", b"application/json"),
    (b"content-encoding", b"gzip"),
    (b"Retry-After", b"3"),
    (b"X-Request-Id", b"theirs"),
    (b"X-RateLimit-Remaining-Tokens", b"9"),
    (b"openai-processing-ms", b"5"),
]
KEPT_BACK = [
    (b"Set-Cookie", b"a=b"),
    (b"Strict-Transport-Security", b"max-age=1"),
    (b"Alt-Svc", b"h3"),
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Content-Security-Policy", b"x"),
    (b"Content-Length", b"5"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Connection", b"close"),
]


def test_of_the_answers_headers_only_those_pass_that_speak_of_the_answer():
    more = [*KEPT_BACK, (b"Server", b"x"), (b"X-Mine", b"1")]
    passed = endpoint().answer_headers((*PASSED, *more))
    assert passed == [(name.lower(), value) for name, value in PASSED]


def test_headers_named_to_be_exposed_pass_too():
    made = endpoint(expose_headers=("X-Mine",))
    assert made.answer_headers((*KEPT_BACK, (b"x-mine", b"1"))) == [(b"x-mine", b"1")]


def test_an_endpoint_never_shows_its_key():
    made = endpoint("sk-secret")
    assert repr(made) == "<Endpoint p1 http://p1.test/v1/chat/completions>"


@pytest.mark.parametrize(
    "other",
    [
        {"base_url": "http://p2.test/v1"},
        {"base_url": "http://p1.test/v2"},
        {"max_connections": 7},
        {"acquire_timeout_seconds": 7},
        {"connect_timeout_seconds": 7},
        {"keepalive_seconds": 7},
        {"proxy_url": "http://proxy.test:3128"},
    ],
    ids=lambda other: " ".join(map(str, *other.items())),
)
def test_what_connections_depend_on_makes_another_pool(other):
    assert endpoint().pool == endpoint().pool
    assert endpoint(**other).pool != endpoint().pool


def test_a_name_or_other_certificates_make_another_pool_too():
    provider = Provider(base_url="http://p1.test/v1")
    made = [
        compile_endpoints({name: provider}, {}, {name: ca})[name]
        for name, ca in (("p1", None), ("p2", None), ("p1", "one"), ("p1", "two"))
    ]
    assert len({each.pool for each in made}) == 4
    assert [each.ca for each in made] == [None, None, "one", "two"]


def test_keys_and_headers_share_one_pool():
    same = [
        endpoint("one"),
        endpoint("two"),
        endpoint(headers={"X-A": "1"}, forward_headers=("x-b",), expose_headers=("x-c",)),
        endpoint(credentials="client", stream_usage=False),
        endpoint(keepalive_seconds=4),  # what http has anyway
    ]
    assert len({each.pool for each in same}) == 1


def test_an_endpoint_never_shows_the_password_of_its_proxy():
    assert "secret" not in repr(endpoint(proxy_url="http://me:secret@proxy.test:3128"))
