"""Accuracy of a trained network on corrupted images, and detection of images from another data set.

Corruptions apply to images with values in [0, 1], before the label is added. They are drawn from a seed, so every
network receives the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward.data import Cutout, TensorData
from forwardforward.network import Network

__all__ = ["CORRUPTIONS", "accuracies", "area", "areas", "blurred", "noisy", "occluded", "rotated"]

Corruption = Callable[[Tensor, float, torch.Generator], Tensor]


def noisy(images: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    """Return images with Gaussian noise of standard deviation ``sd``, clamped to [0, 1]."""
    return (images + sd * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def occluded(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return images with a black square around a random pixel, whose side is a ``share`` of the image's."""
    return Cutout(max(1, round(share * images.shape[-1])))(images, generator)


def blurred(images: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    """Return images after a Gaussian filter of standard deviation ``sd`` in pixels, cut off at three; black outside."""
    reach = math.ceil(3 * sd)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sd) ** 2)
    row = (weights / weights.sum()).view(1, 1, 1, -1).expand(images.shape[1], 1, 1, -1)
    across = F.conv2d(images, row, padding=(0, reach), groups=images.shape[1])
    return F.conv2d(across, row.transpose(2, 3), padding=(reach, 0), groups=images.shape[1])


def rotated(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Return images rotated about their center, in a random direction each; interpolated bilinearly, black outside."""
    sign = 2 * torch.randint(2, (len(images),), generator=generator) - 1
    angle = math.radians(degrees) * sign
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(len(images))
    turn = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


#: Corruptions and their strengths, by name.
CORRUPTIONS: Mapping[str, tuple[Corruption, tuple[float, ...]]] = {
    "noise": (noisy, (0.1, 0.25, 0.5)),
    "occlusion": (occluded, (0.25, 0.5)),
    "blur": (blurred, (1.0, 2.0)),
    "rotation": (rotated, (15.0, 30.0, 45.0)),
}


@torch.no_grad()
def accuracies(model: Network, data: TensorData, seed: int = 0) -> dict[str, float]:
    """Return a model's accuracy in percent on the original images, ``"none"``, and under each corruption.

    Args:
        model: The model.
        data: Labeled images ``(samples, channels, height, width)`` in [0, 1].
        seed: Random seed of the corruptions.
    """
    result = {"none": _accuracy(model, data, lambda images, strength, generator: images, 0, seed)}
    for name, (corruption, strengths) in CORRUPTIONS.items():
        for strength in strengths:
            result[f"{name} {strength:g}"] = _accuracy(model, data, corruption, strength, seed)
    return result


def _accuracy(model: Network, data: TensorData, corruption: Corruption, strength: float, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    correct = 0
    for images, labels in data.batches(1000):
        assert labels is not None
        corrupted = corruption(images, strength, generator).to(model.device)
        correct += int((model.predict(corrupted).cpu() == labels).sum())
    return round(100 * correct / len(data), 4)


@torch.no_grad()
def areas(model: Network, inside: TensorData, outside: TensorData) -> dict[str, float]:
    """Return how well two measures distinguish images of the model's data set from others, as areas (see `area`).

    ``probability`` is the largest softmax probability of the scores, ``score`` the largest score itself: the goodness
    under the best label, or the largest logit.

    Args:
        model: The model.
        inside: Images of the data set that the model was trained on.
        outside: Images of another data set.
    """
    measures = []
    for data in (inside, outside):
        scores = torch.cat([model.scores(images.to(model.device)).cpu().double() for images, _ in data.batches(1000)])
        largest, best = scores.max(1, keepdim=True)
        others = scores.scatter(1, best, -math.inf).logsumexp(1, keepdim=True)
        # The logit of the probability has the same order, and does not saturate at 1.
        measures.append((largest - others, largest))
    probability, score = (area(a.flatten(), b.flatten()) for a, b in zip(*measures, strict=True))
    return {"probability": probability, "score": score}


def area(inside: Tensor, outside: Tensor) -> float:
    """Return the area under the ROC curve: how often a value inside is above one outside, ties counted half."""
    ordered = outside.sort().values
    below = torch.searchsorted(ordered, inside, right=False) + torch.searchsorted(ordered, inside, right=True)
    return round(float(below.double().mean()) / (2 * len(outside)), 4)
