"""Studies: tables of cells, each one training, which can be stopped at any moment and gone on with.

A study's rows are trainings, its columns data sets. Each seed of each is a cell, and each finished cell is one JSON
file: what was trained and how, its test accuracy, and its history in short. Studies of one bench share their cells, so
that a training which stands in two tables runs once; rows of one *line* are stages of one training. A cell under way
keeps a checkpoint. The test set is read when a cell is finished and not before, and nothing is chosen by it.

A cell that was run for fewer epochs, with fewer channels or on fewer images than its study says is another cell, and
is shown under a heading that says so. A bench is a module:

    BENCH = Bench("benchmarks.mine", studies=(Study("table1", "Table 1", rows=(...), data=("mnist",)),))

    if __name__ == "__main__":
        sys.exit(BENCH.main())
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

import forwardforward as ff
from forwardforward.recipes import Recipe
from forwardforward.training import Callback, CheckpointError, FitState, History, TrainingDiverged

__all__ = ["Bench", "Cell", "Options", "Row", "Setting", "Study", "render"]

ROOT = Path(__file__).parents[1]

#: What the tables call the data sets.
DATA = {
    "mnist": "MNIST",
    "fashion-mnist": "F-MNIST",
    "svhn": "SVHN",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "digits",
}

#: What a user's slip or the world's raises; everything else is a mistake of ours and shows its traceback.
USER_ERRORS = (ValueError, OSError, ImportError, CheckpointError)

#: Figures of the layers that a cell keeps of its history, of at most so many epochs.
FIGURES = ("loss", "accuracy", "positive", "negative", "separation", "gradient_norm", "largest_weight")
KEPT_EPOCHS = 100

#: Largest number of activations held at once in classification on a GPU.
GPU_CHUNK = 2**27

Content = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of a table: a training, looked at after some of its epochs, or figures that others report.

    Args:
        line: Name of the training, the same in all studies of a bench.
        label: What the table calls it.
        recipe: What is trained; None where only the reported figures are shown.
        epochs: After how many epochs the row is measured.
        of: For how many epochs the recipe's schedules are made; as many as are trained unless given.
        paper: The reported figure by data set, as printed.
        shows: Which figure of a cell's result the row shows.
        validation: Whether the validation images are held out and measured each epoch, for curves.
    """

    line: str
    label: str
    recipe: Recipe | None = None
    epochs: int = 0
    of: int = 0
    paper: Mapping[str, str] = field(default_factory=dict)
    shows: str = "accuracy"
    validation: bool = False

    @property
    def name(self) -> str:
        """What `--rows` calls it."""
        return f"{self.line}-{self.epochs}"

    @property
    def titled(self) -> str:
        """What a sentence calls it."""
        return f"{self.label}, {_count(self.epochs, 'epoch')}"


@dataclass(frozen=True, order=True)
class Setting:
    """In what a cell differs from its row; nothing unless given.

    Args:
        epochs: Length of the training, to which the schedules shrink or stretch.
        width: Factor on the widths of all layers.
        images: Number of training images, of all classes alike.
        precision: ``"float32"`` or ``"bf16"``.
    """

    epochs: int = 0
    width: float = 1.0
    images: int = 0
    precision: str = "float32"

    def words(self) -> str:
        """Say it in plain words, "" for a whole cell."""
        parts = [
            f"{_count(self.epochs, 'epoch')}" if self.epochs else "",
            f"{self.width:g} times the width" if self.width != 1 else "",
            f"{self.images:,} training images" if self.images else "",
            f"products in {self.precision}" if self.precision != "float32" else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Options:
    """Where and how cells are run; nothing here changes what they are.

    Args:
        out: Folder of the finished cells.
        work: Folder of the checkpoints.
        data_dir: Folder of the data sets' files, or None for the default one.
        device: Where to compute.
        threads: Number of CPU threads, or None for torch's choice.
        deadline: When to stop, as of ``time.monotonic``.
        progress: Whether to show a progress bar.
    """

    out: Path
    work: Path
    data_dir: str | None = None
    device: str = "cpu"
    threads: int | None = None
    deadline: float = math.inf
    progress: bool = False


class Until(Callback):
    """Ends a training at a stage or at a time, whichever comes first; the checkpoint is kept."""

    def __init__(self, epochs: int, deadline: float) -> None:
        self.epochs = epochs
        self.deadline = deadline

    def on_fit_begin(self, state: FitState) -> None:
        """Look before the first epoch too: a later stage may go on from here."""
        state.stop = len(state.history) >= self.epochs or time.monotonic() >= self.deadline

    on_epoch_end = on_fit_begin


@dataclass(frozen=True)
class Cell:
    """One training of a row, with one data set, seed and setting."""

    row: Row
    data: str
    seed: int
    setting: Setting = Setting()

    @property
    def epochs(self) -> int:
        """After how many epochs it is measured."""
        return self.setting.epochs or self.row.epochs

    @property
    def of(self) -> int:
        """For how many epochs the schedules are made."""
        return max(self.epochs, round((self.row.of or self.row.epochs) * self.epochs / self.row.epochs))

    @property
    def training(self) -> str:
        """Name of the training, of which the cell is a stage."""
        reduced = [
            f"width{self.setting.width:g}" if self.setting.width != 1 else "",
            f"images{self.setting.images}" if self.setting.images else "",
            self.setting.precision if self.setting.precision != "float32" else "",
        ]
        return "_".join([self.row.line, self.data, *filter(None, reduced), f"seed{self.seed}", f"of{self.of}"])

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.training}_epochs{self.epochs}"

    def recipe(self) -> Recipe:
        """The recipe with the cell's sizes."""
        assert self.row.recipe is not None
        recipe = self.row.recipe.on(self.data)
        hidden = tuple(max(1, round(width * self.setting.width)) for width in recipe.hidden)
        return recipe.with_(hidden=hidden, epochs=self.of)

    def config(self) -> Content:
        """Everything that decides the training, in words."""
        held = {"validation": "held out, measured each epoch"} if self.row.validation else {}
        sizes = {"data": self.data, "seed": self.seed, "images": self.setting.images or "all"}
        return {**sizes, "precision": self.setting.precision, **held, **self.recipe().table()}

    def read(self, out: Path) -> Content | None:
        """Return the finished cell, None if it is not finished.

        Raises:
            ValueError: If it was trained otherwise than the study now says.
        """
        path = out / f"{self.name}.json"
        if not path.exists():
            return None
        content: Content = json.loads(path.read_text(encoding="utf-8"))
        self._compare(content["config"], path, "cell")
        return content

    def run(self, options: Options, readings: Callable[..., Content] | None, command: str) -> Content | None:
        """Train, going on where a checkpoint is, and keep the finished cell; None if the time was up before.

        Args:
            options: Where and how.
            readings: Further figures of the result, from the trained model and the test set.
            command: What made the cell, to be kept in it.
        """
        recipe, work = self.recipe(), options.work / self.training
        splits = _splits(recipe, self.data, options.data_dir)
        train = self._train(splits)
        self._claim(work)
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(self.seed)
        model: Any = recipe.model(splits.input_shape, splits.num_classes)
        result: Content
        if options.device != "cpu" and hasattr(model, "chunk"):
            model.chunk = GPU_CHUNK
        try:
            history = ff.fit(
                model,
                train,
                validation=splits.validation if self.row.validation else None,
                epochs=self.of,
                batch_size=recipe.batch_size,
                optimizer=recipe.optimizer(),
                schedule=recipe.schedule,
                seed=self.seed,
                device=options.device,
                precision=self.setting.precision,
                augment=recipe.augment,
                callbacks=[Until(self.epochs, options.deadline)],
                progress=options.progress,
                checkpoint=work / "checkpoint.pt",
                resume=True,
            )
        except TrainingDiverged as error:
            history, result = History(), {"diverged": str(error)}
        else:
            if len(history) < self.epochs:
                return None
            if len(history) > self.epochs:
                raise ValueError(f"{work} has gone past epoch {self.epochs} of {self.name}; remove it to train anew")
            found = ff.evaluate(model, splits.test)
            result = {"accuracy": found.accuracy, **found.to_dict()}
            if readings is not None:
                result |= readings(model, splits.test)
        content = {
            **{"name": self.name, "line": self.row.line, "data": self.data, "seed": self.seed},
            **{"epochs": self.epochs, "of": self.of, "setting": vars(self.setting), "command": command},
            "config": self.config(),
            "training_images": len(train),
            "parameters": sum(p.numel() for p in model.parameters()),
            "result": result,
            "seconds": round(history.seconds, 1),
            "device": _device_name(options.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "history": summary(history),
        }
        write(options.out / f"{self.name}.json", content)
        return content

    def _train(self, splits: ff.data.Splits) -> ff.data.TensorData:
        train = splits.train if self.row.validation else splits.train_and_validation
        if not self.setting.images:
            return train
        if not splits.num_classes <= self.setting.images < len(train):
            raise ValueError(
                f"--images must be from {splits.num_classes} to {len(train) - 1} on {self.data}, "
                f"got {self.setting.images}; leave it out for all"
            )
        return ff.data.split(train, [self.setting.images, len(train) - self.setting.images], seed=0)[0]

    def _claim(self, work: Path) -> None:
        """Make the work folder, or refuse one in which another training is under way."""
        path = work / "config.json"
        if path.exists():
            self._compare(json.loads(path.read_text(encoding="utf-8")), work, "training")
        else:
            write(path, self.config())

    def _compare(self, old: Content, path: Path, what: str) -> None:
        now = json.loads(json.dumps(self.config()))
        changed = sorted(name for name in {*old, *now} if old.get(name) != now.get(name))
        if changed:
            raise ValueError(f"the study has changed since the {what} {path}: {', '.join(changed)}; move it away")


def write(path: Path, content: Content) -> None:
    """Write a file of JSON, a line an entry, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(f"{{\n{lines}\n}}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def summary(history: History) -> Content:
    """The history in short: evenly chosen epochs, the first and the last among them, four digits a figure."""
    step = -(-len(history) // KEPT_EPOCHS)
    kept = [record for record in history if record["epoch"] in (1, len(history)) or record["epoch"] % step == 0]
    content: Content = {"epoch": [record["epoch"] for record in kept]}
    content["seconds"] = [round(record["seconds"], 2) for record in kept]
    layers = [[layer or {} for layer in record["layers"]] for record in kept]
    for figure in FIGURES:
        values = [[_short(layer.get(figure)) for layer in record] for record in layers]
        if any(value is not None for record in values for value in record):
            content[figure] = values
    if any(record["validation"] for record in kept):
        content["validation_error"] = [_short(record["validation"]["error"]) for record in kept]
        content["validation_layer_errors"] = [
            [_short(error) for error in record["validation"]["layer_errors"] or ()] for record in kept
        ]
    return content


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _splits(recipe: Recipe, data: str, data_dir: str | None) -> ff.data.Splits:
    """The data, of which the last cell's are kept for the next."""
    key = data, data_dir, recipe.representation, recipe.standardize
    if key not in _LAST:
        _LAST.clear()
        _LAST[key] = recipe.splits(data, data_dir)
    return _LAST[key]


_LAST: dict[tuple[object, ...], ff.data.Splits] = {}


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


# Tables


@dataclass(frozen=True)
class Study:
    """A table.

    Args:
        name: What the command line calls it.
        title: What the table is headed with.
        rows: The rows, in order.
        data: The data sets, in order.
        seeds: The seeds.
        draw: Draws pictures of finished cells, ``(folder, cells) -> paths``, with the cells by setting, then by a
            row's name and a data set.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    data: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    draw: Callable[[Path, Mapping[Setting, Mapping[tuple[str, str], list[Content]]]], list[Path]] | None = None


def render(study: Study, cells: Iterable[Content], source: str = "") -> str:
    """The study's tables in Markdown: one of whole cells, then one for each way in which cells were reduced.

    Args:
        study: What to show.
        cells: Finished cells, of other studies too.
        source: What makes the table, to be named in it.
    """
    found = by_setting(study, cells)
    parts = [f"<!-- made by {source} -->"] if source else []
    whole = found.get(Setting(), {})
    parts.append(f"### {study.title}\n\n{_table(study.rows, _columns(study.data, whole), whole, found)}")
    for setting in sorted(set(found) - {Setting()}):
        some = found[setting]
        rows = [row for row in study.rows if any(row.name == name for name, _ in some)]
        data = _columns((one for one in study.data if any(one == name for _, name in some)), some)
        missing = [row.titled for row in study.rows if row not in rows and row.recipe is not None]
        text = f"### {study.title}, reduced: {setting.words()}\n\n{_table(rows, data, some, None)}"
        parts.append(text + (f"\n\nNot run in this setting: {'; '.join(dict.fromkeys(missing))}." if missing else ""))
    return "\n\n".join(parts) + "\n"


#: Finished cells by a row's name and a data set.
Found = dict[tuple[str, str], list[Content]]


def by_setting(study: Study, cells: Iterable[Content]) -> dict[Setting, Found]:
    """The study's cells by setting, row and data set."""
    rows = {row.name: row for row in study.rows if row.recipe is not None}
    found: dict[Setting, Found] = {}
    for content in cells:
        for row in rows.values():
            given = {**content["setting"], "epochs": 0 if content["epochs"] == row.epochs else content["epochs"]}
            cell = Cell(row, content["data"], content["seed"], Setting(**given))
            if cell.name == content["name"]:
                found.setdefault(cell.setting, {}).setdefault((row.name, cell.data), []).append(content)
    return found


def _columns(first: Iterable[str], cells: Found) -> tuple[str, ...]:
    """The data sets of ``first``, then others that cells were run on."""
    return tuple(dict.fromkeys([*first, *sorted(data for _, data in cells)]))


def _table(rows: Sequence[Row], data: Sequence[str], cells: Found, others: Mapping[Setting, Found] | None) -> str:
    """One table; ``others`` are the cells of all settings where this is the table of whole ones."""
    paper = "paper" if others is not None else "paper, its own setting"
    published = {one for one in data for row in rows if row.paper.get(one)}
    head = ["model", "epochs"]
    for one in data:
        head += [f"{DATA.get(one, one)}, {who}" for who in ((paper, "here") if one in published else ("here",))]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        line = [row.label, _epochs(row, cells, others is not None)]
        for one in data:
            line += [row.paper.get(one, "")] if one in published else []
            line.append(_figure(row, one, cells.get((row.name, one), []), others))
        lines.append("| " + " | ".join(line) + " |")
    shown = [content for row in rows for one in data for content in cells.get((row.name, one), [])]
    return "\n".join(lines) + "\n\n" + _notes(shown)


def _epochs(row: Row, cells: Found, whole: bool) -> str:
    trained = sorted({one["epochs"] for (name, _), some in cells.items() if name == row.name for one in some})
    if whole or trained == [row.epochs]:
        return str(row.epochs)
    return f"{', '.join(map(str, trained))} in place of {row.epochs}"


def _figure(row: Row, data: str, cells: list[Content], others: Mapping[Setting, Found] | None) -> str:
    """Mean and standard deviation over the seeds, or why there is none."""
    if row.recipe is None:
        return "reported only"
    if not cells:
        reduced = others is not None and any((row.name, data) in some for some in others.values())
        return "not run; reduced below" if reduced else "not run"
    diverged = [one for one in cells if "diverged" in one["result"]]
    values = [one["result"][row.shows] for one in cells if row.shows in one["result"]]
    words = f"{statistics.mean(values):.2f}" if values else "diverged"
    words += f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    words += f" ({_count(len(cells), 'seed')}" + (f", {len(diverged)} diverged" if diverged and values else "") + ")"
    return words


def _notes(cells: list[Content]) -> str:
    text = "Test accuracy in percent, mean ± standard deviation over the seeds."
    if not cells:
        return text + " Nothing here has been run."
    devices = ", ".join(sorted({one["device"] for one in cells}))
    versions = ", ".join(sorted({one["torch"] for one in cells}))
    minutes = sum({one["name"]: one["seconds"] for one in cells}.values()) / 60
    taken = f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"
    return f"{text} Trained on {devices} with torch {versions}, {taken} in all."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


# Command line


class _Parser(argparse.ArgumentParser):
    """A parser that says what was wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def _number(kind: type[int] | type[float], lowest: float) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            number = kind(text)
        except ValueError:
            number = kind(-1)
        if not (math.isfinite(number) and number >= lowest):
            whole = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {whole} of at least {lowest:g}, got {text!r}")
        return number

    return read


def _several(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(dict.fromkeys(read(part) for part in text.split(",")))


@dataclass(frozen=True)
class Bench:
    """Studies that share their cells, and the command line that runs and shows them.

    Args:
        module: The module's full name, such as ``"benchmarks.trifecta"``.
        studies: The studies.
        readings: Further figures of each cell's result, ``(model, test data) -> dict``.
        page: A page that holds the tables between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``.
        about: What --help says.
    """

    module: str
    studies: tuple[Study, ...]
    readings: Callable[[nn.Module, ff.data.TensorData], Content] | None = None
    page: Path | None = None
    about: str = ""

    @property
    def folder(self) -> Path:
        """Where finished cells are kept."""
        return ROOT / "benchmarks" / "results" / self.module.rpartition(".")[2]

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run cells of a study, then show it.

        Args:
            arguments: Words after the program's name; those of the process unless given.

        Returns:
            Exit status: 0, also where the time was up; 2 for a slip of the user's, 130 when interrupted.
        """
        words = list(sys.argv[1:] if arguments is None else arguments)
        again = f"python -m {self.module} {shlex.join(words)}"
        options = self._parser().parse_args(words)
        try:
            study = next(one for one in self.studies if one.name == options.study)
            cells = self._cells(study, options)
            if options.render or self._run(cells, study, options, again):
                self._show(study, options)
        except USER_ERRORS as error:
            print(f"{self.module}: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"{self.module}: interrupted; go on with: {again}", file=sys.stderr)
            return 130
        return 0

    def _parser(self) -> argparse.ArgumentParser:
        parser = _Parser(
            prog=f"python -m {self.module}",
            description=self.about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("study", choices=[study.name for study in self.studies], metavar="STUDY")
        parser.add_argument("--rows", type=_several(str), help="rows, by line or by line and epochs (default: all)")
        parser.add_argument("--data", type=_several(str), help="data sets (default: the study's)")
        parser.add_argument("--seeds", type=_several(_number(int, 0)), help="seeds (default: the study's, 0,1,2)")
        reduce = parser.add_argument_group("smaller cells, shown apart from the study's own")
        reduce.add_argument("--epochs", type=_number(int, 1), default=0, help="length of each training")
        reduce.add_argument("--width", type=_number(float, 1e-3), default=1.0, help="factor on the layers' widths")
        reduce.add_argument("--images", type=_number(int, 1), default=0, help="number of training images")
        reduce.add_argument("--precision", choices=("float32", "bf16"), default="float32", help="of the products")
        parser.add_argument("--minutes", type=_number(float, 0), default=math.inf, help="stop after so many minutes")
        parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU where there is one)")
        parser.add_argument("--threads", type=_number(int, 1), help="CPU threads (default: torch's choice)")
        parser.add_argument("--data-dir", help="folder of the data sets' files (default: downloaded to a cache)")
        parser.add_argument("--out", type=Path, help=f"folder of finished cells (default: {_near(self.folder)})")
        parser.add_argument("--work", type=Path, help="folder of checkpoints (default: runs/ and the bench's name)")
        parser.add_argument("--render", action="store_true", help="run nothing, show the cells that are finished")
        return parser

    def _cells(self, study: Study, options: argparse.Namespace) -> list[Cell]:
        """The cells that are asked for, stages of one training in order."""
        rows = [row for row in study.rows if row.recipe is not None]
        if options.rows:
            known = {*(row.line for row in rows), *(row.name for row in rows)}
            _refuse("--rows", options.rows, known, [row.name for row in rows])
            rows = [row for row in rows if {row.line, row.name} & set(options.rows)]
        data = options.data or study.data
        _refuse("--data", data, ff.data.available(), ff.data.available())
        unique = {
            cell.name: cell
            for seed in options.seeds or study.seeds
            for one in data
            for row in rows
            for cell in [Cell(row, one, seed, self._setting(row, options))]
        }
        first = {cell.training: i for i, cell in reversed(list(enumerate(unique.values())))}
        return sorted(unique.values(), key=lambda cell: (first[cell.training], cell.epochs))

    @staticmethod
    def _setting(row: Row, options: argparse.Namespace) -> Setting:
        epochs = 0 if options.epochs == row.epochs else options.epochs
        return Setting(epochs, options.width, options.images, options.precision)

    def _run(self, cells: list[Cell], study: Study, options: argparse.Namespace, again: str) -> bool:
        """Run what is not finished; whether all is."""
        place = Options(
            out=options.out or self.folder,
            work=options.work or Path("runs") / self.folder.name,
            data_dir=options.data_dir,
            device=_device(options.device),
            threads=options.threads,
            deadline=time.monotonic() + 60 * options.minutes,
            progress=sys.stderr.isatty(),
        )
        for number, cell in enumerate(cells, start=1):
            content = cell.read(place.out) or cell.run(place, self.readings, self._command(study, cell))
            if content is None:
                print(f"time is up in {cell.name}, cell {number} of {len(cells)}; go on with: {again}")
                return False
            accuracy = content["result"].get("accuracy")
            shown = "diverged" if accuracy is None else f"{accuracy:.2f} %"
            print(f"{number}/{len(cells)}  {cell.name}: {shown}, {content['seconds']:.0f} s", flush=True)
        return True

    def _command(self, study: Study, cell: Cell) -> str:
        """The shortest command that makes one cell."""
        given = {name: value for name, value in vars(cell.setting).items() if value != getattr(Setting(), name)}
        words = [study.name, "--rows", cell.row.name, "--data", cell.data, "--seeds", cell.seed]
        for name, value in given.items():
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else value]
        return f"python -m {self.module} {' '.join(map(str, words))}"

    def _show(self, study: Study, options: argparse.Namespace) -> None:
        """Print the table, and write it and the pictures beside the cells."""
        out: Path = options.out or self.folder
        contents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*_seed*.json"))]
        table = render(study, contents, f"`python -m {self.module} {study.name} --render`")
        print(table)
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{study.name}.md").write_text(table, encoding="utf-8")
        if self.page is not None and options.out is None:
            fill(self.page, study.name, table)
        for path in study.draw(out, by_setting(study, contents)) if study.draw is not None else []:
            print(f"drawn: {_near(path)}")


def fill(page: Path, name: str, table: str) -> None:
    """Put a table between its markers on a page, if the page has them."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if found and closed:
        page.write_text(f"{before}{begin}{table}{end}{after}", encoding="utf-8")


def _refuse(option: str, given: Iterable[str], known: Iterable[str], shown: Iterable[str]) -> None:
    unknown = [name for name in given if name not in set(known)]
    if unknown:
        raise ValueError(f"{option} must be of {', '.join(shown)}, got {', '.join(map(repr, unknown))}")


def _device(name: str | None) -> str:
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device must be one that is here, got {name!r}: {str(error).splitlines()[0]}") from error
    return name


def _near(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
