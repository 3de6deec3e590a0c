"""New YAML: every string comes back as the same string, in the columns that were asked for."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tiergate_sidecar.yaml_writing import Style, block_entry, block_item, block_lines, flow, scalar


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("tiergate:0.1.0", "tiergate:0.1.0"),
        ("http://127.0.0.1:4190/v1", "http://127.0.0.1:4190/v1"),
        ("/etc/tiergate", "/etc/tiergate"),
        ("stdout:", '"stdout:"'),
        (":4192", '":4192"'),
        ("50m", "50m"),
        ("128Mi", "128Mi"),
        ("128", '"128"'),
        ("1e3", '"1e3"'),
        ("yes", '"yes"'),
        ("Null", '"Null"'),
        ("", '""'),
        ('{"a": 1}', "'{\"a\": 1}'"),
        ('it\'s "x"', '"it\'s \\"x\\""'),
        ("a\nb", '"a\\nb"'),
        ("é", '"é"'),
        ("\x7f\x85\u2028\ufeff", r'"\u007f\u0085\u2028\ufeff"'),
    ],
)
def test_a_string_is_plain_only_where_nobody_takes_it_for_anything_else(value, text):
    assert scalar(value) == text


@given(
    st.text(st.characters(codec="utf-8") | st.sampled_from("\0\x7f\x85\u2028\u2029\ufeff\uffff"))
)
def test_any_string_comes_back(value):
    for text in (scalar(value), flow(value), flow([value], " ", " ")):
        assert yaml.load(f"a: {text}\n", yaml.CSafeLoader)["a"] in (value, [value])


VALUE = {"name": "x", "args": ["-c", ["a"], {}], "env": [{"name": "A", "value": "1"}], "n": None}


@pytest.mark.parametrize("style", [Style(), Style(step=4, dash=0), Style(step=3, dash=4)])
@pytest.mark.parametrize("column", [0, 5])
def test_blocks_come_back_in_any_style(style, column):
    def read(lines):
        return yaml.safe_load("\n".join(lines) + "\n")

    assert read(block_lines(VALUE, column, style)) == VALUE
    assert read(block_lines(list(VALUE), column, style)) == list(VALUE)
    assert read(block_lines("x", column, style)) == "x"
    assert read(block_item(VALUE, column, style)) == [VALUE]
    lines = list(block_entry("k", VALUE, column, style))
    assert read(lines) == {"k": VALUE}
    assert lines[:3] == [
        f"{' ' * column}k:",
        f"{' ' * (column + style.step)}name: x",
        f"{' ' * (column + style.step)}args:",
    ]
    assert lines[3] == f'{" " * (column + style.step + style.dash)}- "-c"'


def test_json_stands_below_its_own_lead():
    assert flow({"a": [1]}) == '{"a": [1]}'
    text = flow({"a": [1]}, "    ", "  ", "\r\n")
    assert text == '{\r\n      "a": [\r\n        1\r\n      ]\r\n    }'
    assert json.loads(text) == {"a": [1]}
