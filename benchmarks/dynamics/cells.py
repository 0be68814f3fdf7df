"""Cells: a variant, a depth, a width and some seeds, with the curves of all these seeds in one file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import Content, count
from benchmarks.dynamics.settings import BATCH_SIZE, DEPTHS, EPOCHS, PAPER, VARIANTS, WIDTHS, Setting
from benchmarks.pages import ROOT, write
from forwardforward.runs import differences

__all__ = ["FOLDER", "Cell", "Curves", "plan", "read", "read_all", "tiny_plan", "write_cell"]

FOLDER = ROOT / "benchmarks" / "results" / "dynamics"

#: Accuracies are stored as whole numbers of this unit, which is exact for shares of 10,000 test images.
UNIT = 1e-4

Array = NDArray[np.float64]

#: Number of pixels by data set.
PIXELS = {"mnist": 784, "cifar10": 3072, "digits": 64}

#: Number of seeds in the paper.
SEEDS = 30

#: Size of the variants.
VARIANT_DEPTH, VARIANT_WIDTH, VARIANT_SEEDS = 8, 100, 10


@dataclass(frozen=True)
class Cell:
    """Trainings of some seeds.

    Args:
        variant: A key of ``VARIANTS``.
        depth: Number of layers; of a network that grows, the largest.
        width: Units per layer.
        seeds: The seeds.
        epochs: Epochs of training.
        images: Number of training images; 0 for all.
        data: Data set; default: the variant's.
    """

    variant: str
    depth: int
    width: int
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    epochs: int = EPOCHS
    images: int = 0
    data: str = ""

    @property
    def setting(self) -> Setting:
        """The variant, with the cell's data set."""
        setting = VARIANTS[self.variant]
        return dataclasses.replace(setting, data=self.data) if self.data else setting

    @property
    def pixels(self) -> int:
        """Number of inputs of the first layer."""
        return PIXELS.get(self.setting.data, PIXELS["mnist"])

    @property
    def members_per_model(self) -> int:
        """Number of one-layer networks that form one model: the depth for layers in parallel, else 1."""
        return self.depth if self.setting.connection == "parallel" else 1

    @property
    def group(self) -> str:
        """Name without the seeds."""
        parts = [
            self.variant,
            self.data,
            f"depth{self.depth}",
            f"width{self.width}",
            f"images{self.images}" if self.images else "",
            f"epochs{self.epochs}" if self.epochs != EPOCHS else "",
        ]
        return "_".join(filter(None, parts))

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.group}_seeds{self.seeds[0]}-{self.seeds[-1]}"

    @property
    def reduction(self) -> str:
        """Differences of the training from the study's own, "" if there are none."""
        parts = [
            self.data,
            count(self.epochs, "epoch") if self.epochs != EPOCHS else "",
            f"{self.images:,} training images" if self.images else "",
        ]
        return ", ".join(filter(None, parts))

    def config(self) -> Content:
        """Return what determines the curves."""
        of_cell = {"depth": self.depth, "width": self.width, "epochs": self.epochs, "images": self.images}
        return {**of_cell, "batch_size": BATCH_SIZE, **self.setting.settings()}

    def part(self, seeds: Sequence[int]) -> Cell:
        """Return the cell of some of the seeds."""
        return dataclasses.replace(self, seeds=tuple(seeds))


@dataclass(frozen=True)
class Curves:
    """The accuracies of a variant, depth and width on the test set, before the training and after each epoch.

    Args:
        cell: The cell, with the seeds of all its files.
        layers: Layer accuracies ``(seeds, epochs + 1, layers)``; NaN where a network does not have the layer yet.
        model: Model accuracies by the goodness of all layers but the first, ``(seeds, epochs + 1)``.
        model_all: The same by the goodness of all layers.
        contents: The files.
    """

    cell: Cell
    layers: Array
    model: Array
    model_all: Array
    contents: tuple[Content, ...] = field(default=(), repr=False)

    def of_seeds(self, number: int) -> Curves:
        """Return the curves of the first seeds."""
        cell = self.cell.part(self.cell.seeds[:number])
        return Curves(cell, self.layers[:number], self.model[:number], self.model_all[:number], self.contents)


def write_cell(path: Path, content: Content) -> None:
    """Write a cell's file, with one line per entry, and per seed of the curves."""
    lines = []
    for key, value in content.items():
        text = json.dumps(value, separators=(",", ":"))
        if key in CURVES:
            text = "[\n" + ",\n".join(json.dumps(seed, separators=(",", ":")) for seed in value) + "\n  ]"
        lines.append(f"  {json.dumps(key)}: {text}")
    write(path, "{\n" + ",\n".join(lines) + "\n}\n")


#: The entries of a file that are lists by seed.
CURVES = ("layer_accuracy", "model_accuracy", "model_accuracy_all_layers")


def read(cell: Cell, folder: Path) -> Content | None:
    """Return the content of a cell's file, None if it does not exist.

    Args:
        cell: The cell.
        folder: Folder of the finished cells.

    Raises:
        ValueError: If it was trained with other settings than the study now has.
    """
    path = folder / f"{cell.name}.json"
    if not path.exists():
        return None
    content: Content = json.loads(path.read_text(encoding="utf-8"))
    # a file without a setting is older than the setting, whose default is what was trained
    before = {**PAPER.settings(), **content["config"]}
    if changed := differences(before, cell.config()):
        names = ", ".join(sorted(changed))
        raise ValueError(f"the study has changed since the cell {path}: {names}; move it elsewhere")
    return content


def read_all(folder: Path) -> list[Curves]:
    """Return the curves of all finished cells, joined over files of different seeds, in the order of the plan.

    Args:
        folder: Folder of the finished cells.
    """
    groups: dict[str, list[tuple[Cell, Content]]] = {}
    for path in sorted(folder.glob("*_seeds*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        fields = {f.name: content[f.name] for f in dataclasses.fields(Cell)}
        cell = Cell(**{**fields, "seeds": tuple(fields["seeds"])})
        if (current := read(cell, folder)) is not None and "diverged" not in current:
            groups.setdefault(cell.group, []).append((cell, current))
    curves = [_joined(sorted(files, key=lambda file: file[0].seeds)) for files in groups.values()]
    order = {name: index for index, name in enumerate(VARIANTS)}
    return sorted(curves, key=lambda c: (order[c.cell.variant], c.cell.width, c.cell.depth, c.cell.reduction))


def _joined(files: Sequence[tuple[Cell, Content]]) -> Curves:
    """Return the curves of several files, each seed once."""
    rows: dict[int, dict[str, Any]] = {}
    for cell, content in files:
        for index, seed in enumerate(cell.seeds):
            rows[seed] = {name: content[name][index] for name in CURVES}
    layers, model, model_all = (
        UNIT * np.array([row[name] for row in rows.values()], dtype=np.float64) for name in CURVES
    )
    contents = tuple(content for _, content in files)
    return Curves(files[0][0].part(tuple(rows)), layers, model, model_all, contents)


def plan() -> list[Cell]:
    """Return the study's cells in the order of their worth on a CPU: the grid at width 100, growth, wider, variants."""
    ten, three = tuple(range(10)), tuple(range(3))
    narrow = [Cell("paper", depth, 100) for depth in (4, 8, 2, 16)]
    growing = [Cell(name, VARIANT_DEPTH, VARIANT_WIDTH, ten) for name, s in VARIANTS.items() if s.grows]
    wide = [Cell("paper", depth, 400, ten) for depth in (4, 8, 2)]
    widest = [Cell("paper", depth, 1000, three) for depth in (4, 8)]
    variants = [
        Cell(name, VARIANT_DEPTH, VARIANT_WIDTH, tuple(range(VARIANT_SEEDS)))
        for name, setting in VARIANTS.items()
        if name != "paper" and not setting.grows
    ]
    begun = [*narrow, *growing, *wide, *widest, *variants]
    return [*begun, *_rest_of_grid(begun)]


def _rest_of_grid(begun: Iterable[Cell]) -> list[Cell]:
    """Return the remaining seeds of the paper's grid, the cheapest cells first."""
    seeds = {(cell.depth, cell.width): set(cell.seeds) for cell in begun if cell.variant == "paper"}
    cells = []
    for width in WIDTHS:
        for depth in DEPTHS:
            missing = tuple(seed for seed in range(SEEDS) if seed not in seeds.get((depth, width), set()))
            cells += [Cell("paper", depth, width, missing)] if missing else []
    return sorted(cells, key=lambda cell: multiply_adds(cell.width, cell.depth) * len(cell.seeds))


def multiply_adds(width: int, depth: int, inputs: int = PIXELS["mnist"], samples: int = 2) -> float:
    """Return a training step's multiply-adds per image: forward passes and gradients of the weights.

    The first layer multiplies its weights with the image once for the positive and the negative sample.

    Args:
        width: Units per layer.
        depth: Number of layers.
        inputs: Number of pixels.
        samples: Samples per image, 2 for a positive and a negative one.
    """
    return 2.0 * inputs * width + 2.0 * samples * (depth - 1) * width**2


def tiny_plan() -> list[Cell]:
    """Return cells of every kind on scikit-learn's digits, which take seconds."""
    seeds, tiny = (0, 1, 2), {"epochs": 3, "data": "digits"}
    return [
        *(Cell("paper", depth, 16, seeds, **tiny) for depth in (2, 4)),  # type: ignore[arg-type]
        Cell("paper", 4, 24, seeds, **tiny),  # type: ignore[arg-type]
        Cell("grow-plateau", 4, 16, seeds, **tiny),  # type: ignore[arg-type]
        *(Cell(name, 4, 16, seeds, **tiny) for name in ("parallel", "dropout", "regression")),  # type: ignore[arg-type]
    ]
