"""The faults of the mock providers as data: what they are called, how they are asked for, whom they
hit.

Here live the table, the grammar of `X-Mock-Fault`, the error bodies of plain statuses, and the
memory of which request was seen before. What must not live here: sockets, and what a fault does to
an answer (`mock_scripts`, `mock`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "FAULTS",
    "MODEL_PREFIX",
    "TOKENS",
    "Fault",
    "FaultRule",
    "FirstAttempts",
    "error_body",
    "known_faults",
    "parse_fault",
    "parse_faults",
    "refusal",
]

MODEL_PREFIX = "fault-"
TOKENS = 60  # how long an answer is when a fault is about its tokens


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One row of the table. `unit` names the argument; empty means the fault takes none."""

    name: str
    about: str
    unit: str = ""
    default: float | None = None
    most: float = 0


STATUS = FaultRule(
    "STATUS",
    "that status (400 to 599) with an OpenAI error body; the argument becomes Retry-After",
    unit="seconds to wait",
    most=1_000_000,
)

_RULES = (
    STATUS,
    FaultRule("reset", "the connection is reset before any header"),
    FaultRule("silent", "the request is accepted and never answered"),
    FaultRule("headers", "status line and headers, then silence"),
    FaultRule("slow", "the first token, or the whole JSON answer, comes late", "seconds", 20, 3600),
    FaultRule(
        "cut", "the connection is closed after that many tokens, or mid-body", "tokens", 40, TOKENS
    ),
    FaultRule("stall", "nothing more after that many tokens, or mid-body", "tokens", 20, TOKENS),
    FaultRule("cut-utf8", "the connection is closed inside a multi-byte character"),
    FaultRule("cut-frame", "the connection is closed inside an SSE frame, or mid-body"),
    FaultRule("malformed", "one event in the middle, or the whole body, is not JSON"),
    FaultRule("no-done", "the stream ends without [DONE]; JSON answers are not changed"),
    FaultRule("no-finish", "no finish_reason anywhere, the stream ends with [DONE]"),
    FaultRule("error-event", "an error object inside a 200: as an event after five tokens"),
    FaultRule("html", "200 with a text/html page"),
    FaultRule("empty", "200 with an empty body"),
    FaultRule("truncated", "200 with half the JSON, properly ended; a stream: as cut-frame"),
    FaultRule("context", "400 context_length_exceeded"),
    FaultRule("filter", "400 content_filter"),
    FaultRule(
        "big-event", "one SSE event, or a JSON body, of that size", "bytes", 2 << 20, 64 << 20
    ),
)

# By name, in the order of the documentation.
FAULTS = {rule.name: rule for rule in _RULES}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as asked for. `name` is a name of the table, or three digits."""

    name: str
    argument: float | None = None
    always: bool = False
    provider: str | None = None

    @property
    def status(self) -> int | None:
        return int(self.name) if self.name.isdigit() else None

    def hits(self, provider: str, *, first: bool, first_here: bool) -> bool:
        """Whether an attempt is hit: the request's first of all, or its first at `provider`."""
        if self.provider is None:
            return self.always or first
        return self.provider == provider and (self.always or first_here)


def parse_faults(text: str) -> list[Fault]:
    """`FAULT [ARG] [always] [@PROVIDER]`, several separated by commas: the first that is due hits.

    Raises `ValueError` with a message that names the known faults.
    """
    return [parse_fault(part) for part in text.split(",")]


def parse_fault(text: str) -> Fault:
    """One `FAULT [ARG] [always] [@PROVIDER]`; raises `ValueError`."""
    name, *words = text.split() or [""]
    rule = _rule(name)
    argument, always, provider = rule.default, False, None
    for word in words:
        if word == "always":
            always = True
        elif len(word) > 1 and word.startswith("@"):
            provider = word[1:]
        else:
            argument = _argument(rule, name, word)
    return Fault(name, argument, always, provider)


def _rule(name: str) -> FaultRule:
    if name.isdecimal() and name.isascii() and 400 <= int(name) <= 599:
        return STATUS
    if name not in FAULTS or name == STATUS.name:
        raise ValueError(f"unknown fault {name[:40]!r}; known are: {', '.join(known_faults())}")
    return FAULTS[name]


def known_faults() -> Iterator[str]:
    """Each fault as it is written, its argument included."""
    for rule in _RULES:
        default = "" if rule.default is None else f"={rule.default}"
        yield f"{rule.name} [{rule.unit.upper()}{default}]" if rule.unit else rule.name


def _argument(rule: FaultRule, name: str, word: str) -> float:
    if not rule.unit:
        raise ValueError(f"fault {name!r} takes no argument, only `always` and `@PROVIDER`")
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    whole = rule.unit == "seconds" or value.is_integer()
    if not (0 <= value <= rule.most and whole):
        kind = "number" if rule.unit == "seconds" else "whole number"
        raise ValueError(
            f"fault {name!r} takes a {kind} of {rule.unit} from 0 to {rule.most}, not {word[:40]!r}"
        )
    return value


# status: (type, code, message)
_STATUSES = {
    400: ("invalid_request_error", "invalid_request", "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("insufficient_quota", "insufficient_quota", "Your account has no credit left."),
    403: ("permission_error", "permission_denied", "Your key may not use this model."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("timeout_error", "request_timeout", "The request took too long."),
    429: ("rate_limit_error", "rate_limit_exceeded", "Rate limit reached. Try again later."),
    503: ("service_unavailable", "overloaded", "The engine is overloaded. Try again later."),
    529: ("overloaded_error", "overloaded", "Overloaded."),
}
_CLIENT_ERROR = ("invalid_request_error", "invalid_request", "The request was refused.")
_SERVER_ERROR = ("server_error", "internal_error", "The server had an error.")

# name: (code, parameter, message), all 400
_REFUSALS = {
    "context": (
        "context_length_exceeded",
        "messages",
        "This model's maximum context length is 8192 tokens. Shorten the messages.",
    ),
    "filter": (
        "content_filter",
        "prompt",
        "The response was filtered because the prompt triggered content management policy.",
    ),
}


def error_body(kind: str, code: str, message: str, param: str | None = None) -> dict[str, object]:
    """The one shape of OpenAI's errors."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def refusal(fault: Fault) -> tuple[int, dict[str, object]] | None:
    """Status and body of a fault that is a plain error answer; None for any other fault."""
    if (status := fault.status) is not None:
        usual = _SERVER_ERROR if status >= 500 else _CLIENT_ERROR
        return status, error_body(*_STATUSES.get(status, usual))
    if fault.name in _REFUSALS:
        code, param, message = _REFUSALS[fault.name]
        return 400, error_body("invalid_request_error", code, message, param)
    return None


class FirstAttempts:
    """Which `Idempotency-Key` was seen already, anywhere and per provider; the oldest is forgotten.

    A request without a key cannot be recognised: each of its attempts is a first one.
    """

    def __init__(self, size: int = 10_000) -> None:
        self._most = 2 * size  # two marks a key: seen at all, seen at that provider
        self._seen: OrderedDict[tuple[str, str | None], None] = OrderedDict()

    def note(self, key: str | None, provider: str) -> tuple[bool, bool]:
        """Remembers this attempt. Is it the first of all, and the first at `provider`?"""
        if not key:
            return True, True
        return self._mark((key, None)), self._mark((key, provider))

    def _mark(self, mark: tuple[str, str | None]) -> bool:
        new = mark not in self._seen
        self._seen[mark] = None
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return new
