"""The start and the end of the processes that train together."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import timedelta
from threading import Thread
from typing import Literal

import torch
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from forwardforward._utils.arguments import PositiveFloat, checked
from forwardforward._utils.plugins import one_line
from forwardforward.distributed.ranks import PREFIX, Ranks, quiet
from forwardforward.training import RankError

__all__ = ["process_group"]

#: Variables that torchrun sets for each process, as do scripts for Slurm.
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextlib.contextmanager
@checked
def process_group(
    backend: Literal["gloo", "nccl"] | None = None,
    timeout: PositiveFloat = 600.0,
    start_timeout: PositiveFloat | None = None,
) -> Iterator[Ranks]:
    """Context manager of the processes that train together.

    The processes are those that torchrun starts, or any that have torchrun's environment variables ``RANK``,
    ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``. Without them there is one process.

    An exception of one process is reported to the others, which raise :class:`RankError` at their next message.

    Args:
        backend: Default: NCCL if each process of this machine can have its own GPU, else gloo on the CPU.
        timeout: Seconds to wait for a message of another process, such as one that evaluates.
        start_timeout: Seconds to wait for the other processes to start; default: 10 on one machine, 60 on several.

    Raises:
        ValueError: If some of the variables are missing.
        ConnectionError: If the processes cannot connect: the port is in use, or a process did not start in time.

    Example:
        >>> with process_group() as ranks:
        ...     ranks.is_main
        True
    """
    if dist.is_initialized():
        raise ValueError("process_group must be entered before torch.distributed is initialized")
    missing = [name for name in VARIABLES if name not in os.environ]
    if missing and len(missing) < len(VARIABLES):
        raise ValueError(
            f"the environment must have {', '.join(VARIABLES)}, as torchrun sets them, got no {missing[0]}"
        )
    rank, size = (0, 1) if missing else (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if start_timeout is None:
        start_timeout = 10.0 if os.environ.get("LOCAL_WORLD_SIZE") == str(size) else 60.0
    # Optimizers import it later, and then it would keep the connections of the group beyond the end of this context.
    importlib.import_module("torch._dynamo")
    device = _device(backend)
    store: Store = (
        dist.HashStore()  # type: ignore[attr-defined]
        if missing
        else _connected_store(rank, size, start_timeout)
    )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    chosen = backend or ("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    limit = timedelta(seconds=timeout)
    try:
        dist.init_process_group(chosen, store=store, rank=rank, world_size=size, timeout=limit)
    except RuntimeError as error:
        raise ConnectionError(f"the processes cannot connect: {one_line(error)}") from error
    ranks = Ranks(rank, size, device, store)
    try:
        yield ranks
        with ranks.naming_failures():
            dist.barrier()  # the store may be in the process of rank 0, which must not end first
    except BaseException as error:
        if not isinstance(error, RankError):
            ranks.report(error)
        ranks.leave(hosts_store=rank == 0 and not missing and not _agent_has_store())
        raise
    dist.destroy_process_group()


def _device(backend: str | None) -> torch.device:
    """Return the device of this process."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    count = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if backend != "gloo" and torch.cuda.is_available() and torch.cuda.device_count() >= count:
        return torch.device("cuda", local)
    if backend == "nccl":
        raise ValueError(f"backend 'nccl' needs a GPU for each of the {count} processes of this machine")
    return torch.device("cpu")


def _connection(address: str, port: int, size: int, hosts: bool, start_timeout: float) -> Store:
    """Return the store at an address.

    Raises:
        RankError: If another program answers there; rank 0 then reports that it cannot use the port.
    """
    # torch waits without limit for a program that accepts connections and is no store
    limit = timedelta(seconds=start_timeout)
    result: Future[Store] = Future()

    def connect() -> None:
        try:
            store: Store = dist.TCPStore(address, port, size, hosts, limit, wait_for_workers=False)  # type: ignore[attr-defined]
            result.set_result(store)
        except RuntimeError as error:
            result.set_exception(error)

    Thread(target=connect, daemon=True).start()
    try:
        with quiet():
            return result.result(start_timeout + 1)
    except FutureTimeoutError:
        raise RankError(f"another program uses {address}:{port}; choose another MASTER_PORT", reported=True) from None


def _agent_has_store() -> bool:
    """Return whether torchrun provides the store, which then outlives every rank."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _connected_store(rank: int, size: int, start_timeout: float) -> Store:
    """Return the store after all processes have connected to it.

    Raises:
        ConnectionError: If the port is in use, or a process did not start in time.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    hosts = rank == 0 and not _agent_has_store()
    try:
        connection = _connection(address, port, size, hosts, start_timeout)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = PrefixStore(f"{PREFIX}/{attempt}", connection)
        store.set(f"started/{rank}", "1")
        deadline = time.monotonic() + start_timeout
        while absent := [other for other in range(size) if not store.check([f"started/{other}"])]:
            if time.monotonic() > deadline:
                listed = ", ".join(map(str, absent))
                raise ConnectionError(f"rank {listed} of {size} did not start within {start_timeout:g} s")
            time.sleep(0.02)
    except RuntimeError as error:
        hint = "; choose another MASTER_PORT (torchrun --master-port)" if "EADDRINUSE" in str(error) else ""
        reason = "the port is in use" if hint else one_line(error)
        raise ConnectionError(f"cannot connect to the processes at {address}:{port}: {reason}{hint}") from error
    return store
