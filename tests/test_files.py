"""Atomic writing, locks and strict JSON."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from forwardforward._utils import files
from forwardforward._utils.files import parse_json, replacing, sole_process
from forwardforward.training import checkpoints, load_checkpoint, save_checkpoint
from forwardforward.training.checkpoints import corrupted_entry

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of a process with threads, from Python 3.12 on


def write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_file_is_replaced_or_kept(tmp_path: Path) -> None:
    path = tmp_path / "a[1]*.txt"
    write(path, "old")
    with contextlib.suppress(KeyError), replacing(path) as file:
        file.write("new")
        raise KeyError
    assert path.read_text() == "old"
    write(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == {path.name}


@posix
@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be synced")
def test_content_and_folder_are_synced_to_the_disk_around_the_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    events: list[str] = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced = "folder" if status.st_ino == tmp_path.stat().st_ino else f"{status.st_size} bytes"
        events.append(f"{synced}, path contains {path.read_text()}")

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(path) as file:
        file.write("new text")
    assert events == ["8 bytes, path contains old", "folder, path contains new text"]


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write(tmp_path / "file", "text")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@posix
def test_a_link_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to("target")
    write(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "kept"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "new"


@posix
def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(os.devnull)
    for name in ("fifo", "folder", "link"):
        with pytest.raises(OSError, match=f"{name} is not a regular file"):
            write(tmp_path / name, "text")
    assert names(tmp_path) == {"fifo", "folder", "link"}


def test_errors_name_the_users_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.file\.txt'$"):
        write(tmp_path / "nowhere" / "file.txt", "text")


KILLED = """
import os, signal, sys
from forwardforward._utils import files
from forwardforward._utils.files import replacing
with replacing(sys.argv[1]) as file:
    file.write("half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@posix
@pytest.mark.slow
def test_leftovers_of_a_killed_process_are_removed_but_not_files_in_use(tmp_path: Path) -> None:
    path = tmp_path / "file"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert len(names(tmp_path)) == 1
    with replacing(path) as first:
        write(path, "second")
        assert len(names(tmp_path)) == 2  # the file and the temporary file of the first
        first.write("first")
    assert path.read_text() == "first"
    assert names(tmp_path) == {"file"}


def _write_checkpoints(path: Path, number: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        save_checkpoint(path, {"model": {}, "content": [number] * 2000 * (number + 1)})


@posix
@forks
@pytest.mark.parametrize("seconds", [0.3, pytest.param(10, marks=pytest.mark.slow)])
def test_readers_beside_two_writers_see_complete_checkpoints(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"model": {}, "content": [0]})
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_checkpoints, args=(path, number, seconds)) for number in (0, 1)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        load_checkpoint(path)
        reads += 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert reads > 1
    assert names(tmp_path) == {"checkpoint.pt"}


def test_a_file_replaced_while_it_is_read_is_not_mixed_with_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"model": {}, "content": [0]})
    size = os.path.getsize(path)

    def check_and_replace(file: BinaryIO) -> str | None:
        os.remove(path)
        save_checkpoint(path, {"model": {}, "content": [1] * 10_000})
        assert os.path.getsize(path) > 2 * size
        return corrupted_entry(file)

    monkeypatch.setattr(checkpoints, "corrupted_entry", check_and_replace)
    assert load_checkpoint(path)["content"] == [0]


LOCKER = """
import sys, time
from pathlib import Path
from forwardforward._utils import files
from forwardforward._utils.files import sole_process
with sole_process(Path(sys.argv[1]), "busy"):
    print(flush=True)
    time.sleep(60)
"""


@posix
def test_the_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", LOCKER, str(lock)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with (
            pytest.raises(BlockingIOError, match=rf"^process {process.pid} on \S+ is busy$"),
            sole_process(lock, "busy"),
        ):
            pass
        process.send_signal(signal.SIGKILL)
    assert lock.exists()
    with sole_process(lock, "busy"):
        assert f"process {os.getpid()} on " in lock.read_text()
        with pytest.raises(BlockingIOError, match="is busy"), sole_process(lock, "busy"):
            pass
    assert names(tmp_path) == set()


def _count(folder: Path, number: int) -> None:
    for _ in range(200):
        with contextlib.suppress(BlockingIOError), sole_process(folder / ".lock", "counting"):
            count = int((folder / "count").read_text())
            (folder / "count").write_text(str(count + 1))
            (folder / f"own-{number}").write_text("x" * (1 + len((folder / f"own-{number}").read_text())))


@posix
@forks
def test_the_lock_file_is_removed_without_letting_two_in(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count, args=(tmp_path, number)) for number in range(3)]
    for number, process in enumerate(processes):
        (tmp_path / f"own-{number}").touch()
        process.start()
    for process in processes:
        process.join()
    entered = sum(len((tmp_path / f"own-{number}").read_text()) for number in range(3))
    assert int((tmp_path / "count").read_text()) == entered > 0


@posix
@pytest.mark.parametrize("use", ["lock", "write"])
def test_a_file_that_another_process_removed_before_it_was_locked_is_made_again(
    use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[Path] = []
    lock = files._lock

    def lock_too_late(descriptor: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        lock(descriptor)

    monkeypatch.setattr(files, "_lock", lock_too_late)
    if use == "write":
        write(tmp_path / "file", "text")
        assert names(tmp_path) == {"file"}
    else:
        with sole_process(tmp_path / ".lock", "busy"):
            assert names(tmp_path) == {".lock"}
    assert len(removed) == 1


@posix
@pytest.mark.parametrize("planted", ["file", "link"])
def test_a_planted_temporary_file_is_not_written_to(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "0")
    monkeypatch.setattr(files, "_remove_leftovers", lambda _: None)
    (tmp_path / "target").write_text("kept")
    part = tmp_path / ".file.0.part"
    part.symlink_to("target") if planted == "link" else part.hardlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        write(tmp_path / "file", "text")
    assert (tmp_path / "target").read_text() == "kept"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "must be finite, got NaN"),
        ("[-Infinity]", "must be finite, got -Infinity"),
        ("[1e999]", "must be finite, got 1e999"),
        ('{"a": 1, "a": 2}', "keys must be distinct, got a, a"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting"),
        ("9" * 5000, "integer string conversion"),
    ],
)
def test_what_is_not_json(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_json_values() -> None:
    value: Any = {"a": [1, -2.5, None, True], "b": {"a": "é"}}
    assert parse_json('{"a": [1, -2.5, null, true], "b": {"a": "\\u00e9"}}') == value
