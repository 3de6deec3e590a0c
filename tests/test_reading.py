"""What of the sidecar's own settings follows a reload: the log at once, the listeners never, and
nothing at all of a document that is wrong."""

import pytest

from tiergate import ConfigError, Gateway, read_document
from tiergate_sidecar.reading import Reading
from tiergate_sidecar.settings import Logging, Server

TIERS = {
    "providers": {"p1": {"base_url": "http://p1/v1"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
}


def reading(*documents):
    """One of these documents after the other, and what the log was told."""
    tables = iter(documents)
    configured = []
    made = Reading(lambda: read_document(TIERS | next(tables), environ={}), configured.append)
    return made, configured


def test_the_log_is_configured_before_anything_is_served():
    made, configured = reading({"logging": {"level": "debug"}, "server": {"grace_seconds": 1}})
    assert configured == [Logging(level="debug")]
    assert made.started_with.server == Server(grace_seconds=1)
    assert made.needs_restart == ()


def test_each_reading_gives_the_librarys_part():
    made, _ = reading({}, {"retry": {"retries": 1}}, {"retry": {"retries": 5}})
    assert [made().retry.retries, made().retry.retries] == [1, 5]


def test_the_log_follows_each_change_and_is_else_left_alone():
    json = {"logging": {"format": "json"}}
    made, configured = reading({}, {"retry": {"retries": 1}}, json, json, {})
    for _ in range(4):
        made()
        made.accepted()
    assert configured == [Logging(), Logging(format="json"), Logging()]
    assert made.needs_restart == ()


def test_the_document_that_was_accepted_last_tells_where_values_came_from():
    made, _ = reading({}, {"retry": {"retries": 1}}, {"retry": {"retires": 1}})
    made()
    made.accepted()
    assert made.document.origins["retry.retries"] == "given"
    with pytest.raises(ConfigError):
        made()
    assert "retry.retires" not in made.document.origins


def test_a_changed_token_or_ring_needs_a_restart():
    made, _ = reading({}, {"admin": {"recent_requests": 5}, "server": {"grace_seconds": 1}})
    made()
    made.accepted()
    assert made.needs_restart == ("server", "admin")


def test_a_changed_listener_needs_a_restart_until_it_is_as_at_the_start():
    changed = {"server": {"grace_seconds": 7}}
    made, _ = reading({}, changed, changed, {})
    for needed in [("server",), ("server",), ()]:
        made()
        made.accepted()
        assert made.needs_restart == needed
        assert made.settings.server.grace_seconds == (7 if needed else 25)
    assert made.started_with.server.grace_seconds == 25


def test_a_change_that_waits_for_a_restart_is_logged_once(caplog):
    changed = {"auth": {"tokens_file": "/tokens"}}
    made, _ = reading({}, changed, changed, {"logging": {"level": "debug"}, **changed}, {}, changed)
    for _ in range(5):
        made()
        made.accepted()
    assert caplog.messages == ["changed, and in effect after a restart: auth"] * 2


def test_no_provider_gets_the_tokens_that_are_still_asked_for():
    """They are, until the restart, whatever the file says of `auth` by now."""
    theirs = {"providers": {"p1": {"base_url": "http://p1/v1", "credentials": "client"}}}
    made, _ = reading({"auth": {"tokens_file": "/tokens"}}, {}, theirs)
    made()
    made.accepted()
    with pytest.raises(ConfigError, match=r"^providers\.p1\.credentials: with auth"):
        made()
    assert made.needs_restart == ("auth",)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"server": {"listen": "no"}}, "server.listen"),
        ({"logging": {"level": "loud"}}, "logging.level"),
        ({"retry": {"retires": 1}}, "retry.retires"),
        ({"tiers": {}}, "tiers"),
    ],
)
def test_a_document_that_is_wrong_changes_nothing(wrong, path):
    better = {"logging": {"level": "debug"}, "server": {"grace_seconds": 7}}
    made, configured = reading({}, {**better, **wrong}, better)
    with pytest.raises(ConfigError, match=rf"^{path}"):
        made()
    assert (made.settings, made.needs_restart, configured) == (made.started_with, (), [Logging()])
    made()
    made.accepted()
    assert (made.needs_restart, configured[1:]) == (("server",), [Logging(level="debug")])


async def test_what_the_gateway_refuses_has_no_effect_on_the_log_either(tmp_path):
    change = {"logging": {"level": "error"}, "server": {"listen": "127.0.0.1:1"}}
    keyless = {"p1": {"base_url": "http://p1/v1", "api_key_file": str(tmp_path / "none")}}
    made, configured = reading({}, {}, {**change, "providers": keyless}, change)
    gateway = Gateway({}, read=made, accepted=made.accepted, environ={})
    with pytest.raises(ConfigError, match="api_key_file"):
        await gateway.reload()
    assert (made.needs_restart, configured) == ((), [Logging()])
    await gateway.reload()
    assert (made.needs_restart, configured[1:]) == (("server",), [Logging(level="error")])


def test_a_wrong_document_at_the_start_is_raised():
    with pytest.raises(ConfigError, match=r"^server\.listen"):
        reading({"server": {"listen": "no"}})
