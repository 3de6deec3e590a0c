"""What the client hears when nobody could serve it: the end of CONTRACT section 7."""

import pytest

from tiergate.candidates import Candidate
from tiergate.concede import concede
from tiergate.errors import (
    Answerable,
    DeadlineExceeded,
    Overloaded,
    ProviderFailed,
    RateLimited,
    Rejected,
)
from tiergate.faults import (
    BUSY,
    DISCONNECTED,
    GARBLED,
    MISCONFIGURED,
    OVERSIZED,
    RATE_LIMITED,
    REFUSED,
    REJECTED,
    SILENT,
    STALLED,
    TOO_LONG,
    UNAVAILABLE,
    UNREACHABLE,
    UNSUPPORTED,
    AttemptFailed,
    Fault,
)

P1, P2 = Candidate("p1", "m1", 1), Candidate("p2", "m2", 1)
IN_SHAPE = b'{"error":{"message":"said by the provider"}}'


def failures(*faults: Fault) -> list[tuple[Candidate, AttemptFailed]]:
    """All but the last at p1."""
    failed = [AttemptFailed(fault, status=400, body=IN_SHAPE) for fault in faults]
    return [(P1, each) for each in failed[:-1]] + [(P2, failed[-1])]


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ([SILENT], DeadlineExceeded),
        ([UNAVAILABLE, SILENT], DeadlineExceeded),
        ([TOO_LONG, STALLED], DeadlineExceeded),
        ([UNSUPPORTED, SILENT], DeadlineExceeded),
        ([RATE_LIMITED, SILENT], DeadlineExceeded),
        ([SILENT, UNAVAILABLE], ProviderFailed),
        ([RATE_LIMITED], RateLimited),
        ([RATE_LIMITED, RATE_LIMITED], RateLimited),
        ([RATE_LIMITED, UNAVAILABLE], ProviderFailed),
        ([UNAVAILABLE, RATE_LIMITED], ProviderFailed),
        ([BUSY], Overloaded),
        ([UNAVAILABLE, BUSY], Overloaded),
        ([BUSY, UNAVAILABLE], ProviderFailed),
        *(
            ([fault], ProviderFailed)
            for fault in (UNREACHABLE, DISCONNECTED, GARBLED, OVERSIZED, REFUSED, MISCONFIGURED)
        ),
    ],
)
def test_the_attempts_decide_the_error(faults: list[Fault], error: type[Answerable]):
    with pytest.raises(error) as raised:
        concede(failures(*faults))
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("faults", "candidate"),
    [
        ([REJECTED], P2),
        ([UNAVAILABLE, REJECTED], P2),
        ([TOO_LONG, REJECTED], P2),
        ([TOO_LONG], P2),
        ([TOO_LONG, UNAVAILABLE], P1),
        ([UNAVAILABLE, TOO_LONG, BUSY], P1),
        ([TOO_LONG, TOO_LONG], P1),
        ([UNSUPPORTED], P2),
        ([UNSUPPORTED, REFUSED], P1),
        ([UNSUPPORTED, TOO_LONG], P1),
        ([UNSUPPORTED, REJECTED], P2),
        ([RATE_LIMITED, UNSUPPORTED], P2),
    ],
)
def test_the_clients_own_fault_is_told_in_the_providers_words(faults, candidate):
    chosen, failure = concede(failures(*faults))
    assert chosen is candidate
    assert failure.fault in (REJECTED, TOO_LONG, UNSUPPORTED)
    assert failure.body == IN_SHAPE


@pytest.mark.parametrize("body", [b"<html>no</html>", b'{"detail":"secret"}', b"", b"[]", b"\xff"])
def test_words_that_are_no_error_object_are_wrapped_with_their_status(body):
    with pytest.raises(Rejected) as raised:
        concede([(P1, AttemptFailed(REJECTED, status=422, body=body))])
    assert (raised.value.status, raised.value.provider) == (422, "p1")
    assert "p1 refused the request with status 422" in raised.value.message
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(("waits", "shortest"), [([9, 4, None], 4), ([None, None], 1), ([0], 0)])
def test_a_rate_limit_tells_the_shortest_wait(waits, shortest):
    failed = [AttemptFailed(RATE_LIMITED, status=429, retry_after=wait) for wait in waits]
    with pytest.raises(RateLimited) as raised:
        concede([(P1, each) for each in failed])
    assert raised.value.retry_after == shortest


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ([SILENT], "after 1 attempt."),
        ([UNAVAILABLE, UNAVAILABLE, SILENT], "after 3 attempts."),
        ([UNAVAILABLE], "p2 failed (unavailable) after 1 attempt."),
        ([SILENT, GARBLED], "p2 failed (bad_answer) after 2 attempts."),
    ],
)
def test_an_error_names_who_failed_and_after_how_many_attempts(faults, says):
    with pytest.raises(Answerable) as raised:
        concede(failures(*faults))
    assert raised.value.message.endswith(says)
    assert raised.value.provider == "p2"


def test_an_overload_says_when_to_come_back():
    with pytest.raises(Overloaded) as raised:
        concede(failures(BUSY))
    assert (raised.value.status, raised.value.retry_after) == (503, 1)
