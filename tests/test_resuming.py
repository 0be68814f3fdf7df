"""Tests of runs that are interrupted within an epoch and resumed, and of signals."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training import KINDS, KillAtStep, Killed, data, fit, grow, network, same, without_seconds
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import forwardforward as ff
from forwardforward.step import StepResult
from forwardforward.training import (
    Callback,
    Checkpoint,
    EarlyStopping,
    FitState,
    Interrupted,
    TrainingDiverged,
    load_checkpoint,
    meters,
    stop_on_signals,
)

EVERY_STEP = {"checkpoint_minutes": 1e-9}


def noise(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """An augmentation."""
    return images + 0.1 * torch.randn(images.shape, generator=generator)


def uninterrupted_run(kind: str, train: Any, **options: Any) -> tuple[Any, list[dict[str, object]]]:
    """The network of a run and its records."""
    model = network(kind)
    return model, without_seconds(fit(model, train, **options))


@functools.cache
def augmented_run(kind: str) -> tuple[Any, list[dict[str, object]]]:
    """A run that several tests compare with: to be read only."""
    return uninterrupted_run(kind, data(), augment=noise, monitor_every=2)


@functools.cache
def validated_run() -> tuple[Any, list[dict[str, object]]]:
    """A run that several tests compare with: to be read only."""
    return uninterrupted_run("hard", data(), validation=data(30, seed=1))


def resumed_equals_uninterrupted(
    at: tuple[int, int], path: Path, train: Any = None, kind: str = "dropout", expected: Any = None, **options: Any
) -> None:
    train = (lambda: data()) if train is None else train
    uninterrupted, records = expected or uninterrupted_run(kind, train(), **options)
    resumed = network(kind, seed=99)
    with pytest.raises(Killed):
        fit(network(kind), train(), checkpoint=path, schedule=KillAtStep(*at), **EVERY_STEP, **options)
    content = load_checkpoint(path)
    assert content["epoch"] == at[0]
    assert (content["unfinished"] or {"steps": 0})["steps"] == at[1]
    history = fit(resumed, train(), checkpoint=path, resume=True, **options)
    assert same(uninterrupted, resumed)
    assert without_seconds(history) == records


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [(0, 1), (1, 5), (2, 0)])
def test_a_run_resumed_within_an_epoch_equals_an_uninterrupted_one(
    kind: str, at: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meters, "FLUSH", 3)
    options = {"augment": noise, "monitor_every": 2}
    resumed_equals_uninterrupted(at, tmp_path / "c.pt", kind=kind, expected=augmented_run(kind), **options)


def test_a_growing_network_with_validation_resumes_within_an_epoch(tmp_path: Path) -> None:
    options = {"epochs": 4, "callbacks": [grow()], "validation": data(30, seed=1)}
    resumed_equals_uninterrupted((2, 3), tmp_path / "c.pt", **options)


def test_a_checkpoint_after_the_last_step_of_an_epoch_resumes(tmp_path: Path) -> None:
    class KilledByData(ff.TensorData):
        def batches(self, *arguments: Any, **options: Any) -> Any:
            yield from super().batches(*arguments, **options)
            raise Killed

        def to(self, *arguments: Any) -> ff.TensorData:
            return self

    uninterrupted, resumed = network(), network(seed=3)
    expected = fit(uninterrupted, data())
    samples = data()
    with pytest.raises(Killed):
        fit(network(), KilledByData(samples.inputs, samples.targets), checkpoint=tmp_path / "c.pt", **EVERY_STEP)
    assert load_checkpoint(tmp_path / "c.pt")["unfinished"]["steps"] == 6
    assert without_seconds(fit(resumed, data(), checkpoint=tmp_path / "c.pt", resume=True)) == without_seconds(expected)
    assert same(uninterrupted, resumed)


class DrawsEverywhere(Dataset):
    """Draws from the three global generators, as augmentations of many libraries do."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = torch.rand(1, 4, 4) + random.random() + float(np.random.rand())
        return noise, index % 3


@pytest.mark.parametrize("at", [(1, 4), (2, 0)])
def test_a_data_set_that_draws_from_global_generators_resumes(at: tuple[int, int], tmp_path: Path) -> None:
    resumed_equals_uninterrupted(at, tmp_path / "c.pt", DrawsEverywhere)


def test_a_shuffling_loader_with_workers_resumes_within_an_epoch(tmp_path: Path) -> None:
    def loader() -> DataLoader:
        return DataLoader(DrawsEverywhere(), 20, shuffle=True, num_workers=1)

    resumed_equals_uninterrupted((1, 1), tmp_path / "c.pt", loader, epochs=2)


def test_the_random_states_of_the_caller_are_restored() -> None:
    random.seed(3)
    np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()
    fit(network(), DrawsEverywhere(), epochs=1, validation=DrawsEverywhere())
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_persistent_workers_with_a_checkpoint_are_warned_of(tmp_path: Path) -> None:
    loader = DataLoader(DrawsEverywhere(), 20, num_workers=1, persistent_workers=True)
    with pytest.warns(UserWarning, match="persistent_workers=True"):
        fit(network(), loader, epochs=1, checkpoint=tmp_path / "c.pt")


def test_no_checkpoint_is_written_within_an_epoch_that_has_diverged(tmp_path: Path) -> None:
    class Poison(Callback):
        def on_step_end(self, state: FitState, result: StepResult) -> None:
            if len(state.history) == 1:
                with torch.no_grad():
                    state.model.layers[1].block.weight.fill_(float("nan"))

    path = tmp_path / "c.pt"
    with pytest.raises(TrainingDiverged, match="epoch 2"):
        fit(network(), data(), checkpoint=path, callbacks=[Poison()], **EVERY_STEP)
    assert load_checkpoint(path)["epoch"] == 1


class SignalAtStep(Callback):
    """Sends a signal to this process after a step."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.step, self.number = step, number

    def on_step_end(self, state: FitState, result: StepResult) -> None:
        self.step -= 1
        if self.step == 0:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("step", [4, 6, 9])
def test_a_signal_finishes_the_step_and_the_resumed_run_equals_an_uninterrupted_one(
    number: int, step: int, tmp_path: Path
) -> None:
    path, before = tmp_path / "c.pt", signal.getsignal(number)
    uninterrupted, expected = validated_run()
    resumed = network("hard", seed=5)
    callbacks = [SignalAtStep(step, number)]
    with pytest.raises(Interrupted) as interruption, stop_on_signals() as stop:
        fit(network("hard"), data(), validation=data(30, seed=1), checkpoint=path, callbacks=[stop, *callbacks])
    assert interruption.value.number == number
    assert signal.getsignal(number) == before
    content = load_checkpoint(path)
    assert (content["epoch"], content["unfinished"]["steps"]) == divmod(step, 6) if step != 6 else (0, 6)
    history = fit(resumed, data(), validation=data(30, seed=1), checkpoint=path, resume=True)
    assert same(uninterrupted, resumed)
    assert without_seconds(history) == expected


def test_a_signal_during_the_evaluation_saves_the_epoch(tmp_path: Path) -> None:
    class Interrupting(Dataset):
        reads = 0

        def __len__(self) -> int:
            return 30

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            self.reads += 1
            if self.reads == 40:  # the first 30 reads check the data
                os.kill(os.getpid(), signal.SIGTERM)
            inputs, target = data(30, seed=1)[index]
            return inputs, int(target)

    path = tmp_path / "c.pt"
    with pytest.raises(Interrupted), stop_on_signals() as stop:
        fit(network(), data(), validation=Interrupting(), checkpoint=path, callbacks=[stop])
    content = load_checkpoint(path)
    assert (content["epoch"], content["finished"], content["unfinished"]) == (1, False, None)


@pytest.mark.parametrize("validation", [None, data(30, seed=1)], ids=["plain", "validation"])
def test_a_signal_after_the_last_step_of_an_epoch_loses_no_step(
    validation: ff.TensorData | None, tmp_path: Path
) -> None:
    signals = iter([signal.SIGTERM])  # a second one would end the process

    class Interrupting(ff.LocalOptimizer):
        def learning_rates(self) -> dict[str, float]:  # called when the record of the epoch is made
            os.kill(os.getpid(), next(signals, 0))
            return super().learning_rates()

    path = tmp_path / "c.pt"
    optimizer = Interrupting(torch.optim.Adam, lr=0.001)
    with pytest.raises(Interrupted), stop_on_signals() as stop:
        fit(network(), data(), checkpoint=path, optimizer=optimizer, validation=validation, callbacks=[stop])
    content = load_checkpoint(path)
    assert (content["epoch"], content["unfinished"], content["finished"]) == (1, None, validation is None)


def test_a_signal_while_callbacks_run_waits_for_the_checkpoint(tmp_path: Path) -> None:
    class AtEpochEnd(Callback):
        def on_epoch_end(self, state: FitState) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    path = tmp_path / "c.pt"
    with pytest.raises(Interrupted), stop_on_signals() as stop:
        fit(network(), data(), callbacks=[stop, AtEpochEnd(), Checkpoint(path, every=5)])
    assert load_checkpoint(path)["epoch"] == 1


def test_fit_installs_no_handlers_and_ignored_signals_stay_ignored() -> None:
    handlers = []

    class Handlers(Callback):
        def on_step_end(self, state: FitState, result: StepResult) -> None:
            handlers.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    fit(network(), data(), epochs=1, callbacks=[Handlers()])
    assert set(handlers) == {before}
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop_on_signals():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != before
    finally:
        signal.signal(signal.SIGHUP, hangup)


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
@pytest.mark.slow
def test_a_second_interrupt_ends_at_once(workers: int) -> None:
    program = textwrap.dedent(f"""
        import time, torch, forwardforward as ff
        from torch.utils.data import DataLoader, Dataset
        from forwardforward.training import stop_on_signals
        class Slow(Dataset):
            def __len__(self):
                return 6
            def __getitem__(self, index):
                if index > 1:
                    print("waiting", flush=True)
                    time.sleep(60)
                return torch.rand(8), index % 2
        model = ff.FFSequential(
            ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        )
        with stop_on_signals() as stop:
            ff.fit(model, DataLoader(Slow(), 2, num_workers={workers}), callbacks=[stop], progress=False)
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None  # the first one waits for the step
    process.send_signal(signal.SIGINT)
    # far below the 60 seconds that the data set waits, and enough for a slow machine
    process.wait(timeout=40)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 130
    assert errors == b""


#: Validation data whose error does not fall steadily.
ODD = ff.TensorData(data(60, seed=7).inputs, torch.randint(3, (60,), generator=torch.Generator().manual_seed(2)))


def early(path: Path, at: tuple[int, int] | None = None, **options: Any) -> tuple[Any, Any]:
    """A run that overfits, so that its best epoch is not the last one."""
    model = network(seed=options.pop("seed", 0))
    stop = EarlyStopping(patience=options.pop("patience", 3))
    schedule = None if at is None else KillAtStep(*at)
    settings = {"epochs": 12, "validation": ODD, "optimizer": ff.LocalOptimizer(torch.optim.Adam, lr=0.01)}
    history = fit(model, data(), callbacks=[stop], checkpoint=path, schedule=schedule, **settings, **options)
    return (model, stop), history


def test_early_stopping_restores_the_best_weights(tmp_path: Path) -> None:
    (model, stop), history = early(tmp_path / "c.pt")
    errors = history.validation()
    assert stop.best_epoch == 1 + errors.index(min(errors)) < len(errors)
    assert ff.evaluate(model, ODD).error == min(errors) < errors[-1]
    loaded = ff.training.load_weights(tmp_path / "c.pt", network(seed=8))
    assert same(loaded, model)


@pytest.mark.parametrize("step", [0, 2])
def test_early_stopping_resumes_bit_for_bit(step: int, tmp_path: Path) -> None:
    (uninterrupted, stop), expected = early(tmp_path / "a.pt")
    killed_in = stop.best_epoch + 1  # after the best epoch
    assert killed_in < len(expected)
    with pytest.raises(Killed):
        early(tmp_path / "b.pt", (killed_in, step), **EVERY_STEP)
    (resumed, _), history = early(tmp_path / "b.pt", resume=True, seed=9)
    assert same(uninterrupted, resumed)
    assert without_seconds(history) == without_seconds(expected)
    # A finished run stays as it is, and a longer one continues from the weights of the last epoch.
    (again, _), _ = early(tmp_path / "b.pt", resume=True, seed=9)
    assert same(uninterrupted, again)
    (longer, _), expected = early(tmp_path / "c.pt", patience=9)
    (extended, _), history = early(tmp_path / "b.pt", patience=9, resume=True, seed=9)
    assert same(longer, extended)
    assert without_seconds(history) == without_seconds(expected)


def test_a_run_with_early_stopping_is_not_resumed_without_it(tmp_path: Path) -> None:
    early(tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"callbacks must contain a EarlyStopping"):
        fit(
            network(),
            data(),
            epochs=12,
            validation=ODD,
            optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=0.01),
            checkpoint=tmp_path / "c.pt",
            resume=True,
        )


def test_calls_of_one_epoch_equal_one_call_of_several() -> None:
    together, apart = network("dropout"), network("dropout")
    adam = [ff.LocalOptimizer(torch.optim.Adam, lr=3e-3) for _ in range(2)]
    expected = fit(together, data(), epochs=4, optimizer=adam[0], augment=noise)
    records = [fit(apart, data(), epochs=1, optimizer=adam[1], augment=noise)[-1] for _ in range(4)]
    assert same(together, apart)
    assert [record["layers"] for record in records] == [record["layers"] for record in expected]


def test_a_second_call_resumes_with_its_own_numbers(tmp_path: Path) -> None:
    def trained_once() -> ff.FFSequential:
        model = network()
        fit(model, data(), epochs=2)
        return model

    uninterrupted, path = trained_once(), tmp_path / "c.pt"
    fit(uninterrupted, data())
    with pytest.raises(Killed):
        fit(trained_once(), data(), checkpoint=path, schedule=KillAtStep(1, 3), **EVERY_STEP)
    resumed = network(seed=4)  # a new process does not know of the first call
    fit(resumed, data(), checkpoint=path, resume=True)
    assert same(uninterrupted, resumed)
    assert resumed.epochs_trained == uninterrupted.epochs_trained == 5
