"""Layers that look up vectors in a table, such as words of a vocabulary; index 0 is padding and has no effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NumEmbeddings, PositiveFloat, PositiveInt, Probability, checked
from forwardforward._utils.memory import check_memory
from forwardforward.batches import LabeledInput
from forwardforward.layers.block import block_of
from forwardforward.layers.layer import FFLayer
from forwardforward.layers.weighted_bag import WeightedBag
from forwardforward.normalization import Identity

__all__ = ["FFEmbedding", "FFEmbeddingBag"]


class IndexLayer(FFLayer):
    """A layer whose input consists of indices, some of which are left out in training."""

    def __init__(self, block: nn.Module, num_embeddings: int, dropout: float, **plugins: Any) -> None:
        self.num_embeddings = num_embeddings
        self.dropout = dropout
        plugins.setdefault("normalization", Identity())  # indices must not be normalized
        super().__init__(block, **plugins)

    def extra_repr(self) -> str:
        """Return the share of indices that are left out, and the order if it is not the usual one."""
        return ", ".join(filter(None, (f"dropout={self.dropout}", super().extra_repr())))

    def check_input(self, x: Tensor | LabeledInput) -> Tensor | LabeledInput:
        """Check the type, leave indices out in training, and return rows of indices.

        Args:
            x: Indices, ``(rows, ...)``.

        Raises:
            TypeError: If the input has the wrong kind.
        """
        if isinstance(x, LabeledInput) or x.is_floating_point():
            raise TypeError("inputs of an embedding layer must be whole numbers without labels, got another input")
        x = x.flatten(1)
        return self.drop(x) if self.training and self.dropout else x

    def drop(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return rows of indices in which a random share is replaced by padding.

        Args:
            indices: ``(rows, ...)``.
            generator: Source of randomness; default: the global one.
        """
        left_out = torch.rand(indices.shape, device=indices.device, generator=generator) < self.dropout
        return indices.masked_fill(left_out, 0)


@checked
class FFEmbeddingBag(IndexLayer):
    r"""The mean of a bag's learned vectors, with a local objective.

    .. math:: h = \mathrm{ReLU}\Bigl(\operatorname*{mean}_{e \ne 0} v_e\Bigr)

    over the bag's indices that are not padding; a bag of padding only becomes zero. With a weighting, each vector is
    multiplied by a fixed weight of its index,

    .. math:: w_e = \max_k \log p_{ke} - \min_k \log p_{ke}

    where :math:`p_{ke}` is the share of index :math:`e` among all indices of class :math:`k`, counted from 1: what says
    nothing about the class has the weight 0. :func:`~forwardforward.fit` counts the training data once, without a
    gradient.

    Args:
        num_embeddings: Number of vectors, with the padding's.
        features: Size of the vectors, which are initialized as :math:`N(0, init\_std^2)`.
        dropout: Share of the indices that each training step leaves out, in [0, 1).
        init_std: Standard deviation of the initial vectors.
        activation: Default: ReLU.
        weighting: ``"log-count-ratio"`` for fixed weights of the indices; default: none.
        **plugins: Those of :class:`FFLayer`; default: no normalization.

    Raises:
        ValueError: If a number is out of range.
        TypeError: On forward, if the input is floating or labeled.

    Source: the first layer of Joulin et al., Bag of tricks for efficient text classification (2016), arXiv 1607.01759;
    the weights are the log-count ratios of Wang and Manning, Baselines and Bigrams (ACL 2012).

    Example:
        >>> FFEmbeddingBag(100, 8)(torch.tensor([[5, 7, 0]])).shape
        torch.Size([1, 8])
    """

    def __init__(
        self,
        num_embeddings: NumEmbeddings,
        features: PositiveInt,
        dropout: Probability = 0.0,
        init_std: PositiveFloat = 1.0,
        activation: Callable[[Tensor], Tensor] | None = None,
        weighting: Literal["log-count-ratio"] | None = None,
        **plugins: Any,
    ) -> None:
        check_memory("num_embeddings and features", num_embeddings, features)
        self.weighting = weighting
        block = (
            nn.EmbeddingBag(num_embeddings, features, mode="mean", padding_idx=0)
            if weighting is None
            else WeightedBag(num_embeddings, features)
        )
        with torch.no_grad():
            block.weight.mul_(init_std)
        super().__init__(
            block, num_embeddings, dropout, activation=nn.ReLU() if activation is None else activation, **plugins
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, without those of the initial weights."""
        features = block_of(self, nn.EmbeddingBag).embedding_dim
        sizes = {"num_embeddings": self.num_embeddings, "features": features, "dropout": self.dropout}
        return {**sizes, "activation": self.activation, "weighting": self.weighting, **self._plugins()}

    @property
    def needs_fit(self) -> bool:  # type: ignore[override]
        """Whether the weights of the indices have not been fitted yet."""
        return isinstance(self.block, WeightedBag) and not bool(self.block.fitted)

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit the weights of the indices, as :func:`~forwardforward.fit` does before the first step.

        Args:
            batches: Indices, ``(batch, ...)``, and the probabilities of their classes, ``(batch, classes)``.
        """
        block_of(self, WeightedBag).fit(batches)


@checked
class FFEmbedding(IndexLayer):
    """One learned vector per word, ``(rows, features, words)``, with a local objective.

    Args:
        num_embeddings: Number of vectors, with the padding's.
        features: Size of the vectors, which are initialized as N(0, init_std²); the padding's stays zero.
        dropout: Share of the words that each training step leaves out, in [0, 1).
        init_std: Standard deviation of the initial vectors.
        **plugins: Those of :class:`FFLayer`; default: neither activation nor normalization.

    Raises:
        ValueError: If a number is out of range.
        TypeError: On forward, if the input is floating or labeled.

    Example:
        >>> FFEmbedding(100, 8)(torch.tensor([[5, 7, 0]])).shape
        torch.Size([1, 8, 3])
    """

    def __init__(
        self,
        num_embeddings: NumEmbeddings,
        features: PositiveInt,
        dropout: Probability = 0.0,
        init_std: PositiveFloat = 1.0,
        **plugins: Any,
    ) -> None:
        check_memory("num_embeddings and features", num_embeddings, features)
        embedding = nn.Embedding(num_embeddings, features, padding_idx=0)
        with torch.no_grad():
            embedding.weight.mul_(init_std)
        super().__init__(nn.Sequential(embedding, _ChannelsFirst()), num_embeddings, dropout, **plugins)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, without those of the initial weights."""
        features = block_of(self, nn.Sequential)[0].embedding_dim
        sizes = {"num_embeddings": self.num_embeddings, "features": features, "dropout": self.dropout}
        return {**sizes, "activation": self.activation, **self._plugins()}


class _ChannelsFirst(nn.Module):
    """From ``(rows, words, features)`` to ``(rows, features, words)``, the input of one-dimensional convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)
