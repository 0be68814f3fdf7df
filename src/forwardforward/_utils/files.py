"""Atomic writing of files, locks between processes and strict JSON."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import secrets
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

__all__ = ["check_replaceable", "parse_json", "replacing", "sole_process"]

# Not defined on every system: O_BINARY on Windows only, the others on POSIX only.
_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Context manager that opens a temporary file, which replaces ``path`` on success and is removed on an error.

    The content is synced to the disk before, so that a kill or a power failure leaves either the old or the new file.
    Several processes can write at once: each has its own temporary file, and the last to finish determines the content.
    Temporary files of killed processes are removed by the next call for the same path.

    Args:
        path: The file to replace; its folder must exist. A symbolic link is replaced, and its target is not changed.
        mode: ``"w"`` for text in UTF-8, or ``"wb"``.

    Raises:
        OSError: If the disk is full, the folder cannot be written to, or the path is not a regular file.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # replacing a device such as /dev/null would remove it
        raise OSError(f"{path} is not a regular file")
    part = path
    try:
        _remove_leftovers(path)
        part, descriptor = _new_part(path)
        # File names in a text may contain bytes that are not UTF-8.
        text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace"}
        with open(descriptor, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            if sys.platform != "win32":  # before the file is closed, which releases its lock
                os.replace(part, path)
        if sys.platform == "win32":  # Windows cannot rename an open file
            os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        if not os.path.basename(str(error.filename)).startswith(f".{path.name}."):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # the message names the user's file
    finally:
        if part != path:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def check_replaceable(path: Path) -> None:
    """Check that :func:`replacing` can write a file, by making its temporary file and removing it.

    Args:
        path: The file.

    Raises:
        OSError: If the folder does not exist or cannot be written to, or the name is too long.
    """
    part, descriptor = _new_part(path)
    os.close(descriptor)
    part.unlink()


def _new_part(path: Path) -> tuple[Path, int]:
    """Create a temporary file beside ``path``, locked while it is open."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        # Not tempfile.mkstemp, whose files only their owner can read: this mode follows the umask, as in open().
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks
            _lock(descriptor)
        if part.exists():  # not removed by another process before it was locked
            return part, descriptor
        os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of killed processes: those that no process has locked."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):  # locked, removed by another process, or of another user
            descriptor = os.open(part, os.O_RDWR | _FLAGS)
            try:
                _lock(descriptor)
                part.unlink()
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def sole_process(path: Path, task: str) -> Iterator[None]:
    """Context manager that only one process, and only one block of a process, can enter at a time.

    The lock is the operating system's: it is released when the process ends for any reason. On a file system without
    locks there is a warning and no lock.

    Args:
        path: Lock file, which contains the process id and the host name and is removed at the end; its folder must
            exist.
        task: What the process does, for the error message.

    Raises:
        BlockingIOError: If another process has the lock.
    """
    descriptor = _locked(path, task)
    try:
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows cannot remove an open file, and the empty file does no harm
            path.unlink()
        os.close(descriptor)


def _locked(path: Path, task: str) -> int:
    """Open and lock a lock file, and return its descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
        try:
            _lock(descriptor)
        except BlockingIOError:
            owner = os.read(descriptor, 1000).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise BlockingIOError(f"{owner} is {task}") from None
        except OSError as error:
            warnings.warn(f"{path} cannot be locked against other processes: {error}", stacklevel=4)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # not removed by its last owner meanwhile
                os.ftruncate(descriptor, 0)
                return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file until it is closed.

    Raises:
        BlockingIOError: If another process has the lock.
        OSError: If the file system has no locks.
    """
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        try:
            os.lseek(descriptor, 2**20, os.SEEK_SET)  # behind the content, which stays readable
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)


def _sync_folder(folder: Path) -> None:
    """Sync the replacement itself to the disk, on systems that can open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def parse_json(text: str, finite: bool = True) -> Any:
    """Return the value of a JSON text without repeated keys.

    Args:
        text: The text.
        finite: Whether to refuse NaN and infinity, which Python's ``json`` accepts.

    Raises:
        ValueError: If it is not valid JSON.
    """
    try:
        if not finite:
            return json.loads(text, object_pairs_hook=_distinct)
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"its numbers must be finite, got {text}")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_constant(text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"its keys must be distinct, got {', '.join(name for name, _ in pairs)}")
    return values
