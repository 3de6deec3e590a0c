"""An injection that says no more than why changes nothing and refuses nothing."""

from tiergate_sidecar.injection_result import Injection


def test_the_least_is_a_reason_and_a_sentence():
    result = Injection("not_asked", "nobody asked")
    assert (result.patch, result.warnings, result.refused, result.audit) == ((), (), False, {})
