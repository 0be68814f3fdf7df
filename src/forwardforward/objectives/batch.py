"""Batch objectives: a loss over the embeddings of a whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeFloat, PositiveInt, checked
from forwardforward._utils.modes import eval_mode
from forwardforward._utils.numerics import accumulator
from forwardforward.batches import Batch
from forwardforward.losses import BatchLoss, ClassLoss, PairLoss
from forwardforward.objectives.base import LocalLoss, Objective, check_loss, kind_of, loss_name, tried
from forwardforward.specs import LayerSpec, setup_plugin
from forwardforward.targets import ClassIndices, TargetKind


@checked
class Embedding(nn.Module):
    """A learned linear map of a layer's pooled, batch-normalized activations, for a batch loss.

    It prevents a batch loss from shaping the activations themselves, which a goodness may use at the same time.

    Args:
        dimensions: Number of values per embedding.
        pool: Module from maps or sequences to rows; default: flatten.
        normalize: ``"input"`` normalizes the pooled activations, ``"output"`` the embeddings, of a linear map without
            bias.

    Raises:
        ValueError: If ``dimensions`` is not positive, or the number of activations per sample changes.

    Source: the contrastive head of HCL-FF (2026), arXiv 2605.24797.

    Example:
        >>> import torch
        >>> Embedding(4)(torch.rand(3, 8)).shape
        torch.Size([3, 4])
    """

    normalization: nn.BatchNorm1d | None
    linear: nn.Linear | None

    def __init__(
        self,
        dimensions: PositiveInt = 128,
        pool: Callable[[Tensor], Tensor] | None = None,
        normalize: Literal["input", "output"] = "input",
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.normalize = normalize
        self.pool = nn.Flatten() if pool is None else pool
        self.normalization = None
        self.linear = None

    def setup(self, spec: LayerSpec) -> None:
        """Create normalization and map.

        Args:
            spec: Shape of the activations.
        """
        features = self.pool(spec.zeros()).shape[1]
        if self.linear is None or self.linear.in_features != features:
            before = self.normalize == "input"
            self.normalization = nn.BatchNorm1d(features if before else self.dimensions)
            self.linear = nn.Linear(features, self.dimensions, bias=before)
            self.train(self.training)

    def forward(self, activations: Tensor) -> Tensor:
        """Return embeddings ``(batch, dimensions)``."""
        if self.linear is None:  # used alone
            self.setup(LayerSpec.of(activations))
            self.to(activations.device, accumulator(activations))
        assert self.linear is not None
        assert self.normalization is not None
        rows = self.pool(activations)
        if self.training and len(rows) < 2:
            raise ValueError("images must be at least two per batch for an embedding, which normalizes over it, got 1")
        if rows.shape[1] != self.linear.in_features:
            raise ValueError(
                f"activations must have {self.linear.in_features} values per sample for the embedding, "
                f"got {rows.shape[1]}; pool=SpatialPool(2) accepts maps of any size"
            )
        if self.normalize == "output":
            dtype = self.linear.weight.dtype  # also that of the normalization's parameters
            normalized: Tensor = self.normalization(self.linear(rows.to(dtype)).to(dtype))
            return normalized.to(accumulator(rows))
        # Torch normalizes columns of (1, features, batch) several times as fast as those of (batch, features).
        columns = rows.to(self.linear.weight.dtype).T.contiguous()
        embeddings: Tensor = self.linear(self.normalization(columns[None])[0].T)
        return embeddings.to(columns.dtype)  # of products in the precision of autocast

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.dimensions}" + ("" if self.normalize == "input" else f", normalize={self.normalize!r}")


@checked
class BatchObjective(Objective):
    """A loss over the embeddings of a whole batch.

    Args:
        loss: A :class:`~forwardforward.losses.BatchLoss`, or any callable ``loss(embeddings, targets)``.
        embedding: Activations to embeddings, such as :class:`Embedding`; default: flatten.
        weight: Factor on the loss, for a sum of objectives.
        target_kind: The targets that the loss accepts; default: those that a ``BatchLoss`` declares, of a plain
            function class indices.

    Raises:
        TypeError: If a part is not callable with these arguments.
        ValueError: If a part has the wrong kind, or ``weight`` is negative.

    Example:
        >>> import torch
        >>> from forwardforward.losses import SupervisedContrastive
        >>> objective = BatchObjective(SupervisedContrastive())
        >>> objective(torch.eye(2), Batch(torch.eye(2), torch.tensor([0, 1]))).loss
        tensor(0.)
    """

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], Tensor],
        embedding: Callable[[Tensor], Tensor] | None = None,
        weight: NonNegativeFloat = 1.0,
        target_kind: TargetKind | None = None,
    ) -> None:
        super().__init__()
        if isinstance(loss, Objective | PairLoss | ClassLoss):
            raise ValueError(f"loss must compare embeddings for a batch objective, got {describe(loss)}")
        self.loss = loss
        self.embedding = nn.Flatten() if embedding is None else embedding
        self.weight = weight
        self.target_kind = kind_of(loss) if target_kind is None else target_kind

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the loss over the embeddings of ``batch``."""
        if batch.targets is None:
            raise ValueError("targets must be given for a batch objective, got None")
        return LocalLoss(self.weight * self.loss(self.embedding(activations), batch.targets))

    @property
    def term_name(self) -> str:
        """Name of the loss."""
        return loss_name(self.loss)

    def setup(self, spec: LayerSpec) -> None:
        """Set up embedding and loss."""
        setup_plugin(self.embedding, spec, "embedding")
        with eval_mode(self):  # the embedding may normalize over the batch
            rows = self.embedding(spec.zeros())
        if rows.dim() != 2 or len(rows) != 1:
            raise ValueError(
                f"embedding must return rows of shape (batch, dimensions), got {tuple(rows.shape)} for one row"
            )
        setup_plugin(self.loss, spec, "loss")
        if not isinstance(self.loss, BatchLoss) and isinstance(self.target_kind, ClassIndices):
            # of labels or values, the number per sample is not known here
            targets = self.target_kind.example(rows)
            check_loss(self.loss, "(embeddings, targets) -> loss", rows.repeat(2, 1), targets)

    def try_on(self, activations: Tensor, batch: Batch) -> None:
        """Try embedding and loss, then the objective."""
        embeddings = tried("embedding", self.embedding, "activations -> embeddings", activations)
        if batch.targets is not None:
            tried("loss", self.loss, "(embeddings, targets) -> loss", embeddings, batch.targets)
        super().try_on(activations, batch)

    def extra_repr(self) -> str:
        """Return the factor on the loss."""
        return f"weight={self.weight}"
