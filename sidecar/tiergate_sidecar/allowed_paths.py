"""Which paths below `/v1/` a caller may use with somebody else's key. Pure.

What is matched is what is sent: a path is brought into one plain form first, and one that two
servers could read in two ways is refused, not guessed. Files, batches and fine-tunes belong to
everyone who uses the key: a way around this list is a way to them.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote_to_bytes

ALL: Final = "*"
ROOT: Final = "/v1/"

_PLAIN: Final = re.compile(rb"/v1(?:/[A-Za-z0-9_~:@!$&'()*+,=-][A-Za-z0-9_~:@!$&'()*+,=.-]*)+/?")
"""No escape, no empty segment, and none that begins with a dot: it is its own normal form."""

_ESCAPED_SLASH: Final = re.compile(rb"%2f", re.IGNORECASE)
_AMBIGUOUS: Final = re.compile(rb"[\x00-\x1f\x7f%\\;]")
"""What one server decodes or splits at and the next does not, once escapes are decoded: what would
be decoded again, a backslash, the parameters of a segment (`..;` is `..` to some)."""


def is_below_root(raw_path: bytes) -> bool:
    """Whether a path is one of a provider's, as it was sent or as a server may read it."""
    return raw_path.startswith(b"/v1/") or _resolved(unquote_to_bytes(raw_path)).startswith(b"/v1/")


class AllowedPaths:
    """The patterns of `proxy.paths`: a path, or the beginning of paths with `*` at its end."""

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = list(patterns)
        self._exact = {pattern for pattern in patterns if not pattern.endswith("*")}
        self._beginnings = tuple(
            ROOT if pattern == ALL else pattern[:-1]
            for pattern in patterns
            if pattern.endswith("*")
        )

    def normal_form(self, raw_path: bytes) -> str | None:
        """The path to ask for, escaped as it has to be; None where it is not allowed."""
        if _PLAIN.fullmatch(raw_path):
            path = raw_path.decode("ascii")
            return path if self._allows(path) else None
        decoded = unquote_to_bytes(raw_path)
        if _ESCAPED_SLASH.search(raw_path) or _AMBIGUOUS.search(decoded):
            return None
        try:
            path = _resolved(decoded).decode()
        except UnicodeDecodeError:
            return None
        return quote(path, safe="/~:@!$&'()*+,=") if self._allows(path) else None

    def _allows(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._beginnings)


def _resolved(path: bytes) -> bytes:
    """Without empty segments, `.` and `..`, as RFC 3986 removes them; a last slash stays."""
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    last = b"/" if kept and segments[-1] in (b"", b".", b"..") else b""
    return b"/" + b"/".join(kept) + last
