"""The arguments with which an object was constructed, read from its attributes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

#: Arguments of ``torch.nn``'s modules that are not attributes of the same name; ``bias`` is treated for all of them.
TORCH_ARGUMENTS: dict[type[nn.Module], dict[str, Callable[[Any], Any]]] = {
    nn.MultiheadAttention: {
        "bias": lambda module: module.in_proj_bias is not None,
        "add_bias_kv": lambda module: module.bias_k is not None,
    },
    nn.TransformerEncoderLayer: {
        "d_model": lambda module: module.self_attn.embed_dim,
        "nhead": lambda module: module.self_attn.num_heads,
        "dim_feedforward": lambda module: module.linear1.out_features,
        "dropout": lambda module: module.dropout.p,
        "activation": lambda module: module.activation,
        "layer_norm_eps": lambda module: module.norm1.eps,
        "batch_first": lambda module: module.self_attn.batch_first,
        "norm_first": lambda module: module.norm_first,
        "bias": lambda module: module.linear1.bias is not None,
    },
}

#: Arguments of recurrent modules, whose constructors have no named ones.
RECURRENT = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
EXTRA_RECURRENT = {nn.RNN: ("nonlinearity",), nn.LSTM: ("proj_size",), nn.GRU: ()}

#: Arguments that do not describe the module.
LEFT_OUT = {"self", "device", "dtype", "size_average", "reduce", "_weight", "_freeze", "min_value", "max_value"}


def arguments_of(value: Any) -> dict[str, Any]:
    """Return the arguments of an object's constructor by name, those of ``*args`` as a list.

    They are what ``get_config()`` returns, if the object's class, or the class whose constructor it inherits, defines
    that method; else the attributes with the arguments' names. A boolean argument whose attribute is a tensor, a module
    or None is whether it exists, such as ``bias``.

    Args:
        value: The object.

    Raises:
        ValueError: If an argument is no attribute, or a module has another form than its constructor gives it.
    """
    kind = type(value)
    if isinstance(value, fx.GraphModule):
        raise ValueError(
            "a module traced by ff.from_module has no constructor's arguments; save its weights by "
            "`torch.save((model.state_dict(), model.class_names), FILE)`, and load them into a network that the same "
            "call of ff.from_module, with input_shape=, makes of such a module: `weights, model.class_names = "
            "torch.load(FILE, weights_only=True)` and `model.load_state_dict(weights)`"
        )
    if parametrize.is_parametrized(value):
        raise ValueError(
            f"a parametrized {type(value).__bases__[0].__name__} has no constructor's arguments; of a copy by "
            "ff.export.quantize, save the network from before, and quantize it again when it is loaded"
        )
    if (get_config := _config_method(kind)) is not None:
        config: dict[str, Any] = get_config(value)
        return config
    if isinstance(value, nn.Identity):
        return {}
    if isinstance(value, nn.Sequential) and _constructor(kind) is _constructor(nn.Sequential):
        return {"args": list(value)}
    if kind in EXTRA_RECURRENT:
        return {name: getattr(value, name) for name in (*RECURRENT, *EXTRA_RECURRENT[kind])}
    if kind is nn.TransformerEncoderLayer:
        return {name: read(value) for name, read in TORCH_ARGUMENTS[kind].items()}
    arguments = {}
    for name, parameter in parameters_of(kind).items():
        if name in LEFT_OUT or parameter.kind is parameter.VAR_KEYWORD:
            continue
        special = TORCH_ARGUMENTS.get(kind, {}).get(name)
        if special is not None:
            arguments[name] = special(value)
        elif hasattr(value, name):
            arguments[name] = _existence(getattr(value, name), parameter)
        elif parameter.kind is not parameter.VAR_POSITIONAL and not kind.__module__.startswith("torch."):
            raise ValueError(
                f"{kind.__name__} must store its constructor's argument {name!r} as an attribute of that name, or "
                "return its arguments from a method get_config(), to be saved"
            )
    return arguments


def parameters_of(kind: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class's constructor."""
    if _constructor(kind) in (_constructor(object), _constructor(nn.Module)):
        new: Any = kind.__new__
        if new is not object.__new__:  # its arguments are not known, as those of functools.partial
            raise ValueError(
                f"an object of the class {kind.__name__} cannot be described by its constructor's arguments"
            )
        return {}
    return {name: p for name, p in inspect.signature(_constructor(kind)).parameters.items() if name != "self"}


def _constructor(kind: Any) -> Any:
    """Return a class's ``__init__`` without the check of its arguments."""
    return inspect.unwrap(kind.__init__)


def _config_method(kind: type) -> Callable[[Any], dict[str, Any]] | None:
    """Return the method ``get_config``, unless a subclass of the one that defines it has another constructor."""
    owner = next((base for base in kind.__mro__ if "get_config" in vars(base)), None)
    if owner is None or _constructor(kind) is not _constructor(owner):
        return None
    method: Callable[[Any], dict[str, Any]] = vars(owner)["get_config"]
    return method


def _existence(value: Any, parameter: inspect.Parameter) -> Any:
    if isinstance(value, Tensor | nn.Module) or value is None:
        is_bool = isinstance(parameter.default, bool) or parameter.annotation in (bool, "bool")
        return value is not None if is_bool else value
    return list(value) if parameter.kind is parameter.VAR_POSITIONAL else value
