"""Forward-Forward networks in PyTorch: each layer is trained with its own objective."""

__version__ = "0.1.0"

import importlib
from typing import TYPE_CHECKING, Any

from forwardforward import (
    batches,
    classifiers,
    data,
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
    replicas,
    saving,
    sequential,
    specs,
    step,
    targets,
    training,
    update_schedules,
    views,
)
from forwardforward.batches import Batch
from forwardforward.data import TensorData
from forwardforward.layers import FFConv2d, FFLayer, FFLinear
from forwardforward.optimizers import LocalOptimizer
from forwardforward.replicas import Replicas, replicate
from forwardforward.sequential import FFSequential
from forwardforward.training import evaluate, fit

if TYPE_CHECKING:
    from forwardforward import (
        baselines,
        diagnostics,
        distributed,
        export,
        lightning,
        recipes,
        runs,
        sklearn,
        stages,
        zoo,
    )
    from forwardforward.runs import load
    from forwardforward.stages import from_module
    from forwardforward.zoo import pretrained

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
    "distributed",
    "evaluate",
    "export",
    "fit",
    "from_module",
    "goodness",
    "heads",
    "label_encoders",
    "layers",
    "lightning",
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
    "pretrained",
    "recipes",
    "replicas",
    "replicate",
    "runs",
    "saving",
    "sequential",
    "sklearn",
    "specs",
    "stages",
    "step",
    "targets",
    "training",
    "update_schedules",
    "views",
    "zoo",
]

#: The modules of names that are imported when they are first used, which halves the time of the import.
_MODULES = (
    "baselines", "diagnostics", "distributed", "export", "lightning", "recipes", "runs", "sklearn", "stages", "zoo",
)  # fmt: skip
_LAZY = {
    **{name: name for name in _MODULES},
    "load": "runs",
    "from_module": "stages",
    "pretrained": "zoo",
}


def __getattr__(name: str) -> Any:
    """Import a module, or the module of a function, when its name is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
    value = module if name == _LAZY[name] else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of the module, those that are not yet imported too."""
    return sorted({*globals(), *__all__})
