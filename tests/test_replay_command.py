"""`tiergate replay`: a log through another configuration, as tables and as JSON.

What becomes of the requests is in `test_what_if`, what is read of a log in `test_replaying`.
"""

from datetime import UTC, datetime

import msgspec
import pytest
from click.testing import CliRunner
from records import AT, record

from tiergate import ConfigError, WhatIfResult
from tiergate.log_row import encoded, row_of
from tiergate.tally import Tally
from tiergate_sidecar.cli import main
from tiergate_sidecar.replay_command import moment, told, warnings
from tiergate_sidecar.replaying import LogRows

NEW = """
[routing]
default_tier = "complex"
[providers.p1]
base_url = "${NOT_SET}"
[[tiers.simple]]
provider = "p1"
model = "m1"
input_price_per_million = 1
output_price_per_million = 2
[[tiers.complex]]
provider = "p1"
model = "big"
input_price_per_million = 10
output_price_per_million = 20
"""
SERVED = {"tier": "simple", "reason": "default", "requested_reason": "default", "cost": 2e-5}
LED = SERVED | {"requested_model": None, "reach": "00000000"}
REFUSED = {"tier": None, "reason": None, "provider": None, "model": None, "cost": None}
ROWS = [
    record("a", **LED),
    record("b", **LED | {"reason": "explicit", "requested_reason": "explicit", "at": AT + 1}),
    record("c", **LED | {"requested_model": "gpt-4o", "at": AT + 2_000_000}),
    record("d", **REFUSED, requested_tier=None, requested_reason=None, error_code="bad"),
]


def run(tmp_path, *options, config=NEW, log=None):
    (tmp_path / "new.toml").write_text(config)
    lines = b"".join(encoded(each) + b"\n" for each in ROWS)
    (tmp_path / "log.jsonl").write_bytes(lines if log is None else log)
    given = ["--log", str(tmp_path / "log.jsonl"), "--config", str(tmp_path / "new.toml")]
    return CliRunner().invoke(main, ["replay", *given, *options])


def test_people_get_tables(tmp_path):
    answer = run(tmp_path)
    assert answer.exit_code == 0, answer.output
    assert answer.stderr == ""
    said = answer.stdout.splitlines()
    assert said[0] == (
        "4 requests from 2023-11-14 22:13:20Z to 2023-11-14 22:13:22Z: "
        "0 stay with whoever served them, 2 are drawn anew, 2 are refused"
    )
    assert said[1] == "cost $ 0.000060 before, 0.000220 after (+266.7%)"
    assert said[3:9] == [
        "                 simple after  moderate after  complex after  refused after  all",
        "simple before               1               -              1              1    3",
        "moderate before             -               -              -              -    0",
        "complex before              -               -              -              -    0",
        "refused before              -               -              -              1    1",
        "all                         1               0              1              2    4",
    ]
    assert said[10:13] == [
        "provider  model  requests  after  tokens  after    cost $     after",
        "p1        big           0    1.0       0     15  0.000000  0.000200",
        "p1        m1            3    1.0      45     15  0.000060  0.000020",
    ]
    assert said[14:17] == [
        "refused          before  after",
        "bad                   1      1",
        "model_not_found       0      1",
    ]
    assert said[18].startswith("- ")


def test_programs_get_json(tmp_path):
    answer = run(tmp_path, "--json")
    result = msgspec.json.decode(answer.stdout, type=WhatIfResult)
    assert (result.requests, result.drawn, result.since) == (4, 2, AT)
    assert result.cost.after == pytest.approx(0.00022)
    assert result.refused == {"bad": 1, "model_not_found": 1}


def test_lines_come_on_stdin_too(tmp_path):
    (tmp_path / "new.toml").write_text(NEW)
    lines = b"".join(encoded(each) + b"\n" for each in ROWS)
    asked = ["replay", "--log", "-", "-c", str(tmp_path / "new.toml"), "--json"]
    answer = CliRunner().invoke(main, asked, input=lines)
    assert msgspec.json.decode(answer.stdout)["requests"] == 4


def test_a_time_is_a_part_of_the_log(tmp_path):
    since = datetime.fromtimestamp((AT + 1) / 1e6, UTC).isoformat()
    until = datetime.fromtimestamp((AT + 1) / 1e6, UTC).isoformat()
    answer = run(tmp_path, "--json", "--since", since, "--until", until)
    assert msgspec.json.decode(answer.stdout)["requests"] == 1
    assert run(tmp_path, "--since", "1m").stdout == "No requests in this time.\n"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T00:00:01.5", 1_500_000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("90m", 4_600_000_000),
        ("2h", 2_800_000_000),
        ("1d", -76_400_000_000),
    ],
)
def test_a_time_is_iso_or_so_long_ago(text, at):
    assert moment(text, "--since", 10_000.0) == at


@pytest.mark.parametrize("text", ["", "yesterday", "24", "h", "-1h", "1.5h", "9999999d", "²h"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(ConfigError, match="--until: must be like 2026-11-20"):
        moment(text, "--until", 0.0)


@pytest.mark.parametrize(
    ("options", "config", "says"),
    [
        (["--since", "soon"], NEW, "--since: must be like"),
        ([], NEW.replace("complex", "huge"), "routing.default_tier: must be one of"),
        ([], "[tier_config]\nsource = 'http'\nurl = 'http://h'", "tier_config.source"),
        (["--log", "sqlite:///none.db"], NEW, "there is no file none.db"),
        (["--log", "sqlite:none.db"], NEW, "sqlite:/// is followed by the name of a file"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_1(tmp_path, options, config, says):
    answer = run(tmp_path, *options, config=config)
    assert answer.exit_code == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("Error: ")
    assert says in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_what_was_wrong_with_the_log_is_a_warning(tmp_path):
    answer = run(tmp_path, log=b"Started\n" + encoded(ROWS[0]) + b"\n")
    assert answer.exit_code == 0
    assert "warning: 1 of what the log holds are no rows" in answer.stderr


def test_lines_out_of_order_are_a_warning():
    rows = LogRows("-")
    rows.late = 3
    assert [each for each in warnings(rows) if each.startswith("3 lines stand after later ones")]


def test_of_very_many_models_the_first_are_shown():
    tally = Tally()
    for number in range(60):
        tally.seen(row_of(record(model=f"m{number}")), "simple")
    said = list(told(tally.result(1e-8, ())))
    assert "and 20 more, which --json has" in said
    assert "by chance 0.000000 to 0.000200" in said[1]
