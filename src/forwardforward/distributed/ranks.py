"""The processes that train together, and their messages."""

from __future__ import annotations

import contextlib
import gc
import os
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.distributed_c10d import Store

from forwardforward._utils.plugins import one_line
from forwardforward.training import RankError

__all__ = ["PREFIX", "Message", "Ranks", "quiet"]

#: Prefix of this library's keys in the store of the process group.
PREFIX = "forwardforward"

#: Seconds in which another process may report its error after a message to it failed.
REPORT_SECONDS = 2.0

#: Seconds for which the process with the store waits, after an error, until the others have read it.
LEAVE_SECONDS = 8.0


class Ranks:
    """The processes that train together, made by :func:`process_group`.

    All methods are collective: every process calls them in the same order.

    Args:
        rank: Index of this process.
        size: Number of processes.
        device: Device of this process.
        store: The store through which processes report errors.

    Attributes:
        bytes_sent: Bytes of the tensors that this process has contributed to messages so far, by kind.

    Raises:
        RankError: In every method, if another process ended, failed or did not answer in time.

    Example:
        >>> from forwardforward.distributed import process_group
        >>> with process_group() as ranks:
        ...     (ranks.rank, ranks.size)
        (0, 1)
    """

    def __init__(self, rank: int, size: int, device: torch.device, store: Store) -> None:
        self.rank = rank
        self.size = size
        self.device = device
        self.bytes_sent: dict[str, int] = {}
        self._store = store
        #: Processes that ended without an error message.
        self._ended: set[int] = set()
        self._has_store = True
        #: Messages, and what else would keep the connections.
        self._connected: weakref.WeakSet[Any] = weakref.WeakSet()

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and shows progress."""
        return self.rank == 0

    def __str__(self) -> str:
        """Return the number of processes as text."""
        return f"{self.size} process" + ("es" if self.size > 1 else "")

    def sum(self, x: Tensor, kind: str = "sums") -> Tensor:
        """Sum a tensor over the processes in place, and return it.

        Args:
            x: The tensor, of the same shape in every process.
            kind: Name under which the bytes are counted.
        """
        self.begin_sum(x, kind).wait()
        return x

    def begin_sum(self, x: Tensor, kind: str = "sums") -> Message:
        """Begin to sum a tensor over the processes in place.

        Args:
            x: The tensor, of the same shape in every process.
            kind: Name under which the bytes are counted.
        """
        self.count(kind, x.nbytes)
        with self.naming_failures():
            return self._started(dist.all_reduce(x, async_op=True))

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in any process.

        Args:
            flag: The flag of this process.
        """
        return bool(self.sum(torch.tensor([float(flag)], device=self.device), "flags"))

    def send(self, x: Tensor, rank: int, kind: str = "activations", tag: int = 0, header_bytes: int = 0) -> Message:
        """Begin to send a tensor, which must not change until the message is received.

        Args:
            x: The tensor.
            rank: The receiver.
            kind: Name under which the bytes are counted.
            tag: Number that keeps messages of different kinds apart.
            header_bytes: Bytes of it that are counted as ``"headers"``.
        """
        self.count(kind, x.nbytes - header_bytes)
        self.count("headers", header_bytes)
        with self.naming_failures():
            return self._started(dist.isend(x, rank, tag=tag), x)

    def begin_receive(self, x: Tensor, rank: int, tag: int = 0) -> Message:
        """Begin to receive a tensor in place.

        Args:
            x: Where the tensor is stored.
            rank: The sender.
            tag: Number of the kind of message.
        """
        with self.naming_failures():
            return self._started(dist.irecv(x, rank, tag=tag), x)

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Give tensors the values of rank 0, in place.

        Args:
            tensors: Tensors of the same shapes in every process.
        """
        with self.naming_failures():
            copies = [x.detach().contiguous() for x in tensors]
            works: list[Any] = [dist.broadcast(copy, 0, async_op=True) for copy in copies]
            for work in works:
                work.wait()
        with torch.no_grad():
            for x, copy in zip(tensors, copies, strict=True):
                x.copy_(copy)

    def gather_objects(self, value: Any) -> list[Any]:
        """Return the objects of all processes, in order of their ranks.

        Args:
            value: An object that pickle can copy.
        """
        values: list[Any] = [None] * self.size
        with self.naming_failures():
            dist.all_gather_object(values, value)
        return values

    def gather_objects_at_main(self, value: Any) -> list[Any] | None:
        """Return the objects of all processes in rank 0, None in the others.

        Args:
            value: An object that pickle can copy.
        """
        values: list[Any] | None = [None] * self.size if self.is_main else None
        with self.naming_failures():
            dist.gather_object(value, values)
        return values

    def broadcast_object(self, value: Any, rank: int = 0) -> Any:
        """Return the object of one process in all processes.

        Args:
            value: The object, which pickle can copy; ignored in other processes.
            rank: The process.
        """
        values = [value]
        with self.naming_failures():
            dist.broadcast_object_list(values, rank)
        return values[0]

    def check_equal(self, settings: dict[str, Any]) -> None:
        """Check that settings are equal in all processes.

        Args:
            settings: Settings by name.

        Raises:
            ValueError: If one is not, in every process.
        """
        all_settings = self.gather_objects(settings)
        for name in dict.fromkeys(name for other in all_settings for name in other):
            values = [other.get(name) for other in all_settings]
            for rank, value in enumerate(values):
                if value != values[0]:
                    raise ValueError(
                        f"{name} must be the same in every process, got {values[0]} on rank 0 and {value} on rank "
                        f"{rank}"
                    )

    def _started(self, work: Any, payload: Tensor | None = None) -> Message:
        message = Message(self, work, payload)
        self._connected.add(message)
        return message

    def count(self, kind: str, size: int) -> None:
        """Count bytes that this process contributes to messages.

        Args:
            kind: Name under which they are counted.
            size: Their number.
        """
        if size:
            self.bytes_sent[kind] = self.bytes_sent.get(kind, 0) + size

    # Failures

    @contextlib.contextmanager
    def naming_failures(self) -> Iterator[None]:
        """Context manager that raises errors of messages as :class:`RankError`, which names the cause."""
        try:
            yield
        except RankError:
            raise
        except RuntimeError as error:  # torch.distributed's own errors are among them, gloo's have no other type
            raise self._failure(error) from error

    def _failure(self, error: RuntimeError) -> RankError:
        """Return the error to raise after a message failed; the process that failed first may have reported why."""
        try:
            with quiet():
                self._store.set(f"{PREFIX}/alive/{self.rank}", "1")
                deadline = time.monotonic() + REPORT_SECONDS
                while time.monotonic() < deadline:
                    if self._store.check([f"{PREFIX}/failed"]):
                        text = self._store.get(f"{PREFIX}/failed").decode()
                        return RankError(text, reported=True, cause=text.split(": ")[1])
                    time.sleep(0.05)
                ended = [rank for rank in range(self.size) if not self._store.check([f"{PREFIX}/alive/{rank}"])]
        except RuntimeError:  # the store ended with rank 0
            ended = [0]
            self._has_store = False
        self._ended = set(ended)
        if not ended:
            return RankError(f"a message between processes failed: {one_line(error)}", reported=False)
        listed = " and ".join(map(str, ended))
        verb = "ended" if len(ended) > 1 else "has ended"
        return RankError(
            f"rank {listed} {verb} without an error message, or does not answer; it may have been killed, also by the "
            "system for lack of memory",
            reported=False,
        )

    def report(self, error: BaseException) -> None:
        """Report an error of this process to the others, unless another process has reported one before.

        Args:
            error: The error.
        """
        text = f"rank {self.rank}: {type(error).__name__}: {one_line(error)}"
        with contextlib.suppress(RuntimeError), quiet():
            self._store.compare_set(f"{PREFIX}/failed", "", text)

    def add_connected(self, item: Any) -> None:
        """Add an object that keeps connections until its ``drop`` is called.

        Args:
            item: The object.
        """
        self._connected.add(item)

    def leave(self, hosts_store: bool) -> None:
        """Leave the processes after an error, so that the others notice it at once.

        Args:
            hosts_store: Whether the store is in this process, which waits until the others have read the error.
        """
        for item in list(self._connected):
            item.drop()
        gc.collect()
        dist.destroy_process_group()
        if not self._has_store:
            return
        keys = [f"{PREFIX}/left/{rank}" for rank in range(self.size)]
        others = [key for rank, key in enumerate(keys) if rank not in self._ended]
        with contextlib.suppress(RuntimeError), quiet():
            self._store.set(f"{PREFIX}/left/{self.rank}", "1")
            start = time.monotonic()
            deadline = start + (LEAVE_SECONDS if hosts_store else 0)
            # A process that did not answer may wait for this one, and notices only now that it leaves.
            grace = start + 2 * REPORT_SECONDS
            while (now := time.monotonic()) < deadline and not self._store.check(keys if now < grace else others):
                time.sleep(0.05)

    def is_first(self, purpose: str) -> bool:
        """Return whether this is the first process that asks, also if it cannot ask the others any more.

        Args:
            purpose: Name of what only one process is to do.
        """
        if not self._has_store:
            return True
        try:
            with quiet():
                return bool(self._store.add(f"{PREFIX}/{purpose}", 1) == 1)
        except RuntimeError:
            return True


class Message:
    """A message that has been started.

    Args:
        ranks: The processes.
        work: What torch.distributed returned.
        payload: A tensor to keep until the message is received.

    Example:
        >>> from forwardforward.distributed import process_group
        >>> with process_group() as ranks:
        ...     ranks.begin_sum(torch.ones(2)).wait()
    """

    def __init__(self, ranks: Ranks, work: Any, payload: Tensor | None = None) -> None:
        self._ranks = ranks
        self._work = work
        self._payload = payload

    def wait(self) -> None:
        """Wait until the message is complete.

        Raises:
            RankError: If another process ended, failed or did not answer in time.
        """
        with self._ranks.naming_failures():
            self._work.wait()
        self.drop()

    def drop(self) -> None:
        """Forget the message."""
        self._work = self._payload = None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context manager without torch's own messages on standard error, which are many lines if the store has ended."""
    try:
        saved = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
