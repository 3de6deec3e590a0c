"""The one error tree: each answer has its status, type and code, and all have one shape."""

import re

import msgspec
import pytest

from tiergate import errors
from tiergate.errors import Answerable, Refused, Rejected

BAD = "invalid_request_error"

TABLE = {
    errors.InvalidRequest: (400, BAD, "invalid_request"),
    errors.TierNotAllowed: (403, "permission_error", "tier_not_allowed"),
    errors.ModelNotFound: (404, BAD, "model_not_found"),
    errors.RequestTimeout: (408, BAD, "request_timeout"),
    errors.RequestTooLarge: (413, BAD, "request_too_large"),
    errors.UnsupportedEncoding: (415, BAD, "unsupported_encoding"),
    errors.RateLimited: (429, "rate_limit_error", "rate_limit_exceeded"),
    errors.ProviderFailed: (502, "upstream_error", "provider_error"),
    errors.Unavailable: (503, "service_unavailable", "service_unavailable"),
    errors.TierNotConfigured: (503, "service_unavailable", "tier_not_configured"),
    errors.ConfigUnavailable: (503, "service_unavailable", "config_unavailable"),
    errors.Overloaded: (503, "service_unavailable", "overloaded"),
    errors.DeadlineExceeded: (504, "timeout_error", "deadline_exceeded"),
    errors.InternalError: (500, "server_error", "internal_error"),
}
"""CONTRACT section 10."""


def below(kind: type) -> set[type]:
    return {kind}.union(*(below(child) for child in kind.__subclasses__()))


def body_of(error: Answerable) -> dict[str, object]:
    return dict(msgspec.json.decode(error.body())["error"])


@pytest.mark.parametrize(
    ("kind", "said"), TABLE.items(), ids=lambda item: getattr(item, "__name__", "")
)
def test_an_error_has_the_status_type_and_code_of_the_contract(kind, said):
    error = kind("what to do", param="field")
    status, type_, code = said
    assert error.status == status
    assert body_of(error) == {
        "message": "what to do", "type": type_, "param": "field", "code": code,
    }  # fmt: skip


def test_every_answer_stands_in_the_table():
    own = {kind for kind in below(Answerable) if kind.__module__ == "tiergate.errors"}
    assert own - {Answerable, Refused, Rejected} == set(TABLE)


def test_the_docstring_draws_the_whole_tree():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    tree = {kind.__name__ for kind in below(errors.TiergateError)}
    assert drawn == {name for name in tree if hasattr(errors, name)} - {"TiergateError"}


@pytest.mark.parametrize(
    ("status", "type_", "code"),
    [
        (401, "authentication_error", "invalid_api_key"),
        (403, "permission_error", "permission_denied"),
        (429, "rate_limit_error", "rate_limit_exceeded"),
    ],
)
def test_a_refusal_of_the_host_has_its_own_words_or_ours(status, type_, code):
    ours, own = Refused(status), Refused(status, "No.", retry_after=7)
    assert body_of(ours) == {**body_of(own), "message": ours.message}
    assert (ours.status, ours.type, ours.code) == (status, type_, code)
    assert ours.message.endswith(".")
    assert (own.message, own.retry_after, str(own)) == ("No.", 7, "No.")


def test_a_refusal_with_another_status_is_a_mistake_of_the_host():
    with pytest.raises(KeyError):
        Refused(418)


def test_a_providers_refusal_keeps_its_status_and_names_the_provider():
    error = Rejected(422, "refused", provider="p1")
    assert error.status == 422
    assert body_of(error) == {
        "message": "refused",
        "type": BAD,
        "param": None,
        "code": "invalid_request",
        "provider": "p1",
    }
