"""Processes of a distributed training, forked from one that has imported the library once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence

import torch._dynamo  # noqa: F401 - takes a second, which each process would need


def free_port() -> int:
    """Return a port that no process uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start(size: int, function: Callable[[int], int | None], port: int | None = None) -> list[int]:
    """Start processes with torchrun's variables, and return their numbers.

    Args:
        size: Number of processes.
        function: ``rank -> exit status``.
        port: The port at which they connect; default: a free one.
    """
    port = port or free_port()
    processes = []
    for rank in range(size):
        process = os.fork()
        if process == 0:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "LOCAL_WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            status = 1
            try:
                status = function(rank) or 0
            except SystemExit as error:
                status = int(str(error.code or 0))
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        processes.append(process)
    return processes


def wait(processes: Sequence[int], timeout: float = 600.0) -> list[int | None]:
    """Return the exit statuses, negative for signals; None for processes that had to be killed.

    Args:
        processes: Their numbers.
        timeout: Seconds to wait.
    """
    statuses: dict[int, int | None] = {}
    deadline = time.monotonic() + timeout
    for process in processes:
        while True:
            number, status = os.waitpid(process, os.WNOHANG)
            if number:
                statuses[process] = os.waitstatus_to_exitcode(status)
                break
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                statuses[process] = None
                break
            time.sleep(0.02)
    return [statuses[process] for process in processes]


def run(size: int, function: Callable[[int], int | None]) -> None:
    """Run a function in several processes, all of which must succeed.

    Args:
        size: Number of processes.
        function: ``rank -> exit status``.
    """
    statuses = wait(start(size, function))
    if any(status != 0 for status in statuses):
        raise RuntimeError(f"processes failed, exit statuses {statuses}")
