"""Negatives: from a batch of images and labels to positive and negative samples.

A sampler is called as ``sampler(images, labels, label_encoder, scores, generator)`` and returns a
:class:`~forwardforward.batches.Batch` with negatives. It derives from :class:`Negatives`, which declares what it needs.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from forwardforward._utils.arguments import NonNegativeInt, PositiveFloat, checked
from forwardforward._utils.numerics import accumulator
from forwardforward.batches import Batch
from forwardforward.label_encoders import LabelEncoder
from forwardforward.specs import Plugin

__all__ = ["HardGoodness", "HardLabel", "HybridMask", "LabelNegatives", "Negatives", "RandomLabel", "SelfContrast"]


class Negatives(Plugin):
    """Base of the samplers.

    Attributes:
        scores: Scores of the images that the sampler needs, computed before any layer is updated: None, ``"head"``
            (logits of the one-pass head) or ``"goodness"`` (the goodness of every label).
        needs_labels: Whether it needs labels and a label encoder.

    Raises:
        TypeError: When a subclass is defined, if one of the two has another value.

    Example:
        >>> class Noise(Negatives):
        ...     needs_labels = False
        ...
        ...     def __call__(self, images, labels, label_encoder, scores, generator):
        ...         noise = torch.rand(images.shape, generator=generator)
        ...         return Batch(torch.cat([images, noise]), labels, has_negatives=True)
        >>> Noise()(torch.ones(2, 3), None, None, None, None).inputs.shape
        torch.Size([4, 3])
    """

    scores: ClassVar[str | None] = None
    needs_labels: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        """Check the declarations of a subclass."""
        super().__init_subclass__()
        if cls.scores not in (None, "head", "goodness"):
            raise TypeError(f"scores must be None, 'head' or 'goodness' in {cls.__name__}, got {cls.scores!r}")
        if not isinstance(cls.needs_labels, bool):
            raise TypeError(f"needs_labels must be True or False in {cls.__name__}, got {cls.needs_labels!r}")

    @abstractmethod
    def __call__(
        self,
        images: Tensor,
        labels: Tensor | None,
        label_encoder: LabelEncoder | None,
        scores: Tensor | None,
        generator: torch.Generator | None,
    ) -> Batch:
        """Return positive and negative samples.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices, ``(batch,)``; None if there are none.
            label_encoder: Joins labels to images; None for a network without labels in its input.
            scores: Of the kind that the attribute ``scores`` names, ``(batch, classes)``.
            generator: Source of randomness, on the images' device.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the constructor call."""
        arguments = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({arguments})"


class LabelNegatives(Negatives, Plugin):
    """Base of the samplers that combine each image with a wrong label; a subclass implements :meth:`wrong_labels`.

    Example:
        >>> class NextLabel(LabelNegatives):
        ...     def wrong_labels(self, labels, num_classes, scores, generator):
        ...         return (labels + 1) % num_classes
        >>> NextLabel().wrong_labels(torch.tensor([0, 2]), 3, None, None)
        tensor([1, 0])
    """

    @abstractmethod
    def wrong_labels(
        self, labels: Tensor, num_classes: int, scores: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Return a wrong label for each of ``labels``, of the same shape."""
        raise NotImplementedError

    def __call__(
        self,
        images: Tensor,
        labels: Tensor | None,
        label_encoder: LabelEncoder | None,
        scores: Tensor | None,
        generator: torch.Generator | None,
    ) -> Batch:
        """Return each image with its label and with a wrong one."""
        if label_encoder is None or labels is None:
            missing = "labels" if labels is None else "label_encoder"
            raise ValueError(f"{missing} must be given for {self!r}, which combines images with labels, got None")
        wrong = self.wrong_labels(labels, label_encoder.num_classes, scores, generator)
        return Batch(label_encoder.join(images, torch.stack([labels, wrong])), labels, has_negatives=True)


class RandomLabel(LabelNegatives):
    """A wrong label, uniform over the others; never the true one.

    Example:
        >>> bool((RandomLabel().wrong_labels(torch.zeros(99).long(), 5, None, None) > 0).all())
        True
    """

    def wrong_labels(
        self, labels: Tensor, num_classes: int, scores: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Return ``labels`` plus a uniform step of 1 to ``num_classes - 1``, modulo the number of classes."""
        step = torch.randint(1, num_classes, labels.shape, generator=generator, device=labels.device)
        return (labels + step) % num_classes


class HardLabel(LabelNegatives):
    """A wrong label drawn from the one-pass head's class probabilities without the true label.

    Source: Hinton (2022), arXiv 2212.13345.

    Example:
        >>> scores = torch.tensor([[9.0, 8.0, -9.0]]).expand(50, 3)
        >>> HardLabel().wrong_labels(torch.zeros(50).long(), 3, scores, None).unique().tolist()
        [1]
    """

    scores = "head"

    def wrong_labels(
        self, labels: Tensor, num_classes: int, scores: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Draw from the softmax of ``scores``, which are log-probabilities or logits."""
        if scores is None:
            raise ValueError("scores must be given to HardLabel, got None")
        return _draw_wrong(scores, labels, generator)


@checked
class HardGoodness(LabelNegatives):
    r"""A wrong label drawn by its goodness, :math:`P(k) \propto \exp(g_k / T)`, without the true label.

    Args:
        temperature: :math:`T`, in units of the standard deviation of an image's goodness over the labels; the
            larger, the closer to uniform.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Source: the program dah33/explore_forward_forward, which draws by goodness.

    Example:
        >>> HardGoodness(temperature=0.01).wrong_labels(torch.tensor([0]), 3, torch.tensor([[9.0, 8.0, -9.0]]), None)
        tensor([1])
    """

    scores = "goodness"

    def __init__(self, temperature: PositiveFloat = 1.0) -> None:
        self.temperature = temperature

    def wrong_labels(
        self, labels: Tensor, num_classes: int, scores: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Draw from the softmax of the standardized goodness ``scores``."""
        if scores is None:
            raise ValueError("scores must be given to HardGoodness, got None")
        scores = scores.to(accumulator(scores))  # half precision has no 1e-12
        spread = scores.std(1, keepdim=True).clamp(min=1e-12)
        return _draw_wrong((scores - scores.mean(1, keepdim=True)) / (spread * self.temperature), labels, generator)


def _draw_wrong(logits: Tensor, labels: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw by the Gumbel-max rule, which is exact where multinomial would meet a row of zeros."""
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device).clamp(min=1e-20)
    true = labels.long()[:, None]
    wrong = logits.float().scatter(1, true, float("-inf"))
    # Classes of probability zero are drawn only if all wrong ones are, then uniformly; the true class never.
    relative = (wrong - wrong.amax(1, keepdim=True)).nan_to_num(nan=0.0, neginf=-1e4)
    keys = (relative - (-uniform.log()).clamp(min=1e-20).log()).scatter(1, true, float("-inf"))
    return keys.argmax(1)


class SelfContrast(Negatives):
    r"""Pairs of images without labels: an image with itself is positive, with another one negative.

    :math:`x^+ = (x_i + x_i) / 2 = x_i` and :math:`x^- = (x_i + x_j) / 2` with :math:`j \ne i` from the batch. For a
    linear first layer this equals the pair of images side by side with shared weights. The paper adds without halving,
    which is equivalent to twice the weights; halved, a positive sample is the image itself, as in prediction.

    Raises:
        ValueError: When called, if the batch has one image only.

    Source: Chen et al., Self-Contrastive Forward-Forward (Nature Communications 16, 2025).

    Example:
        >>> SelfContrast()(torch.tensor([[0.0], [2.0]]), None, None, None, None).inputs.flatten().tolist()
        [0.0, 2.0, 1.0, 1.0]
    """

    needs_labels = False

    def __call__(
        self,
        images: Tensor,
        labels: Tensor | None,
        label_encoder: LabelEncoder | None,
        scores: Tensor | None,
        generator: torch.Generator | None,
    ) -> Batch:
        """Return each image with itself, and with another image of the batch."""
        if len(images) < 2:
            raise ValueError("images must be at least two per batch for SelfContrast, got 1")
        return Batch(torch.cat([images, (images + images[_others(images, generator)]) / 2]), labels, has_negatives=True)


def _others(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return another image's index for each image of a batch: one cycle through the batch, so none meets itself."""
    order = torch.randperm(len(images), generator=generator, device=images.device)
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other


@checked
class HybridMask(Negatives):
    r"""Hybrid images without labels: half of one image, half of another, in large patches.

    A random bit image, blurred ``blurs`` times with [1/4, 1/2, 1/4] in both directions and cut at 1/2, is the
    mask :math:`m`; the negative sample is :math:`m \odot a + (1 - m) \odot b` for two different images. The
    positive sample is :math:`a` itself. Hybrids share short-range correlations with real images, so a layer
    must learn long-range ones.

    Args:
        blurs: Number of blurs of the mask; more blurs give larger patches.

    Raises:
        ValueError: If ``blurs`` is negative or, when called, if the batch has one image only or the images are
            neither maps nor square.

    Source: Hinton (2022), arXiv 2212.13345.

    Example:
        >>> HybridMask()(torch.rand(2, 1, 28, 28), None, None, None, None).inputs.shape
        torch.Size([4, 1, 28, 28])
    """

    needs_labels = False

    def __init__(self, blurs: NonNegativeInt = 10) -> None:
        self.blurs = blurs

    def __call__(
        self,
        images: Tensor,
        labels: Tensor | None,
        label_encoder: LabelEncoder | None,
        scores: Tensor | None,
        generator: torch.Generator | None,
    ) -> Batch:
        """Return each image and a hybrid of it with another image of the batch."""
        batch = len(images)
        if batch < 2:
            raise ValueError("images must be at least two per batch for HybridMask, got 1")
        height, width = self._size(images)
        mask = self.masks(batch, height, width, images, generator)
        mask = mask.view(batch, *[1] * (images.dim() - 3), height, width) if images.dim() > 2 else mask.flatten(1)
        hybrid = torch.where(mask, images, images[_others(images, generator)])
        return Batch(torch.cat([images, hybrid]), labels, has_negatives=True)

    def masks(self, count: int, height: int, width: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return ``count`` random masks, ``(count, height, width)``, of type bool."""
        bits = torch.rand(count, height, width, generator=generator, device=like.device).round()
        blurred: Tensor = self._blur(height, like) @ bits @ self._blur(width, like).T
        return blurred > 0.5

    def _blur(self, size: int, like: Tensor) -> Tensor:
        blur = torch.eye(size, device=like.device) / 2
        blur += torch.diag(torch.full((size - 1,), 0.25, device=like.device), 1)
        blur += torch.diag(torch.full((size - 1,), 0.25, device=like.device), -1)
        blur /= blur.sum(1, keepdim=True)
        power: Tensor = torch.linalg.matrix_power(blur, self.blurs)
        return power

    @staticmethod
    def _size(images: Tensor) -> tuple[int, int]:
        if images.dim() >= 3:
            return images.shape[-2], images.shape[-1]
        side = round(images.shape[1] ** 0.5)
        if side * side != images.shape[1]:
            raise ValueError(
                f"images must be (batch, channels, height, width) or square for HybridMask, got {tuple(images.shape)}"
            )
        return side, side
