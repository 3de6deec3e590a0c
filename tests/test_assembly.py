"""A configuration is replaced whole while requests run, or not at all: CONTRACT section 12.

The gateway over a file that the test rewrites, scripted providers and virtual time. The watch of
files and the connection pools have tests of their own, with real files and real sockets.
"""

import asyncio
import gc
import logging
import random
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from wired import ANSWER, Heard, World, ask

from tiergate import Caller, ConfigError, Gateway, SourceError
from tiergate.config import Config
from tiergate.errors import ModelNotFound
from tiergate.faults import UNREACHABLE
from tiergate.loading import load_config
from tiergate.testing import Say, ScriptedTransport

FINE = Say.completion()
DOWN = Say(fault=UNREACHABLE)
NOWHERE = "redis://127.0.0.1:1"
BASE: dict[str, Any] = {
    "providers": {"p1": {"base_url": "http://one.test"}},
    "tiers": {"simple": [{"provider": "p1", "model": "m"}]},
    "retry": {"jitter": 0, "retries": 0, "fallbacks": 0},
}
BOTH = {name: {"base_url": f"http://{name}.test"} for name in ("p1", "p2")}


def offer(provider: str, model: str = "m", **more: Any) -> dict[str, Any]:
    return {"provider": provider, "model": model, **more}


class Site(World):
    """A world whose configuration is in a file. `environ` may be changed, too."""

    path: Path
    environ: dict[str, str]

    def write(self, **tables: Any) -> None:
        """At once, so that whoever watches sees one change."""
        written = self.path.with_suffix(".new")
        written.write_bytes(msgspec.json.encode({**BASE, **tables}))
        written.replace(self.path)

    async def becomes(self, **tables: Any) -> None:
        self.write(**tables)
        await self.gateway.reload()

    async def say(self, tier: str | None = None, **given: Any) -> Heard:
        return await ask(self, **{"stream": False, "model": None, "tier": tier, **given})

    @property
    def last_error(self) -> str | None:
        return self.gateway.status().configuration.last_error


def site(
    folder: Path,
    said: Any = FINE,
    *,
    environ: Mapping[str, str] | None = None,
    watch: bool = False,
    **tables: Any,
) -> Site:
    """Two providers that say the same, of which the file names the first."""
    path, loop = folder / "tiergate.json", asyncio.get_running_loop()
    path.write_bytes(msgspec.json.encode({**BASE, **tables}))
    transport, variables = ScriptedTransport({"p1": said, "p2": said}), dict(environ or {})
    gateway = Gateway(
        path,
        watch=watch,
        transport=transport,
        clock=loop.time,
        wall=lambda: 1_700_000_000 + loop.time(),
        chance=random.Random(7),
        environ=variables,
    )
    made = Site(gateway, transport)
    made.path, made.environ = path, variables
    return made


# --- what is live after a reload


async def test_new_weights_aliases_paths_and_tiers_are_live(tmp_path):
    made = site(tmp_path)
    with pytest.raises(ModelNotFound):
        made.gateway.explain(b'{"messages": [], "model": "gpt"}')
    await made.becomes(
        providers=BOTH,
        tiers={"moderate": [offer("p1", relative_cost=4), offer("p2", relative_cost=1)]},
        routing={"aliases": {"gpt": "moderate"}, "paths": ["/chat"]},
    )
    told = made.gateway.explain(b'{"messages": [], "model": "gpt"}')
    assert [(each.provider, each.share) for each in told.candidates] == [("p1", 0.2), ("p2", 0.8)]
    assert made.gateway.paths == {"/chat"}
    assert made.transport.retained == ["p1", "p2"]


async def test_new_limits_are_live(tmp_path):
    made = site(tmp_path, Say.completion(after=1))
    assert (await made.say()).status == 200
    await made.becomes(limits={"max_in_flight": 1, "max_body_bytes": 100})
    both = await asyncio.gather(made.say(), made.say())
    assert {heard.code for heard in both} == {None, "overloaded"}
    assert (await made.say(user="x" * 100)).status == 413


async def test_new_settings_of_retry_health_and_streaming_are_live(tmp_path):
    made = site(tmp_path, Say(after=3, fault=UNREACHABLE))
    await made.say()
    assert round(made.gateway.health.ailing()[0].seconds_left) == 30
    await asyncio.sleep(31)
    await made.becomes(
        retry={"jitter": 0, "retries": 1, "backoff_seconds": 7},
        health={"initial_backoff_seconds": 5, "failures_to_open": 2},
        streaming={"failover": "buffered", "comment_seconds": 2},
    )
    made.gateway.health.retain([])
    heard = await made.say(stream=True)
    assert [round(at) for at, _ in heard.pieces] == [2, 4, 6, 8, 10, 12, 13]
    assert [round(sent.at) for sent in made.transport.sent] == [0, 34, 44]
    assert made.failures() == {}
    await made.say()
    assert round(made.gateway.health.ailing()[0].seconds_left) == 5


async def test_the_retry_budget_is_counted_on_and_its_new_numbers_hold(tmp_path):
    retry = {"jitter": 0, "retries": 2, "budget_ratio": 0.1, "backoff_seconds": 0.1}
    off = {"initial_backoff_seconds": 0}
    made = site(tmp_path, DOWN, health=off, retry={**retry, "budget_minimum": 3})
    await made.say()
    assert len(made.transport.sent) == 3
    await made.becomes(health=off, retry={**retry, "budget_minimum": 2})
    await made.say()
    assert len(made.transport.sent) == 4  # two were spent before
    await made.becomes(health=off, retry={**retry, "budget_minimum": 4})
    await made.say()
    assert len(made.transport.sent) == 7


async def test_probing_begins_and_ends_with_a_reload(tmp_path):
    made = site(tmp_path, DOWN, health={"initial_backoff_seconds": 100})
    await made.say()
    await made.becomes(health={"initial_backoff_seconds": 100, "probe_interval_seconds": 5})
    assert (await made.say()).status == 503
    await asyncio.sleep(12)
    assert made.transport.probed == [("p1", 5), ("p1", 10)]
    await made.becomes(health={"initial_backoff_seconds": 100})
    await asyncio.sleep(20)
    assert len(made.transport.probed) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_ends_the_probing_too(tmp_path):
    made = site(tmp_path, DOWN, health={"probe_interval_seconds": 5})
    await made.say()
    await asyncio.sleep(6)
    assert len(asyncio.all_tasks()) == 2
    await made.gateway.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_provider_that_was_removed_while_it_was_to_be_probed_is_left_alone(tmp_path):
    probing = {"probe_interval_seconds": 5}
    made = site(tmp_path, DOWN, health=probing)
    await made.say()
    moved = {"providers": {"p2": BOTH["p2"]}, "tiers": {"simple": [offer("p2")]}}
    await asyncio.gather(asyncio.sleep(5), made.becomes(health=probing, **moved))
    assert made.transport.probed == []
    assert made.gateway.health.ailing() == []
    await made.gateway.close()


async def test_a_new_key_is_read_from_the_environment_and_from_its_file(tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-file\n")
    in_file = {"p1": {**BOTH["p1"], "api_key_file": str(key)}}
    in_variable = {"p1": {**BOTH["p1"], "api_key_env": "KEY"}}
    made = site(tmp_path, environ={"KEY": "sk-1"}, providers=in_variable)
    await made.say()
    made.environ["KEY"] = "sk-2"
    await made.becomes(providers=in_variable)
    await made.say()
    await made.becomes(providers=in_file)
    await made.say()
    sent = [dict(each.headers)["authorization"] for each in made.transport.sent]
    assert sent == ["Bearer sk-1", "Bearer sk-2", "Bearer sk-file"]


async def test_what_needs_a_restart_is_told_and_has_no_effect_before(tmp_path):
    made = site(tmp_path)
    await made.say("simple", conversation_id="c")
    await made.becomes(cache={"url": NOWHERE, "key_prefix": "other:"})
    status = made.gateway.status()
    assert (status.needs_restart, status.stores, status.sessions.held) == (("cache",), (), 1)
    await made.say("simple", conversation_id="c")
    assert made.gateway.status().sessions.held == 1
    await made.becomes()
    assert made.gateway.status().needs_restart == ()


async def test_another_source_is_asked_and_what_serves_goes_on_until_it_answers(tmp_path):
    made = site(tmp_path)
    service = {"source": "http", "url": "http://127.0.0.1:1/tiers", "timeout_seconds": 1}
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:1/tiers"):
        await made.becomes(tier_config=service)
    state = made.gateway.status().configuration
    assert (state.source, state.version) == ("http://127.0.0.1:1/tiers", "inline")
    assert (await made.say()).status == 200
    await made.gateway.close()


async def test_the_configuration_may_come_from_elsewhere(tmp_path):
    given = [BASE, {**BASE, "retry": {"retries": 7}}]
    read = [load_config(tables, environ={}) for tables in given]
    gateway = Gateway(
        tmp_path / "unread.toml",
        read=lambda: read.pop(0),
        transport=ScriptedTransport({}),
        environ={},
    )
    await gateway.reload()
    assert (gateway.config.retry.retries, read) == (7, [])


# --- requests that run meanwhile


GONE: dict[str, Any] = {"providers": {"p2": BOTH["p2"]}, "tiers": {"simple": [offer("p2", "new")]}}


@pytest.mark.parametrize("mode", [None, "off", "first_token", "buffered"])
async def test_a_request_that_runs_ends_on_the_configuration_it_began_with(tmp_path, mode):
    said = Say.stream(*ANSWER, after=2) if mode else Say.completion(after=9)
    made = site(tmp_path, said)
    running = asyncio.create_task(made.say(stream=bool(mode), mode=mode))
    await asyncio.sleep(5)
    await made.becomes(**GONE, headers={"expose": []})
    assert made.transport.retained == ["p2"]
    heard = await running
    assert (heard.status, made.asked()) == (200, ["p1"])
    assert heard.served == "p1/m simple default"
    assert heard.whole == bool(mode)
    assert (await made.say(stream=bool(mode))).headers.keys().isdisjoint({"x-sentinel-tier"})
    assert made.asked() == ["p1", "p2"]
    assert made.clean


async def test_its_retries_and_fallbacks_too_are_those_it_began_with(tmp_path):
    lines = [Say(after=3, fault=UNREACHABLE), FINE]
    made = site(
        tmp_path,
        lines,
        providers=BOTH,
        tiers={"simple": [offer("p1"), offer("p2", "old")]},
        retry={"jitter": 0, "retries": 0, "fallbacks": 1},
    )
    running = asyncio.create_task(made.say())
    await asyncio.sleep(1)
    await made.becomes(**GONE)
    heard = await running
    first, second = made.asked()
    assert {first, second} == {"p1", "p2"}
    assert heard.status in (200, 502)
    assert len(heard.headers["x-arbstr-retries"].split(", ")) == 2


async def test_who_failed_and_is_gone_is_forgotten(tmp_path):
    made = site(tmp_path, DOWN)
    await made.say()
    assert made.failures() == {"p1": 1}
    await made.becomes(**GONE)
    assert made.failures() == {}
    await made.becomes()
    assert [each.state for each in made.gateway.status().candidates] == ["available"]


# --- what is refused

KEYLESS = {"p1": {**BOTH["p1"], "api_key_file": "/nowhere/key"}}
REFUSED: dict[str, tuple[Any, str]] = {
    "not JSON": (b'{"retry": ', "tiergate.json: Expecting value"),
    "no table": (b"[]", "tiergate.json: must hold tables"),
    "an unknown key": ({"retry": {"retires": 1}}, "retry.*retires"),
    "an unknown table": ({"retri": {}}, "retri"),
    "a wrong type": ({"retry": {"retries": "x"}}, "retry.retries"),
    "a missing variable": ({"providers": {"p1": {"base_url": "${NO}"}}}, "p1.base_url.*NO is not"),
    "an unknown provider": ({"tiers": {"simple": [offer("p9")]}}, r"tiers.simple\[0\].provider"),
    "nobody": ({"tiers": {}}, "no tier has a candidate"),
    "a missing key": ({"providers": KEYLESS}, "providers.p1.api_key_file.*/nowhere/key"),
    "a missing file": (None, "cannot read .*tiergate.json"),
}


@pytest.mark.parametrize(("written", "said"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_used_changes_nothing_and_is_told_until_a_good_one(
    tmp_path, written, said, caplog
):
    made = site(tmp_path)
    before, parts = made.gateway.config, made.gateway.status()
    if written is None:
        made.path.unlink()
    elif isinstance(written, bytes):
        made.path.write_bytes(written)
    else:
        made.write(**written)
    with pytest.raises(ConfigError, match=f"(?s){said}") as refusal:
        await made.gateway.reload()
    assert made.last_error == str(refusal.value)
    assert str(refusal.value) in caplog.text
    assert made.gateway.config is before
    status = made.gateway.status()
    assert (status.candidates, status.ready) == (parts.candidates, True)
    assert (await made.say()).status == 200
    assert made.transport.retained == []
    await made.becomes(retry={"retries": 5})
    assert (made.last_error, made.gateway.config.retry.retries) == (None, 5)


def document(provider: str, version: int) -> bytes:
    price = {"inputPricePerMillion": 1, "outputPricePerMillion": 1}
    pool = [{"provider": provider, "model": "m", **price}]
    return msgspec.json.encode({"version": version, "tiers": {"simple": pool}})


async def test_providers_that_no_document_names_are_refused_and_leave_nothing_behind(tmp_path):
    path = tmp_path / "tiers.json"
    source = {"tier_config": {"source": "file", "file": str(path)}, "tiers": {}}
    path.write_bytes(document("p1", 1))
    made = site(tmp_path, **source)
    assert (await made.say()).status == 200
    with pytest.raises(ConfigError, match=r"p1/m: the provider is not in \[providers\]"):
        await made.becomes(**source, providers={"p2": BOTH["p2"]}, sessions={"url": NOWHERE})
    status = made.gateway.status()
    assert (status.stores, status.sessions.name) == ((), "memory://")
    assert (list(made.gateway.config.providers), (await made.say()).status) == (["p1"], 200)


async def test_a_document_is_read_again_and_a_bad_one_leaves_the_old(tmp_path):
    path = tmp_path / "tiers.json"
    path.write_bytes(document("p1", 1))
    made = site(tmp_path, tiers={}, tier_config={"source": "file", "file": str(path)})
    async with made.gateway:
        assert made.gateway.status().configuration.version == "1"
        path.write_bytes(document("p1", 2))
        await made.gateway.reload()
        assert made.gateway.status().configuration.version == "2"
        path.write_bytes(document("p9", 3))
        with pytest.raises(SourceError, match="version 3"):
            await made.gateway.reload()
        state = made.gateway.status().configuration
        assert (state.version, "version 3" in str(state.last_error)) == ("2", True)
        assert (await made.say()).status == 200
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_providers_and_the_file_of_tiers_that_change_together_are_taken_together(tmp_path):
    path = tmp_path / "tiers.json"
    source = {"tier_config": {"source": "file", "file": str(path)}, "tiers": {}}
    path.write_bytes(document("p1", 1))
    made = site(tmp_path, **source)
    assert (await made.say()).status == 200
    path.write_bytes(document("p2", 2))
    await made.becomes(**source, providers={"p2": BOTH["p2"]})
    assert ((await made.say()).headers["x-arbstr-provider"], made.last_error) == ("p2", None)


async def test_it_opens_without_tiers_and_serves_when_they_come(tmp_path):
    path = tmp_path / "tiers.json"
    made = site(tmp_path, tiers={}, tier_config={"source": "file", "file": str(path)})
    async with made.gateway:
        assert (await made.say()).code == "config_unavailable"
        path.write_bytes(document("p1", 1))
        await asyncio.sleep(5)
        assert (await made.say()).status == 200


# --- sessions


async def test_sessions_survive_a_reload(tmp_path):
    pools = {tier: [offer("p1"), offer("p2")] for tier in ("simple", "complex")}
    made = site(tmp_path, providers=BOTH, tiers=pools)
    first = (await made.say("complex", conversation_id="c")).served.partition(" ")[0]
    await made.becomes(providers=BOTH, tiers=pools, retry={"retries": 1})
    for _ in range(5):
        heard = await made.say("simple", conversation_id="c")
        assert heard.served == f"{first} complex session"
    other = "p2" if first == "p1/m" else "p1"
    gone = {"providers": {other: BOTH[other]}, "tiers": {"complex": [offer(other)]}}
    await made.becomes(**gone)
    heard = await made.say("simple", conversation_id="c")
    assert heard.served == f"{other}/m complex session"


async def test_a_conversation_in_a_tier_that_is_gone_is_served_where_it_asks(tmp_path):
    made = site(tmp_path, tiers={"simple": [offer("p1")], "complex": [offer("p1")]})
    assert (await made.say("complex", conversation_id="c")).status == 200
    await made.becomes()
    heard = await made.say("simple", conversation_id="c")
    assert (heard.status, heard.headers["x-sentinel-tier"]) == (200, "simple")


async def test_another_size_and_lifetime_of_sessions_are_live(tmp_path):
    made = site(tmp_path)
    for name in "abc":
        await made.say("simple", conversation_id=name)
    await made.becomes(sessions={"max_in_process": 2, "ttl_seconds": 10})
    assert made.gateway.status().sessions.held == 2
    await made.say("simple", conversation_id="d")
    assert made.gateway.status().sessions.held == 2
    await asyncio.sleep(11)
    assert made.gateway.status().sessions.held == 0


async def test_sessions_that_are_kept_elsewhere_begin_anew_and_leave_nothing_behind(tmp_path):
    made = site(tmp_path, Say.completion(after=2))
    await made.say("simple", conversation_id="c")
    for number in range(5):
        running = asyncio.create_task(made.say("simple", conversation_id="running"))
        await asyncio.sleep(1)
        await made.becomes(sessions={"url": f"{NOWHERE}/{number}"})
        status = made.gateway.status()
        assert [store.name for store in status.stores] == [status.sessions.name]
        assert f"127.0.0.1:1/{number}" in status.sessions.name
        assert (await made.say("simple", conversation_id="c")).status == 200
        assert (await running).status == 200
        assert made.gateway.status().sessions.served_without > 0  # nobody listens there
    await made.becomes()
    assert (made.gateway.status().stores, made.gateway.status().sessions.held) == ((), 0)
    await asyncio.sleep(10)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_cache_and_the_sessions_share_one_link(tmp_path):
    made = site(tmp_path, cache={"url": NOWHERE})
    (store,) = made.gateway.status().stores
    assert store.name == made.gateway.status().sessions.name
    await made.becomes(cache={"url": NOWHERE}, sessions={"url": f"{NOWHERE}/7"})
    assert len(made.gateway.status().stores) == 2
    await made.becomes(cache={"url": NOWHERE}, sessions={"url": "memory://"})
    assert [each.name for each in made.gateway.status().stores] == [store.name]
    await made.gateway.close()


# --- a thousand times


async def test_a_thousand_reloads_leave_what_one_leaves(tmp_path):
    """Providers come and go, fail, are probed, have sessions; with a request running each time."""
    made = site(tmp_path, [DOWN, Say.completion(after=1), FINE])
    health = {"probe_interval_seconds": 5}

    async def round_of(number: int) -> None:
        name = ("p1", "p2")[number % 2]
        running = asyncio.create_task(made.say("simple", conversation_id="c"))
        await made.becomes(
            providers={name: {**BOTH[name], "max_connections": 1 + number % 9}},
            tiers={"simple": [offer(name, f"m{number % 20}")]},  # what was counted is kept
            routing={"aliases": {f"a{number}": "simple"}},
            sessions={"ttl_seconds": 100 + number % 3, "max_in_process": 10},
            health=health,
        )
        assert (await made.say("simple", conversation_id=f"c{number}")).status in (200, 502, 503)
        await running

    async def counts() -> tuple[int, int, int, int, int]:
        await asyncio.sleep(20)
        made.transport.sent.clear()
        gc.collect()
        parts = made.gateway.status()
        return (
            len(asyncio.all_tasks()),
            len(made.gateway.health.ailing()),
            len(parts.candidates) + len(parts.stores),
            len(made.gateway.models()),
            made.gateway.capacity.held_bytes,
        )

    for number in range(20):
        await round_of(number)
    before, objects = await counts(), len(gc.get_objects())
    for number in range(1000):
        await round_of(number)
    assert await counts() == before
    assert before[:2] == (1, 0)
    assert len(gc.get_objects()) - objects < 300  # not one for each
    assert made.transport.retained == ["p2"]


async def test_reloads_at_once_end_with_the_last_that_was_read(tmp_path):
    made = site(tmp_path)
    made.write(retry={"retries": 4})
    await asyncio.gather(*(made.gateway.reload() for _ in range(5)))
    assert made.gateway.config.retry.retries == 4
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- key files, where nobody watches


def keyed(tmp_path: Path, **given: Any) -> tuple[Site, Path, dict[str, Any]]:
    key = tmp_path / "key"
    key.write_text("sk-1")
    providers = {"p1": {**BOTH["p1"], "api_key_file": str(key)}}
    return site(tmp_path, providers=providers, **given), key, providers


async def looked(made: Site) -> None:
    """A request begins a look, and does not wait for it."""
    await asyncio.sleep(5.01)
    await spent(made)
    await asyncio.sleep(0.01)  # time stands still meanwhile


async def spent(made: Site) -> str:
    """The key that a request goes out with."""
    assert (await made.say(caller=Caller("ada"))).status == 200
    return dict(made.transport.sent[-1].headers)["authorization"].removeprefix("Bearer ")


async def test_a_rotated_key_is_taken_by_a_request_within_five_seconds(tmp_path, caplog):
    made, key, _ = keyed(tmp_path)
    assert await spent(made) == "sk-1"
    key.write_text("sk-22")
    with caplog.at_level(logging.INFO, "tiergate"):
        await looked(made)
    assert await spent(made) == "sk-22"
    assert [record.message for record in caplog.records] == ["keys were read again"]
    assert made.transport.retained == ["p1"]  # another certificate is another pool
    await asyncio.sleep(1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_running_request_keeps_the_key_it_began_with(tmp_path):
    made, key, _ = keyed(tmp_path, said=[Say(after=4, fault=UNREACHABLE), FINE],
                         retry={"jitter": 0, "retries": 1})  # fmt: skip
    await asyncio.sleep(5.01)
    running = asyncio.create_task(made.say())
    await asyncio.sleep(0)
    key.write_text("sk-22")
    await asyncio.sleep(2)
    await made.gateway.reload()
    await running
    assert {dict(each.headers)["authorization"] for each in made.transport.sent} == {"Bearer sk-1"}


@pytest.mark.parametrize("broken", ["", "sk\x00-2", "sk-\u00fc", None])
async def test_a_key_file_that_cannot_be_used_keeps_the_old_key_and_is_told(
    tmp_path, broken, caplog
):
    made, key, _ = keyed(tmp_path)
    await spent(made)
    if broken is None:
        key.unlink()
    else:
        key.write_text(broken)
    for _ in range(3):
        await looked(made)
        assert await spent(made) == "sk-1"
        assert "providers.p1" in str(made.last_error)
    assert len(caplog.records) == 1
    assert "sk" not in caplog.text.replace(str(tmp_path), "")
    key.write_text("sk-333")
    await looked(made)
    assert (await spent(made), made.last_error) == ("sk-333", None)


async def test_a_key_that_is_the_old_one_again_ends_the_complaint(tmp_path):
    made, key, _ = keyed(tmp_path)
    key.write_text("")
    await looked(made)
    assert made.last_error is not None
    key.write_text("sk-1")
    await looked(made)
    before = made.gateway.config
    assert (await spent(made), made.last_error) == ("sk-1", None)
    assert made.gateway.config is before


async def test_a_rotated_key_does_not_hide_that_a_configuration_was_refused(tmp_path):
    made, key, providers = keyed(tmp_path)
    made.path.write_bytes(b"{")
    with pytest.raises(ConfigError):
        await made.gateway.reload()
    key.write_text("sk-22")
    await looked(made)
    assert await spent(made) == "sk-22"
    assert "tiergate.json" in str(made.last_error)
    await made.becomes(providers=providers)
    assert made.last_error is None


# --- watching


class Reading:
    """Reads the configuration, and lets a test wait until it has been read again."""

    def __init__(self, path: Path) -> None:
        self.again = asyncio.Event()
        self._path = path

    def __call__(self) -> Config:
        self.again.set()
        return load_config(self._path, environ={})


def watchers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "tiergate-file-watch"]


async def no_more_watchers() -> bool:
    for each in watchers():
        each.join(5)
    return not watchers()


def watching(made: Site) -> tuple[Gateway, Reading]:
    reading = Reading(made.path)
    gateway = Gateway(
        made.path,
        watch=True,
        read=reading,
        transport=made.transport,
        clock=asyncio.get_running_loop().time,
        environ={},
    )
    reading.again.clear()
    return gateway, reading


async def settled(gateway: Gateway, reading: Reading, retries: int) -> None:
    """Until a reload has made it so; what is waited for is a thread, not time."""
    while gateway.config.retry.retries != retries:
        await reading.again.wait()
        reading.again.clear()
        for _ in range(10):
            await asyncio.sleep(0)


async def test_a_file_that_changes_is_live_from_open_to_close(tmp_path):
    made = site(tmp_path)
    gateway, reading = watching(made)
    assert watchers() == []
    await gateway.open()
    await asyncio.sleep(0)
    assert len(watchers()) == 1
    made.write(retry={"retries": 5})
    await settled(gateway, reading, 5)
    made.path.write_bytes(b"{")
    reading.again.clear()
    await reading.again.wait()
    assert (gateway.config.retry.retries, gateway.status().ready) == (5, True)
    made.write(retry={"retries": 6})
    await settled(gateway, reading, 6)
    await gateway.close()
    assert await no_more_watchers()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_change_between_making_and_opening_is_not_missed(tmp_path):
    made = site(tmp_path)
    gateway, reading = watching(made)
    made.write(retry={"retries": 5})
    await ask(World(gateway, made.transport))  # which looks after the keys, and after no more
    for expected in (5, 8):  # also from one opening to the next
        await gateway.open()
        await settled(gateway, reading, expected)
        await gateway.close()
        made.write(retry={"retries": 8})
    assert await no_more_watchers()


async def test_a_key_that_comes_later_than_what_names_it_is_noticed(tmp_path):
    made, key = site(tmp_path), tmp_path / "later"
    gateway, reading = watching(made)
    await gateway.open()
    for retries in (1, 5):  # twice: from the second on it is known that the key is not there
        reading.again.clear()
        named = {"p1": {**BOTH["p1"], "api_key_file": str(key)}}
        made.write(providers=named, retry={"retries": retries})
        await reading.again.wait()
        await asyncio.sleep(0)
        assert str(key) in str(gateway.status().configuration.last_error)
    reading.again.clear()
    key.write_text("sk-1")
    await settled(gateway, reading, 5)
    await gateway.close()
    assert await no_more_watchers()


async def test_where_a_watch_is_not_running_requests_look_after_the_keys(tmp_path):
    made, key, _ = keyed(tmp_path, watch=True)
    assert await spent(made) == "sk-1"
    key.write_text("sk-22")
    await looked(made)
    assert await spent(made) == "sk-22"
    assert watchers() == []


@pytest.mark.parametrize(("watch", "looks"), [(True, 0), (False, 3)])
async def test_where_a_watch_is_running_no_request_looks_at_the_disk(tmp_path, watch, looks):
    made, _, _ = keyed(tmp_path, watch=watch)
    loop, begun = asyncio.get_running_loop(), []

    def noted(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        begun.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **more)

    loop.set_task_factory(noted)
    async with made.gateway:
        for _ in range(3):
            await looked(made)
    assert begun.count("KeyFiles._look_at") == looks
    assert await no_more_watchers()


async def test_a_rotated_key_is_taken_though_the_configuration_beside_it_is_refused(tmp_path):
    made, key, _ = keyed(tmp_path, watch=True)
    async with made.gateway:
        await asyncio.sleep(0)
        made.path.write_bytes(b"{")
        key.write_text("sk-22")
        while await spent(made) == "sk-1":
            await asyncio.to_thread(lambda: None)
        assert "tiergate.json" in str(made.last_error)
    assert await no_more_watchers()


# --- what is refused for want of its tiers only


def away(folder: Path) -> dict[str, Any]:
    """A configuration under which the old tiers cannot serve, and whose own are not there yet."""
    source = {"source": "file", "file": str(folder / "tiers.json")}
    return {"providers": {"p2": BOTH["p2"]}, "tiers": {}, "tier_config": source}


async def test_a_configuration_whose_tiers_come_later_is_taken_when_they_are_there(
    tmp_path, caplog
):
    made = site(tmp_path)
    async with made.gateway:
        with pytest.raises(ConfigError, match=r"tiers\.json"):
            await made.becomes(**away(tmp_path))
        await asyncio.sleep(200)
        assert len(caplog.records) == 1  # it was tried again, and that is no news
        assert "tiers.json" in str(made.last_error)
        (tmp_path / "tiers.json").write_bytes(document("p2", 9))
        await asyncio.sleep(60)
        assert made.gateway.status().configuration.version == "9"
        assert (list(made.gateway.config.providers), made.last_error) == (["p2"], None)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_file_of_the_tiers_of_a_refused_configuration_is_watched(tmp_path):
    made = site(tmp_path)
    gateway, reading = watching(made)
    await gateway.open()
    for retries in (1, 5):  # twice: from the second on it is known that the file is not there
        reading.again.clear()
        made.write(**{**away(tmp_path), "providers": KEYLESS}, retry={"retries": retries})
        await reading.again.wait()
        await asyncio.sleep(0)
        assert "/nowhere/key" in str(gateway.status().configuration.last_error)
    reading.again.clear()
    (tmp_path / "tiers.json").write_bytes(document("p1", 9))
    await reading.again.wait()
    await gateway.close()
    assert await no_more_watchers()


async def test_a_change_while_the_configuration_is_read_at_the_start_is_not_missed(tmp_path):
    made = site(tmp_path)

    class Overtaken(Reading):
        def __call__(self) -> Config:
            config = super().__call__()
            if config.retry.retries == 0:
                made.write(retry={"retries": 5})
            return config

    reading = Overtaken(made.path)
    gateway = Gateway(
        made.path,
        watch=True,
        read=reading,
        transport=made.transport,
        clock=asyncio.get_running_loop().time,
        environ={},
    )
    await gateway.open()
    await settled(gateway, reading, 5)
    await gateway.close()
    assert await no_more_watchers()


# --- several workers


SEVERAL = {"WEB_CONCURRENCY": "4"}


@pytest.mark.parametrize("opened", [True, False], ids=["at start", "at the first request"])
async def test_workers_that_keep_their_sessions_each_for_itself_are_warned_of_once(
    tmp_path, opened, caplog
):
    made = site(tmp_path, environ=SEVERAL)
    assert caplog.records == []
    if opened:
        await made.gateway.open()
        assert len(caplog.records) == 1
    for _ in range(3):
        await made.say()
    await made.gateway.close()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "4 workers" in record.message
    assert "sessions.url" in record.message


@pytest.mark.parametrize(
    ("environ", "tables"),
    [
        ({"WEB_CONCURRENCY": "1"}, {}),
        ({}, {}),
        (SEVERAL, {"sessions": {"url": NOWHERE}}),
        (SEVERAL, {"cache": {"url": NOWHERE}}),
    ],
    ids=["one worker", "not said", "sessions in Redis", "sessions where the cache is"],
)
async def test_one_worker_or_shared_sessions_are_no_reason_to_warn(
    tmp_path, environ, tables, caplog
):
    made = site(tmp_path, environ=environ, **tables)
    await made.gateway.open()
    assert (await made.say()).status == 200
    await made.gateway.close()
    assert caplog.records == []
