"""One product with the image serves all its labels, with equal results."""

import copy

import pytest
import torch
from torch import Tensor

import forwardforward as ff
from forwardforward.batches import LabeledInput

N = ff.normalization
ENCODERS = {
    "overlay": lambda: ff.label_encoders.Overlay(4),
    "strong overlay": lambda: ff.label_encoders.Overlay(4, scale=3.0),
    "concatenation": lambda: ff.label_encoders.Concatenation(4),
    "border": lambda: ff.label_encoders.Border(4),
}
NORMALIZATIONS = {
    "rms": N.RMSNorm,
    "layer": N.LayerNorm,
    "batch": N.BatchNorm,
    "learned batch": lambda: N.BatchNorm(affine=True),
    "running": lambda: N.BatchNorm(statistics="running"),
    "identity": N.Identity,
    "group": lambda: N.GroupNorm(2),
}


class Unshared(ff.FFLinear):
    """Joins images and labels first, as programs usually do."""

    def check_input(self, x: Tensor | LabeledInput) -> Tensor | LabeledInput:
        return super().check_input(x.joined() if isinstance(x, LabeledInput) else x)

    def split_forward(self, x: LabeledInput, affine: N.Affine) -> Tensor:
        raise AssertionError("labeled inputs are joined first")


def stacks(encoder: str, normalization: str) -> tuple[ff.FFSequential, ff.FFSequential, Tensor, Tensor]:
    torch.manual_seed(3)
    images = torch.rand(6, 1, 5, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 1, 0])
    code = ENCODERS[encoder]()
    inputs = code.neutral(images).features

    def stack(first: type[ff.FFLinear]) -> ff.FFSequential:
        return ff.FFSequential(
            first(inputs, 10),
            ff.FFLinear(10, 8),
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            normalization=NORMALIZATIONS[normalization](),
            label_encoder=copy.deepcopy(code),
            classifier=ff.classifiers.SumOverLayers(),
        ).double()

    shared, unshared = stack(ff.FFLinear), stack(Unshared)
    with torch.no_grad():
        for parameter in shared.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    unshared.load_state_dict(shared.state_dict())
    return shared, unshared, images, labels


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_loss_gradients_statistics_and_classification_agree(encoder: str, normalization: str) -> None:
    shared, unshared, images, labels = stacks(encoder, normalization)
    close = {"rtol": 1e-10, "atol": 1e-10}
    for _ in range(3):
        results = []
        for model in (shared, unshared):
            optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
            generator = torch.Generator().manual_seed(0)
            results.append(model.step((images, labels), optimizer, generator=generator))
        for layer in range(2):
            torch.testing.assert_close(results[0].layers[layer].loss, results[1].layers[layer].loss, **close)
        for (name, ours), theirs in zip(shared.named_parameters(), unshared.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, msg=name, **close)
        for (name, ours), theirs in zip(shared.state_dict().items(), unshared.state_dict().values(), strict=True):
            torch.testing.assert_close(ours, theirs, msg=name, **close)
    torch.testing.assert_close(shared.layer_goodness(images), unshared.layer_goodness(images), **close)
    torch.testing.assert_close(shared(images), unshared(images), **close)


def test_classification_equals_one_pass_per_label() -> None:
    shared, _, images, _ = stacks("overlay", "rms")
    result = shared.layer_goodness(images)
    for label in range(4):
        pixels = images.flatten(1).clone()
        pixels[:, :4] = 0
        pixels[:, label] = 1
        x = pixels
        for index, layer in enumerate(shared):
            x = x / x.square().mean(1, keepdim=True).sqrt()
            x = (x @ layer.block.weight.T + layer.block.bias).clamp(min=0)
            torch.testing.assert_close(result[:, index, label], x.square().mean(1), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("chunk_size", [1, 7, 40, 10_000])
def test_classification_in_chunks_gives_the_same_goodness(chunk_size: int) -> None:
    shared, _, images, _ = stacks("concatenation", "layer")
    whole = shared.layer_goodness(images)
    shared.chunk_size = chunk_size
    torch.testing.assert_close(shared.layer_goodness(images), whole, rtol=1e-12, atol=1e-12)
