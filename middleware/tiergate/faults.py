"""What an attempt can meet, and what delivery may do about it.

The table of CONTRACT section 7 as data, and the one function that reads a provider's answer into
it. Nothing here waits, sends or remembers: `retry` walks by these rows, `health` counts by them.
"""

from enum import Enum
from typing import Final

from msgspec import Struct

from tiergate.completion import ProviderError


class Blame(Enum):
    """Whom a failed attempt speaks against."""

    PROVIDER = "provider"
    CLIENT = "client"
    NOBODY = "nobody"


class Again(Enum):
    """Whether the same candidate may be asked once more."""

    NO = "no"
    YES = "yes"
    AT_ONCE = "at once, free of charge"
    IF_SOON = "if Retry-After is short"


class Fault(Struct, frozen=True):
    """One row of the table.

    `label` is stable and of low cardinality: attempts, logs and metrics carry it.
    `elsewhere` says whether another candidate may help, `timed` that time ended the attempt.
    """

    label: str
    again: Again
    elsewhere: bool
    blame: Blame
    timed: bool = False

    def __str__(self) -> str:
        return self.label


# fmt: off
UNREACHABLE: Final = Fault("unreachable", Again.YES, elsewhere=True, blame=Blame.PROVIDER)
"""Cannot connect, DNS, TLS."""
DISCONNECTED: Final = Fault("disconnected", Again.YES, elsewhere=True, blame=Blame.PROVIDER)
"""The connection ended before the headers."""
STALE: Final = Fault("stale_connection", Again.AT_ONCE, elsewhere=True, blame=Blame.NOBODY)
"""A pooled connection that had been used before was closed before any byte."""
UNAVAILABLE: Final = Fault("unavailable", Again.YES, elsewhere=True, blame=Blame.PROVIDER)
"""500, 502, 503, 504, 529, 408, 425."""
SILENT: Final = Fault("timeout", Again.NO, elsewhere=True, blame=Blame.PROVIDER, timed=True)
"""No answer, or no first token, in time: a silent provider stays silent."""
GARBLED: Final = Fault("bad_answer", Again.YES, elsewhere=True, blame=Blame.PROVIDER)
"""A 200 that is no completion, an error object in it, an answer cut before the commit point."""
STALLED: Final = Fault("stalled", Again.NO, elsewhere=True, blame=Blame.PROVIDER, timed=True)
"""A stream that began and fell silent before the commit point."""
OVERSIZED: Final = Fault("too_large", Again.NO, elsewhere=True, blame=Blame.NOBODY)
"""A body over `limits.max_response_bytes`."""
BUSY: Final = Fault("no_connection", Again.NO, elsewhere=True, blame=Blame.NOBODY)
"""No free connection to the provider in time: nothing was sent."""
RATE_LIMITED: Final = Fault("rate_limited", Again.IF_SOON, elsewhere=True, blame=Blame.PROVIDER)
"""429."""
REFUSED: Final = Fault("refused", Again.NO, elsewhere=True, blame=Blame.PROVIDER)
"""Other 5xx, 402, anything else that is no answer (1xx, 3xx)."""
MISCONFIGURED: Final = Fault("misconfigured", Again.NO, elsewhere=True, blame=Blame.PROVIDER)
"""401 or 403 to our own credential, 404 for the model we named: ours to mend."""
TOO_LONG: Final = Fault("context_length_exceeded", Again.NO, elsewhere=True, blame=Blame.CLIENT)
"""Another model may have a longer context."""
UNSUPPORTED: Final = Fault("unsupported_parameter", Again.NO, elsewhere=True, blame=Blame.CLIENT)
"""This model does not take a member of the request, or its value; another may."""
REJECTED: Final = Fault("rejected", Again.NO, elsewhere=False, blame=Blame.CLIENT)
"""A content filter, any other 4xx: the client gets the provider's own answer."""
# fmt: on

_OF_A_400: Final = {
    "context_length_exceeded": TOO_LONG,
    "unsupported_parameter": UNSUPPORTED,  # OpenAI's o-series and gpt-5, of max_tokens
    "unsupported_value": UNSUPPORTED,  # the same, of a temperature
    "unknown_parameter": UNSUPPORTED,  # of what another model takes, like reasoning_effort
}
"""By the code of the error: those that speak of the model, not of what was said."""

TRANSIENT: Final = frozenset({408, 425, 500, 502, 503, 504, 529})


def fault_of_status(status: int, error: ProviderError, *, own_credential: bool) -> Fault | None:
    """The row that an HTTP status means; None for 200 to 299, which the body has yet to prove.

    `error` is what the body says beside it, `own_credential` whether the key was ours: a 401 to
    the client's own key is the client's to hear.
    """
    if 200 <= status < 300:
        return None
    if status in TRANSIENT:
        return UNAVAILABLE
    if status == 429:
        return RATE_LIMITED
    if status in (401, 403):
        return MISCONFIGURED if own_credential else REJECTED
    if status == 404 and error.code == "model_not_found":
        return MISCONFIGURED
    if status == 400 and error.code in _OF_A_400:
        return _OF_A_400[error.code]
    if status == 402 or not 400 <= status < 500:
        return REFUSED
    return REJECTED


class AttemptFailed(Exception):
    """One attempt at a provider failed; `fault` is the row that says what may follow.

    `status`, `body` and `headers` are the provider's answer where there was one; `retry_after` is
    in seconds.
    """

    def __init__(
        self,
        fault: Fault,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(fault.label)
        self.fault = fault
        self.status = status
        self.retry_after = retry_after
        self.headers = headers
        self.body = body
