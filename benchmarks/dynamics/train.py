"""Training of a cell: its seeds in groups, each group as one batched computation, and one file with all curves."""

from __future__ import annotations

import functools
import json
import math
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from benchmarks.cells import Content
from benchmarks.dynamics.cells import CURVES, FOLDER, UNIT, Cell, read, write_cell
from benchmarks.dynamics.growth import condition
from benchmarks.dynamics.measure import Measurement
from benchmarks.dynamics.settings import BATCH_SIZE, first_layers, layer, network, optimizer
from benchmarks.machine import describe_machine
from benchmarks.pages import write
from forwardforward.data import TensorData
from forwardforward.training import Callback, FitState, GrowNetwork, TrainingDiverged

__all__ = ["AUTOCAST", "Options", "Recorder", "groups_of", "run", "splits_of", "training_data"]

#: Largest number of parameters that are trained together.
GROUP = 2**26

AUTOCAST = {"float32": None, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Options:
    """Where and how cells are trained.

    Args:
        out: Folder of finished cells.
        work: Folder of checkpoints and of finished groups.
        data_dir: Folder of the data sets' files.
        device: Device to train on.
        precision: Compute precision; default: bf16 where the device has units for it.
        compile: Whether to compile the training step and the measurement.
        deadline: Time at which to stop after the epoch, as ``time.monotonic`` measures it.
        progress: Whether to show progress bars.
    """

    out: Path = FOLDER
    work: Path = Path("runs") / "dynamics"
    data_dir: str | None = None
    device: str = "cpu"
    precision: str = ""
    compile: bool = True
    deadline: float = math.inf
    progress: bool = False

    @property
    def resolved_precision(self) -> str:
        """The compute precision."""
        if self.precision:
            return self.precision
        units = describe_machine(self.device)["bf16_units"] or []
        has_units = self.device.startswith("cuda") or "amx_bf16" in units
        return "bf16" if has_units else "float32"


class Recorder(Callback):
    """Measures the test set before the training and after each epoch, and stops when the time is up.

    Args:
        data: The images.
        autocast: Compute precision.
        compile: Whether to compile the measurement.
        joined: Number of one-layer members whose layers together are one model.
        deadline: Time at which to stop.

    Attributes:
        rows: One list per measurement: layer accuracies by model, model accuracies, and those of all layers.
        seconds: Duration of the measurements.
    """

    def __init__(
        self,
        data: TensorData,
        autocast: torch.dtype | None = None,
        compile: bool = False,
        joined: int = 1,
        deadline: float = math.inf,
    ) -> None:
        self.data = data
        self.autocast = autocast
        self.compile = compile
        self.joined = joined
        self.deadline = deadline
        self.rows: list[list[Any]] = []
        self.seconds = 0.0
        self._measurement: tuple[int, Measurement] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the measurements."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore measurements."""
        self.rows = list(state.get("rows", []))
        self.seconds = state.get("seconds", 0.0)

    def on_fit_begin(self, state: FitState) -> None:
        """Measure the initial networks."""
        if not self.rows:
            self._measure(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Measure, and stop if the time is up."""
        self._measure(state)
        state.stop |= time.monotonic() >= self.deadline

    def _measure(self, state: FitState) -> None:
        start, depth = time.perf_counter(), len(state.model)
        if self._measurement is None or self._measurement[0] != depth:
            assert isinstance(state.model, ff.Replicas | ff.FFSequential)
            self._measurement = depth, Measurement(state.model, self.data, self.autocast, self.compile, self.joined)
        layers, *models = self._measurement[1]()
        self.rows.append([_units(layers), *map(_units, models)])
        self.seconds += time.perf_counter() - start


def _units(shares: torch.Tensor) -> Any:
    """Return shares as whole numbers of the stored unit."""
    return (shares / UNIT).round().long().tolist()


@functools.lru_cache(maxsize=1)  # consecutive cells usually share their data
def splits_of(data: str, data_dir: str | None) -> ff.data.Splits:
    """Return a data set."""
    return ff.data.load(data, data_dir)


def training_data(cell: Cell, data_dir: str | None) -> tuple[TensorData, TensorData, int]:
    """Return the training images with those of the validation split, the test images, and the number of classes."""
    splits = splits_of(cell.setting.data, data_dir)
    train, test = splits.train_and_validation, splits.test
    if cell.setting.objective == "values":
        train, test = (TensorData(data.inputs, torch.as_tensor(data.targets).float()) for data in (train, test))
    return train[: cell.images] if cell.images else train, test, splits.num_classes


def run(cell: Cell, options: Options, command: str = "") -> bool:
    """Train a cell, from its last checkpoint, and write its file; return False if the time was up before.

    Args:
        cell: The cell.
        options: Where and how.
        command: Command that trains the cell, written to its file.
    """
    if read(cell, options.out) is not None:
        return True
    groups = []
    for part in groups_of(cell):
        group = _run_group(part, options)
        if group is None:
            return False
        groups.append(group)
    content = _joined(cell, groups, options, command)
    write_cell(options.out / f"{cell.name}.json", content)
    for part in groups_of(cell):
        _place(part, options, ".json").unlink(missing_ok=True)
    return True


def groups_of(cell: Cell) -> list[Cell]:
    """Return the cell in parts whose seeds are trained together, about equal in size; one by one with dropout.

    Replicas cannot draw a mask for each member.
    """
    members = cell.members_per_model
    layers = 1 if members > 1 else cell.depth
    parameters = members * (cell.pixels * cell.width + (layers - 1) * cell.width**2)
    most = 1 if cell.setting.dropout else max(1, GROUP // parameters)
    parts = -(-len(cell.seeds) // most)
    size = -(-len(cell.seeds) // parts)
    return [cell.part(cell.seeds[start : start + size]) for start in range(0, len(cell.seeds), size)]


def _place(part: Cell, options: Options, suffix: str) -> Path:
    return options.work / f"{part.name}{suffix}"


def _run_group(part: Cell, options: Options) -> Content | None:
    """Train the seeds of one group, and return their curves; None if the time was up."""
    result, checkpoint = _place(part, options, ".json"), _place(part, options, ".pt")
    if result.exists():
        content: Content = json.loads(result.read_text(encoding="utf-8"))
        return content
    if time.monotonic() >= options.deadline:
        return None
    options.work.mkdir(parents=True, exist_ok=True)
    train, test, classes = training_data(part, options.data_dir)
    setting, shape = part.setting, train.input_shape
    joined = part.members_per_model
    depth = first_layers(setting, part.depth)
    # layers in parallel are members of their own, each with its own seed
    seeds = [seed * joined + index for seed in part.seeds for index in range(joined)]
    make = functools.partial(network, setting, depth, part.width, shape, classes)
    recorder = Recorder(test, AUTOCAST[options.resolved_precision], options.compile, joined, options.deadline)
    callbacks: list[Callback] = [recorder]
    if setting.grows:
        callbacks.append(
            GrowNetwork(
                lambda index: layer(setting, part.width, part.width, index), condition(setting.grows, part.depth)
            )
        )
    try:
        history = ff.fit(
            _seeded(make, seeds[0]) if setting.dropout else ff.replicate(make, seeds),
            train,
            seed=seeds[0] if setting.dropout else 0,  # replicas have their own
            epochs=part.epochs,
            batch_size=BATCH_SIZE,
            optimizer=optimizer(setting),
            device=options.device,
            precision=options.resolved_precision,  # type: ignore[arg-type]
            compile=options.compile,
            cuda_graph=options.device.startswith("cuda"),
            callbacks=callbacks,
            checkpoint=checkpoint,
            resume=True,
            progress=options.progress,
        )
    except TrainingDiverged as error:
        content = {"diverged": str(error), "seconds": 0.0, "measuring_seconds": 0.0}
    else:
        if len(history) < part.epochs:
            return None
        layers, *models = ([[row[i][s] for row in recorder.rows] for s in range(len(part.seeds))] for i in range(3))
        padded = [[row + [None] * (part.depth - len(row)) for row in rows] for rows in layers]
        curves = dict(zip(CURVES, [padded, *models], strict=True))
        content = {**curves, "seconds": history.seconds, "measuring_seconds": recorder.seconds}
    write(result, json.dumps(content))
    checkpoint.unlink(missing_ok=True)
    return content


def _seeded(make: Callable[[], ff.FFSequential], seed: int) -> ff.FFSequential:
    """Return one network, with the weights that it has among replicas."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _joined(cell: Cell, groups: Sequence[Content], options: Options, command: str) -> Content:
    """Return the content of the cell's file."""
    diverged = [group["diverged"] for group in groups if "diverged" in group]
    curves = {} if diverged else {name: [seed for group in groups for seed in group[name]] for name in CURVES}
    machine = describe_machine(options.device)
    return {
        "name": cell.name,
        "variant": cell.variant,
        "depth": cell.depth,
        "width": cell.width,
        "seeds": cell.seeds,
        "epochs": cell.epochs,
        "images": cell.images,
        "data": cell.data,
        "config": cell.config(),
        "command": command or f"python -m benchmarks.dynamics --cells {shlex.quote(cell.name)}",
        "precision": options.resolved_precision,
        "seconds": round(sum(group["seconds"] for group in groups), 1),
        "measuring_seconds": round(sum(group["measuring_seconds"] for group in groups), 1),
        "machine": machine,
        **({"diverged": diverged[0]} if diverged else {}),
        **curves,
    }
