"""Tests of the errors of fit and evaluate: each names the argument and leaves model and files unchanged."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

import forwardforward as ff
from forwardforward.layers import NORMALIZE_FIRST, TRANSFORM_FIRST
from forwardforward.training import Callback, CheckpointError, EarlyStopping, load_checkpoint, load_weights
from forwardforward.training import save_checkpoint as save
from forwardforward.training.settings import differences, model_settings

X = torch.rand(50, 64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(50) % 3


def mk(**changes: Any) -> ff.FFSequential:
    torch.manual_seed(0)
    plugins = {
        "goodness": ff.goodness.MeanOfSquares(),
        "loss": ff.losses.SwishSymBa(4.0),
        "normalization": ff.normalization.RMSNorm(),
        "label_encoder": ff.label_encoders.Overlay(3),
    }
    return ff.FFSequential(ff.FFLinear(64, 30), ff.FFLinear(30, 20), **{**plugins, **changes})


def adam(**options: Any) -> ff.LocalOptimizer:
    return ff.LocalOptimizer(torch.optim.Adam, **{"lr": 1e-3, **options})


def fit(model: nn.Module, train: Any = (X, Y), **options: Any) -> ff.training.History:
    return ff.fit(model, train, **{"epochs": 1, "batch_size": 10, "progress": False, **options})


class Untrained(Callback):
    """Refuses to train."""

    def on_epoch_end(self, state: ff.training.FitState) -> None:
        raise AssertionError("an epoch was trained")


def refused(error: type[Exception], message: str, train: Any = (X, Y), **options: Any) -> None:
    model = mk()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options.setdefault("callbacks", [Untrained()])
    with pytest.raises(error, match=message):
        fit(model, train, **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_network_without_a_trainable_parameter_is_refused_and_one_with_frozen_layers_is_not() -> None:
    model = mk().requires_grad_(False)
    with pytest.raises(ValueError, match=r"^model must have .* got FFSequential: all are frozen, model"):
        fit(model)
    replicas = ff.replicate(lambda: mk(input_shape=(64,)), seeds=(0, 1))
    fit(replicas)
    for member in replicas.members:
        member.requires_grad_(False)
    with pytest.raises(ValueError, match=r"got Replicas: all are frozen"):
        fit(replicas)
    model[1].requires_grad_(True)
    before = copy.deepcopy(model.state_dict())
    fit(model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("layers.1.") for name in changed)


def test_a_torch_optimizer_is_refused() -> None:
    model = mk()
    expected = (
        r"^optimizer must be an instance of LocalOptimizer or None, such as ff\.LocalOptimizer\(.*, lr=\.\.\.\), got "
    )
    with pytest.raises(TypeError, match=f"{expected}an object of type Adam"):
        fit(model, optimizer=torch.optim.Adam(model.parameters()))
    refused(TypeError, f"{expected}the class Adam", optimizer=torch.optim.Adam)
    refused(TypeError, r"^optimizer must be an instance, such as LocalOptimizer\(", optimizer=ff.LocalOptimizer)
    refused(TypeError, f"{expected}'adam'", optimizer="adam")


def test_callbacks_are_instances() -> None:
    refused(
        TypeError, r"^callbacks\[0\] must be an instance of Callback, got <built-in function print>", callbacks=[print]
    )
    refused(TypeError, r"^callbacks\[0\] must be an instance, such as EarlyStopping\(", callbacks=[EarlyStopping])
    refused(TypeError, r"^callbacks must be a sequence of .*Callback, got an object of type", callbacks=Untrained())


def test_a_schedule_is_an_instance() -> None:
    refused(
        TypeError,
        r"^schedule must be callable or None, such as ff.update_schedules.Greedy\(\), got 'greedy'",
        schedule="greedy",
    )
    refused(TypeError, r"^schedule must be an instance, such as Joint\(", schedule=ff.update_schedules.Joint)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "seed"])
def test_numbers_are_whole(name: str) -> None:
    refused(TypeError, rf"^{name} must be a whole number, got 1\.5", **{name: 1.5})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_available() -> None:
    refused(ValueError, "^device 'cuda' is not available, use one such as 'cpu': ", device="cuda")
    with pytest.raises(ValueError, match="^device 'cuda' is not available, use one such as 'cpu': "):
        ff.evaluate(mk(), (X, Y), device="cuda")


def test_a_device_without_data() -> None:
    refused(ValueError, "^device must store data, such as 'cpu', got 'meta'", device="meta")
    refused(ValueError, "^device must be a device, such as 'cpu' or 'cuda', got 'gpu'", device="gpu")
    with pytest.raises(ValueError, match="^device must store data"):
        fit(mk().to("meta"))


def test_a_model_of_another_kind() -> None:
    plain = nn.Sequential(nn.Linear(64, 3))
    with pytest.raises(TypeError, match="^model must be an FFSequential or a baseline, got an object of Sequential"):
        fit(plain)
    with pytest.raises(TypeError, match="^model must be an FFSequential or a baseline, got an object of Sequential"):
        ff.evaluate(plain, (X, Y))


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return zip(X, Y, strict=True)


class Nothing(IterableDataset):
    def __iter__(self) -> Any:
        return iter(())


def test_data_of_another_kind() -> None:
    refused(TypeError, "^data must be wrapped in a DataLoader, .* IterableDataset", Stream())
    refused(TypeError, "^data must be TensorData, .* got a tuple", (X, Y, Y))
    refused(TypeError, "^data must be TensorData, .* got a dict", {"x": X})
    refused(ValueError, "^data must contain at least one batch, got an empty loader", DataLoader([], 2))
    refused(ValueError, "^data must contain at least one batch, got an empty loader", DataLoader(Nothing(), 2))
    for empty in (DataLoader([], 2), DataLoader(Nothing(), 2)):
        with pytest.raises(ValueError, match="^data must contain at least one batch, got an empty loader"):
            ff.evaluate(mk(), empty)
    with pytest.raises(ValueError, match="^data must have labels to be evaluated on, got none"):
        ff.evaluate(mk(), X)
    with pytest.raises(ValueError, match=r"^labels must be one per image, \(50,\), got \(50, 3\)"):
        ff.evaluate(mk(), DataLoader([(x, torch.eye(3)[y]) for x, y in zip(X, Y, strict=True)], 50))
    with pytest.raises(ValueError, match="^batch_size must be at least 1, got 0"):
        ff.evaluate(mk(), (X, Y), batch_size=0)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ((torch.rand(9, 25), Y[:9]), "25"),
        ((X, Y + 1), r"labels must be in 0\.\.2 for 3 classes, got 1\.\.3"),
        ((X, torch.where(torch.arange(50) == 49, 7, Y)), r"labels must be in 0\.\.2 for 3 classes, got 0\.\.7"),
        (X, "data must have labels"),
        ([], "data must contain at least one sample"),
        ((X, Y[:9]), "one label for each of the 50 inputs, got 9"),
        (DataLoader([(x, x[:2]) for x in X], 5), r"labels must be"),
        (DataLoader([(x[:25], 0) for x in X], 5), "25"),
    ],
)
def test_validation_data_are_checked_before_training(validation: Any, message: str) -> None:
    refused(
        ValueError, f"^validation must be labeled data that the model can score: .*{message}", validation=validation
    )


def test_validation_data_of_another_type_are_refused() -> None:
    refused(TypeError, "^validation must be an instance of TensorData, .* got 3", validation=3)


def test_early_stopping_without_validation() -> None:
    refused(ValueError, "^validation must be given to fit for EarlyStopping", callbacks=[EarlyStopping(1), Untrained()])


def test_a_checkpoint_must_name_a_file_in_an_existing_folder(tmp_path: Path) -> None:
    refused(ValueError, "^checkpoint must name a file, got the folder", checkpoint=tmp_path)
    refused(ValueError, "^checkpoint must be in a folder that exists", checkpoint=tmp_path / "none" / "c.pt")


def test_a_checkpoint_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    fit(mk(), checkpoint=path, epochs=2)
    before = path.read_bytes()
    refused(ValueError, r"^checkpoint .*c\.pt exists already: pass resume=True to resume the run", checkpoint=path)
    assert path.read_bytes() == before
    assert len(fit(mk(), checkpoint=path, epochs=3, resume=True)) == 3


def test_a_checkpoint_with_missing_entries_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save(path, {})
    with pytest.raises(CheckpointError, match=r"c\.pt lacks model"):
        load_weights(path, mk())
    save(path, {"model": mk().state_dict()})
    load_weights(path, mk())
    with pytest.raises(CheckpointError, match=r"c\.pt lacks seed, batch_size, schedule, settings, optimizer, history"):
        fit(mk(), checkpoint=path, resume=True)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    model = mk()
    fit(model, checkpoint=path)
    content = bytearray(path.read_bytes())
    weights = model.layers[0].block.weight.detach().numpy().tobytes()
    content[content.index(weights) + len(weights) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"c\.pt: file is corrupted \(checksum of .*/data/.* differs\)"):
        load_checkpoint(path)


def squares(x: Tensor) -> Tensor:
    return x.square().mean(1)


def fours(x: Tensor) -> Tensor:
    return x.pow(4).mean(1)


class Plain:
    """A plug-in whose repr is the default one, which contains its address."""

    def __call__(self, x: Tensor) -> Tensor:
        return squares(x)


def save_first_epoch(path: Path, model: nn.Module | None = None, **options: Any) -> None:
    fit(model or mk(), checkpoint=path, **{"optimizer": adam(), **options})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": adam(lr=0.1)}, r"^optimizer must be that of .*c\.pt, .*lr=0\.001\), got .*lr=0\.1\)"),
        (
            {"optimizer": ff.LocalOptimizer(torch.optim.SGD, lr=1e-3)},
            r"^optimizer must be .*LocalOptimizer\(Adam, lr=0.001\), got LocalOptimizer\(SGD, lr=0.001\)",
        ),
        ({"optimizer": adam(lr_schedule=ff.lr_schedules.Cooldown(0.5))}, r"^optimizer must be .*=Cooldown\(0\.5\)"),
        ({"optimizer": adam(overrides={"0": {"lr": 0.1}})}, r"^optimizer must be .*overrides=\{'0': \{'lr': 0\.1\}\}"),
        ({"train": (X[:40], Y[:40])}, r"^samples must be that of the checkpoint .*, 50, got 40"),
        ({"precision": "bf16"}, r"^precision must be .*, 'float32', got 'bf16'"),
        ({"seed": 1}, r"^seed must be that of the checkpoint .*, 0, got 1"),
        ({"batch_size": 5}, r"^batch_size must be .*, 10, got 5"),
        ({"schedule": ff.update_schedules.Greedy()}, r"^schedule must be .*, Joint\(\), got Greedy\(\)"),
        ({"augment": functools.partial(torch.add)}, r"^augment must be .*, None, got functools\.partial\("),
        (
            {"model": {"loss": ff.losses.SymBa(4.0)}},
            r"^layers\.0\.objective\.loss must be .*, SwishSymBa\(.*got SymBa\(",
        ),
        ({"model": {"loss": ff.losses.SwishSymBa(2.0)}}, r"^layers\.0\.objective\.loss must be .*4\.0.*2\.0"),
        (
            {"model": {"goodness": ff.goodness.SumOfSquares()}},
            r"^layers\.0\.objective\.goodness must be .*MeanOfSquares",
        ),
        ({"model": {"goodness": squares}}, r"^layers\.0\.objective\.goodness must be .*<function squares>"),
        ({"model": {"normalization": ff.normalization.Identity()}}, r"^layers\.0\.normalization must be .*RMSNorm\("),
        (
            {"model": {"label_encoder": ff.label_encoders.Overlay(3, scale=2.0)}},
            r"^label_encoder must be .*Overlay\(.*Overlay\(",
        ),
        (
            {"model": {"negatives": ff.negatives.HardGoodness()}},
            r"^negatives must be .*, RandomLabel\(\), got HardGoodness\(temperature=1\.0\)",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_run_is_resumed_with_the_same_settings_only(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_first_epoch(path)
    options = {"optimizer": adam(), "checkpoint": path, "resume": True, "epochs": 2, **changed}
    model = mk(**options.pop("model", {}))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        fit(model, **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert load_checkpoint(path)["epoch"] == 1


def test_a_layers_own_options_are_compared(tmp_path: Path) -> None:
    def new_network(lr: float) -> ff.FFSequential:
        plugins = {
            "goodness": ff.goodness.MeanOfSquares(),
            "loss": ff.losses.SymBa(),
            "label_encoder": ff.label_encoders.Overlay(3),
        }
        return ff.FFSequential(ff.FFLinear(64, 9, optimizer_options={"lr": lr}), **plugins)

    save_first_epoch(tmp_path / "c.pt", new_network(0.1))
    with pytest.raises(ValueError, match=r"^layers\.0\.optimizer must be .*, \{'lr': 0\.1\}, got \{'lr': 0\.2\}"):
        fit(new_network(0.2), optimizer=adam(), checkpoint=tmp_path / "c.pt", resume=True)


def skip_network(
    *, order: Any = TRANSFORM_FIRST, weight: float = 1.0, end: int = 1, distance: int = 1, theta: float = 2.0
) -> nn.Module:
    residuals = {end: ff.layers.SkipConnection(distance)}
    objective = ff.objectives.BatchObjective(ff.losses.SupervisedContrastive(), ff.objectives.Embedding(2), weight)
    return ff.FFSequential(
        ff.FFLinear(4, 4, order=order),
        ff.FFLinear(4, 4, residual=residuals.get(1)),
        ff.FFLinear(4, 4, residual=residuals.get(2), objective=objective),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(theta),
        num_classes=3,
    )


def pepita(scale: float) -> nn.Module:
    return ff.baselines.Pepita(ff.FFLinear(4, 3), num_classes=2, scale=scale)


def words(dropout: float) -> nn.Module:
    return ff.FFSequential(
        ff.layers.FFEmbeddingBag(9, 4, dropout=dropout),
        objective=ff.objectives.ClassObjective(ff.goodness.LearnedProjection(2), nn.CrossEntropyLoss()),
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (skip_network(), skip_network(order=NORMALIZE_FIRST)),
        (skip_network(), skip_network(weight=0.5)),
        (skip_network(), skip_network(end=2)),
        (skip_network(end=2), skip_network(end=2, distance=2)),
        (skip_network(), skip_network(theta=1.0)),
        (words(0.0), words(0.5)),
        (pepita(0.05), pepita(0.1)),
    ],
    ids=["order", "weight", "skip", "distance", "temperature", "dropout", "scale"],
)
def test_every_argument_of_a_model_is_compared(first: nn.Module, second: nn.Module) -> None:
    assert not differences(model_settings(first), model_settings(copy.deepcopy(first)))
    assert differences(model_settings(first), model_settings(second))


def test_plugins_without_a_repr_are_compared_by_name(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    options = {"optimizer": adam(lr_schedule=lambda progress: 1.0), "schedule": lambda depth, *_: [range(depth)]}
    save_first_epoch(path, mk(goodness=Plain()), **options)
    text = str(torch.load(path, weights_only=True)["settings"])
    assert "Plain object>" in text
    assert "<lambda>" in text
    assert "0x" not in text
    options = {"optimizer": adam(lr_schedule=lambda progress: 1.0), "schedule": lambda depth, *_: [range(depth)]}
    history = fit(mk(goodness=Plain()), epochs=2, checkpoint=path, resume=True, **options)
    assert len(history) == 2
    with pytest.raises(ValueError, match=r"goodness must be .*Plain object>, got <function fours>"):
        fit(mk(goodness=fours), epochs=2, checkpoint=path, resume=True, **options)
