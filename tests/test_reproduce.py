"""The runner of all studies: order, estimates, deadline, resumption, rendering, and its lists and pages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as program
from benchmarks.pages import ROOT, filled, write
from benchmarks.reproduce import command, listing, speed
from benchmarks.reproduce.bench_jobs import multiply_adds
from benchmarks.reproduce.interface import Job, Place, Studies, states
from benchmarks.reproduce.order import ORDER, ordered
from benchmarks.reproduce.papers import PAPERS, Item
from benchmarks.reproduce.registry import MODULES, load_studies, selected
from benchmarks.reproduce.speed import Constants, Speed
from benchmarks.self_supervision.methods import DENSE
from forwardforward.recipes import get


class Fake:
    """Studies whose cells are sums; each takes two epochs, of which one is done per call after the deadline."""

    name = "mine"
    paper = "0000.00000"
    titles: Mapping[str, str] = {"one": "One", "two": "Two"}

    def __init__(self) -> None:
        self.started: list[str] = []

    def jobs(self, place: Place) -> Iterable[Job]:
        for seed in range(2):
            for setting in ("", "fewer epochs"):
                name = f"sum_seed{seed}" + ("_short" if setting else "")
                path = self.path(place, name)
                yield Job(
                    name=name,
                    studies=("one", "two") if seed else ("one",),
                    goal=f"sum, seed {seed}",
                    setting=setting,
                    data="digits",
                    work=100.0,
                    steps=10,
                    is_finished=path.exists(),
                    key=seed,
                )

    def path(self, place: Place, name: str) -> Path:
        return place.results / self.name / f"{name}.json"

    def run(self, job: Job, place: Place) -> bool:
        self.started.append(job.name)
        checkpoint = place.work / f"{job.name}.txt"
        for epoch in range(int(checkpoint.read_text()) if checkpoint.exists() else 0, 2):
            if epoch and time.monotonic() >= place.deadline:
                return False
            write(checkpoint, str(epoch + 1))
        write(self.path(place, job.name), json.dumps({"sum": job.key}))
        return True

    def render(self, place: Place) -> None:
        cells = sorted(path.stem for path in (place.results / self.name).glob("*.json"))
        write(place.docs / "mine.md", filled(place.docs / "mine.md", "mine", ", ".join(cells)))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    """Studies that the runner has as its only ones, with a page; the folder of the process is a temporary one."""
    studies = Fake()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_studies", lambda: [studies])
    monkeypatch.setattr(command, "ROOT", tmp_path)
    for page in ("papers/from_paper_to_code.md", "papers/index.md", "mine.md"):
        names = ["papers", "mine", *(f"items-{paper.name}" for paper in PAPERS)]
        write(tmp_path / "docs" / page, "".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->\n" for name in names))
    return studies


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "out", tmp_path / "runs", tmp_path / "docs")


def names_of(entries: Iterable[tuple[Studies, Job]]) -> list[str]:
    return [job.name for _, job in entries]


# States and order


def test_the_state_of_a_goal() -> None:
    def job(goal: str, setting: str, is_finished: bool) -> Job:
        return Job(f"{goal}{setting}", ("one",), goal, setting, is_finished=is_finished)

    jobs = [
        *(job("a", "", True), job("a", "short", True)),
        *(job("b", "", False), job("b", "short", True)),
        *(job("c", "short", True), job("c", "", True)),
        *(job("d", "", False), job("d", "short", False)),
    ]
    assert states(jobs) == {"a": "done", "b": "reduced", "c": "done", "d": "missing"}


def test_the_order_depends_on_the_device() -> None:
    studies = Fake()

    def job(name: str, **fields: Any) -> tuple[Studies, Job]:
        return studies, Job(name, fields.pop("studies", ("one",)), fields.pop("goal", name), **fields)

    entries = [
        job("last"),
        job("short", setting="fewer epochs"),
        job("useful", studies=("two",)),
        job("finished", is_finished=True),
        job("done", goal="done", is_finished=True),
        job("not needed", goal="done", setting="fewer epochs"),
    ]
    order = {"cpu": ("* mine/two/*",), "cuda": ("own mine/one/la*", "* mine/two/*")}
    assert names_of(ordered(entries, "cpu", order)) == ["useful", "short", "last"]
    assert names_of(ordered(entries, "cuda:0", order)) == ["last", "useful", "short"]


def test_earlier_stages_come_first_and_equal_cells_once() -> None:
    studies = Fake()
    stages = [
        (studies, Job(f"epochs{stage}", ("one",), f"{stage}", training="net", stage=stage)) for stage in (200, 10, 100)
    ]
    order = {"cpu": ("* mine/one/epochs200",)}
    assert names_of(ordered(stages, "cpu", order)) == ["epochs10", "epochs100", "epochs200"]


@pytest.mark.slow
def test_the_order_is_that_of_worth_for_the_papers_studies(tmp_path: Path) -> None:
    entries = []
    for studies in load_studies(("benchmarks.trifecta",)):
        entries = [(studies, job) for job in studies.jobs(Place(results=tmp_path, precision="bf16"))]
    first = names_of(ordered(entries, "cuda"))
    assert first[:4] == [f"tff-s_cifar10_bf16_seed0_of200_epochs{epochs}" for epochs in (10, 30, 100, 200)]
    assert {name.partition("_")[0] for name in first[4:7]} == {"symba", "symba-bn", "symba-olu"}
    assert {name.partition("_")[0] for name in first[7:15]} == {
        f"ftl{theta}{parts}" for theta in (2, 10) for parts in ("", "-bn", "-olu", "-olu-bn")
    }


# Estimates


def test_estimates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.reproduce.speed.device_name", lambda device: "this CPU (2 threads)")
    constants = {"dense": {"overhead": 0.5, "rate": 20.0}, "dense, bf16": {"overhead": 1.0, "rate": 1e9}}
    write(tmp_path / "speed.json", json.dumps({"this CPU": constants}))
    cell = Job("a", ("one",), "a", work=100.0, steps=10)
    measured = Speed(tmp_path / "speed.json", "cpu", {"mine": [cell]})
    assert measured.seconds("mine", cell) == 10 * 0.5 + 100 / (2 * 20)
    assert measured.seconds("mine", replace(cell, is_finished=True)) == 0
    assert measured.source() == "measured steps"
    finished = [
        replace(cell, is_finished=True, seconds=seconds, device=device)
        for seconds, device in (
            (7.5, "this CPU (2 threads)"),  # as estimated
            (40.0, "this CPU (1 thread)"),  # four times the estimate for one thread
            (75.0, "this CPU (2 threads)"),
            (0.1, "other CPU (2 threads)"),
        )
    ]
    corrected = Speed(tmp_path / "speed.json", "cpu", {"mine": finished, "others": [cell]})
    assert corrected.seconds("mine", cell) == 4 * 7.5
    assert corrected.seconds("mine", replace(cell, kind="dense, bf16")) == pytest.approx(10)  # another kind
    assert corrected.seconds("others", cell) == 7.5  # studies without finished cells
    assert corrected.source() == "measured steps, corrected by finished cells (mine 3)"


def test_constants_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(kind: str, device: str) -> Constants:
        measured.append(kind)
        return Constants(0.0, 10.0)

    monkeypatch.setattr("benchmarks.reproduce.speed.measure", measure)
    write(tmp_path / "speed.json", "damaged")
    for _ in range(2):
        assert Speed(tmp_path / "speed.json", "cpu", {}).constants("dense") == Constants(0.0, 10.0)
    assert measured == ["dense"]


def test_the_constants_explain_the_measured_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = iter([0.2, 0.5])
    monkeypatch.setattr(speed, "_seconds_per_step", lambda *_: next(durations))
    constants = speed.measure("dense", "cpu")
    for width, expected in ((16, 0.2), (1000, 0.5)):
        recipe = get("symba").replace(widths=(width,) * 4)
        work = 200 * multiply_adds(recipe, (1, 28, 28), 10)[0]  # 100 positive and 100 negative samples
        assert constants.seconds(Job("a", ("one",), "a", work=work, steps=1)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_a_step_is_measured(kind: str) -> None:
    recipe, shape, batch_size, (widths, _) = speed.NETWORKS[kind]
    model = get(recipe).replace(widths=widths, standardize=False).model(shape, 10)
    assert 0 < speed._seconds_per_step(model, shape, batch_size, is_bf16=False) < 5


def test_a_busy_machine_does_not_lengthen_the_measured_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = [2.0, 9.0, 7.0, 3.0, 5.0, 4.0, 8.0]
    ticks = iter(tick for duration in durations for tick in (0.0, duration))
    threads: list[int] = []

    def step(*_: Any) -> None:
        threads.append(torch.get_num_threads())

    model: Any = types.SimpleNamespace(device=torch.device("cpu"), step=step)
    monkeypatch.setattr(speed, "time", types.SimpleNamespace(process_time=lambda: next(ticks)))  # not a wall clock
    before = torch.get_num_threads()
    assert speed._seconds_per_step(model, (4,), 10, is_bf16=False) == 3.0  # the fastest after the first
    assert threads == [1] * 7
    assert torch.get_num_threads() == before


def test_multiply_adds() -> None:
    dense = get("trifecta-fcn").replace(widths=(300, 200))
    assert multiply_adds(dense, (1, 28, 28), 10) == (794 * 300 + 300 * 200, False)
    convolutional = get("trifecta-s").replace(widths=(8, 16, 16, 32, 32, 64))
    sizes = [(4, 8, 32), (8, 16, 16), (16, 16, 16), (16, 32, 8), (32, 32, 8), (32, 64, 8)]
    expected = sum(9 * a * b * side**2 for a, b, side in sizes)
    assert multiply_adds(convolutional, (3, 32, 32), 10) == (expected, True)
    grouped = DENSE["groups"].replace(widths=(300, 200))  # widths are rounded up to multiples of ten
    assert multiply_adds(grouped, (1, 28, 28), 10) == (784 * 300 + 300 * 200, False)


# The command


def test_nothing_begins_after_the_deadline(fake: Fake, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    program.main(["reproduce", "mine", "--device", "cpu", "--out", str(place.results), "--minutes", "0"])
    assert "time is up in 1/4  mine/sum_seed0_short; resume with: python -m benchmarks reproduce mine" in (
        capsys.readouterr().out
    )
    assert fake.started == []


def test_everything_is_run_once_and_rendered(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--device", "cpu", "--out", str(out)]
    pages: list[str] = []

    def write_pages(jobs: listing.Jobs, results: Path, docs: Path) -> None:
        pages.append((docs / "mine.md").read_text(encoding="utf-8"))

    monkeypatch.setattr(command, "write_pages", write_pages)
    command.main(words)
    assert fake.started == ["sum_seed0_short", "sum_seed1_short", "sum_seed0", "sum_seed1"]
    assert {path.stem for path in (out / "mine").iterdir()} == set(fake.started)
    assert "sum_seed0, sum_seed0_short, sum_seed1, sum_seed1_short\n" in pages[-1]
    assert "4/4  mine/sum_seed1: " in capsys.readouterr().out
    command.main(words)
    assert len(fake.started) == 4
    assert (tmp_path / "docs" / "mine.md").read_text().count("sum_seed0") == 0  # --out leaves the pages as they are
    command.main([*words, "--render"])
    assert len(fake.started) == 4


def test_one_study_is_selected(fake: Fake, tmp_path: Path) -> None:
    command.main(["mine/two", "--device", "cpu", "--out", str(tmp_path / "out")])
    assert fake.started == ["sum_seed1_short", "sum_seed1"]


def test_a_training_is_interrupted_between_epochs(
    fake: Fake, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([0.0, 1.0, 61.0])  # when the command begins, before the first cell, after its first epoch
    with monkeypatch.context() as patch:
        for module in (command, sys.modules[__name__]):
            patch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: next(ticks)))
        command.main(["--minutes", "1", "--device", "cpu", "--out", str(place.results), "--work", str(place.work)])
    assert "time is up in 1/4  mine/sum_seed0_short; resume with: " in capsys.readouterr().out
    assert (place.work / "sum_seed0_short.txt").read_text() == "1"
    assert not (place.results / "mine").exists()
    command.main(["--device", "cpu", "--out", str(place.results), "--work", str(place.work)])
    assert len(list((place.results / "mine").iterdir())) == 4


def test_failures_and_missing_data_do_not_stop_the_others(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fake.run

    def failing(job: Job, place: Place) -> bool:
        if job.name == "sum_seed0_short":
            raise ValueError("the study has changed")
        return run(job, place)

    monkeypatch.setattr(fake, "run", failing)
    words = ["--device", "cpu", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as end:
        command.main(words)
    assert end.value.code == 1
    assert "1/4  mine/sum_seed0_short: failed: the study has changed\n" in capsys.readouterr().err
    assert fake.started == ["sum_seed1_short", "sum_seed0", "sum_seed1"]

    def without_data(job: Job, place: Place) -> bool:
        raise FileNotFoundError("no digits")

    monkeypatch.setattr(fake, "run", without_data)
    command.main(["--device", "cpu", "--out", str(tmp_path / "other")])
    out = capsys.readouterr().out
    assert out.count("data not available: digits (no digits)") == 1
    assert "4 cells left out: no data of digits" in out


def test_lists(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.reproduce.speed.measure", lambda kind, device: Constants(24.0, 1e9))
    words = ["--device", "cpu", "--out", str(tmp_path / "out"), "--list"]
    command.main(["mine/two", *words[:-1]])
    command.main(["mine", *words])
    lines = capsys.readouterr().out.splitlines()
    assert "   1  missing       4 min  mine/sum_seed0_short" in lines
    assert "   2  missing       4 min  mine/sum_seed0" in lines
    assert "      done                 mine/sum_seed1" in lines
    assert "      reduced              mine/sum_seed1_short" in lines
    assert any(line.startswith("2 cells finished, 2 to run in about 8 min on ") for line in lines)
    assert fake.started == ["sum_seed1_short", "sum_seed1"]
    command.main(words)
    out = capsys.readouterr().out
    assert "Names of studies: mine, mine/one, mine/two" in out
    assert all(paper.number in out for paper in PAPERS)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["nothing"], "STUDY must be of mine, got 'nothing'"),
        (["mine/tow"], "STUDY must be of mine, got 'mine/tow': did you mean 'mine/two'?"),
        (["--data-dir", "missing"], "argument --data-dir: must be an existing folder, got missing"),
        (["--out", f"{__file__}/cells"], f"argument --out: must be a folder, got {__file__}/cells: {__file__} is"),
        (["--device", "abacus"], "--device 'abacus' is not available"),
        (["--minutes", "soon"], "--minutes: must be a number from 0"),
        (["--list", "--render"], "not allowed with argument"),
    ],
)
def test_slips_give_one_line(fake: Fake, words: list[str], shown: str, one_line: Callable[..., str]) -> None:
    assert shown in one_line(command.main, words)
    assert "the command must be reproduce, got 'run'" in one_line(program.main, ["run"])


# The papers' items and pages


def item_jobs(*jobs: Job) -> listing.Jobs:
    return {"mine": (Fake(), jobs)}


def test_the_state_of_an_item(tmp_path: Path) -> None:
    def job(number: int, setting: str = "", is_finished: bool = False) -> Job:
        return Job(f"row_{number}{setting}", ("one",), f"{number}", setting, is_finished=is_finished)

    item = Item("Table 1", "a table", "mine/one", ("row_*",))
    other = replace(item, cells=("column_*",))
    jobs = item_jobs(job(0, is_finished=True), job(1), job(1, "short", True), job(2))
    assert listing.state_of(item, jobs, tmp_path) == "1 done, 1 reduced, of 3 cells"
    assert listing.state_of(item, item_jobs(job(0, is_finished=True)), tmp_path) == "done (1 cell)"
    assert listing.state_of(item, item_jobs(job(0), job(1)), tmp_path) == "not run (2 cells)"
    assert listing.state_of(replace(item, data="svhn"), item_jobs(job(0)), tmp_path) == (
        "not run (1 cell): data not available"
    )
    assert listing.state_of(other, jobs, tmp_path) == "no study"
    assert listing.state_of(replace(item, studies="mine/two"), jobs, tmp_path) == "no study"
    assert listing.state_of(replace(item, studies="other"), jobs, tmp_path) == "no study"
    smaller = replace(item, cells=("row_2",), smaller="mine/one")
    assert listing.state_of(smaller, jobs, tmp_path) == "reduced (in mine/one)"


def test_the_state_of_runs_of_the_library(tmp_path: Path) -> None:
    item = Item("result", "a result", runs="net-60ep-*.json", smaller_runs="net-*.json", command="train")
    assert listing.state_of(item, {}, tmp_path) == "not run"
    write(tmp_path / "net-20ep-seed0.json", "{}")
    assert listing.state_of(item, {}, tmp_path) == "reduced (fewer epochs)"
    write(tmp_path / "net-60ep-seed0.json", "{}")
    write(tmp_path / "net-60ep-seed1.json", "{}")
    assert listing.state_of(item, {}, tmp_path) == "done (2 seeds)"


def test_the_page_of_commands(fake: Fake, place: Place) -> None:
    listing.write_pages({}, place.results, place.docs)
    text = (place.docs / "papers" / "from_paper_to_code.md").read_text(encoding="utf-8")
    assert all(item.shows in text for paper in PAPERS for item in paper.items)
    assert (
        "| Table 3 | classification by the last layer and by the last three | `python -m benchmarks reproduce" in text
    )
    index = (place.docs / "papers" / "index.md").read_text(encoding="utf-8")
    assert all(paper.question in index for paper in PAPERS)


def test_every_study_is_an_item_of_a_paper_and_every_item_has_a_study() -> None:
    pytest.importorskip("sklearn")
    modules = load_studies()
    assert len(modules) == len(MODULES)
    titles = {f"{studies.name}/{name}" for studies in modules for name in studies.titles}
    words = {word for paper in PAPERS for item in paper.items for word in (item.studies, item.smaller) if word}
    assert words - titles - {studies.name for studies in modules} == set()
    assert titles - words - {"seven_percent/fixes"} == set()


def test_every_module_names_its_paper() -> None:
    pytest.importorskip("sklearn")
    assert {studies.paper for studies in load_studies()} <= {paper.number for paper in PAPERS}


def test_every_pattern_of_the_order_names_a_module() -> None:
    known = {name.removesuffix(".study").rpartition(".")[2] for name in MODULES}
    for pattern in (pattern for patterns in ORDER.values() for pattern in patterns):
        kind, _, path = pattern.partition(" ")
        assert kind in ("own", "smaller", "*")
        assert path == "*" or path.partition("/")[0] in known


def test_modules_that_do_not_exist_are_left_out() -> None:
    assert load_studies(("benchmarks.nothing", "benchmarks.nothing.study")) == []
    with pytest.raises(TypeError, match="benchmarks.pages must have BENCH or STUDIES with name, paper"):
        load_studies(("benchmarks.pages",))
    [(studies, chosen)] = selected([Fake()], ["mine/two"])
    assert (studies.name, chosen) == ("mine", ("two",))


# All studies


@pytest.mark.slow
def test_every_study_at_a_tiny_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("sklearn", "matplotlib"):
        pytest.importorskip(name)
    command.main(["--tiny", "--device", "cpu", "--out", str(tmp_path)])
    out = capsys.readouterr().out
    for studies in load_studies():
        assert f"rendered {studies.name}\n" in out
        jobs = list(studies.jobs(Place(results=tmp_path, tiny=True)))
        assert jobs
        assert all(job.is_finished for job in jobs)
        assert {study for job in jobs for study in job.studies} == set(studies.titles)


@pytest.mark.slow
def test_the_pages_show_the_finished_cells(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    place = Place(docs=tmp_path)
    shutil.copytree(ROOT / "docs" / "papers", tmp_path / "papers")
    modules = load_studies()
    listing.write_pages(
        {studies.name: (studies, list(studies.jobs(place))) for studies in modules}, place.results, tmp_path
    )
    for page in (listing.COMMANDS, listing.INDEX):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert (tmp_path / page).read_text(encoding="utf-8") == text, "run python -m benchmarks reproduce --render"


def test_a_reader_that_closes_its_end_gives_no_message() -> None:
    result = subprocess.run(
        f"{sys.executable} -m benchmarks reproduce --list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""
