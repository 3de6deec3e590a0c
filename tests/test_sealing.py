"""What all pages of the operators have in common: nobody keeps or frames them, nothing runs in
them, and no foreign form can post to them."""

import httpx
import pytest
from starlette.responses import PlainTextResponse

from tiergate_sidecar.sealing import COMMON, Sealed


def client(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(Sealed(app)), base_url="http://admin")


async def test_every_answer_has_the_common_headers():
    async with client(PlainTextResponse("hi")) as one:
        for answer in (await one.get("/"), await one.post("/")):
            assert COMMON.items() <= dict(answer.headers).items()
    assert COMMON["cache-control"] == "no-store"


async def test_a_page_keeps_a_policy_of_its_own():
    own = PlainTextResponse("hi", headers={"content-security-policy": "default-src 'self'"})
    async with client(own) as one:
        answer = await one.get("/")
    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),  # what a form of any page may send without asking
        ("application/x-www-form-urlencoded", 415),
        ("text/plain; application/json", 415),
        ("", 415),
        (None, 415),
    ],
)
async def test_a_post_needs_what_no_foreign_form_can_send(kind, status):
    headers = {} if kind is None else {"content-type": kind}
    async with client(PlainTextResponse("hi")) as one:
        answer = await one.post("/", headers=headers)
        assert answer.status_code == status
        assert (await one.get("/", headers=headers)).status_code == 200
    if status == 415:
        assert answer.json()["error"]["code"] == "unsupported_content_type"


async def test_what_is_not_http_passes():
    heard = []

    async def app(scope, receive, send):
        heard.append((scope["type"], send))

    await Sealed(app)({"type": "lifespan"}, None, "send")
    assert heard == [("lifespan", "send")]
