"""The stream of activations from one process of a pipeline to the next."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from forwardforward.distributed.ranks import Message, Ranks

__all__ = ["Packet", "Stream", "rank_draws"]

#: Numbers of the header: flags, number of tensors, and kind, key, dtype, dimensions and shape of each.
HEADER = 256
HEADER_BYTES = HEADER * torch.int64.itemsize
DIMENSIONS = 8

#: Bytes at whose multiples the tensors of a message begin.
ALIGNMENT = 64

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

    A packet begins with a header, which describes what follows. With ``prefetch``, small packets follow in the same
    message, which then has the size of the largest packet so far, so that it can be received before its contents are
    known.

    Args:
        ranks: The processes.
        tag: Number that keeps the messages of different streams apart.
        kind: Name under which the bytes are counted.
        prefetch: Whether :meth:`expect` is used.
    """

    def __init__(self, ranks: Ranks, tag: int, kind: str, prefetch: bool = False) -> None:
        self._ranks = ranks
        self._tag = tag
        self._kind = kind
        self._prefetch = prefetch
        #: Bytes after the header of messages that are sent and received; both ends compute them from earlier packets.
        self._capacity_sent = 0
        self._capacity_received = 0
        self._sent: deque[list[Message]] = deque()
        self._expected: tuple[Tensor, Message] | None = None

    def send(self, packet: Packet, rank: int) -> None:
        """Begin to send a packet, after at most two others that are not received yet.

        Args:
            packet: The packet; its tensors must not change.
            rank: The receiver.
        """
        tensors = [] if packet.output is None else [(0, 0, packet.output.detach())]
        for kind, mapping in ((1, packet.skips), (2, packet.rows), (3, packet.goodness)):
            tensors += [(kind, key, value.detach()) for key, value in sorted(mapping.items())]
        header = [packet.flags, len(tensors)]
        for kind, key, value in tensors:
            shape = [*value.shape, *[0] * (DIMENSIONS - value.dim())]
            header += [kind, key, DTYPES.index(value.dtype), value.dim(), *shape]
        if len(header) > HEADER:
            raise ValueError(f"at most {HEADER // (DIMENSIONS + 4)} tensors can pass from one process to the next")
        numbers = torch.tensor([*header, *[0] * (HEADER - len(header))], dtype=torch.int64, device="cpu")
        message = torch.empty(HEADER_BYTES + self._capacity_sent, dtype=torch.uint8, device="cpu")
        message[:HEADER_BYTES] = numbers.view(torch.uint8)
        places, size = _places([value.nbytes for _, _, value in tensors])
        is_joined = size <= self._capacity_sent
        if is_joined:
            for place, (_, _, value) in zip(places, tensors, strict=True):
                _view(message, place, value.shape, value.dtype).copy_(value)
        content = sum(value.nbytes for _, _, value in tensors) if is_joined else 0
        messages = [self._ranks.send(message, rank, self._kind, self._tag, message.nbytes - content)]
        if not is_joined:
            payloads = [value.to("cpu").contiguous() for _, _, value in tensors]
            messages += [self._ranks.send(payload, rank, self._kind, self._tag) for payload in payloads]
        if self._prefetch:
            self._capacity_sent = max(self._capacity_sent, size)
        self._sent.append(messages)
        while len(self._sent) > WAITING:
            self._wait()

    def expect(self, rank: int) -> None:
        """Begin to receive the next packet, which is certain to follow.

        Args:
            rank: The sender.
        """
        assert self._expected is None
        message = torch.empty(HEADER_BYTES + self._capacity_received, dtype=torch.uint8, device="cpu")
        self._expected = message, self._ranks.begin_receive(message, rank, self._tag)

    def receive(self, rank: int) -> Packet:
        """Return the next packet.

        Args:
            rank: The sender.
        """
        if self._expected is None:
            self.expect(rank)
        assert self._expected is not None
        message, arrival = self._expected
        self._expected = None
        arrival.wait()
        header = message[:HEADER_BYTES].view(torch.int64).tolist()
        contents = []
        for index in range(header[1]):
            start = 2 + index * (DIMENSIONS + 4)
            kind, key, dtype, dimensions = header[start : start + 4]
            contents.append((kind, key, header[start + 4 : start + 4 + dimensions], DTYPES[dtype]))
        places, size = _places([math.prod(shape) * dtype.itemsize for _, _, shape, dtype in contents])
        mappings: dict[str, dict[int, Tensor]] = {"output": {}, "skips": {}, "rows": {}, "goodness": {}}
        for place, (kind, key, shape, dtype) in zip(places, contents, strict=True):
            if size <= self._capacity_received:
                value = _view(message, place, shape, dtype)
            else:
                value = torch.empty(shape, dtype=dtype, device="cpu")
                self._ranks.begin_receive(value, rank, self._tag).wait()
            mappings[KINDS[kind]][key] = value.to(self._ranks.device)
        if self._prefetch:
            self._capacity_received = max(self._capacity_received, size)
        return Packet(mappings["output"].get(0), mappings["skips"], mappings["rows"], mappings["goodness"], header[0])

    def flush(self) -> None:
        """Wait until all packets are received."""
        while self._sent:
            self._wait()

    def _wait(self) -> None:
        for message in self._sent.popleft():
            message.wait()


def _places(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Return the position of each tensor in a message, and the bytes after the header.

    Args:
        sizes: Bytes of each tensor.
    """
    places, total = [], 0
    for size in sizes:
        places.append(HEADER_BYTES + total)
        total += -(-size // ALIGNMENT) * ALIGNMENT
    return places, total


def _view(message: Tensor, place: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a tensor that a message contains."""
    return message[place : place + math.prod(shape) * dtype.itemsize].view(dtype).view(tuple(shape))


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
