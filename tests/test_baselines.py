"""Baselines: gradients and updates against plain loops, learning, saving and resuming, and refusals."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward.baselines import Backpropagation, Baseline, FeedbackAlignment, Pepita
from forwardforward.layers import NORMALIZE_FIRST, TRANSFORM_FIRST, LocallyConnected2d, SkipConnection
from forwardforward.recipes import RECIPES
from forwardforward.training import load_weights

KINDS = (Backpropagation, FeedbackAlignment, Pepita)


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def dense(kind: type[Baseline] = Backpropagation) -> Baseline:
    return kind(ff.FFLinear(16, 24), ff.FFLinear(24, 20), num_classes=3)


def convolutional(kind: type[Baseline] = Backpropagation, order: tuple[str, ...] = NORMALIZE_FIRST) -> Baseline:
    layers = [
        ff.FFConv2d(2, 4, 3, padding=1, stride=2, pool=2, order=order),
        ff.FFConv2d(4, 6, (3, 1), padding="same", groups=2, bias=False, order=order),
        ff.FFConv2d(6, 4, 2, padding=1, dilation=2, padding_mode="reflect", order=order),
    ]
    normalization = ff.normalization.BatchNorm(affine=True)
    return kind(*layers, num_classes=3, normalization=normalization, input_shape=(2, 8, 8))


def data(count: int = 60, seed: int = 0) -> ff.TensorData:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.rand(count, 1, 4, 4, generator=generator)
    images[torch.arange(count), 0, 3, labels] += 2
    return ff.TensorData(images, labels, num_classes=3)


def gradients(model: Baseline, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    model.gradients(images, labels)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def error_of(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.softmax(1) - nn.functional.one_hot(labels, logits.shape[1])


# Feedback alignment


@pytest.mark.usefixtures("double")
def test_feedback_alignment_of_a_dense_stack_is_the_papers_formula() -> None:
    model = FeedbackAlignment(ff.FFLinear(5, 4), ff.FFLinear(4, 6), ff.FFLinear(6, 3), num_classes=3)
    x, labels = torch.randn(7, 5), torch.arange(7) % 3
    actual = gradients(model, x, labels)

    products = [layer.block for layer in model.layers] + [model.output]
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    names = [f"layers.{i}.block" for i in range(3)] + ["output"]
    for row, label in zip(x, labels, strict=True):
        h, z = [row], []
        for product in products:
            z.append(product.weight @ h[-1] + product.bias)
            h.append(z[-1].clamp(min=0))
        delta = z[-1].softmax(0)
        delta[label] -= 1
        for i in reversed(range(4)):
            expected[f"{names[i]}.weight"] += torch.outer(delta, h[i]) / len(x)
            expected[f"{names[i]}.bias"] += delta / len(x)
            if i:
                delta = (products[i].feedback.T @ delta) * (z[i - 1] > 0)
    for name, gradient in actual.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-12)
    assert set(actual) == set(expected)


@pytest.mark.usefixtures("double")
def test_feedback_alignment_of_convolutions_is_a_plain_loop() -> None:
    layers = [ff.FFConv2d(2, 4, 3, padding=1), ff.FFConv2d(4, 6, 3, stride=2, padding=1, groups=2)]
    model = FeedbackAlignment(*layers, num_classes=3, input_shape=(2, 4, 4))
    x, labels = torch.randn(3, 2, 4, 4), torch.tensor([0, 2, 1])
    actual = gradients(model, x, labels)

    first, second = (layer.block for layer in layers)
    z1 = first(x)
    h1 = z1.relu()
    z2 = second(h1)
    delta = error_of(model.output(z2.relu().flatten(1)), labels) / 3
    delta2 = (delta @ model.output.feedback).view_as(z2) * (z2 > 0)
    filters, padded = torch.zeros_like(second.weight), nn.functional.pad(h1, (1, 1, 1, 1))
    back = torch.zeros_like(padded)
    for n, o, i, j in itertools.product(range(3), range(6), range(2), range(2)):
        inputs = slice(0, 2) if o < 3 else slice(2, 4)
        patch = (n, inputs, slice(2 * i, 2 * i + 3), slice(2 * j, 2 * j + 3))
        filters[o] += delta2[n, o, i, j] * padded[patch]
        back[patch] += delta2[n, o, i, j] * second.feedback[o]
    delta1 = back[:, :, 1:-1, 1:-1] * (z1 > 0)
    torch.testing.assert_close(actual["layers.1.block.weight"], filters, rtol=0, atol=1e-12)
    torch.testing.assert_close(actual["layers.1.block.bias"], delta2.sum((0, 2, 3)), rtol=0, atol=1e-12)
    torch.testing.assert_close(actual["layers.0.block.bias"], delta1.sum((0, 2, 3)), rtol=0, atol=1e-12)
    images = nn.functional.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)
    expected = torch.einsum("noij,ncijkl->ockl", delta1, images)
    torch.testing.assert_close(actual["layers.0.block.weight"], expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("order", [NORMALIZE_FIRST, TRANSFORM_FIRST])
@pytest.mark.parametrize("conv", [False, True])
def test_feedback_through_the_weights_themselves_is_backpropagation(conv: bool, order: tuple[str, ...]) -> None:
    torch.manual_seed(1)
    exact = convolutional(order=order) if conv else dense()
    torch.manual_seed(1)
    model = convolutional(FeedbackAlignment, order) if conv else dense(FeedbackAlignment)
    x, labels = (torch.randn(5, 2, 8, 8) if conv else torch.randn(5, 16)), torch.arange(5) % 3
    torch.testing.assert_close(model(x), exact(x), rtol=0, atol=1e-12)
    expected, actual = gradients(exact, x, labels), gradients(model, x, labels)
    assert any((expected[name] - actual[name]).abs().max() > 1e-3 for name in expected)
    for module in model.modules():
        if hasattr(module, "feedback"):
            module.feedback.copy_(module.weight.detach())
    actual = gradients(model, x, labels)
    assert set(expected) == set(actual) == {name for name, _ in model.named_parameters()}
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=1e-10)


def test_feedback_weights_have_the_scale_of_the_weights_and_do_not_change() -> None:
    model = FeedbackAlignment(ff.FFLinear(100, 200), ff.FFLinear(200, 100), num_classes=3)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    assert set(before) == {"layers.0.block.feedback", "layers.1.block.feedback", "output.feedback"}
    for name, feedback in before.items():
        weight = model.get_parameter(name.replace("feedback", "weight"))
        assert not torch.equal(feedback, weight)
        assert math.isclose(float(feedback.std()), float(weight.detach().std()), rel_tol=0.15)
    model.step((torch.rand(9, 100), torch.arange(9) % 3), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_an_in_place_operation_may_follow_a_block_with_feedback() -> None:
    torch.manual_seed(2)
    blocks = [nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=inplace)) for inplace in (True, False)]
    blocks[1].load_state_dict(blocks[0].state_dict())
    models = [FeedbackAlignment(block, num_classes=3, input_shape=(2, 4)) for block in blocks]
    models[1].load_state_dict(models[0].state_dict())
    x, labels = torch.randn(6, 2, 4), torch.arange(6) % 3
    actual, expected = (gradients(model, x, labels) for model in models)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name])


# PEPITA


@pytest.mark.usefixtures("double")
def test_pepita_of_a_dense_stack_is_the_papers_formula() -> None:
    model = Pepita(ff.FFLinear(5, 4), ff.FFLinear(4, 6), num_classes=3, scale=2.0)
    x, labels = torch.rand(7, 5), torch.arange(7) % 3
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    result = model.step((x, labels), ff.LocalOptimizer(torch.optim.SGD, lr=0.5))

    F = model.projection
    names = ["layers.0.block", "layers.1.block", "output"]
    changes = {name: torch.zeros_like(p) for name, p in before.items()}

    def run(h: Tensor) -> list[Tensor]:
        values = [h]
        for name in names:
            z = before[f"{name}.weight"] @ values[-1] + before[f"{name}.bias"]
            values.append(z.softmax(0) if name == "output" else z.clamp(min=0))
        return values

    for row, label in zip(x, labels, strict=True):
        clean = run(row)
        error = clean[-1].clone()
        error[label] -= 1
        modulated = run(row + F @ error)
        for i, name in enumerate(names):
            delta = error if name == "output" else clean[i + 1] - modulated[i + 1]
            changes[f"{name}.weight"] += torch.outer(delta, modulated[i])
            changes[f"{name}.bias"] += delta
    assert all(change.abs().max() > 0 for change in changes.values())
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] - 0.5 * changes[name] / 7, rtol=0, atol=1e-12)
    assert result.head is not None
    torch.testing.assert_close(
        result.head.loss, -torch.stack([run(r)[-1][c].log() for r, c in zip(x, labels, strict=True)]).mean()
    )


@pytest.mark.usefixtures("double")
def test_pepita_of_convolutions_sums_over_positions_and_compares_activations_before_the_pool() -> None:
    layers = [
        ff.FFConv2d(1, 2, 3, padding=1, pool=2),
        ff.FFConv2d(2, 3, 2, stride=1, normalization=ff.normalization.RMSNorm()),
    ]
    model = Pepita(*layers, num_classes=3, input_shape=(1, 4, 4), scale=2.0)
    x, labels = torch.rand(4, 1, 4, 4), torch.arange(4) % 3
    actual = gradients(model, x, labels)

    def run(images: Tensor) -> tuple[Tensor, ...]:
        h1 = layers[0].block(images).relu()
        inputs = ff.normalization.RMSNorm()(nn.functional.max_pool2d(h1, 2))
        h2 = layers[1].block(inputs).relu()
        return h1, inputs, h2, model.output(h2.flatten(1))

    h1, _, h2, logits = run(x)
    error = error_of(logits, labels)
    changed = x + (error @ model.projection.T).view_as(x)
    h1_err, inputs, h2_err, _ = run(changed)
    padded = nn.functional.pad(changed, (1, 1, 1, 1))
    first, second = torch.zeros(2, 1, 3, 3), torch.zeros(3, 2, 2, 2)
    for n, i, j in itertools.product(range(4), range(4), range(4)):
        delta = (h1 - h1_err)[n, :, i, j]
        first += delta.view(2, 1, 1, 1) * padded[n, :, i : i + 3, j : j + 3] / 4
    for n in range(4):
        second += (h2 - h2_err)[n, :, 0, 0].view(3, 1, 1, 1) * inputs[n] / 4
    torch.testing.assert_close(actual["layers.0.block.weight"], first, rtol=0, atol=1e-12)
    torch.testing.assert_close(actual["layers.1.block.weight"], second, rtol=0, atol=1e-12)
    torch.testing.assert_close(actual["layers.0.block.bias"], (h1 - h1_err).sum((0, 2, 3)) / 4, rtol=0, atol=1e-12)
    torch.testing.assert_close(actual["output.weight"], error.T @ h2_err.flatten(1) / 4, rtol=0, atol=1e-12)


def test_pepita_does_not_change_parameters_without_a_rule() -> None:
    model = convolutional(Pepita)
    before = copy.deepcopy(model.state_dict())
    model.step((torch.rand(6, 2, 8, 8), torch.arange(6) % 3), ff.LocalOptimizer(torch.optim.Adam, lr=0.01))
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name, _ in model.named_parameters() if "normalization" not in name}


def test_both_passes_of_pepita_drop_the_same_units() -> None:
    torch.manual_seed(0)
    layer = ff.FFLayer(nn.Sequential(nn.Dropout(0.5), nn.Linear(200, 4)))
    model = Pepita(layer, num_classes=3, input_shape=(200,), scale=1e-7)
    actual = gradients(model, torch.rand(8, 200), torch.arange(8) % 3)
    assert actual["layers.0.block.1.weight"].abs().max() < 1e-4


def test_the_projection_has_the_range_of_he_initialization_and_is_saved() -> None:
    torch.manual_seed(3)
    model = dense(Pepita)
    torch.manual_seed(3)
    twin = dense(Pepita)
    F = model.projection
    assert F.shape == (16, 3)
    assert torch.equal(F, twin.projection)
    bound = 0.05 * math.sqrt(6 / 16)
    assert bound / 2 < F.abs().max() <= bound
    other = dense(Pepita)
    assert not torch.equal(F, other.projection)
    other.load_state_dict(model.state_dict())
    assert torch.equal(F, other.projection)
    assert dict(model.named_buffers()).keys() == {"projection"}
    assert model.double().projection.dtype == torch.float64
    convolution = Pepita(ff.FFConv2d(1, 3, 2), num_classes=3, scale=2.0)
    convolution.setup((1, 5, 5))
    assert convolution.projection.shape == (25, 3)
    assert 1 < convolution.projection.abs().max() / math.sqrt(6 / 25) <= 2


# All baselines


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_learn(kind: type[Baseline], autocast: torch.dtype | None) -> None:
    torch.manual_seed(0)
    layers = ff.recipes.architectures.Convolutions(pools=(1,), bias=True)((1, 4, 4), (8, 8), 3)
    model = kind(*layers, num_classes=3)
    train, optimizer = data(30), ff.LocalOptimizer(torch.optim.Adam, lr=0.01)
    for _ in range(60):
        result = model.step((train.inputs, train.targets), optimizer, autocast=autocast)
    assert result.head is not None
    assert result.head.accuracy > 0.85
    assert result.head.loss < 0.7  # ln 3 for equal scores


@pytest.mark.parametrize("kind", KINDS)
def test_dense_stacks_learn(kind: type[Baseline]) -> None:
    torch.manual_seed(0)
    model = dense(kind)
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.01)
    options = {"epochs": 10, "batch_size": 20, "optimizer": optimizer, "progress": False}
    history = ff.fit(model, data(300), validation=data(90, seed=1), **options)
    assert history[-1]["validation"]["error"] < 5
    images = data(90, seed=1).inputs
    assert torch.equal(model.predict(images), model.predict_proba(images).argmax(1))
    assert list(model.parameter_groups()) == ["network"]


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_ends_like_an_uninterrupted_one(kind: type[Baseline], conv: bool, tmp_path: Path) -> None:
    images = torch.rand(24, 2, 8, 8) if conv else torch.rand(24, 16)
    options: dict[str, Any] = {"batch_size": 8, "progress": False, "checkpoint": tmp_path / "c.pt"}

    def fresh(seed: int) -> Baseline:
        torch.manual_seed(seed)
        return convolutional(kind) if conv else dense(kind)

    train = images, torch.arange(24) % 3
    uninterrupted = fresh(1)
    ff.fit(uninterrupted, train, epochs=3, **{**options, "checkpoint": None})
    ff.fit(fresh(1), train, epochs=2, **options)
    resumed = fresh(5)  # everything random is in the checkpoint
    ff.fit(resumed, train, epochs=3, resume=True, **options)
    expected, actual = uninterrupted.state_dict(), resumed.state_dict()
    assert set(expected) == set(actual)
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    loaded = fresh(6)
    load_weights(tmp_path / "c.pt", loaded)
    assert torch.equal(loaded.scores(images), uninterrupted.scores(images))


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_learns_without_changing_the_original(kind: type[Baseline]) -> None:
    model = dense(kind)
    batch = torch.rand(6, 16), torch.arange(6) % 3
    model.step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    other = copy.deepcopy(model)
    before = copy.deepcopy(model.state_dict())
    other.step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not torch.equal(other.state_dict()["output.weight"], before["output.weight"])


@pytest.mark.parametrize("kind", [FeedbackAlignment, Pepita])
def test_recipes_of_convolutions_train_with_every_baseline(kind: type[Baseline]) -> None:
    architecture = ff.recipes.architectures.Convolutions(pools=(1, 2), order=ff.layers.TRANSFORM_FIRST)
    recipe = RECIPES["backprop"].replace(baseline=kind, architecture=architecture, widths=(4, 4))
    model = recipe.model((3, 8, 8), 5)
    ff.fit(model, (torch.rand(20, 3, 8, 8), torch.arange(20) % 5), epochs=1, batch_size=10, progress=False)
    assert isinstance(model, kind)


def test_a_recipe_with_a_head_trains_with_a_baseline_without_the_parts_that_a_baseline_does_not_use() -> None:
    recipe = RECIPES["unsupervised"]
    assert recipe.overrides
    with pytest.raises(
        ValueError, match="^goodness, loss, .*overrides must be left out beside baseline=Backpropagation"
    ):
        recipe.replace(baseline=Backpropagation, widths=(4, 4)).model((6,), 3)
    unused = {"goodness": None, "loss": None, "peer": None, "negatives": None, "head": None, "overrides": {}}
    recipe = recipe.replace(baseline=Backpropagation, widths=(4, 4), **unused)
    recipe.fit(recipe.model((6,), 3), (torch.rand(20, 6), torch.arange(20) % 3), epochs=1, progress=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_output_layer_is_shaped_by_the_first_batch(kind: type[Baseline]) -> None:
    model = kind(ff.FFConv2d(1, 3, 2), num_classes=3)
    assert model.output is None
    train = data(6)
    model.step((train.inputs, train.targets), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert model.output is not None
    assert model.output.in_features == 27
    assert model.predict(train.inputs).shape == (6,)


@pytest.mark.parametrize("kind", KINDS)
def test_no_layers_and_missing_labels_are_refused(kind: type[Baseline]) -> None:
    with pytest.raises(ValueError, match="^layers must contain at least one layer"):
        kind(num_classes=3)
    with pytest.raises(ValueError, match="^labels must be given"):
        dense(kind).step((torch.rand(3, 16), None), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))


@pytest.mark.parametrize("kind", [FeedbackAlignment, Pepita])
def test_blocks_without_a_rule_are_refused(kind: type[Baseline]) -> None:
    local = ff.FFLayer(LocallyConnected2d(1, 2, 3, size=4))
    with pytest.raises(
        ValueError, match=r"^layers must have .* nn.Linear and nn.Conv2d .* layer 1 has LocallyConnected"
    ):
        kind(ff.FFConv2d(1, 1, 3, padding=1), local, num_classes=3, input_shape=(1, 4, 4))
    with pytest.raises(ValueError, match="layer 0 has FeedbackLinear"):  # a block of another model
        kind(dense(FeedbackAlignment).layers[0].block, num_classes=3)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_another_network_are_refused(kind: type[Baseline]) -> None:
    objective = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
    message = "^layer 1: a layer can be part of one network only, got one that is part of a network already"
    layer = ff.FFLinear(4, 4)
    kind(layer, num_classes=3)
    for other in KINDS:
        with pytest.raises(ValueError, match=message):
            other(ff.FFLinear(4, 4), layer, num_classes=3)
    with pytest.raises(ValueError, match=message):
        ff.FFSequential(ff.FFLinear(4, 4), layer, **objective)
    with pytest.raises(ValueError, match=message):
        kind(ff.FFLinear(4, 4), *ff.FFSequential(ff.FFLinear(4, 4), **objective), num_classes=3)
    twice = ff.FFLinear(4, 4)
    with pytest.raises(ValueError, match=message):
        kind(twice, twice, num_classes=3)


@pytest.mark.parametrize("kind", [FeedbackAlignment, Pepita])
def test_a_refused_network_leaves_its_layers_unchanged(kind: type[Baseline]) -> None:
    layer, local = ff.FFConv2d(1, 1, 3, padding=1), ff.FFLayer(LocallyConnected2d(1, 2, 3, size=4))
    with pytest.raises(ValueError, match="layer 1 has LocallyConnected"):
        kind(layer, local, num_classes=3, normalization=ff.normalization.RMSNorm())
    assert layer.normalization is None
    kind(layer, num_classes=3, input_shape=(1, 4, 4))


def test_layers_without_a_rule_for_pepita_are_refused() -> None:
    with pytest.raises(ValueError, match="^scale must be positive, got 0"):
        Pepita(ff.FFLinear(4, 3), num_classes=3, scale=0)
    with pytest.raises(ValueError, match="^layers must have at most one .* layer 0 has more"):
        Pepita(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), num_classes=3)
    recipe = RECIPES["mono-conv"].replace(baseline=Pepita, goodness=None, loss=None, classifier=None)
    with pytest.raises(ValueError, match="^layers must pool after the activation for PEPITA, but layer 0 pools before"):
        recipe.model((3, 32, 32), 10)
    pooled = ff.FFLayer(nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2)))
    model = Pepita(pooled, num_classes=3, input_shape=(1, 4, 4))
    message = r"^layers must have activations .* layer 0 has activations \(2, 2, 1, 1\) and output \(2, 2, 2, 2\)"
    with pytest.raises(ValueError, match=message):
        model.gradients(torch.rand(2, 1, 4, 4), torch.tensor([0, 1]))


def test_gradients_flow_along_a_skip_connection() -> None:
    torch.manual_seed(0)
    first = ff.FFLayer(nn.Linear(4, 4, bias=False), activation=nn.Tanh())
    last = ff.FFLayer(nn.Linear(4, 4, bias=False), activation=nn.Tanh(), residual=SkipConnection(1))
    model = Backpropagation(first, last, num_classes=3, input_shape=(4,))
    images, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    model.gradients(images, labels)
    gradient = first.block.weight.grad
    weight = first.block.weight.detach().clone().requires_grad_()
    h = torch.tanh(images @ weight.T)
    logits = model.output(torch.tanh(last.block(h) + h))
    (expected,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels), weight)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_batches_are_refused(kind: type[Baseline]) -> None:
    model = kind(ff.FFLinear(4, 3), num_classes=3)
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    x, y = torch.rand(5, 4), torch.arange(5) % 3
    for batch, words in (
        ((x, None), "labels must be given"),
        ((x, y + 1), "labels must be in 0..2 for 3 classes"),
        ((x, y[:2]), "labels must be one per image"),
        ((x[:0], y[:0]), "images must contain at least one image"),
    ):
        with pytest.raises(ValueError, match=words):
            model.step(batch, optimizer)
    for images in (x.int(), x > 0):
        message = f"^images must be of a floating type or uint8, got {images.dtype}"
        with pytest.raises(TypeError, match=message):
            model.step((images, y), optimizer)
        with pytest.raises(TypeError, match=message):
            model.predict(images)
    for factor in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="^scores must be finite, got NaN or infinity"):
            model.predict((x + 1) * factor)
    model.step((x, y.int()), optimizer)
    assert set(model.step((x, y), optimizer, monitor=True).gradient_norms) == {0}
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        kind(ff.FFLinear(4, 3), num_classes=1)
    with pytest.raises(ValueError, match="^layer 0: in_channels must be"):
        kind(ff.FFConv2d(1, 4, 3), num_classes=3, input_shape=(2, 8, 8))
