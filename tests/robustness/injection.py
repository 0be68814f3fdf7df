"""Death at a chosen moment: at an operation on a file, after some bytes of a write, or some time into a phase."""

from __future__ import annotations

import builtins
import dataclasses
import fcntl
import io
import json
import mmap
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forwardforward.recipes import Recipe
from forwardforward.runs import Run
from forwardforward.training import Checkpoint, FitState, StopOnDivergence

#: Operations on files around which a process can die, besides `open` of Python and `flock`.
OPERATIONS = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "link", "ftruncate", "fsync", "open")


@dataclasses.dataclass(frozen=True)
class Plan:
    """When a process dies.

    Args:
        mode: ``"none"``; ``"time"``, ``delay`` seconds into the ``number``-th phase of the name ``phase``;
            ``"operation"``, before or after the ``number``-th operation on a file; or ``"write"``, after the first
            ``share`` of the bytes of the ``number``-th write.
        signal: The signal that ends the process.
    """

    mode: str = "none"
    number: int = 0
    phase: str = "start"
    delay: float = 0.0
    before: bool = True
    share: float = 0.0
    signal: int = signal.SIGKILL


class Board:
    """Shared memory in which a process notes where it is; it can be read after the process was killed."""

    _layout = struct.Struct("qq40s80s")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self.epoch, self.step, self.phase, self.operation = 0, 0, "start", ""

    def write(self) -> None:
        """Note the current place."""
        texts = [text.encode()[:80] for text in (self.phase, self.operation)]
        self._layout.pack_into(self._memory, 0, self.epoch, self.step, *texts)

    def read(self) -> dict[str, Any]:
        """Return the last place."""
        epoch, step, phase, operation = self._layout.unpack_from(self._memory, 0)
        texts = {"phase": phase.rstrip(b"\0").decode(), "operation": operation.rstrip(b"\0").decode()}
        return {"epoch": epoch, "step": step, **texts}


class Watch:
    """Counts the operations on files below a folder in this process, and ends the process as planned.

    It replaces functions of the process for good: use it in a child only.

    Args:
        folder: The folder.
        plan: When to die.
        board: Where to note the place.
        ready: File descriptor that receives a byte when the planned phase begins.
    """

    def __init__(self, folder: Path, plan: Plan, board: Board, ready: int) -> None:
        self.folder, self.plan, self.board, self.ready = str(folder), plan, board, ready
        self.operations: list[str] = []
        self.writes: list[tuple[str, int]] = []
        self.phases: list[tuple[str, float]] = []
        self.began: dict[str, int] = {}
        self._phase_begins("start")
        for name in OPERATIONS:
            setattr(os, name, self._operation(name, getattr(os, name)))
        for name in ("flock", "lockf"):
            setattr(fcntl, name, self._operation(name, getattr(fcntl, name)))
        self._os_write = os.write
        os.write = lambda file, content: self._write(self._path(file), content, lambda part: self._os_write(file, part))
        builtins.open = io.open = self._open  # type: ignore[assignment]
        parallel, runs = sys.modules["forwardforward.training.parallel"], sys.modules["forwardforward.runs.run"]
        places = {
            "preparation": (Recipe, "splits"),
            "validation": (parallel, "evaluate"),
            "evaluation": (runs, "evaluate"),
            "drawing": (Run, "plot"),
            "checkpoint": (Checkpoint, "write"),
        }
        for phase, (owner, name) in places.items():
            setattr(owner, name, self._in_phase(phase, getattr(owner, name)))
        # It is part of every fit.
        StopOnDivergence.on_step_end = lambda callback, state, result: self._step(state)  # type: ignore[method-assign]

    def trace(self) -> dict[str, Any]:
        """Return the operations, the writes with their lengths, and the phases with their seconds."""
        return {"operations": self.operations, "writes": self.writes, "phases": self.phases}

    def ends(self) -> None:
        """Note that the watched work is done."""
        self.board.phase = "end"
        self.board.write()

    def _die(self) -> None:
        os.kill(os.getpid(), self.plan.signal)
        time.sleep(60)

    def _step(self, state: FitState) -> None:
        assert state.unfinished is not None
        self.board.epoch, self.board.step = len(state.history), state.unfinished.steps
        self.board.write()

    def _phase_begins(self, phase: str) -> None:
        number = self.began[phase] = self.began.get(phase, -1) + 1
        self.board.phase = phase
        self.board.write()
        if (self.plan.mode, self.plan.phase, self.plan.number) == ("time", phase, number):
            os.write(self.ready, b".")

    def _in_phase(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            before, start = self.board.phase, time.perf_counter()
            self._phase_begins(phase)
            result = function(*arguments, **options)
            self.phases.append((phase, time.perf_counter() - start))
            self.board.phase = before
            self.board.write()
            return result

        return run

    def _path(self, place: Any) -> str:
        """Return the path below the folder, or nothing for a file elsewhere."""
        try:
            path = os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else os.path.abspath(place)
        except (OSError, TypeError):
            return ""
        path = os.fsdecode(path)
        return path[len(self.folder) + 1 :] if path.startswith(self.folder + os.sep) else ""

    def _around(self, name: str, path: str, function: Callable[[], Any]) -> Any:
        if not path or path.startswith("aclImdb/"):  # the reviews are only read, and are many
            return function()
        number = len(self.operations)
        self.operations.append(f"{name} {path}")
        self.board.operation = f"{'before' if self.plan.before else 'after'} {name} {path}"
        self.board.write()
        due = self.plan.mode == "operation" and number == self.plan.number
        if due and self.plan.before:
            self._die()
        result = function()
        if due:
            self._die()
        return result

    def _operation(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            path = self._path(arguments[0]) if arguments else ""
            return self._around(name, path, lambda: function(*arguments, **options))

        return run

    def _write(self, path: str, content: Any, function: Callable[[Any], int]) -> int:
        if not path:
            return function(content)
        content = bytes(content)
        number = len(self.writes)
        self.writes.append((path, len(content)))
        self.board.operation = f"write {path}"
        self.board.write()
        if self.plan.mode == "write" and number == self.plan.number:
            function(content[: round(self.plan.share * len(content))])
            self._die()
        return function(content)

    def _open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        path = self._path(file)
        if not path or not set(mode) & set("wax+"):
            options = (buffering, encoding, errors, newline, closefd, opener)
            return self._around("open", path, lambda: _io_open(file, mode, *options))
        raw = self._around("open", path, lambda: _File(self, path, file, mode.replace("t", ""), closefd, opener))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)


_io_open = io.open


class _File(io.FileIO):
    """A file whose process may die within a write."""

    def __init__(self, watch: Watch, path: str, file: Any, mode: str, closefd: bool, opener: Any) -> None:
        super().__init__(file, mode.replace("b", ""), closefd, opener)
        self._watch, self._path = watch, path

    def write(self, content: Any, /) -> int:
        """Write, and die if this is the write at which the process dies."""
        return self._watch._write(self._path, content, super().write)


@dataclasses.dataclass(frozen=True)
class End:
    """How a process ended.

    Args:
        outcome: ``"finished"``, ``"killed"``, ``"stopped"`` by a signal that it handled, ``"failed"`` or ``"hung"``.
        status: Exit status, or minus the signal's number.
        seconds: Time from its start to its end.
        place: The last epoch, step, phase and operation.
    """

    outcome: str
    status: int
    seconds: float
    place: dict[str, Any]


def run_in_a_child(work: Callable[[Watch], int], folder: Path, plan: Plan, limit: float = 600) -> End:
    """Run a function in a fork of this process, which ends as planned.

    Args:
        work: The function; its result is the exit status. The trace is written to ``FOLDER.trace.json`` at its end.
        folder: The folder whose files are watched; output is appended to ``FOLDER.log``.
        plan: When the child ends.
        limit: Seconds after which it is regarded as hung.
    """
    board, (receive, send), start = Board(), os.pipe(), time.perf_counter()
    if not (child := os.fork()):
        status = 99
        try:
            os.close(receive)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would raise an error before a handler is installed
            log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            watch = Watch(folder, plan, board, send)
            status = work(watch)
            Path(f"{folder}.trace.json").write_text(json.dumps(watch.trace()))
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(send)
    if plan.mode == "time" and select.select([receive], [], [], limit)[0] and os.read(receive, 1):
        time.sleep(plan.delay)
        os.kill(child, plan.signal)
    hung = False
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.perf_counter() - start > limit and not hung:
            hung = True
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    os.close(receive)
    status = os.waitstatus_to_exitcode(ended[1])
    if hung:
        outcome = "hung"
    elif status == 0:
        outcome = "finished"
    elif status == -plan.signal:
        outcome = "killed"
    else:
        outcome = "stopped" if status == 128 + plan.signal else "failed"
    return End(outcome, status, time.perf_counter() - start, board.read())
