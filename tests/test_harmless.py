"""What is told of a request may fail; the request may not, and the log hears of it once."""

from tiergate.harmless import Complaints, harmless


class Teller:
    def __init__(self) -> None:
        self.complaints = Complaints("telling is broken")

    @harmless
    def tell(self, number: int, *, by: int = 1) -> int:
        """Divides."""
        return number // by


def test_what_is_well_is_given():
    assert Teller().tell(6, by=2) == 3
    assert Teller.tell.__doc__ == "Divides."


def test_what_is_raised_is_logged_once_and_gives_nothing(caplog):
    teller = Teller()
    assert [teller.tell(1, by=0), teller.tell(2, by=0), teller.tell(3)] == [None, None, 3]
    [record] = caplog.records
    assert (record.getMessage(), record.levelname) == ("telling is broken", "ERROR")
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_each_complains_for_itself(caplog):
    for _ in range(2):
        Teller().tell(1, by=0)
    assert len(caplog.records) == 2
