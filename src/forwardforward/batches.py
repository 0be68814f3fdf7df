"""Inputs of layers and objectives: labeled inputs and batches.

A labeled input keeps images and label codes apart until the first layer joins them. The positive, negative and
candidate inputs of an image differ in the code only, so a linear first layer multiplies its weights with the image once
for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from forwardforward._utils.arguments import checked

__all__ = ["Batch", "LabeledInput"]


@dataclass(frozen=True)
class LabeledInput:
    """Images and the label codes that will be joined with them.

    An image may have several codes (a positive and a negative one, or one per candidate label). The joined input
    contains every image with its first code, then every image with its second code, and so on. Images are rows
    ``(batch, width)`` with codes of single features, or maps ``(batch, channels, height, width)`` with codes of whole
    channels.

    Attributes:
        images: ``(batch, width, ...)``, zero in the ``columns`` of the code.
        codebook: The different codes, ``(codes, code, ...)``.
        index: Index of each row's code, ``(copies, batch)``, or ``(copies, 1)`` if all images have the same.
        columns: Features (channels) of the joined input that contain the code, ``(code,)``.
        features: Number of features (channels) of the joined input.
        responses: Cache of a layer's response to the codes alone, for further images with the same codes; or None.

    Example:
        >>> import torch, forwardforward as ff
        >>> labeled = ff.label_encoders.Concatenation(2)(torch.ones(3, 4), torch.tensor([0, 1, 1]))
        >>> labeled.joined()[1].tolist()
        [1.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    """

    images: Tensor
    codebook: Tensor
    index: Tensor
    columns: Tensor
    features: int
    responses: dict[str, Any] | None = None

    def __len__(self) -> int:
        """Return the number of rows of the joined input, copies times batch size."""
        return self.index.shape[0] * self.images.shape[0]

    @property
    def codes(self) -> Tensor:
        """The code of every row, ``(copies, batch or 1, code, ...)``."""
        return self.codebook[self.index]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the joined input, ``(copies * batch, features, ...)``."""
        return (len(self), self.features, *self.images.shape[2:])

    @property
    def device(self) -> torch.device:
        """Device of the images."""
        return self.images.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the joined input."""
        return self.images.dtype

    def joined(self) -> Tensor:
        """Return the joined input, ``(copies * batch, features, ...)``."""
        copies, (batch, width, *rest) = self.index.shape[0], self.images.shape
        padded = F.pad(self.images, (0, 0) * len(rest) + (0, self.features - width))
        codes = self.codes.to(padded.dtype).expand(copies, batch, -1, *rest)
        # Copied, since torch 2.11 compiles index_copy of an expanded tensor to writes into memory that copies share.
        rows = padded.repeat(copies, *[1] * padded.dim())
        joined = rows.index_copy(2, self.columns, codes)
        return joined.flatten(0, 1)

    def replace_codebook(self, codebook: Tensor) -> LabeledInput:
        """Return the same input with other codes.

        Args:
            codebook: The codes, ``(codes, code, ...)``.
        """
        return replace(self, codebook=codebook)

    def part(self, images: slice | list[int]) -> LabeledInput:
        """Return some of the images with their codes.

        Args:
            images: The images.
        """
        index = self.index if self.index.shape[1] == 1 else self.index[:, images]
        return replace(self, images=self.images[images], index=index, responses=None)


# A pytree, so that torch.func transforms and torch.compile see its tensors.
pytree.register_pytree_node(
    LabeledInput,
    lambda x: ([x.images, x.codebook, x.index, x.columns], x.features),
    lambda tensors, features: LabeledInput(*tensors, features),  # type: ignore[call-arg]
    serialized_type_name="forwardforward.batches.LabeledInput",
)


@dataclass(frozen=True)
class Batch:
    """The input of one training step.

    Attributes:
        inputs: Plain rows ``(rows, ...)`` or a labeled input.
        targets: Targets ``(batch, ...)``, such as class indices ``(batch,)``; None if there are none.
        has_negatives: Whether the first half of the rows are positive samples and the second half their negatives, in
            the same order. Otherwise the rows are the images themselves, without labels.

    Example:
        >>> import torch
        >>> Batch(torch.rand(4, 3), torch.tensor([0, 1]), has_negatives=True).has_negatives
        True
    """

    inputs: Tensor | LabeledInput
    targets: Tensor | None = None
    has_negatives: bool = False

    @property
    def samples(self) -> int:
        """Number of samples: of a batch with negatives, half of the rows."""
        return len(self.inputs) // 2 if self.has_negatives else len(self.inputs)

    def part(self, samples: slice) -> Batch:
        """Return some of the samples, with their negatives.

        Args:
            samples: The samples.
        """
        targets = None if self.targets is None else self.targets[samples]
        if isinstance(self.inputs, LabeledInput):
            return Batch(self.inputs.part(samples), targets, self.has_negatives)
        halves = self.inputs.chunk(2) if self.has_negatives else (self.inputs,)
        return Batch(torch.cat([half[samples] for half in halves]), targets, self.has_negatives)

    def __post_init__(self) -> None:
        """Check the types, but not where torch.compile traces the step; the usual ones in a microsecond."""
        usual = type(self.inputs) in (Tensor, LabeledInput) and type(self.has_negatives) is bool
        usual = usual and (self.targets is None or type(self.targets) is Tensor)
        if not usual and not torch.compiler.is_compiling():
            _check_batch(self.inputs, self.targets, self.has_negatives)


@checked
def _check_batch(inputs: Tensor | LabeledInput, targets: Tensor | None, has_negatives: bool) -> None:
    """Check the arguments of a batch by their annotations."""
