"""Runs cases, each in a process of its own with limits of memory, time and processor time."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

MEMORY = 3 * 2**30  # bytes in addition to what the process has mapped at the start
SECONDS = 20  # of processor time
BLOCKED = 6  # seconds without any processor time
WALL = 180


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Context manager that changes the working directory; contextlib has it from Python 3.11 on."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run_all(
    cases: Iterable[Any], function: Callable[[Any], dict[str, Any]], jobs: int, batch: int = 1
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each case with the result of its function, or with ``{"outcome": "hang"}`` or ``{"outcome": "crash"}``.

    The function runs in a forked process for ``batch`` cases, each in an empty folder that is removed afterwards. If a
    process ends or hangs in a case, a new process runs the remaining ones.
    """
    waiting = deque(cases)
    running: dict[int, _Process] = {}
    while running or waiting:
        while len(running) < jobs and waiting:
            chosen = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
            process = _Process(chosen, function)
            running[process.pipe] = process
        ready, _, _ = select.select(list(running), [], [], 0.5)
        for pipe in list(running):
            process = running[pipe]
            ended = process.read() if pipe in ready else process.is_hanging()
            yield from process.results()
            if ended:
                del running[pipe]
                result, rest = process.finish()
                if result is not None:
                    yield rest[0], result
                    rest = rest[1:]
                waiting.extendleft(reversed(rest))


class _Process:
    def __init__(self, cases: list[Any], function: Callable[[Any], dict[str, Any]]) -> None:
        self.cases = cases
        self.done = 0
        self.folder = Path(tempfile.mkdtemp(prefix="bad-input-"))
        self.pipe, end = os.pipe()
        self.start = self.active = time.monotonic()
        self.used = 0
        self.content = b""
        self.reason = ""
        self.pid = os.fork()
        if self.pid == 0:
            _child(cases, function, self.folder, end)
        os.close(end)

    def read(self) -> bool:
        """Read what the process has written, and return whether it has ended."""
        block = os.read(self.pipe, 2**16)
        self.content += block
        return not block

    def results(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the cases that have ended since the last call."""
        *lines, self.content = self.content.split(b"\n")
        for line in lines:
            yield self.cases[self.done], json.loads(line)
            self.done += 1
            self.start = self.active = time.monotonic()

    def is_hanging(self) -> bool:
        now = time.monotonic()
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        used = int(fields[11]) + int(fields[12])
        if used != self.used or fields[0] != "S":
            self.used, self.active = used, now
        if now - self.active > BLOCKED:
            self.reason = f"waits for something without an end (more than {BLOCKED} seconds)"
        elif now - self.start > WALL:
            self.reason = f"more than {WALL} seconds"
        return bool(self.reason)

    def finish(self) -> tuple[dict[str, Any] | None, list[Any]]:
        """Return the result of the case in which the process ended, and the cases from that one on."""
        result: dict[str, Any] | None = None
        if self.reason:
            os.kill(self.pid, signal.SIGUSR1)  # writes where it waits
            time.sleep(0.3)
            result = {"outcome": "hang", "message": f"{self.reason}: {self._stack()}"}
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        rest = self.cases[self.done :]
        if rest and result is None:
            result = {"outcome": "crash", "message": f"exit status {status}: {self._stack()}"}
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
                result = {
                    "outcome": "hang",
                    "message": f"more than {SECONDS} seconds of processor time: {self._stack()}",
                }
        os.close(self.pipe)
        shutil.rmtree(self.folder, ignore_errors=True)
        return result, rest

    def _stack(self) -> str:
        lines = (self.folder / "stack").read_text(errors="replace").splitlines()
        return " < ".join(line.strip().removeprefix("File ") for line in lines if "File" in line)[:500]


def _child(cases: list[Any], function: Callable[[Any], dict[str, Any]], folder: Path, end: int) -> None:
    try:
        os.chdir(folder)
        stack = open("stack", "w")  # noqa: SIM115 - open until the process ends
        faulthandler.register(signal.SIGUSR1, stack, all_threads=False)
        faulthandler.register(signal.SIGXCPU, stack, all_threads=False, chain=True)
        faulthandler.enable(stack, all_threads=False)
        for descriptor, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
            opened = os.open(name, os.O_RDWR | os.O_CREAT if descriptor else os.O_RDONLY)
            os.dup2(opened, descriptor)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
        with open(end, "w", encoding="utf-8", errors="backslashreplace") as pipe:
            for number, case in enumerate(cases):
                used = int(sum(os.times()[:2])) + SECONDS
                resource.setrlimit(resource.RLIMIT_CPU, (used, resource.RLIM_INFINITY))
                work = folder / f"work{number}" / "work"
                work.mkdir(parents=True)
                os.chdir(work)
                try:
                    result = function(case)
                except BaseException as error:
                    result = {"outcome": "crash", "message": "".join(traceback.format_exception(error))[-600:]}
                if os.getuid() == 0:
                    os.seteuid(0)  # a case may have given up root's rights
                pipe.write(json.dumps(result) + "\n")
                pipe.flush()
                os.chdir(folder)
                shutil.rmtree(work.parent, ignore_errors=True)
    finally:
        os._exit(0)


def warm_up() -> None:
    """Import what the cases import, so that their processes need not."""
    import importlib

    import torch

    torch.set_num_threads(1)
    for name in (
        "torch._dynamo", "sklearn.datasets", "matplotlib.pyplot", "gensim.models", "torchvision.datasets", "scipy.io",
        "PIL.Image", "PIL.PngImagePlugin",
    ):  # fmt: skip
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"without {name}: {error}")
