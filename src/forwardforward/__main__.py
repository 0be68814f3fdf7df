"""The command line: ``python -m forwardforward``, also installed as ``forwardforward``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from forwardforward import __version__
from forwardforward._utils.checks import InputShapeError
from forwardforward._utils.options import (
    USER_ERRORS,
    Parser,
    bounded,
    chosen_device,
    one_line,
    plain_warnings,
    saying_what_saves_memory,
    widths,
)
from forwardforward.data import Splits, available
from forwardforward.recipes import RECIPES, Recipe, get
from forwardforward.recipes.architectures import Dense
from forwardforward.runs import Run, RunConfig

__all__ = ["main"]

#: Recipes for data that the usual one is not made for.
DEFAULT_RECIPES = {"imdb": "imdb-bag"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process unless given.

    Returns:
        Exit status: 0, 1 where nobody reads the output, 2 for a slip of the user's, 130 when interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    try:
        with plain_warnings("forwardforward"), saying_what_saves_memory("--widths or --batch-size"):
            options.action(options, words)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains on its way out
        return 1
    except USER_ERRORS as error:
        return _end(one_line(error), 2)
    except KeyboardInterrupt:
        run = getattr(options, "run", None)
        return _end("interrupted" if run is None else f"interrupted; go on with: {run.resume_command}", 130)
    return 0


def _end(message: str, status: int) -> int:
    print(f"forwardforward: {' '.join(message.split())}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="forwardforward",
        description="Train Forward-Forward networks: every layer by an objective of its own.",
    )
    parser.add_argument("--version", action="version", version=f"forwardforward {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe on a data set, into a run folder")
    train.set_defaults(action=_train)
    train.add_argument("data", nargs="?", help=f"{', '.join(available())}, or the path of an .npz (default: digits)")
    train.add_argument("--recipe", help="see `forwardforward recipes` (default: hinton; imdb-bag for imdb)")
    train.add_argument("--epochs", type=bounded(int, 1), help="passes over the training data (default: the recipe's)")
    train.add_argument("--batch-size", type=bounded(int, 1), help="samples a step (default: the recipe's)")
    train.add_argument("--widths", type=widths, metavar="W,W,...", help="widths of the layers (default: the recipe's)")
    train.add_argument(
        "--seed",
        type=bounded(int, 0, 2**63 - 1),
        help="of weights, order and draws; never of the splits (default: 0)",
    )
    train.add_argument("--data-dir", help="folder that holds the data set's files (default: downloaded to a cache)")
    train.add_argument(
        "--vectors", metavar="FILE", help="word2vec or GloVe, for recipes of texts (default: vectors are trained)"
    )
    train.add_argument("--out", metavar="RUN", help="run folder (default: runs/DATA-RECIPE-SEED)")
    train.add_argument("--device", help="cpu, cuda, ... (default: a GPU where there is one; on --resume: the run's)")
    train.add_argument("--precision", choices=("float32", "bf16"), help="of the products (default: float32)")
    train.add_argument(
        "--compile", action="store_true", default=None, help="torch.compile the layers: slow to begin, faster steps"
    )
    train.add_argument(
        "--threads", type=bounded(int, 1, 4096), help="CPU threads (default: one for small steps, else torch's choice)"
    )
    train.add_argument(
        "--validation",
        action="store_true",
        default=None,
        help="to choose by: hold out the fixed validation split, measure it, leave the test set unread",
    )
    train.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, as it was configured")

    evaluate = commands.add_parser("evaluate", help="measure a run on its test set")
    evaluate.set_defaults(action=_evaluate)
    evaluate.add_argument("folder", metavar="RUN")
    evaluate.add_argument("--data-dir", help="folder that holds the data set's files (default: the run's)")
    evaluate.add_argument("--device", help="cpu, cuda, ... (default: the run's)")
    for command in (train, evaluate):
        command.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    train.add_argument("--no-progress", action="store_true", help="no progress bar")

    recipes = commands.add_parser("recipes", help="list the recipes")
    recipes.set_defaults(action=_recipes)
    recipes.add_argument("name", nargs="?", help="show this recipe's hyperparameters")
    return parser


def _train(options: argparse.Namespace, words: list[str]) -> None:
    if options.resume is None:
        run = _new_run(options, words)
    else:
        run = Run.open(options.resume)
        _refuse_contradictions(options, run)
        run.config = replace(run.config, device=chosen_device(options.device or run.config.device))
    options.run = run  # what an interruption names
    try:
        summary = run.train(progress=not options.no_progress)
    except (ValueError, TypeError):
        if options.resume is None:
            run.discard()  # it could not begin: its place stays free for the next try
        raise
    if options.json:
        print(json.dumps(summary))
    else:
        _print_errors(summary)
        minutes, seconds = divmod(round(summary["seconds"]), 60)
        print(f"{summary['epochs']} epochs in {minutes}:{seconds:02d} min, {summary['parameters']:,} parameters")
        print(f"summary: {run.folder / 'summary.json'}")
    try:
        note = f"curves:  {run.plot()}"
    except (ImportError, OSError) as error:  # a run does not fail for a picture
        note = f"no curves: {error}"
    print(note, file=sys.stderr if options.json else sys.stdout)


def _refuse_contradictions(options: argparse.Namespace, run: Run) -> None:
    if options.out is not None and Path(options.out).absolute() != run.folder.absolute():
        raise ValueError(f"--out contradicts --resume, which goes on in {run.folder}")
    for one in fields(RunConfig):
        value, own = getattr(options, one.name, None), getattr(run.config, one.name)
        if one.name == "device":  # a run may go on elsewhere, if not bit for bit
            continue
        if one.name in ("data_dir", "data", "vectors") and value is not None:
            value = _found(value)
        if value is not None and value != own:
            option = "data" if one.name == "data" else "--" + one.name.replace("_", "-")
            raise ValueError(
                f"{option} {_shown(value)} contradicts the run in {run.folder}, which has {_shown(own)}: "
                "leave it out, or begin another run with --out"
            )


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _threads(recipe: Recipe) -> int:
    """One thread for dense layers of few activations a step: two would spend their time waiting for each other."""
    small = isinstance(recipe.architecture, Dense) and recipe.batch_size * max(recipe.widths) < 2**15
    return 1 if small else torch.get_num_threads()


def _new_run(options: argparse.Namespace, words: list[str]) -> Run:
    data = options.data or "digits"
    if data not in available() and not data.endswith(".npz"):
        raise ValueError(f"data must be one of {', '.join(available())} or the path of an .npz file, got {data!r}")
    name = options.recipe or DEFAULT_RECIPES.get(data, "hinton")
    vectors = os.path.abspath(options.vectors) if options.vectors else None
    if vectors is not None and not os.path.isfile(vectors):
        raise FileNotFoundError(f"--vectors: there is no file {options.vectors}")
    recipe = get(name).for_dataset(data)
    try:
        recipe = recipe.with_vectors(vectors)
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    sizes = ("widths", "epochs", "batch_size")
    chosen = {size: getattr(options, size) or getattr(recipe, size) for size in sizes}
    recipe = recipe.replace(**chosen)
    seed = options.seed or 0
    config = RunConfig(
        data=_found(data),
        recipe=name,
        **chosen,
        seed=seed,
        data_dir=_found(options.data_dir) if options.data_dir else None,
        device=chosen_device(options.device),
        precision=options.precision or "float32",
        threads=options.threads or _threads(recipe),
        compile=bool(options.compile),
        vectors=vectors,
        validation=bool(options.validation),
        command=" ".join(["python -m forwardforward", *_without_paths(words)]),
        table=recipe.table(),
    )
    default = Path("runs") / f"{Path(data).stem}-{name}-{seed}"
    out = Path(options.out) if options.out else _free_folder(default)
    run = Run(out, config)
    run.check_free()
    splits = run.splits(progress=not options.no_progress)
    _check_fit(run, splits, "" if options.widths else " (the default)")  # before anything is written
    run.begin()
    return run


def _check_fit(run: Run, splits: Splits, whose: str) -> None:
    """Refuse data and widths that the recipe makes no network of.

    Args:
        run: The run, not begun.
        splits: Its data.
        whose: What to say of the widths where they are not the user's.
    """
    config = run.config
    try:
        model: Any = run.model(splits)
        config.sized_recipe().schedule(len(model), 0, 0, config.epochs)
    except InputShapeError as error:
        raise ValueError(f"data {Path(config.data).name} do not fit recipe {config.recipe}: {error}") from error
    except ValueError as error:
        raise ValueError(
            f"--widths {_shown(config.widths)}{whose} do not fit recipe {config.recipe} on data with "
            f"{splits.num_classes} classes: {error}"
        ) from error


def _found(path: str) -> str:
    """A path that means the same from every folder; names of data sets stay."""
    return path if path in available() else os.path.abspath(path)


def _without_paths(words: list[str]) -> list[str]:
    """The command as others would give it, without the places of data and run."""
    kept, skip = [], False
    for word in words:
        if skip or word in ("--data-dir", "--out"):
            skip = not skip
        elif not word.startswith(("--data-dir=", "--out=")):
            kept.append(word)
    return kept


def _free_folder(folder: Path) -> Path:
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _evaluate(options: argparse.Namespace, words: list[str]) -> None:
    run = Run.open(options.folder)
    result = run.evaluate(chosen_device(options.device or run.config.device), options.data_dir)
    config = run.config
    figures: dict[str, Any] = {"data": config.data, "recipe": config.recipe, "measured_on": "test"}
    figures["test_error"] = result.error
    figures |= {key: value for key, value in result.to_dict().items() if key != "error"}
    if options.json:
        print(json.dumps(figures))
    else:
        _print_errors(figures)


def _print_errors(figures: dict[str, Any]) -> None:
    """Print the table of errors."""
    rows = [(f"layer {i + 1}", error) for i, error in enumerate(figures["layer_errors"] or [])]
    rows += [("one-pass head", figures["head_error"])] if figures["head_error"] is not None else []
    measured = figures["measured_on"]
    print(f"{figures['recipe']} on {Path(figures['data']).name}: {measured} error")
    for name, error in [*rows, ("model", figures[f"{measured}_error"])]:
        print(f"  {name:<14}{error:6.2f} %")


def _recipes(options: argparse.Namespace, words: list[str]) -> None:
    if options.name is not None:
        recipe = get(options.name)
        _print_fields(recipe.table())
        for data, changes in recipe.differences().items():
            print(f"on {data}:")
            _print_fields(changes, "  ")
        return
    width = max(map(len, RECIPES))
    for name, recipe in RECIPES.items():
        print(f"{name:<{width}}  {recipe.summary}")


def _print_fields(table: dict[str, str], indent: str = "") -> None:
    for name, value in table.items():
        print(f"{indent}{name:<{16 - len(indent)}}{value}")


if __name__ == "__main__":
    sys.exit(main())
