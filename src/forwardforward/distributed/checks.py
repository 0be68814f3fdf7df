"""Checks before a training that several processes compute."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.modes import eval_mode
from forwardforward.data.batching import Source, tensors_of
from forwardforward.network import Network
from forwardforward.sequential import FFSequential
from forwardforward.step import StepResult
from forwardforward.step.independence import check_independence
from forwardforward.step.reductions import loss_reductions, two_targets
from forwardforward.training import TrainingDiverged

__all__ = ["check_divisible", "check_kind", "check_loss_finite", "data_settings"]


def data_settings(data: Source, noun: str = "training data") -> dict[str, Any]:
    """Return what must be equal in the data of all processes, by a name for a message.

    The checksums depend on the order of the samples. Of a loader, only the numbers of samples and batches are known.

    Args:
        data: The data.
        noun: What the data are, for the message.
    """
    settings: dict[str, Any] = {f"{noun}: number of samples": data.samples, f"{noun}: number of batches": data.steps}
    tensors = tensors_of(data)
    if tensors is not None:
        settings[f"{noun}: checksum of the inputs"] = _checksum(tensors.inputs)
        settings[f"{noun}: checksum of the targets"] = None if tensors.targets is None else _checksum(tensors.targets)
    return settings


def _checksum(values: Tensor) -> int:
    return zlib.crc32(values.detach().cpu().contiguous().view(torch.uint8).numpy().data)


def check_loss_finite(result: StepResult) -> None:
    """Check that the losses of a step are finite.

    Args:
        result: The figures of the step.

    Raises:
        TrainingDiverged: If one is not.
    """
    named = {**{f"layer {index}": local for index, local in result.layers.items()}, "the head": result.head}
    for name, local in named.items():
        if local is not None and not bool(torch.isfinite(local.loss)):
            raise TrainingDiverged(
                f"training diverged: the loss of {name} is {float(local.loss)}; a smaller learning rate or a "
                "normalization of the layer's input may help"
            )


def check_kind(network: Network, settings: Mapping[str, Any], kind: str) -> FFSequential:
    """Return the network, if layers of its kind can be trained by several processes.

    Args:
        network: The network.
        settings: Settings of the training.
        kind: Name of the kind of training, for the message.

    Raises:
        TypeError: If it is not an :class:`~forwardforward.FFSequential`.
        ValueError: If the step is compiled, or computed in micro-batches.
    """
    if not isinstance(network, FFSequential):
        raise TypeError(f"model must be an FFSequential for {kind} training, got {describe(network)}")
    if settings.get("compile") not in (None, "False"):
        raise ValueError(f"compile must be False for {kind} training, got True")
    if (size := settings.get("micro_batch_size")) not in (None, "None"):
        raise ValueError(f"micro_batch_size must be None for {kind} training, got {size}")
    return network


@torch.no_grad()
def check_divisible(network: FFSequential, data: Source) -> None:
    """Check that the gradient of a batch is the mean of the gradients of its parts.

    Layers and their goodness are tried before the losses.

    Args:
        network: The network.
        data: The training data, of which two samples are tried.

    Raises:
        ValueError: If a part of the network depends on other samples of the batch and is not computed over all
            processes.
    """
    for place, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            raise ValueError(
                f"{place} is a {type(module).__name__}, whose statistics would be those of one process; use "
                "ff.normalization.BatchNorm, whose statistics are those of the whole batch"
            )
    images, labels = data.some()
    generator = torch.Generator(network.device).manual_seed(0)
    targets = two_targets(labels)
    with eval_mode(network):
        samples, _, _ = network.samples(
            (images, None if targets is None else targets[: len(images)]), generator, validate=False
        )
    check_independence(network.stack, samples, "processes")
    reductions = loss_reductions(network.stack, samples)
    for index, layer in enumerate(network.stack):
        assert layer.objective is not None
        if reductions[layer.objective] != "mean":
            reason = "a sum" if reductions[layer.objective] == "sum" else "which compares the samples of a batch"
            raise ValueError(
                f"the loss of layer {index} must be a mean over the samples to be divided among processes, got "
                f"{layer.objective.term_name}, {reason}"
            )
