"""Tests of the trackers, the hooks of steps, and the best epoch's weights."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import forwardforward as ff
from forwardforward.training import Checkpoint, EarlyStopping, FitState, History, TensorBoardLog, Tracker, WandbLog
from forwardforward.training.history import numbers_of
from forwardforward.training.monitors import Monitor, best_of

GENERATOR = torch.Generator().manual_seed(0)
DATA = torch.rand(30, 8, generator=GENERATOR), torch.arange(30) % 3


def network(**options: Any) -> ff.FFSequential:
    torch.manual_seed(0)
    plugins: dict[str, Any] = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
    return ff.FFSequential(ff.FFLinear(8, 6), ff.FFLinear(6, 5), **{**plugins, **options})


def fit(model: Any, *callbacks: Any, **options: Any) -> History:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 10, "progress": False}
    return ff.fit(model, DATA, **{**settings, **options}, callbacks=callbacks)


class Recorder(Tracker):
    """Keeps what a tracker writes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rows: list[tuple[int, dict[str, float], dict[str, Tensor]]] = []

    def write(self, step: int, scalars: Mapping[str, float], distributions: Mapping[str, Tensor]) -> None:
        self.rows.append((step, dict(scalars), {name: v.clone() for name, v in distributions.items()}))


def test_figures_of_epochs_are_written_by_step_under_the_names_of_the_history() -> None:
    recorder = Recorder()
    history = fit(network(), recorder, validation=DATA)
    assert [step for step, _, _ in recorder.rows] == [3, 6]
    for (_, scalars, _), record in zip(recorder.rows, history, strict=True):
        assert scalars["layers/1/loss"] == record["layers"][1]["loss"]
        assert scalars["validation/error"] == record["validation"]["error"]
        assert scalars["validation/layer_errors/0"] == record["validation"]["layer_errors"][0]
        assert (scalars["epoch"], scalars["steps"]) == (record["epoch"], 3)


def test_figures_of_single_steps_are_written_in_between() -> None:
    recorder, losses = Recorder(step_interval=2, weights=False), []

    class Losses(ff.training.Callback):
        def on_step_end(self, state: FitState, result: Any) -> None:
            losses.append(float(result.layers[0].loss))

    fit(network(head=ff.heads.LinearHead(3)), recorder, Losses())
    assert [step for step, _, _ in recorder.rows] == [2, 3, 4, 6, 6]
    step = recorder.rows[0][1]
    assert step["steps/layers/0/loss"] == losses[1]
    assert step["steps/layers/0/separation"] == pytest.approx(
        step["steps/layers/0/positive"] - step["steps/layers/0/negative"]
    )
    assert "steps/head/loss" in step


def test_distributions_are_those_of_the_goodness_and_of_the_weights() -> None:
    recorder, model = Recorder(samples=DATA, every=2), network()
    fit(model, recorder, epochs=4)
    assert [sorted(d) != [] for _, _, d in recorder.rows] == [False, True, False, True]
    distributions = recorder.rows[-1][2]
    goodness = model.layer_goodness(DATA[0])
    for layer in (0, 1):
        for index, label in enumerate(DATA[1].tolist()):
            assert distributions[f"goodness/{layer}/true"][index] == goodness[index, layer, label]
        wrong = [goodness[i, layer, k] for i, label in enumerate(DATA[1].tolist()) for k in range(3) if k != label]
        assert torch.equal(distributions[f"goodness/{layer}/wrong"], torch.stack(wrong))
        assert torch.equal(distributions[f"weights/{layer}/block.weight"], model[layer].block.weight)


def test_replicas_are_tracked_by_their_means_and_every_members_weights() -> None:
    recorder = Recorder(step_interval=1)
    model = ff.replicate(network, [0, 1])
    history = fit(model, recorder, epochs=1)
    assert recorder.rows[-1][1]["layers/0/loss"] == history[0]["layers"][0]["loss"]
    assert recorder.rows[0][1]["steps/layers/0/loss"] > 0
    assert torch.equal(recorder.rows[-1][2]["members/1/weights/0/block.weight"], model.members[1][0].block.weight)
    with pytest.raises(ValueError, match="samples must be None for replicas"):
        fit(ff.replicate(network, [0, 1]), Recorder(samples=DATA))


def test_samples_need_layers_that_classify_and_labels() -> None:
    model = network(goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa(), negatives=ff.negatives.SelfContrast())
    with pytest.raises(ValueError, match="samples must be None for a network whose layers do not classify"):
        fit(model, Recorder(samples=DATA))
    with pytest.raises(ValueError, match="^samples must have labels"):
        fit(network(), Recorder(samples=DATA[0]))
    values = ff.FFSequential(
        ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(9), loss=ff.losses.OrdinalCrossEntropy()
    )
    numbers = (DATA[0], DATA[0][:, 0])
    with pytest.raises(ValueError, match=r"^samples must have true classes .*, got targets of the kind RealValues"):
        ff.fit(values, numbers, epochs=1, callbacks=[Recorder(samples=numbers)], progress=False)
    for samples, reason in (((DATA[0][:, 1:], DATA[1]), "got 8 for inputs of 7"), ((DATA[0], DATA[1] + 1), "got 1..3")):
        recorder = Recorder(samples=samples)
        with pytest.raises(ValueError, match=f"^samples must have true classes or labels, and be .*: .*{reason}"):
            fit(network(), recorder)
        assert not recorder.rows  # before the first step


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_event_files_of_tensorboard_are_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = fit(network(), TensorBoardLog(tmp_path, samples=DATA), validation=DATA)
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0})
    events.Reload()
    losses = events.Scalars("layers/0/loss")
    assert [event.step for event in losses] == [3, 6]
    assert [event.value for event in losses] == pytest.approx(history.layer(0, "loss"))
    assert events.Scalars("validation/error")[-1].value == pytest.approx(history[-1]["validation"]["error"])
    assert {"goodness/0/true", "goodness/1/wrong", "weights/0/block.weight"} <= set(events.Tags()["histograms"])
    assert events.Histograms("goodness/0/true")[0].histogram_value.num == 30


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_curves_of_a_resumed_run_continue(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file, logs = tmp_path / "run.pt", tmp_path / "logs"
    fit(network(), TensorBoardLog(logs, weights=False), epochs=1, checkpoint=file)
    fit(network(), TensorBoardLog(logs, weights=False), epochs=3, checkpoint=file, resume=True)
    events = EventAccumulator(str(logs))
    events.Reload()
    assert [event.step for event in events.Scalars("epoch")] == [3, 6, 9]


class FakeRun:
    """Records the calls of a run of Weights & Biases."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, Any], int]] = []

    def log(self, values: dict[str, Any], step: int) -> None:
        self.calls.append((values, step))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_of_weights_and_biases_gets_scalars_and_histograms(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    run = FakeRun()
    history = fit(network(), WandbLog(run, samples=DATA))
    values, step = run.calls[-1]
    assert step == 6
    assert values["layers/0/loss"] == history[-1]["layers"][0]["loss"]
    histogram = values["goodness/0/true"]
    assert isinstance(histogram, wandb.Histogram)
    assert sum(histogram.histogram) == 30
    with pytest.raises(TypeError, match=r"run must be a run, such as wandb.init\(project=...\), got 'project'"):
        WandbLog("project")
    offline = wandb.init(project="test", mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True))
    history = fit(network(), WandbLog(offline))
    # The figures of the last epoch are committed by finish, after which there is no summary.
    assert offline.summary["layers/0/loss"] == pytest.approx(history[-2]["layers"][0]["loss"])
    offline.finish()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.parametrize(("name", "package"), [("TensorBoardLog", "tensorboard"), ("WandbLog", "wandb")])
def test_a_missing_package_is_one_error_with_the_command_that_installs_it(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in [key for key in sys.modules if key.split(".")[0] == package or key.startswith("torch.utils.tensorb")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"^{name} needs {package}: pip install {package}$"):
        getattr(ff.training, name)("run")


def test_hooks_are_called_around_epochs_and_steps() -> None:
    calls: list[Any] = []

    class Hooks(ff.training.Callback):
        def on_epoch_begin(self, state: FitState) -> None:
            calls.append(("epoch", state.steps))

        def on_step_begin(self, state: FitState, images: Tensor, labels: Tensor | None) -> None:
            self.weight = state.model[0].block.weight.detach().clone()
            calls.append(("begin", state.steps, tuple(images.shape), tuple(labels.shape)))

        def on_step_end(self, state: FitState, result: Any) -> None:
            layer = state.model[0].block
            assert torch.allclose(layer.weight, self.weight - 0.1 * layer.weight.grad)
            calls.append(("end", state.steps))

    fit(network(), Hooks(), epochs=1, batch_size=15, optimizer=ff.LocalOptimizer(torch.optim.SGD, lr=0.1),
        augment=lambda images, generator: images + 1)  # fmt: skip
    assert calls == [("epoch", 0), ("begin", 0, (15, 8), (15,)), ("end", 1), ("begin", 1, (15, 8), (15,)), ("end", 2)]


# The best epoch


class Errors(ff.training.Callback):
    """Sets the validation error of every epoch."""

    def __init__(self, *errors: float) -> None:
        self.errors = errors

    def on_epoch_end(self, state: FitState) -> None:
        state.history[-1]["validation"]["error"] = self.errors[len(state.history) - 1]


class Weights(ff.training.Callback):
    """Keeps a copy of the weights after every epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Tensor]] = []

    def on_epoch_end(self, state: FitState) -> None:
        self.epochs.append({name: value.clone() for name, value in state.model.state_dict().items()})


def assert_weights(model: Any, expected: dict[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_checkpoint_with_a_monitor_keeps_the_best_epoch(tmp_path: Path) -> None:
    file, weights = tmp_path / "best.pt", Weights()
    best = Checkpoint(file, monitor="validation.error")
    fit(network(), Errors(30, 10, 20, 10), weights, best, validation=DATA, epochs=4)
    assert ff.training.load_checkpoint(file)["epoch"] == 2
    assert_weights(ff.training.load_weights(file, network()), weights.epochs[1])


def test_the_highest_accuracy_is_the_best_one(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    history = fit(network(), Checkpoint(file, monitor="layers.1.accuracy"), epochs=5)
    accuracies = history.layer(1, "accuracy")
    assert ff.training.load_checkpoint(file)["epoch"] == 1 + accuracies.index(max(accuracies))


def test_a_resumed_run_keeps_the_best_epoch_of_before(tmp_path: Path) -> None:
    best, last, weights = tmp_path / "best.pt", tmp_path / "last.pt", Weights()
    options: dict[str, Any] = {"validation": DATA, "checkpoint": last}
    monitor = {"monitor": "validation.error"}
    fit(network(), Errors(30, 10), weights, Checkpoint(best, **monitor), epochs=2, **options)
    model = network()
    fit(model, Errors(30, 10, 20), Checkpoint(best, **monitor), epochs=3, resume=True, **options)
    assert ff.training.load_checkpoint(best)["epoch"] == 2
    assert ff.training.load_checkpoint(last)["epoch"] == 3
    assert_weights(ff.training.load_weights(best, network()), weights.epochs[1])


def test_the_best_epoch_is_written_before_the_checkpoint_from_which_a_killed_run_resumes(tmp_path: Path) -> None:
    order: list[str] = []

    class Recording(Checkpoint):
        def write(self, state: FitState, finished: bool = True) -> None:
            order.append(self.path.name)

    last, best = Recording(tmp_path / "last.pt"), Recording(tmp_path / "best.pt", monitor="layers.0.loss")
    fit(network(), last, best, epochs=1)
    assert order == ["best.pt", "last.pt", "last.pt"]


def test_early_stopping_monitors_any_figure_and_restores_its_best_weights() -> None:
    class Losses(ff.training.Callback):
        def on_epoch_end(self, state: FitState) -> None:
            state.history[-1]["layers"][0]["accuracy"] = [0.5, 0.9, 0.8, 0.7, 0.6][len(state.history) - 1]

    weights, stop = Weights(), EarlyStopping(2, monitor="layers.0.accuracy")
    model = network()
    assert len(fit(model, Losses(), weights, stop, epochs=5)) == 4
    assert stop.best_epoch == 2
    assert_weights(model, weights.epochs[1])


def test_a_layer_that_was_not_updated_has_no_value() -> None:
    records = [{"layers": [None]}, {"layers": [{"loss": 0.5}]}, {"layers": [{"loss": 0.4}]}]
    assert Monitor("layers.0.loss").best_epoch(History(records)) == 3
    assert Monitor("layers.0.loss", "max").best_epoch(History(records)) == 2
    assert Monitor("layers.0.loss").best_epoch(History()) == 0


@pytest.mark.parametrize("name", ["layers.2.loss", "layers.0.los", "layers.0", "loss", "layers.first.loss"])
def test_a_figure_that_does_not_exist_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"monitor must be a figure of the history, .*layers.0.loss.* got '{name}'"):
        fit(network(), Checkpoint(tmp_path / "best.pt", monitor=name, mode="min"))


def test_the_best_value_of_every_figure_of_a_history_is_known_or_must_be_stated() -> None:
    head = ff.heads.LinearHead(3)
    objective = ff.objectives.ClassObjective(ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy()) + (
        ff.objectives.BatchObjective(ff.losses.SupervisedContrastive())
    )
    model = ff.FFSequential(ff.FFLinear(8, 6, objective=objective), head=head)
    best: dict[str, list[str]] = {"min": [], "max": [], "None": []}
    for name, _ in numbers_of(fit(model, validation=DATA, epochs=1)[0]):
        best[str(best_of(name))].append(name)
    assert best["min"] == [
        "layers.0.loss", "layers.0.parts.CrossEntropy", "layers.0.parts.SupervisedContrastive", "head.loss",
        "validation.error", "validation.layer_errors.0", "validation.head_error",
    ]  # fmt: skip
    assert best["max"] == ["layers.0.accuracy", "layers.0.separation", "head.accuracy", "validation.layer_accuracies.0"]
    assert {"layers.0.positive", "layers.0.weight_change", "validation.largest_goodness.0"} < set(best["None"])
    with pytest.raises(ValueError, match=r"^mode must be 'min' or 'max' for monitor='layers.0.positive', got None"):
        EarlyStopping(2, monitor="layers.0.positive")


def test_arguments_without_effect_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every and minutes must be left out with monitor"):
        Checkpoint(tmp_path / "best.pt", every=2, monitor="head.loss")
    with pytest.raises(ValueError, match="validation must be given to fit for Checkpoint"):
        fit(network(), Checkpoint(tmp_path / "best.pt", monitor="validation.error"))
    with pytest.raises(ValueError, match="mode must be 'min' or 'max' or None, got 'lowest'"):
        EarlyStopping(1, mode="lowest")  # type: ignore[arg-type]
