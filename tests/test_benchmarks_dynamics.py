"""The study of training dynamics: its measurement, its analysis, and cells that stop and resume."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forwardforward as ff
from benchmarks.dynamics import analysis, claims, cost, measures, render, settings, train
from benchmarks.dynamics.__main__ import main
from benchmarks.dynamics.cells import CURVES, UNIT, Cell, Curves, plan, read, read_all, write_cell
from benchmarks.dynamics.choose import choose
from benchmarks.dynamics.measure import Measurement
from benchmarks.dynamics.settings import PAPER, VARIANTS, network
from forwardforward.data import TensorData

pytest.importorskip("sklearn")

OPTIONS = {"precision": "float32", "compile": False}


# Measurement


def labeled(count: int = 24) -> TensorData:
    generator = torch.Generator().manual_seed(0)
    return TensorData(torch.rand(count, 1, 5, 5, generator=generator), torch.arange(count) % 4, num_classes=4)


def members(depth: int, seeds: int = 2, connection: str = "chain") -> ff.Replicas:
    """Networks whose goodness lies on both sides of the threshold."""
    setting = settings.changed("", theta=0.5, connection=connection)
    return ff.replicate(lambda: network(setting, depth, 6, (1, 5, 5), 4), range(seeds))


def by_loop(model: ff.FFSequential, data: TensorData) -> list[float]:
    """The layer accuracies of one network, sample by sample."""
    positive: list[list[bool]] = [[] for _ in model]
    negative: list[list[bool]] = [[] for _ in model]
    assert data.targets is not None
    for image, true in zip(data.inputs, data.targets, strict=True):
        for label in range(4):
            values = model.goodness(image[None], torch.tensor([label]))[0].tolist()
            for index, (layer, value) in enumerate(zip(model, values, strict=True)):
                if label == true:
                    positive[index].append(value > layer.objective.loss.threshold)
                else:
                    negative[index].append(value <= layer.objective.loss.threshold)
    return [float(np.mean(a) + np.mean(b)) / 2 for a, b in zip(positive, negative, strict=True)]


def test_layer_and_model_accuracies_equal_those_of_a_loop_over_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.dynamics.measure.CHUNK", 1000)  # several chunks
    replicas, data = members(3), labeled()
    layers, model, model_all = Measurement(replicas, data)()
    for index in range(2):
        member = replicas.member(index)
        assert layers[index].tolist() == pytest.approx(by_loop(member, data))
        assert 0.4 < min(layers[index]) < max(layers[index]) < 0.9
        correct = member.predict(data.inputs) == data.targets
        assert float(model[index]) == pytest.approx(float(correct.float().mean()))
        every = member.layer_goodness(data.inputs).sum(1).argmax(1) == data.targets
        assert float(model_all[index]) == pytest.approx(float(every.float().mean()))
    assert model.tolist() != model_all.tolist()


def test_members_in_parallel_are_the_layers_of_one_model() -> None:
    replicas, data = members(3, seeds=6, connection="parallel"), labeled()
    layers, model, _ = Measurement(replicas, data, joined=3)()
    goodness = [replicas.member(index).layer_goodness(data.inputs)[:, 0] for index in range(6)]
    for index in range(2):
        part = range(3 * index, 3 * index + 3)
        expected = [by_loop(replicas.member(member), data)[0] for member in part]
        assert layers[index].tolist() == pytest.approx(expected)
        correct = sum(goodness[member] for member in part).argmax(1) == data.targets  # type: ignore[union-attr]
        assert float(model[index]) == pytest.approx(float(correct.float().mean()))


@pytest.mark.parametrize("objective", ["classes", "values"])
def test_without_pairs_predictions_are_measured(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.metrics import accuracy_score, r2_score

    monkeypatch.setattr("benchmarks.dynamics.measure.CHUNK", 100)  # several chunks
    setting, data = settings.changed("", objective=objective), labeled()
    assert data.targets is not None
    if objective == "values":
        data = TensorData(data.inputs, 20 + 3.0 * data.targets)
    score = accuracy_score if objective == "classes" else r2_score
    replicas = ff.replicate(lambda: network(setting, 3, 6, (1, 5, 5), 4), range(2))
    ff.fit(replicas, data, epochs=1, progress=False)
    layers, model, model_all = Measurement(replicas, data)()
    for index in range(2):
        member = replicas.member(index)
        goodness = member.layer_goodness(data.inputs)
        for layer in range(3):
            own = member.decide(goodness[:, layer])
            decisions = own if objective == "classes" else own[:, 0]
            assert float(layers[index, layer]) == pytest.approx(score(data.targets, decisions), abs=1e-5)
        expected = score(data.targets, member.predict(data.inputs))
        assert float(model[index]) == float(model_all[index]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_trains_and_is_measured_in_compiled_form(variant: str, tmp_path: Path) -> None:
    cell = Cell(variant, 2, 8, (0, 1), epochs=1, images=300, data="digits")
    options = train.Options(out=tmp_path, work=tmp_path / "work", precision="bf16")
    assert train.run(cell, options)
    compiled = read(cell, tmp_path)
    assert compiled is not None
    plain = train.Options(out=tmp_path / "plain", work=tmp_path / "work", **OPTIONS)  # type: ignore[arg-type]
    assert train.run(cell, plain)
    other = read(cell, tmp_path / "plain")
    assert other is not None
    for name in CURVES[:1]:
        values = [np.array(content[name], dtype=float) for content in (compiled, other)]
        np.testing.assert_allclose(values[0], values[1], atol=300)  # bfloat16 moves samples across the threshold


# Analysis


def test_crossing_interpolates_between_epochs() -> None:
    nan = np.nan
    curves = np.array([[[0.5, 0.5, 0.8, nan, nan], [0.6, 0.5, 0.5, 0.5, nan], [0.8, 0.6, 0.9, 0.9, 0.75]]])
    assert analysis.crossing(curves, 0.7)[0].tolist() == pytest.approx([1.5, np.inf, 0, 1.5, 2])


def test_slope_is_the_least_squares_slope_with_the_last_epoch_for_layers_that_never_reach() -> None:
    epochs = np.array([[1.0, 3.0, 5.0, 7.0], [2.0, 1.5, 4.0, np.inf]])
    expected = np.polyfit(range(4), [2, 1.5, 4, 10], 1)[0]
    assert analysis.slope(epochs, 10).tolist() == pytest.approx([2, expected])


def test_correlations_equal_those_of_loops() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.integers(5, size=(12, 3)).astype(float), generator.random((12, 1))
    for layer in range(3):
        column = x[:, layer]
        expected = np.corrcoef(column, y[:, 0])[0, 1]
        assert analysis.pearson(x, y)[layer] == pytest.approx(expected)
        ranks = [sum(b < a for b in column) + (sum(b == a for b in column) - 1) / 2 for a in column]
        assert analysis.ranks(x)[:, layer].tolist() == ranks
        expected = np.corrcoef(ranks, np.argsort(np.argsort(y[:, 0])))[0, 1]
        assert analysis.spearman(x, y)[layer] == pytest.approx(expected)
    assert np.isnan(analysis.pearson(np.full((4, 1), 0.1), y[:4])[0])


def test_correlations_are_over_epochs_of_a_seed_and_over_seeds_of_the_last_epoch() -> None:
    generator = np.random.default_rng(0)
    layers, model = generator.random((6, 5, 2)), generator.random((6, 5))
    over_epochs, over_seeds = (
        function(layers, model) for function in (analysis.correlation_over_epochs, analysis.correlation_over_seeds)
    )
    for layer in range(2):
        for seed in range(6):
            expected = np.corrcoef(layers[seed, 1:, layer], model[seed, 1:])[0, 1]
            assert over_epochs[seed, layer] == pytest.approx(expected)
        assert over_seeds[layer] == pytest.approx(np.corrcoef(layers[:, -1, layer], model[:, -1])[0, 1])


def test_bootstrap_intervals_have_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=400)
    assert analysis.DRAWS >= 1000
    estimate, low, high = analysis.bootstrap(measures.mean_of(values), 400)
    assert float(estimate) == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
    statistics = measures.mean_of(values), measures.mean_of(values + 5)
    difference, low, high = analysis.bootstrap_difference(statistics, (400, 400))
    assert float(difference) == pytest.approx(5)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20 * np.sqrt(2), rel=0.15)


# Claims


def made(variant: str = "paper", depth: int = 4, width: int = 100, delay: float = 2.0, seeds: int = 5) -> Curves:
    """Curves of layers that rise one after the other; the model follows the first layer."""
    generator = np.random.default_rng(depth + width)
    epochs = np.arange(31)[:, None] - delay * np.arange(depth) - (3 - delay) * 3
    layers = 0.5 + 0.45 / (1 + np.exp(-epochs)) + generator.normal(0, 0.003, (seeds, 31, depth))
    model = 2 * layers[..., 0] - 1 + generator.normal(0, 0.001, (seeds, 31))
    return Curves(Cell(variant, depth, width, tuple(range(seeds))), layers, model, model)


def verdicts(*curves: Curves) -> list[str]:
    return [claim.verdict(curves) for claim in claims.CLAIMS]


def test_delays_are_confirmed_refuted_and_undecided() -> None:
    assert verdicts() == ["not run"] * len(claims.CLAIMS)
    assert measures.delay_slope(made(delay=1.5))[0] == pytest.approx(1.5, abs=0.05)
    assert verdicts(made(delay=-2))[0] == "refuted"
    assert verdicts(made(), made(depth=8, delay=-1))[0] == "undecided"
    assert verdicts(made(), made(width=400, delay=2.5))[1] == "confirmed"
    assert verdicts(made(), made(width=400, delay=1.5))[1] == "refuted"
    assert verdicts(made(seeds=2)) == ["not run"] * len(claims.CLAIMS)


def test_a_first_layer_that_the_model_follows_correlates_strongly_and_deep_layers_less() -> None:
    assert verdicts(made())[2:4] == ["confirmed", "confirmed"]
    value, low, high = measures.correlation(made())
    assert value[0] > 0.99
    assert (low <= value).all()
    assert (value <= high).all()
    assert (np.diff(value) < 0).all()


def test_growing_networks_are_compared_at_equal_cost() -> None:
    curves = made("grow-reach", depth=3, seeds=3)
    curves.layers[:, :11, 1:], curves.layers[:, :21, 2] = np.nan, np.nan
    first, further = 2 * 784 * 100, 4 * 100**2
    total = cost.costs(curves)
    assert total[[0, 10, 20, 30]].tolist() == [
        0,
        10 * first,
        20 * first + 10 * further,
        30 * first + 30 * further,
    ]
    fixed = made("paper", depth=3, seeds=4)
    affordable = int((30 * first + 30 * further) / (first + 2 * further))
    assert cost.epochs_at(fixed, total[-1]) == affordable
    gap = curves.model[:, -1] - fixed.model[:3, affordable]
    (_, interval), *rest = claims.growth_gaps([curves, fixed])
    assert not rest
    assert float(interval[0]) == pytest.approx(gap.mean())


# Cells


def without_times(content: Any) -> Any:
    return {name: value for name, value in content.items() if "seconds" not in name}


@pytest.mark.parametrize(
    "variant",
    ["grow-plateau", *(pytest.param(name, marks=pytest.mark.slow) for name in ("paper", "parallel"))],
)
@pytest.mark.slow
def test_a_cell_that_stops_and_resumes_equals_one_that_does_not(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "GROUP", 1200)  # groups of two seeds and one, or of one
    monkeypatch.setattr("benchmarks.dynamics.growth.SMALL_GAIN", 1.0)  # it grows after the second epoch
    cell = Cell(variant, 2, 8, (0, 1, 2), epochs=3, images=300, data="digits")
    whole = train.Options(out=tmp_path / "whole", work=tmp_path / "a", **OPTIONS)  # type: ignore[arg-type]
    assert train.run(cell, whole)
    options: Any = {"out": tmp_path / "parts", "work": tmp_path / "b", **OPTIONS}
    assert not train.run(cell, train.Options(**options, deadline=time.monotonic()))
    stops = 0
    while not train.run(cell, train.Options(**options, deadline=time.monotonic() + 0.02)):
        stops += 1
    contents = [read(cell, folder) for folder in (tmp_path / "whole", tmp_path / "parts")]
    assert stops > 0
    assert without_times(contents[0]) == without_times(contents[1])
    assert not list((tmp_path / "b").iterdir())
    (curves,) = read_all(tmp_path / "parts")
    assert (curves.layers.shape, curves.model.shape) == ((3, 4, 2), (3, 4))
    assert np.isnan(curves.layers[:, :3, 1]).all() == (variant == "grow-plateau")
    assert not np.isnan(curves.layers[:, 3]).any()


def test_with_dropout_each_seed_is_trained_by_itself(tmp_path: Path) -> None:
    cell = Cell("dropout", 3, 8, (1, 4), epochs=1, images=200, data="digits")
    assert train.run(cell, train.Options(out=tmp_path, work=tmp_path / "work", **OPTIONS))  # type: ignore[arg-type]
    (curves,) = read_all(tmp_path)
    data, test, classes = train.training_data(cell, None)
    for index, seed in enumerate(cell.seeds):
        torch.manual_seed(seed)
        model = network(cell.setting, 3, 8, data.input_shape, classes)
        assert sum(isinstance(module, torch.nn.Dropout) for module in model.modules()) == 2
        optimizer = settings.optimizer(cell.setting)
        ff.fit(model, data, epochs=1, batch_size=128, optimizer=optimizer, seed=seed, progress=False)
        layers, accuracy, _ = Measurement(model, test)()
        assert curves.layers[index, -1].tolist() == pytest.approx(layers[0].tolist(), abs=UNIT)
        assert curves.model[index, -1] == pytest.approx(float(accuracy), abs=UNIT)


def test_in_regression_every_layer_improves(tmp_path: Path) -> None:
    cell = Cell("regression", 2, 32, (0, 1), epochs=3, data="digits")
    assert train.run(cell, train.Options(out=tmp_path, work=tmp_path / "work", **OPTIONS))  # type: ignore[arg-type]
    (curves,) = read_all(tmp_path)
    assert curves.layers.shape == (2, 4, 2)
    assert (np.diff(curves.layers, axis=1) > 0).all()
    assert curves.model.max() <= 1


def test_a_file_that_is_older_than_a_setting_has_its_default(tmp_path: Path) -> None:
    cell = Cell("paper", 2, 8, (0,), epochs=1)
    fields = {name: getattr(cell, name) for name in Cell.__dataclass_fields__}
    config = {name: value for name, value in cell.config().items() if name not in ("objective", "dropout")}
    content = {"name": cell.name, **fields, "config": config, **{name: [[0, 0]] for name in CURVES}}
    write_cell(tmp_path / f"{cell.name}.json", content)
    assert read(cell, tmp_path) is not None
    other = Cell("dropout", 2, 8, (0,), epochs=1)
    write_cell(tmp_path / f"{other.name}.json", {**content, "config": config})
    with pytest.raises(ValueError, match="dropout; move it elsewhere"):
        read(other, tmp_path)


def test_seeds_of_several_files_are_joined_and_other_settings_refused(tmp_path: Path) -> None:
    contents = {}
    for seeds in ((1, 2), (0,)):
        cell = Cell("paper", 2, 8, seeds, epochs=1)
        curves = {
            name: [[[seed, 5000]] * 2 if name == CURVES[0] else [seed, 10000] for seed in seeds] for name in CURVES
        }
        fields = {name: getattr(cell, name) for name in Cell.__dataclass_fields__}
        contents[cell] = {"name": cell.name, **fields, "config": cell.config(), **curves}
        write_cell(tmp_path / f"{cell.name}.json", contents[cell])
    (joined,) = read_all(tmp_path)
    assert joined.cell.seeds == (0, 1, 2)
    assert joined.layers[:, 0, 0].tolist() == pytest.approx([0, UNIT, 2 * UNIT])
    assert joined.model[:, 1].tolist() == [1, 1, 1]
    changed = contents[cell] | {"config": cell.config() | {"lr": 5.0}}
    write_cell(tmp_path / f"{cell.name}.json", changed)
    with pytest.raises(ValueError, match="the study has changed since the cell .*: lr; move it elsewhere"):
        read_all(tmp_path)


def test_the_plan_contains_the_papers_grid_once() -> None:
    seeds: dict[tuple[int, int], list[int]] = {}
    for cell in plan():
        if cell.variant == "paper":
            seeds.setdefault((cell.depth, cell.width), []).extend(cell.seeds)
    assert set(seeds) == set(itertools.product(settings.DEPTHS, settings.WIDTHS))
    assert all(sorted(of_size) == list(range(30)) for of_size in seeds.values())
    assert len({cell.name for cell in plan()}) == len(plan())
    assert VARIANTS["paper"] == PAPER


@pytest.mark.slow
def test_tables_figures_and_page_are_written_from_the_files(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = shutil.copy(render.PAGE, tmp_path / "page.md")
    for variant, depth, width in (("paper", 4, 100), ("paper", 2, 400), ("gelu", 4, 100), ("grow-reach", 4, 100)):
        curves = made(variant, depth, width)
        values = [np.rint(v / UNIT).astype(int).tolist() for v in (curves.layers, curves.model, curves.model_all)]
        fields = {name: getattr(curves.cell, name) for name in Cell.__dataclass_fields__}
        machine = {"device": "cpu", "cpu": "a CPU", "threads": 2, "torch": "2.6"}
        content = {"seconds": 60, "measuring_seconds": 6, "machine": machine, "precision": "bf16"}
        content |= {**fields, "config": curves.cell.config(), **dict(zip(CURVES, values, strict=True))}
        write_cell(tmp_path / f"{curves.cell.name}.json", content)
    render.render(tmp_path, page)
    text = Path(page).read_text(encoding="utf-8")
    assert "**confirmed**" in text
    assert "| 100 | 4 | 5 |" in text
    assert "4 cells on a CPU, 2 threads, bf16, torch 2.6: 4 minutes of training" in text
    for name in render.FIGURES:
        assert f"figures/{name}.png)" in text
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000


def test_the_sweep_reads_training_and_validation_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.dynamics.choose.THETAS", (0.5, 1.0))
    options = train.Options(out=tmp_path, work=tmp_path, **OPTIONS)  # type: ignore[arg-type]
    monkeypatch.setattr("benchmarks.dynamics.choose.RATES", {"adam": (1e-3,), "sgd": (1e-3,)})
    text = choose(options, images=200, epochs=1, width=8, data="digits")
    assert text.count("| adam |") == text.count("| sgd |") == 2


@pytest.mark.slow
def test_the_command_lists_trains_and_names_unknown_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--quick", "--cells", "paper*depth2*", "--out", str(tmp_path), "--work", str(tmp_path / "work")]
    main([*words, "--list"])
    assert "missing" in capsys.readouterr().out
    main([*words, "--minutes", "0"])
    assert "the time is up; resume with: python -m benchmarks.dynamics --quick" in capsys.readouterr().err
    main(words)
    (cell,) = tmp_path.glob("paper*.json")
    assert "--work WORK" in json.loads(cell.read_text())["command"]
    main([*words, "--list"])
    assert "done" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit:
        main(["--cells", "none"])
    assert exit.value.code == 2
    assert "--cells must match a cell of --list, got 'none'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_runner_of_all_studies_runs_the_cells(tmp_path: Path) -> None:
    interface = pytest.importorskip("benchmarks.reproduce.interface")
    from benchmarks.dynamics import STUDIES

    assert isinstance(STUDIES, interface.Studies)
    docs = tmp_path / "docs"
    (docs / "papers").mkdir(parents=True)
    shutil.copy(render.PAGE, docs / "papers")
    place = interface.Place(tmp_path / "results", tmp_path / "runs", docs, tiny=True)
    job = next(iter(STUDIES.jobs(place)))
    assert not job.is_finished
    assert STUDIES.run(job, place)
    assert next(iter(STUDIES.jobs(place))).is_finished
    STUDIES.render(place)
    assert (tmp_path / "results" / "dynamics" / "tables.md").exists()
    setting = {job.goal: job.setting for job in STUDIES.jobs(interface.Place())}
    assert setting["the paper's setting, depth 4, width 100, seeds 0 to 29"] == ""
