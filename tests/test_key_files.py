"""Key files where nobody watches: looked at now and then, on a thread that may hang.

What a gateway does with a new key is `test_assembly`'s.
"""

import asyncio
import threading

import pytest

from tiergate.config import Config, Provider, TierConfig
from tiergate.credentials import Credentials
from tiergate.errors import ConfigError
from tiergate.file_watch import signature
from tiergate.key_files import KeyFiles, key_files, tier_files

KEYS = Credentials({"p1": "sk"}, {}, None, frozenset())


def now():
    return asyncio.get_running_loop().time()


def looking(path, read=lambda: KEYS):
    """A path that is looked at, what was taken, and a function that does one look."""
    taken = []
    made = KeyFiles(signature([path]), now, taken.append)

    async def look(seconds=5.01):
        made.tend(lambda: [path], read)
        await asyncio.sleep(seconds)

    return made, taken, look


def test_the_files_that_configurations_name():
    one = Config(providers={"p1": Provider(api_key_file="k", ca_file="c"), "p2": Provider()})
    other = Config(tier_config=TierConfig(source="file", file="t"))
    assert {str(path) for path in key_files(one, other)} == {"k", "c"}
    assert {str(path) for path in tier_files(one, other)} == {"t"}


async def test_they_are_read_only_when_one_has_changed(tmp_path):
    path = tmp_path / "key"
    _, taken, look = looking(path)
    await look()
    assert taken == []
    path.write_text("1")
    await look()
    await look()
    assert taken == [KEYS]


async def test_they_are_looked_at_every_five_seconds_however_many_requests_come(tmp_path):
    path = tmp_path / "key"
    _, taken, look = looking(path)
    for number in range(110):
        path.write_text("x" * number)
        await look(0.1)
    assert len(taken) == 3


async def test_without_such_files_nothing_is_begun():
    made = KeyFiles((), now, [].append)
    made.tend(list, lambda: KEYS)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_reload_meanwhile_has_the_last_word(tmp_path):
    path = tmp_path / "key"
    made, taken, look = looking(path)
    path.write_text("1")
    await look(0)
    made.seen = signature([path])
    await asyncio.sleep(1)
    assert taken == []


async def test_what_cannot_be_used_is_told_until_it_can(tmp_path, caplog):
    path, error = tmp_path / "key", ConfigError("no key")
    said = [error, KEYS]

    def read():
        if isinstance(says := said.pop(0), ConfigError):
            raise says
        return says

    made, taken, look = looking(path, read)
    path.write_text("1")
    await look()
    await look()
    assert (made.problem, taken, len(caplog.records)) == ("no key", [], 1)
    path.write_text("22")
    await look()
    assert (made.problem, taken) == (None, [KEYS])


async def test_closing_ends_a_look(tmp_path):
    path = tmp_path / "key"
    made, taken, look = looking(path)
    await made.close()
    path.write_text("1")
    await look(0)
    await made.close()
    await asyncio.sleep(1)
    assert (taken, asyncio.all_tasks()) == ([], {asyncio.current_task()})


@pytest.mark.parametrize("gone", [True, False], ids=["its loop has ended", "it is given up"])
def test_a_disk_that_does_not_answer_holds_up_nothing_and_one_thread(tmp_path, caplog, gone):
    path, back, times = tmp_path / "key", threading.Event(), iter(range(0, 100, 10))
    taken = []
    made = KeyFiles(signature([path]), lambda: next(times) // 2, taken.append, patience=0.05)
    path.write_text("1")

    def read():
        back.wait(10)
        return KEYS

    async def ask(seconds):
        made.tend(lambda: [path], read)
        await asyncio.sleep(seconds)

    asyncio.run(ask(0.01 if gone else 0.2))
    asyncio.run(ask(0.2))
    hung = [each for each in threading.enumerate() if each.name == "tiergate-key-files"]
    assert (len(hung), taken) == (1, [])
    assert [each.levelname for each in caplog.records] == ([] if gone else ["WARNING"])
    back.set()
    hung[0].join(10)
    asyncio.run(ask(0.05))
    assert taken == [KEYS]
