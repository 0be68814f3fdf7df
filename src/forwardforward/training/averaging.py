"""The average of the weights over the steps of a training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from forwardforward._utils.arguments import OpenFraction, Probability, checked
from forwardforward.step import StepResult
from forwardforward.training.callbacks import Callback, FitState

__all__ = ["WeightAverage"]


@checked
class WeightAverage(Callback):
    r"""Average the weights over the steps of a training, and classify with the average.

    After each step, with weights :math:`w`,

    .. math:: \bar w \leftarrow d \, \bar w + (1 - d) \, w \qquad \text{or} \qquad
              \bar w \leftarrow \bar w + (w - \bar w) / n

    for an exponential moving average with decay :math:`d`, or for the mean of all :math:`n` steps. Floating-point
    buffers, such as running statistics, are averaged too. The training itself is not changed.

    The model has the averaged weights whenever an epoch is over: in its validation, for callbacks that are called then,
    such as :class:`EarlyStopping` and :class:`Checkpoint`, and after the training. The weights of the last step return
    before the next epoch, and are part of a checkpoint. If the network grows, the average starts anew.

    Args:
        decay: Decay of an exponential moving average, such as 0.999, which averages about 1000 steps; None for the mean
            of all steps.
        start: Share of the epochs before the average starts.

    Raises:
        ValueError: If an argument is out of range or, on resuming, ``decay`` is not that of the checkpoint.

    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging (1992); Izmailov et al.,
    Averaging weights leads to wider optima and better generalization (2018), arXiv 1803.05407. The averages are those
    of :mod:`torch.optim.swa_utils`.

    Example:
        >>> average = WeightAverage(decay=0.999)  # fit(..., callbacks=[average])
    """

    needs_all_layers = True

    def __init__(self, decay: OpenFraction | None = 0.999, start: Probability = 0.0) -> None:
        self.decay = decay
        self.start = start
        self._update = get_swa_multi_avg_fn() if decay is None else get_ema_multi_avg_fn(decay)
        self._places: list[tuple[str, dict[str, Any], str]] = []
        self._average: dict[str, Tensor] = {}
        self._steps = 0
        self._last: dict[str, Tensor] = {}  # weights of the last step, while the model has the averaged ones

    def state_dict(self) -> dict[str, Any]:
        """Return the average and, after an epoch, the weights of its last step."""
        return {"decay": self.decay, "steps": self._steps, "average": self._average, "last": self._last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        if state.get("decay", self.decay) != self.decay:
            raise ValueError(f"decay must be that of the checkpoint, {state['decay']}, got {self.decay}")
        self._steps = int(state.get("steps", 0))
        self._average, self._last = dict(state.get("average", {})), dict(state.get("last", {}))

    def on_fit_begin(self, state: FitState) -> None:
        """Start anew, unless the training is resumed."""
        if not state.resumed:
            self.load_state_dict({})

    @torch.no_grad()
    def on_epoch_begin(self, state: FitState) -> None:
        """Return to the weights of the last step."""
        self._places = list(_places(state.model))
        current = self._tensors()
        for name, value in self._last.items():
            if name in current and current[name].shape == value.shape:  # it may have grown
                current[name].copy_(value)
        self._last = {}
        if {name: value.shape for name, value in current.items()} != {n: v.shape for n, v in self._average.items()}:
            self._average, self._steps = {}, 0

    @torch.no_grad()
    def on_step_end(self, state: FitState, result: StepResult) -> None:
        """Add the weights to the average."""
        if len(state.history) < self.start * state.epochs:
            return
        current = self._tensors()
        if not self._steps:
            self._average = {name: value.detach().clone() for name, value in current.items()}
        else:
            self._update(list(self._average.values()), list(current.values()), self._steps)
        self._steps += 1

    @torch.no_grad()
    def on_evaluation_begin(self, state: FitState) -> None:
        """Give the averaged weights to the model."""
        if self._last or not self._average:
            return
        self._places = list(_places(state.model))
        current = self._tensors()
        self._last = {name: value.detach().clone() for name, value in current.items()}
        for name, value in self._average.items():
            current[name].copy_(value)

    def _tensors(self) -> dict[str, Tensor]:
        """Return parameters and floating-point buffers by name, also those that a layer has assigned anew."""
        return {key: tensors[name] for key, tensors, name in self._places}

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"WeightAverage(decay={self.decay}" + (f", start={self.start})" if self.start else ")")


def _places(model: nn.Module) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Iterate over the places of floating-point parameters and buffers: full name, dictionary of a module, name."""
    for path, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for name, value in tensors.items():
                if isinstance(value, Tensor) and value.is_floating_point():
                    yield f"{path}.{name}", tensors, name
