"""Who may do what on the operators' listener: everything on loopback for those who name it as the
host, on any other address health and nothing else."""

import httpx
import pytest

from tiergate_sidecar.guard import Guard, is_loopback
from tiergate_sidecar.settings import Address

JSON = {"content-type": "application/json"}
NOT_FOUND = (404, "endpoint_not_found")
NOT_JSON = (415, "unsupported_content_type")
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
        ("/", NOT_FOUND),
        ("/reload", NOT_FOUND),
        ("/healthy", NOT_FOUND),
        ("/Health", NOT_FOUND),
        ("/x/health", NOT_FOUND),
    ],
)
async def test_elsewhere_only_health_is_served_whatever_the_host(at, path, expected):
    for method in ("GET", "POST"):
        for host in ("10.1.2.3:9090", "localhost", "evil.test"):
            assert await asked(method, path, at=at, headers=JSON | {"host": host}) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/json", SERVED),
        ("Application/JSON; charset=utf-8", SERVED),
        ("text/plain", NOT_JSON),  # what a form of any page may send without asking
        ("application/x-www-form-urlencoded", NOT_JSON),
        ("text/plain; application/json", NOT_JSON),
        ("", NOT_JSON),
    ],
)
async def test_a_post_needs_what_no_foreign_form_can_send(kind, expected):
    assert await asked("POST", "/reload", headers={"content-type": kind}) == expected
    assert await asked("GET", "/health", headers={"content-type": kind}) == SERVED


async def test_a_post_without_any_content_type_is_refused():
    assert await asked("POST", "/reload", headers={}) == NOT_JSON


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
