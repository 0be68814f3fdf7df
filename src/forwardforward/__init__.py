"""Forward-Forward networks in PyTorch: every layer learns from an objective of its own."""

__version__ = "0.1.0"

from forwardforward import (
    baselines,
    batches,
    classifiers,
    data,
    diagnostics,
    goodness,
    label_encoders,
    layers,
    losses,
    lr_schedules,
    negatives,
    normalization,
    objectives,
    optimizers,
    pooling,
    recipes,
    runs,
    sequential,
    training,
    update_schedules,
)
from forwardforward.batches import Batch
from forwardforward.data import TensorData
from forwardforward.layers import FFConv2d, FFLayer, FFLinear
from forwardforward.optimizers import LocalOptimizer
from forwardforward.sequential import FFSequential
from forwardforward.training import evaluate, fit

__all__ = [
    "Batch",
    "FFConv2d",
    "FFLayer",
    "FFLinear",
    "FFSequential",
    "LocalOptimizer",
    "TensorData",
    "baselines",
    "batches",
    "classifiers",
    "data",
    "diagnostics",
    "evaluate",
    "fit",
    "goodness",
    "label_encoders",
    "layers",
    "losses",
    "lr_schedules",
    "negatives",
    "normalization",
    "objectives",
    "optimizers",
    "pooling",
    "recipes",
    "runs",
    "sequential",
    "training",
    "update_schedules",
]
