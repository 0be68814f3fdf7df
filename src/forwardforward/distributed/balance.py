"""Division of a network's layers into runs of about equal time."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NonNegativeFloat, PositiveInt, checked
from forwardforward._utils.modes import eval_mode
from forwardforward.batches import LabeledInput
from forwardforward.data.batching import Source
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import run_layers
from forwardforward.optimizers import LocalOptimizer
from forwardforward.sequential import FFSequential

__all__ = ["balanced_runs", "layer_seconds"]

#: Steps of each layer that are timed; the fastest counts.
REPEATS = 4


@checked
def balanced_runs(seconds: Sequence[NonNegativeFloat], count: PositiveInt) -> list[range]:
    """Return runs of neighboring layers, of which the slowest is as fast as possible.

    Args:
        seconds: Time of each layer.
        count: Number of runs, each of at least one layer.

    Raises:
        ValueError: If there are fewer layers than runs.

    Example:
        >>> balanced_runs([3.0, 1.0, 1.0, 1.0], 2)
        [range(0, 1), range(1, 4)]
    """
    depth = len(seconds)
    if count > depth:
        raise ValueError(f"count must be at most the number of layers, {depth}, got {count}")
    # best[k][stop]: time of the slowest of k runs of the layers before stop, and where the last run begins
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for runs in range(1, count + 1):
        previous = best[-1]
        best.append(
            {
                stop: min(
                    (max(previous[start][0], sum(seconds[start:stop])), start) for start in previous if start < stop
                )
                for stop in range(runs, depth + 1)
            }
        )
    borders = [depth]
    for runs in range(count, 0, -1):
        borders.append(best[runs][borders[-1]][1])
    borders.reverse()
    return [range(start, stop) for start, stop in itertools.pairwise(borders)]


def layer_seconds(network: FFSequential, optimizer: LocalOptimizer, data: Source) -> list[float]:
    """Return the measured time of each layer's forward, backward and update, without a change of the network.

    Args:
        network: The network, set up.
        optimizer: Its local optimizers.
        data: The training data.
    """
    images, labels = data.some()
    rows = torch.arange(data.batch_size or len(images), device=images.device)
    images = images[rows % len(images)]
    labels = None if labels is None else labels[rows % len(labels)]
    seconds = []
    with torch.random.fork_rng([network.device] if network.device.type == "cuda" else []):
        generator = torch.Generator(network.device).manual_seed(0)
        with eval_mode(network), torch.no_grad():
            samples, _, _ = network.samples((images, labels), generator, validate=False)

        def measure(layer: FFLayer, x: Tensor | LabeledInput, skip: Tensor | None) -> tuple[Tensor, float]:
            holder = _Holder(layer)
            own_optimizer = LocalOptimizer(optimizer.factory, others=optimizer.others, **optimizer.options)
            own_optimizer.attach(holder)
            times = []
            for _ in range(REPEATS):
                start = _time(network.device)
                own_optimizer.zero_grad()
                with torch.enable_grad():
                    output, local = holder.layer.local_loss(x, samples, skip)
                    if local.loss.requires_grad:
                        local.loss.backward()
                own_optimizer.step()
                times.append(_time(network.device) - start)
            return output.detach(), min(times)

        with torch.no_grad():
            seconds = list(run_layers(network.stack, samples.inputs, measure))
    return seconds


class _Holder(nn.Module):
    """A copy of one layer as a model of its own."""

    layer: FFLayer

    def __init__(self, layer: FFLayer) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer).train()

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return the layer."""
        return {"0": self.layer}


def _time(device: torch.device) -> float:
    """Return the time after the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
