"""Forward-Forward networks in PyTorch: every layer learns from an objective of its own."""

from forwardforward import (
    batches,
    classifiers,
    goodness,
    labels,
    layers,
    losses,
    negatives,
    normalization,
    objectives,
    optimizers,
    schedules,
    sequential,
)
from forwardforward.batches import Batch
from forwardforward.layers import FFLayer, FFLinear
from forwardforward.optimizers import LocalOptimizer
from forwardforward.sequential import FFSequential

__version__ = "0.1.0"
