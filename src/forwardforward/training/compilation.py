"""Compiled and recorded training steps, with the layerwise step as a fallback."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.compilation import compiler_reason
from forwardforward.network import Network
from forwardforward.step import CompilationError, RecordingError, StepResult, WholeStep
from forwardforward.training.parallel import Parallel

__all__ = ["CompiledStep"]

#: Oldest version of torch that the compiled step is tested with.
OLDEST_TORCH = (2, 6)


@checked
class CompiledStep:
    """Training steps of a network, compiled with ``torch.compile`` or recorded in a CUDA graph where that works.

    An :class:`~forwardforward.FFSequential` computes the whole step as one compiled function, see
    :class:`~forwardforward.step.WholeStep`. If a block cannot be traced, such as an LSTM, or the compiler fails, one
    warning is issued and training continues layer by layer; likewise with a torch before 2.6, the oldest version on
    which the compiled step is tested. A step that waits for the device is not recorded, with one warning. A baseline is
    trained without a compiler and without a graph. Results are equal within rounding, except for random numbers inside
    blocks, such as those of ``nn.Dropout``, which are equal in distribution.

    Args:
        model: The network.
        batch_size: Number of samples of the batches to compile for. A batch of another size, such as an epoch's last
            one, is trained layer by layer: which form a step takes depends on the step alone, not on those before, so
            that a resumed run takes the same forms. Default: any size, see :class:`~forwardforward.step.WholeStep`.
        compile: Whether to compile the step.
        cuda_graph: Whether to record the step in a CUDA graph.

    Example:
        >>> import torch, forwardforward as ff
        >>> layers = torch.nn.Sequential(torch.nn.Linear(8, 6))
        >>> model = ff.FFSequential(layers, goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy())
        >>> step = CompiledStep(model)
    """

    def __init__(
        self,
        model: Network,
        batch_size: PositiveInt | None = None,
        compile: bool = True,
        cuda_graph: bool = False,
    ) -> None:
        self.model = model
        self.batch_size = batch_size
        self._compiles = compile
        self.whole_step: WholeStep | None = WholeStep(compile=compile, cuda_graph=cuda_graph)
        reason = (_unsupported_torch() or untraceable(model)) if compile else None
        if reason is not None:
            self._fall_back(reason)

    def __call__(
        self,
        batch: tuple[Tensor, Tensor | None],
        *arguments: Any,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> StepResult:
        """Run one step, with the arguments of :meth:`~forwardforward.network.Network.step`."""
        step = partial(self.model.step, batch, *arguments, generator=generator, **options)
        if self.whole_step is None or (self.batch_size is not None and len(batch[0]) != self.batch_size):
            return step()
        state = None if generator is None else generator.get_state()
        random_state = torch.get_rng_state()
        try:
            return step(whole_step=self.whole_step)
        except CompilationError as error:  # nothing has been updated
            torch.set_rng_state(random_state)
            if generator is not None and state is not None:
                generator.set_state(state)
            result = step()  # raises errors of the batch
            self._fall_back(compiler_reason(error), recording=isinstance(error, RecordingError))
            return result

    def _fall_back(self, reason: str, recording: bool = False) -> None:
        """Continue without the compiler, or without a graph."""
        stays_compiled = recording and self._compiles
        self.whole_step = WholeStep(compile=True) if stays_compiled else None
        form = "" if stays_compiled else "layer by layer, "
        failed = "a CUDA graph" if recording or not self._compiles else "torch.compile"
        warnings.warn(f"training continues {form}without {failed}: {reason}", stacklevel=3)


def step_of(network: Network, batch_size: int | None, compile: bool, cuda_graph: bool) -> Callable[..., StepResult]:
    """Return the function of a network's training step.

    Args:
        network: The network.
        batch_size: Number of samples of its batches.
        compile: Whether to compile the step.
        cuda_graph: Whether to record it in a CUDA graph.
    """
    return CompiledStep(network, batch_size, compile, cuda_graph) if compile or cuda_graph else network.step


def check_cuda_graph(device: torch.device, parallel: Parallel | None = None) -> None:
    """Refuse to record the steps of a training that are not functions of tensors on one GPU.

    Args:
        device: Device of the training.
        parallel: Distribution over several processes; default: one process.
    """
    if device.type != "cuda":
        raise ValueError(f"cuda_graph must be False for device {str(device)!r}, got True")
    if parallel is not None and type(parallel) is not Parallel:
        raise ValueError("cuda_graph must be False for training by several processes, got True")


def _unsupported_torch() -> str | None:
    """Return why this torch is not used to compile, None if it is new enough."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version >= OLDEST_TORCH:
        return None
    return f"it is tested with torch {'.'.join(map(str, OLDEST_TORCH))} or newer, got {torch.__version__}"


def untraceable(model: nn.Module) -> str | None:
    """Return why a network cannot be compiled, None if no reason is known."""
    for place, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            return f"{place} is a recurrent {type(module).__name__}, which cannot be traced"
    return None
