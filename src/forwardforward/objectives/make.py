"""From a goodness and a loss to an objective."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward.goodness import PerClassGoodness
from forwardforward.losses import BatchLoss, ClassLoss, PairLoss
from forwardforward.objectives.base import Objective, is_cross_entropy, loss_name
from forwardforward.objectives.batch import BatchObjective
from forwardforward.objectives.pairs import PairObjective
from forwardforward.objectives.per_class import ClassObjective


def make_objective(goodness: Callable[[Tensor], Tensor] | None, loss: object) -> Objective:
    """Return the objective of a goodness and a loss; the loss's base class states its kind.

    Args:
        goodness: Scalar or per-class goodness; None for a batch loss.
        loss: A pair, class or batch loss.

    Raises:
        TypeError: If the loss has none of the base classes.
        ValueError: If goodness and loss are of different kinds, or a goodness is missing or not used.
    """
    if isinstance(loss, BatchLoss):
        if goodness is not None:
            raise ValueError(
                f"goodness must be None for the loss {describe(loss)}, which compares embeddings, "
                f"got {describe(goodness)}"
            )
        return BatchObjective(loss)
    if not isinstance(loss, PairLoss | ClassLoss):
        name = loss_name(loss)
        kind = "ClassObjective" if isinstance(goodness, PerClassGoodness) or is_cross_entropy(loss) else "PairObjective"
        raise TypeError(
            f"loss must be a PairLoss, ClassLoss or BatchLoss, got {name}; state the kind of any other function by "
            f"objective=ff.objectives.{kind}(goodness, {name})"
        )
    if goodness is None:
        raise ValueError(f"goodness must be given with the loss {describe(loss)}, got None")
    return ClassObjective(goodness, loss) if isinstance(loss, ClassLoss) else PairObjective(goodness, loss)
