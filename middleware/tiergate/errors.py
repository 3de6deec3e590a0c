"""The one error tree.

    TiergateError
    ├── ConfigError              the configuration cannot be used; names the path of what is wrong
    ├── ClientGone               the client left; there is nobody to answer
    └── Answerable               becomes an HTTP answer in the one shape of CONTRACT section 10
        ├── InvalidRequest       400   the client's
        │   └── Rejected         4xx   a provider said so, without saying it in our shape
        ├── Refused              401, 403, 429: what `authorize` raises
        ├── TierNotAllowed       403
        ├── ModelNotFound        404
        ├── RequestTimeout       408
        ├── RequestTooLarge      413
        ├── UnsupportedEncoding  415
        ├── RateLimited          429   every candidate said so
        ├── ProviderFailed       502   attempts exhausted
        ├── Unavailable          503   nobody to ask
        │   ├── TierNotConfigured
        │   ├── ConfigUnavailable   no tiers yet: their source has not answered
        │   └── Overloaded
        ├── DeadlineExceeded     504
        └── InternalError        500   a bug of ours

What one attempt at a provider met is not told to a client as such: `faults` has those rows, and
its `AttemptFailed` carries one. Foreign exceptions are translated in `transport` (aiohttp),
`loading` (files, parsers) and `wire` (JSON), and nowhere else.
"""

from typing import Literal

import msgspec


class TiergateError(Exception):
    """Everything this package raises on purpose."""


class ConfigError(TiergateError):
    """The configuration cannot be used. The text names the path of every key that is wrong."""


class ClientGone(TiergateError):
    """The client left before its answer was ready."""


class Answerable(TiergateError):
    """An error with an answer for the client: `status`, `type`, `code`, and a text that helps.

    `param` names the field or header that is wrong; `retry_after` is in seconds, rounded up in the
    header, at least 1; `provider` names who failed. The text never holds a key, an internal address
    or a provider's body.
    """

    status: int = 500
    type: str = "server_error"
    code: str = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        provider: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.provider = provider
        self.retry_after = retry_after

    def body(self) -> bytes:
        """The JSON object of CONTRACT section 10."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        if self.provider is not None:
            error["provider"] = self.provider
        return msgspec.json.encode({"error": error})


class InvalidRequest(Answerable):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class Rejected(InvalidRequest):
    """A provider's own 4xx, for a body that is no error object."""

    def __init__(self, status: int, message: str, *, provider: str) -> None:
        self.status = status
        super().__init__(message, provider=provider)


_REFUSALS = {
    401: ("authentication_error", "invalid_api_key", "The credentials are not valid."),
    403: ("permission_error", "permission_denied", "This caller may not make this request."),
    429: ("rate_limit_error", "rate_limit_exceeded", "Too many requests from this caller."),
}  # fmt: skip


class Refused(Answerable):
    """What an `authorize` callable raises: 401, 403 or 429 (with `retry_after` in seconds)."""

    def __init__(
        self,
        status: Literal[401, 403, 429],
        message: str | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.type, self.code, default = _REFUSALS[status]
        super().__init__(message or default, retry_after=retry_after)


class TierNotAllowed(Answerable):
    status = 403
    type = "permission_error"
    code = "tier_not_allowed"


class ModelNotFound(Answerable):
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class RequestTimeout(Answerable):
    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class RequestTooLarge(Answerable):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedEncoding(Answerable):
    status = 415
    type = "invalid_request_error"
    code = "unsupported_encoding"


class RateLimited(Answerable):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class ProviderFailed(Answerable):
    status = 502
    type = "upstream_error"
    code = "provider_error"


class Unavailable(Answerable):
    status = 503
    type = "service_unavailable"
    code = "service_unavailable"


class TierNotConfigured(Unavailable):
    code = "tier_not_configured"


class ConfigUnavailable(Unavailable):
    code = "config_unavailable"


class Overloaded(Unavailable):
    code = "overloaded"


class DeadlineExceeded(Answerable):
    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"


class InternalError(Answerable):
    """A bug of ours: logged with the request id, and the process lives on."""
