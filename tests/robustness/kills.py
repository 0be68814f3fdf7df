"""Kill trainings at random and chosen moments, resume them, and compare the results with uninterrupted trainings.

    python -m tests.robustness.kills --count 1000 --seed 0 --out kills.json

Modes: SIGKILL at a random time of the whole process, or of a phase (preparation of the data, validation, drawing,
writing a checkpoint); SIGINT, SIGTERM or SIGHUP to the command line; death before or after an operation on a file
(open, replace, fsync, unlink, mkdir, lock, ...); death after some bytes of a write. A resumed training may be killed
again. Start and resumption are forks of two processes with different hash seeds. After each kill, every file that
exists must be complete, and the checkpoint must contain all epochs that were finished, and after the other signals all
steps; at the end, all files must be equal bit for bit, except for times, and no file left over.

A case depends on the seed and its index only: ``--only INDEX --keep`` repeats it, except for the scheduling of signals.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import gc
import importlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from tests.robustness.injection import Plan, Watch, run_in_a_child
from tests.robustness.trainings import Stopped, differences, file_differences, read, trainings

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

#: How often each mode is drawn, if the training has such a moment.
MODES = {
    "random": 3,
    "signal": 4,
    "operation": 4,
    "write": 3,
    "drawing": 1,
    "validation": 1,
    "preparation": 1,
    "checkpoint": 1,
}

#: The files from which the trainings are resumed.
CHECKPOINTS = ("checkpoint.pt", "model.pt")

TRAININGS = trainings()


class Server:
    """A process that has imported everything, and forks itself for each training."""

    def __init__(self, hash_seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **THREADS, "PYTHONHASHSEED": str(hash_seed), "MPLBACKEND": "Agg"},
        )

    def run(self, training: str, folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
        """Start or resume a training in a folder, and return how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"training": training, "folder": str(folder), "plan": plan}), file=self._process.stdin)
        self._process.stdin.flush()
        end: dict[str, Any] = json.loads(self._process.stdout.readline())
        return end

    def close(self) -> None:
        """End the process."""
        self._process.communicate("")


def serve() -> None:
    """Run the trainings that the lines of standard input describe."""
    torch.set_num_threads(1)
    # torch imports its compiler in the first step of an optimizer, which takes a second.
    for name in ("torch._dynamo", "sklearn.datasets", "gensim.models", "matplotlib.backends.backend_agg"):
        importlib.import_module(name)
    figure = importlib.import_module("matplotlib.figure").Figure()
    figure.subplots().set_title("")
    figure.savefig(io.BytesIO())
    gc.freeze()
    for line in sys.stdin:
        words = json.loads(line)
        folder = Path(words["folder"])

        def work(watch: Watch, words: dict[str, Any] = words, folder: Path = folder) -> int:
            try:
                result = TRAININGS[words["training"]].run(folder)
            except Stopped as stop:
                return int(stop.args[0])
            watch.ends()
            torch.save(result, f"{folder}.result.pt")
            return 0

        end = run_in_a_child(work, folder, Plan(**words["plan"]))
        print(json.dumps(dataclasses.asdict(end)), flush=True)


class Cases:
    """The cases of one of several workers.

    Args:
        folder: Folder of the trainings, a subfolder per case.
        seed: Seed of all cases.
        keep: Whether to keep the folders of cases that did not fail.
        names: Names of the trainings.
    """

    def __init__(self, folder: Path, seed: int, keep: bool, names: Sequence[str] = tuple(TRAININGS)) -> None:
        self.folder, self.seed, self.keep, self.names = folder, seed, keep, names
        folder.mkdir(parents=True)
        self.servers = [Server(1), Server(2)]
        self.references: dict[str, dict[str, Any]] = {}
        self.kills: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.cases = 0

    def close(self) -> None:
        """End the processes."""
        for server in self.servers:
            server.close()

    def reference(self, name: str) -> dict[str, Any]:
        """Return the moments of an uninterrupted training."""
        if name not in self.references:
            folder = self.folder / f"reference {name.replace(' ', '-').replace(',', '')}"
            self._prepare(name, folder)
            end = self.servers[0].run(name, folder, {})
            if end["outcome"] != "finished":
                raise RuntimeError(f"{name} ended with {end}: {Path(f'{folder}.log').read_text()}")
            trace = json.loads(Path(f"{folder}.trace.json").read_text())
            files = {path.name for path in folder.rglob("*") if path.is_file() and "aclImdb" not in path.parts}
            self.references[name] = {"folder": folder, "seconds": end["seconds"], "files": files, **trace}
        return self.references[name]

    def run(self, index: int) -> None:
        """Run one case: kill, check, resume, perhaps several times; compare."""
        self.cases += 1
        chance = random.Random(f"{self.seed}/{index}")
        name = self.names[index % len(self.names)]
        reference = self.reference(name)
        folder = self.folder / str(index)
        kills, wanted, failed = 0, chance.choice((1, 1, 1, 2, 3)), False
        self._prepare(name, folder)
        for attempt in range(20):
            mode, plan = _plan(chance, reference, name.startswith("command line")) if kills < wanted else ("none", {})
            end = self.servers[attempt % 2].run(name, folder, plan)
            died = end["outcome"] in ("killed", "stopped")
            if died and end["place"]["phase"] == "end":
                continue  # all of its work was done
            if end["outcome"] == "finished" and not kills:  # before its death
                shutil.rmtree(folder)
                self._prepare(name, folder)
                continue
            if died:
                kills += 1
                problems = self._check(name, folder, end)
            elif end["outcome"] == "finished":
                problems = self._compare(folder, reference["folder"])
            else:
                log = Path(f"{folder}.log").read_text().strip().splitlines()
                problems = [f"{end['outcome']} with status {end['status']}: {log[-1] if log else ''}"]
            record = {"case": index, "training": name, "mode": mode, "plan": plan, **end, "problems": problems}
            self.kills += [record] * died
            if problems:
                self.failures.append(record)
                failed = True
                print(f"case {index}, {name}: {'; '.join(problems)}", file=sys.stderr, flush=True)
            if not died:
                break
        if not self.keep and not failed:
            for path in (folder, *(Path(f"{folder}{suffix}") for suffix in (".log", ".trace.json", ".result.pt"))):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _prepare(self, name: str, folder: Path) -> None:
        folder.mkdir()
        TRAININGS[name].prepare(folder)

    def _check(self, name: str, folder: Path, end: dict[str, Any]) -> list[str]:
        """Return what is wrong with the files after a kill."""
        problems, progress, logged = [], (0, 0), None
        for path in sorted(folder.rglob("*")):
            if path.name not in self.references[name]["files"]:
                continue
            if path.suffix == ".jsonl":  # its last line may be incomplete
                logged = path.read_bytes().count(b"\n")
                continue
            try:
                content = read(path)
            except Exception as error:
                problems.append(f"{path.name} is incomplete after the kill: {error!s:.200}")
                continue
            if path.name in CHECKPOINTS:
                progress = content["epoch"], (content["unfinished"] or {"steps": 0})["steps"]
        # A signal waits for the end of the step; SIGKILL may lose the steps after the last checkpoint.
        done = end["place"]["epoch"], end["place"]["step"] if end["outcome"] == "stopped" else 0
        if progress < done:
            problems.append(f"the checkpoint has {progress} epochs and steps, {done} were finished")
        if logged is not None and logged < progress[0]:
            problems.append(f"the log has {logged} epochs, the checkpoint {progress[0]}")
        if "Traceback" in Path(f"{folder}.log").read_text():
            problems.append("it printed a traceback")
        return problems

    def _compare(self, folder: Path, reference: Path) -> list[str]:
        problems = list(file_differences(reference, folder))
        results = [read(Path(f"{path}.result.pt")) for path in (reference, folder)]
        problems += differences(*results, "result", (str(reference), str(folder)))
        return problems


def _plan(chance: random.Random, reference: dict[str, Any], on_command_line: bool) -> tuple[str, dict[str, Any]]:
    """Return a random mode and plan, from the moments of an uninterrupted training."""
    phases: dict[str, list[float]] = collections.defaultdict(list)
    for phase, seconds in reference["phases"]:
        phases[phase].append(seconds)
    possible = {
        "random": True,
        "signal": on_command_line,
        "operation": reference["operations"],
        "write": reference["writes"],
        **phases,
    }
    modes = [mode for mode in MODES if possible.get(mode)]
    mode = chance.choices(modes, [MODES[mode] for mode in modes])[0]
    if mode == "operation":
        number = chance.randrange(len(reference["operations"]))
        return mode, {"mode": mode, "number": number, "before": chance.random() < 0.5}
    if mode == "write":
        return mode, {"mode": mode, "number": chance.randrange(len(reference["writes"])), "share": chance.random()}
    if mode == "signal":
        number = chance.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        return mode, {"mode": "time", "delay": chance.random() * reference["seconds"], "signal": number}
    if mode == "random":
        return mode, {"mode": "time", "delay": chance.random() * reference["seconds"]}
    number = chance.randrange(len(phases[mode]))
    return mode, {"mode": "time", "phase": mode, "number": number, "delay": chance.random() * phases[mode][number]}


def _operation(kill: dict[str, Any]) -> str:
    """Return the operation at which a process died, without the random part of names of temporary files."""
    return re.sub(r"[0-9a-f]{16}", "*", kill["place"]["operation"])


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill trainings until there are enough kills; return the numbers, which are also written after each case."""
    names = [name for name in TRAININGS if options.match in name]
    parts = [
        Cases(folder / str(worker), options.seed, options.keep, names)
        for worker in range(min(options.workers, len(names)))
    ]
    start, lock = time.perf_counter(), threading.Lock()

    def report() -> dict[str, Any]:
        numbers = summary(parts) | {"seconds": round(time.perf_counter() - start)}
        if options.out is not None:
            options.out.write_text(json.dumps(numbers, indent=2) + "\n")
        return numbers

    def work(worker: int) -> None:
        cases = parts[worker]
        index = worker
        # Every training belongs to one worker, so that its reference is trained once.
        while sum(len(part.kills) for part in parts) < options.count:
            if index % len(names) % len(parts) == worker:
                cases.run(index)
                with lock:
                    report()
            index += 1

    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(work, range(len(parts))))
    for part in parts:
        part.close()
    return report()


def summary(parts: Sequence[Cases]) -> dict[str, Any]:
    """Return the counts of kills by mode, training and place, and the failures."""
    kills = [kill for part in parts for kill in part.kills]
    failures = [failure for part in parts for failure in part.failures]
    failed = {failure["case"] for failure in failures}
    return {
        "kills": len(kills),
        "cases": sum(part.cases for part in parts),
        "failed cases": len(failed),
        "by mode": _counts(kills, "mode"),
        "by training": _counts(kills, "training"),
        "by phase": dict(collections.Counter(map(_phase, kills)).most_common()),
        "by operation": dict(
            collections.Counter(
                _operation(kill) for kill in kills if kill["mode"] in ("operation", "write")
            ).most_common()
        ),
        "failures": failures,
    }


def _counts(kills: Sequence[dict[str, Any]], key: str) -> dict[str, int]:
    return dict(sorted(collections.Counter(kill[key] for kill in kills).items()))


def _phase(kill: dict[str, Any]) -> str:
    place = kill["place"]
    return place["phase"] if place["phase"] != "start" else "training" if place["step"] else "before the first step"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--match", default="", help="only trainings whose name contains this text")
    parser.add_argument("--only", type=int, help="run this case only")
    parser.add_argument("--keep", action="store_true", help="keep all folders; those of failed cases are always kept")
    parser.add_argument("--out", type=Path, help="file of the numbers")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return 0
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    if options.only is not None:
        cases = Cases(folder / "0", options.seed, options.keep, [name for name in TRAININGS if options.match in name])
        cases.run(options.only)
        cases.close()
        numbers = summary([cases])
    else:
        numbers = run(options, folder)
    print(json.dumps(numbers, indent=2))
    if not numbers["failures"] and not options.keep:
        shutil.rmtree(folder)
    else:
        print(f"folders: {folder}", file=sys.stderr)
    return bool(numbers["failures"])


if __name__ == "__main__":
    sys.exit(main())
