"""A row: the fields of a record under the names of its columns, in bytes that every store takes."""

import msgspec
import pytest
from records import ATTEMPT, PROFILE, record

from tiergate.log_row import COLUMNS, RequestRow, column_values, encoded, row_of
from tiergate.record import Record


def test_a_row_is_a_record_without_its_candidates():
    kept = {*Record.__struct_fields__} - {"pool"}
    assert set(COLUMNS) == kept
    row = row_of(record("r7", at=5, score=0.5))
    assert (row.id, row.at, row.score, row.attempts) == ("r7", 5, 0.5, (ATTEMPT,))


def test_a_line_has_the_names_of_the_columns_in_their_order():
    said = msgspec.json.decode(encoded(record("r1", cost=None)))
    assert tuple(said) == COLUMNS
    assert said["cost"] is None
    assert msgspec.convert(said, RequestRow) == row_of(record("r1", cost=None))


def test_a_line_of_before_a_column_was_there_is_a_row_without_it():
    said = msgspec.json.decode(encoded(record("r1")))
    for name in COLUMNS[COLUMNS.index("trace_id") + 1 :]:
        del said[name]
    row = msgspec.convert(said, RequestRow)
    assert (row.id, row.requested_reason, row.reach, row.profile) == ("r1", None, None, None)


def test_a_database_is_handed_plain_values_and_the_rest_as_json():
    values = dict(zip(COLUMNS, column_values(record("r1", profile=PROFILE)), strict=True))
    assert msgspec.json.decode(values["attempts"])[0]["provider"] == "p1"
    assert msgspec.json.decode(values["profile"]) == {
        "estimate": {"input_tokens": 12, "output_tokens": 256, "output_assumed": True},
        "features": ["tools"],
        "signals": {"length": 0.25},
        "choices": 1,
    }
    assert {type(value) for value in values.values()} <= {str, int, float, bool, type(None)}
    assert column_values(record("r1"))[COLUMNS.index("profile")] is None


@pytest.mark.parametrize("said", [{"input_tokens": 10**400}, {"profile": {"choices": 0}}])
def test_a_line_of_numbers_that_nobody_can_reckon_with_is_no_row(said):
    line = msgspec.json.decode(encoded(record("r1", profile=PROFILE)))
    if "profile" in said:
        said = {"profile": line["profile"] | said["profile"]}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(line | said, RequestRow)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a\0b", "a\ufffdb"),
        ("a\\u0000b", "a\\u0000b"),
        ("\\\0\\\\u0000\0", "\\\ufffd\\\\u0000\ufffd"),
        ("ünï 🎈", "ünï 🎈"),
    ],
)
def test_a_nul_of_a_client_is_replaced_and_nothing_else(sent, kept):
    odd = msgspec.structs.replace(ATTEMPT, error=sent)
    said = encoded(record("r1", requested_model=sent, attempts=(odd,)))
    row = msgspec.json.decode(said, type=RequestRow)
    assert (row.requested_model, row.attempts[0].error) == (kept, kept)
    assert row == row_of(record("r1", requested_model=kept, attempts=(row.attempts[0],)))
