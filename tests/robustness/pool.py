"""Runs cases, each in a process of its own with limits of memory, time and processor time."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

MEMORY = 3 * 2**30  # bytes in addition to what the process has mapped at the start
SECONDS = 20  # of processor time
BLOCKED = 6  # seconds without any processor time
WALL = 180


def run_all(
    cases: Iterable[Any], function: Callable[[Any], dict[str, Any]], jobs: int
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each case with the result of its function, or with ``{"outcome": "hang"}`` or ``{"outcome": "crash"}``.

    The function runs in a forked process, in an empty folder that is removed afterwards.
    """
    waiting = iter(cases)
    running: dict[int, _Process] = {}
    exhausted = False
    while running or not exhausted:
        while len(running) < jobs and not exhausted:
            try:
                case = next(waiting)
            except StopIteration:
                exhausted = True
                break
            process = _Process(case, function)
            running[process.pipe] = process
        if not running:
            break
        ready, _, _ = select.select(list(running), [], [], 0.5)
        for pipe in ready:
            if running[pipe].read():
                process = running.pop(pipe)
                yield process.case, process.result()
        for pipe, process in list(running.items()):
            if pipe not in ready and process.is_hanging():
                process.kill()
                del running[pipe]
                yield process.case, {"outcome": "hang", "message": process.reason, **process.partial()}


class _Process:
    def __init__(self, case: Any, function: Callable[[Any], dict[str, Any]]) -> None:
        self.case = case
        self.folder = Path(tempfile.mkdtemp(prefix="bad-input-"))
        self.pipe, end = os.pipe()
        self.start = self.active = time.monotonic()
        self.used = 0
        self.content = b""
        self.reason = ""
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            _child(case, function, self.folder, end)
        os.close(end)

    def read(self) -> bool:
        """Read what the process has written, and return whether it has ended."""
        block = os.read(self.pipe, 2**16)
        self.content += block
        return not block

    def result(self) -> dict[str, Any]:
        _, status = os.waitpid(self.pid, 0)
        self._clean()
        try:
            return json.loads(self.content.splitlines()[-1])
        except (ValueError, IndexError):
            signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            if signal_number in (signal.SIGXCPU, signal.SIGKILL):
                return {"outcome": "hang", "message": f"more than {SECONDS} seconds of processor time"}
            return {"outcome": "crash", "message": f"exit status {status}", **self.partial()}

    def partial(self) -> dict[str, Any]:
        """Return what the process reported before it ended."""
        try:
            return dict(json.loads(self.content.splitlines()[-1]))
        except (ValueError, IndexError):
            return {}

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

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._clean()

    def _clean(self) -> None:
        os.close(self.pipe)
        shutil.rmtree(self.folder, ignore_errors=True)


def _child(case: Any, function: Callable[[Any], dict[str, Any]], folder: Path, end: int) -> None:
    status = 1
    try:
        (folder / "work").mkdir()
        os.chdir(folder / "work")
        for descriptor, name in ((0, os.devnull), (1, "../stdout"), (2, "../stderr")):
            opened = os.open(name, os.O_RDWR | os.O_CREAT if descriptor else os.O_RDONLY)
            os.dup2(opened, descriptor)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
        result = function(case)
        with open(end, "w", encoding="utf-8", errors="backslashreplace") as pipe:
            pipe.write(json.dumps(result) + "\n")
        status = 0
    finally:
        os._exit(status)


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
