"""Tests of fit and evaluate: reproducible runs, checkpoints, records and errors."""

import copy
import functools
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import forwardforward as ff
from forwardforward.step import StepResult
from forwardforward.training import (
    Callback,
    Checkpoint,
    CheckpointError,
    CSVLog,
    EarlyStopping,
    GrowNetwork,
    History,
    JSONLog,
    TrainingDiverged,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from forwardforward.training.evaluation import check_validation

KINDS = ("pair", "hard", "class", "unsupervised", "batch norm", "dropout")


def data(count: int = 60, seed: int = 0) -> ff.TensorData:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.rand(count, 1, 4, 4, generator=generator)
    images[torch.arange(count), 0, 3, labels] += 2  # something to learn, away from the first pixels
    return ff.TensorData(images, labels, num_classes=3)


def network(kind: str = "pair", seed: int = 0) -> ff.FFSequential:
    torch.manual_seed(seed)
    pair = {
        "goodness": ff.goodness.MeanOfSquares(),
        "loss": ff.losses.SwishSymBa(4.0),
        "normalization": ff.normalization.RMSNorm(),
        "label_encoder": ff.label_encoders.Overlay(3),
    }
    layers: list[nn.Module] = [ff.FFLinear(16, 24), ff.FFLinear(24, 20)]
    if kind == "hard":
        pair["negatives"] = ff.negatives.HardLabel()
        pair["peer"] = ff.normalization.PeerNormalization()
    if kind == "batch norm":
        pair["normalization"] = ff.normalization.BatchNorm()
    if kind == "dropout":
        layers[0] = ff.FFLinear(16, 24, activation=nn.Sequential(nn.ReLU(), nn.Dropout(0.2)))
    if kind == "unsupervised":
        del pair["label_encoder"]
        pair |= {"negatives": ff.negatives.HybridMask(2), "num_classes": 3}
    if kind == "class":
        return ff.FFSequential(
            *layers,
            goodness=ff.goodness.LearnedProjection(3),
            loss=ff.losses.CrossEntropy(),
            normalization=ff.normalization.RMSNorm(),
        )
    return ff.FFSequential(*layers, **pair)


def optimizer() -> ff.LocalOptimizer:
    return ff.LocalOptimizer(torch.optim.Adam, lr=3e-3, lr_schedule=ff.lr_schedules.Cooldown(0.5))


def fit(model: nn.Module, train: object, **options: object) -> ff.training.History:
    settings = {"epochs": 3, "batch_size": 10, "optimizer": optimizer(), "progress": False, **options}
    return ff.fit(model, train, **settings)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def without_seconds(history: History) -> list[dict[str, object]]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


@functools.cache
def uninterrupted_run(kind: str) -> tuple[ff.FFSequential, list[dict[str, object]]]:
    """The network of a run and its records, shared by the tests that compare: to be read only."""
    model = network(kind)
    return model, without_seconds(fit(model, data()))


class Killed(BaseException):
    pass


class KillAtStep:
    """A schedule that is killed in the middle of an epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> ff.update_schedules.Groups:
        if (epoch, step) == self.at:
            raise Killed
        return ff.update_schedules.Joint()(depth, epoch, step, epochs)

    def __repr__(self) -> str:
        return "Joint()"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [(0, 3), (1, 0), (2, 5)])
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(kind: str, at: tuple[int, int], tmp_path: Path) -> None:
    uninterrupted, expected = uninterrupted_run(kind)
    path = tmp_path / "c.pt"
    with pytest.raises(Killed):
        fit(network(kind), data(), checkpoint=path, schedule=KillAtStep(*at))
    assert path.exists() == (at[0] > 0)
    resumed = network(kind, seed=0 if at[0] == 0 else 99)
    history = fit(resumed, data(), checkpoint=path, resume=True)
    assert same(uninterrupted, resumed)
    assert without_seconds(history) == expected


def test_a_shuffling_loader_resumes_too(tmp_path: Path) -> None:
    def loader() -> DataLoader:
        return DataLoader(data(), 10, shuffle=True, generator=torch.Generator())

    uninterrupted = network()
    fit(uninterrupted, loader())
    with pytest.raises(Killed):
        fit(network(), loader(), checkpoint=tmp_path / "c.pt", schedule=KillAtStep(2, 1))
    resumed = network(seed=9)
    fit(resumed, loader(), checkpoint=tmp_path / "c.pt", resume=True)
    assert same(uninterrupted, resumed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_while_a_checkpoint_is_written_leaves_the_last_good_one(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, signal, sys
        import torch
        from forwardforward.training import checkpoints
        def kill(*arguments, **options):
            if moment == "while writing":
                arguments[1].write(b"half a check")
                arguments[1].flush()
            os.kill(os.getpid(), signal.SIGKILL)
        for moment in ("while writing", "before the move"):  # each in a process of its own
            path = os.path.join(sys.argv[1], moment)
            checkpoints.save_checkpoint(path, {"model": {"w": torch.zeros(3)}})
            process = os.fork()
            if process == 0:
                if moment == "while writing":
                    torch.save = kill
                else:
                    os.replace = kill
                checkpoints.save_checkpoint(path, {"model": {"w": torch.ones(3)}})
                os._exit(0)
            status = os.waitpid(process, 0)[1]
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (moment, status)
    """)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, str(tmp_path)]  # torch has threads
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    for moment in ("while writing", "before the move"):
        assert load_checkpoint(tmp_path / moment)["model"]["w"].tolist() == [0, 0, 0], moment


def test_the_same_seed_gives_the_same_run_and_the_random_state_of_the_caller_is_restored() -> None:
    first, second, other = network(), network(), network()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(first, data())
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    fit(second, data())
    fit(other, data(), seed=1)
    assert same(first, second)
    assert not same(first, other)


class Pairs(Dataset):
    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        inputs, target = data()[index]
        return inputs, int(target)


@pytest.mark.parametrize("kind", ["tuple", "dataset", "loader"])
def test_tensors_data_sets_and_loaders_are_accepted(kind: str) -> None:
    samples = data()
    kinds = {"tuple": (samples.inputs, samples.targets), "dataset": Pairs(), "loader": DataLoader(Pairs(), 20)}
    history = fit(network("class"), kinds[kind], validation=kinds[kind], epochs=2)
    assert history[-1]["validation"]["samples"] == 60


def test_the_history_records_every_layer() -> None:
    history = fit(network("hard"), data(), validation=data(30, seed=1))
    record = json.loads(json.dumps(history[-1]))
    assert [record["epoch"] for record in history] == [1, 2, 3]
    for layer in record["layers"]:
        assert set(layer) == {
            *("loss", "positive", "negative", "separation", "accuracy", "gradient_norm"),
            *("largest_weight", "learning_rate", "parts"),
            *("thresholds", "scale", "chance", "dead_units", "weight_change"),
        }
        assert layer["separation"] == pytest.approx(layer["positive"] - layer["negative"])
    assert set(record["head"]) == {"loss", "accuracy", "learning_rate"}
    assert len(record["validation"]["layer_errors"]) == 2
    assert history.layer(0, "learning_rate") == pytest.approx([3e-3, 3e-3, 1e-3])


def test_training_learns() -> None:
    for kind in KINDS[:3]:
        model = network(kind)
        fit(model, data(300), epochs=5)
        assert ff.evaluate(model, data(90, seed=1)).error < 10, kind


def test_bfloat16_products_keep_float32_weights() -> None:
    model = network("hard")
    history = fit(model, data(), precision="bf16")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert history[-1]["layers"][0]["loss"] < 1


def test_no_progress_bar_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    fit(network(), data(), epochs=1)
    assert capsys.readouterr() == ("", "")
    fit(network(), data(), epochs=1, progress=True)
    assert "epoch 1/1" in capsys.readouterr().err


def test_evaluation_counts_and_does_not_depend_on_the_batch_size() -> None:
    model, samples = network("hard"), data(50, seed=2)
    fit(model, data())
    assert samples.targets is not None
    result = ff.evaluate(model, samples)
    assert result.error == pytest.approx(100 * float((model.predict(samples.inputs) != samples.targets).float().mean()))
    goodness = model.layer_goodness(samples.inputs)
    by_layer = [100 * float((goodness[:, i].argmax(1) != samples.targets).float().mean()) for i in range(2)]
    assert result.layer_errors == pytest.approx(by_layer)
    small = ff.evaluate(model, samples, batch_size=7)
    assert (small.error, small.layer_errors, small.head_error) == (result.error, result.layer_errors, result.head_error)


def test_checkpoints_contain_everything_that_a_run_needs(tmp_path: Path) -> None:
    model = network("hard")
    fit(model, data(), checkpoint=tmp_path / "c.pt")
    raw = torch.load(tmp_path / "c.pt", weights_only=True)
    assert {"model", "optimizer", "schedule", "history", "epoch", "seed"} <= set(raw)
    fresh = network("hard", seed=4)
    fresh.load_state_dict(raw["model"])
    assert same(model, fresh)
    assert "layers.0.peer.means" in raw["model"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_checkpoint_cut_short_is_named_and_changes_nothing(share: float, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    fit(network(), data(), checkpoint=path, epochs=1)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    model = network(seed=3)
    before = copy.deepcopy(model)
    with pytest.raises(CheckpointError, match=r"c\.pt"):
        load_weights(path, model)
    with pytest.raises(CheckpointError, match=r"c\.pt"):
        fit(model, data(), checkpoint=path, resume=True)
    assert same(model, before)


def test_foreign_files_and_other_architectures_are_refused(tmp_path: Path) -> None:
    foreign, ours = tmp_path / "foreign.pt", tmp_path / "ours.pt"
    torch.save({"weights": torch.zeros(2)}, foreign)
    with pytest.raises(CheckpointError, match="not a checkpoint of forwardforward"):
        load_checkpoint(foreign)
    torch.save(network(), foreign)  # a whole pickled module
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(foreign)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "none.pt")
    fit(network("class"), data(), checkpoint=ours, epochs=1)
    model = network()
    before = copy.deepcopy(model)
    with pytest.raises(
        CheckpointError, match=r"ours\.pt does not match the model: missing label_encoder\.codebook and 2 more"
    ):
        load_weights(ours, model)
    with pytest.raises(
        CheckpointError, match=r"ours\.pt does not match the model: missing label_encoder\.codebook and 2 more"
    ):
        fit(model, data(), checkpoint=ours, resume=True)
    assert same(model, before)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    fit(network(), data(), checkpoint=path, epochs=1)
    good = path.read_bytes()

    def full(content: object, file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left on device.*last complete one is kept"):
        fit(network(), data(), checkpoint=path, resume=True, epochs=2)
    assert path.read_bytes() == good
    assert os.listdir(tmp_path) == ["c.pt"]


def test_logs_are_truncated_on_resuming(tmp_path: Path) -> None:
    logs = [JSONLog(tmp_path / "h.jsonl"), CSVLog(tmp_path / "h.csv")]
    with pytest.raises(Killed):
        fit(network(), data(), checkpoint=tmp_path / "c.pt", schedule=KillAtStep(2, 0), callbacks=logs)
    with open(tmp_path / "h.jsonl", "a") as file:
        file.write('{"epoch": 3}\n')
    history = fit(network(), data(), checkpoint=tmp_path / "c.pt", resume=True, callbacks=logs)
    lines = (tmp_path / "h.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history.epochs
    rows = (tmp_path / "h.csv").read_text().splitlines()
    assert len(rows) == 4
    assert "layers.0.loss" in rows[0]


def test_logs_are_replaced_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [JSONLog(tmp_path / "h.jsonl"), CSVLog(tmp_path / "h.csv")]
    fit(network(), data(), callbacks=logs, epochs=2)
    before = [log.path.read_bytes() for log in logs]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for log in logs:
        with pytest.raises(OSError, match="No space left on device"):
            fit(network(), data(), callbacks=[log], epochs=1)
    assert [log.path.read_bytes() for log in logs] == before
    assert sorted(os.listdir(tmp_path)) == ["h.csv", "h.jsonl"]


class Poison(Callback):
    """Makes weights NaN after one step of the second epoch."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.steps = 0

    def on_step_end(self, state: ff.training.FitState, result: StepResult) -> None:
        self.steps += 1
        if self.steps == 6 + self.step:
            with torch.no_grad():
                state.model.layers[1].block.weight.fill_(float("nan"))


@pytest.mark.parametrize(("step", "figure"), [(1, "loss"), (6, "largest_weight")])
def test_training_stops_at_nan_and_keeps_the_checkpoint_before(step: int, figure: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match=rf"epoch 2: layers\.1\.{figure} is nan"):
        fit(network(), data(), checkpoint=tmp_path / "c.pt", callbacks=[Poison(step)])
    content = load_checkpoint(tmp_path / "c.pt")
    assert content["epoch"] == 1
    assert all(bool(torch.isfinite(value).all()) for value in content["model"].values())


class Untrained(Callback):
    """Refuses to train."""

    def on_fit_begin(self, state: ff.training.FitState) -> None:
        raise AssertionError("training began")


def test_early_stopping_needs_validation_and_stops() -> None:
    frozen = ff.LocalOptimizer(torch.optim.SGD, lr=0.0)
    history = fit(network(), data(), validation=data(), epochs=9, optimizer=frozen, callbacks=[EarlyStopping(2)])
    assert len(history) == 3
    with pytest.raises(ValueError, match="validation must be given"):
        fit(network(), data(), callbacks=[EarlyStopping(2), Untrained()])


def stopping(tmp_path: Path, epochs: int, patience: int = 2, **options: object) -> ff.training.History:
    """A run whose error stays where it is, so that it stops early."""
    frozen = ff.LocalOptimizer(torch.optim.SGD, lr=0.0)
    settings = {"validation": data(), "epochs": epochs, "optimizer": frozen, "callbacks": [EarlyStopping(patience)]}
    return fit(network(), data(), checkpoint=tmp_path / "c.pt", **{**settings, **options})


def test_a_run_that_stopped_early_is_not_trained_further(tmp_path: Path) -> None:
    assert len(stopping(tmp_path, 9)) == 3
    for _ in range(2):
        assert len(stopping(tmp_path, 9, resume=True)) == 3
    assert len(stopping(tmp_path, 9, patience=4, resume=True)) == 5
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 5


def test_an_early_stop_writes_a_checkpoint_whatever_its_interval(tmp_path: Path) -> None:
    rare, often = Checkpoint(tmp_path / "rare.pt", every=100), Checkpoint(tmp_path / "often.pt", every=2)
    stopping(tmp_path, 9, callbacks=[rare, often, EarlyStopping(2)])
    assert load_checkpoint(rare.path)["epoch"] == load_checkpoint(often.path)["epoch"] == 3
    fit(network(), data(), epochs=2, callbacks=[rare])
    assert load_checkpoint(rare.path)["epoch"] == 2


@pytest.mark.parametrize("count", [11, 21])
@pytest.mark.parametrize("kind", ["unsupervised", "batch norm", "class batch norm"])
def test_a_last_batch_of_one_joins_the_batch_before(kind: str, count: int, tmp_path: Path) -> None:
    def new_network(seed: int = 0) -> ff.FFSequential:
        if kind != "class batch norm":
            return network(kind, seed)
        torch.manual_seed(seed)
        loss = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
        return ff.FFSequential(ff.FFLinear(16, 8), normalization=ff.normalization.BatchNorm(), **loss)

    samples = data(count)
    for train in (samples, [samples[i] for i in range(count)]):  # tensors, and a data set
        path = tmp_path / f"{type(train).__name__}.pt"
        uninterrupted = new_network()
        fit(uninterrupted, train, validation=samples)
        with pytest.raises(Killed):
            fit(new_network(), train, checkpoint=path, schedule=KillAtStep(1, count // 10 - 1))
        resumed = new_network(9)
        fit(resumed, train, validation=samples, checkpoint=path, resume=True)
        assert same(uninterrupted, resumed)


@pytest.mark.parametrize("kind", ["unsupervised", "class", "hard"])
def test_evaluation_takes_any_number_of_samples(kind: str) -> None:
    model = network(kind)
    samples = data(21)
    for count, batch_size in ((1, 10), (2, 1), (11, 10), (21, 10), (5, 1)):
        result = ff.evaluate(model, samples[:count], batch_size=batch_size)
        assert result.samples == count
        assert result.error == pytest.approx(
            100 * float((model.predict(samples.inputs[:count]) != samples.targets[:count]).double().mean())
        )
        assert (result.layer_accuracies is None) == (count == 1 and kind != "class")
        if model.layers_classify:
            most = model.layer_goodness(samples.inputs[:count]).amax((0, 2)).tolist()
            assert result.largest_goodness == pytest.approx(most)
        else:
            assert result.largest_goodness is None
    loader = DataLoader(samples, 10)
    assert ff.evaluate(model, loader).error == ff.evaluate(model, samples).error


def test_accuracies_have_no_rounding_noise() -> None:
    result = ff.evaluate(network("class"), data(24))
    assert result.layer_accuracies == tuple(round(100 - error, 4) for error in result.layer_errors)
    assert all(repr(value) == repr(round(value, 4)) for value in result.layer_accuracies)
    assert result.error == 100 * round(result.error * 24 / 100) / 24


class Drawing(Dataset):
    """Draws from torch's global generator, as augmentation does."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.rand(1, 4, 4), index % 3


def test_checking_the_validation_data_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(Drawing(), 5, shuffle=True, generator=generator)
    model = network("dropout")
    model.layers[0].eval()
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    before = generator.get_state()
    check_validation(model, loader)
    assert torch.equal(generator.get_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes

    torch.manual_seed(7)
    drawn = torch.get_rng_state()
    plain, tried = network(), network()
    torch.set_rng_state(drawn)
    fit(plain, data(), epochs=1)
    fit(tried, data(), epochs=1, validation=DataLoader(Drawing(), 5, shuffle=True))
    assert same(plain, tried)
    assert torch.equal(torch.get_rng_state(), drawn)


class Flaky(Dataset):
    """Validation data of which a single read fails, as from a network disk."""

    def __init__(self, fails: int | None = None) -> None:
        self.reads = 0
        self.fails = fails

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        if self.reads == self.fails:
            raise OSError("the disk is gone")
        inputs, target = data(30, seed=1)[index]
        return inputs, int(target)


def test_an_epoch_is_saved_if_its_evaluation_fails(tmp_path: Path) -> None:
    uninterrupted, path, rare = network(), tmp_path / "c.pt", Checkpoint(tmp_path / "rare.pt", every=100)
    expected = fit(uninterrupted, data(), validation=Flaky())
    with pytest.raises(OSError, match="the disk is gone"):  # 2 reads to check, 30 per epoch
        fit(network(), data(), validation=Flaky(fails=75), checkpoint=path, callbacks=[rare])
    content = load_checkpoint(path)
    assert content["epoch"] == load_checkpoint(rare.path)["epoch"] == 2
    assert content["history"][0]["validation"] is not None
    assert content["history"][1]["validation"] is None
    resumed = network(seed=3)
    history = fit(resumed, data(), validation=Flaky(), checkpoint=path, resume=True)
    assert same(uninterrupted, resumed)
    assert [record["validation"] for record in history] == [record["validation"] for record in expected]


def test_a_diverged_epoch_is_not_saved_if_its_evaluation_fails(tmp_path: Path) -> None:
    class Bad(ff.LocalOptimizer):
        def step(self, *names: object) -> None:
            with torch.no_grad():
                for parameters in self._parameters.values():
                    for parameter in parameters.values():
                        parameter.fill_(float("nan"))

    bad = Bad(torch.optim.SGD, lr=0.1)
    with pytest.raises(TrainingDiverged, match="epoch 1"):
        fit(network(), data(), validation=Flaky(fails=31), optimizer=bad, checkpoint=tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()


def test_float64_inputs_are_computed_in_the_dtype_of_the_model() -> None:
    samples = data()
    single, double = network("class"), network("class")
    fit(single, samples, epochs=1)
    pair = [samples.inputs.double(), samples.targets]
    fit(double, pair, epochs=1)
    assert same(single, double)
    assert ff.evaluate(double, tuple(pair)).error == ff.evaluate(single, samples).error
    loader = DataLoader([(samples.inputs[i].double(), int(samples.targets[i])) for i in range(60)], 60)
    assert ff.evaluate(double, loader).error == ff.evaluate(single, samples).error
    wide = network("class").double()
    fit(wide, samples, epochs=1)
    assert next(wide.parameters()).dtype == torch.float64


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return ((image, int(target)) for image, target in zip(data().inputs, data().targets, strict=True))


def test_a_loader_of_a_stream_trains_and_resumes(tmp_path: Path) -> None:
    uninterrupted = network("class")
    history = fit(uninterrupted, DataLoader(Stream(), 20), validation=DataLoader(Stream(), 20))
    assert history[-1]["validation"]["samples"] == 60
    with pytest.raises(Killed):
        fit(network("class"), DataLoader(Stream(), 20), checkpoint=tmp_path / "c.pt", schedule=KillAtStep(1, 1))
    resumed = network("class", seed=4)
    fit(resumed, DataLoader(Stream(), 20), checkpoint=tmp_path / "c.pt", resume=True)
    assert same(uninterrupted, resumed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"checkpoint_minutes": 0}, "checkpoint_minutes must be positive, got 0"),
        ({"checkpoint_minutes": 1}, "checkpoint must name the file to write every checkpoint_minutes, got None"),
        ({"precision": "fp8"}, "precision must be 'float32', 'tf32' or 'bf16', got 'fp8'"),
        ({"resume": True}, "checkpoint must name the file"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(network(), data(), **options)


def test_bad_data_are_named() -> None:
    good = data()
    assert good.targets is not None
    with pytest.raises(ValueError, match="in_features .* 16 .* 25"):
        fit(network("class"), (torch.rand(6, 25), torch.zeros(6, dtype=torch.int64)))
    with pytest.raises(TypeError, match="float"):
        fit(network(), (good.inputs, good.targets.float()))
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.2 for 3 classes, got 0\.\.5"):
        fit(network(), (good.inputs, good.targets % 2 * 5))
    with pytest.raises(ValueError, match="NaN"):
        fit(network(), (good.inputs * float("nan"), good.targets))
    poisoned = [(torch.full((1, 4, 4), float("inf")), 0)] * 4
    with pytest.raises(ValueError, match="NaN or infinity"):
        fit(network(), DataLoader(poisoned, 2))
    with pytest.raises(ValueError, match="empty"):
        fit(network(), (good.inputs[:0], good.targets[:0]))
    with pytest.raises(TypeError, match="train must be"):
        fit(network(), 3)
    with pytest.raises(ValueError, match="labels must be given"):
        fit(network(), good.inputs)


def test_a_batch_of_one_with_batch_statistics_is_named() -> None:
    norm = {"normalization": ff.normalization.BatchNorm()}
    loss = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
    with pytest.raises(ValueError, match="batch statistics need at least two samples per batch, got one"):
        fit(ff.FFSequential(ff.FFLinear(16, 8), **norm, **loss), data(), batch_size=1)
    norm = {"normalization": ff.normalization.BatchNorm(statistics="running")}
    fit(ff.FFSequential(ff.FFLinear(16, 8), **norm, **loss), data(), batch_size=1, epochs=1)


def test_another_seed_than_the_checkpoints_is_refused(tmp_path: Path) -> None:
    fit(network(), data(), checkpoint=tmp_path / "c.pt", epochs=1)
    with pytest.raises(ValueError, match="seed must be that of the checkpoint"):
        fit(network(), data(), checkpoint=tmp_path / "c.pt", resume=True, seed=5)


def test_greedy_needs_an_epoch_per_layer() -> None:
    with pytest.raises(ValueError, match=r"epochs must be at least one per layer for Greedy\(\), got 1 for 2 layers"):
        fit(network(), data(), epochs=1, schedule=ff.update_schedules.Greedy())


def test_greedy_trains_one_layer_after_the_other() -> None:
    history = fit(network(), data(), epochs=4, schedule=ff.update_schedules.Greedy())
    assert [[layer is not None for layer in record["layers"]] for record in history] == [
        [True, False],
        [True, False],
        [False, True],
        [False, True],
    ]


@pytest.mark.parametrize("schedule", [None, ff.update_schedules.EndToEnd()])
def test_baselines_train_through_the_same_fit(schedule: object, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: nn.Module = ff.baselines.Backpropagation(ff.FFLinear(16, 24), ff.FFLinear(24, 20), num_classes=3)
    if schedule is not None:
        model = network("hard")
    fit(model, data(300), epochs=5, schedule=schedule, checkpoint=tmp_path / "c.pt")
    assert ff.evaluate(model, data(90, seed=1)).error < 10


def test_saving_leaves_no_partial_files(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"model": {}})
    assert os.listdir(tmp_path) == ["c.pt"]


def grow(condition: Callable[[History], bool] = lambda history: len(history) == 2) -> GrowNetwork:
    return GrowNetwork(lambda depth: ff.FFLinear(20 if depth == 2 else 12, 12), condition)


@pytest.mark.parametrize("kind", ["pair", "class", "batch norm", "dropout"])
def test_a_growing_network_gains_a_layer_and_trains_the_others_as_before(kind: str) -> None:
    model, plain = network(kind), network(kind)
    initial = model.append(ff.FFLinear(20, 12))[2].block.weight.detach().clone()
    model = network(kind)
    history = fit(model, data(), epochs=4, callbacks=[grow()])
    assert [len(record["layers"]) for record in history] == [2, 2, 3, 3]
    assert len(model) == 3
    assert history.layer(2, "loss")[:2] == [None, None]
    assert not torch.equal(model[2].block.weight, initial)
    expected = fit(plain, data(), epochs=4)
    assert same(model[0], plain[0])
    assert same(model[1], plain[1])
    for layer in range(2):
        assert history.layer(layer, "loss") == expected.layer(layer, "loss")


def test_an_appended_layer_learns() -> None:
    losses = fit(network("class"), data(300), epochs=6, callbacks=[grow()]).layer(2, "loss")
    assert losses[:2] == [None, None]
    assert losses[-1] < 0.7 * losses[2]


@functools.cache
def uninterrupted_growth(kind: str) -> tuple[ff.FFSequential, list[dict[str, object]]]:
    """The network of a run in which it grows and its records: to be read only."""
    model = network(kind)
    history = fit(model, data(), epochs=4, callbacks=[grow()], validation=data(30, seed=1))
    return model, without_seconds(history)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [(1, 2), (2, 0), (3, 5)])
def test_a_growing_run_that_is_killed_and_resumed_equals_an_uninterrupted_one(
    kind: str, at: tuple[int, int], tmp_path: Path
) -> None:
    uninterrupted, expected = uninterrupted_growth(kind)
    options = {"epochs": 4, "callbacks": [grow()], "validation": data(30, seed=1)}
    with pytest.raises(Killed):
        fit(network(kind), data(), checkpoint=tmp_path / "c.pt", schedule=KillAtStep(*at), **options)
    resumed = network(kind, seed=9)
    history = fit(resumed, data(), checkpoint=tmp_path / "c.pt", resume=True, **options)
    assert len(resumed) == 3
    assert same(uninterrupted, resumed)
    assert without_seconds(history) == expected


def test_a_network_can_grow_several_times(tmp_path: Path) -> None:
    options = {"epochs": 4, "callbacks": [grow(lambda history: len(history) in (1, 2))]}
    uninterrupted = network("hard")
    fit(uninterrupted, data(), **options)
    with pytest.raises(Killed):
        fit(network("hard"), data(), checkpoint=tmp_path / "c.pt", schedule=KillAtStep(3, 1), **options)
    resumed = network("hard", seed=9)
    history = fit(resumed, data(), checkpoint=tmp_path / "c.pt", resume=True, **options)
    assert [len(record["layers"]) for record in history] == [2, 3, 4, 4]
    assert same(uninterrupted, resumed)


def test_a_checkpoint_contains_the_appended_layer_in_any_order_of_the_callbacks(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    uninterrupted = network()
    fit(uninterrupted, data(), epochs=4, callbacks=[grow()])
    fit(network(), data(), epochs=2, callbacks=[Checkpoint(path), grow()])
    resumed = network(seed=9)
    fit(resumed, data(), epochs=4, callbacks=[grow()], checkpoint=path, resume=True)
    # the learning rate depends on the total number of epochs, so only the architecture is equal
    assert {name: value.shape for name, value in resumed.state_dict().items()} == {
        name: value.shape for name, value in uninterrupted.state_dict().items()
    }


def test_a_network_grows_after_a_failed_evaluation_is_repeated(tmp_path: Path) -> None:
    path, log = tmp_path / "c.pt", tmp_path / "h.jsonl"
    callbacks = [grow(lambda history: len(history) == 2 and history[-1]["validation"]["error"] >= 0), JSONLog(log)]
    uninterrupted = network("dropout")
    expected = fit(uninterrupted, data(), epochs=4, validation=Flaky(), callbacks=callbacks)
    with pytest.raises(OSError, match="the disk is gone"):
        fit(network("dropout"), data(), epochs=4, validation=Flaky(75), checkpoint=path, callbacks=callbacks)
    assert len(load_checkpoint(path)["history"]) == 2
    resumed = network("dropout", seed=9)
    history = fit(
        resumed, data(), epochs=4, validation=Flaky(), checkpoint=path, resume=True, callbacks=callbacks, progress=True
    )
    assert same(uninterrupted, resumed)
    assert without_seconds(history) == without_seconds(expected)
    assert [json.loads(line) for line in log.read_text().splitlines()] == history.epochs


def test_a_baseline_cannot_grow() -> None:
    model = ff.baselines.Backpropagation(ff.FFLinear(16, 24), num_classes=3)
    with pytest.raises(TypeError, match="model must be an FFSequential or Replicas to grow, got Backpropagation"):
        fit(model, data(), callbacks=[grow()])


class StepRecorder(Callback):
    """Collects the results of all steps, by epoch."""

    def __init__(self) -> None:
        self.epochs: list[list[StepResult]] = [[]]

    def on_step_end(self, state: ff.training.FitState, result: StepResult) -> None:
        self.epochs[-1].append(result)

    def on_epoch_end(self, state: ff.training.FitState) -> None:
        self.epochs.append([])


@pytest.mark.parametrize("monitor_every", [1, 2, 17])
@pytest.mark.parametrize("compile", [False, True])
def test_gradient_norms_of_both_phases_are_measured(
    monitor_every: int, compile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    recorder = StepRecorder()
    history = fit(
        network(),
        data(),
        epochs=4,
        schedule=ff.update_schedules.Overlapping(2, "step"),
        callbacks=[recorder],
        monitor_every=monitor_every,
        compile=compile,
    )
    for epoch, results in enumerate(recorder.epochs[:-1]):
        assert len(results) == 6
        phases = [(epoch + step) % 2 for step in range(6)]  # phase 0 updates both layers together, phase 1 the first
        assert [set(result.layers) for result in results] == [{0} if phase else {0, 1} for phase in phases]
        measured = [step for step, result in enumerate(results) if result.gradient_norms]
        assert measured == [step for step in range(6) if step < 2 or step % monitor_every == 0]
        assert all(set(results[step].gradient_norms) == set(results[step].layers) for step in measured)
        for layer in range(2):
            norms = [float(r.gradient_norms[layer]) for r in results if layer in r.gradient_norms]
            assert history.layer(layer, "gradient_norm")[epoch] == pytest.approx(sum(norms) / len(norms))
            losses = [float(r.layers[layer].loss) for r in results if layer in r.layers]
            assert history.layer(layer, "loss")[epoch] == pytest.approx(sum(losses) / len(losses))


def test_the_measured_norm_is_that_of_the_gradient() -> None:
    class Norms(Callback):
        def on_step_end(self, state: ff.training.FitState, result: StepResult) -> None:
            for index, norm in result.gradient_norms.items():
                squares = [p.grad.square().sum() for p in state.model.layers[index].parameters() if p.grad is not None]
                assert float(norm) == pytest.approx(float(torch.stack(squares).sum().sqrt()))

    fit(network("hard"), data(), monitor_every=1, callbacks=[Norms()])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those of torch's compiler
def test_a_compiled_run_with_overlapping_groups_accepts_a_last_batch_of_another_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiler, functions = torch.compile, []
    monkeypatch.setattr(torch, "compile", lambda f, **options: functions.append(f) or compiler(f, **options))
    options = {"batch_size": 12, "schedule": ff.update_schedules.Overlapping(2, None), "epochs": 2}
    compiled, plain = network(), network()
    fit(compiled, data(26), compile=True, **options)  # a fallback would be a warning, which is an error here
    fit(plain, data(26), **options)
    assert len(functions) == 1
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_history_of_an_unfinished_epoch_has_a_repr() -> None:
    class Reprs(Callback):
        def __init__(self) -> None:
            self.reprs: list[str] = []

        def on_epoch_end(self, state: ff.training.FitState) -> None:
            self.reprs.append(repr(state.history))

    callback = Reprs()
    history = fit(network(), data(), epochs=1, callbacks=[callback])
    assert callback.reprs == [repr(history)] == ["<History of 1 epochs>"]
    assert repr(History([{"epoch": 1, "seconds": 0.1, "layers": [], "head": None}])) == "<History of 1 epochs>"
    assert repr(History()) == "<History of 0 epochs>"
    history = fit(network(), data(), epochs=2, validation=data(), callbacks=[callback])
    assert (
        callback.reprs[-1]
        == repr(history)
        == f"<History of 2 epochs, validation error {history.validation()[-1]:.2f} %>"
    )


def test_layer_accuracies_weigh_every_sample_alike() -> None:
    class NextLabel(ff.negatives.LabelNegatives):
        def wrong_labels(self, labels, num_classes, scores, generator):
            return (labels + 1) % num_classes

    torch.manual_seed(0)
    model = ff.FFSequential(
        *(ff.FFLinear(*size) for size in ((9, 8), (8, 7))),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Overlay(3),
        negatives=NextLabel(),
    )
    images, labels = torch.rand(50, 9), torch.arange(50) % 3
    at_once = ff.evaluate(model, (images, labels), batch_size=50).layer_accuracies
    assert ff.evaluate(model, (images, labels), batch_size=48).layer_accuracies == at_once
