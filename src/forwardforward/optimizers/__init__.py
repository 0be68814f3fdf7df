"""Optimizers: one for each layer, Hinton's own, and factors on the learning rate over a training."""

from forwardforward.optimizers.factors import Cooldown, Cosine, Ramp, Steps
from forwardforward.optimizers.local import LocalOptimizer
from forwardforward.optimizers.smoothed_sgd import SmoothedSGD

__all__ = ["Cooldown", "Cosine", "LocalOptimizer", "Ramp", "SmoothedSGD", "Steps"]
