"""The segments of a module that form one layer each: found from the modules, or named."""

from __future__ import annotations

import difflib
import operator
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from torch import fx, nn

from forwardforward.stages.chain import Segment, readers, segments
from forwardforward.stages.tracing import UntraceableError, is_chain, trace

__all__ = ["Split", "find_stages", "listed_submodules", "named_stages"]

#: Segments of one layer.
Stage = list[Segment]

#: Most names in a message.
MOST_NAMES = 40

#: Names of functions and methods that activate.
ACTIVATIONS = {
    "celu", "elu", "gelu", "hardswish", "hardtanh", "leaky_relu", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "softplus", "tanh", "celu_", "elu_", "hardtanh_", "leaky_relu_", "relu_", "selu_", "sigmoid_", "tanh_",
}  # fmt: skip

#: Names of functions that belong to the layer before them, and modules of torch by the last part of their file.
TRAILING = {*ACTIVATIONS, "dropout", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "batch_norm", "layer_norm"}
TRAILING_MODULES = {"activation", "batchnorm", "dropout", "instancenorm", "normalization", "pooling"}

#: torch's own modules of several operations.
TORCH_BLOCKS = (
    *(nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.TransformerDecoder, nn.TransformerDecoderLayer),
    nn.RNNBase,
)


class Split(NamedTuple):
    """A module divided into layers.

    Attributes:
        stages: The segments of every layer, in order.
        rest: The segments after the last layer, such as the module's classifier.
    """

    stages: list[Stage]
    rest: Stage


# Named by the user


def named_stages(module: nn.Module, names: Sequence[str]) -> Split:
    """Return layers that end at the outputs of named submodules.

    Args:
        module: The module.
        names: Full names of submodules, as in ``module.named_modules()``.

    Raises:
        ValueError: If a name is unknown, or the module cannot be divided there.
    """
    if not names:
        raise ValueError("stages must contain at least one name, got none; there are " + listed_submodules(module))
    known = [name for name, _ in module.named_modules() if name]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise ValueError(
                f"stages must be names of submodules, got {name!r}{hint}; there are {listed_submodules(module)}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"stages must contain each name once, got {list(names)}")
    opened = {".".join(name.split(".")[:length]) for name in names for length in range(name.count(".") + 1)}
    nested = [name for name in names if name in opened]
    if nested:
        raise ValueError(f"stages must not be parts of each other, got {nested[0]!r} and a submodule of it")
    graph = trace(module, opened)
    chain = segments(graph)
    places: dict[object, int] = {}
    for index, segment in enumerate(chain):
        places.setdefault(_call(segment).target, index)
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for name in names:
        if calls[name] != 1:
            raise ValueError(
                f"stages must be called once in the forward pass, but {name!r} is called {calls[name]} times"
            )
        if name not in places:
            [node] = [node for node in graph.nodes if node.op == "call_module" and node.target == name]
            others = [f"the output of {other.target}" for other in readers(graph, node) if other is not node]
            also = ", ".join(others) or "several parts of it"
            raise ValueError(f"the module cannot be divided after {name!r}, since later operations also read {also}")
    ends = sorted(places[name] + 1 for name in names)
    starts = [0, *ends[:-1]]
    return Split([chain[start:end] for start, end in zip(starts, ends, strict=True)], chain[ends[-1] :])


def _call(segment: Segment) -> fx.Node:
    """Return the operation at a segment's end; of an element that is taken from a tuple, the one that returned it."""
    source = segment.end.args[0] if segment.end.target is operator.getitem else segment.end
    return source if isinstance(source, fx.Node) else segment.end


def listed_submodules(module: nn.Module) -> str:
    """Return the names of a module's submodules for a message, those of the highest levels if there are many."""
    names = [name for name, _ in module.named_modules() if name]
    level = max((n for n in range(8) if sum(name.count(".") <= n for name in names) <= MOST_NAMES), default=0)
    shown = [name for name in names if name.count(".") <= level][:MOST_NAMES]
    return (", ".join(shown) or "none") + (", ..." if len(shown) < len(names) else "")


# Found from the modules


def find_stages(module: nn.Module) -> Split:
    """Return one layer per block, or per module with weights and its activation, in a module that is a chain of them.

    Args:
        module: The module.

    Raises:
        ValueError: If no layers are found.
    """
    split = _grouped(module, segments(_open(module)))
    if not split.stages:
        raise ValueError(
            f"stages were not found in {type(module).__name__}, which is no chain of blocks or of modules with weights "
            f"and activations: pass stages=, names of submodules after which it can be divided, of "
            f"{listed_submodules(module)}"
        )
    return split


def _open(module: nn.Module) -> fx.Graph:
    """Return the graph with the operations of the submodules that are chains of layers themselves."""
    opened = {""}
    while True:
        graph = trace(module, opened)
        new = {name for name in _calls(graph) if name not in opened and _contains_layers(module.get_submodule(name))}
        if not new:
            return graph
        opened |= new


def _calls(graph: fx.Graph) -> list[str]:
    """Return the names of the submodules after whose calls the graph can be divided."""
    ends = [node for segment in segments(graph) for node in segment.nodes[-2:]]
    return [str(node.target) for node in ends if node.op == "call_module"]


def _contains_layers(module: nn.Module) -> bool:
    """Return whether a module is a chain of submodules, or of blocks that are not torch's own."""
    if is_chain(module):
        return True
    if _is_torch(module):
        return False
    try:
        graph = _open(module)
    except UntraceableError:  # so it is one layer
        return False
    return sum(_is_block(module.get_submodule(name)) for name in _calls(graph)) > 1


def _is_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _is_block(module: nn.Module) -> bool:
    """Return whether a module has weights and, unless it is one of torch's own, presumably activations."""
    return (not _is_torch(module) or isinstance(module, TORCH_BLOCKS)) and _is_weighted(module)


def _is_weighted(module: nn.Module) -> bool:
    """Return whether a module has weights, and not only the scale and shift of a normalization."""
    return any(isinstance(p, nn.UninitializedParameter) or p.dim() > 1 for p in module.parameters())


def _grouped(module: nn.Module, chain: Sequence[Segment]) -> Split:
    """Return layers that each have weights and an activation; a linear embedding belongs to the layer after it."""
    stages: list[Stage] = []
    current: Stage = []
    pending: Stage = []  # without weights: of this layer or of the next
    for segment in chain:
        if not _has_weights(module, segment):
            pending.append(segment)
            continue
        ours, others = _divided(module, pending)
        if _is_complete(module, [*current, *ours]):
            stages.append([*current, *ours])
            current = others
        else:
            current += pending
        current.append(segment)
        pending = []
    ours, others = _divided(module, pending)
    if _is_complete(module, [*current, *ours]):
        return Split([*stages, [*current, *ours]], others)
    return Split(stages, [*current, *pending])


def _is_complete(module: nn.Module, stage: Stage) -> bool:
    return any(_has_weights(module, segment) for segment in stage) and any(
        _activates(module, node) for segment in stage for node in segment.nodes
    )


def _divided(module: nn.Module, pending: Stage) -> tuple[Stage, Stage]:
    """Return the segments that belong to the layer before them, such as activations and pools, and the others."""
    for index, segment in enumerate(pending):
        if not all(_is_trailing(module, node) for node in segment.nodes):
            return pending[:index], pending[index:]
    return pending, []


def _has_weights(module: nn.Module, segment: Segment) -> bool:
    """Return whether a module or a parameter of a segment is a weight."""
    for node in segment.nodes:
        if node.op == "call_module" and _is_weighted(module.get_submodule(str(node.target))):
            return True
        for source in node.all_input_nodes:
            value = _attribute(module, str(source.target)) if source.op == "get_attr" else None
            if isinstance(value, nn.Parameter) and value.dim() > 1:
                return True
    return False


def _attribute(module: nn.Module, name: str) -> object:
    *path, last = name.split(".")
    return getattr(module.get_submodule(".".join(path)), last, None)


def _activates(module: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        part = module.get_submodule(str(node.target))
        if _is_torch(part):
            return _file(part) == "activation" or _is_block(part)
        return _is_block(part) or not any(True for _ in part.parameters())  # such as a user's own activation
    return _name(node) in ACTIVATIONS


def _is_trailing(module: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        part = module.get_submodule(str(node.target))
        if _is_torch(part):
            return _file(part) in TRAILING_MODULES and "Adaptive" not in type(part).__name__
        return not _is_weighted(part)
    return _name(node) in TRAILING


def _file(module: nn.Module) -> str:
    """Return the file of torch's own module, an empty string for others."""
    return type(module).__module__.rpartition(".")[2] if _is_torch(module) else ""


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
