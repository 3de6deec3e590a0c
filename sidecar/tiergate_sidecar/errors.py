"""The sidecar's own errors, in the one shape, and how a page answers with one."""

import math

from starlette.requests import Request
from starlette.responses import Response

from tiergate import Answerable


class EndpointNotFound(Answerable):
    """404 for a path that the sidecar does not serve."""

    status = 404
    type = "invalid_request_error"
    code = "endpoint_not_found"


class MethodNotAllowed(Answerable):
    """405 for a path of ours with another method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class ModelNotFound(Answerable):
    """404 for a model that is not in the list."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class ProviderNotFound(Answerable):
    """404 for a query about a provider that nobody has heard of."""

    status = 404
    type = "invalid_request_error"
    code = "provider_not_found"


class NotJson(Answerable):
    """415 for a `POST` to the operators' listener that a foreign page's form could have made."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_content_type"


class HostRefused(Answerable):
    """403 for a `Host` that is not this listener's: a page elsewhere has pointed its name here."""

    status = 403
    type = "permission_error"
    code = "host_not_allowed"


class TokenRequired(Answerable):
    """401 for the operators' pages without their token."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class QueryInvalid(Answerable):
    """400 for a page's query, naming the parameter that is wrong."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class RequestUnknown(Answerable):
    """404 for a request that neither the log nor the memory of the last ones has."""

    status = 404
    type = "invalid_request_error"
    code = "request_not_found"


class BodyTooLarge(Answerable):
    """413 for a body that the clients' listener would refuse too."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class TooManyFollowers(Answerable):
    """503 for a live page beyond those that one process feeds at a time."""

    status = 503
    type = "service_unavailable"
    code = "overloaded"


class ReloadRefused(Answerable):
    """400 for a configuration that cannot be used; the message names the path of what is wrong."""

    status = 400
    type = "invalid_request_error"
    code = "configuration_refused"


class EndpointNotAllowed(Answerable):
    """403 for a path of a provider's that `proxy.paths` does not name."""

    status = 403
    type = "permission_error"
    code = "endpoint_not_allowed"


class RequestInvalid(Answerable):
    """400 for headers that the next hop could read in two ways."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class WebSocketRefused(Answerable):
    """501 for a WebSocket: nothing here speaks it."""

    status = 501
    type = "invalid_request_error"
    code = "websocket_not_supported"


class BodyLate(Answerable):
    """408 for a request whose body stopped coming."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class AppFailed(Answerable):
    """502 for an app behind the proxy that cannot be reached or does not answer in HTTP."""

    status = 502
    type = "upstream_error"
    code = "bad_gateway"


class ProviderFailed(Answerable):
    """502 likewise for the provider; it is named."""

    status = 502
    type = "upstream_error"
    code = "provider_error"


class UpstreamBusy(Answerable):
    """503 for what is behind the proxy having no connection free."""

    status = 503
    type = "service_unavailable"
    code = "overloaded"


class UpstreamLate(Answerable):
    """504 for what is behind the proxy being silent for too long."""

    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"


class TrialUnavailable(Answerable):
    """503 for a trial of a configuration while another one runs, or that takes too long."""

    status = 503
    type = "service_unavailable"
    code = "overloaded"


class HistoryUnavailable(Answerable):
    """503 when the store of the request log cannot be read now."""

    status = 503
    type = "service_unavailable"
    code = "history_unavailable"


def answered(error: Answerable) -> Response:
    """The answer to an error."""
    response = Response(error.body(), status_code=error.status, media_type="application/json")
    if error.retry_after is not None:
        response.headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


async def answer(_: Request, error: Exception) -> Response:
    """Starlette's handler of `Answerable`."""
    assert isinstance(error, Answerable)
    return answered(error)


async def not_found(_: Request, __: Exception) -> Response:
    """Starlette's handler of 404."""
    return answered(EndpointNotFound("There is nothing at this path."))


async def wrong_method(_: Request, error: Exception) -> Response:
    """Starlette's handler of 405; `Allow` goes along."""
    response = answered(MethodNotAllowed("This path does not take that method."))
    response.headers.update(getattr(error, "headers", None) or {})
    return response
