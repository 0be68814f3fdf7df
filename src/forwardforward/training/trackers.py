"""Callbacks that send figures and distributions to a tracking tool, such as TensorBoard."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import PositiveInt, StrPath, checked
from forwardforward._utils.extras import import_extra
from forwardforward._utils.plugins import one_line
from forwardforward.data.batching import Data, source
from forwardforward.network import Network
from forwardforward.replicas import Replicas
from forwardforward.step import StepResult
from forwardforward.training.callbacks import Callback, FitState
from forwardforward.training.evaluation import labeled_goodness, some_checked
from forwardforward.training.history import numbers_of
from forwardforward.training.meters import EpochMeter

__all__ = ["TensorBoardLog", "Tracker", "WandbLog", "scalars_of"]

#: Bins of a histogram in Weights & Biases, which accepts at most 512.
BINS = 64


@checked
class Tracker(Callback):
    """Base of the callbacks that send figures and distributions to a tracking tool.

    A subclass implements :meth:`write`. Names of figures are those of the :class:`~forwardforward.training.History`
    with slashes, by which the tools group charts: ``layers/0/loss``, ``validation/error``. Distributions are those of
    ``goodness/0/true`` and ``goodness/0/wrong`` (the goodness of a layer for the true label and for each wrong one) and
    ``weights/0/block.weight``. The horizontal axis is the number of steps; ``epoch`` is recorded too.

    Args:
        samples: Labeled data whose goodness is recorded, such as a few hundred validation samples; default: none.
        weights: Whether to record the distributions of weights.
        every: Number of epochs between two records of distributions.
        step_interval: Number of steps between two records of a single step's figures, as ``steps/layers/0/loss``. Each
            waits for the device. Default: only the means of epochs are recorded.

    Raises:
        ValueError: In ``fit``, if ``samples`` are given and the layers do not classify or predict real values,
            for replicas, or if the network cannot read them.

    Example:
        >>> class Print(Tracker):
        ...     def write(self, step, scalars, distributions):
        ...         print(step, sorted(scalars)[1:3], sorted(distributions))
        >>> import torch, forwardforward as ff
        >>> data = torch.rand(20, 8), torch.arange(20) % 2
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6, bias=False), goodness=ff.goodness.ClassGroups(2), loss=ff.losses.CrossEntropy()
        ... )
        >>> history = ff.fit(model, data, epochs=1, batch_size=5, callbacks=[Print(samples=data)], progress=False)
        4 ['epoch', 'layers/0/accuracy'] ['goodness/0/true', 'goodness/0/wrong', 'weights/0/block.weight']
    """

    main_only = True
    needs_all_layers = True

    def __init__(
        self,
        *,
        samples: Data | None = None,
        weights: bool = True,
        every: PositiveInt = 1,
        step_interval: PositiveInt | None = None,
    ) -> None:
        if samples is not None:
            try:
                _, labels = source(samples, 1, torch.device("cpu")).some()
            except (TypeError, ValueError) as error:
                raise type(error)(f"samples: {one_line(error)}") from error
            if labels is None:
                raise ValueError(f"samples must have labels, got {describe(samples)}")
        self.samples = samples
        self.weights = weights
        self.every = every
        self.step_interval = step_interval

    @abstractmethod
    def write(self, step: int, scalars: Mapping[str, float], distributions: Mapping[str, Tensor]) -> None:
        """Send figures and distributions to the tool.

        Args:
            step: Number of steps so far.
            scalars: Figures by name.
            distributions: Values of any shape, by name.
        """
        raise NotImplementedError

    def on_fit_begin(self, state: FitState) -> None:
        """Check that the goodness of samples can be recorded."""
        if self.samples is not None and (isinstance(state.model, Replicas) or not state.model.layers_classify):
            kind = "replicas" if isinstance(state.model, Replicas) else "a network whose layers do not classify"
            raise ValueError(f"samples must be None for {kind}, got {describe(self.samples)}")
        if self.samples is not None:
            try:
                dict(_goodness(state.model, some_checked(state.model, self.samples)))
            except (ValueError, TypeError, RuntimeError, IndexError) as error:
                raise ValueError(
                    f"samples must have true classes or labels, and be inputs of the network: {one_line(error)}"
                ) from error

    def on_step_end(self, state: FitState, result: StepResult) -> None:
        """Record a single step, if one is due."""
        if self.step_interval is not None and state.steps % self.step_interval == 0:
            figures = EpochMeter()
            figures.update(_mean(result) if isinstance(state.model, Replicas) else result)
            layers = {index: figures.layer(index) for index in range(len(state.model))}
            record = {"layers": {index: layer for index, layer in layers.items() if layer}, "head": figures.head()}
            self.write(state.steps, scalars_of({"steps": record}), {})

    def on_epoch_end(self, state: FitState) -> None:
        """Record an epoch."""
        distributions: dict[str, Tensor] = {}
        if len(state.history) % self.every == 0:
            if self.samples is not None:
                distributions.update(_goodness(state.model, self.samples))
            if self.weights:
                distributions.update(_weights(state.model))
        self.write(state.steps, scalars_of(state.history[-1]), distributions)


@checked
class TensorBoardLog(Tracker):
    """Write figures and histograms as event files of TensorBoard.

    Show them by ``tensorboard --logdir FOLDER``. A resumed run continues the curves in a new file. TensorBoard is part
    of the extra ``tensorboard``.

    Args:
        folder: Folder of the event files, one per run.
        **options: Those of :class:`Tracker`.

    Raises:
        ImportError: If TensorBoard is not installed.
        ValueError: In ``fit``, as :class:`Tracker`.

    Example:
        >>> log = TensorBoardLog("logs/run")  # fit(..., callbacks=[log])
    """

    def __init__(self, folder: StrPath, **options: Any) -> None:
        super().__init__(**options)
        self.folder = Path(folder)
        self._writer: Any = None  # between trainings, so that the callback can be copied
        _tensorboard()

    def on_fit_begin(self, state: FitState) -> None:
        """Open a file, in which steps after the checkpoint replace those of an interrupted run."""
        super().on_fit_begin(state)
        self._writer = _tensorboard().SummaryWriter(self.folder, purge_step=state.steps + 1 if state.steps else None)

    def write(self, step: int, scalars: Mapping[str, float], distributions: Mapping[str, Tensor]) -> None:
        """Write figures and histograms."""
        for name, number in scalars.items():
            self._writer.add_scalar(name, number, step)
        for name, values in distributions.items():
            self._writer.add_histogram(name, values.float(), step)

    def on_epoch_end(self, state: FitState) -> None:
        """Record an epoch, so that a running TensorBoard shows it."""
        super().on_epoch_end(state)
        self._writer.flush()

    def on_fit_end(self, state: FitState) -> None:
        """Close the file."""
        self._writer.close()
        self._writer = None


@checked
class WandbLog(Tracker):
    """Log figures and histograms to a run of Weights & Biases.

    Weights & Biases is part of the extra ``wandb``.

    Args:
        run: The run, as ``wandb.init(...)`` returns it. It is not finished at the end of the training.
        **options: Those of :class:`Tracker`.

    Raises:
        ImportError: If Weights & Biases is not installed.
        TypeError: If ``run`` is not a run.
        ValueError: In ``fit``, as :class:`Tracker`.

    Example:
        >>> import wandb  # doctest: +SKIP
        >>> log = WandbLog(wandb.init(project="forward-forward"))  # doctest: +SKIP
    """

    def __init__(self, run: Any, **options: Any) -> None:
        super().__init__(**options)
        _wandb()
        if not callable(getattr(run, "log", None)):
            raise TypeError(f"run must be a run, such as wandb.init(project=...), got {describe(run)}")
        self.run = run

    def write(self, step: int, scalars: Mapping[str, float], distributions: Mapping[str, Tensor]) -> None:
        """Log figures and histograms, of one step in one call."""
        histograms = {
            name: _wandb().Histogram(values.float().flatten().cpu().numpy(), num_bins=BINS)
            for name, values in distributions.items()
        }
        self.run.log({**scalars, **histograms}, step=step)


def _tensorboard() -> Any:
    return import_extra("torch.utils.tensorboard", "TensorBoardLog", "tensorboard")


def _wandb() -> Any:
    return import_extra("wandb", "WandbLog", "wandb")


def scalars_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a record by names with slashes, such as ``layers/0/loss``.

    Args:
        record: A record of a history.
    """
    return {name.replace(".", "/"): number for name, number in numbers_of(dict(record))}


def _goodness(model: Network, samples: Data) -> Iterator[tuple[str, Tensor]]:
    goodness, labels = labeled_goodness(model, samples, "for the goodness of true and wrong ones")
    true = model.target_kind.is_true(labels, goodness.shape[2])
    for layer in range(goodness.shape[1]):
        yield f"goodness/{layer}/true", goodness[:, layer][true]
        yield f"goodness/{layer}/wrong", goodness[:, layer][~true]


def _weights(model: Network) -> Iterator[tuple[str, Tensor]]:
    if isinstance(model, Replicas):
        for index, member in enumerate(model.members):
            yield from ((f"members/{index}/{name}", values) for name, values in _weights(member))
        return
    modules = {str(index): layer for index, layer in enumerate(model.layers)}
    if model.head is not None:
        modules["head"] = model.head
    for place, module in modules.items():
        for name, parameter in module.named_parameters():
            yield f"weights/{place}/{name}", parameter.detach()


def _mean(result: StepResult) -> StepResult:
    """Return the means of a step's figures over replicas."""

    def mean(local: Any) -> Any:
        values = {name: value.mean() for name in ("loss", "positive", "negative", "accuracy")
                  if (value := getattr(local, name)) is not None}  # fmt: skip
        return type(local)(**values, parts={name: value.mean() for name, value in local.parts.items()})

    return StepResult(
        {index: mean(local) for index, local in result.layers.items()},
        None if result.head is None else mean(result.head),
        {index: norm.mean() for index, norm in result.gradient_norms.items()},
    )
