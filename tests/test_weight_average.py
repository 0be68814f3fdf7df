"""Tests of averaged weights: the formula, evaluation, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import forwardforward as ff
from forwardforward.training import Callback, Checkpoint, EarlyStopping, FitState, GrowNetwork, WeightAverage

X, Y = torch.rand(23, 8, generator=torch.Generator().manual_seed(0)), torch.arange(23) % 3


def network(seed: int = 0) -> ff.FFSequential:
    """A network with running statistics and an integer buffer, which are averaged and not."""
    torch.manual_seed(seed)
    return ff.FFSequential(
        ff.FFLinear(8, 6),
        ff.FFLinear(6, 5),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(),
        classifier=ff.classifiers.BestInterval(),
    )


class Record(Callback):
    """The weights after each step, and those that the callbacks of each epoch see."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []
        self.epochs: list[dict[str, torch.Tensor]] = []
        self.errors: list[float] = []

    def on_step_end(self, state: FitState, result: object) -> None:
        self.steps.append(copied(state.model))

    def on_epoch_end(self, state: FitState) -> None:
        self.epochs.append(copied(state.model))
        self.errors.append(ff.evaluate(state.model, (X, Y)).error)


class KilledError(Exception):
    """Raised in the middle of a training."""


class KillAtStep(Callback):
    """Ends the training after a step."""

    def __init__(self, step: int) -> None:
        self.remaining = step

    def on_step_end(self, state: FitState, result: object) -> None:
        self.remaining -= 1
        if not self.remaining:
            raise KilledError


def copied(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def fit(model: Any, *callbacks: Callback, **options: Any) -> ff.training.History:
    settings = {"epochs": 3, "batch_size": 8, "validation": (X, Y), "progress": False, **options}
    return ff.fit(model, (X, Y), callbacks=callbacks, **settings)


def floats(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if value.is_floating_point()}


def expected(steps: list[dict[str, torch.Tensor]], decay: float | None) -> dict[str, torch.Tensor]:
    """The average of the weights after the steps, written out."""
    average = dict(floats(steps[0]))
    for index, weights in enumerate(steps[1:], start=1):
        factor = index / (index + 1) if decay is None else decay
        average = {name: factor * value + (1 - factor) * weights[name] for name, value in average.items()}
    return average


def assert_close(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in floats(other).items():
        torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("decay", [0.7, None])
def test_the_model_has_the_averaged_weights_after_each_epoch_and_the_training_is_unchanged(decay: float | None) -> None:
    plain, averaged = Record(), Record()
    fit(network(), plain)
    model = network()
    history = fit(model, averaged, WeightAverage(decay))
    assert len(plain.steps) == len(averaged.steps) == 9
    for a, b in zip(plain.steps, averaged.steps, strict=True):
        assert_close(b, a)
    for epoch in range(3):
        assert_close(averaged.epochs[epoch], expected(averaged.steps[: 3 * epoch + 3], decay))
    assert_close(copied(model), averaged.epochs[-1])
    assert averaged.errors == [record["validation"]["error"] for record in history]


def test_the_average_starts_late_if_asked() -> None:
    record, model = Record(), network()
    fit(model, record, WeightAverage(0.7, start=0.5))
    assert_close(record.epochs[1], record.steps[5])  # epochs 0 and 1 are not averaged
    assert_close(copied(model), expected(record.steps[6:], 0.7))


@pytest.mark.parametrize("step", [2, 3, 4, 8])
def test_a_killed_and_resumed_training_ends_with_the_same_average(step: int, tmp_path: Path) -> None:
    whole, resumed, path = network(), network(), tmp_path / "run.pt"
    records = fit(whole, WeightAverage(0.7), EarlyStopping(5))
    options = {"checkpoint": path, "checkpoint_minutes": 1e-9}
    with pytest.raises(KilledError):
        fit(resumed, WeightAverage(0.7), EarlyStopping(5), KillAtStep(step), **options)
    again = fit(network(1), WeightAverage(0.7), EarlyStopping(5), **options, resume=True)
    assert [record["validation"] for record in again] == [record["validation"] for record in records]
    restored = ff.training.load_weights(path, network(1))
    for name, value in whole.state_dict().items():
        assert torch.equal(restored.state_dict()[name], value), name


def test_a_training_whose_first_evaluation_was_interrupted_ends_with_the_same_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path = network(), tmp_path / "run.pt"
    records = fit(whole, WeightAverage(0.7))
    with monkeypatch.context() as patch:

        def interrupt(*_: Any, **__: Any) -> None:
            raise KilledError

        patch.setattr("forwardforward.training.loop._evaluate", interrupt)
        with pytest.raises(KilledError):
            fit(network(), WeightAverage(0.7), checkpoint=path)
    again = fit(network(1), WeightAverage(0.7), checkpoint=path, resume=True)
    assert [record["validation"] for record in again] == [record["validation"] for record in records]


def test_a_resumed_training_does_not_end_before_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(KilledError):
        fit(network(), KillAtStep(5), checkpoint=path, checkpoint_minutes=1e-9)
    before = path.read_bytes()
    model = network()
    weights = copied(model)
    with pytest.raises(ValueError, match="epochs must be at least 2, which the checkpoint .*run.pt has begun, got 1"):
        fit(model, checkpoint=path, resume=True, epochs=1)
    assert path.read_bytes() == before
    assert model.epochs_trained == 0
    assert_close(copied(model), weights)
    assert len(fit(network(), checkpoint=path, resume=True, epochs=2)) == 2
    with pytest.raises(ValueError, match="epochs must be at least 2"):
        fit(network(), checkpoint=path, resume=True, epochs=1)


def test_a_training_that_is_trained_longer_continues_from_the_last_weights(tmp_path: Path) -> None:
    path, whole, longer = tmp_path / "run.pt", network(), network(1)
    fit(whole, WeightAverage(None), epochs=3)
    fit(network(), WeightAverage(None), epochs=2, checkpoint=path)
    fit(longer, WeightAverage(None), epochs=3, checkpoint=path, resume=True)
    assert_close(copied(longer), copied(whole))
    with pytest.raises(ValueError, match=r"^decay must be that of the checkpoint, None, got 0.9$"):
        fit(network(), WeightAverage(0.9), epochs=4, checkpoint=path, resume=True)


def test_early_stopping_restores_averaged_weights() -> None:
    record, model, stop = Record(), network(), EarlyStopping(5)
    fit(model, stop, WeightAverage(0.7), record)
    assert stop.best_epoch is not None
    assert_close(copied(model), record.epochs[stop.best_epoch - 1])


def test_a_checkpoint_after_an_epoch_contains_the_averaged_weights(tmp_path: Path) -> None:
    record = Record()
    fit(network(), WeightAverage(0.7), record, Checkpoint(tmp_path / "run.pt", every=2), epochs=2)
    assert_close(ff.training.load_checkpoint(tmp_path / "run.pt")["model"], record.epochs[-1])


def test_the_average_starts_anew_when_the_network_grows() -> None:
    model, record = network(), Record()
    grow = GrowNetwork(lambda depth: ff.FFLinear(5, 5), condition=lambda history: len(history) == 2)
    fit(model, WeightAverage(None), grow, record)
    assert len(model) == 3
    assert_close(copied(model), expected(record.steps[6:], None))


def test_replicas_average_as_a_training_by_itself() -> None:
    replicas = ff.replicate(network, seeds=[0, 1])
    fit(replicas, WeightAverage(0.7))
    member = replicas.members[1]
    single = network()
    single.load_state_dict(ff.replicate(network, seeds=[0, 1]).members[1].state_dict())
    fit(single, WeightAverage(0.7), seed=1)
    assert_close(copied(single), copied(member))


def test_a_recipe_averages_and_clips() -> None:
    recipe = ff.recipes.get("mono").replace(widths=(6,), average=WeightAverage(0.7), clip_norm=0.5, epochs=2)
    assert recipe.table()["average"] == "WeightAverage(decay=0.7)"
    assert recipe.local_optimizer().clip_norm == 0.5
    record = Record()
    model = recipe.model((8,), 3)
    recipe.fit(model, (X, Y), callbacks=[record], progress=False, batch_size=8)
    assert_close(copied(model), expected(record.steps, 0.7))
