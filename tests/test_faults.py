"""The table of CONTRACT section 7: what each status means, and what each row allows."""

import pytest

from tiergate import faults
from tiergate.completion import NO_ERROR, ProviderError
from tiergate.faults import (
    MISCONFIGURED,
    RATE_LIMITED,
    REFUSED,
    REJECTED,
    TOO_LONG,
    TRANSIENT,
    UNAVAILABLE,
    UNSUPPORTED,
    Again,
    AttemptFailed,
    Blame,
    Fault,
    fault_of_status,
)

LONG = ProviderError(present=True, code="context_length_exceeded")
NO_MODEL = ProviderError(present=True, code="model_not_found")
NOT_TAKEN = [
    ProviderError(present=True, code=code)
    for code in ("unsupported_parameter", "unsupported_value", "unknown_parameter")
]
FILTERED = ProviderError(present=True, code="content_filter")

ROWS = {
    # row: same candidate again, next candidate, whom it speaks against, ended by time
    "UNREACHABLE": (Again.YES, True, Blame.PROVIDER, False),
    "DISCONNECTED": (Again.YES, True, Blame.PROVIDER, False),
    "STALE": (Again.AT_ONCE, True, Blame.NOBODY, False),
    "UNAVAILABLE": (Again.YES, True, Blame.PROVIDER, False),
    "SILENT": (Again.NO, True, Blame.PROVIDER, True),
    "GARBLED": (Again.YES, True, Blame.PROVIDER, False),
    "STALLED": (Again.NO, True, Blame.PROVIDER, True),
    "OVERSIZED": (Again.NO, True, Blame.NOBODY, False),
    "BUSY": (Again.NO, True, Blame.NOBODY, False),
    "RATE_LIMITED": (Again.IF_SOON, True, Blame.PROVIDER, False),
    "REFUSED": (Again.NO, True, Blame.PROVIDER, False),
    "MISCONFIGURED": (Again.NO, True, Blame.PROVIDER, False),
    "TOO_LONG": (Again.NO, True, Blame.CLIENT, False),
    "UNSUPPORTED": (Again.NO, True, Blame.CLIENT, False),
    "REJECTED": (Again.NO, False, Blame.CLIENT, False),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_allows_what_the_contract_says(name):
    row = getattr(faults, name)
    assert (row.again, row.elsewhere, row.blame, row.timed) == ROWS[name]


def test_every_row_is_in_the_table_and_has_a_label_of_its_own():
    rows = {name: row for name, row in vars(faults).items() if isinstance(row, Fault)}
    assert rows.keys() == ROWS.keys()
    assert len({str(row) for row in rows.values()}) == len(ROWS)


def expected(status: int) -> Fault | None:
    """The table, for an answer whose body says nothing and a credential that is ours."""
    if status in (408, 425, 500, 502, 503, 504, 529):
        return UNAVAILABLE
    if status == 429:
        return RATE_LIMITED
    if status in (401, 403):
        return MISCONFIGURED
    if status == 402 or status < 200 or status in range(300, 400) or status >= 500:
        return REFUSED
    return None if status < 300 else REJECTED


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_falls_into_one_row(status):
    assert fault_of_status(status, NO_ERROR, own_credential=True) is expected(status)


@pytest.mark.parametrize("status", range(100, 600))
def test_whose_credential_it_was_matters_to_401_and_403_only(status):
    clients = REJECTED if status in (401, 403) else expected(status)
    assert fault_of_status(status, NO_ERROR, own_credential=False) is clients


@pytest.mark.parametrize(
    ("status", "error", "fault"),
    [
        (404, NO_MODEL, MISCONFIGURED),
        (400, NO_MODEL, REJECTED),
        (400, LONG, TOO_LONG),
        (413, LONG, REJECTED),
        *((400, error, UNSUPPORTED) for error in NOT_TAKEN),
        *((422, error, REJECTED) for error in NOT_TAKEN),
        (400, FILTERED, REJECTED),
        (404, FILTERED, REJECTED),
        (429, LONG, RATE_LIMITED),
        (503, NO_MODEL, UNAVAILABLE),
        (403, LONG, MISCONFIGURED),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_a_code_matters_where_the_table_names_it(status, error, fault, own):
    clients = REJECTED if status == 403 and not own else fault
    assert fault_of_status(status, error, own_credential=own) is clients


def test_no_client_is_shown_a_401_of_our_own_credential():
    for status in (401, 403):
        fault = fault_of_status(status, NO_ERROR, own_credential=True)
        assert fault is not None
        assert fault.elsewhere
        assert fault.blame is Blame.PROVIDER


def test_what_is_transient_is_what_may_be_asked_again():
    again = {
        status
        for status in range(100, 600)
        if (fault := fault_of_status(status, NO_ERROR, own_credential=True))
        and fault.again is Again.YES
    }
    assert again == TRANSIENT


def test_a_failed_attempt_carries_its_row_and_the_answer():
    failed = AttemptFailed(RATE_LIMITED, status=429, retry_after=2, body=b"{}")
    assert (failed.fault, failed.status, failed.retry_after) == (RATE_LIMITED, 429, 2)
    assert (failed.headers, failed.body, str(failed)) == ((), b"{}", "rate_limited")
