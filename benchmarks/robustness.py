"""How a trained network bears corrupted images, and whether it knows images of another kind.

Corruptions are of images with values in [0, 1], drawn from a seed, so that every network sees the same ones. They act
on the image before a label joins it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward.data import Cutout, TensorData

__all__ = ["CORRUPTIONS", "accuracies", "area", "blurred", "noisy", "occluded", "rotated", "told_apart"]

Corruption = Callable[[Tensor, float, torch.Generator], Tensor]


def noisy(images: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    """Return images with Gaussian noise of this standard deviation, cut off at 0 and 1."""
    return (images + sd * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def occluded(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return images with a black square, whose side is this share of theirs, about a random pixel of each."""
    return Cutout(max(1, round(share * images.shape[-1])))(images, generator)


def blurred(images: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    """Return images under a Gaussian filter of this standard deviation in pixels, cut off at three; black outside."""
    reach = math.ceil(3 * sd)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sd) ** 2)
    row = (weights / weights.sum()).view(1, 1, 1, -1).expand(images.shape[1], 1, 1, -1)
    across = F.conv2d(images, row, padding=(0, reach), groups=images.shape[1])
    return F.conv2d(across, row.transpose(2, 3), padding=(reach, 0), groups=images.shape[1])


def rotated(images: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Return images turned about their centre by this angle, each to a random side; read bilinearly, black outside."""
    sign = 2 * torch.randint(2, (len(images),), generator=generator) - 1
    angle = math.radians(degrees) * sign
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(len(images))
    turn = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


#: By name: what is done, and how strongly; the words before a number in a table.
CORRUPTIONS: Mapping[str, tuple[Corruption, tuple[float, ...]]] = {
    "noise": (noisy, (0.1, 0.25, 0.5)),
    "occlusion": (occluded, (0.25, 0.5)),
    "blur": (blurred, (1.0, 2.0)),
    "rotation": (rotated, (15.0, 30.0, 45.0)),
}


@torch.no_grad()
def accuracies(model: Any, data: TensorData, seed: int = 0) -> dict[str, float]:
    """Return a model's accuracy in percent on the images as they are, ``"none"``, and under each corruption.

    Args:
        model: Anything with ``predict``.
        data: Labelled images ``(batch, channels, height, width)``, in [0, 1].
        seed: Of the corruptions.
    """
    found = {"none": _accuracy(model, data, lambda images, strength, generator: images, 0, seed)}
    for name, (corrupt, strengths) in CORRUPTIONS.items():
        for strength in strengths:
            found[f"{name} {strength:g}"] = _accuracy(model, data, corrupt, strength, seed)
    return found


def _accuracy(model: Any, data: TensorData, corrupt: Corruption, strength: float, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    device, right = next(model.parameters()).device, 0
    for images, labels in data.batches(1000):
        assert labels is not None
        seen = corrupt(images, strength, generator).to(device)
        right += int((model.predict(seen).cpu() == labels).sum())
    return round(100 * right / len(data), 4)


@torch.no_grad()
def told_apart(model: Any, inside: TensorData, outside: TensorData) -> dict[str, float]:
    """Return how well two figures of the scores tell images of the model's kind from others, as areas (see `area`).

    ``sureness`` is the largest softmax probability of the scores, ``strength`` the largest score itself: the goodness
    under the best label, or the largest logit.

    Args:
        model: Anything with ``scores``.
        inside: Images of the kind that the model was trained on.
        outside: Images of another kind.
    """
    device = next(model.parameters()).device
    figures = []
    for data in (inside, outside):
        scores = torch.cat([model.scores(images.to(device)).cpu().double() for images, _ in data.batches(1000)])
        top, best = scores.max(1, keepdim=True)
        others = scores.scatter(1, best, -math.inf).logsumexp(1, keepdim=True)
        figures.append((top - others, top))  # the probability's logit: in order with it, and never 1
    sureness, strength = (area(a.flatten(), b.flatten()) for a, b in zip(*figures, strict=True))
    return {"sureness": sureness, "strength": strength}


def area(inside: Tensor, outside: Tensor) -> float:
    """Return the area under the ROC curve: how often a value inside is above one outside, ties half."""
    ordered = outside.sort().values
    below = torch.searchsorted(ordered, inside, right=False) + torch.searchsorted(ordered, inside, right=True)
    return round(float(below.double().mean()) / (2 * len(outside)), 4)
