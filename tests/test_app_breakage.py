"""A configuration is told from its text whether it would break an app that knows of no tiers."""

import pytest

from tiergate_sidecar.app_breakage import LONGEST, MOST_DOTS, breakage_of

PASSES = '[routing]\nunknown_model = "pass"\n'
PROVIDER = '[proxy]\nprovider = "openai"\n'


@pytest.mark.parametrize(
    "text",
    [
        PROVIDER + PASSES,
        f'{PROVIDER}{PASSES}[providers.openai]\nbase_url = "${{BASE:-x}}"\n[unknown]\na = 1\n',
        '[proxy]\nprovider = "${PROVIDER}"\n[routing]\nunknown_model = "${UNKNOWN:-pass}"\n',
    ],
)
def test_one_that_hands_the_rest_on_breaks_nothing(text):
    assert breakage_of(text) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "proxy.provider"),
        (PASSES, "proxy.provider"),
        ('[proxy]\nprovider = ""\n' + PASSES, "proxy.provider"),
        ("[proxy]\nprovider = 1\n" + PASSES, "proxy.provider"),
        ("proxy = 5\n" + PASSES, "proxy.provider"),
        ('[proxy]\ntarget = "http://127.0.0.1:8000"\n' + PASSES, "proxy.provider"),
        (PROVIDER, "routing.unknown_model"),
        (PROVIDER + '[routing]\nunknown_model = "reject"\n', "routing.unknown_model"),
        (PROVIDER + '[routing]\nunknown_model = "default"\n', "routing.unknown_model"),
        (PROVIDER + "[routing]\nunknown_model = true\n", "routing.unknown_model"),
        (PROVIDER + "[[routing]]\nunknown_model = 'pass'\n", "routing.unknown_model"),
        ("proxy:\n  provider: openai\n", "not TOML"),
        ("a = " + "[" * 20_000, "not TOML"),
        ("a = 1\na = 2\n", "not TOML"),
        ("\x00", "not TOML"),
    ],
)
def test_one_that_does_not_is_told_by_its_setting(text, why):
    assert why in breakage_of(text)


@pytest.mark.parametrize(
    "text",
    ["#" * (LONGEST + 1), "a." * (MOST_DOTS + 1) + "a = 1", "a = 1\n[" + "b." * 60_000 + "b]"],
)
def test_what_would_take_too_long_to_read_is_not_known(text):
    with pytest.raises(LookupError, match=str(LONGEST if text[0] == "#" else MOST_DOTS)):
        breakage_of(text)


def test_the_worst_of_the_rest_is_read():
    line = "a." * MOST_DOTS
    lines = [f"{line}k{number} = 1" for number in range(LONGEST // len(line) // 2)]
    assert "proxy.provider" in breakage_of("\n".join(lines))
