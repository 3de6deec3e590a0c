"""The grammar of `X-Mock-Fault`, and the memory of which request was seen before."""

import pytest

from tiergate_sidecar.mock_faults import (
    FAULTS,
    Fault,
    FirstAttempts,
    known_faults,
    parse_fault,
    parse_faults,
)
from tiergate_sidecar.mock_scripts import BODIES, STREAMS


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("503", Fault("503")),
        ("429 2", Fault("429", 2)),
        ("429 2 always @mock-b", Fault("429", 2, True, "mock-b")),
        (" reset  @x   always ", Fault("reset", None, True, "x")),
        ("cut", Fault("cut", 40)),
        ("cut 3", Fault("cut", 3)),
        ("slow 0.5", Fault("slow", 0.5)),
        ("big-event", Fault("big-event", 2_097_152)),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "oops", "STATUS", "200", "399", "600", "5030", "٥٠٣"),
        *("reset 3", "cut x", "cut -1", "cut 1.5", "cut 61", "slow nan", "slow inf", "429 @"),
        *("big-event 99999999999", "503 sometimes"),
    ],
)
def test_what_is_no_fault_is_a_clear_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"known are: STATUS|takes"):
        parse_fault(text)


def test_several_faults_are_separated_by_commas() -> None:
    assert parse_faults("503 @a, reset @b") == [
        Fault("503", None, False, "a"),
        Fault("reset", None, False, "b"),
    ]


def test_the_table_describes_every_fault_and_each_has_its_effect() -> None:
    assert all(rule.about for rule in FAULTS.values())
    assert "cut [TOKENS=40]" in list(known_faults())
    assert set(STREAMS) | set(BODIES) < set(FAULTS)


def test_only_so_many_requests_are_remembered() -> None:
    firsts = FirstAttempts(size=2)
    assert firsts.note("a", "p") == (True, True)
    assert firsts.note("a", "p") == (False, False)
    assert firsts.note("a", "q") == (False, True)
    assert [firsts.note(key, "p") for key in "bc"] == [(True, True)] * 2
    assert firsts.note("a", "p") == (True, True)
    assert firsts.note(None, "p") == firsts.note(None, "p") == (True, True)
