"""Whether layers compute the values of a sample from that sample alone, so that a batch can be computed in parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.generators import restored_global_generators
from forwardforward._utils.modes import autocast_to
from forwardforward._utils.shared_batch import shared_batch
from forwardforward.batches import Batch, LabeledInput
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import run_layers

__all__ = ["check_independence"]


@torch.no_grad()
def check_independence(
    layers: Sequence[FFLayer], batch: Batch, parts: str, autocast: torch.dtype | None = None
) -> None:
    """Check that outputs and goodness of a sample do not depend on the other samples of a batch.

    In training mode, two samples are computed together, and each of them with itself in place of the other one: batches
    of one shape, in which the same random numbers are drawn and sums are rounded alike. Statistics that are shared
    among parts, see :mod:`forwardforward._utils.shared_batch`, stay those of both samples. Batch normalization of torch
    is in evaluation mode.

    Args:
        layers: The layers.
        batch: A batch, of which the first two samples are tried.
        parts: What the batch is divided among, for the message.
        autocast: Compute precision of the layers; None for that of the weights.

    Raises:
        ValueError: If a part of a layer depends on them.
    """
    if batch.samples < 2:
        return
    batch = batch.part(slice(0, 2))

    def visit(layer: FFLayer, x: Tensor | LabeledInput, skip: Tensor | None) -> tuple[Tensor, str | None]:
        statistics: list[Tensor] = []
        buffers = {name for name, _ in layer.named_buffers()}
        together, output = _values(layer, x, skip, _keeping(statistics))
        for sample in range(2):
            rows = [sample, sample, sample + 2, sample + 2] if batch.has_negatives else [sample, sample]
            repeated = x.part([sample, sample]) if isinstance(x, LabeledInput) else x[rows]
            alone, _ = _values(layer, repeated, None if skip is None else skip[rows], _replaying(statistics))
            for name, value in together.items():
                a, b = value, alone[name]
                if name not in buffers:
                    a, b = a[sample::2], b[sample::2]
                if not _equal(a, b):
                    return output, name
        return output, None

    with autocast_to(autocast, batch.inputs.device):
        for index, part in enumerate(run_layers(layers, _varied(batch.inputs), visit)):
            if part is not None:
                owner = layers[index].objective if part == "goodness" else layers[index]
                culprit = getattr(owner, part.split(".")[0], owner)
                raise ValueError(
                    f"{part} of layer {index} must not depend on the other samples of a batch, which is divided among "
                    f"{parts}, got {describe(culprit)}"
                )


def _keeping(statistics: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function that keeps what it returns, the statistics of one batch."""

    def keep(value: Tensor) -> Tensor:
        statistics.append(value)
        return value

    return keep


def _replaying(statistics: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function that returns statistics that were kept, whatever the batch."""
    values = iter(statistics)
    return lambda value: next(values)


def _values(
    layer: FFLayer, x: Tensor | LabeledInput, skip: Tensor | None, share: Callable[[Tensor], Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """Return what the parts of a layer compute in training mode and its buffers afterwards, by name, and its output."""
    with _trial(layer), restored_global_generators(x.device), shared_batch(share, 1.0):
        values, output = layer.part_results(x, skip)
        return {**values, **{name: buffer.clone() for name, buffer in layer.named_buffers()}}, output


@contextlib.contextmanager
def _trial(layer: FFLayer) -> Iterator[None]:
    """Context manager of a layer in training mode, which restores modes and buffers."""
    modules = list(layer.modules())
    modes = [module.training for module in modules]
    buffers = [(name, buffer, buffer.clone()) for name, buffer in layer.named_buffers()]
    for module in modules:
        module.__dict__["training"] = not isinstance(module, nn.modules.batchnorm._BatchNorm)
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.__dict__["training"] = mode
        for name, buffer, value in buffers:  # which the layer may have changed or replaced
            owner, _, attribute = name.rpartition(".")
            setattr(layer.get_submodule(owner), attribute, buffer.copy_(value))


def _varied(inputs: Tensor | LabeledInput) -> Tensor | LabeledInput:
    """Return inputs times random numbers, so that two samples with equal values, such as a maximum of 1, differ."""
    if isinstance(inputs, LabeledInput):
        images = _varied(inputs.images)
        assert isinstance(images, Tensor)
        return replace(inputs, images=images, responses=None)
    if not inputs.is_floating_point():
        return inputs
    factors = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(0), device="cpu")
    return inputs * factors.to(inputs)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Return whether values are equal within rounding."""
    tolerance = torch.finfo(a.dtype if a.is_floating_point() else torch.float64).eps ** 0.5
    a, b = a.double(), b.double()
    scale = float(a.nan_to_num(0, 0, 0).abs().max()) if a.numel() else 0.0
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=tolerance * scale, equal_nan=True)
