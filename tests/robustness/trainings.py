"""Small trainings of every kind, each of which is started and resumed by the same call, and the files they leave."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import itertools
import json
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import forwardforward as ff
from forwardforward.__main__ import main
from forwardforward.data import Compose, RandomCrop, RandomFlip, load
from forwardforward.data.text import MeanVectors, NGrams, Representation, Word2Vec, WordSequence
from forwardforward.recipes import RECIPES, Recipe, get
from forwardforward.runs import Run, RunConfig
from forwardforward.training import Callback, Checkpoint, CSVLog, EarlyStopping, GrowNetwork, JSONLog
from forwardforward.update_schedules import EndToEnd, Greedy, Overlapping

imdb = sys.modules["forwardforward.data.sources.imdb"]  # the package contains a function of this name

#: What differs between two equal trainings.
TIMES = ("seconds", "total_seconds")

#: Widths of recipes whose widths must be multiples of the number of classes.
WIDTHS = {"class-groups": (20, 20), "cwcomp": (20, 20, 20, 20), "deeperforward": (10, 20), "hcl-ff": (10, 20)}

#: Recipes that are also trained with checkpoints within epochs.
WITHIN_EPOCHS = (
    "hinton", "best-mlp", "unsupervised", "scff", "mono", "class-groups", "cwcomp", "deeperforward", "hcl-ff",
    "trifecta-s", "imdb-bag", "imdb-sequence", "imdb-symba", "backprop", "feedback-alignment", "pepita",
)  # fmt: skip

#: Minutes between checkpoints within an epoch: one per step.
OFTEN = 1e-9

SENTENCES = {
    "pos": ("A wonderful {}, truly moving.", "I loved the {}!", "The {} is superb<br /><br />and great fun."),
    "neg": ("A dreadful {}, truly boring.", "I hated the {}!", "The {} is awful<br /><br />and no fun."),
    "unsup": ("We saw the {} on Monday.", "The {} of this film is from 1997."),
}
THINGS = ("film", "plot", "acting", "music", "ending", "camera", "dialogue", "cast")


@dataclasses.dataclass(frozen=True)
class Training:
    """A training that can be killed.

    Args:
        run: Trains in a folder to the end, or resumes the training that the folder contains; returns what the user
            gets, for comparison.
        prepare: Writes the data set into the folder.
    """

    run: Callable[[Path], dict[str, Any]]
    prepare: Callable[[Path], None]


class Stopped(Exception):  # noqa: N818 - not an error: the command ended by a signal, as it should
    """The command line ended with a status other than 0."""


def write_images(folder: Path) -> None:
    """Write ``data.npz``: 10 classes of 12 images of (8, 8)."""
    random = np.random.default_rng(0)
    labels = np.arange(120) % 10
    patterns = random.random((10, 8, 8), dtype=np.float32)
    np.savez(folder / "data.npz", x=patterns[labels] + random.random((120, 8, 8), dtype=np.float32), y=labels)


def write_reviews(folder: Path) -> None:
    """Write ``aclImdb``: 18 training and 6 test reviews per class, and 16 unlabeled ones."""
    for kind, patterns in SENTENCES.items():
        for number, (thing, pattern) in enumerate(itertools.product(THINGS, patterns)):
            part = "test" if kind != "unsup" and number >= 18 else "train"
            file = folder / "aclImdb" / part / kind / f"{number}_0.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(pattern.format(thing), encoding="utf-8")


def write_archive(folder: Path) -> None:
    """Write the reviews as the archive that is downloaded."""
    with tempfile.TemporaryDirectory() as place:
        write_reviews(Path(place))
        with tarfile.open(folder / imdb.ARCHIVE, "w:gz") as archive:
            archive.add(Path(place, imdb.FOLDER), imdb.FOLDER)


def unpack(folder: Path) -> dict[str, Any]:
    """Read the data set for the first time, from a downloaded archive."""
    imdb.SHA256 = hashlib.sha256((folder / imdb.ARCHIVE).read_bytes()).hexdigest()
    splits = load("imdb", folder, download=True, representation=_small_representation(MeanVectors()), progress=False)
    return {"train": splits.train.inputs, "test": splits.test.inputs}


def in_a_run_folder(
    recipe: Recipe, data: str = "data.npz", plot: bool = False, minutes: float | None = None, **settings: Any
) -> Training:
    """Train through :class:`Run`; a registered recipe is found by its name on resuming, as the command line does.

    Args:
        recipe: The recipe.
        data: The data set.
        plot: Whether to draw the curves.
        minutes: Minutes between checkpoints within an epoch.
        settings: Fields of the configuration.
    """
    registered = RECIPES.get(recipe.name) is not None and recipe.representation is None

    def run(folder: Path) -> dict[str, Any]:
        path, given = folder / "run", None if registered else recipe
        if (path / "config.json").exists():
            run = Run.open(path, recipe=given)
        else:
            place = str(folder / data) if data.endswith(".npz") else data
            made = recipe.for_dataset(place) if registered else recipe
            config = RunConfig.from_recipe(made, place, threads=1, seed=1, data_dir=str(folder), **settings)
            run = Run.create(path, config, recipe=given)
        run.train(progress=False, checkpoint_minutes=minutes)
        if plot:
            run.plot()
        return {"scores": run.load().scores(run.splits().test.inputs)}

    return Training(run, write_reviews if data == "imdb" else write_images)


def on_the_command_line(*words: str, longer: int | None = None) -> Training:
    """Train and evaluate by ``forwardforward``; the figure is drawn after the training.

    Args:
        words: Arguments of ``forwardforward train``.
        longer: Number of epochs that the run is trained for afterwards.
    """

    def run(folder: Path) -> dict[str, Any]:
        path = folder / "run"
        data = [str(folder / word) if word.endswith(".npz") else word for word in words]
        new = [*data, "--out", str(path), "--data-dir", str(folder), "--threads", "1", "--device", "cpu"]
        resumed = ["--resume", str(path)]
        begun = (path / "config.json").exists()
        commands = [] if begun and Run.open(path).config.epochs == longer else [resumed if begun else new]
        if longer is not None:
            commands.append([*resumed, "--epochs", str(longer)])
        for command in (*(["train", *command, "--no-progress"] for command in commands), ["evaluate", str(path)]):
            if status := main(command):
                raise Stopped(status)
        run = Run.open(path)
        return {"scores": run.load().scores(run.splits().test.inputs)}

    return Training(run, write_reviews if "imdb" in words else write_images)


def by_fit(make: Callable[[], nn.Module], **options: Any) -> Training:
    """Train by :func:`forwardforward.fit`. Callables among the options make a new value in every process."""

    def run(folder: Path) -> dict[str, Any]:
        images = load(folder / "data.npz")
        data = images.train_and_validation
        torch.manual_seed(3)
        model = make()
        values = {name: value(data, folder) if callable(value) else value for name, value in options.items()}
        if "validation" in values:
            values["validation"] = images.validation
            data = images.train
        history = ff.fit(
            model, values.pop("train", data), checkpoint=folder / "model.pt", resume=True, progress=False, **values
        )
        return {"history": history.epochs, "weights": model.state_dict(), "scores": model.scores(images.test.inputs)}

    return Training(run, write_images)


def _small(name: str, **changes: Any) -> Recipe:
    recipe = get(name)
    sizes = {"widths": WIDTHS.get(name, (12, 12)), "epochs": 3, "batch_size": 24}
    if recipe.representation is not None:
        sizes = {"widths": (6,) * len(recipe.widths), "epochs": 3, "batch_size": 8}
        changes.setdefault("representation", _small_representation(recipe.representation))
    return recipe.replace(**{**sizes, **changes})


def _small_representation(representation: Representation) -> Representation:
    if isinstance(representation, MeanVectors):
        return MeanVectors(Word2Vec(size=8, min_count=1, epochs=3), representation.weighting)
    return NGrams(300, 2, 30, 1) if isinstance(representation, NGrams) else WordSequence(300, 12)


def _custom(name: str, base: str, **changes: Any) -> Recipe:
    """Return a recipe that is not registered."""
    return dataclasses.replace(_small(base), name=name, data_settings={}, **changes)


def _pairs(*, dropout: float = 0.0, head: bool = True) -> nn.Module:
    activation = nn.Sequential(nn.ReLU(), nn.Dropout(dropout)) if dropout else nn.ReLU()
    return ff.FFSequential(
        ff.FFLinear(74, 16, activation=activation),
        ff.FFLinear(16, 16),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Concatenation(10),
        negatives=ff.negatives.HardLabel(),
        head=ff.heads.LinearHead(10) if head else None,
        num_classes=10,
    )


def _classes() -> nn.Module:
    return ff.FFSequential(
        ff.FFConv2d(1, 8, 3, padding=1),
        ff.FFConv2d(8, 8, 3, padding=1),
        goodness=ff.goodness.LearnedProjection(10),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(),
        num_classes=10,
    )


def _loader(data: ff.TensorData, folder: Path) -> DataLoader[Any]:
    assert data.targets is not None
    return DataLoader(TensorDataset(data.inputs, data.targets), 24, shuffle=True)  # with torch's global generator


def _loader_with_generator(data: ff.TensorData, folder: Path) -> DataLoader[Any]:
    assert data.targets is not None
    return DataLoader(TensorDataset(data.inputs, data.targets), 24, shuffle=True, generator=torch.Generator())


def _growth(data: ff.TensorData, folder: Path) -> list[Callback]:
    grow = GrowNetwork(lambda depth: ff.FFLinear(16, 16), condition=lambda history: len(history) in (1, 3))
    return [grow, EarlyStopping(2), CSVLog(folder / "log.csv"), JSONLog(folder / "log.jsonl")]


def _second_checkpoint(data: ff.TensorData, folder: Path) -> list[Callback]:
    return [Checkpoint(folder / "second.pt", every=2)]


def _adam(data: ff.TensorData, folder: Path) -> ff.LocalOptimizer:
    return ff.LocalOptimizer(torch.optim.Adam, lr=0.01, lr_schedule=ff.lr_schedules.Cosine(warmup=0.1))


def trainings() -> dict[str, Training]:
    """Return the trainings by name."""
    cases = {"archive of imdb": Training(unpack, write_archive)}
    cases |= {f"recipe {name}": in_a_run_folder(_small(name), "imdb") for name in RECIPES if name.startswith("imdb")}
    data = {"multi-label": "digit-pairs", "ordinal": "diabetes"}
    cases |= {
        f"recipe {name}": in_a_run_folder(_small(name), data.get(name, "data.npz"))
        for name in RECIPES
        if not name.startswith("imdb")
    }
    for name in ("hinton", "mono-conv"):
        cases[f"{name}, validation, figure"] = in_a_run_folder(_small(name), validation=True, plot=True)
        cases[f"{name}, bf16"] = in_a_run_folder(_small(name), precision="bf16")
    cases["hinton, 40 samples of digits, figure"] = in_a_run_folder(
        get("hinton").for_dataset("digits").replace(widths=(12, 12), epochs=3, batch_size=10),
        "digits",
        train_samples=40,
        plot=True,
    )
    schedules = {"greedy": Greedy(), "overlapping": Overlapping(2, "step"), "end to end": EndToEnd()}
    for name, schedule in schedules.items():
        cases[f"hinton, {name}"] = in_a_run_folder(_custom(name, "hinton", schedule=schedule))
    augment = Compose(RandomCrop(1), RandomFlip())
    cases["mono-conv, augmentation"] = in_a_run_folder(_custom("augmented", "mono-conv", augment=augment))
    for name in WITHIN_EPOCHS:
        data = "imdb" if name.startswith("imdb") else "data.npz"
        cases[f"recipe {name}, steps"] = in_a_run_folder(_small(name), data, minutes=OFTEN)
    for name in ("greedy", "overlapping"):
        cases[f"hinton, {name}, steps"] = in_a_run_folder(
            _custom(name, "hinton", schedule=schedules[name]), minutes=OFTEN
        )
    cases["mono-conv, augmentation, bf16, steps"] = in_a_run_folder(
        _custom("augmented", "mono-conv", augment=augment), minutes=OFTEN, precision="bf16"
    )
    options = ("--epochs", "3", "--batch-size", "24", "--widths")
    cases["command line, hinton"] = on_the_command_line("data.npz", *options, "12,12")
    cases["command line, mono, validation"] = on_the_command_line(
        "data.npz", "--recipe", "mono", "--validation", *options, "12,12"
    )
    cases["command line, deeperforward"] = on_the_command_line(
        "data.npz", "--recipe", "deeperforward", *options, "10,20"
    )
    cases["command line, hinton, steps"] = on_the_command_line(
        "data.npz", "--checkpoint-minutes", "0.001", "--epochs", "8", "--batch-size", "8", "--widths", "12,12"
    )
    cases["command line, mono, longer"] = on_the_command_line(
        "data.npz", "--recipe", "mono", "--epochs", "2", "--batch-size", "24", "--widths", "12,12", longer=4
    )
    cases["command line, imdb-bag"] = on_the_command_line("imdb", *options, "6,6")
    cases["command line, imdb-symba"] = on_the_command_line("imdb", "--recipe", "imdb-symba", *options, "6,6,6,6")
    fit_options = {"epochs": 4, "batch_size": 24, "seed": 2}
    cases["fit, pairs, dropout, validation"] = by_fit(
        lambda: _pairs(dropout=0.3), **fit_options, validation=True, optimizer=_adam
    )
    cases["fit, pairs, augmentation"] = by_fit(_pairs, **fit_options, augment=lambda data, folder: augment)
    cases["fit, classes, shuffling loader"] = by_fit(_classes, **fit_options, train=_loader)
    cases["fit, classes, loader with a generator"] = by_fit(_classes, **fit_options, train=_loader_with_generator)
    cases["fit, growth, early stopping, logs"] = by_fit(
        lambda: _pairs(head=False), **{**fit_options, "epochs": 6}, validation=True, callbacks=_growth
    )
    fit_options["checkpoint_minutes"] = OFTEN
    cases["fit, pairs, dropout, augmentation, steps"] = by_fit(
        lambda: _pairs(dropout=0.3), **fit_options, augment=lambda data, folder: augment, optimizer=_adam
    )
    cases["fit, classes, shuffling loader, steps"] = by_fit(_classes, **fit_options, train=_loader)
    cases["fit, classes, loader with a generator, steps"] = by_fit(
        _classes, **fit_options, train=_loader_with_generator
    )
    cases["fit, growth, early stopping, logs, steps"] = by_fit(
        lambda: _pairs(head=False), **{**fit_options, "epochs": 6}, validation=True, callbacks=_growth
    )
    cases["fit, second checkpoint"] = by_fit(_classes, **fit_options, callbacks=_second_checkpoint)
    return cases


def differences(expected: Any, actual: Any, place: str = "", folders: tuple[str, str] = ("", "")) -> Iterator[str]:
    """Yield the places where two values differ by a bit; times are not compared."""
    if isinstance(expected, str) and isinstance(actual, str) and all(folders):
        # A command quotes a folder whose name needs it.
        expected = expected.replace(folders[0], "FOLDER").replace("'", "")
        actual = actual.replace(folders[1], "FOLDER").replace("'", "")
    if type(expected) is not type(actual):
        yield f"{place}: {type(expected).__name__} and {type(actual).__name__}"
    elif isinstance(expected, dict):
        if expected.keys() != actual.keys():
            yield f"{place}: keys {sorted(map(str, expected.keys() ^ actual.keys()))}"
        for key in expected.keys() & actual.keys() - set(TIMES):
            yield from differences(expected[key], actual[key], f"{place}.{key}", folders)
    elif isinstance(expected, list | tuple):
        if len(expected) != len(actual):
            yield f"{place}: lengths {len(expected)} and {len(actual)}"
        for index, pair in enumerate(zip(expected, actual, strict=False)):
            yield from differences(*pair, f"{place}.{index}", folders)
    elif isinstance(expected, Tensor):
        if _bits(expected) != _bits(actual):
            yield f"{place}: tensors of shapes {tuple(expected.shape)} and {tuple(actual.shape)}"
    elif repr(expected) != repr(actual):
        yield f"{place}: {expected!r:.60} and {actual!r:.60}"


def _bits(tensor: Tensor) -> tuple[Any, ...]:
    flat = tensor.detach().contiguous().reshape(-1)
    return tensor.shape, tensor.dtype, flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def file_differences(expected: Path, actual: Path) -> Iterator[str]:
    """Yield the differences of all files in two folders."""
    names = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (expected, actual)]
    # Nothing removes the lock file of a process that was killed after it had unpacked the archive.
    for name in sorted(names[0] ^ names[1] - {".aclImdb.lock"}):
        yield f"{name} {'is missing' if name in names[0] else 'is left over'}"
    for name in sorted(names[0] & names[1]):
        if (expected / name).is_file() and "aclImdb" not in name:
            folders = (str(expected), str(actual))
            try:
                yield from differences(read(expected / name), read(actual / name), name, folders)
            except Exception as error:
                yield f"{name} cannot be read: {error!s:.200}"


def read(path: Path) -> Any:
    """Return the content of a file.

    Raises:
        Exception: If it is incomplete.
    """
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    content = path.read_bytes()
    if path.suffix == ".png" and not (content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")):
        raise ValueError(f"{path} is not a complete figure")
    return content
