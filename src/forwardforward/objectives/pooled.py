"""An objective on pooled activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from forwardforward._utils.arguments import checked
from forwardforward.batches import Batch
from forwardforward.objectives.base import LocalLoss, Objective
from forwardforward.specs import LayerSpec, setup_plugin


@checked
class PooledObjective(Objective):
    """An objective on activations that are pooled once, for all its terms.

    The terms of a sum that each pool the same maps read them, and write the gradients, once per term.

    Args:
        objective: The objective, such as a sum, on the pooled rows.
        pool: Module from maps or sequences to rows, such as ``SpatialPool(2)``.

    Example:
        >>> import torch, forwardforward as ff
        >>> classes = ff.objectives.ClassObjective(ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy())
        >>> contrast = ff.objectives.BatchObjective(ff.losses.SupervisedContrastive(), ff.objectives.Embedding(4))
        >>> objective = PooledObjective(classes + contrast, ff.pooling.SpatialPool(2))
        >>> maps = torch.rand(6, 8, 4, 4)
        >>> sorted(objective(maps, ff.Batch(maps, torch.arange(6) % 3)).parts)
        ['CrossEntropy', 'SupervisedContrastive']
    """

    def __init__(self, objective: Objective, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.objective = objective
        self.pool = pool
        self.uses_negatives = objective.uses_negatives

    @property
    def num_classes(self) -> int | None:  # type: ignore[override]
        """Number of classes of the objective."""
        return self.objective.num_classes

    @property
    def has_goodness(self) -> bool:
        """Whether the objective has a goodness."""
        return self.objective.has_goodness

    @property
    def term_name(self) -> str:
        """Name of the objective's loss."""
        return self.objective.term_name

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the objective's local loss."""
        local: LocalLoss = self.objective(self.pool(activations), batch)
        return local

    def goodness_of(self, activations: Tensor) -> Tensor | None:
        """Return the objective's goodness."""
        return self.objective.goodness_of(self.pool(activations))

    def check_goodness(self, goodness: Tensor) -> None:
        """Check the objective's goodness."""
        self.objective.check_goodness(goodness)

    def setup(self, spec: LayerSpec) -> None:
        """Set up the objective for the pooled activations."""
        setup_plugin(self.objective, replace(spec, shape=tuple(self.pool(spec.zeros()).shape[1:])))

    def try_on(self, activations: Tensor, batch: Batch) -> None:
        """Try the objective on the pooled activations."""
        self.objective.try_on(self.pool(activations), batch)

    def for_prediction(self) -> PooledObjective:
        """Return the part of the objective that classifies, on the same pooled activations."""
        return PooledObjective(self.objective.for_prediction(), self.pool)
