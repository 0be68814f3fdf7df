"""The names that a configuration may contain. No other name is looked up, so nothing else is imported or called."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from forwardforward._utils.annotations import describe

#: Modules of this library whose public classes may be part of a model.
MODULES = (
    *("baselines", "classifiers", "goodness", "heads", "label_encoders", "layers", "losses", "lr_schedules"),
    *("negatives", "normalization", "objectives", "pooling", "preprocessing", "sequential", "targets", "views"),
)

#: Modules of ``torch.nn`` whose constructor's arguments are attributes of the same names, apart from those in
#: :mod:`forwardforward.saving.arguments`.
TORCH_MODULES = (
    *("Identity", "Sequential", "Flatten", "Unflatten", "Linear", "Bilinear", "Embedding", "EmbeddingBag"),
    *("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "PixelShuffle"),
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Softplus", "Softsign"),
    *("Sigmoid", "LogSigmoid", "Tanh", "Tanhshrink", "Hardtanh", "Hardsigmoid", "Hardswish", "Softmax", "LogSoftmax"),
    *("Softmax2d", "GLU", "Threshold"),
    *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"),
    *("MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d"),
    *("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"),
    *("AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"),
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
    *("GroupNorm", "LayerNorm", "RMSNorm", "LocalResponseNorm"),
    *("ZeroPad2d", "ReflectionPad1d", "ReflectionPad2d", "ReplicationPad1d", "ReplicationPad2d", "CircularPad2d"),
    *("RNN", "LSTM", "GRU", "MultiheadAttention", "TransformerEncoderLayer", "CrossEntropyLoss", "NLLLoss"),
)

#: Functions of torch, by the names under which they are saved.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"torch.{name}": getattr(torch, name) for name in ("relu", "sigmoid", "tanh")},
    **{
        f"torch.nn.functional.{name}": getattr(F, name)
        for name in (
            *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "softsign"),
            *("hardtanh", "hardsigmoid", "hardswish", "logsigmoid", "tanhshrink", "cross_entropy", "nll_loss"),
        )
    },
}


@cache
def known_classes() -> dict[str, type]:
    """Return the classes of this library and of torch by their names in a configuration."""
    classes: dict[str, type] = {f"torch.nn.{name}": getattr(nn, name) for name in TORCH_MODULES}
    for module_name in MODULES:
        module = importlib.import_module(f"forwardforward.{module_name}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) and not inspect.isabstract(value):
                classes[f"{module_name}.{name}"] = value
    return classes


@cache
def _class_names() -> dict[type, str]:
    return {kind: name for name, kind in known_classes().items()}


def name_of_class(kind: type) -> str:
    """Return the name of a class in a configuration; of a user's class, its own name, which has no dot."""
    if kind.__module__ == "forwardforward.layers.feedback":  # made of a plain module by FeedbackAlignment
        kind = kind.__mro__[1]
    return _class_names().get(kind, kind.__name__)


def name_of_function(function: Callable[..., Any]) -> str:
    """Return the name of a function in a configuration; of a user's function, its own name.

    Raises:
        ValueError: If it has none by which it can be found again, as a lambda or a bound method.
    """
    if isinstance(function, types.MethodType):
        raise ValueError(f"a method is part of an object that is not saved, got {function.__qualname__}")
    for name, known in FUNCTIONS.items():
        if known is function:
            return name
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise ValueError(f"a function must have a name, got {name or describe(function)}")
    return name
