"""Tests that the random numbers of a training differ between epochs and seeds, and of divergence and progress."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest
import torch
from test_training import data, fit, network
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import forwardforward as ff
from forwardforward.objectives import LocalLoss
from forwardforward.step import StepResult
from forwardforward.training import Callback, FitState, TrainingDiverged, load_checkpoint, meters
from forwardforward.training.progress import Progress, tqdm
from forwardforward.training.randomness import derive_generator

PURPOSES = ("order", "negatives", "dropout", "augmentation")


class Recorder(Callback):
    """Collects what is drawn in each epoch."""

    def __init__(self) -> None:
        self.draws: dict[str, list[list[Any]]] = {
            name: [] for name in ("order", "negatives", "dropout", "augmentation")
        }

    def add(self, name: str, value: Tensor) -> None:
        self.draws[name][-1].append(value.tolist())

    def on_fit_begin(self, state: FitState) -> None:
        self.begin()

    def on_epoch_end(self, state: FitState) -> None:
        self.begin()

    def begin(self) -> None:
        for epochs in self.draws.values():
            epochs.append([])


class RecordedDropout(nn.Module):
    """Dropout that tells its masks to the current recorder, since a layer copies its activation."""

    recorder: Recorder

    def forward(self, x: Tensor) -> Tensor:
        kept = nn.functional.dropout(torch.ones_like(x), 0.5, self.training)
        if self.training:
            self.recorder.add("dropout", kept)
        return x * kept


def drawn(seed: int, kind: str = "tensors", epochs: int = 3) -> dict[str, list[list[Any]]]:
    """Return what a training draws, by purpose and epoch."""
    recorder = RecordedDropout.recorder = Recorder()
    sampler = ff.negatives.RandomLabel()

    def negatives(*arguments: Any, **options: Any) -> ff.Batch:
        batch = sampler(*arguments, **options)
        positive, negative = batch.inputs.index
        recorder.add("negatives", (negative - positive) % 3)  # what is drawn, apart from the order of the samples
        return batch

    def augment(images: Tensor, generator: torch.Generator | None) -> Tensor:
        recorder.add("order", images[:, 0, 0, 0])
        noise = torch.rand(images.shape, generator=generator)
        recorder.add("augmentation", noise)
        return images

    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(16, 8, activation=nn.Sequential(nn.ReLU(), RecordedDropout())),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SwishSymBa(4.0),
        label_encoder=ff.label_encoders.Overlay(3),
        negatives=negatives,
    )
    samples = data()
    samples.inputs[:, 0, 0, 0] = torch.arange(60)  # names the sample
    pairs = list(zip(samples.inputs, samples.targets.tolist(), strict=True))
    train = {"tensors": samples, "data set": pairs, "loader": DataLoader(pairs, 10, shuffle=True)}[kind]
    fit(model, train, epochs=epochs, seed=seed, augment=augment, callbacks=[recorder])
    return {name: values[:epochs] for name, values in recorder.draws.items()}


@pytest.mark.parametrize("kind", ["tensors", "data set", "loader"])
def test_epochs_and_seeds_differ_in_order_negatives_dropout_and_augmentation(kind: str) -> None:
    first, second, again = drawn(0, kind), drawn(1, kind), drawn(0, kind)
    assert first == again
    for name, epochs in first.items():
        assert all(epochs), name
        for a, b in itertools.combinations([*epochs, *second[name]], 2):
            assert a != b, name
    for epoch in first["order"]:
        assert sorted(itertools.chain(*epoch)) == list(range(60))


def test_draws_of_different_purposes_do_not_depend_on_each_other() -> None:
    assert drawn(0, "tensors")["order"] == drawn(0, "data set")["order"]
    assert drawn(0, "tensors", epochs=2)["negatives"] == drawn(0, "tensors")["negatives"][:2]


def test_no_two_purposes_share_their_random_numbers() -> None:
    purposes = ("order", "negatives", "augmentation", "torch", "callbacks", "validation", "evaluation", "preprocessing")
    numbers = [torch.rand(2, generator=derive_generator(0, 1, purpose)) for purpose in purposes]
    assert len({tuple(values.tolist()) for values in numbers}) == len(purposes)


def test_a_restored_meter_adds_the_same_numbers_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "FLUSH", 5)
    losses = torch.rand(64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(64)
    plain, interrupted = meters.EpochMeter(), meters.EpochMeter()
    for loss in losses:
        for meter in (plain, interrupted):
            meter.update(StepResult(layers={0: LocalLoss(loss)}))
        restored = meters.EpochMeter()
        restored.load_state_dict(interrupted.state_dict())
        assert restored.means() == plain.means()
        interrupted = restored
    assert interrupted.layer(0) == plain.layer(0)


def test_every_step_runs_in_training_mode() -> None:
    modes: list[bool] = []

    class Modes(Callback):
        def on_step_end(self, state: FitState, result: StepResult) -> None:
            modes.extend(module.training for module in state.model.modules())

    fit(network("dropout").eval(), data(), epochs=2, validation=data(30, seed=1), callbacks=[Modes()])
    assert modes
    assert all(modes)


def test_means_are_those_of_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "FLUSH", 5)
    meter = meters.EpochMeter()
    for loss in range(12):
        meter.update(StepResult(layers={0: LocalLoss(torch.tensor(float(loss)))}))
    assert meter.mean("0/loss") == meter.means()["0/loss"] == 5.5


@pytest.mark.parametrize("learning_rate", [1e6, 1e9])
def test_weights_that_grow_without_bounds_are_reported(learning_rate: float, tmp_path: Any) -> None:
    path = tmp_path / "c.pt"
    large = ff.LocalOptimizer(torch.optim.SGD, lr=learning_rate)
    message = r"training diverged in epoch 1: the largest weight of layers\.\d\.block\.\w+ is [\d.]+e\+\d+; a smaller"
    with pytest.raises(TrainingDiverged, match=message):
        fit(network("class"), data(), optimizer=large, checkpoint=path)
    assert not path.exists()


def test_a_baseline_that_diverges_is_reported() -> None:
    model = ff.baselines.Backpropagation(ff.FFLinear(16, 24), num_classes=3)
    with pytest.raises(TrainingDiverged, match="training diverged in epoch 1"):
        fit(model, data(), optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=1e8))


def test_large_learning_rates_that_train_are_accepted() -> None:
    fit(network("class"), data(), optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=1.0))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_losses_and_accuracies_in_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    fit(network("hard"), data(), epochs=2, progress=True, validation=data(30, seed=1))
    text = terminal.getvalue().split("\r")[-1]
    for part in ("epoch 2/2", "12/12", "loss 0.", "accuracy ", "validation error "):
        assert part in text


def test_elsewhere_each_epoch_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    history = fit(network("class"), data(), epochs=2, progress=True, validation=data(30, seed=1))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    losses = " ".join(f"{layer['loss']:.3g}" for layer in history[1]["layers"])
    accuracies = " ".join(f"{100 * layer['accuracy']:.1f}" for layer in history[1]["layers"])
    validation = history[1]["validation"]
    errors = " ".join(f"{error:.1f}" for error in validation["layer_errors"])
    shown = f"validation error {validation['error']:.2f} % (layers {errors}), "
    assert lines[1].startswith(f"epoch 2/2: loss {losses}, accuracy {accuracies} %, {shown}")
    model = ff.baselines.Backpropagation(ff.FFLinear(16, 24), num_classes=3)
    history = fit(model, data(), epochs=1, progress=True)
    assert f"epoch 1/1: loss {history[0]['head']['loss']:.3g}, accuracy" in capsys.readouterr().err


def test_a_line_names_every_layer_and_a_bar_the_first_and_the_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = {"loss": 0.5, "accuracy": 0.25}
    record = {"epoch": 1, "seconds": 1.0, "head": None, "layers": [{**layer, "loss": i + 0.5} for i in range(6)]}
    errors = {"error": 9.0, "layer_errors": [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]}
    with Progress(1, 1, 0, show=True) as progress:
        progress.end_epoch({**record, "validation": errors})
    line = capsys.readouterr().err
    assert "loss 0.5 1.5 2.5 3.5 4.5 5.5, accuracy 25.0 25.0 25.0 25.0 25.0 25.0 %" in line
    assert "validation error 9.00 % (layers 10.0 11.0 12.0 13.0 14.0 15.0)" in line
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(1, 1, 0, show=True) as progress:
        progress.end_epoch({**record, "validation": errors})
    assert "loss 0.5 ... 5.5, accuracy 25.0 ... 25.0 %" in terminal.getvalue()
    assert "(layers 10.0 ... 15.0)" in terminal.getvalue()


def test_the_bar_reads_the_device_once_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 100.0, 100.1, 100.9, 101.1])
    reads: list[int] = []
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("forwardforward.training.progress.time.monotonic", lambda: next(times))
    monkeypatch.setattr(tqdm, "set_postfix_str", lambda self, text: reads.append(1))
    next(times)
    with Progress(4, 1, 0, show=True) as progress:
        counts = []
        for _ in range(4):
            progress.update(StepResult())
            counts.append(len(reads))
    assert counts == [1, 1, 1, 2]


def test_a_process_without_standard_error_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    fit(network(), data(), epochs=1, progress=True)


def test_the_checkpoint_names_its_epochs(tmp_path: Any) -> None:
    class Names(Dataset):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return torch.rand(1, 4, 4), index % 3

    fit(network(), Names(), epochs=2, checkpoint=tmp_path / "c.pt")
    content = load_checkpoint(tmp_path / "c.pt")
    assert (content["epoch"], content["first_epoch"], content["unfinished"]) == (2, 0, None)
