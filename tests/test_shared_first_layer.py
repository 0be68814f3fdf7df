"""One product with the image serves all its labels, and changes nothing."""

import copy

import pytest
import torch
from torch import Tensor

import forwardforward as ff
from forwardforward.batches import LabelledInput

N = ff.normalization
ENCODERS = {
    "overlay": lambda: ff.label_encoders.Overlay(4),
    "strong overlay": lambda: ff.label_encoders.Overlay(4, scale=3.0),
    "concatenation": lambda: ff.label_encoders.Concatenation(4),
    "border": lambda: ff.label_encoders.Border(4),
}
NORMALIZATIONS = {
    "rms": lambda n: N.RMSNorm(),
    "layer": lambda n: N.LayerNorm(),
    "batch": lambda n: N.BatchNorm(),
    "learned batch": lambda n: N.BatchNorm(affine=True),
    "running": lambda n: N.BatchNorm(statistics="running"),
    "identity": lambda n: N.Identity(),
    "group": lambda n: N.GroupNorm(2),
}


class Unshared(ff.FFLinear):
    """Joins first, as programs usually do."""

    def pre_activations(self, x: Tensor | LabelledInput) -> Tensor:
        return super().pre_activations(x.joined() if isinstance(x, LabelledInput) else x)


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
            normalization=NORMALIZATIONS[normalization](inputs),
            labels=copy.deepcopy(code),
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


def test_classification_equals_one_pass_a_label() -> None:
    shared, _, images, _ = stacks("overlay", "rms")
    found = shared.layer_goodness(images)
    for label in range(4):
        pixels = images.flatten(1).clone()
        pixels[:, :4] = 0
        pixels[:, label] = 1
        x = pixels
        for layer, one in enumerate(shared.layers):
            x = x / x.square().mean(1, keepdim=True).sqrt()
            x = (x @ one.block.weight.T + one.block.bias).clamp(min=0)
            torch.testing.assert_close(found[:, layer, label], x.square().mean(1), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("chunk", [1, 7, 40, 10_000])
def test_classification_in_chunks_changes_nothing(chunk: int) -> None:
    shared, _, images, _ = stacks("concatenation", "layer")
    whole = shared.layer_goodness(images)
    shared.chunk = chunk
    torch.testing.assert_close(shared.layer_goodness(images), whole, rtol=1e-12, atol=1e-12)
