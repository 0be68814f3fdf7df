"""Run folders, and the table that is made from their summaries."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from forwardforward.recipes import RECIPES, get
from forwardforward.runs import Run, RunConfig
from forwardforward.training import CheckpointError, load_checkpoint

pytest.importorskip("sklearn")

RECIPE = get("hinton").on("digits").with_(hidden=(12, 12), epochs=2, batch_size=100)


@pytest.fixture(autouse=True)
def _keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def config(**changes: Any) -> RunConfig:
    values: dict[str, Any] = {
        "data": "digits",
        "recipe": "hinton",
        "hidden": (12, 12),
        "epochs": 2,
        "batch_size": 100,
        "seed": 3,
        "data_dir": None,
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
        "validation": False,
        "command": "python -m forwardforward train",
        "table": RECIPE.table(),
        "compile": False,
        "vectors": None,
    }
    return RunConfig(**{**values, **changes})


def test_a_run_leaves_its_files(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    summary = run.train(progress=False)
    run.plot()
    files = {path.name for path in run.folder.iterdir()}
    assert files == {"config.json", "history.jsonl", "checkpoint.pt", "summary.json", "curves.png"}
    assert json.loads((run.folder / "summary.json").read_text()) == summary
    assert 0 <= summary["test_error"] <= 100
    assert len(summary["layer_errors"]) == 2
    assert summary["seconds"] > 0
    assert {"head_error", "parameters", "threads", "torch", "command", "cores"} <= set(summary)
    assert (summary["epochs"], summary["recipe"], summary["data"], summary["seed"]) == (2, "hinton", "digits", 3)
    assert [json.loads(line)["epoch"] for line in (run.folder / "history.jsonl").read_text().splitlines()] == [1, 2]
    assert load_checkpoint(run.folder / "checkpoint.pt")["epoch"] == 2
    assert Run.open(run.folder).config == run.config
    assert run.evaluate().error == summary["test_error"]


def test_a_finished_run_trains_no_further(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config(epochs=1, table=RECIPE.with_(epochs=1).table()))
    assert run.train(progress=False) == run.train(progress=False)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a b", config())
    with pytest.raises(FileExistsError, match=r"--resume '.*a b', or give another --out"):
        Run.create(run.folder, config())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text("mine")
    with pytest.raises(FileExistsError, match=r"summary\.json"):
        Run.create(tmp_path / "other", config())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        Run.create(tmp_path / "file", config())


def test_discard_takes_only_its_own(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    (run.folder / "notes.txt").write_text("mine")
    run.discard()
    assert [path.name for path in run.folder.iterdir()] == ["notes.txt"]
    Run.create(tmp_path / "run", config()).train(progress=False)
    run.discard()
    assert (run.folder / "checkpoint.pt").exists()


def test_what_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no run"):
        Run.open(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no run"):
        Run.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change", [{"epochs": "2"}, {"hidden": 12}, {"hidden": ["a"]}, {"extra": 1}, {"seed": True}, None]
)
def test_a_damaged_configuration(tmp_path: Path, change: dict[str, Any] | None) -> None:
    path = tmp_path / "config.json"
    content = json.dumps({**dataclasses.asdict(config()), **(change or {})})
    path.write_text(content if change else content[:40])
    with pytest.raises(ValueError, match=r"config\.json is not the configuration of a run"):
        Run.open(tmp_path)


def test_a_recipe_that_has_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config(table={**RECIPE.table(), "lr": "0.5"}))
    with pytest.raises(ValueError, match="has changed since the run began: lr"):
        Run.open(run.folder).train(progress=False)


def test_a_checkpoint_cut_short(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    run.train(progress=False)
    checkpoint = run.folder / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    for use in (run.evaluate, lambda: run.train(progress=False)):
        with pytest.raises(CheckpointError, match="cut short"):
            use()


def test_a_full_disk_keeps_what_was_there_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "run", config())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(
            CheckpointError, match=r"No space left on device.*go on with: forwardforward train --resume"
        ):
            run.train(progress=False)
    assert {path.name for path in run.folder.iterdir()} <= {"config.json", "history.jsonl"}
    assert run.train(progress=False)["epochs"] == 2


@pytest.fixture
def results_table() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "results_table.py"
    if not path.exists():
        pytest.skip("benchmarks are not here")
    spec = importlib.util.spec_from_file_location("results_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def summary(**changes: Any) -> dict[str, Any]:
    return {
        "data": "mnist",
        "recipe": "hinton",
        "hidden": [1000, 1000, 1000],
        "epochs": 60,
        "seed": 0,
        "test_error": 1.5,
        "layer_errors": [2.0, 1.75, 1.625],
        "head_error": 1.25,
        "seconds": 300.0,
        "command": "python -m forwardforward train mnist --recipe hinton --seed 0 --threads 2 --json",
        **changes,
    }


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_seeds_make_one_row(results_table: ModuleType) -> None:
    (row,) = cells(results_table.render([summary(seed=1, test_error=1.7, head_error=1.35), summary()]))
    assert row == [
        "hinton", "3×1000", "mnist", "60", "0, 1", "1.60 ± 0.14", "1.30 ± 0.07",
        "1.47 (Hinton's code)", "5.0", "`python -m forwardforward train mnist --recipe hinton --seed S`",
    ]  # fmt: skip


def test_what_was_not_measured_stays_empty(results_table: ModuleType) -> None:
    other = summary(recipe="backprop", hidden=[500, 300, 300], layer_errors=None, head_error=None)
    (row,) = cells(results_table.render([other]))
    assert row[1] == "500, 2×300"
    assert row[5:8] == ["1.50", "", ""]


def test_other_lengths_and_widths_are_other_rows(results_table: ModuleType) -> None:
    rows = cells(results_table.render([summary(), summary(epochs=5), summary(hidden=[2000] * 4)]))
    assert sorted(row[7] for row in rows) == ["", "1.36 (Hinton 2022)", "1.47 (Hinton's code)"]


def test_a_seed_twice_is_refused(results_table: ModuleType) -> None:
    with pytest.raises(ValueError, match="seed twice"):
        results_table.render([summary(), summary()])


def test_a_table_by_need_shows_the_longest_training(results_table: ModuleType) -> None:
    some = [summary(epochs=5, test_error=2.5), summary(parameters=2_807_010)]
    rows = {row[1]: row for row in cells(results_table.render_needs(some))}
    assert len(rows) == len(results_table.NEEDS)
    assert rows["`hinton`"][2:7] == ["mnist", "98.50", "5.0", "2.8 M", "60"]
    assert rows["`hcl-ff`"][3:] == [
        "not yet run", "", "", "", "`python -m forwardforward train cifar10 --recipe hcl-ff`",
    ]  # fmt: skip


def test_the_needs_name_recipes(results_table: ModuleType) -> None:
    assert {recipe for _, recipe, _ in results_table.NEEDS} <= set(RECIPES)


def test_a_page_is_written_and_checked(
    results_table: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme, page = tmp_path / "README.md", tmp_path / "page.md"
    readme.write_text("before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter\n")
    page.write_text("<!-- results:begin symba, hinton -->\n<!-- results:end -->\n")
    (tmp_path / "one.json").write_text(json.dumps(summary()))
    (tmp_path / "speed.json").write_text(json.dumps({"ratio": 1.3}))
    arguments = [str(readme), str(page), "--results", str(tmp_path)]
    assert results_table.main([*arguments, "--check"]) == 1
    assert "page.md is stale" in capsys.readouterr().err
    assert results_table.main(arguments) == 0
    assert results_table.main([*arguments, "--check"]) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- results:begin -->\n| recipe |")
    assert text.endswith("|\n<!-- results:end -->\nafter\n")
    assert page.read_text().startswith("<!-- results:begin symba, hinton -->\n| recipe |")
    assert page.read_text().endswith("|\n\nNot yet run at full length: `symba`.\n<!-- results:end -->\n")
    readme.write_text("no markers")
    assert results_table.main(arguments) == 2
    assert readme.read_text() == "no markers"


def test_a_run_leaves_the_callers_randomness_and_threads_alone(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    before = torch.get_rng_state()
    Run.create(tmp_path / "run", config(threads=2)).train(progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 1
