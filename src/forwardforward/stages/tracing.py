"""The operations of a module's forward pass as a graph, recorded by :mod:`torch.fx`."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Set
from typing import Any

import torch
from torch import Tensor, fx, nn

from forwardforward._utils.plugins import one_line

__all__ = ["Tracer", "UntraceableError", "is_chain", "trace", "unchanged_attributes"]


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
        graph = _with_mode(root, *graphs)
        _hide_proxies(graph)
        return graph

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a submodule is recorded as one call."""
        return module_qualified_name not in self.opened

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record a call; torch's encoder of a transformer, which cannot be traced, is the chain of its layers."""
        if not _is_encoder(m) or self.path_of_module(m) not in self.opened:
            return super().call_module(m, forward, args, kwargs)
        if len(args) != 1 or any(value is not None and value is not False for value in kwargs.values()):
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)  # with a mask: one layer
        return _Encoder.forward(m, *args)


class _Encoder(nn.Module):
    """The chain of an encoder's layers, without the branches on values and masks of its own forward pass."""

    def forward(self: Any, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x if self.norm is None else self.norm(x)


def _is_encoder(module: nn.Module) -> bool:
    """Return whether a module is torch's encoder, and no subclass with a forward pass of its own."""
    return isinstance(module, nn.TransformerEncoder) and type(module).forward is nn.TransformerEncoder.forward


def is_chain(module: nn.Module) -> bool:
    """Return whether a module calls its submodules one after the other."""
    if _is_encoder(module):
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
    if _is_encoder(module):
        chain = _Encoder.__new__(_Encoder)
        chain.__dict__ = module.__dict__  # one module of two classes
        module = chain
    parameters = list(inspect.signature(module.forward).parameters.values())
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    others = [parameter for parameter in parameters[1:] if parameter.kind not in variable]
    first_is_variable = bool(parameters) and parameters[0].kind in variable
    if not parameters or first_is_variable or any(parameter.default is parameter.empty for parameter in others):
        raise UntraceableError(f"forward must take one input, got {', '.join(p.name for p in parameters) or 'none'}")
    defaults = {parameter.name: parameter.default for parameter in others}
    try:
        return Tracer(opened).trace(module, concrete_args=defaults or None)
    except UntraceableError:
        raise
    except Exception as error:  # of the user's forward, which may fail in any way on torch.fx's proxies
        raise UntraceableError(f"{type(error).__name__}: {one_line(error)}") from error


@contextlib.contextmanager
def unchanged_attributes(module: nn.Module) -> Iterator[None]:
    """Context manager that removes the attributes in which torch.fx stores tensors that a forward pass makes.

    Args:
        module: The module that is traced; its submodules are included.
    """
    before = {part: set(vars(part)) for part in module.modules()}
    try:
        yield
    finally:
        for part, names in before.items():
            for name in set(vars(part)) - names:
                delattr(part, name)


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


def _hide_proxies(graph: fx.Graph) -> None:
    """Take torch.fx's names of values, such as ``Proxy(getitem_2)``, out of the messages of a module's assertions."""
    for node in graph.nodes:
        if node.target is torch._assert and isinstance(node.args[1], str):
            node.args = (node.args[0], re.sub(r"Proxy\(\w+\)", "another value", node.args[1]))


def _with_mode(root: nn.Module, evaluation: fx.Graph, training: fx.Graph) -> fx.Graph:
    """Return one graph for both modes, in which arguments that differ are ``self.training``.

    Raises:
        UntraceableError: If the operations differ.
    """
    twins = dict(zip(evaluation.nodes, training.nodes, strict=False))
    same_length = len(evaluation.nodes) == len(training.nodes)
    if not same_length or not all(_is_same(root, *pair) for pair in twins.items()):
        raise UntraceableError("its operations depend on the training mode")
    for node, other in twins.items():
        modes: list[fx.Node] = []  # the operation that reads the mode, if an argument depends on it

        def unify(a: Any, b: Any, node: fx.Node = node, modes: list[fx.Node] = modes) -> Any:
            if isinstance(a, tuple | list):
                return type(a)([unify(*pair) for pair in zip(a, b, strict=True)])
            if isinstance(a, dict):
                return {key: unify(value, b[key]) for key, value in a.items()}
            if isinstance(a, slice):
                return slice(unify(a.start, b.start), unify(a.stop, b.stop), unify(a.step, b.step))
            if a is False and b is True:
                if not modes:
                    with node.graph.inserting_before(node):
                        modes.append(node.graph.create_node("get_attr", "training"))
                return modes[0]
            same = twins.get(a) is b if isinstance(a, fx.Node) else a is b or a == b
            if not same:
                raise UntraceableError("its operations depend on the training mode")
            return a

        node.args, node.kwargs = unify(tuple(node.args), tuple(other.args)), unify(dict(node.kwargs), other.kwargs)
    return evaluation


def _is_same(root: nn.Module, a: fx.Node, b: fx.Node) -> bool:
    """Return whether operations of two traces are the same; a tensor that forward makes has another name in each."""
    if a.op == b.op == "get_attr" and a.target != b.target:
        first, second = (getattr(root, str(node.target), None) for node in (a, b))
        return isinstance(first, Tensor) and isinstance(second, Tensor) and torch.equal(first, second)
    return (a.op, a.target) == (b.op, b.target)
