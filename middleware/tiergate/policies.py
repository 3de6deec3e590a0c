"""Policies: whom a request may be led to. One that is named binds, by a keyword it prefers.

Compiled once for each configuration. What is done with the candidates is `reach`'s.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Raw, Struct

from tiergate.candidates import Candidate
from tiergate.errors import InvalidRequest
from tiergate.prompt import read_prompt
from tiergate.routing_config import Policy

HEADER: Final = "X-Arbstr-Policy"

_RANGES: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Japanese, with the marks that repeat a sign
    "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese
    "\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff"  # Korean: spaces, but endings are joined to words
)
_UNSPACED: Final = f"[{_RANGES}]"
"""Letters of scripts whose words stand side by side: between them there is no edge to be seen."""
_SIGNS: Final = "[\u0900-\u0963\u0966-\u0dff]"
"""Letters of India with their vowel signs, which `\\w` does not know; without the dandas, stops."""
_NO_LETTER_BEFORE: Final = rf"(?<![^\W{_RANGES}])(?<!{_SIGNS})"
_NO_LETTER_AFTER: Final = rf"(?![^\W{_RANGES}]|{_SIGNS})"


class Rule(Struct, frozen=True):
    """A policy: the models that it allows (ids; what ends in `*` is a prefix), and its ceiling."""

    name: str
    models: frozenset[str]
    prefixes: tuple[str, ...]
    ceiling: float | None

    def allows(self, candidate: Candidate) -> bool:
        """A candidate whose price is not known is not below a ceiling."""
        model, price = candidate.model, candidate.output_price
        if self.ceiling is not None and (price is None or price > self.ceiling):
            return False
        if not self.models and not self.prefixes:
            return True
        return model in self.models or model.startswith(self.prefixes)


class Applied(Struct, frozen=True):
    """The policy of one request. `binding`: the client named it; else a keyword only prefers."""

    rule: Rule
    binding: bool


class Policies:
    """The policies of a configuration. Messages over `most_bytes` are not read for keywords."""

    def __init__(self, configured: Sequence[Policy], *, most_bytes: int) -> None:
        self._named = {each.name: _rule(each) for each in configured}
        self._words = [
            (pattern, self._named[each.name])
            for each in configured
            for pattern in _patterns(each.keywords)
        ]
        self._most_bytes = most_bytes

    def rule(self, name: str) -> Rule:
        """The one of this name; raises `InvalidRequest`."""
        found = self._named.get(name)
        if found is None:
            known = ", ".join(self._named) or "none is configured"
            raise InvalidRequest(f"{HEADER!r} must name a policy: {known}.", param=HEADER)
        return found

    def applied(self, named: str | None, members: Mapping[str, Raw]) -> Applied | None:
        """That which the client named, else the first of the configuration with a keyword in the
        last user message.

        Raises `InvalidRequest` for a name that nobody has.
        """
        if named is not None:
            return Applied(self.rule(named), binding=True)
        if self._words:
            text = _folded(read_prompt(members, most_bytes=self._most_bytes).last_user)
            for pattern, rule in self._words:
                if pattern.search(text):
                    return Applied(rule, binding=False)
        return None


def _rule(policy: Policy) -> Rule:
    allowed = policy.allowed_models
    return Rule(
        name=policy.name,
        models=frozenset(name for name in allowed if not name.endswith("*")),
        prefixes=tuple(name[:-1] for name in allowed if name.endswith("*")),
        ceiling=policy.max_output_price_per_million,
    )


def _patterns(keywords: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    """Of folded text: "code" is not in "decode", and the words of a phrase may be any space apart.

    Linear in the text: a run of spaces is taken once, whole. Words that are bounded alike make one
    pattern, for what they share is then looked at once.
    """
    alike: dict[tuple[bool, bool], list[str]] = {}
    for keyword in keywords:
        words = _folded(keyword).split()
        edges = (_is_bounded(words[0][0]), _is_bounded(words[-1][-1]))
        alike.setdefault(edges, []).append(r"\s++".join(map(re.escape, words)))
    return tuple(
        re.compile(
            f"{_NO_LETTER_BEFORE if before else ''}(?:{'|'.join(phrases)})"
            f"{_NO_LETTER_AFTER if after else ''}"
        )
        for (before, after), phrases in alike.items()
    )


def _folded(text: str) -> str:
    """Without case, and with one spelling for each accent and each width of a letter."""
    return unicodedata.normalize("NFKC", text).casefold()


def _is_bounded(edge: str) -> bool:
    return re.match(_UNSPACED, edge) is None
