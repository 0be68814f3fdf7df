"""The runner of studies, and the Trifecta's tables."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import bench as benches
from benchmarks import cells, claims
from benchmarks.bench import Bench
from benchmarks.cells import Cell, Options, Row, Setting
from benchmarks.recorders import Histograms, StepNorms
from benchmarks.tables import Study, render
from forwardforward.recipes import get

pytest.importorskip("sklearn")
trifecta = pytest.importorskip("benchmarks.trifecta")
tables = pytest.importorskip("benchmarks.trifecta.tables")
symmetry = pytest.importorskip("benchmarks.trifecta.symmetry")

TINY = get("trifecta-fcn").replace(widths=(6, 6), batch_size=40)
SMALL = Setting(images=80)
ROW = Row("tiny", "tiny net", TINY, 3, total_epochs=4, paper={"digits": "97.00 ± 0.10"})
STUDY = Study("table", "Table", (Row("else", "theirs", epochs=9, paper={"digits": "90"}), ROW), ("digits",))
SMALLER = ["--images", "80", "--seeds", "0"]


@pytest.fixture
def place(tmp_path: Path) -> Options:
    return Options(tmp_path / "out", tmp_path / "work")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benches, "ROOT", tmp_path)
    return Bench("benchmarks.mine", (STUDY,))


def timeless(content: Any) -> Any:
    """A cell without what differs from run to run."""
    history = {key: value for key, value in content["history"].items() if key != "seconds"}
    return {**content, "seconds": None, "history": history}


def test_a_cell_is_written_and_read_back(place: Options) -> None:
    cell = Cell(ROW, "digits", 0, SMALL)
    assert cell.read(place.out) is None
    content = cell.run(place, lambda run, model: {"test_images": len(run.splits().test)}, "make it")
    assert content is not None
    assert cell.read(place.out) == json.loads(json.dumps(content))
    assert [path.name for path in place.out.iterdir()] == ["tiny_digits_images80_seed0_of4_epochs3.json"]
    assert content["training_images"] == 80
    assert content["command"] == "make it"
    assert content["result"]["test_images"] == content["result"]["samples"] == 360
    assert content["result"]["accuracy"] == 100 - content["result"]["error"]
    assert len(content["result"]["layer_errors"]) == 2
    assert content["config"]["loss"] == "SymBa(alpha=4.0)"
    assert content["history"]["epoch"] == [1, 2, 3]
    assert [len(layers) for layers in content["history"]["separation"]] == [2, 2, 2]


def test_a_cell_killed_between_epochs_goes_on(place: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorders = (StepNorms, lambda run: Histograms(run, epochs=(1,), images=20, bins=4))
    cell = Cell(replace(ROW, recorders=recorders), "digits", 1, SMALL)
    whole = cell.run(place, None, "")
    other = Options(tmp_path / "out2", tmp_path / "work2")

    def kill(self: cells.StopAtStage, state: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cells.StopAtStage, "on_epoch_end", kill)
        with pytest.raises(KeyboardInterrupt):
            cell.run(other, None, "")
    assert cell.read(other.out) is None
    assert timeless(cell.run(other, None, "")) == timeless(whole)
    assert whole is not None
    norms = whole["records"]["step_norms"]
    assert [step for step, *_ in norms] == [0, 1, 2, 3, 4, 5]  # two steps per epoch, with other layers in each
    assert [record["epoch"] for record in whole["records"]["histograms"]] == [1]
    [record] = whole["records"]["histograms"]
    assert [sum(layer["shares"]) for layer in record["weights"]] == pytest.approx([1, 1], abs=1e-3)
    assert [len(layer["shares"]) for layer in record["activations"]] == [4, 4]


def test_a_damaged_cell_is_named(
    bench: Bench, place: Options, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cell = Cell(ROW, "digits", 1, SMALL)
    cell.run(place, None, "")
    path = place.out / f"{cell.name}.json"
    for text, message in (
        (path.read_text()[:200], "is not a complete cell"),
        ('{"a": 1}', "is not a cell: it must contain"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            cell.read(place.out)
        with pytest.raises(SystemExit):
            bench.main(["table", "--render", "--out", str(place.out)])
        assert str(path) in capsys.readouterr().err


def test_stages_of_one_training(place: Options, tmp_path: Path) -> None:
    early = Cell(Row("tiny", "tiny net", TINY, 1, total_epochs=4), "digits", 0, SMALL)
    late = Cell(ROW, "digits", 0, SMALL)
    early.run(place, None, "")
    went_on = late.run(place, None, "")
    assert [path.name for path in place.work.iterdir()] == ["tiny_digits_images80_seed0_of4"]
    alone = late.run(Options(tmp_path / "out2", tmp_path / "work2"), None, "")
    assert timeless(went_on) == timeless(alone)
    with pytest.raises(ValueError, match="is at epoch 3, past tiny_digits_images80_seed0_of4_epochs1"):
        early.run(place, None, "")


def test_a_setting_changes_sizes_and_schedules_shrink_with_the_epochs() -> None:
    row = Row("line", "label", TINY, 100, total_epochs=200)
    full, short = Cell(row, "digits", 0), Cell(row, "digits", 0, Setting(epochs=10))
    assert (full.epochs, full.total_epochs) == (100, 200)
    assert (short.epochs, short.total_epochs) == (10, 20)
    assert Cell(row, "digits", 0, Setting(width=0.5)).recipe().widths == (3, 3)
    assert Cell(row, "digits", 0).recipe().batch_size == 40
    assert Cell(row, "digits", 0, Setting(batch_size=7)).recipe().batch_size == 7
    slow = Cell(row, "digits", 0, Setting(lr_factor=0.5))
    assert slow.recipe().lr == pytest.approx(0.5 * TINY.lr)
    assert slow.name == "line_digits_lr0.5_seed0_of200_epochs100"
    assert slow.setting.description() == "0.5 times the learning rate"


def test_another_recipe_under_the_same_name_is_refused(place: Options) -> None:
    Cell(ROW, "digits", 0, SMALL).run(place, None, "")
    changed = Cell(Row("tiny", "tiny net", TINY.replace(lr=0.1), 3, total_epochs=4), "digits", 0, SMALL)
    with pytest.raises(ValueError, match=r"the study has changed since the cell .*: lr \(was 0.001, is 0.1\); move it"):
        changed.read(place.out)
    with pytest.raises(ValueError, match=r"contains a run with other settings: lr \(was 0.001, is 0.1\)"):
        changed.run(place, None, "")


def test_the_time_is_up_and_the_run_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["table", *SMALLER, "--minutes", "1"]
    ticks = iter([0, 1, 2, 61])  # begin, first epoch, after it, after the second
    with monkeypatch.context() as patch:
        for module in (benches, cells):
            patch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: next(ticks)))
        bench.main(words)
    out = capsys.readouterr().out
    assert out.startswith("time is up in tiny_digits_images80_seed0_of4_epochs3, cell 1 of 1; resume with: ")
    assert "python -m benchmarks.mine table --images 80 --seeds 0 --minutes 1" in out
    checkpoint = Path("runs/mine/tiny_digits_images80_seed0_of4/checkpoint.pt")
    assert torch.load(checkpoint, weights_only=True)["epoch"] == 2
    assert not bench.folder.exists()
    bench.main(words)
    assert len(list(bench.folder.glob("*.json"))) == 1
    assert "| tiny net | 3 |" in (bench.folder / "table.md").read_text(encoding="utf-8")
    bench.main(["table", "--render"])


def finished(seed: int, accuracy: float | None, **setting: Any) -> dict[str, Any]:
    cell = Cell(ROW, "digits", seed, Setting(**setting))
    return {
        **{"name": cell.name, "data": "digits", "seed": seed, "epochs": cell.epochs, "setting": vars(cell.setting)},
        **{"result": {"diverged": "so"} if accuracy is None else {"accuracy": accuracy}},
        **{"device": "cpu", "torch": "2", "seconds": 60.0},
    }


def test_tables_say_what_was_not_run_or_run_smaller() -> None:
    empty = render(STUDY, [])
    assert "| theirs | 9 | 90 | reported only |" in empty
    assert "| tiny net | 3 | 97.00 ± 0.10 | not run |" in empty
    assert "Nothing here has been run." in empty
    assert "reduced" not in empty

    some = [finished(0, 95.0), finished(1, 96.0), finished(0, 50.0, epochs=1, width=0.5, images=80)]
    whole, reduced = render(STUDY, some).split("### Table, reduced: 1 epoch, 0.5 times the width, 80 training images")
    assert "| tiny net | 3 | 97.00 ± 0.10 | 95.50 ± 0.71 (2 seeds) |" in whole
    assert "| tiny net | 1 in place of 3 | 97.00 ± 0.10 | 50.00 (1 seed) |" in reduced
    assert "digits, paper, its own setting" in reduced

    small = render(STUDY, [finished(0, 50.0, precision="bf16")])
    assert "| not run; reduced below |" in small
    assert "### Table, reduced: precision bf16" in small
    assert "| diverged (1 seed) |" in render(STUDY, [finished(0, None)])
    assert "95.00 (2 seeds, 1 diverged)" in render(STUDY, [finished(0, 95.0), finished(1, None)])


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["tables"], "must be one of"),
        (["table", "--rows", "huge"], "--rows must be of tiny-3, got 'huge'"),
        (["table", "--data", "mnits"], "--data must be of"),
        (["table", "--data", "imdb"], "--data must be of cifar10, cifar100, digits,"),
        (["table", "--seeds", "a"], "must be an integer from 0 to 2147483647, got 'a'"),
        (["table", "--epochs", "0"], "must be an integer from 1 to"),
        (["table", "--batch-size", "0"], "must be an integer from 1 to"),
        (["table", "--width", "nan"], "must be a number from 0.001 to"),
        (["table", "--images", "99999"], "--images 99999 does not suit digits: train_samples must be from 10 to 1437"),
        (["table", "--device", "abacus"], "--device 'abacus' is not available"),
        (["table", "--precision", "int8"], "must be one of"),
        (["table", "--data", "mnist", "--data-dir", "nowhere"], "nowhere"),
    ],
)
def test_slips_give_one_line(bench: Bench, words: list[str], shown: str, one_line: Callable[..., str]) -> None:
    if "--data-dir" in words:
        pytest.importorskip("torchvision")
    assert shown in one_line(bench.main, words)


def test_too_little_memory_gives_one_line(bench: Bench, one_line: Callable[..., str]) -> None:
    line = one_line(bench.main, ["table", *SMALLER, "--width", "350000000"])
    assert "must lead to tensors that fit into the" in line


# The Trifecta


def rows() -> list[Row]:
    """A row of each line that is trained."""
    every = {row.line: row for study in trifecta.BENCH.studies for row in study.rows if row.recipe is not None}
    return list(every.values())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.line)
@pytest.mark.slow
def test_every_line_trains(row: Row) -> None:
    recipe = Cell(row, "digits", 0, Setting(width=0.05)).recipe()
    model, images = recipe.model((1, 8, 8), 10), torch.rand(8, 1, 8, 8)
    model.preprocessing.fit(images)
    result = model.step(
        (images, torch.arange(8)), recipe.local_optimizer(), groups=recipe.schedule(len(model), 0, 0, 1)
    )
    assert all(bool(torch.isfinite(local.loss)) for local in result.layers.values())
    assert model.predict(torch.rand(2, 1, 8, 8)).shape == (2,)


def test_lines_mean_the_same_in_all_studies() -> None:
    tables: dict[str, dict[str, str]] = {}
    for study in trifecta.BENCH.studies:
        for row in study.rows:
            if row.recipe is not None:
                table = Cell(row, "cifar10", 0).recipe().table()
                assert tables.setdefault(f"{row.line} of {row.total_epochs}", table) == table


def test_the_papers_figures() -> None:
    table1, table2, table3 = (tables.TABLE_1, tables.TABLE_2, tables.TABLE_3)
    assert len(table1) == 12
    assert all(row.paper.keys() == {"cifar10"} and row.epochs == 100 for row in table1)
    assert {row.label: row.paper["cifar10"] for row in table1}["threshold 10 + BN"] == "37.31 ± 3.01"
    found = {(row.label, row.epochs): row.paper for row in table2}
    assert found["TFF/s", 100]["cifar10"] == table1[-1].paper["cifar10"] == "75.23 ± 0.65"
    assert found["TFF/d", 500]["mnist"] == "99.58 ± 0.06"
    assert found["BP/d", 100]["cifar100"] == "59.64 ± 0.46"
    assert found["PEP/t", 100]["fashion-mnist"] == ""
    assert [row.paper["cifar10"] for row in table3] == ["83.51 ± 0.78", "83.72 ± 0.80"]
    assert [row.metric for row in table3] == ["accuracy", "last_three_accuracy"]


def test_the_ablation_leaves_out_what_it_says() -> None:
    parts = {row.line: row.recipe.table() for row in tables.TABLE_1}
    assert (parts["symba"]["normalization"], parts["symba"]["schedule"]) == ("RMSNorm(eps=1e-08)", "Joint()")
    assert parts["symba-olu"]["label_encoder"] == parts["tff-s"]["label_encoder"] == "LearnedChannel"
    assert parts["symba-bn"]["label_encoder"] == "RandomChannel"
    assert parts["ftl10"]["loss"].startswith("Threshold(theta=10.0")


@pytest.mark.slow
def test_the_figures_of_the_dense_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    words = ["figures-dense", "--data", "digits", "--epochs", "1"]
    smaller = ["--width", "0.02", "--images", "40", "--batch-size", "20"]
    folders = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    trifecta.BENCH.main([*words, *smaller, *folders])
    drawn = {path.name for path in (tmp_path / "out" / "figures").rglob("*.png")}
    assert drawn == {f"figure{number}_digits.png" for number in ("2", "7_left", "7_right", "8", "9", "10")}
    cell = json.loads(next((tmp_path / "out").glob("f-batch*.json")).read_text(encoding="utf-8"))
    assert len(cell["result"]["largest_goodness"]) == len(cell["result"]["largest_weight"]) == 6
    assert 0 <= cell["result"]["last_three_accuracy"] <= 100
    assert cell["result"]["all_accuracy"] >= 0
    assert len(cell["result"]["probe_accuracy"]) == 6
    assert all(0 <= accuracy <= 100 for accuracy in cell["result"]["probe_accuracy"])
    assert [len(record) for record in cell["records"]["step_norms"]] == [7]  # the first of two steps, six layers
    assert cell["command"].endswith(f"--rows f-batch-100 --data digits --seeds 0 --epochs 1 {' '.join(smaller)}")


@pytest.mark.slow
def test_every_study_of_the_trifecta_trains_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    words = ["all", "--data", "digits", "--seeds", "0", "--epochs", "1", "--width", "0.03"]
    smaller = ["--images", "40", "--batch-size", "20"]
    trifecta.BENCH.main([*words, *smaller, "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")])
    out = capsys.readouterr().out
    assert "| SymBa + BN is better than SymBa | digits | +9.29 | " in out
    drawn = {path.name.removesuffix("_digits.png") for path in (tmp_path / "out" / "figures").rglob("*.png")}
    assert {"figure1", "figure4", "figure3", "figure5", "figure6", "table1", "sweep-tau", "gradcam"} <= drawn
    neutral = json.loads(next((tmp_path / "out").glob("tff-s-neutral_*.json")).read_text(encoding="utf-8"))["result"]
    assert {"frozen_neutral_linear", "frozen_random_hidden", "head_error"} <= set(neutral)


def test_a_verdict_needs_two_standard_errors() -> None:
    first, second = tables.BY_LOSS["symba"][:2]

    def shown(better: tuple[float, ...]) -> str:
        values = ((first, (50.0, 51.0, 52.0)), (second, better))
        cells = {
            (row.name, "cifar10"): [{"result": {"accuracy": value}} for value in accuracies]
            for row, accuracies in values
        }
        text = claims.remark(tables.claims_of_table1())(cells)
        assert text.count("| SymBa + BN is better than SymBa |") == 1  # the other rows have no cells
        return text.splitlines()[2]

    error = (1 / 3 + 3 / 3) ** 0.5
    claim = "| SymBa + BN is better than SymBa | CIFAR-10 | +9.29 |"
    assert shown((60.0, 60.0, 63.0)) == f"{claim} +10 ± {error:.2g} | confirmed |"
    assert shown((40.0, 40.0, 43.0)) == f"{claim} -10 ± {error:.2g} | refuted |"
    assert shown((52.0, 52.0, 55.0)) == f"{claim} +2 ± {error:.2g} | undecided |"
    assert shown((60.0,)) == f"{claim} +9 | undecided: one seed |"
    assert claims.remark(tables.claims_of_table1())({}) == ""
    equal = claims.Claim("equal", "a", "b", tolerance=1.0)
    assert [claims.verdict(equal, mean, 0.2) for mean in (0.5, -0.5, 0.8, 1.5, -1.5)] == [
        *["confirmed"] * 2,
        "undecided",
        *["refuted"] * 2,
    ]


def test_a_claim_compares_with_numbers_and_with_sums_of_rows() -> None:
    def cells(**rows: tuple[float, ...]) -> Any:
        return {(name, "mnist"): [{"result": {"accuracy": value}} for value in values] for name, values in rows.items()}

    above = claims.Claim("above 97", "a", {"mnist": 97.0}, {"mnist": "+0.44"})
    seeds = cells(a=(98.0, 99.0))
    assert claims.difference(above, seeds, "mnist") == (1.5, pytest.approx(0.5))
    assert claims.difference(above, {("a", "svhn"): seeds["a", "mnist"]}, "svhn") is None
    assert "| above 97 | MNIST | +0.44 | +1.5 ± 0.5 | confirmed |" in claims.remark([above])(seeds)
    assert claims.difference(claims.Claim("above 100", "a", 100.0), seeds, "mnist") == (-1.5, pytest.approx(0.5))
    more = claims.Claim("more than the sum", "both", "norm", further={"overlap": -1.0, "alone": 1.0})
    rows = cells(alone=(50.0, 51.0), norm=(60.0, 61.0), overlap=(56.0, 57.0), both=(70.0, 75.0))
    gain = (72.5 - 50.5) - (60.5 - 50.5) - (56.5 - 50.5)
    error = ((3 * 0.5 + 12.5) / 2) ** 0.5
    assert claims.difference(more, rows, "mnist") == (gain, pytest.approx(error))
    del rows["alone", "mnist"]
    assert claims.difference(more, rows, "mnist") is None


def test_claims_are_about_rows_of_their_studies() -> None:
    studies = {study.name: study for study in trifecta.BENCH.studies}
    of_tables = {"table1": tables.claims_of_table1(), "table2": tables.claims_of_table2()}
    for name, of_study in {**trifecta.CLAIMS, **of_tables}.items():
        rows = {row.name for row in studies[name].rows}
        assert studies[name].remark is not None
        assert all(set(claim.factors()) <= rows for claim in of_study)


def test_figures_of_claims() -> None:
    norms = [[0, 1.0, 4.0], [17, 3.0, None], [34, 5.0, 8.0]]
    result = {
        "layer_errors": [40.0, 30.0, 35.0],
        "accuracy": 65.0,
        "last_three_accuracy": 66.5,
        "probe_accuracy": [50.0, 52.0, 45.0],
        "largest_weight": [0.2, 0.5, 0.1],
    }
    cell = {"result": result, "records": {"step_norms": norms}}
    columns = pytest.importorskip("benchmarks.trifecta.columns")
    figures = {
        columns.layer_lead(-1, 0): 5.0,
        columns.layer_lead(0, -1): -5.0,
        columns.excess("last_three_accuracy", "accuracy"): 1.5,
        columns.gradient_variation(0): 2 / 3,
        columns.gradient_variation(1): 8**0.5 / 6,
        columns.gradient_size(0): math.log10(3),
        columns.loss_of_features: 5.0,
        columns.largest_weight: 0.5,
    }
    for figure, expected in figures.items():
        assert figure(cell) == pytest.approx(expected)
        assert figure({"result": {"diverged": "loss is NaN"}}) is None


def test_the_reduced_setting_runs_every_seed_and_unavailable_data_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    reduced = Setting(epochs=1, images=40, lr_factor=0.5)
    study = Study("one", "One", (ROW,), ("digits", "svhn"), seeds=(0, 1), reduced=reduced, unavailable=("svhn",))
    place = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    Bench("benchmarks.mine", (study,)).main(["one", "--reduced", *place])
    out = capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("tiny_digits_images40_lr0.5_seed*.json"))) == 2
    assert "| tiny net | 3 | 97.00 ± 0.10 | not run; reduced below | data not available |" in out
    assert "### One, reduced: 1 epoch, 40 training images, 0.5 times the learning rate" in out
    with pytest.raises(SystemExit):
        Bench("benchmarks.mine", (study,)).main(["one", "--reduced", "--epochs", "2", *place])
    assert "--reduced must be given without other sizes" in capsys.readouterr().err


def test_the_symmetry_of_the_losses() -> None:
    def softplus(x: float) -> float:
        return math.log(1 + math.exp(x))

    for positive, negative in symmetry.ERRORS:
        found = symmetry.comparisons(symmetry.LOSSES["threshold 2"], positive, negative)
        assert found[0] == pytest.approx(softplus(-positive) + softplus(negative))
        assert found[1] == pytest.approx(softplus(positive) + softplus(-negative))
        assert found[2:4] == pytest.approx([1 / (1 + math.exp(-negative)), 1 / (1 + math.exp(-positive))])
        assert symmetry.comparisons(symmetry.LOSSES["SymBa, alpha 1"], positive, negative)[4] == pytest.approx(1)
