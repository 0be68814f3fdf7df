"""The stream of activations from one process of a pipeline to the next."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from forwardforward.distributed.ranks import Message, Ranks

__all__ = ["Packet", "Stream", "rank_draws"]

#: Numbers of the header: flags, number of tensors, and kind, key, dtype, dimensions and shape of each.
HEADER = 256
DIMENSIONS = 8

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32)
KINDS = ("output", "skips", "rows", "goodness")

#: Packets that wait until the next process receives them.
WAITING = 2


class Packet(NamedTuple):
    """What a process of a pipeline sends to the next one for one batch.

    Attributes:
        output: Output of its last layer; None if no later layer is computed.
        skips: Outputs of earlier layers that later skip connections read, by layer.
        rows: The head's features by layer.
        goodness: Goodness by layer, in classification.
        flags: Flags of rank 0, as bits.

    Example:
        >>> Packet(torch.zeros(2, 3), {}, {}, {}).flags
        0
    """

    output: Tensor | None
    skips: Mapping[int, Tensor]
    rows: Mapping[int, Tensor]
    goodness: Mapping[int, Tensor]
    flags: int = 0


class Stream:
    """Packets between this process and its neighbors, as tensors on the CPU.

    Args:
        ranks: The processes.
        tag: Number that keeps the messages of different streams apart.
        kind: Name under which the bytes are counted.
    """

    def __init__(self, ranks: Ranks, tag: int, kind: str) -> None:
        self._ranks = ranks
        self._tag = tag
        self._kind = kind
        self._sent: deque[list[Message]] = deque()

    def send(self, packet: Packet, rank: int) -> None:
        """Begin to send a packet, after at most two others that are not received yet.

        Args:
            packet: The packet; its tensors must not change.
            rank: The receiver.
        """
        tensors = [] if packet.output is None else [(0, 0, packet.output)]
        for kind, mapping in ((1, packet.skips), (2, packet.rows), (3, packet.goodness)):
            tensors += [(kind, key, value) for key, value in sorted(mapping.items())]
        header = [packet.flags, len(tensors)]
        payloads = []
        for kind, key, value in tensors:
            payload = value.detach().to("cpu").contiguous()
            shape = [*payload.shape, *[0] * (DIMENSIONS - payload.dim())]
            header += [kind, key, DTYPES.index(payload.dtype), payload.dim(), *shape]
            payloads.append(payload)
        if len(header) > HEADER:
            raise ValueError(f"at most {HEADER // (DIMENSIONS + 4)} tensors can pass from one process to the next")
        numbers = torch.tensor([*header, *[0] * (HEADER - len(header))], dtype=torch.int64)
        messages = [self._ranks.send(numbers, rank, "headers", self._tag)]
        messages += [self._ranks.send(payload, rank, self._kind, self._tag) for payload in payloads]
        self._sent.append(messages)
        while len(self._sent) > WAITING:
            self._wait()

    def receive(self, rank: int) -> Packet:
        """Return the next packet.

        Args:
            rank: The sender.
        """
        header = self._ranks.receive(torch.empty(HEADER, dtype=torch.int64), rank, self._tag).tolist()
        mappings: dict[str, dict[int, Tensor]] = {"skips": {}, "rows": {}, "goodness": {}}
        output: Tensor | None = None
        for index in range(header[1]):
            start = 2 + index * (DIMENSIONS + 4)
            kind, key, dtype, dimensions = header[start : start + 4]
            shape = header[start + 4 : start + 4 + dimensions]
            value = self._ranks.receive(torch.empty(shape, dtype=DTYPES[dtype]), rank, self._tag)
            value = value.to(self._ranks.device)
            if kind == 0:
                output = value
            else:
                mappings[KINDS[kind]][key] = value
        return Packet(output, mappings["skips"], mappings["rows"], mappings["goodness"], header[0])

    def flush(self) -> None:
        """Wait until all packets are received."""
        while self._sent:
            self._wait()

    def _wait(self) -> None:
        for message in self._sent.popleft():
            message.wait()


@contextlib.contextmanager
def rank_draws(ranks: Ranks) -> Iterator[None]:
    """Context manager in which the global generators draw other numbers in each process.

    Args:
        ranks: The processes.
    """
    seed = int(torch.randint(2**62, ()))  # drawn in every process, so that the global generators stay equal
    with torch.random.fork_rng([ranks.device] if ranks.device.type == "cuda" else []):
        torch.manual_seed(seed + ranks.rank)
        yield
