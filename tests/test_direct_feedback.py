"""Direct feedback alignment, direct random target projection and sign symmetry against written-out updates."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import forwardforward as ff
from forwardforward.baselines import DirectFeedbackAlignment, DirectRandomTargetProjection, SignSymmetry

IMAGES = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 3


def dense(kind: type[ff.baselines.Baseline]) -> ff.baselines.Baseline:
    torch.manual_seed(0)
    return kind(ff.FFLinear(6, 5), ff.FFLinear(5, 4), num_classes=3)


def forward(model: ff.baselines.Baseline) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """Return inputs and pre-activations of the layers, and the logits."""
    x, inputs, values = IMAGES, [], []
    for layer in model.stack:
        inputs.append(x)
        values.append(F.linear(x, layer.block.weight, layer.block.bias).detach())
        x = values[-1].relu()
    assert model.output is not None
    return [*inputs, x], values, F.linear(x, model.output.weight, model.output.bias).detach()


@pytest.mark.parametrize("kind", [DirectFeedbackAlignment, DirectRandomTargetProjection])
def test_gradients_of_fixed_random_maps(kind: type[DirectFeedbackAlignment]) -> None:
    model = dense(kind)
    assert isinstance(model, DirectFeedbackAlignment)
    inputs, values, logits = forward(model)
    model.gradients(IMAGES, LABELS)
    one_hot = F.one_hot(LABELS, 3).float()
    error = logits.softmax(1) - one_hot
    signal = error if kind is DirectFeedbackAlignment else -one_hot
    for index, layer in enumerate(model.stack):
        delta = (signal @ model.feedback[index].T) * (values[index] > 0) / 8
        torch.testing.assert_close(layer.block.weight.grad, delta.T @ inputs[index])
        torch.testing.assert_close(layer.block.bias.grad, delta.sum(0))
    assert model.output is not None
    torch.testing.assert_close(model.output.weight.grad, error.T @ inputs[-1] / 8)


@pytest.mark.parametrize("kind", [DirectFeedbackAlignment, DirectRandomTargetProjection])
def test_probabilities_of_classes_give_the_gradients_of_the_labels(kind: type[DirectFeedbackAlignment]) -> None:
    torch.manual_seed(0)
    model = kind(ff.FFLinear(12, 8), ff.FFLinear(8, 8), num_classes=3)
    images, labels = torch.rand(5, 12), torch.tensor([0, 2, 1, 1, 0])
    results = []
    for targets in (labels, F.one_hot(labels, 3).float()):
        model.zero_grad()
        model.gradients(images, targets)
        results.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(results[0]) == len(results[1]) == 6
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
    mixed = torch.tensor([[0.25, 0.75, 0.0]])
    error = model.signal(torch.zeros(1, 3), mixed)
    expected = -mixed if kind is DirectRandomTargetProjection else torch.full((1, 3), 1 / 3) - mixed
    torch.testing.assert_close(error, expected)


def test_gradients_through_the_signs_of_the_weights() -> None:
    model = dense(SignSymmetry)
    inputs, values, logits = forward(model)
    model.gradients(IMAGES, LABELS)
    delta = (logits.softmax(1) - F.one_hot(LABELS, 3)) / 8
    modules = [layer.block for layer in model.stack] + [model.output]
    for index in (2, 1, 0):
        weight = modules[index].weight
        torch.testing.assert_close(weight.grad, delta.T @ inputs[index])
        if index:
            feedback = weight.detach().sign() * weight.detach().square().mean().sqrt()
            delta = (delta @ feedback) * (values[index - 1] > 0)


def test_the_signs_follow_the_weights() -> None:
    model = dense(SignSymmetry)
    with torch.no_grad():
        model.stack[1].block.weight.neg_()
    assert torch.equal(model.stack[1].block.feedback.sign(), model.stack[1].block.weight.sign())
    assert "feedback" not in " ".join(model.state_dict())


@pytest.mark.parametrize("kind", [DirectFeedbackAlignment, DirectRandomTargetProjection, SignSymmetry])
def test_convolutions_with_batch_normalization_learn(kind: type[ff.baselines.Baseline]) -> None:
    torch.manual_seed(0)
    images = torch.zeros(60, 1, 6, 6)
    labels = torch.arange(60) % 3
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 2 * label : 2 * label + 2] = 1.0
    images += 0.1 * torch.rand(images.shape)
    layers = [ff.FFConv2d(1, 8, 3, padding=1, pool=2), ff.FFConv2d(8, 8, 3, padding=1)]
    model = kind(*layers, num_classes=3, normalization=ff.normalization.BatchNorm(affine=True), input_shape=(1, 6, 6))
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.01)
    ff.fit(model, (images, labels), epochs=4, batch_size=10, optimizer=optimizer, progress=False)
    assert ff.evaluate(model, (images, labels)).error < 10


def test_no_gradient_crosses_a_border_of_direct_feedback() -> None:
    model = dense(DirectFeedbackAlignment)
    model.gradients(IMAGES, LABELS)
    first = model.stack[0].block.weight.grad.clone()
    model.zero_grad()
    with torch.no_grad():
        model.stack[1].block.weight.zero_()  # changes the logits only through the bias and the layer above
    assert isinstance(model, DirectFeedbackAlignment)
    model.feedback[1].zero_()
    model.gradients(IMAGES, LABELS)
    assert not bool(model.stack[1].block.weight.grad.any())
    assert bool(model.stack[0].block.weight.grad.any())
    assert first.shape == model.stack[0].block.weight.grad.shape


def test_feedback_is_saved() -> None:
    model, other = dense(DirectFeedbackAlignment), dense(DirectFeedbackAlignment)
    other.feedback[0].add_(1)
    other.load_state_dict(model.state_dict())
    assert isinstance(model, DirectFeedbackAlignment)
    assert isinstance(other, DirectFeedbackAlignment)
    assert torch.equal(model.feedback[0], other.feedback[0])
