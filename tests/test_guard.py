"""Who may do what on the operators' listener: everything on loopback for those who name it as the
host, on any other address health and metrics; with a token the rest for whoever shows it."""

import asyncio
from itertools import count

import httpx
import pytest
from starlette.responses import Response

from tiergate_sidecar.guard import LOGIN_SECONDS, LONGEST_LOGIN, Guard, is_loopback
from tiergate_sidecar.login import LIFETIME, Token
from tiergate_sidecar.settings import Address

JSON = {"content-type": "application/json"}
NOT_FOUND = (404, "endpoint_not_found")
NO_TOKEN = (401, "invalid_api_key")
FOREIGN = (403, "host_not_allowed")
SERVED = (200, None)


async def pages(scope, receive, send):
    """Everything that the guard lets through."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'"served"'})


async def asked(method, path, *, at="127.0.0.1", headers=JSON):
    over = httpx.ASGITransport(Guard(pages, Address(at, 9090)))
    async with httpx.AsyncClient(transport=over, base_url="http://127.0.0.1:9090") as client:
        answer = await client.request(method, path, headers=headers)
    said = answer.json()
    return answer.status_code, None if said == "served" else said["error"]["code"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", SERVED),
        ("LOCALHOST:9090", SERVED),
        ("127.0.0.1:9090", SERVED),
        ("127.0.0.1:1", SERVED),  # `kubectl port-forward 1:9090`
        ("127.8.9.1", SERVED),
        ("[::1]", SERVED),
        ("[::1]:9090", SERVED),
        ("evil.test", FOREIGN),
        ("evil.test:9090", FOREIGN),
        ("localhost.evil.test", FOREIGN),
        ("127.0.0.1.evil.test:9090", FOREIGN),
        ("10.0.0.1:9090", FOREIGN),
        ("[::1.evil.test]:9090", FOREIGN),
        ("[2001:db8::1]", FOREIGN),
        ("0.0.0.0:9090", FOREIGN),
        ("", FOREIGN),
    ],
)
@pytest.mark.parametrize("path", ["/health", "/health/live", "/reload", "/anything"])
async def test_on_loopback_only_who_names_it_as_the_host_is_served(host, expected, path):
    for method in ("GET", "POST"):
        assert await asked(method, path, headers=JSON | {"host": host}) == expected


async def test_a_name_of_its_own_is_a_host_too():
    assert await asked("GET", "/reload", at="LocalHost", headers={"host": "localhost:1"}) == SERVED
    assert await asked("GET", "/reload", at="::1", headers={"host": "[::1]:9090"}) == SERVED


@pytest.mark.parametrize("at", ["0.0.0.0", "10.1.2.3", "::", "pod.internal"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/health", SERVED),
        ("/health/live", SERVED),
        ("/health/ready", SERVED),
        ("/metrics", SERVED),
        ("/health/else", NOT_FOUND),
        ("/metrics/", NOT_FOUND),
        ("/login", NOT_FOUND),
        ("/v1/requests", NOT_FOUND),
        ("/", NOT_FOUND),
        ("/reload", NOT_FOUND),
        ("/healthy", NOT_FOUND),
        ("/Health", NOT_FOUND),
        ("/x/health", NOT_FOUND),
    ],
)
async def test_elsewhere_only_health_and_metrics_are_served_whatever_the_host(at, path, expected):
    for method in ("GET", "POST"):
        for host in ("10.1.2.3:9090", "localhost", "evil.test"):
            assert await asked(method, path, at=at, headers=JSON | {"host": host}) == expected


# --- with a token ------------------------------------------------------------------------------


def guarded(at, now=1000):
    app = Guard(pages, Address(at, 9090), Token("swordfish", lambda: now))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9090")


@pytest.mark.parametrize("at", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("path", ["/v1/requests", "/v1/live", "/config", "/reload", "/healthy"])
async def test_with_a_token_it_opens_everything_and_nothing_else_does(at, path):
    async with guarded(at) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": "tiergate=1.2"}):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == NO_TOKEN
            assert answer.headers["www-authenticate"] == "Bearer"
        answer = await client.get(path, headers={"authorization": "Bearer swordfish"})
        assert (answer.status_code, answer.json()) == (200, "served")


@pytest.mark.parametrize("at", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready", "/metrics"])
async def test_health_metrics_and_the_page_that_asks_for_the_token_stay_open(at, path):
    async with guarded(at) as client:
        assert (await client.get(path)).json() == "served"


async def test_on_loopback_the_token_does_not_stand_for_the_host():
    right = {"authorization": "Bearer swordfish"}
    async with guarded("127.0.0.1") as client:
        answer = await client.get("/v1/requests", headers={**right, "host": "evil.test"})
        assert (answer.status_code, answer.json()["error"]["code"]) == FOREIGN
    async with guarded("0.0.0.0") as client:  # by whatever name a pod is reached
        answer = await client.get("/v1/requests", headers={**right, "host": "pod.internal"})
        assert answer.status_code == 200


async def test_a_login_opens_the_pages_by_a_cookie_until_it_ends():
    async with guarded("127.0.0.1") as client:
        answer = await client.post("/login", json={"token": "swordfish"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
        assert (await client.get("/v1/requests")).json() == "served"
        cookie = {"cookie": f"tiergate={client.cookies['tiergate']}"}
    async with guarded("127.0.0.1", now=1000 + LIFETIME) as client:
        assert (await client.get("/v1/requests", headers=cookie)).status_code == 401


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"token": "wrong"}', "application/json", 401),
        (b'{"token": ""}', "application/json", 401),
        (b'{"token": 5}', "application/json", 401),
        (b"{}", "application/json", 401),
        (b"swordfish", "application/json", 401),
        (b'{"token": "swordfish"}', "text/plain", 415),
        (b'{"token": "%s"}' % (b"x" * LONGEST_LOGIN), "application/json", 401),
        (b"", "application/json", 401),
    ],
)
async def test_a_login_without_the_token_gets_no_cookie(content, kind, status):
    async with guarded("127.0.0.1") as client:
        headers = {"content-type": kind}
        answer = await client.post("/login", content=content, headers=headers)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("piece", "waits", "seconds"),
    [(b"x" * 1000, 1, 4), (b"x", 1, LOGIN_SECONDS), (b"", 60, LOGIN_SECONDS), (None, 0, 0)],
)
async def test_a_login_without_end_is_refused_in_time(piece, waits, seconds):
    app = Guard(pages, Address("127.0.0.1", 9090), Token("swordfish", lambda: 1000))
    loop, sent = asyncio.get_running_loop(), []
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/login", "headers": headers}
    began, turn = loop.time(), count()

    async def receive():
        await asyncio.sleep(waits if next(turn) else 0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 401
    assert loop.time() - began == pytest.approx(seconds)


async def test_over_tls_the_cookie_stays_there():
    app = Guard(pages, Address("0.0.0.0", 9090), Token("swordfish", lambda: 1000))
    over = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=over, base_url="https://pod") as client:
        answer = await client.post("/login", json={"token": "swordfish"})
    assert answer.headers["set-cookie"].endswith("; Secure")


async def test_without_a_token_there_is_no_login():
    app = Guard(Response(status_code=404), Address("127.0.0.1", 9090))
    over = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=over, base_url="http://127.0.0.1") as client:
        assert (await client.post("/login", json={"token": ""})).status_code == 404


async def test_what_is_not_http_passes():
    heard = []

    async def app(scope, receive, send):
        heard.append(scope["type"])

    await Guard(app, Address("0.0.0.0", 9090))({"type": "lifespan"}, None, None)
    assert heard == ["lifespan"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *[("127.0.0.1", True), ("127.255.0.1", True), ("::1", True), ("localhost", True)],
        *[("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("pod", False), ("", False)],
    ],
)
def test_loopback_is_this_machine_alone(host, expected):
    assert is_loopback(host) is expected
