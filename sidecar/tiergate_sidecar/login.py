"""The operators' token: how it is shown, by header or by cookie, and whether it is the right one.

The cookie holds no token, only a proof made from it that ends by itself. Nothing here knows which
page asks.
"""

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from starlette.datastructures import Headers

from tiergate import read_secret
from tiergate_sidecar.settings import Admin

COOKIE: Final = "tiergate"
LIFETIME: Final = 12 * 3600
"""Seconds that a login lasts: a working day."""


def read_token(settings: Admin, wall: Callable[[], float]) -> "Token | None":
    """The token that the settings name, if they do; raises `ConfigError` where there is none."""
    if not settings.token_env:
        return None
    return Token(read_secret(settings.token_env, "admin.token_env"), wall)


class Token:
    """The right token; `wall` is Unix time. Comparisons take the same time whatever is wrong."""

    def __init__(self, secret: str, wall: Callable[[], float]) -> None:
        self._secret = secret.encode()
        self._wall = wall

    def __repr__(self) -> str:
        return "<Token>"

    def is_shown_by(self, headers: Headers) -> bool:
        """Whether a request brings the token, or the cookie of a login that has not ended."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_right(given.strip()):
            return True
        return any(self._is_proof(each) for each in _cookies(headers.getlist("cookie")))

    def is_right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._secret)

    def cookie(self, *, secure: bool) -> str:
        """The value of `Set-Cookie` for a login that begins now."""
        until = int(self._wall()) + LIFETIME
        flags = "; Secure" if secure else ""
        return (
            f"{COOKIE}={until}.{self._proof(until)}; Path=/; Max-Age={LIFETIME}"
            f"; HttpOnly; SameSite=Strict{flags}"
        )

    def _is_proof(self, value: str) -> bool:
        until, _, proof = value.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) <= 12):
            return False
        right = hmac.compare_digest(proof.encode(), self._proof(int(until)).encode())
        return right and self._wall() < int(until)

    def _proof(self, until: int) -> str:
        return hmac.new(self._secret, b"tiergate login %d" % until, sha256).hexdigest()


def _cookies(headers: list[str]) -> list[str]:
    """Every value of our cookie; beside it may stand whatever others have set on the host."""
    parts = [part.strip().partition("=") for header in headers for part in header.split(";")]
    return [value for name, _, value in parts if name == COOKIE]
