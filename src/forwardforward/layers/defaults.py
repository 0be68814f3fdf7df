"""The plug-ins that a network provides for its layers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from forwardforward._utils.arguments import checked
from forwardforward.normalization import PeerNormalization
from forwardforward.objectives import Objective
from forwardforward.objectives.make import make_objective

__all__ = ["Defaults"]


@checked
@dataclass(frozen=True)
class Defaults:
    """The plug-ins that a network provides for layers without their own.

    Attributes:
        goodness: Scalar or per-class goodness.
        loss: Pair, class or batch loss.
        objective: A whole objective, in place of goodness and loss.
        normalization: Normalization of a layer's input.
        peer: Peer normalization.

    Example:
        >>> import forwardforward as ff
        >>> Defaults(goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa()).peer is None
        True
    """

    goodness: Callable[[Tensor], Tensor] | None = None
    loss: Callable[..., Tensor] | None = None
    objective: Objective | None = None
    normalization: Callable[[Tensor], Tensor] | None = None
    peer: PeerNormalization | None = None

    def objective_for(
        self, goodness: Callable[[Tensor], Tensor] | None, loss: Callable[..., Tensor] | None
    ) -> Objective:
        """Return the objective of a layer that has no goodness or no loss of its own.

        Args:
            goodness: The layer's goodness, or None.
            loss: The layer's loss, or None.

        Raises:
            ValueError: If neither the layer nor the network has a loss.
        """
        if goodness is None and loss is None and self.objective is not None:
            return copy.deepcopy(self.objective)
        loss = self.loss if loss is None else loss
        if loss is None:
            raise ValueError("a layer has no loss: pass loss= or objective= to the layer or to FFSequential")
        goodness = self.goodness if goodness is None else goodness
        return make_objective(copy.deepcopy(goodness), copy.deepcopy(loss))
