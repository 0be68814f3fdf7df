"""The base of the label encoders, and what a label may be."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_num_classes, check_positive
from forwardforward.batches import LabelledInput


class LabelEncoder(nn.Module):
    r"""Base of the label encoders: class :math:`k` is row :math:`k` of a code book.

    The neutral label, which tells nothing, is the mean of the codes: for a one-hot code of K entries, 1/K of
    the label's strength in each.

    Args:
        num_classes: Number of classes ``K``.
        scale: Strength of the label; one pixel at full intensity is 1.
        codebook: One code per class, ``(K, code, ...)``, kept in the state and learned if it is a parameter; one-hot
            codes unless given.

    Raises:
        ValueError: If ``num_classes`` is below 2 or ``scale`` is not positive.
    """

    codebook: Tensor

    def __init__(self, num_classes: int, scale: float = 1.0, codebook: Tensor | None = None) -> None:
        super().__init__()
        self.num_classes = check_num_classes(num_classes)
        self.scale = check_positive("scale", scale)
        if isinstance(codebook, nn.Parameter):
            self.codebook = codebook
        else:
            given = codebook is not None
            self.register_buffer("codebook", codebook if given else torch.eye(num_classes) * scale, persistent=given)

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Make room for the code.

        Args:
            images: ``(batch, ...)``.

        Returns:
            The images as rows with zeros where the code goes, the code's columns, and the joined input's
            width.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, labels: Tensor) -> LabelledInput:
        """Return images with labels.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices, ``(batch,)``, or ``(copies, batch)`` for several labels an image.
        """
        if labels.shape[-1] != len(images):
            raise ValueError(f"labels must be one per image, got {labels.shape[-1]} labels for {len(images)} images")
        check_labels(labels, self.num_classes)
        return self._labelled(images, self.codebook, labels.long().reshape(-1, len(images)))

    def candidates(self, images: Tensor, classes: Tensor | None = None) -> LabelledInput:
        """Return each image with every label of ``classes``, all of them unless given."""
        if classes is None:
            classes = torch.arange(self.num_classes, device=images.device)
        return self._labelled(images, self.codebook, classes[:, None])

    def neutral(self, images: Tensor) -> LabelledInput:
        """Return each image with the neutral label."""
        only = torch.zeros(1, 1, dtype=torch.long, device=images.device)
        return self._labelled(images, self.codebook.mean(0, keepdim=True), only)

    def _labelled(self, images: Tensor, codebook: Tensor, index: Tensor) -> LabelledInput:
        rows, columns, features = self.place(images)
        return LabelledInput(rows, codebook.to(rows.dtype), index, columns, features)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}" + ("" if self.scale == 1 else f", scale={self.scale}")


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Refuse labels that are not class indices below ``num_classes``.

    Raises:
        TypeError: If they are not of an integer type.
        ValueError: If one is out of range.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be of an integer type, got {labels.dtype}")
    if not labels.numel():
        return
    least, most = torch.stack(labels.aminmax()).tolist()  # one wait for the device, not two
    if least < 0 or most >= num_classes:
        raise ValueError(f"labels must lie in 0..{num_classes - 1} for {num_classes} classes, got {least}..{most}")
