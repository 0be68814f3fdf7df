"""A discrete simulation of pipelined and data-parallel steps, from measured times and message sizes.

Both follow the order of events of :mod:`forwardforward.distributed`, and are compared with closed forms that ignore
waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from forwardforward.distributed import balanced_runs

__all__ = [
    "Layer",
    "Network",
    "data_parallel_estimate",
    "pipeline_estimate",
    "simulate_data_parallel",
    "simulate_pipeline",
]

#: Packets that wait until the next process receives them, as in ``forwardforward.distributed.stream``.
WAITING = 2


class Layer(NamedTuple):
    """Times of one layer on a whole batch, and its sizes.

    Attributes:
        forward: Seconds of the forward pass.
        rest: Seconds of backward and update.
        activations: Bytes of its output.
        parameters: Bytes of its parameters.
    """

    forward: float
    rest: float
    activations: int
    parameters: int


@dataclass(frozen=True)
class Network:
    """The connection between processes.

    Attributes:
        bandwidth: Bytes per second of each process, in each direction.
        latency: Seconds of each message.
    """

    bandwidth: float
    latency: float

    def seconds(self, size: float) -> float:
        """Return the duration of one message."""
        return self.latency + size / self.bandwidth

    def sum_seconds(self, size: int, count: int) -> float:
        """Return the duration of a sum over processes in a ring: 2 (n - 1) messages of a part of 1 / n."""
        return 0.0 if count == 1 else 2 * (count - 1) * self.seconds(size / count)


def runs_of(layers: Sequence[Layer], count: int) -> list[range]:
    """Return the layers of each process of a pipeline."""
    return balanced_runs([layer.forward + layer.rest for layer in layers], count)


def simulate_pipeline(layers: Sequence[Layer], count: int, batches: int, network: Network) -> float:
    """Return the seconds of a number of batches in a pipeline.

    A process begins a batch when it has finished the one before, the packet has arrived, and at most two of its own
    packets have not been received. Its packet is sent after the forward pass of its last layer; a connection carries
    one packet at a time.

    Args:
        layers: The layers.
        count: Number of processes.
        batches: Number of batches.
        network: The connection.
    """
    runs = runs_of(layers, count)
    #: By process and batch: when it starts, when its packet is received, and when it has finished.
    starts = [[0.0] * batches for _ in runs]
    arrivals = [[0.0] * batches for _ in runs]
    ends = [[0.0] * batches for _ in runs]
    for batch in range(batches):
        for rank, run in enumerate(runs):
            ready = ends[rank][batch - 1] if batch else 0.0
            if rank:
                ready = max(ready, arrivals[rank - 1][batch])
            starts[rank][batch] = ready
            *before, last = (layers[index] for index in run)
            sent = ready + sum(layer.forward + layer.rest for layer in before) + last.forward
            # A packet leaves when the one before has arrived; with two waiting, the process waits for the receiver,
            # which takes the packet of a batch when it begins it.
            if batch >= WAITING and rank + 1 < len(runs):
                sent = max(sent, starts[rank + 1][batch - WAITING])
            free = arrivals[rank][batch - 1] if batch else 0.0
            arrivals[rank][batch] = max(sent, free) + network.seconds(last.activations)
            ends[rank][batch] = sent + last.rest
    return max(end[-1] for end in ends)


def pipeline_estimate(layers: Sequence[Layer], count: int, batches: int, network: Network) -> float:
    """Return the closed form: the first batch passes through, then the slowest process or message takes each batch.

    Args:
        layers: The layers.
        count: Number of processes.
        batches: Number of batches.
        network: The connection.
    """
    runs = runs_of(layers, count)
    stages = [sum(layers[index].forward + layers[index].rest for index in run) for run in runs]
    messages = [network.seconds(layers[run[-1]].activations) for run in runs[:-1]]
    sent = [stage - layers[run[-1]].rest for stage, run in zip(stages[:-1], runs[:-1], strict=True)]
    return sum(sent) + sum(messages) + stages[-1] + (batches - 1) * max([*stages, *messages])


def simulate_data_parallel(layers: Sequence[Layer], count: int, batches: int, network: Network) -> float:
    """Return the seconds of a number of batches in data-parallel training, where a batch is divided.

    The sum of a layer's gradients begins after its backward pass, one sum at a time, and the layer is updated after the
    backward pass of the next one; the step ends when all layers are updated.

    Args:
        layers: The layers, with the times of a whole batch; a process takes 1 / n of them.
        count: Number of processes.
        batches: Number of batches.
        network: The connection.
    """
    now = 0.0
    for _ in range(batches):
        done: float | None = None  # when the sum of the layer before is complete
        free = now
        for layer in layers:
            now += (layer.forward + layer.rest) / count
            begin = max(now, free)
            free = begin + network.sum_seconds(layer.parameters, count)
            if done is not None:
                now = max(now, done)
            done = free
        now = max(now, done or now)
    return now


def data_parallel_estimate(layers: Sequence[Layer], count: int, batches: int, network: Network) -> float:
    """Return the closed form: computation or sums, whichever takes longer, and the sum of the last layer."""
    computation = sum(layer.forward + layer.rest for layer in layers) / count
    sums = [network.sum_seconds(layer.parameters, count) for layer in layers]
    first = (layers[0].forward + layers[0].rest) / count
    return batches * max(computation + sums[-1], first + sum(sums))
