"""Only who shows a token gets past the gate, and what is behind it never sees the token."""

import httpx
import pytest

from tiergate import Caller, Refused
from tiergate_sidecar.gate import Gate
from tiergate_sidecar.tokens import Tokens


async def behind(scope, receive, send):
    """Answers with the request's headers."""
    seen = b";".join(b"%s=%s" % pair for pair in scope["headers"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": seen})


def gate(tmp_path, app=behind):
    (tmp_path / "tokens").write_text("ada: sk-one\n")
    return Gate(app, Tokens(tmp_path / "tokens"))


def bearing(*values):
    return [(b"authorization", value) for value in values]


@pytest.mark.parametrize("value", [b"Bearer sk-one", b"bearer  sk-one", b"BEARER sk-one "])
async def test_a_token_opens_and_stays_at_the_gate(tmp_path, value):
    one = gate(tmp_path)
    assert await one.authorize({"headers": bearing(value)}) == Caller("ada")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(one), base_url="http://a", headers={"x-kept": "yes"}
    ) as client:
        answer = await client.get("/", headers={"authorization": value.decode()})
    assert answer.status_code == 200
    assert "x-kept=yes" in answer.text
    assert "sk-one" not in answer.text


@pytest.mark.parametrize(
    "values",
    [
        *((), (b"sk-one",), (b"Basic sk-one",), (b"Bearer sk-two",), (b"Bearer",)),
        *((b"Bearer \xff",), (b"Bearer sk-one", b"Bearer sk-one")),
    ],
)
async def test_whatever_else_is_shown_opens_nothing(tmp_path, values):
    with pytest.raises(Refused) as refused:
        await gate(tmp_path).authorize({"headers": bearing(*values)})
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")


async def test_a_refusal_is_in_the_one_shape_and_says_what_to_send(tmp_path):
    over = httpx.ASGITransport(gate(tmp_path))
    async with httpx.AsyncClient(transport=over, base_url="http://a") as client:
        answer = await client.get("/anything")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert "Authorization: Bearer" in error["message"]


async def test_what_is_no_request_passes(tmp_path):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await gate(tmp_path, app)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]
