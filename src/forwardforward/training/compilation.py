"""Compiled training steps, with the layerwise step as a fallback."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from forwardforward._utils.arguments import checked
from forwardforward.network import Network
from forwardforward.step import CompilationError, StepResult, WholeStep

__all__ = ["CompiledStep"]


@checked
class CompiledStep:
    """Training steps of a network, compiled with ``torch.compile`` where that works.

    An :class:`~forwardforward.FFSequential` computes the whole step as one compiled function, see
    :class:`~forwardforward.step.WholeStep`. If a block cannot be traced, such as an LSTM, or the compiler fails, one
    warning is issued and training continues layer by layer. A baseline is trained without a compiler. Results are equal
    within rounding, except for random numbers inside blocks, such as those of ``nn.Dropout``, which are equal in
    distribution.

    Args:
        model: The network.

    Example:
        >>> import torch, forwardforward as ff
        >>> layers = torch.nn.Sequential(torch.nn.Linear(8, 6))
        >>> model = ff.FFSequential(layers, goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy())
        >>> step = CompiledStep(model)
    """

    def __init__(self, model: Network) -> None:
        self.model = model
        self.whole_step: WholeStep | None = WholeStep(compile=True)
        reason = untraceable(model)
        if reason is not None:
            self._fall_back(reason)

    def __call__(self, *arguments: Any, generator: torch.Generator | None = None, **options: Any) -> StepResult:
        """Run one step, with the arguments of :meth:`~forwardforward.network.Network.step`."""
        if self.whole_step is not None:
            state = None if generator is None else generator.get_state()
            random_state = torch.get_rng_state()
            try:
                return self.model.step(*arguments, generator=generator, **options, whole_step=self.whole_step)
            except CompilationError as error:  # nothing has been updated
                torch.set_rng_state(random_state)
                if generator is not None and state is not None:
                    generator.set_state(state)
                result = self.model.step(*arguments, generator=generator, **options)  # raises errors of the batch
                self._fall_back(_reason(error))
                return result
        return self.model.step(*arguments, generator=generator, **options)

    def _fall_back(self, reason: str) -> None:
        self.whole_step = None
        warnings.warn(f"training continues layer by layer, without torch.compile: {reason}", stacklevel=3)


def _reason(error: Exception) -> str:
    """Return the first line of an error that is not a heading, such as "backend='inductor' raised:"."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.endswith(":")), type(error).__name__)


def untraceable(model: nn.Module) -> str | None:
    """Return why a network cannot be compiled, None if no reason is known."""
    for place, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            return f"{place} is a recurrent {type(module).__name__}, which cannot be traced"
    return None
