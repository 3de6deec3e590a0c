"""Who may call, by the tokens of a file: CONTRACT section 10. Where one is shown is `gate`'s."""

import logging
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tiergate import Caller, ConfigError
from tiergate_sidecar.settings import Auth

_log = logging.getLogger("tiergate")

LARGEST: Final = 1 << 20  # bytes of the file: some 10,000 tokens


def read_tokens(settings: Auth) -> "Tokens | None":
    """The tokens of the file that the settings name, if they do; raises `ConfigError`."""
    return Tokens(Path(settings.tokens_file)) if settings.tokens_file else None


class Tokens:
    """The callers of a file of `name:token` lines; raises `ConfigError` where it is of no use.

    Blank lines and those that begin with `#` say nothing. A name may have several tokens, so that
    one can be replaced by the next. `read` reads the file again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # What is looked up is a digest that nobody outside can compute: how long it takes tells
        # nothing of how much of a token was right.
        self._key = secrets.token_bytes(32)
        self._callers = self._read()

    def __repr__(self) -> str:
        return f"<Tokens {self.path}>"

    def caller(self, token: str) -> Caller | None:
        """Whose token it is, if anybody's; takes the same time whatever is wrong with it."""
        return self._callers.get(self._digest(token))

    async def read(self) -> None:
        """Take the file as it is now; one that is of no use is logged, and nothing changes."""
        try:
            self._callers = self._read()
        except ConfigError as error:
            _log.error("%s; the tokens from before stay", error)
        else:
            _log.info("auth.tokens_file: %d tokens", len(self._callers))

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode(), key=self._key).digest()

    def _read(self) -> dict[bytes, Caller]:
        callers: dict[bytes, Caller] = {}
        for number, line in enumerate(_lines(self.path), 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            name, colon, token = (part.strip() for part in text.partition(":"))
            # Never the line itself: it may be a token without its name.
            if not (colon and _sound(name) and _sound(token)):
                raise ConfigError(f"auth.tokens_file: {self.path}, line {number}: not name:token")
            known = callers.setdefault(self._digest(token), Caller(name))
            if known.id != name:
                raise ConfigError(
                    f"auth.tokens_file: {self.path}, line {number}: the token of {known.id} too"
                )
        if not callers:
            raise ConfigError(f"auth.tokens_file: {self.path} holds no token")
        return callers


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"auth.tokens_file: cannot read {path}: {reason}") from None
    if len(content) > LARGEST:
        raise ConfigError(f"auth.tokens_file: {path} is larger than {LARGEST} bytes")
    return text.splitlines()


def _sound(text: str) -> bool:
    return 0 < len(text) <= 256 and text.isascii() and text.isprintable() and " " not in text
