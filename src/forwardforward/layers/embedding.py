"""Layers that look entries up, such as words in a vocabulary; entry 0 is padding, which counts for nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_whole
from forwardforward.batches import LabelledInput
from forwardforward.layers.layer import FFLayer
from forwardforward.normalization import Identity

__all__ = ["FFEmbedding", "FFEmbeddingBag"]


class _LooksUp(FFLayer):
    """A layer whose input is numbers of entries, of which some are left out in training."""

    reads_entries = True

    def __init__(self, block: nn.Module, entries: int, features: int, drop: float, **plugins: Any) -> None:
        plugins.setdefault("normalization", Identity())  # numbers of entries are not to be normalized
        super().__init__(block, features=features, **plugins)
        self.entries = entries
        self.drop = drop

    def extra_repr(self) -> str:
        """Return the share of entries that is left out, and the order where it is not the usual one."""
        return ", ".join(filter(None, (f"drop={self.drop}", super().extra_repr())))

    def pre_activations(self, x: Tensor | LabelledInput) -> Tensor:
        """Return what the activation is applied to, of numbers of entries ``(rows, numbers)``.

        Raises:
            TypeError: If the input is of another kind.
            ValueError: If a number is of no entry.
        """
        if isinstance(x, LabelledInput) or x.is_floating_point():
            raise TypeError("a layer that looks entries up must read whole numbers, which no label has joined")
        lowest, highest = torch.stack(x.aminmax()).tolist()  # at once: a GPU is waited for
        if lowest < 0 or highest >= self.entries:
            raise ValueError(
                f"images must hold numbers of the layer's entries, 0..{self.entries - 1}, got {lowest}..{highest}"
            )
        x = x.flatten(1)
        if self.training and self.drop:
            x = x.masked_fill(torch.rand(x.shape, device=x.device) < self.drop, 0)
        return super().pre_activations(x)


def _check(entries: int, features: int, drop: float) -> None:
    check_whole("entries", entries, 2)
    check_whole("features", features, 1)
    if not 0 <= drop < 1:
        raise ValueError(f"drop must be in [0, 1), got {drop}")


class FFEmbeddingBag(_LooksUp):
    r"""The mean of a bag's learned vectors, with a local objective.

    .. math:: h = \mathrm{ReLU}\Bigl(\operatorname*{mean}_{e \ne 0} v_e\Bigr)

    over the bag's entries that are not padding; a bag of padding alone becomes zero.

    Args:
        entries: Number of entries, padding among them.
        features: Size of the vectors, which start as :math:`N(0, std^2)`.
        drop: Share of the entries that each training step leaves out, in [0, 1).
        std: See ``features``.
        activation: A ReLU unless given.
        **plugins: Those of :class:`FFLayer`; there is no normalization unless one is given.

    Raises:
        ValueError: If a number is out of range.
        TypeError: On forward, if the input is floating or labelled.

    Source: the first layer of Joulin et al., Bag of tricks for efficient text classification (2016), arXiv 1607.01759.
    """

    def __init__(
        self,
        entries: int,
        features: int,
        drop: float = 0.0,
        std: float = 1.0,
        activation: nn.Module | None = None,
        **plugins: Any,
    ) -> None:
        _check(entries, features, drop)
        block = nn.EmbeddingBag(entries, features, mode="mean", padding_idx=0)
        with torch.no_grad():
            block.weight.mul_(std)
        super().__init__(
            block, entries, features, drop, activation=nn.ReLU() if activation is None else activation, **plugins
        )
        self.space = 0


class FFEmbedding(_LooksUp):
    """A learned vector per word, ``(rows, features, words)``, with a local objective.

    Args:
        entries: Number of entries, padding among them.
        features: Size of the vectors, which start as N(0, std²); padding's is zero and stays so.
        drop: Share of the words that each training step leaves out, in [0, 1).
        std: See ``features``.
        **plugins: Those of :class:`FFLayer`; there is neither activation nor normalization unless one is given.

    Raises:
        ValueError: If a number is out of range.
        TypeError: On forward, if the input is floating or labelled.
    """

    def __init__(self, entries: int, features: int, drop: float = 0.0, std: float = 1.0, **plugins: Any) -> None:
        _check(entries, features, drop)
        embedding = nn.Embedding(entries, features, padding_idx=0)
        with torch.no_grad():
            embedding.weight.mul_(std)
        super().__init__(nn.Sequential(embedding, _Channels()), entries, features, drop, **plugins)
        self.space = 1


class _Channels(nn.Module):
    """From ``(rows, words, features)`` to ``(rows, features, words)``, as one-dimensional convolutions read it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)
