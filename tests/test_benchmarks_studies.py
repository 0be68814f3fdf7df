"""The studies of thresholds and activations: their rows, what they measure, and how they are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import forwardforward as ff
from benchmarks import bench as benches
from benchmarks import inspection, robustness
from benchmarks.bench import Bench
from benchmarks.cells import Cell, Row, Setting, read_cell
from benchmarks.tables import Study, by_setting, render
from forwardforward.data import TensorData
from forwardforward.recipes import get

pytest.importorskip("sklearn")
activations = pytest.importorskip("benchmarks.activations")
self_supervision = pytest.importorskip("benchmarks.self_supervision")
thresholds = pytest.importorskip("benchmarks.thresholds")
trifecta = pytest.importorskip("benchmarks.trifecta")

BENCHES = (thresholds.BENCH, activations.BENCH, trifecta.BENCH, self_supervision.BENCH)

SMALL = ["--data", "digits", "--epochs", "2", "--width", "0.004", "--images", "60", "--seeds", "0"]


# Rows


def rows() -> list[Row]:
    """A row of each line that is trained, of both benches."""
    every = {
        f"{bench.module} {row.line}": row
        for bench in (thresholds.BENCH, activations.BENCH)
        for study in bench.studies
        for row in study.rows
        if row.recipe is not None
    }
    return list(every.values())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.line)
@pytest.mark.slow
def test_every_line_trains(row: Row) -> None:
    recipe = Cell(row, "mnist", 0, Setting(width=0.004)).recipe()
    model: Any = recipe.model((1, 6, 6), 10)
    result = model.step((torch.rand(8, 1, 6, 6), torch.arange(8)), recipe.local_optimizer())
    losses = [local.loss for local in result.layers.values()] or [result.head.loss]
    assert all(bool(torch.isfinite(loss)) for loss in losses)
    assert model.predict(torch.rand(2, 1, 6, 6)).shape == (2,)


@pytest.mark.parametrize("bench", [thresholds.BENCH, activations.BENCH], ids=lambda bench: bench.module)
def test_lines_mean_the_same_in_all_studies(bench: Bench) -> None:
    tables: dict[str, dict[str, str]] = {}
    for study in bench.studies:
        assert len({row.name for row in study.rows}) == len(study.rows)
        for row in study.rows:
            if row.recipe is not None:
                table = Cell(row, "mnist", 0).recipe().table()
                assert tables.setdefault(row.line, table) == table


def test_on_imdb_the_rows_read_reviews_as_the_recipe_does() -> None:
    [row] = [row for row in thresholds.ROWS if row.line == "pyramidal0.4"]
    cell, recipe = Cell(row, "imdb", 0), get("imdb-threshold")
    ours, theirs = cell.recipe().table(), recipe.table()
    assert (cell.epochs, cell.total_epochs, Cell(row, "mnist", 0).epochs) == (6, 6, 60)
    assert ours == {name: value for name, value in theirs.items() if name != "head"}
    mnist = Cell(row, "mnist", 0).recipe().table()
    assert mnist["label_encoder"] == "Overlay"
    assert not {"representation", "standardize"} & set(mnist)


@torch.no_grad()
def shares(row: Row) -> list[float]:
    """Each layer's threshold over its width, of a new model."""
    model: Any = Cell(row, "mnist", 0, Setting(width=0.005)).recipe().model((1, 6, 6), 10)
    return [float(layer.objective.loss.threshold) / 10 for layer in model]


def test_the_thresholds_are_those_of_the_page() -> None:
    by_line = {row.line: row for row in thresholds.ROWS}
    assert shares(by_line["uniform0.3"]) == pytest.approx([0.3] * 4)
    assert shares(by_line["pyramidal0.4"]) == pytest.approx([0.4, 0.8, 1.2, 1.6])
    assert shares(by_line["reversed0.4"]) == pytest.approx([1.6, 1.2, 0.8, 0.4])
    assert shares(by_line["learned-pyramidal0.4"]) == pytest.approx([0.4, 0.8, 1.2, 1.6])
    assert shares(by_line["rising1"]) == pytest.approx([0.1] * 4)
    assert shares(by_line["sinking1"]) == pytest.approx([1] * 4)
    means = [sum(shares(by_line[line])) / 4 for line in ("uniform1", "pyramidal0.4", "reversed0.4")]
    assert means == pytest.approx([1, 1, 1])


def test_both_ways_of_training_have_one_stack() -> None:
    forward, backward = (
        Cell(row, "mnist", 0).recipe().table() for row in (activations.FORWARD_ROW, activations.BACKWARD_ROW)
    )
    differ = {name for name in {*forward, *backward} if forward.get(name) != backward.get(name)}
    assert differ == {"baseline", "goodness", "loss", "label_encoder", "negatives", "schedule"}


# The quick setting


def test_quick_is_a_setting_of_its_own_heading(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    row = Row("tiny", "tiny net", get("trifecta-fcn").replace(widths=(6,)), 3)
    quick = Setting(epochs=1, width=0.5, images=40)
    bench = Bench(
        "benchmarks.mine", (Study("one", "One", (row,), ("digits",), quick=quick), Study("two", "Two", (), ()))
    )
    place = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    bench.main(["one", "--quick", *place])
    cells = list((tmp_path / "out").glob("*.json"))
    assert [path.name for path in cells] == ["tiny_digits_width0.5_images40_seed0_of1_epochs1.json"]
    content = json.loads(cells[0].read_text(encoding="utf-8"))
    assert content["config"]["widths"] == "(3,)"
    assert content["command"].endswith("one --rows tiny-3 --data digits --seeds 0 --epochs 1 --width 0.5 --images 40")
    table = capsys.readouterr().out
    assert "### One, quick: 1 epoch, 0.5 times the width, 40 training images" in table
    assert "not run; reduced below" in table
    other = render(
        bench.studies[0],
        [content | {"name": content["name"].replace("images40_", ""), "setting": {**content["setting"], "images": 0}}],
    )
    assert "### One, reduced: 1 epoch, 0.5 times the width\n" in other

    with pytest.raises(SystemExit):
        bench.main(["one", "--quick", "--epochs", "2", *place])
    assert "--quick must be given without other sizes" in capsys.readouterr().err
    bench.main(["all", "--quick", "--render", *place])


def test_a_bench_without_a_quick_setting_does_not_know_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Bench("benchmarks.mine", (Study("one", "One", (), ()),)).main(["one", "--quick"])
    assert "unrecognized arguments: --quick" in capsys.readouterr().err


def test_epochs_may_differ_between_data_sets() -> None:
    row = Row("tiny", "tiny net", get("symba"), 8, total_epochs=16, epochs_by_data={"imdb": 2})
    study = Study("one", "One", (row,), ("mnist", "imdb"))
    cell = Cell(row, "imdb", 0)
    assert (cell.epochs, cell.total_epochs, Cell(row, "mnist", 0).total_epochs) == (2, 4, 16)
    content = {
        **{"name": cell.name, "data": "imdb", "seed": 0, "epochs": 2, "setting": vars(cell.setting)},
        **{"result": {"accuracy": 90.0}, "device": "cpu", "torch": "2", "seconds": 1.0},
    }
    assert "| tiny net | 8 (IMDb: 2) | not run | 90.00 (1 seed) |" in render(study, [content])


# Columns, remarks, pictures and pages


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for everything that a bench writes, except for the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benches, "ROOT", tmp_path)
    return tmp_path


def test_the_study_of_thresholds(
    places: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    page = places / "docs" / "thresholds.md"
    page.parent.mkdir()
    text = (Path(thresholds.__file__).parents[1] / "docs" / "papers" / "thresholds.md").read_text(encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    bench = Bench("benchmarks.thresholds", thresholds.BENCH.studies, thresholds.measure, page)
    bench.main(["thresholds", "--rows", "uniform1,learned-uniform1,rising1,pyramidal0.4", *SMALL])
    shown = page.read_text(encoding="utf-8")
    assert "| uniform, k = 1 | 2 in place of 60 |" in shown
    assert "Between the best threshold and the worst: " in shown
    assert "The paper: up to 8 points." in shown
    assert "| 98.63 | reported only | 84.86 | reported only |" in shown
    picture = next(line for line in shown.splitlines() if line.startswith("![Thresholds]("))
    drawn = (page.parent / picture.removeprefix("![Thresholds](").removesuffix(")")).resolve()
    assert drawn.read_bytes().startswith(b"\x89PNG")
    ends = {
        path.name.partition("_")[0]: json.loads(path.read_text(encoding="utf-8"))["result"]["threshold_shares"]
        for path in bench.folder.glob("*.json")
    }
    assert ends["uniform1"] == [1] * 4
    assert ends["pyramidal0.4"] == [0.4, 0.8, 1.2, 1.6]
    assert ends["rising1"] == [0.775] * 4  # the middle of the second of two epochs
    assert all(0.9 < share < 1.1 and share != 1 for share in ends["learned-uniform1"])


@pytest.mark.slow
def test_the_studies_of_activations(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    bench = Bench("benchmarks.activations", activations.BENCH.studies, activations.measure)
    bench.main(["all", "--rows", "relu,tanh-half,bp,relu-decay1", *SMALL])
    out = capsys.readouterr().out
    assert "| tanh, θ = 0.5 · width | 2 in place of 60 |" in out
    assert "The paper: 10 to 20." in out
    assert "are measured on the first 360 test images" in out
    drawn = {path.name for path in (bench.folder / "figures").rglob("*.png")}
    assert drawn == {f"{name}_digits.png" for name in ("activations", "histograms", "weights", "robustness")}
    cells = {
        path.name.partition("_")[0]: json.loads(path.read_text(encoding="utf-8"))["result"]
        for path in bench.folder.glob("*.json")
    }
    assert set(cells) == {"relu", "tanh-half", "bp", "relu-decay1"}
    assert len(cells["relu"]["weights"]["growth"]) == len(cells["bp"]["weights"]["growth"]) == 4
    assert ("goodness" in cells["relu"], "goodness" in cells["bp"]) == (True, False)
    assert set(cells["bp"]["corrupted"]) == {"none", *activations.CORRUPTED}
    assert cells["bp"]["corrupted"]["none"] == pytest.approx(cells["bp"]["accuracy"], abs=1e-3)
    assert cells["tanh-half"]["goodness"]["threshold"] == [4.0] * 4
    assert "outside" not in cells["relu"]


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.module)
def test_the_pages_have_room_for_every_study(bench: Bench) -> None:
    assert bench.page is not None
    text = bench.page.read_text(encoding="utf-8")
    for study in bench.studies:
        for one in (study.name, *([] if study.draw is None else [f"{study.name}-figures"])):
            assert text.count(f"<!-- {one}:begin -->\n") == text.count(f"<!-- {one}:end -->") == 1


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.module)
def test_finished_cells_have_the_settings_of_their_rows(bench: Bench) -> None:
    contents = [read_cell(path) for path in sorted(bench.folder.glob("*_seed*.json"))]
    names = set()
    for study in bench.studies:
        rows = {row.name: row for row in study.rows}
        for setting, by_row in by_setting(study, contents).items():
            for (name, data), of_seeds in by_row.items():
                for content in of_seeds:
                    cell = Cell(rows[name], data, content["seed"], setting)
                    assert cell.read(bench.folder) == content
                    names.add(cell.name)
    assert names == {content["name"] for content in contents}


def test_no_bench_is_left_out_here() -> None:
    root = Path(benches.__file__).parent
    files = {path: f"benchmarks.{path.stem}" for path in root.glob("*.py")}
    files |= {path: f"benchmarks.{path.parent.name}" for path in root.glob("*/__init__.py")}
    found = {module for path, module in files.items() if "\nBENCH = " in path.read_text(encoding="utf-8")}
    assert found == {bench.module for bench in BENCHES}


# What is measured


def stack(activation: torch.nn.Module | None = None) -> ff.FFSequential:
    torch.manual_seed(0)
    return ff.FFSequential(
        *(ff.FFLinear(*sizes, activation=activation) for sizes in ((12, 5), (5, 4))),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold((2.0, "width")),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Concatenation(num_classes=3),
    )


def quantile(values: list[float], share: float) -> float:
    """The quantile by interpolation between neighbours."""
    ordered, place = sorted(values), share * (len(values) - 1)
    low = math.floor(place)
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def test_sizes_of_weights() -> None:
    model = stack()
    initial = stack()
    with torch.no_grad():
        model[1].block.weight *= 3
    found = inspection.weights(model, initial)
    for number, growth in enumerate((1, 3)):
        sizes = [abs(w) for row in model[number].block.weight.tolist() for w in row]
        rms = math.sqrt(sum(w * w for w in sizes) / len(sizes))
        assert found["mean"][number] == pytest.approx(sum(sizes) / len(sizes), rel=1e-3)
        assert found["rms"][number] == pytest.approx(rms, rel=1e-3)
        assert found["growth"][number] == pytest.approx(growth, rel=1e-3)
        assert found["largest"][number] == pytest.approx(max(sizes), rel=1e-3)
        expected = [quantile(sizes, share) for share in inspection.QUANTILES]
        assert found["quantiles"][number] == pytest.approx(expected, rel=1e-3)


def test_distributions_of_goodness() -> None:
    model = stack(torch.nn.Tanh())
    images, labels = torch.rand(7, 9), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    found = inspection.goodness(model, TensorData(images, labels, 3), seed=3)
    moved = torch.randint(1, 3, (7,), generator=torch.Generator().manual_seed(3))
    wrong = [(label + step) % 3 for label, step in zip(labels.tolist(), moved.tolist(), strict=True)]
    assert all(a != b for a, b in zip(wrong, labels.tolist(), strict=True))
    for sign, given in (("positive", labels), ("negative", torch.tensor(wrong))):
        every = model.activations(images, given)
        for layer in range(2):
            values = [sum(h * h for h in row) for row in every[layer].tolist()]
            expected = [quantile(values, share) for share in inspection.QUANTILES]
            assert found[sign][layer] == pytest.approx(expected, rel=1e-3)
    assert found["scale"] == [5.0, 4.0]
    assert found["threshold"] == [2.0, 4.0]


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise() -> None:
    images = torch.full((50, 1, 20, 20), 0.5)
    changed = robustness.noisy(images, 0.1, draws())
    assert float((changed - 0.5).std()) == pytest.approx(0.1, rel=0.02)
    assert float((changed - 0.5).mean()) == pytest.approx(0, abs=0.002)
    strong = robustness.noisy(images, 3.0, draws())
    assert (float(strong.min()), float(strong.max())) == (0, 1)


def test_occlusion() -> None:
    changed = robustness.occluded(torch.ones(200, 1, 12, 12), 0.25, draws())
    black = (changed == 0).sum((1, 2, 3))
    assert int(black.max()) == 9
    assert int(black.min()) >= 4  # a part may hang over the border
    assert set(changed.unique().tolist()) == {0.0, 1.0}


def test_blur() -> None:
    image, sd = torch.rand(1, 2, 7, 6), 0.6
    found = robustness.blurred(image, sd, draws())
    weights = [math.exp(-0.5 * (d / sd) ** 2) for d in range(-2, 3)]
    total = sum(weights)
    for c in range(2):
        for y in range(7):
            for x in range(6):
                value = 0.0
                for dy in range(-2, 3):
                    for dx in range(-2, 3):
                        if 0 <= y + dy < 7 and 0 <= x + dx < 6:
                            share = weights[dy + 2] * weights[dx + 2] / total**2
                            value += share * float(image[0, c, y + dy, x + dx])
                assert float(found[0, c, y, x]) == pytest.approx(value, abs=1e-5)


def test_rotation_goes_to_both_sides() -> None:
    images = torch.rand(1, 1, 9, 9).expand(40, 1, 9, 9)
    found = robustness.rotated(images, 90.0, draws())
    sides = [torch.rot90(images[0], turn, (1, 2)) for turn in (1, -1)]
    nearest = [[bool(torch.allclose(one, side, atol=1e-5)) for side in sides] for one in found]
    assert all(sum(pair) == 1 for pair in nearest)
    assert {pair[0] for pair in nearest} == {True, False}
    torch.testing.assert_close(robustness.rotated(images, 0.0, draws()), images, rtol=0, atol=1e-5)


class Column(ff.network.Network):
    """Scores that are part of the images."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :3]

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores(images).argmax(1)


def test_accuracies_under_corruption() -> None:
    images, labels = torch.rand(30, 1, 6, 6), torch.arange(30) % 3
    data, model = TensorData(images, labels, 3), Column()
    found = robustness.accuracies(model, data, seed=5)
    assert set(found) == {"none", *activations.CORRUPTED}

    def accuracy(seen: torch.Tensor) -> float:
        return 100 * sum(int(a == b) for a, b in zip(model.predict(seen), labels, strict=True)) / 30

    assert found["none"] == pytest.approx(accuracy(images), abs=1e-3)
    assert found["noise 0.5"] == pytest.approx(accuracy(robustness.noisy(images, 0.5, draws(5))), abs=1e-3)
    assert found["rotation 45"] == pytest.approx(accuracy(robustness.rotated(images, 45, draws(5))), abs=1e-3)
    assert robustness.accuracies(model, data, seed=5) == found


def test_the_area_counts_pairs() -> None:
    inside, outside = torch.randint(0, 5, (2, 40)).double()
    pairs = [(a > b) + 0.5 * (a == b) for a in inside.tolist() for b in outside.tolist()]
    assert robustness.area(inside, outside[:30]) == pytest.approx(
        sum((a > b) + 0.5 * (a == b) for a in inside.tolist() for b in outside[:30].tolist()) / 1200, abs=1e-4
    )
    assert robustness.area(inside, outside) == pytest.approx(sum(pairs) / 1600, abs=1e-4)
    assert robustness.area(torch.tensor([2.0]), torch.tensor([1.0])) == 1


def test_images_of_another_kind() -> None:
    inside, outside = (TensorData(scale * torch.randn(25, 1, 2, 2) + shift) for scale, shift in ((2.0, 0), (0.5, 3)))
    found = robustness.areas(Column(), inside, outside)
    sure, strong = (
        [figure(Column().scores(data.inputs)) for data in (inside, outside)]
        for figure in (lambda s: s.softmax(1).max(1).values, lambda s: s.max(1).values)
    )
    assert found == {"probability": robustness.area(*sure), "score": robustness.area(*strong)}
    steep = TensorData(inside.inputs * 1e4)  # softmax in float32 is 1 for nearly all of these, and their order is lost
    assert robustness.areas(Column(), steep, inside)["probability"] > 0.95
    assert robustness.areas(Column(), steep, TensorData(steep.inputs * 1.0001))["probability"] < 0.5


# Slips


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["activation"], "must be one of"),
        (["thresholds", "--rows", "uniform"], "--rows must be of uniform0.03-60"),
        (["thresholds", "--quick", "--width", "0.5"], "--quick must be given without other sizes"),
        (
            ["thresholds", "--quick", "--data", "digits"],
            "--images 16000 does not suit digits: train_samples must be from 10 to 1437",
        ),
        (["thresholds", "--data", "mnist", "--data-dir", "nowhere"], "nowhere"),
    ],
)
def test_slips_give_one_line(places: Path, words: list[str], shown: str, one_line: Callable[..., str]) -> None:
    if "--data-dir" in words:
        pytest.importorskip("torchvision")
    assert shown in one_line(thresholds.BENCH.main, words)
