"""`tiergate explain`: a request's body from a file, stdin or a text, and what is told of it."""

import json
import os
import subprocess
import sys

import click
import msgspec
import pytest
from msgspec.structs import replace

from tiergate import ConfigError, Effort, Estimate, Explanation, Prospect, load_config
from tiergate_sidecar.explaining import explained, read_body, told

PRICED = {"input_price_per_million": 1.0, "output_price_per_million": 2.0}
CONFIG = load_config(
    {
        "providers": {name: {"base_url": f"http://{name}/v1"} for name in ("p1", "provider-two")},
        "tiers": {
            "simple": [
                {"provider": "p1", "model": "m", **PRICED},
                {"provider": "provider-two", "model": "m", "relative_cost": 5},
            ]
        },
    },
    environ={},
)


def test_a_table_tells_the_decision_and_everybody_who_may_be_asked():
    lines = list(told(explained(CONFIG, read_body(None, "Hello you", "simple", None))))
    assert lines[:4] == [
        "tier      simple",
        "reason    explicit",
        "asked     drawn by weight",
        "estimate  9 tokens in, 256 out (assumed)",  # no cost: a price is not known
    ]
    assert lines[4] == "plan      2 retries, 1 fallback; 15 s an attempt, 30 s in all"
    assert lines[6:] == [
        "provider      model  tier    weight  share  state      back-off      cost $",
        "p1            m      simple   1.000  0.833  available         -  0.00052100",
        "provider-two  m      simple   0.200  0.167  available         -     unknown",
    ]


def test_a_model_is_told_with_the_order_in_which_it_is_asked_for():
    body = b'{"messages": [], "model": "m", "max_tokens": 5}'
    lines = list(told(explained(CONFIG, body)))
    assert lines[1:4] == [
        "reason    model (m)",
        "asked     cheapest first",
        "estimate  1 tokens in, 5 out, $0.00001100 for the first attempt",
    ]


TRIED = load_config(
    {
        "providers": {name: {"base_url": f"http://{name}/v1"} for name in ("p1", "p2")},
        "tiers": {
            "moderate": [
                {"provider": "p1", "model": "m", **PRICED},
                {"provider": "p2", "model": "own", "context_window": 10, **PRICED},
            ],
            "complex": [{"provider": "p2", "model": "large", "supports": ["tools"], **PRICED}],
        },
        "routing": {"escalate": True},
        "policies": [{"name": "cheap", "allowed_models": ["m", "large"], "keywords": ["prove"]}],
        "classifier": {"moderate": 0.4, "complex": 0.9, "weights": {"question": -5}},
    },
    environ={},
)


def test_a_score_is_told_with_the_signals_that_made_it_and_what_it_is_held_against():
    lines = list(told(explained(TRIED, read_body(None, "Can you prove it?", None, "auto"))))
    (score,) = [line for line in lines if line.startswith("score")]
    assert score.endswith(
        "(moderate from 0.4, complex from 0.9): simple, where nobody may serve it"
    )
    assert "policy    cheap: by a keyword, which prefers" in lines
    assert "escalate  to complex, with nobody left below" in lines
    signals = lines[lines.index("") + 1 :]
    assert signals[0].split() == ["signal", "value", "weight", "adds"]
    assert ["question", "1.000", "-5.000", "-5.000"] in [line.split() for line in signals]
    rows = signals[1 : signals.index("")]
    adds = [float(line.split()[-1]) for line in rows[:-1]]
    name, total = rows[-1].split()
    assert (name, float(total)) == ("sum", pytest.approx(sum(adds), abs=0.0006 * len(adds)))


def test_a_request_without_evidence_says_so():
    lines = list(told(explained(TRIED, b'{"model": "auto", "messages": []}')))
    assert "score     0.500 (moderate from 0.4, complex from 0.9)" in lines
    assert "no signal: without evidence a request is moderate" in lines


def test_a_policy_by_name_binds_and_who_is_left_out_is_told_with_the_reason():
    body = msgspec.json.encode(
        {"tier": "moderate", "messages": [], "max_tokens": 100, "tools": [{"type": "function"}]}
    )
    lines = list(told(explained(TRIED, body, "cheap")))
    assert "policy    cheap: it was named, and binds" in lines
    assert "needs     tools" in lines
    assert lines[-1] == "left out: p2/own: the policy 'cheap'"
    (row,) = [line for line in lines if line.startswith("p2") and "own" in line]
    assert row.split() == ["p2", "own", "moderate", "1.000", "-", "available", "-", "-"]
    lines = list(told(explained(TRIED, body)))
    assert any(line.startswith("left out: p2/own: about 1") for line in lines)


def test_a_policy_that_nobody_has_is_refused():
    with pytest.raises(ConfigError, match=r"^400 invalid_request: 'X-Arbstr-Policy' must name"):
        explained(TRIED, b'{"tier": "moderate", "messages": []}', "cheep")


def test_with_everybody_in_back_off_the_answer_that_would_come_is_told():
    resting = Prospect("p1", "m", 1.0, 0.0, "backing off", 2, 29.6, None, "simple")
    said = Explanation(
        tier="simple",
        reason="default",
        model=None,
        verdict=None,
        boundaries=None,
        policy=None,
        streaming=False,
        drawn=True,
        retry_after=29.6,
        estimate=Estimate(1, 2, False),
        cost=None,
        features=(),
        plan=Effort(
            retries=1,
            fallbacks=0,
            attempt_timeout_seconds=0.25,
            deadline_seconds=1,
            streaming_failover="buffered",
        ),
        candidates=(resting,),
    )
    lines = list(told(said))
    assert lines[4] == (
        "plan      1 retry, 0 fallbacks; 0.25 s an attempt, 1 s in all; buffered stream"
    )
    assert lines[5] == "answer    503 for 30 s: everybody is in back-off"
    assert lines[-1].split() == [
        *("p1", "m", "simple", "1.000", "0.000", "backing", "off", "30", "unknown")
    ]


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ((None, "Hi", None, None), {"messages": [{"role": "user", "content": "Hi"}]}),
        (
            (None, None, "complex", "gpt-4o"),
            {
                "tier": "complex",
                "model": "gpt-4o",
                "messages": [{"role": "user", "content": "Hello"}],
            },
        ),
    ],
)
def test_a_text_makes_a_request(given, body):
    assert json.loads(read_body(*given)) == body


def test_arguments_of_other_bytes_than_utf_8_are_told_in_one_line():
    with pytest.raises(ConfigError, match="must be UTF-8"):
        read_body(None, "\udcff", None, None)
    with pytest.raises(ConfigError, match="X-Arbstr-Policy"):
        explained(TRIED, b'{"tier": "moderate", "messages": []}', "\udcff")


def test_a_file_is_read_as_it_is(tmp_path):
    file = tmp_path / "body.json"
    file.write_bytes(b'{ "messages": [] }')
    assert read_body(str(file), None, None, None) == b'{ "messages": [] }'
    with pytest.raises(ConfigError, match=r"cannot read .*gone: No such file"):
        read_body(str(tmp_path / "gone"), None, None, None)


@pytest.mark.parametrize("more", [("Hi", None, None), (None, "simple", None), (None, None, "m")])
def test_a_body_and_a_text_together_are_a_wrong_call(more):
    with pytest.raises(click.UsageError, match="Give either"):
        read_body("-", *more)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "400 invalid_request: The body is not valid JSON"),
        (b'{"messages": [], "model": "x"}', "404 model_not_found: "),
        (b'{"messages": [], "tier": "complex"}', "503 tier_not_configured: "),
    ],
)
def test_what_would_be_refused_is_told_with_its_status(body, says):
    with pytest.raises(ConfigError, match=f"^{says}"):
        explained(CONFIG, body)


def test_the_request_log_is_not_opened(tmp_path):
    log = replace(CONFIG.request_log, url=f"sqlite:///{tmp_path / 'log.db'}")
    explained(replace(CONFIG, request_log=log), b'{"messages": []}')
    assert list(tmp_path.iterdir()) == []


def test_the_command_reads_stdin_and_writes_json(tmp_path):
    (tmp_path / "tiergate.json").write_text(
        json.dumps(
            {
                "providers": {"p1": {"base_url": "http://p1/v1"}},
                "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
            }
        )
    )
    command = [sys.executable, "-m", "tiergate_sidecar", "explain", "-c", "tiergate.json"]
    ran = subprocess.run(
        [*command, "-f", "-", "--json"],
        input=b'{"messages": []}',
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        timeout=30,
        check=True,
    )
    said = json.loads(ran.stdout)
    assert (said["tier"], said["candidates"][0]["model"]) == ("simple", "m")
    assert ran.stderr == b""
