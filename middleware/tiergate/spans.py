"""What the spans of a request say: their attributes, as plain dictionaries.

The names are those of OpenTelemetry's HTTP conventions and of its GenAI conventions (as of 1.41),
and beside them our own, all `sentinel.*`. Nothing here knows OpenTelemetry; `telemetry` does.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tiergate.candidates import Candidate, Share
from tiergate.completion import Usage
from tiergate.endpoint import Endpoint
from tiergate.exchange import Attempt, Exchange
from tiergate.wellknown import gen_ai_name

Facts = dict[str, str | bool | int | float | list[str] | list[float]]

CANDIDATES_EVENT: Final = "sentinel.candidates"
UNSENT_EVENT: Final = "sentinel.no_connection"

_LONGEST: Final = 256  # characters of what others may choose freely
_MOST_CANDIDATES: Final = 64  # told of one pool; an event is no place for a thousand
_NO_FAILURE: Final = frozenset({"ok", "client_error", "client_disconnected"})
_PORTS: Final = {"http": 80, "https": 443}


def route_of(path: str, paths: frozenset[str]) -> str | None:
    """Which of our paths this is, below whatever prefix; None for a route of the host's own."""
    if path in paths:
        return path
    return next((each for each in paths if path.endswith(each)), None)


def request_facts(exchange: Exchange, path: str, scheme: str, route: str | None) -> Facts:
    """Of a request that has just arrived: what a sampler may go by."""
    facts: Facts = {
        "http.request.method": "POST",
        "url.path": _clean(path),
        "url.scheme": scheme,
        "sentinel.request_id": exchange.id,
    }
    if route is not None:
        facts["http.route"] = route
    return facts


def decision_facts(exchange: Exchange) -> Facts:
    """Which tier the request gets, why, and what it had asked for."""
    request, headers, decision = exchange.request, exchange.headers, exchange.decision
    assert request is not None
    assert headers is not None
    assert decision is not None
    facts: Facts = {
        "sentinel.tier": decision.tier,
        "sentinel.reason": decision.reason,
        "sentinel.stream": request.stream,
    }
    if exchange.requested is not None:
        facts["sentinel.requested_tier"] = exchange.requested.tier
    if decision.verdict is not None:
        facts["sentinel.score"] = decision.verdict.score
    if exchange.policy is not None:
        facts["sentinel.policy"] = exchange.policy.rule.name
    if request.model is not None:
        facts["sentinel.requested_model"] = _clean(request.model)
    if headers.client_request_id is not None:
        facts["sentinel.client_request_id"] = headers.client_request_id
    _converse(facts, exchange)
    return facts


def candidates_facts(pool: Sequence[Share]) -> Facts:
    """The candidates at the moment of the decision, best first as drawn: parallel arrays.

    `share` is the probability of being chosen first, `seconds_left` what is left of a back-off.
    """
    told = pool[:_MOST_CANDIDATES]
    return {
        "sentinel.candidates": [f"{each.provider}/{each.model}" for each in told],
        "sentinel.candidates.state": [each.state for each in told],
        "sentinel.candidates.share": [round(each.share, 4) for each in told],
        "sentinel.candidates.seconds_left": [round(each.seconds_left, 3) for each in told],
    }


def attempt_facts(
    exchange: Exchange, candidate: Candidate, endpoint: Endpoint, resends: int
) -> Facts:
    """Of a call that is about to be made; `resends` counts the retries there before it."""
    assert exchange.request is not None
    assert exchange.decision is not None
    facts: Facts = {
        **_place(endpoint.name, endpoint.url),
        "gen_ai.request.model": candidate.model,
        "gen_ai.request.stream": exchange.request.stream,
        "sentinel.tier": exchange.escalated or exchange.decision.tier,
    }
    if resends:
        facts["http.request.resend_count"] = resends
    _converse(facts, exchange)
    return facts


def unsent_facts(candidate: Candidate) -> Facts:
    """Of a candidate whose every connection was in use: nothing was sent."""
    return {"sentinel.provider": candidate.provider, "gen_ai.request.model": candidate.model}


def attempt_end_facts(attempt: Attempt, usage: Usage | None, first_token: float | None) -> Facts:
    """Of a call that is over; `first_token` in seconds from the arrival of the request."""
    facts: Facts = {}
    if attempt.status is not None:
        facts["http.response.status_code"] = attempt.status
    if has_failed(attempt):
        assert attempt.fault is not None
        facts["error.type"] = attempt.fault
    if attempt.fault == "abandoned":
        facts["sentinel.abandoned"] = True
    if attempt.resent:
        facts["sentinel.resent"] = True
    if first_token is not None:
        facts["gen_ai.response.time_to_first_chunk"] = first_token - attempt.started
    if usage is not None:
        counts = {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        }
        facts.update((name, count) for name, count in counts.items() if count is not None)
    return facts


def has_failed(attempt: Attempt) -> bool:
    """Whether a call is an error; one that its client's leaving cut short is none."""
    return attempt.fault is not None and attempt.fault != "abandoned"


def request_end_facts(exchange: Exchange, outcome: str) -> Facts:
    """Of a request that has ended."""
    facts: Facts = {"sentinel.outcome": outcome, "sentinel.attempts": len(exchange.attempts)}
    if exchange.status is not None:
        facts["http.response.status_code"] = exchange.status
    if exchange.error_code is not None:
        facts["sentinel.error_code"] = _clean(exchange.error_code)
    if is_failure(exchange, outcome):
        facts["error.type"] = _error_type(exchange)
    if exchange.escalated is not None:
        facts["sentinel.tier"] = exchange.escalated
    if exchange.overhead is not None:
        facts["sentinel.overhead_seconds"] = exchange.overhead
    if exchange.events_dropped:
        facts["sentinel.events_dropped"] = exchange.events_dropped
    cost = exchange.cost
    if cost is not None:
        facts["sentinel.cost_usd"] = cost
    return facts


def is_failure(exchange: Exchange, outcome: str) -> bool:
    """Whether the request is an error of the server's: a 4xx is its client's, whoever said it."""
    told_off = exchange.status is not None and 400 <= exchange.status < 500
    return outcome not in _NO_FAILURE and not told_off


def _error_type(exchange: Exchange) -> str:
    """The status, or of a stream that had begun well what became of it."""
    if exchange.status is not None and exchange.status >= 500:
        return str(exchange.status)
    return _clean(exchange.error_code or "_OTHER")


def _converse(facts: Facts, exchange: Exchange) -> None:
    assert exchange.request is not None
    assert exchange.headers is not None
    conversation = exchange.request.conversation or exchange.headers.conversation
    if conversation is not None:
        facts["gen_ai.conversation.id"] = conversation


@lru_cache(maxsize=1024)
def _place(name: str, url: str) -> Facts:
    """What is the same for every call to a provider; its URL without anything that may be a key."""
    parts = urlsplit(url)  # without a user: `crosscheck` sees to that
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": gen_ai_name(name),
        "http.request.method": "POST",
        "server.address": parts.hostname or "",
        "server.port": parts.port or _PORTS[parts.scheme],
        "url.full": urlunsplit(parts._replace(query="", fragment="")),
        "sentinel.provider": name,
    }


def _clean(text: str) -> str:
    """Short, and sound UTF-8: one bad string would cost the exporter its whole batch."""
    short = text[:_LONGEST]
    return short if short.isascii() else short.encode(errors="replace").decode()
