"""What is easily got wrong in a call of ``fit`` or ``evaluate``, said before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forwardforward.optimizers import LocalOptimizer
from forwardforward.training.callbacks import Callback


def check_model(model: Any, *methods: str) -> None:
    """Refuse a model without the methods that will be called."""
    if not isinstance(model, nn.Module) or not all(hasattr(model, one) for one in methods):
        raise TypeError(
            f"model must be an FFSequential or a baseline, with {' and '.join(methods)}, got {_named(model)}"
        )


def check_optimizer(optimizer: Any) -> None:
    """Refuse a torch optimizer: each layer needs one of its own."""
    if isinstance(optimizer, LocalOptimizer):
        return
    kind = optimizer if isinstance(optimizer, type) else type(optimizer)
    name = kind.__name__ if issubclass(kind, torch.optim.Optimizer) else "Adam"
    name = f"torch.optim.{name}" if hasattr(torch.optim, name) else name
    raise TypeError(
        f"optimizer must be a LocalOptimizer, which makes one for each layer: "
        f"ff.LocalOptimizer({name}, lr=...), got {_named(optimizer)}"
    )


def check_schedule(schedule: Any) -> None:
    """Refuse a schedule's name or class."""
    if isinstance(schedule, type):
        raise TypeError(f"schedule must be an instance, such as {schedule.__name__}(), got {_named(schedule)}")
    if not callable(schedule):
        raise TypeError(f"schedule must be one such as ff.update_schedules.Greedy(), got {_named(schedule)}")


def checked_callbacks(callbacks: Any) -> list[Callback]:
    """Return the callbacks, each an instance."""
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise TypeError(f"callbacks must be a list, such as [EarlyStopping(5)], got {_named(callbacks)}")
    for one in callbacks:
        if not isinstance(one, Callback):
            raise TypeError(f"callbacks must be instances of ff.training.Callback, got {_named(one)}")
    return list(callbacks)


def check_checkpoint(path: str | Path | None, resume: bool) -> None:
    """Refuse a place where no checkpoint can be written, or where one would be lost."""
    if path is None:
        if resume:
            raise ValueError("checkpoint must name the file to resume from, got None")
        return
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"checkpoint must name a file, got the folder {path}")
    if not path.parent.is_dir():
        raise ValueError(f"checkpoint must lie in a folder that exists, got {path}")
    if path.exists() and not resume:
        raise ValueError(f"checkpoint {path} exists already: go on with it by resume=True, or remove it")


def check_device(device: torch.device | str, argument: str = "device") -> None:
    """Refuse a device that is not here; ``argument`` is what the user calls it."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{argument} must be one that is here, such as 'cpu', got {device!r}: {reason}") from error


def placed(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """Move the model where it shall be and return the place."""
    if device is not None:
        check_device(device)
    place = torch.device(device) if device is not None else _first_device(model)
    if place.type == "meta":
        raise ValueError("device must hold data, such as 'cpu', got 'meta'")
    if device is not None:
        model.to(device)
    return _first_device(model)


def _first_device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """Return the type of the model's weights, in which it reads its inputs."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), None)


def _named(value: Any) -> str:
    """Return what a user would recognise the argument by."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return repr(value) if isinstance(value, str) else getattr(value, "__name__", f"an object of {type(value).__name__}")
