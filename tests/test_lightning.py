"""Tests of the module for Lightning, as users of a Trainer use it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import forwardforward as ff

GENERATOR = torch.Generator().manual_seed(0)
DATA = TensorDataset(torch.rand(60, 8, generator=GENERATOR), torch.arange(60) % 3)


def network(**options: Any) -> ff.FFSequential:
    torch.manual_seed(0)
    plugins: dict[str, Any] = {
        "goodness": ff.goodness.SumOfSquares(),
        "loss": ff.losses.SymBa(),
        "normalization": ff.normalization.RMSNorm(),
        "label_encoder": ff.label_encoders.Concatenation(3),
        "negatives": ff.negatives.HardLabel(),
    }
    return ff.FFSequential(ff.FFLinear(11, 6), ff.FFLinear(6, 6), **{**plugins, "input_shape": (8,), **options})


def adam(**options: Any) -> ff.LocalOptimizer:
    return ff.LocalOptimizer(torch.optim.Adam, lr=0.01, **options)


def loader() -> DataLoader[Any]:
    return DataLoader(DATA, batch_size=20)


def trainer(folder: Path, **options: Any) -> Any:
    lightning = pytest.importorskip("lightning")
    settings = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return lightning.Trainer(default_root_dir=folder, **{**settings, **options})


def assert_equal(model: Any, expected: Any) -> None:
    for name, value in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.mark.parametrize("schedule", [None, ff.update_schedules.Overlapping(), ff.update_schedules.Greedy()])
@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_trainer_takes_the_steps_of_fit(tmp_path: Path, schedule: Any, compile: bool) -> None:
    theta = ff.lr_schedules.Cooldown(0.5)
    module = ff.lightning.FFModule(network(), adam(lr_schedule=theta), schedule=schedule, seed=3, compile=compile)
    run = trainer(tmp_path, max_epochs=3)
    run.fit(module, loader(), loader())
    reference = network()
    history = ff.fit(reference, loader(), epochs=3, optimizer=adam(lr_schedule=theta), schedule=schedule, seed=3,
                     validation=loader(), progress=False, compile=compile)  # fmt: skip
    assert_equal(module.model, reference)
    assert module.model.epochs_trained == 3
    assert run.global_step == 9  # one per batch
    for name in ("validation/error", "validation/layer_errors/1", "head/accuracy"):
        value: Any = history[-1]
        for part in name.split("/"):
            value = value[int(part) if part.isdigit() else part]
        assert float(run.callback_metrics[name]) == pytest.approx(value, rel=1e-5)
    updated = [index for index, layer in enumerate(history[-1]["layers"]) if layer is not None]
    for index in updated:
        for figure in ("loss", "separation", "learning_rate"):
            value = history[-1]["layers"][index][figure]
            assert float(run.callback_metrics[f"layers/{index}/{figure}"]) == pytest.approx(value, rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_example_of_the_documentation_takes_ten_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning")
    pytest.importorskip("sklearn")
    page = (Path(__file__).parents[1] / "docs" / "sklearn_and_lightning.md").read_text(encoding="utf-8")
    [example] = [block for block in page.split("```python\n") if block.startswith("import lightning")]
    example = example.split("```")[0]
    assert len([line for line in example.splitlines() if line]) == 10
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert "FFModule(model" in example
    assert names["module"].model is not names["trainer"].lightning_module.model  # the loaded weights are in a new one
    assert_equal(names["module"].model, names["trainer"].lightning_module.model)
    assert ff.evaluate(names["module"].model, names["data"].validation).error < 30


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_network_is_trained_saved_and_reloaded(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epochs=1)
    module = ff.lightning.FFModule(network(), adam())
    run.fit(module, loader())
    run.save_checkpoint(tmp_path / "model.ckpt")
    loaded = ff.lightning.FFModule.load_from_checkpoint(tmp_path / "model.ckpt", model=network(), weights_only=True)
    assert_equal(loaded.model, module.model)
    predicted = torch.cat(run.predict(loaded, loader()))
    assert torch.equal(predicted, module.model.predict(DATA.tensors[0]))
    [figures] = run.test(loaded, loader())
    assert figures["test/error"] == pytest.approx(ff.evaluate(module.model, DATA.tensors).error)
    assert torch.equal(loaded(DATA.tensors[0]), module.model(DATA.tensors[0]))


X = DATA.tensors[0]

#: A loss, the number of outputs and targets of every kind.
KINDS: dict[str, tuple[Any, int, torch.Tensor]] = {
    "classes": (ff.losses.CrossEntropy(), 3, DATA.tensors[1]),
    "probabilities": (ff.losses.CrossEntropy(), 3, X[:, :3].softmax(1)),
    "labels": (ff.losses.BinaryCrossEntropy(), 3, X[:, :3] > 0.5),
    "ordinal": (ff.losses.OrdinalCrossEntropy(), 9, 20 + 5 * X[:, 0]),
    "value": (ff.losses.SquaredError(), 1, 20 + 5 * X[:, 0]),
    "values": (ff.losses.SquaredError(), 2, 20 + 5 * X[:, :2]),
}


def network_of(kind: str, **options: Any) -> ff.FFSequential:
    loss, outputs, _ = KINDS[kind]
    torch.manual_seed(0)
    goodness = ff.goodness.LearnedProjection(outputs)
    return ff.FFSequential(ff.FFLinear(8, 6), goodness=goodness, loss=loss, **options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_targets_of_every_kind_are_learned_and_predicted_as_by_fit(tmp_path: Path, kind: str) -> None:
    targets = KINDS[kind][2]
    loader = DataLoader(TensorDataset(X, targets), batch_size=20)
    module = ff.lightning.FFModule(network_of(kind), adam())
    run = trainer(tmp_path, max_epochs=2)
    run.fit(module, loader, loader)
    reference = network_of(kind)
    history = ff.fit(reference, loader, epochs=2, optimizer=adam(), validation=loader, progress=False)
    assert_equal(module.model, reference)  # with the scaling of real values
    assert float(run.callback_metrics["validation/error"]) == pytest.approx(history.validation()[-1], rel=1e-5)
    predicted = torch.cat(run.predict(module, DataLoader(X, batch_size=20)))
    assert predicted.dtype == reference.predict(X).dtype
    torch.testing.assert_close(predicted, reference.predict(X))
    run.save_checkpoint(tmp_path / "model.ckpt")
    loaded = network_of(kind)
    ff.lightning.FFModule.load_from_checkpoint(tmp_path / "model.ckpt", model=loaded, weights_only=True)
    torch.testing.assert_close(loaded.predict(X), predicted)


def shuffled(**options: Any) -> DataLoader[Any]:
    return DataLoader(DATA, batch_size=20, shuffle=True, **options)


def with_generator() -> DataLoader[Any]:
    return shuffled(generator=torch.Generator().manual_seed(5))


def standardized() -> ff.FFSequential:
    """A network whose shapes and statistics come from the data, and whose block draws from the global generator."""
    torch.manual_seed(0)
    block = torch.nn.Sequential(torch.nn.LazyLinear(6), torch.nn.Dropout(0.5))
    preprocessing = ff.preprocessing.Preprocessing(standardize=True)
    goodness, loss = ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy()
    return ff.FFSequential(block, goodness=goodness, loss=loss, preprocessing=preprocessing)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("validates", [False, True])
@pytest.mark.parametrize("make", [network, standardized])
@pytest.mark.parametrize(
    "make_loader", [loader, shuffled, with_generator, lambda: shuffled(num_workers=1)]
)  # fmt: skip
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, validates: bool, make: Any, make_loader: Any
) -> None:
    validation = [shuffled()] if validates else []
    whole = ff.lightning.FFModule(make(), adam())
    torch.manual_seed(1)
    run = trainer(tmp_path, max_epochs=4)
    run.fit(whole, make_loader(), *validation)
    part = ff.lightning.FFModule(make(), adam())
    torch.manual_seed(1)
    stopped = trainer(tmp_path, max_epochs=2)
    stopped.fit(part, make_loader(), *validation)
    stopped.save_checkpoint(tmp_path / "stopped.ckpt")
    resumed = ff.lightning.FFModule(make(), adam())
    torch.manual_seed(2)
    again = trainer(tmp_path, max_epochs=4)
    again.fit(resumed, make_loader(), *validation, ckpt_path=tmp_path / "stopped.ckpt", weights_only=True)
    assert_equal(resumed.model, whole.model)
    assert resumed.model.epochs_trained == 4
    assert float(again.callback_metrics["layers/0/loss"]) == float(run.callback_metrics["layers/0/loss"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make_loader", "validates", "options"),
    [
        (shuffled, False, {}),
        (shuffled, True, {"monitor": "validation/error"}),
        (with_generator, True, {"save_on_train_epoch_end": False}),  # after the validation, within the epoch
        (with_generator, False, {"every_n_train_steps": 3}),  # after the epoch's last step
    ],
)
def test_every_checkpoint_at_the_end_of_an_epoch_contains_the_random_state(
    tmp_path: Path, make_loader: Any, validates: bool, options: Any
) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    validation = [shuffled()] if validates else []
    saved = ModelCheckpoint(tmp_path / "saved", "{epoch}", save_top_k=-1, **options)
    whole = ff.lightning.FFModule(standardized(), adam())
    torch.manual_seed(1)
    run = trainer(tmp_path, max_epochs=4, callbacks=[saved])
    run.fit(whole, make_loader(), *validation)
    resumed = ff.lightning.FFModule(standardized(), adam())
    torch.manual_seed(2)
    again = trainer(tmp_path, max_epochs=4)
    path = tmp_path / "saved" / "epoch=1.ckpt"
    again.fit(resumed, make_loader(), *validation, ckpt_path=path, weights_only=True)
    assert_equal(resumed.model, whole.model)
    assert resumed.model.epochs_trained == 4
    assert float(again.callback_metrics["layers/0/loss"]) == float(run.callback_metrics["layers/0/loss"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_epoch_whose_checkpoint_follows_its_validation_is_logged_when_resumed(tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    saved = ModelCheckpoint(tmp_path / "saved", "{epoch}", save_top_k=-1, save_on_train_epoch_end=False)
    run = trainer(tmp_path, max_epochs=2, callbacks=[saved])
    run.fit(ff.lightning.FFModule(network(), adam()), shuffled(), loader())
    resumed = ff.lightning.FFModule(network(), adam())
    again = trainer(tmp_path, max_epochs=2)
    again.fit(resumed, shuffled(), loader(), ckpt_path=tmp_path / "saved" / "epoch=1.ckpt", weights_only=True)
    assert resumed.model.epochs_trained == 2
    assert float(again.callback_metrics["layers/0/loss"]) == float(run.callback_metrics["layers/0/loss"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_loading_a_checkpoint_as_weights_leaves_the_random_state_alone(tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    saved = ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=2, save_top_k=-1)
    run = trainer(tmp_path, max_epochs=2, callbacks=[saved])
    run.fit(ff.lightning.FFModule(network(), adam()), shuffled())
    path = tmp_path / "saved" / "step=2.ckpt"
    weights = torch.load(path, weights_only=True)["state_dict"]
    trained = []
    for load in (False, True):
        model = network()
        model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
        module = ff.lightning.FFModule(model, adam())
        torch.manual_seed(1)
        if load:
            module = ff.lightning.FFModule.load_from_checkpoint(
                path, model=model, optimizer=adam(), weights_only=True
            )  # fmt: skip
        trainer(tmp_path, max_epochs=1).fit(module, shuffled())
        trained.append(model)
    assert_equal(*trained)


class Resumable(DataLoader[Any]):
    """A loader that resumes within an epoch, as torchdata's ``StatefulDataLoader``."""

    first = position = 0

    def __iter__(self) -> Iterator[Any]:
        first, self.first = self.first, 0
        for index, batch in enumerate(super().__iter__()):
            if index >= first:
                self.position = index + 1
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.first = state["position"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [network, standardized])
def test_a_checkpoint_within_an_epoch_contains_the_random_state(tmp_path: Path, make: Any) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    whole = ff.lightning.FFModule(make(), adam())
    saved = ModelCheckpoint(tmp_path / "saved", every_n_train_steps=5, save_top_k=-1)  # after 2 of 3 batches
    run = trainer(tmp_path, max_epochs=3, callbacks=[saved])
    run.fit(whole, Resumable(DATA, batch_size=20))
    metrics = {name: float(value) for name, value in run.callback_metrics.items()}
    [file] = (tmp_path / "saved").glob("*.ckpt")
    resumed = ff.lightning.FFModule(make(), adam())
    run = trainer(tmp_path, max_epochs=3)
    run.fit(resumed, Resumable(DATA, batch_size=20), ckpt_path=file)
    assert_equal(resumed.model, whole.model)
    assert float(run.callback_metrics["layers/0/loss"]) == metrics["layers/0/loss"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_shapes_and_statistics_are_taken_from_the_training_data(tmp_path: Path) -> None:
    model = ff.FFSequential(
        torch.nn.LazyLinear(5), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy(),
        preprocessing=ff.preprocessing.Preprocessing(standardize=True), classifier=ff.classifiers.BestInterval(),
    )  # fmt: skip
    module = ff.lightning.FFModule(model)
    trainer(tmp_path, max_epochs=1).fit(module, loader(), loader())
    torch.testing.assert_close(model.preprocessing.mean, DATA.tensors[0].mean(0))
    assert model.input_shape == (8,)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [list, lambda loaders: dict(zip("ab", loaders, strict=True))])
def test_several_loaders_are_measured_each_by_itself(tmp_path: Path, form: Any) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    parts = [torch.utils.data.Subset(DATA, range(20)), torch.utils.data.Subset(DATA, range(20, 60))]
    loaders = form([DataLoader(part, batch_size=20) for part in parts])
    module = ff.lightning.FFModule(network(classifier=ff.classifiers.BestInterval()), adam())
    saved = ModelCheckpoint(tmp_path / "saved", monitor="validation/error/dataloader_idx_1")
    run = trainer(tmp_path, max_epochs=1, callbacks=[saved])
    run.fit(module, loader(), loaders)
    errors = [ff.evaluate(module.model, DataLoader(part, batch_size=20)).error for part in parts]
    for index, error in enumerate(errors):
        assert float(run.callback_metrics[f"validation/error/dataloader_idx_{index}"]) == pytest.approx(error)
    assert "validation/error" not in run.callback_metrics
    results = run.test(module, loaders)
    assert [result[f"test/error/dataloader_idx_{i}"] for i, result in enumerate(results)] == pytest.approx(errors)
    assert [result[f"test/samples/dataloader_idx_{i}"] for i, result in enumerate(results)] == [20, 40]
    predictions = run.predict(module, [DataLoader(part, batch_size=20) for part in parts])
    assert torch.equal(torch.cat(predictions[1]), module.model.predict(X[20:]))
    chosen = module.model.classifier.layers
    ff.training.choose_layers(module.model, parts[0])
    assert module.model.classifier.layers == chosen


class Stream(torch.utils.data.IterableDataset[Any]):
    """Data of unknown length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(DATA)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_loaders_without_length_are_measured_alone(tmp_path: Path) -> None:
    module, run, stream = ff.lightning.FFModule(network()), trainer(tmp_path), DataLoader(Stream(), batch_size=20)
    [figures] = run.validate(module, stream)
    assert figures["validation/error"] == pytest.approx(ff.evaluate(module.model, DATA.tensors).error)
    with pytest.raises(ValueError, match="^dataloaders must have lengths if they are several, .* as number 1"):
        run.test(module, [loader(), stream])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("precision", "fit_precision"), [("bf16-mixed", "bf16"), ("32-true", "float32")])
def test_the_precision_of_a_trainer_is_that_of_the_step(tmp_path: Path, precision: str, fit_precision: Any) -> None:
    module = ff.lightning.FFModule(network(), adam())
    trainer(tmp_path, max_epochs=1, precision=precision).fit(module, loader())
    reference = network()
    ff.fit(reference, loader(), epochs=1, optimizer=adam(), progress=False, precision=fit_precision)
    assert_equal(module.model, reference)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_double_precision_and_a_step_limit(tmp_path: Path) -> None:
    module = ff.lightning.FFModule(network(), adam(lr_schedule=ff.lr_schedules.Cooldown(0.5)))
    run = trainer(tmp_path, max_steps=4, precision="64-true")
    run.fit(module, loader())
    assert run.global_step == 4
    assert module.model.dtype == torch.float64


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path) -> None:
    module = ff.lightning.FFModule(network())
    with pytest.raises(ValueError, match="precision must be one of 32-true, 64-true, bf16-mixed .* got bf16-true"):
        trainer(tmp_path, max_epochs=1, precision="bf16-true").fit(copy.deepcopy(module), loader())
    module._trainer = SimpleNamespace(world_size=2, precision="32-true")
    message = r"^devices must be 1 for FFModule, .* got 2: train on several devices by ff\.fit\(parallel=\.\.\.\)$"
    with pytest.raises(ValueError, match=message):
        module.setup("fit")
    with pytest.raises(TypeError, match="model must be an FFSequential or a baseline, got an object of Linear"):
        ff.lightning.FFModule(torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match=r"optimizer must be .* such as ff.LocalOptimizer"):
        ff.lightning.FFModule(network(), torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]))
    with pytest.raises(ValueError, match="model must be a network for a Trainer, got Replicas"):
        ff.lightning.FFModule(ff.replicate(lambda: network(negatives=ff.negatives.RandomLabel()), [0, 1]))
    with pytest.raises(Exception, match="not supported for manual optimization"):
        trainer(tmp_path, max_epochs=1, accumulate_grad_batches=2).fit(ff.lightning.FFModule(network()), loader())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_real_trainer_of_several_devices_is_refused_with_the_way_to_train_on_them(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epochs=1, devices=2, strategy="ddp_spawn")
    with pytest.raises(Exception, match=r"ValueError: devices must be 1 for FFModule, .*ff\.fit\(parallel="):
        run.fit(ff.lightning.FFModule(network(), adam()), loader())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_is_loaded_into_a_network_that_is_given(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epochs=1)
    run.fit(ff.lightning.FFModule(network(), adam()), loader())
    run.save_checkpoint(tmp_path / "model.ckpt")
    message = (
        r"^model must be given, a network of the same architecture: FFModule\(model\), or "
        r"FFModule\.load_from_checkpoint\(path, model=model\)$"
    )
    with pytest.raises(TypeError, match=message):
        ff.lightning.FFModule.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    with pytest.raises(TypeError, match=message):
        ff.lightning.FFModule()


def test_without_lightning_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    message = r"^ff.lightning.FFModule needs lightning: pip install lightning$"
    with pytest.raises(ImportError, match=message):
        _ = ff.lightning.FFModule
