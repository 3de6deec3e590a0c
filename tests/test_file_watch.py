"""A change of a watched file is noticed, however it is made; anything else is not; nothing is left.

Real files, and real inotify: where a test sets a tick it is so long that only a notice can be in
time, or so short that only the tick can.
"""

import asyncio
import os
import resource
import shutil
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from tiergate.errors import ConfigError
from tiergate.file_watch import FileWatch, signature

ONLY_NOTICES = 60.0
ONLY_TICKS = 0.02


class Watched:
    """`async with` for a watch that counts its calls and is closed at the end."""

    def __init__(self, *paths: Path, tick: float = ONLY_NOTICES) -> None:
        self.paths: list[Path] = list(paths)
        self.calls = 0
        self.error: Exception | None = None
        self.watch = FileWatch(lambda: self.paths, self._changed, tick=tick)
        self._called = asyncio.Condition()

    async def _changed(self) -> None:
        async with self._called:
            self.calls += 1
            self._called.notify_all()
        if self.error is not None:
            raise self.error

    async def until(self, calls: int) -> None:
        async with asyncio.timeout(5), self._called:
            await self._called.wait_for(lambda: self.calls >= calls)

    async def __aenter__(self) -> "Watched":
        self.watch.start()
        await listening()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.watch.close()
        await gone()


def watchers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "tiergate-file-watch"]


def inotify() -> list[int]:
    """How many folders each inotify of this process looks at."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed between the listing and the reading
            if "inotify" in str(each.readlink()):
                info = each.parent.with_name("fdinfo") / each.name
                found.append(info.read_text().count("inotify wd:"))
    return found


async def listening(folders: int = 1) -> None:
    await soon(lambda: inotify() == [folders])


async def gone() -> None:
    await soon(lambda: not watchers() and not inotify())


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # a thread's doing, without an event of ours
            await asyncio.sleep(0.005)


def mounted(folder: Path, stamp: str, text: str) -> None:
    """What kubelet does when a ConfigMap changes: a new folder, a new link, one rename."""
    old = folder / "..data"
    before = old.readlink() if old.is_symlink() else None
    (folder / stamp).mkdir()
    (folder / stamp / "tiers.json").write_text(text)
    (folder / "..data_tmp").symlink_to(stamp)
    (folder / "..data_tmp").rename(old)
    link = folder / "tiers.json"
    if not link.is_symlink():
        link.symlink_to("..data/tiers.json")
    if before is not None:
        shutil.rmtree(folder / before)


# --- what a signature tells


def test_a_signature_tells_contents_apart_and_a_missing_file_too(tmp_path):
    path, link = tmp_path / "a", tmp_path / "link"
    link.symlink_to(path)
    told = [signature([path, link])]
    assert told[0] == ((path, None), (link, None)) == signature([link, path, link])
    path.write_text("one")
    told.append(signature([path, link]))
    assert signature([path, link]) == told[-1]
    assert told[-1][0][1] == told[-1][1][1] is not None
    os.utime(path, ns=(0, 0))
    told.append(signature([path, link]))
    path.write_text("longer")
    os.utime(path, ns=(0, 0))
    told.append(signature([path, link]))
    shutil.copy2(path, tmp_path / "new")
    (tmp_path / "new").rename(path)
    told.append(signature([path, link]))
    assert len(set(told)) == 5


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "file/below"])
def test_what_cannot_be_a_file_is_a_missing_one(tmp_path, name):
    (tmp_path / "file").write_text("")
    assert signature([tmp_path / name]) == ((tmp_path / name, None),)


# --- what is noticed


def rewrite(path: Path) -> None:
    path.write_text("two!")


def save_as_editors_do(path: Path) -> None:
    draft = path.with_name(".draft~")
    draft.write_text("two!")
    path.rename(path.with_name("backup~"))
    draft.rename(path)


@pytest.mark.parametrize("change", [rewrite, save_as_editors_do, Path.unlink, Path.touch])
async def test_a_file_that_is_changed_is_noticed_once(tmp_path, change):
    path = tmp_path / "a.toml"
    path.write_text("one")
    os.utime(path, (0, 0))
    async with Watched(path) as watched:
        change(path)
        await watched.until(1)
        (tmp_path / "a.toml").write_text("and again")
        await watched.until(2)
    assert watched.calls == 2


async def test_a_file_that_was_not_there_is_noticed_when_it_comes(tmp_path):
    async with Watched(tmp_path / "a.toml") as watched:
        (tmp_path / "a.toml").write_text("one")
        await watched.until(1)


async def test_each_swap_of_a_mounted_config_map_is_noticed(tmp_path):
    mounted(tmp_path, "..2026_01_01", "one")
    path, seen = tmp_path / "tiers.json", []
    async with Watched(path) as watched:
        for number in range(2, 6):
            mounted(tmp_path, f"..2026_01_0{number}", f"number {number}")
            await watched.until(number - 1)
            seen.append(path.read_text())
            await listening()
    assert watched.calls == 4
    assert seen == ["number 2", "number 3", "number 4", "number 5"]


async def test_what_changes_after_the_first_look_and_before_anything_notifies_is_noticed(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("one")

    class Late(type(tmp_path)):  # type: ignore[misc]
        looks = 0

        def stat(self, **_: bool) -> os.stat_result:
            seen = path.stat()
            Late.looks += 1
            if Late.looks == 3:  # by start, and on the thread: what is there, has it changed
                assert inotify() == []
                rewrite(path)
            return seen

    watched = Watched(Late(path))
    watched.watch.start()
    await watched.until(1)
    await watched.watch.close()
    await gone()


async def test_files_that_are_not_watched_change_in_peace(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("one")
    async with Watched(path) as watched:
        (tmp_path / "b.toml").write_text("other")
        (tmp_path / "..data").mkdir()  # says to look, and nothing is to be seen
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        await asyncio.sleep(0.3)  # more than a notice takes: there is no event to wait for
        assert watched.calls == 0
        rewrite(path)
        await watched.until(1)
    assert watched.calls == 1


async def test_a_half_written_file_is_noticed_again_when_it_is_whole(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("one")
    async with Watched(path) as watched:
        with path.open("w") as file:
            file.write("[half")
            file.flush()
            await watched.until(1)
            file.write("]")
        await watched.until(2)


async def test_what_changed_between_the_reading_and_the_start_is_noticed(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("one")
    watched = Watched(path)
    read = signature([path])
    rewrite(path)
    watched.watch.start(read)
    await watched.until(1)
    await watched.watch.close()
    await gone()


async def test_what_changes_while_changed_is_at_work_is_noticed_after_it(tmp_path):
    path, at_work, go_on = tmp_path / "a.toml", asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def changed() -> None:
        seen.append(path.read_text())
        at_work.set()
        await go_on.wait()

    watch = FileWatch(lambda: [path], changed)
    watch.start()
    path.write_text("one")
    await asyncio.wait_for(at_work.wait(), 5)
    path.write_text("the second")
    go_on.set()
    await soon(lambda: seen == ["one", "the second"])
    await watch.close()
    await gone()


# --- where nothing notifies


async def test_a_change_at_the_far_end_of_a_link_is_noticed_by_the_tick(tmp_path):
    near, far = tmp_path / "near", tmp_path / "far"
    near.mkdir()
    far.mkdir()
    (far / "a.toml").write_text("one")
    (near / "a.toml").symlink_to(far / "a.toml")
    async with Watched(near / "a.toml", tick=ONLY_TICKS) as watched:
        rewrite(far / "a.toml")
        await watched.until(1)


async def test_a_folder_may_come_go_and_come_again(tmp_path):
    path = tmp_path / "later" / "a.toml"
    watched = Watched(path, tick=ONLY_TICKS)
    watched.watch.start()
    for number in range(3):
        await listening(0)
        path.parent.mkdir()
        await listening()
        path.write_text("one")
        await watched.until(2 * number + 1)
        shutil.rmtree(path.parent)
        await watched.until(2 * number + 2)
    await watched.watch.close()
    await gone()


async def test_without_inotify_the_tick_notices(tmp_path):
    path = tmp_path / "a.toml"
    watched = Watched(path, tick=ONLY_TICKS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Descriptors are numbered from the lowest that is free: no new one can be had.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        watched.watch.start()
        await asyncio.sleep(5 * ONLY_TICKS)  # the time in which a failure would have ended it
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    path.write_text("one")
    await watched.until(1)
    await watched.watch.close()
    await gone()


# --- other files, failures


async def test_a_change_may_name_other_files_and_they_begin_as_they_are(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "a.toml").write_text("x")
    async with Watched(one / "a.toml") as watched:
        watched.paths = [two / "a.toml"]
        rewrite(one / "a.toml")
        await watched.until(1)
        await soon(lambda: len(watchers()) == 1)
        await listening()
        rewrite(two / "a.toml")
        await watched.until(2)
        await listening()
        (one / "a.toml").unlink()
        rewrite(two / "a.toml")
        os.utime(two / "a.toml", (1, 1))
        await watched.until(3)
    assert watched.calls == 3


async def test_what_fails_after_a_change_is_logged_and_the_watch_lives_on(tmp_path, caplog):
    path = tmp_path / "a.toml"
    async with Watched(path, tick=ONLY_TICKS) as watched:
        watched.error = OSError("no reload today")
        path.write_text("one")
        await watched.until(1)
        watched.error = None
        rewrite(path)
        await watched.until(2)
    assert "no reload today" in caplog.text


async def test_a_thread_that_fails_is_logged_and_another_takes_its_place(tmp_path, caplog):
    class Odd(type(tmp_path)):  # type: ignore[misc]
        looks = 0

        def stat(self, **_: bool) -> os.stat_result:
            Odd.looks += 1
            if Odd.looks == 2:
                raise ArithmeticError("odd")
            return tmp_path.stat()

    watched = Watched(Odd(tmp_path / "a"), tick=ONLY_TICKS)
    watched.watch.start()
    await soon(lambda: Odd.looks > 3)
    assert "odd" in caplog.text
    await watched.watch.close()
    await gone()


def test_without_watchfiles_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ConfigError, match=r"pip install 'tiergate\[watch\]'"):
        FileWatch(list, never)


async def never() -> None:
    raise AssertionError


# --- its end


async def test_closing_is_prompt_and_leaves_no_thread_no_task_no_inotify(tmp_path):
    watch = FileWatch(lambda: [tmp_path / "a"], never)
    await watch.close()
    for _ in range(3):
        watch.start()
        watch.start()  # does nothing
        await listening()
        assert (len(watchers()), len(asyncio.all_tasks())) == (1, 2)
        async with asyncio.timeout(0.5):
            await watch.close()
            await watch.close()
            await gone()
        assert len(asyncio.all_tasks()) == 1


async def test_closing_cancels_what_follows_a_change(tmp_path):
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    watch = FileWatch(lambda: [tmp_path / "a"], endless)
    watch.start()
    (tmp_path / "a").write_text("one")
    await asyncio.wait_for(began.wait(), 5)
    async with asyncio.timeout(0.5):
        await watch.close()
    assert cancelled.is_set()
    await gone()


async def test_a_dead_network_mount_holds_up_neither_the_loop_nor_the_end(tmp_path):
    asked, alive = threading.Event(), threading.Event()
    loop_thread = threading.get_ident()

    class Mount(type(tmp_path)):  # type: ignore[misc]
        def stat(self, **_: bool) -> os.stat_result:
            if threading.get_ident() != loop_thread:
                asked.set()
                assert alive.wait(10)
            return tmp_path.stat()

    watch = FileWatch(lambda: [Mount(tmp_path / "a")], never)
    watch.start()
    await soon(asked.is_set)
    async with asyncio.timeout(0.5):
        await watch.close()
    alive.set()
    await gone()


def test_one_watch_serves_one_loop_after_another_and_ends_with_each(tmp_path):
    calls: list[int] = []

    async def changed() -> None:
        calls.append(1)

    def paths() -> Iterable[Path]:
        return [tmp_path / "a"]

    watch = FileWatch(paths, changed)

    async def main(text: str) -> None:
        watch.start()
        (tmp_path / "a").write_text(text)
        before = len(calls)
        await soon(lambda: len(calls) > before)

    for text in ("one", "the second"):
        asyncio.run(main(text))  # nobody closes it: the loop cancels its task
        assert not [each for each in watchers() if each.join(1) or each.is_alive()]
    asyncio.run(watch.close())
    assert len(calls) == 2
