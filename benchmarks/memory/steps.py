"""The kinds of steps whose memory is compared, on convolutions of the same widths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

import forwardforward as ff
from benchmarks.plain import convolutional_layers, network
from forwardforward.layers import NORMALIZE_FIRST, TRANSFORM_FIRST, FFLayer
from forwardforward.recipes.architectures import Convolutions
from forwardforward.update_schedules import Groups

__all__ = ["CLASSES", "SHAPE", "Step", "checkpointed", "make_steps"]

#: Images and labels.
Batch = tuple[Tensor, Tensor]

CLASSES = 10
SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Step:
    """A training step of a model.

    Args:
        model: The model.
        run: One step.
        compiled: Whether it is compiled, so that single operations cannot be recorded.
    """

    model: nn.Module
    run: Callable[[], Any]
    compiled: bool = False


def convolutions(channels: int, widths: Sequence[int], pools: tuple[int, ...], order: tuple[str, ...]) -> list[FFLayer]:
    """Return the layers of a network whose input has the given number of channels."""
    return Convolutions(pools=pools, order=order)((channels, *SHAPE[1:]), widths, CLASSES)


# Backpropagation with torch's own modules


def plain(widths: Sequence[int], pools: tuple[int, ...]) -> nn.Sequential:
    """Return layers that convolve, normalize, activate and pool, and a linear layer on top."""
    layers = convolutional_layers(SHAPE[0], widths, pools, TRANSFORM_FIRST, affine=False)
    pooled = sum(pool < len(widths) for pool in pools)
    return network(layers, widths[-1] * (SHAPE[1] // 2**pooled) ** 2, CLASSES)


Loss = Callable[[Tensor, Tensor], Tensor]


def _updates(model: nn.Module, loss: Loss, batch: Batch, micro_batches: int = 1) -> Step:
    """Return a step of backpropagation.

    Args:
        model: The network.
        loss: Function of images and labels.
        batch: Images and labels.
        micro_batches: Number of parts of the batch that run one after the other; their gradients are added.
    """
    images, labels = batch
    model.to(images.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def run() -> None:
        optimizer.zero_grad()
        for part, targets in zip(images.chunk(micro_batches), labels.chunk(micro_batches), strict=True):
            (loss(part, targets) * (len(part) / len(images))).backward()
        optimizer.step()

    return Step(model, run)


def _backpropagation(widths: Sequence[int], pools: tuple[int, ...], batch: Batch, micro_batches: int = 1) -> Step:
    model = plain(widths, pools)
    return _updates(model, lambda x, y: nn.functional.cross_entropy(model(x), y), batch, micro_batches)


def checkpointed(widths: Sequence[int], pools: tuple[int, ...], segments: int, batch: Batch) -> Step:
    """Return a step with gradient checkpointing: only the inputs of segments are stored, and segments run again.

    Args:
        widths: Numbers of channels.
        pools: Indices of the layers with a pool.
        segments: Number of segments of the network, from 1 to the number of layers and the output layer.
        batch: Images and labels.
    """
    model = plain(widths, pools)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(checkpoint_sequential(model, segments, images, use_reentrant=False), labels)

    return _updates(model, loss, batch)


class _DeepSupervision(nn.Module):
    """Backpropagation through all layers from the sum of one loss per layer, by linear maps of maps pooled to 2x2."""

    def __init__(self, widths: Sequence[int], pools: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(list(plain(widths, pools))[:-1])
        self.heads = nn.ModuleList(nn.Linear(4 * width, CLASSES) for width in widths)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the losses."""
        losses = []
        for layer, head in zip(self.layers, self.heads, strict=True):
            images = layer(images)
            rows = nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
            losses.append(nn.functional.cross_entropy(head(rows), labels))
        return torch.stack(losses).sum()


def _deep_supervision(widths: Sequence[int], pools: tuple[int, ...], batch: Batch) -> Step:
    model = _DeepSupervision(widths, pools)
    return _updates(model, model, batch)


# Local objectives


def _per_class(widths: Sequence[int], pools: tuple[int, ...], goodness: nn.Module) -> ff.FFSequential:
    return ff.FFSequential(
        *convolutions(SHAPE[0], widths, pools, TRANSFORM_FIRST),
        goodness=goodness,
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(),
        input_shape=SHAPE,
    )


def _class_groups(widths: Sequence[int], pools: tuple[int, ...]) -> ff.FFSequential:
    divisible = [width - width % CLASSES for width in widths]  # one group of channels per class
    return _per_class(divisible, pools, ff.goodness.ClassGroups(CLASSES))


def _projection(widths: Sequence[int], pools: tuple[int, ...]) -> ff.FFSequential:
    return _per_class(widths, pools, ff.goodness.LearnedProjection(CLASSES, pool=ff.pooling.SpatialPool(2)))


def _pair(widths: Sequence[int], pools: tuple[int, ...], labeled: bool = True, **options: Any) -> ff.FFSequential:
    return ff.FFSequential(
        *convolutions(SHAPE[0] + labeled, widths, pools, NORMALIZE_FIRST),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.BatchNorm(affine=True),
        label_encoder=ff.label_encoders.LearnedChannel(CLASSES, SHAPE[1:]) if labeled else None,
        input_shape=SHAPE,
        **options,
    )


def _local(model: ff.FFSequential, batch: Batch, groups: Groups | None = None, whole: bool = False) -> Step:
    """Return a local step, layer by layer or as one compiled function."""
    model.to(batch[0].device)
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1e-4)
    whole_step = ff.step.WholeStep(compile=True) if whole else None

    def run() -> None:
        model.step(batch, optimizer, groups=groups, whole_step=whole_step)

    return Step(model, run, whole)


def make_steps(
    widths: Sequence[int],
    pools: tuple[int, ...],
    batch: Batch,
    micro_batches: Sequence[int] = (),
    whole: bool = False,
) -> dict[str, list[Step]]:
    """Return the steps of each kind: one, or the phases of an alternating schedule.

    Args:
        widths: Numbers of channels.
        pools: Indices of the layers that end with a max-pool.
        batch: Images and labels.
        micro_batches: Numbers of parts of the batch for gradient accumulation.
        whole: Whether to include the whole form of the step, which is compiled.
    """
    sizes = (widths, pools)
    overlapping = ff.update_schedules.Overlapping(2, "step")
    overlapped = _pair(*sizes)
    phases = [_local(overlapped, batch, groups=overlapping(len(widths), 0, phase, 1)) for phase in range(2)]
    steps = {
        "backpropagation": [_backpropagation(*sizes, batch)],
        **{
            f"backpropagation, {parts} micro-batches": [_backpropagation(*sizes, batch, micro_batches=parts)]
            for parts in micro_batches
        },
        "deep supervision": [_deep_supervision(*sizes, batch)],
        "class groups": [_local(_class_groups(*sizes), batch)],
        "learned projection": [_local(_projection(*sizes), batch)],
        "pair": [_local(_pair(*sizes), batch)],
        "pair, overlapping": phases,
        "pair, hard labels": [_local(_pair(*sizes, negatives=ff.negatives.HardLabel()), batch)],
        "self-contrastive": [
            _local(_pair(*sizes, False, negatives=ff.negatives.SelfContrast(), num_classes=CLASSES), batch)
        ],
    }
    if whole:
        steps["learned projection, whole"] = [_local(_projection(*sizes), batch, whole=True)]
        steps["pair, whole"] = [_local(_pair(*sizes), batch, whole=True)]
    return steps
