"""What the Trifecta's studies measure of a trained network, beside its accuracy."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

import forwardforward as ff
from benchmarks.cells import Content
from forwardforward._utils.modes import eval_mode
from forwardforward.network import Network
from forwardforward.normalization import RMSNorm
from forwardforward.pooling import SpatialPool
from forwardforward.preprocessing import to_float
from forwardforward.runs import Run

__all__ = ["frozen_heads", "largest_weights", "maps", "measure"]

#: Layers whose goodness or features classify, by the name of the result.
LAYERS = {"last_three": slice(-3, None), "but_first": slice(1, None), "all": slice(None)}

#: Number of training images of the heads on frozen features, their epochs and hidden units.
HEAD_IMAGES, HEAD_EPOCHS, HIDDEN = 10_000, 20, 512

#: Number of test images whose maps are stored.
MAPS = 4


def measure(run: Run, model: Network) -> Content:
    """Return the further figures of Table 3 and the figures."""
    if not isinstance(model, ff.FFSequential):
        return {}
    result: Content = {
        **accuracies(model, run.splits().test),
        "largest_weight": largest_weights(model),
    }
    if isinstance(model[-1], ff.FFLinear):
        result |= {"weights": some_of_the_weights(model), "probe_accuracy": probe_accuracies(run, model)}
    return result


@torch.no_grad()
def accuracies(model: ff.FFSequential, test: ff.TensorData) -> dict[str, float]:
    """Return the accuracies in percent by the summed goodness of several layers."""
    correct = dict.fromkeys(LAYERS, 0)
    for images, labels in test.to(model.device).batches(1000):
        assert labels is not None
        goodness = model.layer_goodness(images)
        for name, layers in LAYERS.items():
            correct[name] += int((goodness[:, layers].sum(1).argmax(1) == labels).sum())
    return {f"{name}_accuracy": 100 * count / len(test) for name, count in correct.items()}


def largest_weights(model: ff.FFSequential) -> list[float]:
    """Return the largest absolute weight of each layer's block, without biases."""
    return [
        round(max(float(p.detach().abs().max()) for p in layer.block.parameters() if p.dim() > 1), 4) for layer in model
    ]


def some_of_the_weights(model: ff.FFSequential) -> list[list[float]]:
    """Return a corner of the last layer's weights (figure 10)."""
    weight = model[-1].block.weight
    assert isinstance(weight, nn.Parameter)
    return [[round(value, 3) for value in row] for row in weight[:64, :64].tolist()]


def probe_accuracies(run: Run, model: Network) -> list[float]:
    """Return the accuracies of classifiers with one hidden layer on each layer's frozen features (figure 8)."""
    errors = ff.diagnostics.probe(
        model,
        run.training_data(),
        run.splits().test,
        epochs=run.epochs_done,
        hidden=run.config.widths[0],
        seed=run.config.seed,
    )
    return [round(100 - error, 2) for error in errors]


def frozen_heads(run: Run, model: Network) -> Content:
    """Return the accuracies of heads on the frozen last three layers (appendix H).

    Each head reads features under the neutral label, or under a random label per image, and has no or one hidden layer.
    """
    assert isinstance(model, ff.FFSequential)
    train, test = run.training_data()[:HEAD_IMAGES], run.splits().test
    result: Content = {}
    for label in ("neutral", "random"):
        generator = torch.Generator().manual_seed(run.config.seed)
        (x, y), (x_test, y_test) = (_features(model, data, label, generator) for data in (train, test))
        for hidden in (0, HIDDEN):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(run.config.seed)
                head = _trained_head(x, y, hidden)
            correct = int((head(x_test).argmax(1) == y_test).sum())
            result[f"frozen_{label}_{'hidden' if hidden else 'linear'}"] = round(100 * correct / len(y_test), 2)
    return result


@torch.no_grad()
def _features(
    model: ff.FFSequential, data: ff.TensorData, label: str, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the pooled and normalized activations of the last three layers, and the classes."""
    pool, normalization = SpatialPool(2), RMSNorm()
    rows: list[Tensor] = []
    with eval_mode(model):
        for images, labels in data.batches(500):
            assert labels is not None
            given = None if label == "neutral" else torch.randint(data.num_classes, labels.shape, generator=generator)
            activations = model.activations(images.to(model.device), given)
            last = [activations[layer] for layer in sorted(activations)[-3:]]
            parts = [normalization(pool(h) if h.dim() == 4 else h).float().cpu() for h in last]
            rows.append(torch.cat(parts, dim=1))
    assert data.targets is not None
    return torch.cat(rows), data.targets.cpu()


@torch.enable_grad()
def _trained_head(x: Tensor, y: Tensor, hidden: int) -> nn.Module:
    """Return a classifier trained by cross-entropy on frozen features."""
    sizes = [x.shape[1], *([hidden] if hidden else []), int(y.max()) + 1]
    layers: list[nn.Module] = [nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
    head = nn.Sequential(layers[0], nn.ReLU(), layers[1]) if hidden else layers[0]
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(HEAD_EPOCHS):
        for batch in torch.randperm(len(x)).split(200):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(x[batch]), y[batch]).backward()
            optimizer.step()
    return head


def maps(run: Run, model: Network) -> Content:
    """Return Grad-CAM maps of every layer for the true label and one wrong label of some test images (section 7)."""
    assert isinstance(model, ff.FFSequential)
    test = run.splits().test[:MAPS]
    assert test.targets is not None
    images = test.inputs.to(model.device)
    entries: dict[str, Any] = {"labels": test.targets.tolist(), "images": _digits(to_float(images).cpu())}
    for name, labels in (("true", test.targets), ("wrong", (test.targets + 1) % test.num_classes)):
        found = ff.diagnostics.grad_cam(model, images, labels)
        entries[name] = [_digits(found[layer].cpu()) for layer in sorted(found)]
    return {"maps": entries}


def _digits(values: Tensor) -> Any:
    """Return nested lists of values with three digits."""
    if values.dim():
        return [_digits(value) for value in values]
    return float(f"{float(values):.3g}")
