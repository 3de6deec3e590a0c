"""The configuration as a value: frozen structs, their defaults, and the reason of every limit.

Durations are seconds, sizes bytes. What says which model serves a request is in `routing_config`.
Files, environment and `${VAR}` are read in `loading`, what one setting demands of another is
checked in `crosscheck`.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from tiergate.routing_config import ClassifierSettings, Policy, Routing, TierEntry
from tiergate.tables import Count, Lifetime, PositiveCount, PositiveSeconds, Seconds, Table
from tiergate.tiers import Tier

Failover = Literal["off", "first_token", "buffered"]


class RetryTimes(Table, frozen=True):
    """The two times of delivery, where a tier needs its own; None takes those of `[retry]`."""

    attempt_timeout_seconds: Seconds | None = None
    deadline_seconds: PositiveSeconds | None = None


class Retry(Table, frozen=True):
    """How hard one request tries. 30 s, two retries and one fallback are the seeds' numbers."""

    retries: Count = 2
    backoff_seconds: Seconds = 1.0
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    fallbacks: Count = 1
    attempt_timeout_seconds: Seconds = 0
    """0: half of the deadline, so that a silent first candidate leaves a second its turn."""
    deadline_seconds: PositiveSeconds = 30
    max_retry_after_seconds: Seconds = 2
    """A provider that asks for more is left: a caller waits no longer for one candidate."""
    budget_ratio: Annotated[float, Meta(ge=0)] = 0.2
    """Retries per request; without a bound, an outage multiplies its own load by three."""
    budget_window_seconds: PositiveSeconds = 10
    budget_minimum: Count = 10
    """So that a quiet process may retry at all."""
    tiers: dict[Tier, RetryTimes] = field(default_factory=dict)

    def deadline(self, tier: Tier) -> float:
        own = self.tiers.get(tier)
        return (own and own.deadline_seconds) or self.deadline_seconds

    def attempt_timeout(self, tier: Tier, deadline: float) -> float:
        """Seconds; half of a request's deadline where the setting is 0."""
        own = self.tiers.get(tier)
        chosen = own.attempt_timeout_seconds if own else None
        return (self.attempt_timeout_seconds if chosen is None else chosen) or deadline / 2


class HealthSettings(Table, frozen=True):
    """When a candidate that failed is left alone, and for how long. The seeds' numbers."""

    initial_backoff_seconds: Seconds = 30
    """0 turns health off."""
    multiplier: Annotated[float, Meta(ge=1, le=10)] = 2.0
    max_backoff_seconds: PositiveSeconds = 300
    failures_to_open: PositiveCount = 1
    """Failed requests in a row; 1 is the seeds' rule."""
    probe_interval_seconds: Seconds = 0
    """Ask `GET {base_url}/models` of those in back-off so often; 0: only requests ask."""
    last_resort: bool = False
    """With everybody in back-off, try the one nearest its end instead of a 503."""


class StreamTimes(Table, frozen=True):
    """The two times of a stream, where a tier needs its own; None takes those of `[streaming]`."""

    first_token_timeout_seconds: PositiveSeconds | None = None
    idle_timeout_seconds: PositiveSeconds | None = None


class Streaming(Table, frozen=True):
    """How long a stream may be silent, and how large one event may be."""

    failover: Failover = "off"
    first_token_timeout_seconds: PositiveSeconds = 10
    idle_timeout_seconds: PositiveSeconds = 20
    comment_seconds: PositiveSeconds = 15
    """A client of a buffered stream hears a comment so often: below the usual 30 s of proxies."""
    buffered_deadline_seconds: PositiveSeconds = 120
    max_buffer_bytes: PositiveCount = 8_388_608
    """Of one stream before its commit point; a long answer is well under 1 MiB."""
    max_event_bytes: PositiveCount = 1_048_576
    """Chunks are a few hundred bytes; 1 MiB leaves room for an image in one delta."""
    summary: bool = False
    tiers: dict[Tier, StreamTimes] = field(default_factory=dict)

    def first_token_timeout(self, tier: Tier) -> float:
        own = self.tiers.get(tier)
        return (own and own.first_token_timeout_seconds) or self.first_token_timeout_seconds

    def idle_timeout(self, tier: Tier) -> float:
        own = self.tiers.get(tier)
        return (own and own.idle_timeout_seconds) or self.idle_timeout_seconds


class Limits(Table, frozen=True):
    """What one request may take."""

    max_body_bytes: PositiveCount = 10_485_760
    """A long context is under 2 MiB; images in base64 fit too."""
    body_timeout_seconds: PositiveSeconds = 30
    max_in_flight: PositiveCount = 1000
    """Requests at once; beyond it 503 at once, because a queue only hides an overload."""
    max_response_bytes: PositiveCount = 67_108_864
    max_buffered_bytes: PositiveCount = 67_108_864
    """Of all requests together: bodies, held streams, whole answers."""
    send_timeout_seconds: PositiveSeconds = 30
    """A client that reads nothing for so long holds a provider's connection for nobody."""


class Provider(Table, frozen=True):
    """A named base URL with credentials. The name of a well-known provider fills the first two."""

    base_url: str = ""
    api_key_env: str = ""
    api_key_file: str = ""
    credentials: Literal["own", "client"] = "own"
    forward_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    max_connections: PositiveCount = 1000
    acquire_timeout_seconds: Seconds = 1
    connect_timeout_seconds: PositiveSeconds = 3
    keepalive_seconds: Seconds | None = None
    """None: 4 for http (Python model servers close after 5), 30 for https."""
    ca_file: str = ""
    """Certificates (PEM) to trust instead of the system's: for a provider behind a private CA."""
    proxy_url: str = ""
    """An HTTP proxy on the way to this provider, http://[user:password@]host:port."""
    stream_usage: bool = True

    def __repr__(self) -> str:
        return f"<Provider {self.base_url}>"  # never the headers: they may hold a key

    @property
    def host(self) -> str:
        """Host and port of the address."""
        return self.base_url.partition("://")[2].partition("/")[0]

    @property
    def keepalive(self) -> float:
        if self.keepalive_seconds is not None:
            return self.keepalive_seconds
        return 30 if self.base_url.startswith("https:") else 4


class TierConfig(Table, frozen=True):
    """Where the tiers come from."""

    source: Literal["inline", "file", "http"] = "inline"
    url: str = ""
    """Of the service; without a path, the seeds' /api/v1/tiers/config."""
    file: str = ""
    api_key_env: str = ""
    """Names the variable that holds the service's key, sent as x-api-key."""
    ttl_seconds: Lifetime = 1800
    """How old a document gets before the source is asked again. The seeds' number."""
    timeout_seconds: PositiveSeconds = 5
    """For one answer of the source."""

    def __repr__(self) -> str:
        return f"<TierConfig {self.source}>"  # never the address


def _place(url: str) -> str:
    """Never the address: it may hold a password."""
    return "in this process" if url == "memory://" else "in Redis"


class Cache(Table, frozen=True):
    """Where a fetched tier configuration is kept: in process, or in a Redis that replicas share."""

    url: str = "memory://"
    key_prefix: str = "sentinel:"
    """Before every key; one per environment, where several share a Redis."""
    timeout_seconds: PositiveSeconds = 0.25
    """For one answer of Redis, of the cache and of sessions: what its silence may cost once."""

    def __repr__(self) -> str:
        return f"<Cache {_place(self.url)}>"


class SessionSettings(Table, frozen=True):
    """How long a conversation keeps its model, and where that is remembered."""

    ttl_seconds: Lifetime = 86_400
    """After its last use. The seeds' number."""
    max_in_process: PositiveCount = 100_000
    """Sessions held in memory, about 0.5 kB each; beyond it the least recently used goes."""
    url: str = ""
    """Empty: that of the cache."""

    def __repr__(self) -> str:
        place = _place(self.url) if self.url else "where the cache is"
        return f"<SessionSettings {self.ttl_seconds:g} s, {place}>"


class RequestLogSettings(Table, frozen=True):
    """Where a row for each request is kept; an empty URL keeps none."""

    url: str = ""
    """sqlite:///FILE, postgresql://…, or stdout: for JSON lines."""
    queue_size: PositiveCount = 10_000
    """Rows that wait for a slow store, about 1 kB each; beyond it they are dropped and counted."""
    retention_days: PositiveCount = 30


class TelemetrySettings(Table, frozen=True):
    """What traces say. Whether there are any is OpenTelemetry's own `OTEL_*` variables' to tell."""

    service_name: str = "tiergate"
    capture_content: bool = False
    """Prompts and answers in spans: they are the users' own words."""
    trace_link: str = ""
    """A URL with {trace_id}: where the inspector's link to a trace leads."""


class Headers(Table, frozen=True):
    """What clients see of our headers; `client_retries` lets official clients retry."""

    expose: tuple[str, ...] = ("*",)
    client_retries: bool = False


class Config(Table, frozen=True):
    """Everything the library is told. Make one, or let `load_config` read it."""

    routing: Routing = Routing()
    classifier: ClassifierSettings = ClassifierSettings()
    policies: tuple[Policy, ...] = ()
    retry: Retry = Retry()
    health: HealthSettings = HealthSettings()
    streaming: Streaming = Streaming()
    limits: Limits = Limits()
    providers: dict[str, Provider] = field(default_factory=dict)
    tiers: dict[Tier, tuple[TierEntry, ...]] = field(default_factory=dict)
    tier_config: TierConfig = TierConfig()
    cache: Cache = Cache()
    sessions: SessionSettings = SessionSettings()
    headers: Headers = Headers()
    request_log: RequestLogSettings = RequestLogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()


FOREIGN_TABLES: Final = frozenset({"server", "logging", "admin", "proxy", "auth"})
"""The sidecar's own tables: one file serves both homes, so the library passes them by."""
