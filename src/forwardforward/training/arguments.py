"""Checks of the arguments of ``fit`` and ``evaluate``, before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from forwardforward._utils.arguments import StrPath
from forwardforward._utils.checks import check_device, name_of
from forwardforward.network import Network


def checked_model(model: Any) -> Network:
    """Return the model that trains or is measured; of a compiled module, the original."""
    original = getattr(model, "_orig_mod", model)
    if not isinstance(original, Network):
        raise TypeError(f"model must be an FFSequential or a baseline, got {name_of(model)}")
    return original


def check_trainable(model: Network) -> None:
    """Refuse a network that no step would change; its shapes must be known."""
    parameters = list(model.parameters())
    if any(parameter.requires_grad for parameter in parameters):
        return
    reason = "it has none"
    if not all(parameter.is_floating_point() for parameter in parameters):
        reason = "its weights are those of ff.export.quantize, train the network from before"
    elif parameters:
        reason = "all are frozen, model.requires_grad_(True) unfreezes them"
    raise ValueError(f"model must have parameters to train, got {type(model).__name__}: {reason}")


def check_checkpoint(path: StrPath | None, resume: bool, minutes: float | None = None) -> None:
    """Refuse a path at which no checkpoint can be written, or where one would be lost."""
    if path is None:
        if resume:
            raise ValueError("checkpoint must name the file to resume from, got None")
        if minutes is not None:
            raise ValueError("checkpoint must name the file to write every checkpoint_minutes, got None")
        return
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"checkpoint must name a file, got the folder {path}")
    if not path.parent.is_dir():
        raise ValueError(f"checkpoint must be in a folder that exists, got {path}")
    if path.is_symlink() and not path.exists():  # starting anew would lose a run on a disk that is not mounted
        raise ValueError(f"checkpoint {path} must not be a link to a file that does not exist, got {path.readlink()}")
    if path.exists() and not resume:
        raise ValueError(f"checkpoint {path} exists already: pass resume=True to resume the run, or remove the file")


def move_to(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """Move the model to a device, default: the one where it is, and return the device."""
    if device is not None:
        check_device(device)
        model.to(device)
    elif _device(model).type == "meta":
        raise ValueError("device must store data, such as 'cpu', got 'meta'")
    return _device(model)


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def checked_class_names(model: Network, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the class names of training data, one per class of the model."""
    if model.num_classes is not None and len(class_names) != model.num_classes:
        raise ValueError(
            f"train must have one class name per class of the model, {model.num_classes}, got {list(class_names)}"
        )
    return class_names


def check_same_classes(model: Network, class_names: tuple[str, ...] | None) -> None:
    """Refuse data whose labels count other classes than the model's."""
    if class_names is not None and model.class_names is not None and class_names != model.class_names:
        raise ValueError(
            f"data must have the model's class names, {list(model.class_names)}, got {list(class_names)}; "
            "TensorData(inputs, labels, class_names=model.class_names) numbers labels as the model does"
        )
