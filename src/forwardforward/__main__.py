"""The command line: ``python -m forwardforward``, also installed as ``forwardforward``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from forwardforward import __version__
from forwardforward.data import available
from forwardforward.recipes import RECIPES, get
from forwardforward.runs import Run, RunConfig
from forwardforward.training import CheckpointError, TrainingDiverged

__all__ = ["main"]

#: What a user's slip or the world's raises; everything else is a mistake of ours and shows its traceback.
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, CheckpointError, TrainingDiverged)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process unless given.

    Returns:
        Exit status: 0, 2 for a slip of the user's, 130 when interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    try:
        options.action(options, words)
    except USER_ERRORS as error:
        print(f"forwardforward: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        where = getattr(options, "folder", None) or "RUN"
        print(f"\nforwardforward: interrupted; go on with: forwardforward train --resume {where}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forwardforward", description="Train Forward-Forward networks: every layer by an objective of its own."
    )
    parser.add_argument("--version", action="version", version=f"forwardforward {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe on a data set, into a run folder")
    train.set_defaults(action=_train)
    train.add_argument("data", nargs="?", help=f"{', '.join(available())}, or the path of an .npz (default: digits)")
    train.add_argument("--recipe", help="see `forwardforward recipes` (default: hinton)")
    train.add_argument("--epochs", type=int, help="passes over the training data (default: the recipe's)")
    train.add_argument("--batch-size", type=int, help="samples a step (default: the recipe's)")
    train.add_argument("--hidden", type=_widths, metavar="W,W,...", help="widths of the layers (default: the recipe's)")
    train.add_argument("--seed", type=int, help="of weights, order and draws; never of the splits (default: 0)")
    train.add_argument("--data-dir", help="folder that holds the data set's files (default: downloaded to a cache)")
    train.add_argument("--out", metavar="RUN", help="run folder (default: runs/DATA-RECIPE-SEED)")
    train.add_argument("--device", help="cpu, cuda, ... (default: a GPU where there is one)")
    train.add_argument("--precision", choices=("float32", "bf16"), help="of the products (default: float32)")
    train.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    train.add_argument(
        "--validation", action="store_true", default=None, help="hold out the fixed validation split, measure each epoch"
    )
    train.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, as it was configured")

    evaluate = commands.add_parser("evaluate", help="measure a run on its test set")
    evaluate.set_defaults(action=_evaluate)
    evaluate.add_argument("folder", metavar="RUN")
    for command in (train, evaluate):
        command.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    train.add_argument("--no-progress", action="store_true", help="no progress bar")

    recipes = commands.add_parser("recipes", help="list the recipes")
    recipes.set_defaults(action=_recipes)
    recipes.add_argument("name", nargs="?", help="show this recipe's hyperparameters")
    return parser


def _widths(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = ()
    if not widths or min(widths) < 1:
        raise argparse.ArgumentTypeError(f"takes widths such as 1000,1000, got {text!r}")
    return widths


def _train(options: argparse.Namespace, words: list[str]) -> None:
    if options.resume is None:
        run = _new_run(options, words)
    else:
        free = {"action", "resume", "json", "no_progress"}
        given = [name for name, value in vars(options).items() if name not in free and value is not None]
        if given:
            raise ValueError(f"--resume goes on under the run's own configuration and takes no {', '.join(given)}")
        run = Run.open(options.resume)
    options.folder = run.folder
    summary = run.train(progress=not options.no_progress)
    if options.json:
        print(json.dumps(summary))
    else:
        _print_errors(summary)
        minutes, seconds = divmod(round(summary["seconds"]), 60)
        print(f"{summary['epochs']} epochs in {minutes}:{seconds:02d} min, {summary['parameters']:,} parameters")
        print(f"summary: {run.folder / 'summary.json'}")
    try:
        note = f"curves:  {run.plot()}"
    except ImportError as error:
        note = f"no curves: {error}"
    print(note, file=sys.stderr if options.json else sys.stdout)


def _new_run(options: argparse.Namespace, words: list[str]) -> Run:
    data = options.data or "digits"
    name = options.recipe or "hinton"
    recipe = get(name).on(data)
    for option in ("epochs", "batch_size", "threads"):
        value = getattr(options, option)
        if value is not None and value < 1:
            raise ValueError(f"--{option.replace('_', '-')} must be at least 1, got {value}")
    seed = options.seed or 0
    config = RunConfig(
        data=data,
        recipe=name,
        hidden=options.hidden or recipe.hidden,
        epochs=options.epochs or recipe.epochs,
        batch_size=options.batch_size or recipe.batch_size,
        seed=seed,
        data_dir=options.data_dir,
        device=_device(options.device),
        precision=options.precision or "float32",
        threads=options.threads or torch.get_num_threads(),
        validation=bool(options.validation),
        command=" ".join(["python -m forwardforward", *_without_paths(words)]),
    )
    out = Path(options.out) if options.out else _free_folder(Path("runs") / f"{Path(data).stem}-{name}-{seed}")
    if (out / "config.json").exists():
        return Run.create(out, config)  # which says what to do instead
    splits = Run(out, config).splits()  # before anything is written: the data may not be there
    Run(out, config).model(splits)
    return Run.create(out, config)


def _without_paths(words: list[str]) -> list[str]:
    """The command as others would give it: where the data lie and where the run is kept is everybody's own."""
    kept, skip = [], False
    for word in words:
        if skip or word in ("--data-dir", "--out"):
            skip = not skip
        elif not word.startswith(("--data-dir=", "--out=")):
            kept.append(word)
    return kept


def _device(name: str | None) -> str:
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device must be one that is here, such as cpu, got {name!r}: {reason}") from error
    return name


def _free_folder(folder: Path) -> Path:
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _evaluate(options: argparse.Namespace, words: list[str]) -> None:
    run = Run.open(options.folder)
    result = run.evaluate()
    figures: dict[str, Any] = {"data": run.config.data, "recipe": run.config.recipe, "test_error": result.error}
    figures |= {key: value for key, value in result.to_dict().items() if key != "error"}
    if options.json:
        print(json.dumps(figures))
    else:
        _print_errors(figures)


def _print_errors(figures: dict[str, Any]) -> None:
    """Print the table of test errors."""
    rows = [(f"layer {i + 1}", error) for i, error in enumerate(figures["layer_errors"] or [])]
    rows += [("one-pass head", figures["head_error"])] if figures["head_error"] is not None else []
    print(f"{figures['recipe']} on {Path(figures['data']).name}: test error")
    for name, error in [*rows, ("model", figures["test_error"])]:
        print(f"  {name:<14}{error:6.2f} %")


def _recipes(options: argparse.Namespace, words: list[str]) -> None:
    if options.name is not None:
        for name, value in get(options.name).table().items():
            print(f"{name:<14}{value}")
        return
    width = max(map(len, RECIPES))
    for name, recipe in RECIPES.items():
        print(f"{name:<{width}}  {recipe.summary}")


if __name__ == "__main__":
    sys.exit(main())
