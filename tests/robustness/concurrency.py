"""Several processes with the same files: two writers and readers of one path, and two trainings in one run folder.

    python -m tests.robustness.concurrency --reads 10000 --out concurrency.json

Two processes write a checkpoint, and a JSON file, to the same paths in a loop while others read them: every write must
succeed, and every read must return the complete content of one write. A second training in the folder of a running one
must be refused by the folder's name and must not change the first; of two that begin in the same new folder, one must
be refused. A process killed by SIGKILL must not block the folder.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import torch

from forwardforward._utils.files import replacing
from forwardforward.recipes import get
from forwardforward.runs import Run, RunConfig
from forwardforward.training import Callback, FitState, load_checkpoint, save_checkpoint

#: Processes are forks, which start in milliseconds. Set before: one thread per process.
FORK = multiprocessing.get_context("fork")

RECIPE = get("hinton").for_dataset("digits").replace(widths=(12, 12), epochs=3, batch_size=100)


def checkpoint_content(writer: int, number: int) -> dict[str, Any]:
    """Return the content of a write: every number in it follows from the first; files have several sizes."""
    value, width = float(2 * number + writer), 20 * (1 + number % 5)
    return {
        "model": {str(layer): torch.full((200, width), value) for layer in range(4)},
        "epoch": number,
        "seed": writer,
    }


def is_complete_checkpoint(path: Path) -> bool:
    """Return whether the file is the content of one write."""
    content = load_checkpoint(path)
    expected = checkpoint_content(content["seed"], content["epoch"])
    return all(torch.equal(content["model"][name], tensor) for name, tensor in expected["model"].items())


def is_complete_json(path: Path) -> bool:
    """Return whether the file is the content of one write."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return len(content) == 1000 * (1 + content[0] % 5) and len(set(content)) == 1


def _write(folder: Path, writer: int, stop: Event, counts: Any) -> None:
    number = 0
    while not stop.is_set():
        for write in (_write_checkpoint, _write_json):
            try:
                write(folder, writer, number)
                counts.put(("writes", ""))
            except Exception as error:
                counts.put(("failed writes", f"{type(error).__name__}: {error}"))
        number += 1


def _write_checkpoint(folder: Path, writer: int, number: int) -> None:
    save_checkpoint(folder / "checkpoint.pt", checkpoint_content(writer, number))


def _write_json(folder: Path, writer: int, number: int) -> None:
    with replacing(folder / "summary.json") as file:
        value = 2 * number + writer
        file.write(json.dumps([value] * (1000 * (1 + value % 5))))


def _read(folder: Path, reads: int, counts: Any) -> None:
    checks: tuple[tuple[str, Callable[[Path], bool]], ...] = (
        ("checkpoint.pt", is_complete_checkpoint),
        ("summary.json", is_complete_json),
    )
    for number in range(reads):
        name, check = checks[number % 2]
        try:
            complete, problem = check(folder / name), "content of two writes"
        except Exception as error:
            complete, problem = False, f"{type(error).__name__}: {error}"
        counts.put(("reads", "") if complete else ("damaged reads", problem))


def read_beside_writers(folder: Path, reads: int, readers: int = 2, writers: int = 2) -> dict[str, Any]:
    """Return the counts of writes and reads of the same two files, and of the files that are left over."""
    folder.mkdir()
    for write in (_write_checkpoint, _write_json):
        write(folder, 0, 0)
    stop, counts = FORK.Event(), FORK.SimpleQueue()
    writing = [FORK.Process(target=_write, args=(folder, writer, stop, counts)) for writer in range(writers)]
    reading = [FORK.Process(target=_read, args=(folder, reads // readers, counts)) for _ in range(readers)]
    for process in (*writing, *reading):
        process.start()
    totals: collections.Counter[str] = collections.Counter()
    problems: collections.Counter[str] = collections.Counter()
    while any(process.is_alive() for process in (*writing, *reading)) or not counts.empty():
        if counts.empty():
            time.sleep(0.001)
        else:
            kind, problem = counts.get()
            totals[kind] += 1
            if problem:
                problems[problem[:200]] += 1
        if not any(process.is_alive() for process in reading):
            stop.set()
    left = sorted(path.name for path in folder.iterdir() if path.name not in ("checkpoint.pt", "summary.json"))
    names = ("writes", "failed writes", "reads", "damaged reads")
    return {
        **{name: totals[name] for name in names},
        "files left over": left,
        "problems": dict(problems.most_common(5)),
    }


class _Wait(Callback):
    """Says when the second epoch begins, and waits there."""

    def __init__(self, running: Event, proceed: Event) -> None:
        self.running, self.proceed = running, proceed

    def on_epoch_end(self, state: FitState) -> None:
        if len(state.history) == 1:
            self.running.set()
            self.proceed.wait(60)


def _train(folder: Path, answers: Any, start: Barrier | None = None, callbacks: Sequence[Callback] = ()) -> None:
    """Create or resume a run, as two users would, and put "trained" or the error into the queue."""
    try:
        if start is not None:
            start.wait(60)
        if (folder / "config.json").exists():
            run = Run.open(folder)
        else:
            run = Run.create(folder, RunConfig.from_recipe(RECIPE, "digits", threads=1))
        run.train(callbacks, progress=False)
        answers.put("trained")
    except Exception as error:
        answers.put(f"{type(error).__name__}: {error}")


def _results(folder: Path) -> Any:
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    content = load_checkpoint(folder / "checkpoint.pt")
    return (
        [record["layers"] for record in history],
        {name: tensor.tolist() for name, tensor in content["model"].items()},
    )


def _is_equal(folder: Path, expected: Any) -> bool:
    try:
        return bool(_results(folder) == expected)
    except Exception:  # a damaged file
        return False


def _is_refused(folder: Path, answer: str) -> bool:
    """Return whether a training was refused by the name of its folder, before it wrote anything."""
    return str(folder) in answer and "cannot" not in answer


def second_training(folder: Path, expected: Any) -> dict[str, Any]:
    """Start a second training while the first one is in its second epoch; return what became of both."""
    running, proceed, answers = FORK.Event(), FORK.Event(), [FORK.SimpleQueue(), FORK.SimpleQueue()]
    first = FORK.Process(target=_train, args=(folder, answers[0], None, [_Wait(running, proceed)]))
    first.start()
    running.wait(60)
    second = FORK.Process(target=_train, args=(folder, answers[1]))
    second.start()
    second.join(60)
    proceed.set()
    first.join(60)
    texts = [queue.get() if not queue.empty() else "no answer" for queue in answers]
    return {
        "second refused": _is_refused(folder, texts[1]),
        "first unharmed": texts[0] == "trained" and _is_equal(folder, expected),
        "answers": texts,
    }


def simultaneous_trainings(folder: Path, expected: Any) -> dict[str, Any]:
    """Begin two trainings in one new folder at the same time; return what became of both."""
    barrier, answers = FORK.Barrier(2), [FORK.SimpleQueue(), FORK.SimpleQueue()]
    processes = [FORK.Process(target=_train, args=(folder, queue, barrier)) for queue in answers]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    texts = [queue.get() if not queue.empty() else "no answer" for queue in answers]
    trained = texts.count("trained")
    refused = sum(_is_refused(folder, text) for text in texts)
    # If the first one ends before the second one begins, the second one resumes a finished run.
    return {
        "one trained, one refused": (trained, refused) == (1, 1),
        "both trained in turn": trained == 2,
        "result unharmed": trained > 0 and _is_equal(folder, expected),
        "answers": texts,
    }


def killed_training(folder: Path, expected: Any) -> dict[str, Any]:
    """Kill a training in its second epoch, and resume it."""
    running, answers = FORK.Event(), FORK.SimpleQueue()
    first = FORK.Process(target=_train, args=(folder, answers, None, [_Wait(running, FORK.Event())]))
    first.start()
    running.wait(60)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    second = FORK.Process(target=_train, args=(folder, answers))
    second.start()
    second.join(60)
    answer = answers.get() if not answers.empty() else "no answer"
    return {"resumed": answer == "trained" and _is_equal(folder, expected), "answers": [answer]}


def _without_names(answer: str, folder: Path) -> str:
    return re.sub(r"process \d+ on \S+", "process NUMBER on HOST", answer.replace(str(folder), "RUN"))


def trainings(folder: Path, count: int) -> dict[str, Any]:
    """Return how often each pair of trainings ended as it should."""
    folder.mkdir()
    answers = FORK.SimpleQueue()
    reference = FORK.Process(target=_train, args=(folder / "reference", answers))
    reference.start()
    reference.join()
    expected = _results(folder / "reference")
    numbers: dict[str, Any] = {}
    for pair in (second_training, simultaneous_trainings, killed_training):
        totals: collections.Counter[str] = collections.Counter()
        texts: collections.Counter[str] = collections.Counter()
        for index in range(count):
            place = folder / f"{pair.__name__}-{index}"
            for name, value in pair(place, expected).items():
                if name == "answers":
                    texts.update(_without_names(text, place) for text in value)
                else:
                    totals[name] += value
        numbers[pair.__name__] = {"pairs": count, **totals, "answers": dict(texts.most_common(6))}
    return numbers


def is_right(numbers: dict[str, Any]) -> bool:
    """Return whether nothing was damaged and every second training was refused."""
    files = numbers["files"]
    second, both, killed = (
        numbers["trainings"][pair.__name__] for pair in (second_training, simultaneous_trainings, killed_training)
    )
    return (
        not (files["failed writes"] or files["damaged reads"] or files["files left over"])
        and second["second refused"] == second["first unharmed"] == second["pairs"]
        and both["one trained, one refused"] + both["both trained in turn"] == both["result unharmed"] == both["pairs"]
        and killed["resumed"] == killed["pairs"]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--reads", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=20, help="pairs of trainings of each kind")
    parser.add_argument("--out", type=Path, help="file of the numbers")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folder, start = Path(tempfile.mkdtemp(prefix="concurrency-")), time.perf_counter()
    numbers: dict[str, Any] = {
        "files": read_beside_writers(folder / "files", options.reads),
        "trainings": trainings(folder / "runs", options.pairs),
    }
    numbers["right"] = is_right(numbers)
    numbers["seconds"] = round(time.perf_counter() - start)
    shutil.rmtree(folder)
    text = json.dumps(numbers, indent=2) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return not numbers["right"]


if __name__ == "__main__":
    sys.exit(main())
