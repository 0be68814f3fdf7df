"""Bad command lines and run folders."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch

import forwardforward as ff
from forwardforward.cli import main
from tests.robustness import damage
from tests.robustness.damage import DAMAGE, KINDS, REPLACED, Change
from tests.robustness.interface import LIBRARY
from tests.robustness.pool import working_in

#: Valid run folders by name, and the outputs of commands on them.
RUNS: dict[str, Path] = {}
OUTPUTS: dict[str, str] = {}

TRAIN = [
    "train",
    "digits",
    "--recipe",
    "symba",
    "--epochs",
    "1",
    "--widths",
    "6,5",
    "--batch-size",
    "500",
    "--no-progress",
    "--json",
]


class CommandError(Exception):
    """A command that did not end with status 0.

    Attributes:
        status: Exit status.
        errors: Standard error.
        cause: The error that the command did not catch, or None.
    """

    def __init__(self, status: int | None, errors: str, cause: BaseException | None = None) -> None:
        super().__init__(f"status {status}: {errors}")
        self.status, self.errors, self.cause = status, errors, cause


def command(words: list[str]) -> str:
    """Run the command line in this process, and return its standard output."""
    sys.stdout.flush()
    sys.stderr.flush()
    positions = [os.lseek(descriptor, 0, os.SEEK_END) for descriptor in (1, 2)]
    cause: BaseException | None = None
    try:
        status: Any = main(words)
    except SystemExit as end:
        status = end.code
    except BaseException as error:
        status, cause = 1, error
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    output, errors = (os.pread(descriptor, 2**24, position).decode(errors="replace")
                      for descriptor, position in zip((1, 2), positions, strict=True))  # fmt: skip
    if cause is not None or status != 0:
        raise CommandError(status, errors, cause)
    return output


def judge(error: CommandError, names: set[str]) -> dict[str, Any]:
    """Return the outcome of a command that failed."""
    if error.cause is not None:
        cause = error.cause
        message = f"{type(cause).__name__}: {cause}"
        return {"outcome": "traceback", "message": message[:400], "where": where(cause)}
    lines = [line for line in re.split(r"[\n\r]", error.errors) if line.strip()]
    # An error that follows a warning or a note is still one line of its own.
    own = [line for line in lines if line.startswith("forwardforward") and not line.startswith("unfinished")]
    text = own[-1] if own else ""
    named = any(name and (name in text or repr(name)[1:-1] in text) for name in names)
    clear = (
        error.status == 2 and len(lines) - len(own[:-1]) - sum(x.startswith("unfinished") for x in lines) == 1 and named
    )
    if "allow_pickle" in text or "Traceback" in error.errors:
        clear = False
    return {
        "outcome": "refused clearly" if clear else "refused unclearly",
        "message": f"status {error.status}: {error.errors.strip()[:400]}",
    }


def where(error: BaseException) -> str:
    inside = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(LIBRARY)]
    return f"{Path(inside[-1].filename).relative_to(LIBRARY)}:{inside[-1].lineno}" if inside else ""


def has_nan_text(content: Any) -> str:
    if isinstance(content, str) and (
        match := re.search(r"(?<![\w.])-?(nan|inf|infinity)(?![\w.])", content, re.IGNORECASE)
    ):
        return f"the output contains {match.group()}"
    return ""


def drop_rights() -> None:
    """Continue as a user without root's right to read everything."""
    if os.geteuid() == 0:
        os.seteuid(65534)


def restore_rights() -> None:
    if os.getuid() == 0:
        os.seteuid(0)


def prepare(folder: Path) -> None:
    """Train the valid runs."""
    np.save(folder / "inputs.npy", np.random.default_rng(0).random((5, 8, 8), np.float32))
    reviews = folder / "data"
    reviews.mkdir()
    with working_in(reviews):
        from tests.robustness.values import review_folder

        review_folder()
    common = ["--widths", "6,5", "--no-progress", "--batch-size", "500"]
    with open(folder / "log", "w") as log, contextlib.redirect_stdout(log):
        for name, words in {
            "finished": ["train", "digits", "--epochs", "1", *common],
            "class": ["train", "digits", "--recipe", "mono", "--epochs", "1", *common],
            "unfinished": ["train", "digits", "--recipe", "symba", "--epochs", "1", *common],
            "text": ["train", "imdb", "--data-dir", str(reviews), "--epochs", "1", *common],
        }.items():
            RUNS[name] = folder / f"run-{name}"
            if main([*words, "--out", str(RUNS[name])]) != 0:
                raise RuntimeError(f"the valid run {name} failed")
    run = ff.runs.Run.open(RUNS["unfinished"])
    run.set_epochs(2)  # one more epoch to train
    RUNS["inputs"] = folder / "inputs.npy"


# Command lines

VALUES = (
    "", " ", "abc", "-1", "0", "1.5", "nan", "inf", "1e9", "99999999999999999999", "1_000", "0x10", "--", "-", "é",
    "a" * 5000, "/",
    ".", "/dev/null", "/dev/full", "missing", "missing/deep/file", "text.txt", "fifo", "link", "~", "1,,2", "1,0",
    ",", "10000000000,5",
    "6,5,4", "999999,999999", "x.npz", "\0", "a\nb", "cuda", "cuda:99", "meta", "mps", "xla", "cpu:5", "float16",
    "hintn", "mnist",
    "imdb", "MNIST", "16", "--json", "run", "run/config.json",
)  # fmt: skip
OPTIONS: dict[str, tuple[str, ...]] = {
    "train": ("data", "--recipe", "--epochs", "--batch-size", "--widths", "--seed", "--data-dir", "--vectors", "--out",
              "--device",
              "--precision", "--threads", "--resume", "--set", "--config", "--unknown"),
    "evaluate": ("folder", "--data-dir", "--device", "--batch-size", "--unknown"),
    "predict": ("folder", "inputs", "--out", "--batch-size", "--device", "--unknown"),
    "doctor": ("folder", "--unknown"),
    "recipes": ("name", "--unknown"),
}  # fmt: skip
BASE = {
    "train": TRAIN, "evaluate": ["evaluate", "run", "--json"], "predict": ["predict", "run", "inputs.npy"],
    "doctor": ["doctor", "run", "--json"],
    "recipes": ["recipes"],
}  # fmt: skip
FLAGS = (
    "--compile",
    "--validation",
    "--resume",
    "--json",
    "--no-progress",
    "--resize",
    "--help",
    "--version",
    "-h",
    "--epochs",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A command on files."""

    category: str
    name: str  # the command
    parameter: str  # the option, or the file of the run
    words: tuple[str, ...]
    run: str
    change: Change | None = None
    seed: int = 0

    @property
    def expression(self) -> str:
        change = (
            "" if self.change is None else f" with {self.parameter} changed by {self.change.__name__}, seed {self.seed}"
        )
        words = [repr(word[:60]) if not word or not word.isascii() or " " in word else word[:60] for word in self.words]
        return f"{' '.join(words)} [{self.run}]{change}"


def command_cases(count: int, generator: random.Random) -> list[Case]:
    slots = [(name, option, value) for name, options in OPTIONS.items() for option in options for value in VALUES]
    chosen = generator.sample(slots, min(count * 3 // 4, len(slots)))
    cases = [
        Case("command lines", name, option, tuple(_words(name, option, value)), "finished")
        for name, option, value in chosen
    ]
    while len(cases) < count:  # several at once
        name = generator.choice(("train", "train", "evaluate", "predict"))
        words = list(BASE[name])
        for _ in range(generator.randint(2, 4)):
            action = generator.random()
            if action < 0.4:
                words += [generator.choice(OPTIONS[name][2:]), generator.choice(VALUES)]
            elif action < 0.7:
                words.insert(generator.randrange(len(words) + 1), generator.choice(FLAGS))
            elif action < 0.85 and len(words) > 1:
                del words[generator.randrange(len(words))]
            else:
                words.insert(generator.randrange(len(words) + 1), generator.choice(VALUES))
        cases.append(Case("command lines", name, "", tuple(words), "finished"))
    return cases


def _words(name: str, option: str, value: str) -> list[str]:
    words = list(BASE[name])
    if option.startswith("--"):
        if option in words:
            position = words.index(option)
            del words[position : position + 2]
        return [*words, option, value]
    position = {"data": 1, "folder": 1, "inputs": 2, "name": 1}[option]
    words[position : position + 1] = [value]
    return words


def run_command_case(case: Case) -> dict[str, Any]:
    shutil.copytree(RUNS[case.run], "run")
    shutil.copy(RUNS["inputs"], "inputs.npy")
    Path("text.txt").write_text("A text.")
    os.mkfifo("fifo")
    os.symlink("nowhere", "link")
    np.savez("x.npz", x=damage.BAD_X["good"](), y=damage.BAD_Y["good"]())
    before = fingerprint(Path("run"))
    words = list(case.words)
    try:
        output = command(words)
    except CommandError as error:
        result = judge(error, _option_names(case))
        return _undamaged(case, result, before)
    if nan := has_nan_text(output):
        return {"outcome": "silent NaN", "message": nan}
    if fingerprint(Path("run")) != before and "--resume" not in words:
        return {"outcome": "damaged", "message": "the command has changed another run"}
    return {"outcome": "accepted", "reason": "a valid command line: it ends with status 0 and finite numbers"}


def _option_names(case: Case) -> set[str]:
    """Return words of which an error names at least one."""
    if not case.parameter:
        return {word for word in case.words if word} | {"required", "forwardforward"}
    option = case.parameter
    value = case.words[-1] if option.startswith("--") else ""
    names = {option, option.replace("-", "_"), option.strip("-"), value, "RUN", "INPUT"} - {""}
    if not option.startswith("--"):
        names |= {word for word in case.words[1:3] if word} | {"data", "run", "recipe"}
    return names | {"data_dir" if option == "--data-dir" else option}


def _undamaged(case: Case, result: dict[str, Any], before: dict[str, str]) -> dict[str, Any]:
    """Return the outcome "damaged" if a refused command left a run that fails without the bad input too."""
    restore_rights()
    after = fingerprint(Path("run"))
    if not result["outcome"].startswith("refused") or after == before:
        return result
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    path = Path("run", case.parameter)
    if case.change is not None and case.parameter not in changed:
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copy(RUNS[case.run] / case.parameter, path)
        with contextlib.suppress(CommandError):
            if essence(case, command(list(case.words))) == OUTPUTS.get(f"{case.run} {case.name}"):
                return result
    return {**result, "outcome": "damaged", "message": f"changed: {', '.join(changed)}; {result['message']}"}


def fingerprint(folder: Path) -> dict[str, str]:
    """Return digests of a folder's files."""
    files = {}
    if folder.is_dir() and not folder.is_symlink():
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                files[path.name] = f"link to {os.readlink(path)}"
            elif path.is_file():
                with contextlib.suppress(OSError):
                    files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                files[path.name] = "another kind"
    return files


# Run folders

FILES = {
    "config.json": (damage.json_field,) * 8 + (damage.json_content,),
    "summary.json": (damage.json_field, damage.json_content),
    "history.jsonl": (damage.json_field, damage.json_field, damage.json_content),
    "checkpoint.pt": (damage.torch_entry,) * 6,
}
USES = {
    "evaluate": ["evaluate", "run", "--json"],
    "predict": ["predict", "run", "inputs.npy"],
    "resume": ["train", "--resume", "run", "--no-progress", "--json"],
    "longer": ["train", "--resume", "run", "--epochs", "3", "--no-progress", "--json"],
    "again": [*TRAIN, "--out", "run"],
}
TEXT_USES = {**USES, "predict": ["predict", "run", "A good film."]}
CONTRADICTIONS = (
    ["--recipe", "mono"], ["--widths", "7,7"], ["--seed", "5"], ["--batch-size", "7"], ["--precision", "bf16"],
    ["--threads", "2"],
    ["--validation"], ["--compile"], ["--epochs", "1"], ["--data-dir", "elsewhere"], ["--vectors", "inputs.npy"],
    ["--out", "other"],
    ["--device", "cuda:99"], ["mnist"], ["x.npz"], ["--epochs", "0"],
)  # fmt: skip


def run_cases(count: int, generator: random.Random) -> list[Case]:
    cases = []
    for _ in range(count):
        run = generator.choice(("finished", "class", "unfinished", "unfinished", "text"))
        name = generator.choice(sorted(USES))
        if generator.random() < 0.1:
            words = [*USES["resume"], *generator.choice(CONTRADICTIONS)]
            cases.append(Case("run folders", "resume", "", tuple(words), run))
            continue
        file = generator.choice(
            ["config.json"] * 4 + ["checkpoint.pt"] * 4 + ["summary.json", "history.jsonl", "curves.png"]
        )
        if run == "text" and generator.random() < 0.4:
            file = "text_encoder.pt"
        crafted = FILES.get(file, (damage.torch_entry,) if file == "text_encoder.pt" else ())
        pool: tuple[Change, ...] = generator.choices((crafted or DAMAGE, DAMAGE, REPLACED, KINDS), (5, 2, 1.5, 1.2))[0]
        words = (TEXT_USES if run == "text" else USES)[name]
        cases.append(
            Case("run folders", name, file, tuple(words), run, generator.choice(pool), generator.randrange(10**6))
        )
    return cases


def run_folder_case(case: Case) -> dict[str, Any]:
    shutil.copytree(RUNS[case.run], "run")
    shutil.copy(RUNS["inputs"], "inputs.npy")
    np.savez("x.npz", x=damage.BAD_X["good"](), y=damage.BAD_Y["good"]())
    result: dict[str, Any] = {}
    if case.change is not None:
        path = Path("run", case.parameter)
        if not path.exists():
            path.write_text("{}")
        result["change"] = case.change(path, random.Random(case.seed))
    before = fingerprint(Path("run"))
    if case.change is damage.unreadable:
        drop_rights()
    names = {case.parameter, "run"} if case.change is not None else set(case.words[5:])
    try:
        output = command(list(case.words))
    except CommandError as error:
        return {**result, **_undamaged(case, judge(error, names), before)}
    if nan := has_nan_text(output):
        return {**result, "outcome": "silent NaN", "message": nan}
    restore_rights()
    if case.name in ("evaluate", "predict") and fingerprint(Path("run")) != before:
        return {**result, "outcome": "damaged", "message": f"{case.name} has changed the run"}
    if case.change is None:
        return {**result, **_contradiction(case, output)}
    if essence(case, output) == OUTPUTS.get(f"{case.run} {case.name}"):
        return {
            **result,
            "outcome": "accepted",
            "reason": "the command does not depend on the change: the same output as without it",
        }
    if case.name == "predict" and str(result.get("change")).startswith("class_names.") and _same_figures(case, output):
        return {**result, "outcome": "accepted", "reason": "a class may have any name, which predict prints"}
    if result.get("change") == "compile is 'True'":
        return {**result, "outcome": "accepted", "reason": "compilation changes the result by rounding only"}
    return {
        **result,
        "outcome": "silently wrong",
        "message": f"another output than that of the valid run: {output[:200]}",
    }


def _same_figures(case: Case, output: str) -> bool:
    """Return whether the numbers of a table of predictions are those of the valid run."""
    valid = OUTPUTS[f"{case.run} {case.name}"].splitlines()[1:]
    rows = output.splitlines()[1:]
    return [row.split(",")[2:] for row in rows] == [row.split(",")[2:] for row in valid]


def _contradiction(case: Case, output: str) -> dict[str, Any]:
    harmless = {"--threads", "--compile", "--epochs"}
    if set(case.words[5:]) & harmless or essence(case, output) == OUTPUTS.get(f"{case.run} resume"):
        return {"outcome": "accepted", "reason": "the option agrees with the run, or does not change its result"}
    return {"outcome": "silently wrong", "message": f"an option that contradicts the run: {output[:200]}"}


def essence(case: Case, output: str) -> str:
    """Return a command's output without times."""
    try:
        values = json.loads(output)
    except ValueError:
        return output
    for name in ("seconds", "total_seconds", "command", "torch", "cores"):
        values.pop(name, None)
    weights = ""
    if case.name in ("resume", "longer") and Path("run/checkpoint.pt").is_file():
        content = torch.load("run/checkpoint.pt", weights_only=True)
        sums = {
            key: float(x.double().abs().sum()) for key, x in content["model"].items() if isinstance(x, torch.Tensor)
        }
        weights = json.dumps([sums, content["epoch"]])
    return json.dumps(values, sort_keys=True) + weights


def valid_output(case: Case) -> dict[str, Any]:
    """Run a command on the valid run, and return its output or error."""
    shutil.copytree(RUNS[case.run], "run")
    shutil.copy(RUNS["inputs"], "inputs.npy")
    try:
        return {"output": essence(case, command(list(case.words)))}
    except CommandError as error:
        return {"error": str(error)[:300], "cause": repr(error.cause)}


def valid_cases() -> list[Case]:
    return [
        Case("run folders", name, "", tuple((TEXT_USES if run == "text" else USES)[name]), run)
        for run in ("finished", "class", "unfinished", "text")
        for name in USES
    ]
