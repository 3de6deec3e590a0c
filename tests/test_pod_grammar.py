"""Names, quantities and image references are read as Kubernetes and runtimes read them."""

from decimal import Decimal

import podrules
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergate_sidecar.pod_grammar import (
    LONGEST_IMAGE,
    LONGEST_NAME,
    amount_of,
    is_container_name,
    is_image,
    is_object_name,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize("text", ["a", "app", "a-1", "1a", "a" * 63])
def test_a_container_may_be_called(text):
    assert is_container_name(text)
    assert is_object_name(text)


@pytest.mark.parametrize("text", ["", "A", "-a", "a-", "a_b", "a/b", "a b", "a\n", "ä", "\u0661"])
def test_nothing_may_be_called(text):
    assert not is_container_name(text)
    assert not is_object_name(text)


def test_an_objects_name_may_have_dots_and_be_longer():
    for text in ("a.b", "a" * 64, "a" * LONGEST_NAME):
        assert is_object_name(text)
        assert not is_container_name(text)
    for text in ("a..b", ".a", "a.", "a.-b", "a" * (LONGEST_NAME + 1)):
        assert not is_object_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "tiergate",
        "tiergate:0.1.0",
        "ai/tiergate",
        "example.test/ai/tiergate:2",
        "example.test:5000/tiergate",
        "localhost/tiergate:x_Y.z-1",
        "[::1]:5000/tiergate",
        "EXAMPLE.test/tiergate",
        f"tiergate@{DIGEST}",
        f"example.test/a__b/c--d.e:1@{DIGEST}",
    ],
)
def test_an_image_is(text):
    assert is_image(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Tiergate",
        "tiergate:",
        "tiergate: 1",
        "tiergate:1 ",
        "tiergate:1\n",
        "/tiergate",
        "tiergate/",
        "a//b",
        "a/-b",
        "https://example.test/tiergate",
        "tiergate@sha256:abc",
        f"tiergate@{DIGEST.upper()}",
        f"tiergate:{'1' * 129}",
        "$(IMAGE)",
        "a" * (LONGEST_IMAGE + 1),
    ],
)
def test_an_image_is_not(text):
    assert not is_image(text)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", "1"),
        ("50m", "0.05"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("2.", "2"),
        ("128Mi", str(128 * 2**20)),
        ("0.25Gi", str(2**28)),
        ("1k", "1000"),
        ("5e8", "500000000"),
        ("5E-1", "0.5"),
        ("7E", "7e18"),
        ("3n", "3e-9"),
    ],
)
def test_a_quantity_has_an_amount(text, amount):
    assert amount_of(text) == Decimal(amount)
    assert float(amount) == pytest.approx(podrules.amount(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "-1",
        "+1",
        "1 Mi",
        "1mi",
        "1MB",
        "1KI",
        "1ki",
        "0x1",
        "1e",
        "1e999",
        "\u0661",
        "1\n",
    ],
)
def test_a_quantity_is_not(text):
    with pytest.raises(ValueError, match="not a quantity"):
        amount_of(text)


@given(st.text(max_size=40))
def test_any_text_gets_an_answer(text):
    assert isinstance(is_image(text), bool)
    assert isinstance(is_object_name(text), bool)
    assert is_container_name(text) == (podrules.DNS_LABEL.fullmatch(text) is not None)
