"""The operators' token: shown by header or by the cookie of a login, for so long, and in no other
way."""

import pytest
from starlette.datastructures import Headers

from tiergate import ConfigError
from tiergate_sidecar.login import LIFETIME, Token, read_token
from tiergate_sidecar.settings import Admin

NOW = 1_700_000_000


def token(secret="swordfish", now=NOW):
    return Token(secret, lambda: now)


def cookie_of(made):
    return made.cookie(secure=False).partition(";")[0]


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("Bearer swordfish", True),
        ("bearer  swordfish ", True),
        ("Bearer swordfis", False),
        ("Bearer swordfishs", False),
        ("Bearer sw\xf6rdfish", False),
        ("Bearer ", False),
        ("Basic swordfish", False),
        ("swordfish", False),
        ("", False),
    ],
)
def test_the_token_is_shown_as_a_bearer(header, shown):
    assert token().is_shown_by(Headers({"authorization": header})) is shown


@pytest.mark.parametrize(("later", "shown"), [(0, True), (LIFETIME - 1, True), (LIFETIME, False)])
def test_a_login_lasts_so_long(later, shown):
    headers = Headers({"cookie": f"other=1; {cookie_of(token())}; more=2"})
    assert token(now=NOW + later).is_shown_by(headers) is shown


def test_the_cookie_is_for_no_script_no_foreign_page_and_holds_no_token():
    plain, secure = token().cookie(secure=False), token().cookie(secure=True)
    assert "swordfish" not in plain
    for flag in ("Path=/", f"Max-Age={LIFETIME}", "HttpOnly", "SameSite=Strict"):
        assert flag in plain.split("; ")
    assert secure == f"{plain}; Secure"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "tiergate=",
        "tiergate=swordfish",
        f"tiergate={NOW + 9}.",
        f"tiergate={NOW + 9}." + "0" * 64,
        f"tiergate={'9' * 5000}." + "0" * 64,
        "tiergate=٣.x",
        "tiergate=.",
        "tiergate; ;;=",
        "\x00=\x01",
        cookie_of(token("another")),
        cookie_of(token()).replace(str(NOW + LIFETIME), str(NOW + LIFETIME + 1)),
        cookie_of(token()).replace("tiergate=", "tiergata="),
    ],
)
def test_no_other_cookie_shows_it(value):
    headers = Headers(raw=[(b"cookie", value.encode("utf-8"))])
    assert token().is_shown_by(headers) is False


def test_of_several_cookie_headers_one_is_enough():
    raw = [
        (b"cookie", b"x=1; a/b={c"),
        (b"cookie", b"a b=c;;="),
        (b"cookie", cookie_of(token()).encode()),
    ]
    assert token().is_shown_by(Headers(raw=raw)) is True


def test_the_token_is_read_from_the_variable_that_the_setting_names(monkeypatch):
    monkeypatch.setenv("OPS_TOKEN", " swordfish\n")
    made = read_token(Admin(token_env="OPS_TOKEN"), lambda: NOW)
    assert made.is_right("swordfish")
    assert "swordfish" not in repr(made)
    assert read_token(Admin(), lambda: NOW) is None


@pytest.mark.parametrize("value", [None, "", "  ", "sw\xf6rdfish", "a\nb"])
def test_a_variable_without_a_usable_token_is_refused_by_its_name(monkeypatch, value):
    monkeypatch.delenv("OPS_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("OPS_TOKEN", value)
    with pytest.raises(ConfigError, match=r"^admin\.token_env: no usable value .* OPS_TOKEN$"):
        read_token(Admin(token_env="OPS_TOKEN"), lambda: NOW)
