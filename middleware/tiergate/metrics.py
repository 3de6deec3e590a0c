"""What is counted and measured of requests, by their names of CONTRACT section 13.

Labels come from the configuration and from our own words, never from a client. What can be read
when it is asked for (health, requests in flight, sessions) is not counted here; who publishes
these, in which format, is not known here.
"""

from typing import Final

from tiergate.candidates import Candidate
from tiergate.record import AttemptRecord, Record
from tiergate.series import Counter, Histogram
from tiergate.tiers import Tier
from tiergate.wellknown import gen_ai_name

NO_TIER: Final = "none"
"""Of a request that ended before its tier was known."""

CLIENT_LEFT: Final = "client_disconnected"
"""Of a refused request whose client did not wait for the answer."""

_ABANDONED: Final = "abandoned"  # the client left: no error, say OpenTelemetry's conventions
_CHAT: Final = "chat"  # gen_ai.operation.name of all that is ours
_MICROSECONDS: Final = 1_000_000
_DOLLARS: Final = 100_000_000  # costs are exact to 1e-8

_DURATIONS: Final = tuple(10_000 * 2**n for n in range(14))
"""0.01 to 81.92 s: those of the GenAI conventions, for whole requests too, so that both compare."""
_TOKENS: Final = tuple(4**n for n in range(14))
"""1 to 67,108,864: those of the GenAI conventions."""
_OVERHEADS: Final = (
    *(50, 100, 200, 300, 500, 1_000, 2_000, 3_000, 5_000),
    *(10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000),
)
"""50 µs to 1 s: fine where an ordinary request lies, at a few hundred microseconds."""

_MODEL: Final = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")


class Metrics:
    """The counters and histograms of one process, each bounded. Made by a `Gateway`.

    The loop writes; a `read()` of any of them may come from any thread.
    """

    def __init__(self) -> None:
        self.tier_requests = Counter(
            "sentinel_tier_requests", "Requests by effective tier, once decided.", ("tier",)
        )
        self.selections = Counter(
            "sentinel_model_selections",
            "First choices, by tier and candidate.",
            ("tier", "provider", "model"),
        )
        self.failures = Counter(
            "sentinel_provider_failures",
            "Verdicts that count against a candidate's health.",
            ("provider", "model"),
        )
        self.changes = Counter(
            "sentinel_model_retries",
            "Changes of candidate within a request.",
            ("tier", "failed_model", "retry_model"),
        )
        self.requests = Counter(
            "tiergate_requests", "Finished requests, by what became of them.", ("tier", "outcome")
        )
        self.refusals = Counter(
            "tiergate_requests_refused",
            "Requests that ended before their body was read, by error code.",
            ("code",),
        )
        self.events_dropped = Counter(
            "tiergate_events_dropped", "Events of streams left out because they were not JSON."
        )
        self.cost = Counter(
            "tiergate_cost_dollars",
            "US dollars, of answers whose tokens and prices are known.",
            ("tier", "provider", "model"),
            scale=_DOLLARS,
        )
        self.request_duration = Histogram(
            "tiergate_request_duration",
            "From the arrival of a request to the last byte of its answer.",
            ("tier",),
            bounds=_DURATIONS,
            unit="s",
            scale=_MICROSECONDS,
        )
        self.first_token = Histogram(
            "tiergate_request_first_token",
            "From the arrival of a stream's request to its first token, failed attempts included.",
            ("tier",),
            bounds=_DURATIONS,
            unit="s",
            scale=_MICROSECONDS,
        )
        self.overhead = Histogram(
            "tiergate_request_overhead",
            "What was ours: neither a provider's time nor a wait, until the answer was ready.",
            bounds=_OVERHEADS,
            unit="s",
            scale=_MICROSECONDS,
        )
        self.operation_duration = Histogram(
            "gen_ai.client.operation.duration",
            "Attempts at providers; no error.type where the client left.",
            (*_MODEL, "error.type"),
            bounds=_DURATIONS,
            unit="s",
            scale=_MICROSECONDS,
        )
        self.tokens = Histogram(
            "gen_ai.client.token.usage",
            "Tokens as the provider counted them; nothing where it did not.",
            (*_MODEL, "gen_ai.token.type"),
            bounds=_TOKENS,
            unit="{token}",
        )
        self.first_chunk = Histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "From the start of a stream's attempt to its first token.",
            _MODEL,
            bounds=_DURATIONS,
            unit="s",
            scale=_MICROSECONDS,
        )
        every = [each for each in vars(self).values() if isinstance(each, Counter | Histogram)]
        self.counters = tuple(each for each in every if isinstance(each, Counter))
        self.histograms = tuple(each for each in every if isinstance(each, Histogram))

    def __repr__(self) -> str:
        return f"<Metrics {sum(self.requests.read().values()):.0f} requests>"

    @property
    def overflow(self) -> int:
        """How often something was counted as `other`, because it had too many sets of labels."""
        counted = sum(each.overflow for each in self.counters)
        return counted + sum(each.overflow for each in self.histograms)

    def decided(self, tier: Tier) -> None:
        """The effective tier of a request is known."""
        self.tier_requests.add((tier,))

    def selected(self, tier: Tier, candidate: Candidate) -> None:
        """A request has its first choice."""
        self.selections.add((tier, candidate.provider, candidate.model))

    def failed(self, provider: str, model: str) -> None:
        """A verdict against a candidate."""
        self.failures.add((provider, model))

    def refused(self, code: str | None) -> None:
        """A request has ended before its body was read; `code` is that of its error, if any."""
        self.refusals.add((code or CLIENT_LEFT,))

    def finished(self, record: Record, events_dropped: int = 0) -> None:
        """A request whose body was read has ended; `events_dropped` is of its stream."""
        tier = record.tier or NO_TIER
        self.requests.add((tier, record.outcome))
        self.request_duration.observe((tier,), record.latency_us)
        if record.overhead_us is not None:
            self.overhead.observe((), max(0, record.overhead_us))
        if events_dropped:
            self.events_dropped.add((), events_dropped)
        if record.attempts:
            self._attempted(tier, record, record.attempts[-1])

    def _attempted(self, tier: str, record: Record, last: AttemptRecord) -> None:
        before: AttemptRecord | None = None
        for attempt in record.attempts:
            error = "" if attempt.error == _ABANDONED else attempt.error or ""
            labels = (_CHAT, gen_ai_name(attempt.provider), attempt.model, error)
            self.operation_duration.observe(labels, attempt.duration_us)
            if before is not None and (
                before.model != attempt.model or before.provider != attempt.provider
            ):
                self.changes.add((tier, before.model, attempt.model))
            before = attempt
        model = (_CHAT, gen_ai_name(last.provider), last.model)
        if record.first_token_us is not None:
            self.first_token.observe((tier,), record.first_token_us)
            self.first_chunk.observe(model, max(0, record.first_token_us - last.started_us))
        if record.input_tokens is not None:
            self.tokens.observe((*model, "input"), record.input_tokens)
        if record.output_tokens is not None:
            self.tokens.observe((*model, "output"), record.output_tokens)
        if record.cost is not None:
            self.cost.add((tier, last.provider, last.model), round(record.cost * _DOLLARS))
