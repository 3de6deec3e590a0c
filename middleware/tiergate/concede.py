"""What the client hears when nobody could serve it: the end of CONTRACT section 7. Pure."""

from tiergate.candidates import Candidate
from tiergate.completion import read_error
from tiergate.errors import DeadlineExceeded, Overloaded, ProviderFailed, RateLimited, Rejected
from tiergate.faults import BUSY, RATE_LIMITED, REJECTED, TOO_LONG, UNSUPPORTED, AttemptFailed

Failure = tuple[Candidate, AttemptFailed]


def concede(failures: list[Failure]) -> Failure:
    """The failure whose own answer goes to the client (it is the client's fault), or the error.

    `failures` are in order and not empty. Raises `DeadlineExceeded`, `RateLimited`, `Overloaded`,
    `ProviderFailed`, or `Rejected` for a client's fault that the provider did not put in the one
    shape.
    """
    candidate, last = failures[-1]
    if last.fault is REJECTED:
        return _shaped(failures[-1])
    made = [failure for _, failure in failures if failure.fault is not BUSY]
    if last.fault.timed:
        raise DeadlineExceeded(
            f"No answer in time after {_attempts(len(made))}.", provider=candidate.provider
        )
    if made and all(failure.fault is RATE_LIMITED for failure in made):
        waits = [failure.retry_after for failure in made if failure.retry_after is not None]
        raise RateLimited(
            "Every provider of this tier is limiting its rate.", retry_after=min(waits, default=1)
        )
    for failure in failures:
        if failure[1].fault in (TOO_LONG, UNSUPPORTED):
            return _shaped(failure)
    if last.fault is BUSY:
        raise Overloaded("All connections to the providers are in use.", retry_after=1)
    raise ProviderFailed(
        f"The provider {candidate.provider} failed ({last.fault.label}) after"
        f" {_attempts(len(made))}.",
        provider=candidate.provider,
    )


def _shaped(failure: Failure) -> Failure:
    candidate, refusal = failure
    if read_error(refusal.body).present:
        return failure
    raise Rejected(
        refusal.status or 400,
        f"The provider {candidate.provider} refused the request with status {refusal.status}.",
        provider=candidate.provider,
    )


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"
