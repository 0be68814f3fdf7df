"""The operations of a module's forward pass as a graph, recorded by :mod:`torch.fx`."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Set
from typing import Any

from torch import fx, nn

from forwardforward._utils.plugins import one_line

__all__ = ["Tracer", "UntraceableError", "is_chain", "trace"]


class UntraceableError(ValueError):
    """A forward pass cannot be recorded as one graph."""


class Tracer(fx.Tracer):
    """Records calls of submodules; only opened submodules show their own operations.

    Args:
        opened: Names of the opened submodules.
    """

    def __init__(self, opened: Set[str] = frozenset()) -> None:
        super().__init__()
        self.opened = opened

    def trace(self, root: nn.Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """Return the operations of a module's forward pass, for both modes.

        Args:
            root: The module.
            concrete_args: Values of all arguments but the first.

        Raises:
            UntraceableError: If the operations depend on the mode.
        """
        assert isinstance(root, nn.Module)
        graphs = []
        for training in (False, True):
            with _mode(root, training):
                graphs.append(super().trace(root, concrete_args))
            for placeholder in [node for node in graphs[-1].nodes if node.op == "placeholder"][1:]:
                _erase(placeholder)
        return _with_mode(*graphs)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a submodule is recorded as one call."""
        return module_qualified_name not in self.opened

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record a call; torch's encoder of a transformer, which cannot be traced, is the chain of its layers."""
        if isinstance(m, nn.TransformerEncoder) and self.path_of_module(m) in self.opened:
            if len(args) != 1 or any(value is not None and value is not False for value in kwargs.values()):
                raise ValueError("nn.TransformerEncoder is called with a mask")
            return _encoder(m, args[0])
        return super().call_module(m, forward, args, kwargs)


def _encoder(encoder: nn.TransformerEncoder, x: Any) -> Any:
    for layer in encoder.layers:
        x = layer(x)
    return x if encoder.norm is None else encoder.norm(x)


def is_chain(module: nn.Module) -> bool:
    """Return whether a module calls its submodules one after the other."""
    if isinstance(module, nn.TransformerEncoder):
        return True
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and len(module) > 0


def trace(module: nn.Module, opened: Set[str] = frozenset()) -> fx.Graph:
    """Return the operations of a module's forward pass with one input; its other arguments have their defaults.

    What depends on ``self.training`` in the operations of the module itself, such as a functional dropout, follows the
    mode of the part that contains the operation.

    Args:
        module: The module.
        opened: Names of submodules whose operations are recorded, instead of their calls.

    Raises:
        UntraceableError: If the forward pass cannot be recorded.
    """
    parameters = list(inspect.signature(module.forward).parameters.values())
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    others = [parameter for parameter in parameters[1:] if parameter.kind not in variable]
    if not parameters or any(parameter.default is parameter.empty for parameter in others):
        raise UntraceableError(f"forward must take one input, got {', '.join(p.name for p in parameters) or 'none'}")
    defaults = {parameter.name: parameter.default for parameter in others}
    try:
        return Tracer(opened).trace(module, concrete_args=defaults or None)
    except UntraceableError:
        raise
    except Exception as error:  # of the user's forward, which may fail in any way on torch.fx's proxies
        raise UntraceableError(f"{type(error).__name__}: {one_line(error)}") from error


@contextlib.contextmanager
def _mode(module: nn.Module, training: bool) -> Iterator[None]:
    changed = [part for part in module.modules() if part.training != training]
    for part in changed:
        part.__dict__["training"] = training
    try:
        yield
    finally:
        for part in changed:
            part.__dict__["training"] = not training


def _erase(node: fx.Node) -> None:
    """Erase an argument and the assertions that torch.fx adds to check that it has its default."""
    for user in list(node.users):
        _erase(user)
    node.graph.erase_node(node)


def _with_mode(evaluation: fx.Graph, training: fx.Graph) -> fx.Graph:
    """Return one graph for both modes, in which arguments that differ are ``self.training``.

    Raises:
        UntraceableError: If the operations differ.
    """
    pairs = list(zip(evaluation.nodes, training.nodes, strict=False))
    same = len(evaluation.nodes) == len(training.nodes)
    if not same or any((a.op, a.target) != (b.op, b.target) for a, b in pairs):
        raise UntraceableError("its operations depend on the training mode")
    for node, other in pairs:
        mode: fx.Node | None = None

        def unify(a: Any, b: Any, node: fx.Node = node) -> Any:
            nonlocal mode
            if isinstance(a, tuple | list):
                return type(a)([unify(*pair) for pair in zip(a, b, strict=True)])
            if isinstance(a, dict):
                return {key: unify(value, b[key]) for key, value in a.items()}
            if (a, b) != (False, True) or not (isinstance(a, bool) and isinstance(b, bool)):
                return a
            if mode is None:
                with node.graph.inserting_before(node):
                    mode = node.graph.create_node("get_attr", "training")
            return mode

        node.args, node.kwargs = unify(tuple(node.args), tuple(other.args)), unify(dict(node.kwargs), other.kwargs)
    return evaluation
