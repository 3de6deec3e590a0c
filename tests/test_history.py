"""Where the pages look for the past: the request log where it can be asked, else the memory."""

import pytest

from tiergate import load_config
from tiergate_sidecar.history import history_of
from tiergate_sidecar.recent import Ring
from tiergate_sidecar.ring_history import RingHistory
from tiergate_sidecar.sql_history import SqlHistory

TABLES = {
    "providers": {"p": {"base_url": "http://h.test"}},
    "tiers": {"simple": [{"provider": "p", "model": "m"}]},
}


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("", RingHistory),
        ("stdout:", RingHistory),
        ("sqlite:///log.db", SqlHistory),
        ("postgresql://h/db", SqlHistory),
    ],
)
def test_the_past_is_where_the_configuration_keeps_it(url, kind):
    config = load_config({**TABLES, "request_log": {"url": url}}, environ={})
    assert isinstance(history_of(config, Ring(1)), kind)
