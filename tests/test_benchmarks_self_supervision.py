"""The study of self-supervision: its recipes, what a cell measures, the verdicts and the page."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import bench as benches
from benchmarks.bench import Bench
from benchmarks.cells import Cell, Options, Setting, load_splits
from forwardforward.diagnostics import probe

pytest.importorskip("sklearn")
study = pytest.importorskip("benchmarks.self_supervision")
claims = pytest.importorskip("benchmarks.self_supervision.claims")
methods = pytest.importorskip("benchmarks.self_supervision.methods")
transfer = pytest.importorskip("benchmarks.self_supervision.transfer")

TINY = Setting(epochs=1, width=0.004, images=60, batch_size=30)
SMALL = ["--data", "digits", "--epochs", "1", "--width", "0.004", "--images", "60", "--batch-size", "30"]


def every_row() -> dict[str, Any]:
    return {row.line: row for bench_study in study.STUDIES for row in bench_study.rows}


@pytest.mark.parametrize("line", [line for line in every_row() if line.partition("-")[0] not in ("flip", "jigsaw")])
def test_every_method_trains(line: str) -> None:
    row = every_row()[line]
    classes = 10 if row.pretext is None else row.pretext.num_classes
    recipe = Cell(row, "mnist", 0, TINY).recipe()
    model: Any = recipe.model((1, 8, 8), classes)
    images = torch.rand(12, 1, 8, 8)
    model.preprocessing.fit(images)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = recipe.local_optimizer()
    groups = recipe.schedule(len(model), 0, 0, 1)
    for _ in range(3):
        result = model.step((images, torch.arange(12) % classes), optimizer, groups=groups)
    losses = [local.loss for local in result.layers.values()] or [result.head.loss]
    assert all(bool(torch.isfinite(loss)) for loss in losses)
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert {f"layers.{layer}.block.weight" for layer in range(len(model))} <= changed


def test_methods_differ_in_loss_or_in_locality_only() -> None:
    tables = {name: recipe.table() for name, recipe in methods.DENSE.items()}

    def differing(a: str, b: str) -> set[str]:
        return {name for name in {**tables[a], **tables[b]} if tables[a].get(name) != tables[b].get(name)}

    for local in ("ff", "class", "contrast"):
        assert differing(local, f"{local}-joint") == {"schedule"}
    assert differing("ff", "class") == {"goodness", "loss", "label_encoder"}
    assert differing("class", "contrast") == {"goodness", "loss", "objective", "overrides"}
    assert differing("class", "bp") == {"goodness", "loss", "baseline", "schedule", "optimizer_options"}
    assert methods.DENSE["bp"].optimizer_options == {"fused": True}  # the same rule in one kernel
    assert tables["ff"]["widths"] == "(2000, 2000, 2000, 2000)"
    assert tables["ff"]["lr"] == "0.0001"


def test_widths_divide_into_groups_of_any_pretext() -> None:
    for classes in (2, 4, 10):
        model = methods.DENSE["groups"].replace(widths=(7, 13)).model((1, 8, 8), classes)
        assert [layer.block.out_features % classes for layer in model] == [0, 0]
        assert [layer.block.out_features // classes for layer in model] == [-(-7 // classes), -(-13 // classes)]


# Cells


def test_a_cell_measures_transfer_to_the_images_own_classes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transfer, "MAPPED", 40)
    monkeypatch.setattr(transfer, "PROBE_EPOCHS", 2)
    row = every_row()["rotation-class"]
    models = []

    def measure(run: Any, model: Any) -> Any:
        models.append(model)
        return transfer.measure(run, model)

    place = Options(tmp_path / "out", tmp_path / "work")
    cell = Cell(row, "digits", 0, TINY)
    content = cell.run(place, measure, "make it")
    assert content is not None
    assert content["config"]["pretext"] == "Rotation()"
    result, splits = content["result"], load_splits("digits", None, None)
    train, test, epochs = splits.train_and_validation, splits.test, transfer.PROBE_EPOCHS
    errors = probe(models[0], train, test, epochs=epochs)
    errors += probe(models[0], train, test, layers=[range(4)], epochs=epochs)
    assert result["transfer"] == pytest.approx([100 - error for error in errors], abs=0.01)
    assert len(result["map"]) == len(result["map_classes"]) == 40
    assert result["map_classes"] == test.targets[:40].tolist()
    assert result["samples"] == 360
    rotated = study.PRETEXTS["rotation"].splits(splits).test
    correct = [int(a == b) for a, b in zip(models[0].predict(rotated), rotated.targets, strict=True)]
    assert result["accuracy"] == pytest.approx(100 * statistics.mean(correct))
    assert cell.read(place.out) is not None
    other = every_row()["rotation-class"]
    object.__setattr__(changed := type(other)(**vars(other)), "pretext", study.PRETEXTS["flip"])
    with pytest.raises(ValueError, match=r"pretext \(was Rotation\(\), is Flip\(\)\)"):
        Cell(changed, "digits", 0, TINY).read(place.out)


@pytest.mark.slow
def test_the_page_is_filled_from_the_cells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blank_figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benches, "ROOT", tmp_path)
    monkeypatch.setattr(transfer, "MAPPED", 40)
    monkeypatch.setattr(transfer, "PROBE_EPOCHS", 1)
    page = tmp_path / "docs" / "self_supervision.md"
    page.parent.mkdir()
    page.write_text(study.BENCH.page.read_text(encoding="utf-8"), encoding="utf-8")
    bench = Bench("benchmarks.self_supervision", study.STUDIES, transfer.measure, page)
    bench.main(["pretexts", "--rows", "rotation-ff,rotation-bp,rotation-ff-joint,hybrid", "--seeds", "0", *SMALL])
    cells = {
        content["line"]: content["result"]
        for content in (json.loads(path.read_text(encoding="utf-8")) for path in bench.folder.glob("*.json"))
    }
    shown = page.read_text(encoding="utf-8")
    ff, bp = (cells[f"rotation-{method}"]["transfer"] for method in ("ff", "bp"))
    assert f"rotation on digits {bp[-1] - ff[-1]:+.1f}" in shown
    assert "| rotation: Forward-Forward (pair goodness) | " + " | ".join(f"{v:.1f}" for v in ff) + " |" in shown
    for entry, words in (("untrained", "untrained network (random features)"), ("pixels", "pixels |  |  |  | ")):
        assert f"| {words} | " + " | ".join(f"{v:.1f}" for v in cells["hybrid"][entry]) + " |" in shown
    assert "untrained" not in cells["rotation-ff"]
    figures = sorted(path.name for path in bench.folder.rglob("*.png"))
    assert figures == ["map_digits.png", "transfer_digits.png"]
    assert all(f"/{figure})" in shown for figure in figures)
    bench.main(["all", "--render"])
    assert "Loss or locality: not run." in capsys.readouterr().out


# Verdicts


def cells_of(values: dict[str, list[float]], data: str = "mnist") -> dict[Any, Any]:
    """Finished cells with these transfers by all layers, one per seed; the first layer has 90, the last 80."""
    return {
        (f"{line}-60", data): [
            {"line": line, "data": data, "seed": seed, "result": {"accuracy": value, "transfer": [90, 85, 80, value]}}
            for seed, value in enumerate(of_line)
        ]
        for line, of_line in values.items()
    }


def verdicts(text: str) -> list[str]:
    return [line.rsplit("|", 2)[1].strip() for line in text.splitlines()[2:]]


def test_claims_are_judged_by_their_criteria() -> None:
    cells = cells_of(
        {"flip-bp": [90.0, 90.0], "flip-ff": [80.0, 80.0], "flip-ff-joint": [84.9, 84.9], "hybrid": [80.9, 80.9]}
    )
    assert verdicts(claims.pretext_claims(cells, ["flip"])) == [
        "**confirmed** (1 of 1)",
        "**confirmed** (1 of 1)",
        "**refuted** (0 of 1)",
        "**confirmed** (1 of 1)",
        "not run",
    ]
    cells = cells_of(
        {"flip-bp": [90.0, 90.0], "flip-ff": [80.0, 80.0], "flip-ff-joint": [85.1, 85.1], "hybrid": [81.1, 81.1]}
    )
    cells |= cells_of({"flip-bp": [80.9, 80.9], "flip-ff": [80.0, 80.0], "flip-ff-joint": [70.0, 70.0]}, "cifar10")
    text = claims.pretext_claims(cells, ["flip", "jigsaw"])
    assert verdicts(text) == [
        "**undecided** (1 of 2)",
        "**refuted** (0 of 1)",  # where there is no gap, nothing can be closed
        "**confirmed** (1 of 1)",
        "**confirmed** (2 of 2)",
        "not run",
    ]
    assert "flip on MNIST +10.0; flip on CIFAR-10 +0.9" in text
    assert verdicts(claims.pretext_claims({}, ["flip"])) == ["not run"] * 5
    equal = cells_of({"flip-bp": [80.0, 80.0], "flip-ff": [80.0, 80.0], "flip-ff-joint": [80.0, 80.0]})
    assert verdicts(claims.pretext_claims(equal, ["flip"]))[1] == "does not apply: no gap to close"


def test_a_task_with_one_seed_is_listed_and_does_not_count() -> None:
    cells = cells_of({"flip-bp": [90.0], "flip-ff": [80.0, 80.0]})
    text = claims.pretext_claims(cells, ["flip"])
    assert verdicts(text)[0] == "undecided: one seed"
    assert "flip on MNIST +10.0 (one seed)" in text
    cells |= cells_of({"flip-bp": [80.0, 80.0], "flip-ff": [80.0, 80.0]}, "cifar10")
    assert verdicts(claims.pretext_claims(cells, ["flip"]))[0] == "**refuted** (0 of 1)"


@pytest.mark.parametrize(("untrained", "verdict"), [(88.9, "**confirmed** (1 of 1)"), (89.1, "**refuted** (0 of 1)")])
def test_a_control_compares_training_on_a_pretext_with_an_untrained_network(untrained: float, verdict: str) -> None:
    cells = cells_of({"flip-bp": [90.0, 90.0], "flip-ff": [80.0, 80.0], "hybrid": [80.9, 80.9]})
    for hybrid in cells["hybrid-60", "mnist"]:
        hybrid["result"]["untrained"] = [95.0, untrained]
    text = claims.pretext_claims(cells, ["flip"])
    assert verdicts(text)[-1] == verdict
    assert f"flip on MNIST {90 - untrained:+.1f}" in text.splitlines()[-1]


def test_a_difference_must_exceed_the_spread_over_the_seeds() -> None:
    noisy = cells_of({"flip-bp": [90.0, 80.0, 85.0], "flip-ff": [80.0, 84.0, 79.0]})
    errors = [statistics.stdev(values) ** 2 / 3 for values in ([90.0, 80.0, 85.0], [80.0, 84.0, 79.0])]
    assert 2 * sum(errors) ** 0.5 > 4.0
    assert verdicts(claims.pretext_claims(noisy, ["flip"]))[0] == "**refuted** (0 of 1)"
    clear = cells_of({"flip-bp": [85.0, 85.1, 84.9], "flip-ff": [81.0, 81.1, 80.9]})
    assert verdicts(claims.pretext_claims(clear, ["flip"]))[0] == "**confirmed** (1 of 1)"


@pytest.mark.parametrize(
    ("square", "expected"),
    [
        ((80, 81, 90, 91), "**the loss** (loss +10.0, locality +1.0 points over 1 task)"),
        ((80, 90, 81, 91), "**the locality** (loss +1.0, locality +10.0 points over 1 task)"),
        ((80, 85, 86, 91), "**both** (loss +6.0, locality +5.0 points over 1 task)"),
        ((80, 83, 87, 90), "**the loss** (loss +7.0, locality +3.0 points over 1 task)"),
        ((80, 80, 79, 81), "**neither** (loss +0.0, locality +1.0 points over 1 task)"),
    ],
)
def test_the_loss_or_the_locality(square: tuple[float, ...], expected: str) -> None:
    lines = ("ff", "ff-joint", "class", "class-joint")
    cells = cells_of({f"flip-{line}": 2 * [float(value)] for line, value in zip(lines, square, strict=True)})
    text = claims.loss_or_locality(cells, ["flip", "rotation"])
    assert f"What harms transfer: against the per-class loss, {expected}." in text


def test_one_seed_does_not_tell_loss_from_locality() -> None:
    cells = cells_of({f"flip-{line}": [80.0] for line in ("ff", "ff-joint", "class", "class-joint")})
    assert "against the per-class loss, undecided: one seed." in claims.loss_or_locality(cells, ["flip"])


def test_supervised_training_is_comparable_within_two_points() -> None:
    cells = cells_of({"supervised-bp": [98.0, 98.0], "supervised-ff": [96.0, 96.0]})
    cells |= cells_of({"supervised-bp": [55.0, 55.0], "supervised-ff": [52.9, 52.9]}, "cifar10")
    text = claims.supervised_claim(cells)
    assert verdicts(text) == ["**undecided** (1 of 2)"]
    assert "MNIST +2.0; CIFAR-10 +2.1" in text
