"""Tests of the preprocessing: formula, kinds of input, state, and its place in training and prediction."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import forwardforward as ff
from forwardforward.preprocessing import Preprocessing
from forwardforward.training import CheckpointError, load_checkpoint, load_weights


def images(count: int = 20, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0, 5.0, 0.1])[:channels].view(-1, 1, 1)
    return torch.rand(count, channels, 4, 5, generator=generator) * scale + 2


def by_loops(train: list[Any], x: list[Any]) -> list[Any]:
    """The definition, for images as nested lists (samples, channels, height, width)."""
    result = copy.deepcopy(x)
    for channel in range(len(train[0])):
        values = [value for image in train for row in image[channel] for value in row]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        deviation = math.sqrt(variance) if min(values) != max(values) else 1.0
        for image in result:
            image[channel] = [[(value - mean) / deviation for value in row] for row in image[channel]]
    return result


def test_images_are_standardized_by_channel() -> None:
    train, x = images(9), images(4, seed=1)
    train[:, 1] = 0.3  # constant
    preprocessing = Preprocessing(standardize=True).fit(train)
    expected = torch.tensor(by_loops(train.double().tolist(), x.double().tolist()))
    torch.testing.assert_close(preprocessing(x), expected, rtol=1e-4, atol=1e-5)
    assert preprocessing.mean.shape == preprocessing.std.shape == (3, 1, 1)
    assert preprocessing.std[1] == 1


def test_rows_are_standardized_by_column() -> None:
    train, x = images(9).flatten(2)[:, :, 0], images(4, seed=1).flatten(2)[:, :, 0]
    preprocessing = Preprocessing(standardize=True).fit(train)
    expected = torch.tensor(by_loops(train.double()[..., None, None].tolist(), x.double()[..., None, None].tolist()))
    torch.testing.assert_close(preprocessing(x), expected[..., 0, 0], rtol=1e-4, atol=1e-5)


def test_the_training_data_have_mean_zero_and_standard_deviation_one() -> None:
    train = images(50)
    result = Preprocessing(standardize=True).fit(train)(train).movedim(1, 0).flatten(1)
    torch.testing.assert_close(result.mean(1), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(result.std(1, correction=0), torch.ones(3), rtol=1e-4, atol=0)


def test_a_single_training_sample_has_constant_columns() -> None:
    row = torch.tensor([[3.0, 4.0]])
    assert Preprocessing(standardize=True).fit(row)(row + 1).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e6])
def test_large_means_lose_no_digits(offset: float) -> None:
    train = images(40).double() + offset
    preprocessing = Preprocessing(standardize=True)
    preprocessing.setup((3, 4, 5))
    preprocessing.double().fit(train)
    rows = train.movedim(1, 0).flatten(1)
    torch.testing.assert_close(preprocessing.mean.flatten(), rows.mean(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(preprocessing.std.flatten(), rows.std(1, correction=0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-30, 1e30])
def test_a_constant_channel_is_shifted_only(value: float) -> None:
    train = torch.full((30, 1, 7, 7), value)
    preprocessing = Preprocessing(standardize=True).fit(train.split(4))
    assert preprocessing.std.item() == 1
    torch.testing.assert_close(preprocessing(train), torch.zeros_like(train), rtol=0, atol=abs(value) * 1e-6)


@pytest.mark.parametrize("size", [1, 3, 7, 20])
@pytest.mark.parametrize("kind", [list, iter, tuple, "loader"])
def test_statistics_of_batches_equal_those_of_one_array(size: int, kind: Any) -> None:
    train = images(20)
    expected = Preprocessing(standardize=True).fit(train)
    batches: Iterable[Tensor] = DataLoader(train, size) if kind == "loader" else kind(train.split(size))
    result = Preprocessing(standardize=True).fit(batches)
    torch.testing.assert_close(result.mean, expected.mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(result.std, expected.std, rtol=1e-6, atol=0)


def test_batches_may_be_arrays_of_different_sizes_or_empty() -> None:
    train = images(20)
    batches = [train[:0], train[:3].numpy(), train[3:4], train[4:].double(), train[:0].numpy()]
    expected = Preprocessing(standardize=True).fit(train)
    result = Preprocessing(standardize=True).fit(batches)
    torch.testing.assert_close(result.mean, expected.mean)
    torch.testing.assert_close(result.std, expected.std)


def test_uint8_is_divided_by_255() -> None:
    raw = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    plain = Preprocessing()
    assert torch.equal(plain(raw), raw.float() / 255)
    expected = Preprocessing(standardize=True).fit(raw.float() / 255)
    result = Preprocessing(standardize=True).fit(raw)
    assert torch.equal(result.mean, expected.mean)
    assert torch.equal(result.std, expected.std)
    assert torch.equal(result(raw), expected(raw.float() / 255))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_floating_inputs_keep_dtype_and_values(dtype: torch.dtype, standardize: bool) -> None:
    x = images().to(dtype)
    preprocessing = Preprocessing(standardize).fit(x)
    result = preprocessing(x)
    assert result.dtype == dtype
    assert result.shape == x.shape
    assert standardize or torch.equal(result, x)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x,
        lambda x: x.astype(np.float64),
        lambda x: x.astype(">f4"),
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.asfortranarray(x),
        lambda x: (x.setflags(write=False), x)[1],
    ],
    ids=["float32", "float64", "big-endian", "negative strides", "fortran", "read-only"],
)
def test_arrays_equal_tensors(convert: Callable[[Any], Any]) -> None:
    x = images()
    expected = Preprocessing(standardize=True).fit(x)
    array = convert(x.numpy().copy())
    result = Preprocessing(standardize=True).fit(array)
    torch.testing.assert_close(result.mean, expected.mean)
    torch.testing.assert_close(result.std, expected.std)
    torch.testing.assert_close(result(array).float(), expected(x))


def test_other_inputs_are_refused() -> None:
    preprocessing = Preprocessing(standardize=True)
    with pytest.raises(TypeError, match=r"^images must be of a floating type or uint8, got torch\.int64"):
        preprocessing.fit(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"^images must be of a floating type or uint8, got torch\.bool"):
        preprocessing(torch.zeros(3, 2, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"^images must be an array of numbers, got <U1"):
        preprocessing.fit(np.array([["a"]]))
    with pytest.raises(TypeError, match=r"^inputs\[0\] must be a tensor or an array, got "):
        preprocessing.fit([[[1.0, 2.0]]])
    for empty in ([], torch.zeros(0, 3), [torch.zeros(0, 3)]):
        with pytest.raises(ValueError, match="^inputs must contain at least one sample, got none"):
            preprocessing.fit(empty)
    assert preprocessing.needs_fit
    with pytest.raises(TypeError, match="^preprocessing must be an instance of Preprocessing or None, got True"):
        network(preprocessing=True)


@pytest.mark.parametrize("shape", [(2, 60), (2, 1, 4, 5), (2, 3), (3, 4, 5), (2, 4, 5, 3)])
def test_inputs_of_another_form_than_the_training_data_are_refused(shape: tuple[int, ...]) -> None:
    preprocessing = Preprocessing(standardize=True).fit(images())
    with pytest.raises(ValueError, match=r"^images must have shape \(channels, height, width\) with 3 channels, .*got"):
        preprocessing(torch.zeros(shape))
    rows = Preprocessing(standardize=True).fit(images().flatten(1))
    with pytest.raises(ValueError, match=r"^images must have shape \(channels\) with 60 channels, .*got \(3, 4, 5\)"):
        rows(torch.zeros(2, 3, 4, 5))


def test_without_standardization_there_is_no_state() -> None:
    preprocessing = Preprocessing()
    assert not preprocessing.state_dict()
    assert preprocessing.is_set_up
    assert not preprocessing.needs_fit
    assert preprocessing.fit(images()) is preprocessing
    assert not preprocessing.state_dict()
    assert torch.equal(preprocessing(images()), images())


def test_before_the_fit_values_stay() -> None:
    preprocessing = Preprocessing(standardize=True)
    assert not preprocessing.is_set_up
    assert torch.equal(preprocessing(images()), images())
    preprocessing.setup((3, 4, 5))
    assert preprocessing.is_set_up
    assert preprocessing.needs_fit
    assert torch.equal(preprocessing(images()), images())


def test_the_repr_is_the_constructor_call() -> None:
    assert repr(Preprocessing(standardize=True)) == "Preprocessing(standardize=True)"


@pytest.mark.parametrize("set_up", [False, True])
@pytest.mark.parametrize("shape", [(20, 3, 4, 5), (20, 60)])
def test_the_state_dict_restores_the_statistics(shape: tuple[int, ...], set_up: bool, tmp_path: Path) -> None:
    x = images().view(shape)
    fitted = Preprocessing(standardize=True).fit(x)
    torch.save(fitted.state_dict(), tmp_path / "p.pt")
    restored = Preprocessing(standardize=True)
    if set_up:
        restored.setup(shape[1:])
    restored.load_state_dict(torch.load(tmp_path / "p.pt", weights_only=True))
    assert not restored.needs_fit
    assert torch.equal(restored(x), fitted(x))
    assert set(fitted.state_dict()) == {"mean", "std", "fitted"}
    with pytest.raises(RuntimeError, match="Unexpected key"):
        Preprocessing().load_state_dict(fitted.state_dict())


def test_copies_and_dtypes_keep_the_statistics() -> None:
    fitted = Preprocessing(standardize=True).fit(images())
    double = copy.deepcopy(fitted).double()
    assert double.mean.dtype == torch.float64
    assert not double.needs_fit
    torch.testing.assert_close(double(images().double()), fitted(images()).double(), rtol=1e-5, atol=1e-5)


# In a network


class Recorder(Preprocessing):
    """Collects the data on which it is fitted."""

    def __init__(self, standardize: bool = True) -> None:
        super().__init__(standardize)
        self.fits: list[Tensor] = []

    def fit(self, inputs: Any) -> Preprocessing:
        batches = [batch.clone() for batch in inputs]
        self.fits.append(torch.cat(batches))
        return super().fit(batches)


def network(kind: str = "pair", seed: int = 0, **options: Any) -> ff.FFSequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [ff.FFLinear(60, 16), ff.FFLinear(16, 12)]
    plugins: dict[str, Any] = {"normalization": ff.normalization.RMSNorm()}
    if kind == "pair":
        plugins |= {"goodness": ff.goodness.MeanOfSquares(), "loss": ff.losses.SwishSymBa(4.0)}
        plugins["label_encoder"] = ff.label_encoders.Overlay(3)
    else:
        plugins |= {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
        if kind == "convolutional":
            layers = [ff.FFConv2d(3, 6, 3), ff.FFConv2d(6, 8, 2)]
    return ff.FFSequential(*layers, **{"preprocessing": Preprocessing(standardize=True), **plugins, **options})


def data(count: int = 60, seed: int = 0) -> ff.TensorData:
    labels = torch.arange(count) % 3
    x = images(count, seed=seed)
    x[torch.arange(count), 0, 3, labels] += 1
    return ff.TensorData(x, labels, num_classes=3)


def fit(model: nn.Module, train: Any, **options: Any) -> ff.training.History:
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=3e-3)
    return ff.fit(model, train, **{"epochs": 3, "batch_size": 10, "optimizer": optimizer, "progress": False, **options})


def equal_states(a: nn.Module, b: nn.Module) -> bool:
    states = a.state_dict(), b.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


@pytest.mark.parametrize("kind", ["tensors", "data set", "loader"])
def test_fit_measures_the_raw_training_data_once(kind: str) -> None:
    train = data()
    pairs = [(x, int(y)) for x, y in zip(train.inputs, train.targets, strict=True)]
    samples = {"tensors": train, "data set": pairs, "loader": DataLoader(pairs, 7, shuffle=True)}[kind]
    model = network(preprocessing=Recorder())
    recorder = model.preprocessing
    fit(model, samples, validation=data(30, seed=1), augment=lambda x, generator: x + 100)
    (fitted,) = recorder.fits
    assert sorted(fitted.flatten().tolist()) == sorted(train.inputs.flatten().tolist())
    rows = train.inputs.double().movedim(1, 0).flatten(1)
    torch.testing.assert_close(recorder.mean.flatten(), rows.mean(1).float())
    torch.testing.assert_close(recorder.std.flatten(), rows.std(1, correction=0).float())
    before = recorder.mean.clone()
    fit(model, data(60, seed=2), epochs=1)
    assert len(recorder.fits) == 1
    assert torch.equal(recorder.mean, before)


def test_statistics_fitted_by_the_caller_stay() -> None:
    model = network()
    model.preprocessing.fit(images(seed=7))
    before = model.preprocessing.mean.clone()
    fit(model, data())
    assert torch.equal(model.preprocessing.mean, before)


def test_a_network_without_standardization_does_not_read_the_data_first() -> None:
    model = network(preprocessing=Recorder(standardize=False))
    fit(model, data())
    assert not model.preprocessing.fits


@pytest.mark.parametrize("kind", ["pair", "class", "convolutional"])
def test_training_on_raw_inputs_equals_training_on_standardized_ones(kind: str) -> None:
    train, test = data(), data(30, seed=1)
    with_preprocessing = network(kind, input_shape=(3, 4, 5))
    without = network(kind, input_shape=(3, 4, 5), preprocessing=None)
    preprocessing = Preprocessing(standardize=True).fit(train.inputs)
    fit(with_preprocessing, train)
    fit(without, (preprocessing(train.inputs), train.targets))
    raw, standardized = test.inputs, preprocessing(test.inputs)
    for name, parameter in without.named_parameters():
        torch.testing.assert_close(dict(with_preprocessing.named_parameters())[name], parameter, msg=name)
    torch.testing.assert_close(with_preprocessing.predict_proba(raw), without.predict_proba(standardized))
    torch.testing.assert_close(with_preprocessing.layer_goodness(raw), without.layer_goodness(standardized))
    torch.testing.assert_close(with_preprocessing(raw), without(standardized))
    assert ff.evaluate(with_preprocessing, test).error == ff.evaluate(without, (standardized, test.targets)).error


def test_baselines_standardize_too() -> None:
    train = data()
    torch.manual_seed(0)
    model = ff.baselines.Backpropagation(ff.FFLinear(60, 16), num_classes=3, preprocessing=Recorder())
    torch.manual_seed(0)
    without = ff.baselines.Backpropagation(ff.FFLinear(60, 16), num_classes=3)
    fit(model, train)
    standardized = model.preprocessing(train.inputs)
    fit(without, (standardized, train.targets))
    assert len(model.preprocessing.fits) == 1
    torch.testing.assert_close(model(train.inputs), without(standardized))


def test_uint8_and_floating_images_give_the_same_classes() -> None:
    raw = (data().inputs / 8 * 255).to(torch.uint8)
    labels = data().targets
    model, other = network("class"), network("class")
    fit(model, (raw, labels))
    fit(other, (raw.float() / 255, labels))
    assert equal_states(model, other)
    expected = model.predict_proba(raw)
    for images in (raw.numpy(), raw.float() / 255, raw.double() / 255, (raw.double() / 255).numpy()):
        torch.testing.assert_close(model.predict_proba(images), expected)


@pytest.mark.parametrize("kind", ["pair", "class", "convolutional"])
def test_loaded_weights_classify_raw_images_as_before(kind: str, tmp_path: Path) -> None:
    path, test = tmp_path / "c.pt", data(30, seed=1)
    model = network(kind)
    fit(model, data(), checkpoint=path)
    expected = model.predict_proba(test.inputs)
    known = network(kind, seed=5, input_shape=(3, 4, 5))
    load_weights(path, known)
    assert torch.equal(known.predict_proba(test.inputs), expected)
    unknown = network(kind, seed=5)
    if kind == "convolutional":
        with pytest.raises(CheckpointError, match=r"c\.pt: the model's shapes are not known yet, pass input_shape="):
            load_weights(path, unknown)
        return
    load_weights(path, unknown)  # the layers' shapes are known, that of the statistics is not
    assert torch.equal(unknown.predict_proba(test.inputs), expected)
    plain = network(kind, seed=5)
    plain.load_state_dict(load_checkpoint(path)["model"])
    assert torch.equal(plain.predict_proba(test.inputs), expected)


def test_weights_of_a_network_with_other_preprocessing_are_refused(tmp_path: Path) -> None:
    fit(network(), data(), checkpoint=tmp_path / "standardized.pt")
    fit(network(preprocessing=None), data(), checkpoint=tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match=r"does not match the model: unexpected preprocessing\.mean"):
        load_weights(tmp_path / "standardized.pt", network(preprocessing=None))
    with pytest.raises(CheckpointError, match=r"does not match the model: missing preprocessing\.fitted"):
        load_weights(tmp_path / "plain.pt", network())


class Killed(BaseException):
    pass


class KillInEpoch:
    """A schedule that is killed in an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> ff.update_schedules.Groups:
        if epoch == self.epoch and step == 2:
            raise Killed
        return ff.update_schedules.Joint()(depth, epoch, step, epochs)

    def __repr__(self) -> str:
        return "Joint()"


class Random(Dataset):
    """A data set that augments with torch's global random numbers."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        samples = data()
        return samples.inputs[index] + torch.randn(3, 4, 5), int(samples.targets[index])


def training_data(kind: str) -> Any:
    if kind == "tensors":
        return data()
    return Random() if kind == "data set" else DataLoader(Random(), 10, shuffle=True, generator=torch.Generator())


@functools.cache
def uninterrupted_run(kind: str) -> ff.FFSequential:
    """The network of a run that several tests compare with: to be read only."""
    model = network()
    fit(model, training_data(kind))
    return model


@pytest.mark.parametrize("kind", ["tensors", "data set", "loader"])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_resumed_run_has_the_same_statistics(kind: str, epoch: int, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(network(), training_data(kind), checkpoint=tmp_path / "c.pt", schedule=KillInEpoch(epoch))
    resumed = network(seed=0 if epoch == 0 else 9)
    torch.rand(5)  # the random state of the caller does not matter
    fit(resumed, training_data(kind), checkpoint=tmp_path / "c.pt", resume=True)
    assert equal_states(resumed, uninterrupted_run(kind))


def test_a_resumed_run_keeps_the_statistics_of_its_checkpoint(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "c.pt"
    fit(model, data(), epochs=1, checkpoint=path)
    resumed = network(seed=9)
    fit(resumed, ff.TensorData(data().inputs + 3, data().targets, num_classes=3), checkpoint=path, resume=True)
    assert torch.equal(resumed.preprocessing.mean, model.preprocessing.mean)
    assert torch.equal(resumed.preprocessing.std, model.preprocessing.std)


def test_a_run_with_other_preprocessing_is_not_resumed(tmp_path: Path) -> None:
    fit(network(), data(), epochs=1, checkpoint=tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"does not match the model: unexpected preprocessing\.mean"):
        fit(network(preprocessing=None), data(), checkpoint=tmp_path / "c.pt", resume=True)


@pytest.mark.parametrize("input_shape", [None, (5,)], ids=str)
@pytest.mark.parametrize("layer", [ff.layers.FFEmbedding, ff.layers.FFEmbeddingBag])
@pytest.mark.parametrize("kind", ["local objectives", "baseline"])
def test_standardization_of_indices_is_refused_at_construction(
    kind: str, layer: type[ff.FFLayer], input_shape: tuple[int, ...] | None
) -> None:
    def build(preprocessing: Preprocessing) -> ff.Network:
        options = {"preprocessing": preprocessing, "input_shape": input_shape}
        if kind == "baseline":
            return ff.baselines.Backpropagation(layer(9, 4), num_classes=2, **options)
        goodness, loss = ff.goodness.LearnedProjection(2), ff.losses.CrossEntropy()
        return ff.FFSequential(layer(9, 4), goodness=goodness, loss=loss, **options)

    message = (
        rf"^preprocessing must not standardize the inputs of a first layer that looks up indices \({layer.__name__}\), "
        r"got Preprocessing\(standardize=True\)$"
    )
    with pytest.raises(ValueError, match=message):
        build(Preprocessing(standardize=True))
    words = torch.randint(9, (20, 5))
    assert torch.equal(build(Preprocessing()).prepare(words), words)


@pytest.mark.parametrize("kind", ["local", "baseline"])
def test_a_network_whose_statistics_are_not_fitted_neither_trains_nor_predicts(kind: str) -> None:
    preprocessing = Preprocessing(standardize=True)
    layer, options = ff.FFLinear(6, 5), {"preprocessing": preprocessing}
    x, y = torch.rand(9, 6), torch.arange(9) % 3
    model: ff.network.Network
    if kind == "local":
        goodness, loss = ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy()
        model = ff.FFSequential(layer, goodness=goodness, loss=loss, **options)
    else:
        model = ff.baselines.Backpropagation(layer, num_classes=3, **options)
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    uses: tuple[Callable[[], Any], ...] = (
        lambda: model.predict(x),
        lambda: model.step((x, y), optimizer),
        lambda: model.activations(x),
        lambda: ff.evaluate(model, (x, y)),
    )
    for use in uses:
        with pytest.raises(ValueError, match="^preprocessing must be fitted before the first step or prediction"):
            use()
    model.preprocessing.fit(x)
    for use in uses:
        use()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.rand(5), r"inputs must have shape \(samples, ...\), got \(5,\)"),
        ([torch.rand(5, 3), torch.rand(5, 4)], r"inputs must have shape \(samples, 3, ...\), got \(5, 4\)"),
        (torch.tensor([[1.0], [math.nan]]), "inputs must be finite, got NaN or infinity"),
    ],
    ids=["dimensions", "channels", "nan"],
)
def test_statistics_of_unsuitable_inputs_are_refused(inputs: Any, message: str) -> None:
    preprocessing = Preprocessing(standardize=True)
    with pytest.raises(ValueError, match=message):
        preprocessing.fit(inputs)
    assert preprocessing.needs_fit


@pytest.mark.parametrize("value", [0.0, 0.3, 7.682217955589294, 9999.1])
def test_constant_images_are_whitened_to_zero(value: float) -> None:
    whitening = ff.preprocessing.PatchWhitening(2).fit(torch.full((20, 1, 9, 7), value))
    assert whitening(torch.rand(3, 1, 9, 7)).abs().max() == 0


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_whitening_does_not_depend_on_the_unit(unit: float) -> None:
    images = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = ff.preprocessing.PatchWhitening(2).fit(images)(images)
    scaled = ff.preprocessing.PatchWhitening(2).fit(unit * images)(unit * images)
    torch.testing.assert_close(scaled.square().mean(), expected.square().mean(), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.full((2, 1, 4, 4), math.nan), "inputs must be finite, got NaN or infinity"),
        ([torch.rand(2, 1, 4, 4), torch.rand(2, 3, 4, 4)], r"inputs must have shape \(samples, 1, height, width\)"),
    ],
    ids=["nan", "channels"],
)
def test_whitening_of_unsuitable_images_is_refused(inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ff.preprocessing.PatchWhitening(2).fit(inputs)
