"""What a row tells beside its columns, of this version and of the one before."""

import pytest
from records import record

from tiergate.log_row import row_of
from tiergate.row_reading import bound_tier, code_of, is_of_routing, reason_of, tier_before

OLD = {"requested_reason": None, "reach": None}
LED = {"reach": "00000000", "requested_tier": "simple", "tier": "simple", "reason": "explicit"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"requested_reason": "alias", "reason": "session"}, "alias"),
        (OLD | {"reason": "alias"}, "alias"),
        (OLD | {"reason": "session"}, "explicit"),
        (OLD | {"reason": None}, None),
    ],
)
def test_why_it_asked_for_its_tier(fields, reason):
    assert reason_of(row_of(record(**fields))) == reason


@pytest.mark.parametrize(
    ("fields", "is_routing", "tier"),
    [
        (LED, True, "simple"),
        (LED | {"outcome": "upstream_error", "error_code": "provider_error"}, True, "simple"),
        (LED | {"reach": None, "error_code": "tier_not_configured"}, True, None),
        (LED | {"reach": None, "error_code": "invalid_request"}, False, None),
        (LED | {"reach": None, "error_code": "invalid_request", "policy": "p"}, True, None),
        (LED | {"reach": None, "error_code": "config_unavailable"}, False, None),
        (LED | {"reach": None, "tier": None, "error_code": "tier_not_allowed"}, True, None),
        (OLD | {"reason": None, "tier": None, "error_code": "model_not_found"}, True, None),
        (OLD | {"reason": None, "tier": None, "error_code": "invalid_request"}, False, None),
        (OLD | {"reason": "session"}, True, "moderate"),
        (OLD | {"reason": "explicit", "error_code": "tier_not_configured"}, True, None),
    ],
)
def test_what_routing_has_refused_is_told_from_what_was_wrong_by_itself(fields, is_routing, tier):
    row = row_of(record(**fields))
    assert (is_of_routing(row), tier_before(row)) == (is_routing, tier)


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, "simple"),
        ({"outcome": "client_disconnected"}, "simple"),
        ({"outcome": "client_disconnected", "status": None}, None),
        ({"outcome": "upstream_error", "status": 502}, None),
        ({"tier": "complex"}, None),
        ({"tier": "complex", "reason": "session"}, None),
        ({"tier": "complex", "reason": "auto", "policy_binds": True}, "complex"),
        ({"tier": "complex", "reason": "auto", "policy_binds": False}, None),
    ],
)
def test_a_conversation_is_raised_by_success_in_its_own_tier(fields, tier):
    assert bound_tier(row_of(record(**(LED | fields)))) == tier


def test_a_refusal_without_a_code_is_called_by_its_outcome():
    assert code_of(row_of(record(error_code="x", outcome="client_error"))) == "x"
    assert code_of(row_of(record(error_code=None, outcome="client_disconnected"))) == (
        "client_disconnected"
    )
