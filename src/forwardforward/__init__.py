"""Forward-Forward networks in PyTorch: each layer is trained with its own objective."""

__version__ = "0.1.0"

from forwardforward import (
    baselines,
    batches,
    classifiers,
    data,
    diagnostics,
    goodness,
    heads,
    label_encoders,
    layers,
    losses,
    lr_schedules,
    negatives,
    network,
    normalization,
    objectives,
    optimizers,
    pooling,
    preprocessing,
    recipes,
    replicas,
    runs,
    sequential,
    specs,
    step,
    training,
    update_schedules,
)
from forwardforward.batches import Batch
from forwardforward.data import TensorData
from forwardforward.layers import FFConv2d, FFLayer, FFLinear
from forwardforward.optimizers import LocalOptimizer
from forwardforward.replicas import Replicas, replicate
from forwardforward.runs import load
from forwardforward.sequential import FFSequential
from forwardforward.training import evaluate, fit

__all__ = [
    "Batch",
    "FFConv2d",
    "FFLayer",
    "FFLinear",
    "FFSequential",
    "LocalOptimizer",
    "Replicas",
    "TensorData",
    "baselines",
    "batches",
    "classifiers",
    "data",
    "diagnostics",
    "evaluate",
    "fit",
    "goodness",
    "heads",
    "label_encoders",
    "layers",
    "load",
    "losses",
    "lr_schedules",
    "negatives",
    "network",
    "normalization",
    "objectives",
    "optimizers",
    "pooling",
    "preprocessing",
    "recipes",
    "replicas",
    "replicate",
    "runs",
    "sequential",
    "specs",
    "step",
    "training",
    "update_schedules",
]
