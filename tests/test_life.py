"""The phases of the process have names, and the first is starting."""

from tiergate_sidecar.life import Life, Phase


def test_a_life_begins_with_starting():
    assert repr(Life()) == "<Life starting>"
    assert Life(Phase.SERVING).phase is Phase.SERVING


def test_the_phases_are_what_probes_are_told():
    assert [phase.value for phase in Phase] == ["starting", "serving", "draining"]
