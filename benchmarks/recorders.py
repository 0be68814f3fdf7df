"""Recorders: callbacks whose records become part of a finished cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from forwardforward import FFSequential
from forwardforward._utils.modes import eval_mode
from forwardforward.data import TensorData
from forwardforward.runs import Run
from forwardforward.step import StepResult
from forwardforward.training import Callback, FitState

__all__ = ["Histograms", "Recorder", "StepNorms"]


class Recorder(Callback):
    """Callback whose records become part of a cell; a resumed run restores them.

    Attributes:
        name: Key of the records in the cell.
    """

    name: str = ""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def content(self) -> Any:
        """Return the records as JSON represents them."""
        return self.records

    def state_dict(self) -> dict[str, Any]:
        """Return the records."""
        return {"records": self.records}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the records."""
        self.records = list(state.get("records", []))


class StepNorms(Recorder):
    """The norm of every layer's gradient in single steps: those in which ``fit`` measures it, one of 17.

    Records are lists of the step's index, from 0, and one norm per layer, None for one that was not updated.

    Args:
        run: The run, which is not used.
    """

    name = "step_norms"

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._step = 0
        self._norms: list[tuple[int, dict[int, Tensor]]] = []

    def on_step_end(self, state: FitState, result: StepResult) -> None:
        """Remember the norms of a step that measured them, on the device."""
        if result.gradient_norms:
            self._norms.append((self._step, result.gradient_norms))
        self._step += 1

    def on_epoch_end(self, state: FitState) -> None:
        """Add the epoch's norms to the records."""
        layers = range(len(state.model))
        for step, norms in self._norms:
            self.records.append([step, *(_rounded(norms[layer]) if layer in norms else None for layer in layers)])
        self._norms.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the records, the norms of an unfinished epoch and the number of steps."""
        return {**super().state_dict(), "step": self._step, "norms": [list(pair) for pair in self._norms]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        super().load_state_dict(state)
        self._step = int(state.get("step", 0))
        self._norms = [(int(step), dict(norms)) for step, norms in state.get("norms", [])]


class Histograms(Recorder):
    """Histograms of every layer's weights and activations after some of the epochs.

    A record has the epoch, and for ``weights`` and ``activations`` one histogram per layer: the ends of its range and
    the share of the values in each of equally wide bins. Activations are those of the first training images under
    their own labels.

    Args:
        run: The run.
        epochs: The epochs, from 1; the last is always recorded.
        images: Number of images.
        bins: Number of bins.
    """

    name = "histograms"

    def __init__(self, run: Run, epochs: Sequence[int] = (1, 2, 5, 10, 20, 40), images: int = 200, bins: int = 40):
        super().__init__()
        self.epochs = frozenset(epochs)
        self.bins = bins
        self._data: TensorData = run.training_data()[:images]

    @torch.no_grad()
    def on_epoch_end(self, state: FitState) -> None:
        """Record the epoch if it is one of those."""
        epoch = len(state.history)
        if epoch not in self.epochs and epoch != state.epochs:
            return
        model: Any = state.model
        data = self._data.to(model.device)
        labels = data.targets if isinstance(model, FFSequential) and model.label_encoder is not None else None
        with eval_mode(model):
            activations = model.activations(data.inputs, labels)
        record = {
            "epoch": epoch,
            "weights": [histogram(layer.block.weight, self.bins) for layer in model.layers],
            "activations": [histogram(activations[layer], self.bins) for layer in sorted(activations)],
        }
        self.records.append(record)


def histogram(values: Tensor, bins: int) -> dict[str, Any]:
    """Return the range of values, and the share of them in each of equally wide bins."""
    flat = values.detach().float().flatten().cpu()
    low, high = float(flat.min()), float(flat.max())
    counts = torch.histc(flat, bins, low, high) if high > low else torch.tensor([float(len(flat))])
    return {"range": [_rounded(low), _rounded(high)], "shares": [_rounded(n) for n in counts / len(flat)]}


def _rounded(value: Tensor | float) -> float:
    return float(f"{float(value):.4g}")
