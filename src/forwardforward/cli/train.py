"""``forwardforward train``: train a recipe on a data set, in a run folder."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from forwardforward._utils.checks import InputShapeError, TargetKindError
from forwardforward._utils.plugins import one_line
from forwardforward._utils.suggestions import did_you_mean
from forwardforward.cli.config_file import words_of_file
from forwardforward.cli.distributed import check_one_process, parallel_training
from forwardforward.cli.options import Parser, assignments, bounded, choose_device, widths
from forwardforward.cli.report import headline, print_errors
from forwardforward.data import available
from forwardforward.data.sources import TEXT_SOURCES
from forwardforward.recipes import RECIPES, Recipe, get, set_fields
from forwardforward.recipes.architectures import Dense
from forwardforward.runs import Run, RunConfig, differences
from forwardforward.training import Parallel

#: Default recipes of data sets for which ``hinton`` does not work.
DEFAULT_RECIPES = {"diabetes": "ordinal", "digit-pairs": "multi-label", "imdb": "imdb-trigrams"}

#: Fields of a recipe that have options of their own.
SIZES = ("widths", "epochs", "batch_size")

#: Options that must match the configuration of a resumed run.
FIXED = (
    "data", "recipe", "widths", "batch_size", "seed", "data_dir", "precision", "threads", "validation", "compile",
    "cuda_graph", "vectors", "teachers",
)  # fmt: skip


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("train", help="train a recipe on a data set, in a run folder")
    parser.set_defaults(action=_train, reduce="--widths or --batch-size", parser=parser)
    add = parser.add_argument
    add("data", nargs="?", help=f"{', '.join(available())}, or the path of an .npz file (default: digits)")
    add(
        "--recipe",
        help="see `forwardforward recipes` (default: hinton; imdb-trigrams, multi-label or ordinal where it does not "
        "fit)",
    )
    add(
        "--epochs",
        type=bounded(int, 1),
        help="passes over the training data (default: the recipe's); with --resume: the run's new number of epochs",
    )
    add("--batch-size", type=bounded(int, 1), help="samples per step (default: the recipe's)")
    add("--widths", type=widths, metavar="W,W,...", help="widths of the layers (default: the recipe's)")
    add(
        "--seed",
        type=bounded(int, 0, 2**63 - 1),
        help="random seed for weights, shuffling and sampling; splits are fixed (default: 0)",
    )
    add("--data-dir", help="folder of the data set's files (default: downloaded to a cache)")
    add("--vectors", metavar="FILE", help="word2vec or GloVe file, for text recipes (default: vectors are trained)")
    add("--out", metavar="RUN", help="run folder (default: runs/DATA-RECIPE-SEED)")
    add("--device", help="cpu, cuda, ... (default: a GPU if available; with --resume: the run's)")
    add("--precision", choices=("float32", "tf32", "bf16"), help="compute precision (default: float32)")
    add(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        help="another value of a recipe's field, such as lr=0.01 or 'loss=SymBa(alpha=2.0)'; may be repeated",
    )
    add("--config", metavar="FILE", help="TOML file with options and fields; those on the command line have priority")
    add(
        "--compile",
        action="store_true",
        default=None,
        help="compile the training step with torch.compile: slow start, faster steps",
    )
    add(
        "--cuda-graph",
        action="store_true",
        default=None,
        help="record the training step in a CUDA graph: faster steps of small layers on a GPU",
    )
    add(
        "--threads",
        type=bounded(int, 1, 4096),
        help="CPU threads (default: 1 for small dense layers, else torch's number)",
    )
    add(
        "--validation",
        action="store_true",
        default=None,
        help="hold out the validation split and evaluate on it instead of the test set",
    )
    add(
        "--teacher",
        metavar="RUN",
        action="append",
        help="learn also from the unlabeled texts of the data set (imdb), with the mean predictions of this trained "
        "run as targets; may be repeated",
    )
    add(
        "--checkpoint-minutes",
        type=bounded(float, 0.001),
        default=10.0,
        metavar="M",
        help="minutes between checkpoints within an epoch (default: 10)",
    )
    add(
        "--parallel",
        choices=("data", "pipeline"),
        help="train with the processes that torchrun started: each computes a part of every batch (data), or some of "
        "the layers (pipeline)",
    )
    add(
        "--shard",
        action="store_true",
        default=None,
        help="with --parallel data: each process has a part of the weights, gradients and optimizer states",
    )
    add("--resume", metavar="RUN", help="resume the run in this folder; --epochs N trains it longer")
    add("--json", action="store_true", help="print one JSON object on standard output")
    add("--no-progress", action="store_true", help="no progress bar")


def _train(options: argparse.Namespace) -> None:
    if options.config is not None:
        options = _with_file(options)
    if options.shard and options.parallel != "data":
        got = "no --parallel" if options.parallel is None else f"--parallel {options.parallel}"
        raise ValueError(f"--shard needs --parallel data, got {got}")
    if options.parallel is None:
        check_one_process("pass --parallel data or pipeline to train with them")
        run = _run(options)
        _report(options, run, _summary(options, run))
        return
    with parallel_training(options.parallel, bool(options.shard)) as (ranks, parallel):
        if ranks.is_main:
            run = _run(options, str(parallel.device))
        # The configuration too, since a new number of epochs is written only when the training begins.
        folder, config = ranks.broadcast_object((str(run.folder), run.config) if ranks.is_main else None)
        if not ranks.is_main:
            run = Run.open(folder)
            run.config = replace(config, device=str(parallel.device))
        summary = _summary(options, run, parallel)
        if ranks.is_main:
            _report(options, run, summary)


def _run(options: argparse.Namespace, device: str | None = None) -> Run:
    """Return the run to train: a new one, or that of ``--resume``, also after a restart by torchrun.

    Args:
        options: Options of the command line.
        device: Device of a process among several, in place of ``--device``.
    """
    if device is not None:
        if options.device is not None:
            raise ValueError(f"--device must be left out with --parallel, which uses {device}, got {options.device}")
        options.device = device
        restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        if restarted and options.resume is None and options.out and (Path(options.out) / "config.json").exists():
            options.resume = options.out
    return _new_run(options) if options.resume is None else _resumed_run(options)


def _summary(options: argparse.Namespace, run: Run, parallel: Parallel | None = None) -> dict[str, Any]:
    """Train, and return the summary."""
    is_main = parallel is None or parallel.is_main
    try:
        return run.train(
            [options.signals],
            progress=not options.no_progress,
            checkpoint_minutes=options.checkpoint_minutes,
            parallel=parallel,
        )
    except KeyboardInterrupt as error:
        error.args = (*(error.args or ("interrupted",)), f"resume with: {run.resume_command}")
        raise
    except (ValueError, TypeError):
        if options.resume is None and is_main:
            run.discard()  # training could not start: make the folder available again
        raise


def _report(options: argparse.Namespace, run: Run, summary: dict[str, Any]) -> None:
    """Draw the curves and print the results."""
    try:
        note = f"curves:  {run.plot()}"
    except (ImportError, OSError, ValueError) as error:  # the results are saved, so a missing figure is not an error
        note = f"no curves: {error}"
    if options.json:
        print(json.dumps(summary))
    else:
        print_errors(summary, headline(run.config, summary["epochs"]))
        minutes, seconds = divmod(round(summary["seconds"]), 60)
        print(f"{summary['epochs']} epochs in {minutes}:{seconds:02d} min, {summary['parameters']:,} parameters")
        print(f"summary: {run.folder / 'summary.json'}")
    print(note, file=sys.stderr if options.json else sys.stdout)


def _with_file(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options together with those of the configuration file, below those of the command line."""
    parser: Parser = options.parser
    words = words_of_file(options.config, parser)
    parser.source = options.config
    try:
        parser.parse_args(words)  # for errors that name the file
    finally:
        parser.source = None
    if options.data is not None and words and not words[0].startswith("--"):
        del words[0]
    command, *others = _without(options.words, "--config")
    return parser.parse_args(
        [*words, *others], argparse.Namespace(**{**vars(options), "set": None, "words": [command, *words, *others]})
    )


def _resumed_run(options: argparse.Namespace) -> Run:
    try:
        run = Run.open(options.resume)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"--resume: {error}") from error
    _check_options(options, run)
    if options.epochs is not None and options.epochs != run.config.epochs:
        if options.epochs < run.epochs_begun:
            raise ValueError(
                f"--epochs {options.epochs} is less than the {run.epochs_begun} epochs that the run in {run.folder} "
                "has begun"
            )
        run.check_recipe()
        run.set_epochs(options.epochs, write=False)  # only a training that begins leaves the new number in the folder
    run.config = replace(run.config, device=choose_device(options.device, run))
    return run


def _check_options(options: argparse.Namespace, run: Run) -> None:
    """Check that the options match the configuration of a resumed run."""
    if options.out is not None and Path(options.out).absolute() != run.folder.absolute():
        raise ValueError(f"--out contradicts --resume, which resumes the run in {run.folder}")
    given = {**vars(options), "teachers": _teachers(options) or None}
    settings = {name: value for name, value in given.items() if name in FIXED and value is not None}
    for name in settings.keys() & {"data", "data_dir", "vectors"}:
        settings[name] = _absolute(settings[name])
    saved = {name: value for name, value in vars(run.config).items() if name in settings}
    contradictions = {_option(name): pair for name, pair in differences(saved, settings).items()}
    recipe = run.recipe
    for name, text in assignments(options.set).items():
        try:
            changed = set_fields(recipe, {name: text})
        except (ValueError, TypeError) as error:
            raise type(error)(f"--set {error}") from error
        field = name.split(".")[0]
        if changed.table().get(field) != recipe.table().get(field):
            contradictions[f"--set {name}={text}"] = recipe.table().get(field, "none"), ""
    for option, (old, new) in contradictions.items():
        raise ValueError(
            f"{f'{option} {_text(new)}'.rstrip()} contradicts the run in {run.folder}, which has {_text(old)}: "
            "leave it out, or start another run with --out"
        )


def _new_run(options: argparse.Namespace) -> Run:
    data = options.data or "digits"
    if data not in available() and not data.endswith(".npz"):
        raise ValueError(
            f"data must be one of {', '.join(available())} or the path of an .npz file, got {data!r}"
            f"{did_you_mean(data, available())}"
        )
    if options.data_dir and data.endswith(".npz"):
        raise ValueError(f"--data-dir must be left out for an .npz file, got {options.data_dir}")
    name = options.recipe or DEFAULT_RECIPES.get(data, "hinton")
    vectors = os.path.abspath(options.vectors) if options.vectors else None
    if vectors is not None and not os.path.isfile(vectors):
        raise FileNotFoundError(f"--vectors: there is no file {options.vectors}")
    recipe = get(name).for_dataset(data)
    changes = assignments(options.set)
    if "representation" not in changes:
        _check_texts(recipe, data)
    elif vectors is not None:
        raise ValueError("--vectors and --set representation=... must not both be given")
    try:
        recipe = recipe.with_vectors(vectors)
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    recipe = _changed(recipe, options, changes)
    _check_texts(recipe, data)
    seed = options.seed or 0
    device = choose_device(options.device)
    if options.cuda_graph and not device.startswith("cuda"):
        raise ValueError(f"--cuda-graph must be left out on the device {device!r}: it needs a GPU with CUDA")
    if options.cuda_graph and options.parallel:
        raise ValueError("--cuda-graph must be left out with --parallel: the steps of one process are recorded")
    config = RunConfig.from_recipe(
        recipe,
        data=_absolute(data),
        changes={name: text for name, text in changes.items() if name not in SIZES},
        seed=seed,
        data_dir=_absolute(options.data_dir) if options.data_dir else None,
        device=device,
        precision=options.precision or "float32",
        threads=options.threads or _threads(recipe),
        compile=bool(options.compile),
        cuda_graph=bool(options.cuda_graph),
        vectors=vectors,
        validation=bool(options.validation),
        teachers=_teachers(options),
        # the folders are specific to the user
        command=f"python -m forwardforward {shlex.join(_command(options))}",
    )
    try:
        run = Run(options.out or _free_folder(Path("runs") / f"{Path(data).stem}-{name}-{seed}"), config)
        run.check_free()
    except ValueError as error:
        raise ValueError(f"--out: {error}") from error
    except OSError as error:
        raise type(error)(f"--out {error}; choose another --out") from None
    try:
        run.check_teachers()
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"--teacher: {error}") from error
    # Read the data and make the model before the folder, so that an error in data or widths leaves no folder behind.
    run.splits(progress=not options.no_progress)
    _check_model(run, "" if options.widths or "widths" in changes else " (the default)")
    run.begin()
    if "classifier" in changes and run.holds_out and not config.validation:
        print(
            f"the validation split is held out of the training, since classifier {recipe.classifier} chooses by it",
            file=sys.stderr,
        )
    return run


def _changed(recipe: Recipe, options: argparse.Namespace, changes: Mapping[str, str]) -> Recipe:
    """Return the recipe with the options' sizes and fields."""
    for name in SIZES:
        if name in changes and vars(options)[name] is not None:
            raise ValueError(f"{_option(name)} and --set {name}={changes[name]} must not both be given")
    sizes = {name: vars(options)[name] for name in SIZES if vars(options)[name] is not None}
    try:
        return set_fields(recipe, changes).replace(**sizes)
    except (ValueError, TypeError) as error:
        raise type(error)(f"--set {error}") from error


def _check_texts(recipe: Recipe, data: str) -> None:
    """Check that a recipe for texts is used for texts, before they are read."""
    if data in TEXT_SOURCES and recipe.representation is None:
        names = ", ".join(name for name, other in RECIPES.items() if other.representation is not None)
        raise ValueError(f"--recipe must be a recipe for texts for {data}, one of {names}, got {recipe.name}")
    if data not in TEXT_SOURCES and recipe.representation is not None:
        raise ValueError(f"--recipe {recipe.name} needs a data set of texts, {', '.join(TEXT_SOURCES)}, got {data}")


def _check_model(run: Run, origin: str) -> None:
    """Check that the recipe can make a model for the run's data and widths.

    Args:
        run: The run, with its data read.
        origin: Text after the widths in the error message.
    """
    config = run.config
    try:
        model = run.model()
        run.recipe.schedule(len(model.layers), 0, 0, config.epochs)
        run.recipe.local_optimizer().attach(model)
    except (InputShapeError, TargetKindError) as error:
        raise ValueError(f"data {Path(config.data).name} do not fit recipe {config.recipe}: {error}") from error
    except (ValueError, TypeError) as error:
        changes = "".join(f" --set {shlex.quote(f'{name}={text}')}" for name, text in config.changes.items())
        raise ValueError(
            f"--widths {_text(config.widths)}{origin}{changes} do not fit recipe {config.recipe} on data with "
            f"{run.splits().num_classes} classes: {one_line(error)}"
        ) from error


def _threads(recipe: Recipe) -> int:
    """Return 1 for dense layers with few activations per step, where more threads cost more than they save."""
    small = isinstance(recipe.architecture, Dense) and recipe.batch_size * max(recipe.widths) < 2**15
    return 1 if small else torch.get_num_threads()


def _absolute(path: str) -> str:
    """Return the absolute path of a file; names of data sets are returned unchanged."""
    return path if path in available() else os.path.abspath(path)


def _option(name: str) -> str:
    """Return the option of a setting."""
    return {"data": "data", "teachers": "--teacher"}.get(name, "--" + name.replace("_", "-"))


def _teachers(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the absolute paths of the teachers' folders."""
    return tuple(os.path.abspath(folder) for folder in options.teacher or ())


def _text(value: Any) -> str:
    if value is None or value == ():
        return "none"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _without(words: list[str], *options: str) -> list[str]:
    """Return the words of a command without some options and their values."""
    remaining = []
    skip = False
    for word in words:
        if skip or word in options:
            skip = not skip
        elif not word.startswith(tuple(f"{option}=" for option in options)):
            remaining.append(word)
    return remaining


def _command(options: argparse.Namespace) -> list[str]:
    """Return the words of the command without the user's folders; those of teachers are replaced by RUN."""
    words = _without(options.words, "--data-dir", "--out", "--teacher")
    return [*words, *(word for _ in options.teacher or () for word in ("--teacher", "RUN"))]


def _free_folder(folder: Path) -> Path:
    """Return the folder, with a number appended to its name if it exists."""
    number, candidate = 1, folder
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate
