"""The sidecar's own errors, in the one shape, and how a page answers with one."""

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


class ReloadRefused(Answerable):
    """400 for a configuration that cannot be used; the message names the path of what is wrong."""

    status = 400
    type = "invalid_request_error"
    code = "configuration_refused"


def answered(error: Answerable) -> Response:
    """The answer to an error."""
    return Response(error.body(), status_code=error.status, media_type="application/json")


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
