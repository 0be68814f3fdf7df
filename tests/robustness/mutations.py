"""Mutation testing: make a mistake in a copy of the sources, run the tests that execute it, and report what they miss.

Run by hand, from the root of the repository; it needs ``pip install pytest-cov``::

    python -m tests.robustness.mutations                # the sixty chosen mistakes
    python -m tests.robustness.mutations --generic 150  # a random sample of small changes in the core modules

The first run records which test executes which line, in about twice the time of the suite. A mistake is then tried on
the tests that execute its lines, the most specific first, up to the first failure; a chosen mistake that survives them,
on all others too.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import multiprocessing
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tests.robustness.mistakes import MISTAKES, Mistake

ROOT = Path(__file__).parents[2]
PACKAGE = Path("src/forwardforward")
RECORD = ROOT / ".coverage-by-test.json"
FIRST = 100  # tests that are tried first; few files need to be collected for them
TIMEOUT = 900  # seconds; a mistake may make a loop endless
NO_END = f"no end after {TIMEOUT} seconds"
CORE = (
    "step",
    "objectives",
    "losses",
    "negatives.py",
    "normalization",
    "update_schedules.py",
    "lr_schedules.py",
    "optimizers",
    "training/loop.py",
    "training/runner.py",
    "training/preparation.py",
    "training/interruption.py",
    "training/epoch.py",
    "training/resuming.py",
    "training/meters.py",
    "training/checkpoints.py",
    "data/batching.py",
    "data/tensors.py",
    "data/checked_inputs.py",
    "data/checked_targets.py",
)
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def main() -> int:
    """Run the mistakes, print one line for each, and return 1 if any survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: [int(n) for n in text.split(",")], help="numbers of mistakes")
    parser.add_argument("--generic", type=int, metavar="N", help="a random sample of N generic mutants instead")
    parser.add_argument("--files", nargs="+", default=CORE, help="files and folders of the generic mutants")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the sample")
    parser.add_argument("--jobs", type=int, default=1, help="number of mistakes at a time")
    parser.add_argument("--quick", action="store_true", help="only the tests that execute the mistake's lines")
    arguments = parser.parse_args()

    mistakes = list(MISTAKES)
    if arguments.generic:
        mutants = [mutant for file in core_files(arguments.files) for mutant in generic_mutants(file)]
        mistakes = random.Random(arguments.seed).sample(mutants, min(arguments.generic, len(mutants)))
    numbers = arguments.only or range(len(mistakes))
    thorough = not arguments.generic and not arguments.quick
    record = recorded_tests()
    folders: queue.Queue[Path] = queue.Queue()
    survived = 0
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(arguments.jobs) as pool:
        for job in range(arguments.jobs):
            folder = Path(temporary) / f"job{job}"
            shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", ".coverage*", "*cache*", "*venv*"))
            folders.put(folder)
        attempts = {pool.submit(try_mistake, folders, record, thorough, mistakes[number]): number for number in numbers}
        for attempt in as_completed(attempts):
            number, (outcome, seconds) = attempts[attempt], attempt.result()
            # A time limit proves nothing: the machine may be slow.
            verdict = "SURVIVED" if outcome is None else "NO END" if outcome == NO_END else "caught"
            survived += verdict != "caught"
            print(
                f"{number:3} {seconds:4.0f} s  {verdict}  {mistakes[number].file}: "
                f"{mistakes[number].description}" + ("" if outcome is None else f"\n{'':15}{outcome}"),
                flush=True,
            )
    print(f"{len(numbers) - survived} of {len(numbers)} caught")
    return int(survived > 0)


def try_mistake(
    folders: queue.Queue[Path], record: dict[str, Any], thorough: bool, mistake: Mistake
) -> tuple[str | None, float]:
    """Return the test that caught a mistake, None if none did, and the seconds taken."""
    start = time.perf_counter()
    original = (ROOT / PACKAGE / mistake.file).read_text(encoding="utf-8")
    if original.count(mistake.old) != 1:
        raise ValueError(
            f"{mistake.file} must contain this text once, got {original.count(mistake.old)}: {mistake.old}"
        )
    selected = tests_of(mistake, original, record)
    stages = [selected[:FIRST], [*selected[FIRST:], *changed_test_files()]]
    if thorough:
        stages.append(sorted(set(record["tests"]) - set(selected)))
    folder = folders.get()
    target = folder / PACKAGE / mistake.file
    target.write_text(original.replace(mistake.old, mistake.new), encoding="utf-8")
    try:
        outcome = next(filter(None, (run_tests(folder, stage) for stage in stages if stage)), None)
    finally:
        target.write_text(original, encoding="utf-8")
        folders.put(folder)
    return outcome, time.perf_counter() - start


# Running tests


class _Selection:
    """A pytest plugin that runs some of the tests, in a given order, and records the first failure."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.order = {name: place for place, name in enumerate(tests)}
        self.failure: str | None = None

    def _place(self, item: Any) -> int | None:
        return self.order.get(item.nodeid, self.order.get(item.nodeid.split("::")[0]))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted((item for item in items if self._place(item) is not None), key=self._place)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and self.failure is None:
            self.failure = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and self.failure is None:
            self.failure = f"{report.nodeid} cannot be collected"


def run_tests(folder: Path, tests: Sequence[str]) -> str | None:
    """Run tests in a process of their own, and return the name of the first one that fails.

    Args:
        folder: Copy of the repository.
        tests: Names of tests or test files, in order.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "numpy", "pytest"])  # saves their import for each mistake
    shutil.rmtree(folder / ".hypothesis", ignore_errors=True)
    answers = context.SimpleQueue()
    process = context.Process(target=_run_tests, args=(folder, tests, answers))
    process.start()
    process.join(TIMEOUT)
    if process.is_alive():
        process.kill()
        return NO_END
    return f"pytest ended with exit code {process.exitcode}" if answers.empty() else answers.get()


def _run_tests(folder: Path, tests: Sequence[str], answers: Any) -> None:
    import pytest

    log = os.open(os.devnull, os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    sys.path[:] = [str(folder), str(folder / "src"), *(entry for entry in sys.path if Path(entry or ".") != ROOT)]
    os.environ |= {"PYTHONPATH": str(folder / "src"), "CI": "1", "MPLBACKEND": "Agg"}
    for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
        del sys.modules[name]
    selection = _Selection(tests)
    files = sorted({file for test in tests if Path(file := test.split("::")[0]).is_file()})
    code = pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *files], plugins=[selection])
    failed = code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    answers.put((selection.failure or f"pytest ended with exit code {code}") if failed else None)


# Which test executes which line


def recorded_tests() -> dict[str, Any]:
    """Return the tests by file and line, of these sources; recorded if they are not yet."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        digest.update(path.read_bytes())
    if RECORD.exists():
        record: dict[str, Any] = json.loads(RECORD.read_text())
        if record["sources"] == digest.hexdigest():
            return record
    record = {"sources": digest.hexdigest(), **_record()}
    RECORD.write_text(json.dumps(record))
    return record


def _record() -> dict[str, Any]:
    import coverage

    data = ROOT / ".coverage"
    command = [sys.executable, "-m", "pytest", "-q", "--cov=forwardforward", "--cov-context=test", "--cov-report="]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "CI": "1", "MPLBACKEND": "Agg"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "-n", "0"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    measured = coverage.CoverageData(str(data))
    measured.read()
    contexts = sorted(measured.measured_contexts() - {""})
    tests = sorted({context.split("|")[0] for context in contexts} | set(listed.stdout.splitlines()))
    place = {test: index for index, test in enumerate(tests)}
    lines: dict[str, dict[str, list[int]]] = {}
    files_of: dict[int, set[str]] = defaultdict(set)
    for path in measured.measured_files():
        file = str(Path(path).relative_to(ROOT / PACKAGE))
        lines[file] = {}
        for line, names in measured.contexts_by_lineno(path).items():
            numbers = {place[name.split("|")[0]] for name in names if name}
            lines[file][str(line)] = sorted(numbers)
            for number in numbers:
                files_of[number].add(file)
    return {"tests": tests, "lines": lines, "files": [len(files_of[number]) for number in range(len(tests))]}


def changed_test_files() -> list[str]:
    """Return the test files that are newer than the record."""
    since = RECORD.stat().st_mtime
    return sorted(
        str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/test_*.py") if path.stat().st_mtime > since
    )


def tests_of(mistake: Mistake, source: str, record: dict[str, Any]) -> list[str]:
    """Return the tests that execute a mistake's lines, those that execute few files first.

    If none does, the lines run on import or in other processes only, and all tests are returned.
    """
    start = source.index(mistake.old)
    first = source.count("\n", 0, start) + 1
    last = first + mistake.old.rstrip("\n").count("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and not hasattr(node, "body") and node.lineno <= first <= (node.end_lineno or 0):
            first = node.lineno  # a statement of several lines
    lines = record["lines"].get(mistake.file, {})
    numbers = {number for line in range(first, last + 1) for number in lines.get(str(line), ())}
    ordered = sorted(numbers, key=lambda number: record["files"][number])
    return [record["tests"][number] for number in ordered] or record["tests"]


# Generic mutants


def core_files(names: Sequence[str]) -> list[str]:
    """Return the files among ``names`` and in folders among them."""
    package = ROOT / PACKAGE
    paths = [
        path
        for name in names
        for path in ([package / name] if name.endswith(".py") else (package / name).rglob("*.py"))
    ]
    return sorted(str(path.relative_to(package)) for path in paths)


def generic_mutants(file: str) -> Iterator[Mistake]:
    """Iterate over all small changes of a file: operators, constants, conditions, statements and keyword arguments.

    Messages of errors, type annotations and the methods that describe an object are left out.
    """
    source = (ROOT / PACKAGE / file).read_text(encoding="utf-8")
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()

    def mutant(node: Any, replacement: str) -> Mistake:
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        old = data[begin:end].decode()
        # the text is lengthened until it is unique in the file
        before, after = begin, end
        while data.count(data[before:after]) > 1:
            before, after = max(0, before - 1), min(len(data), after + 1)
        around = data[before:begin].decode(errors="ignore"), data[end:after].decode(errors="ignore")
        text = f"line {node.lineno}: {' '.join(old.split())[:70]}  ->  {' '.join(replacement.split())[:70]}"
        return Mistake(file, around[0] + old + around[1], around[0] + replacement + around[1], text)

    for node in _executed(tree):
        for replacement in _replacements(node):
            yield mutant(node, replacement)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Iterate over the nodes whose value matters."""
    for name, child in ast.iter_fields(node):
        for part in child if isinstance(child, list) else [child]:
            if not isinstance(part, ast.AST) or name in ("annotation", "returns", "decorator_list"):
                continue
            if isinstance(part, ast.FunctionDef) and part.name in ("__repr__", "extra_repr", "__str__"):
                continue
            if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                continue  # docstrings
            yield part
            if not isinstance(part, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr):
                yield from _executed(part)


def _replacements(node: Any) -> Iterator[str]:
    """Iterate over the texts that may stand in place of a node."""
    kind = type(node)
    if kind is ast.Compare or kind in (ast.BinOp, ast.BoolOp):
        changed = copy.deepcopy(node)
        operator = node.ops[0] if kind is ast.Compare else node.op
        if type(operator) in SWAPS:
            swapped = SWAPS[type(operator)]()
            if kind is ast.Compare:
                changed.ops[0] = swapped
            else:
                changed.op = swapped
            yield f"({ast.unparse(changed)})"
    elif kind is ast.UnaryOp and isinstance(node.op, ast.Not | ast.USub):
        yield ast.unparse(node.operand)
    elif kind is ast.Constant and isinstance(node.value, bool):
        yield str(not node.value)
    elif kind is ast.Constant and isinstance(node.value, int | float):
        yield repr(node.value + 1 if isinstance(node.value, int) else node.value * 2 or 1.0)
    elif kind is ast.IfExp:
        yield f"({ast.unparse(node.body)})"
        yield f"({ast.unparse(node.orelse)})"
    elif kind is ast.Call:
        for index, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                changed = copy.deepcopy(node)
                del changed.keywords[index]
                yield ast.unparse(changed)
    elif (
        kind in (ast.Raise, ast.AugAssign, ast.Continue, ast.Break)
        or (kind is ast.Expr and isinstance(node.value, ast.Call))
        or (kind is ast.Assign and isinstance(node.targets[0], ast.Attribute | ast.Subscript))
    ):
        yield "pass"


if __name__ == "__main__":
    sys.exit(main())
