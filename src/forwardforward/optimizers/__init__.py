"""Optimizers: one for each layer, and Hinton's own."""

from forwardforward.optimizers.local import HasParameterGroups, LocalOptimizer
from forwardforward.optimizers.smoothed_sgd import SmoothedSGD

__all__ = ["HasParameterGroups", "LocalOptimizer", "SmoothedSGD"]
