"""The cells of a bench as jobs of the runner."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.cells import Cell, Content, Row, Setting, read_cell
from benchmarks.reproduce.interface import Job, Place
from benchmarks.tables import Study, by_setting
from forwardforward.network import Network
from forwardforward.recipes import Recipe

if TYPE_CHECKING:
    from benchmarks.bench import Bench

__all__ = ["bench_jobs", "multiply_adds"]

#: Shape of one input, number of classes, training and validation samples of each data set.
SIZES: dict[str, tuple[tuple[int, ...], int, int, int]] = {
    "mnist": ((1, 28, 28), 10, 50_000, 10_000),
    "fashion-mnist": ((1, 28, 28), 10, 50_000, 10_000),
    "svhn": ((3, 32, 32), 10, 65_932, 7_325),
    "cifar10": ((3, 32, 32), 10, 45_000, 5_000),
    "cifar100": ((3, 32, 32), 100, 45_000, 5_000),
    "digits": ((1, 8, 8), 10, 1_077, 360),
    "imdb": ((200,), 2, 20_000, 5_000),
}

#: Width of the narrowest layer of the smaller network that multiply-adds are extrapolated from. Groups of units round
#: widths up to a multiple of the number of classes, so that the extrapolation needs a multiple of it too.
PROBED_WIDTH = 20

#: Widest layer, images and trained rows per study of the tiny cells.
TINY_WIDTH, TINY_IMAGES, TINY_ROWS = 8, 60, 3


def bench_jobs(bench: Bench, place: Place) -> list[Job]:
    """Return the cells of all studies of a bench, shared ones once, stages of one training in order.

    Those are the cells of the studies' own settings, of their smaller settings, and finished ones of any setting.

    Args:
        bench: The bench.
        place: Where its cells are.
    """
    contents = {content["name"]: content for content in _contents(bench, place)}
    cells: dict[str, Cell] = {}
    studies: dict[str, list[Study]] = {}
    for study in bench.studies:
        for cell in (*_tiny(study),) if place.tiny else (*_planned(study, place), *_finished(study, contents.values())):
            cells.setdefault(cell.name, cell)
            if study not in studies.setdefault(cell.name, []):
                studies[cell.name].append(study)
    jobs = []
    position: dict[str, int] = {}
    for cell in cells.values():
        position.setdefault(cell.training, len(position))
    in_order = sorted(cells.values(), key=lambda cell: (position[cell.training], cell.epochs))
    for _, stages in itertools.groupby(in_order, key=lambda cell: cell.training):
        previous = 0
        for cell in stages:
            jobs.append(_job(cell, studies[cell.name], contents.get(cell.name), previous))
            previous = cell.epochs
    return jobs


def _contents(bench: Bench, place: Place) -> Iterator[Content]:
    for path in sorted((place.results / bench.name).glob("*_seed*.json")):
        yield read_cell(path)


def _trained(study: Study) -> list[Row]:
    return [row for row in study.rows if row.recipe is not None]


def _planned(study: Study, place: Place) -> Iterator[Cell]:
    """Return the cells of a study's own setting, and of its reduced setting or else of its quick one."""
    settings = [(Setting(precision=place.precision), study.seeds)]
    if study.reduced is not None:
        settings.append((study.reduced, study.seeds))
    elif study.quick is not None:
        settings.append((study.quick, study.seeds[:1]))
    for setting, seeds in settings:
        for seed, data, row in itertools.product(seeds, study.data, _trained(study)):
            same = setting.epochs == row.epochs_on(data)
            yield Cell(row, data, seed, replace(setting, epochs=0) if same else setting)


def _finished(study: Study, contents: Iterable[Content]) -> Iterator[Cell]:
    """Return the finished cells of a study in any setting."""
    rows = {row.name: row for row in study.rows}
    for setting, cells in by_setting(study, contents).items():
        for (name, data), of_seeds in cells.items():
            yield from (Cell(rows[name], data, content["seed"], setting) for content in of_seeds)


def _tiny(study: Study) -> Iterator[Cell]:
    """Return one epoch of the first, middle and last rows of a study on a few of scikit-learn's digits."""
    rows = _trained(study)
    step = max(1, -(-len(rows) // TINY_ROWS))
    for row in rows[::step]:
        assert row.recipe is not None
        width = TINY_WIDTH / max(row.recipe.for_dataset("digits").widths)
        yield Cell(row, "digits", 0, Setting(epochs=1, width=width, images=TINY_IMAGES, batch_size=TINY_IMAGES // 2))


def _job(cell: Cell, studies: Sequence[Study], content: Content | None, previous: int) -> Job:
    """Return a cell as a job.

    Args:
        cell: The cell.
        studies: The studies that show it.
        content: The finished cell, None if it is not finished.
        previous: Number of epochs of the stage before it.
    """
    recipe = cell.recipe()
    shape, num_classes, train, validation = SIZES[cell.data]
    images = cell.setting.images or train + (0 if cell.row.validation else validation)
    epochs = cell.epochs - (previous if content is None else 0)
    work, is_convolutional = multiply_adds(recipe, shape, num_classes)
    suffix = ", bf16" if cell.setting.precision == "bf16" else ""
    passes = 1 if recipe.negatives is None and recipe.label_encoder is None else 2
    return Job(
        name=cell.name,
        studies=tuple(study.name for study in studies),
        goal=f"{cell.row.name} on {cell.data}, seed {cell.seed}",
        setting=replace(cell.setting, precision="float32").description() if _is_smaller(cell.setting) else "",
        data=cell.data,
        work=float(passes * epochs * images * work),
        kind=("convolutional" if is_convolutional else "dense") + suffix,
        steps=epochs * -(-images // recipe.batch_size),
        is_finished=content is not None,
        seconds=None if content is None else content["seconds"],
        device="" if content is None else content["device"],
        training=cell.training,
        stage=cell.epochs,
        key=(studies[0], cell),
    )


def _is_smaller(setting: Setting) -> bool:
    """Return whether a setting differs from the study's own in more than its precision."""
    return replace(setting, precision="float32") != Setting()


def multiply_adds(recipe: Recipe, input_shape: tuple[int, ...], num_classes: int) -> tuple[int, bool]:
    """Return the multiply-adds of one sample's forward pass, and whether the network has convolutions.

    Args:
        recipe: The recipe.
        input_shape: Shape of one input.
        num_classes: Number of classes.
    """
    key = f"{recipe.architecture!r} {recipe.label_encoder!r}"
    return _multiply_adds(_Layers(key, recipe), recipe.widths, input_shape, num_classes)


class _Layers:
    """A recipe that equals others with the same layers, since the layers are all that counts here."""

    def __init__(self, key: str, recipe: Recipe) -> None:
        self.key, self.recipe = key, recipe

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Layers) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@functools.cache
def _multiply_adds(
    layers: _Layers, widths: tuple[int, ...], input_shape: tuple[int, ...], num_classes: int
) -> tuple[int, bool]:
    """Extrapolate from two narrow networks: with the width factor f, layers cost a f (the first) and b f^2 (others)."""
    small = PROBED_WIDTH / min(widths)
    counts = []
    for factor in (small, 2 * small):
        recipe = layers.recipe.replace(standardize=False, widths=tuple(round(factor * width) for width in widths))
        with torch.random.fork_rng(devices=[]):
            counter = _Counter(recipe.model(input_shape, num_classes))
        counts.append(counter(input_shape))
    b = (counts[1] - 2 * counts[0]) / (2 * small**2)
    a = counts[0] / small - b * small
    return round(a + b), counter.is_convolutional


class _Counter:
    """Counts the multiply-adds of the dense layers and convolutions of a model.

    Args:
        model: The model.
    """

    def __init__(self, model: Network) -> None:
        self.model = model
        self.layers = [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
        self.is_convolutional = any(isinstance(layer, nn.Conv2d) for layer in self.layers)
        self.counts: dict[nn.Module, float] = {}
        for layer in self.layers:
            layer.register_forward_hook(self._count)

    @torch.no_grad()
    def __call__(self, input_shape: tuple[int, ...]) -> float:
        """Return the multiply-adds of one sample."""
        self.model.activations(torch.zeros(2, *input_shape))  # two samples, for batch normalization
        # A first layer with a label is not called as a module, since its response to the label is computed apart.
        for layer in self.layers:
            positions = math.prod(input_shape[1:]) if isinstance(layer, nn.Conv2d) else 1
            self.counts.setdefault(layer, positions * layer.weight.numel())
        return sum(self.counts.values())

    def _count(self, layer: Any, inputs: Any, output: torch.Tensor) -> None:
        self.counts[layer] = output[0].numel() * layer.weight[0].numel()
