"""Where the graph of a forward pass can be divided: after operations whose output is all that the later ones read."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, fx, nn

from forwardforward.stages.tracing import Tracer

__all__ = ["Segment", "part", "readers", "segments"]

#: Names of the operators that change their first argument.
IN_PLACE = ("iadd", "isub", "imul", "itruediv")


class Segment(NamedTuple):
    """Operations between two places where a graph can be divided.

    Attributes:
        nodes: The operations, in order; the last one's output is the segment's.
    """

    nodes: tuple[fx.Node, ...]

    @property
    def end(self) -> fx.Node:
        """The operation whose output is the segment's."""
        return self.nodes[-1]


def _operations(graph: fx.Graph) -> list[fx.Node]:
    """Return the operations in order; parameters and buffers that they read can be read anywhere."""
    return [node for node in graph.nodes if node.op not in ("get_attr", "placeholder", "output")]


def readers(graph: fx.Graph, node: fx.Node) -> list[fx.Node]:
    """Return the operations before and at ``node``, and the input, whose outputs operations after it read."""
    order = {other: index for index, other in enumerate(graph.nodes)}
    before = [other for other in graph.nodes if order[other] <= order[node] and other.op != "get_attr"]
    return [other for other in before if any(order[user] > order[node] for user in other.users)]


def segments(graph: fx.Graph) -> list[Segment]:
    """Return the segments of a graph, in order."""
    result, nodes = [], []
    for node in _operations(graph):
        nodes.append(node)
        if readers(graph, node) == [node] and not _is_unpacked(node):
            result.append(Segment(tuple(nodes)))
            nodes = []
    outputs = next(node for node in graph.nodes if node.op == "output").all_input_nodes
    if any(node in outputs for node in nodes):  # several outputs; other operations, such as assertions, have none
        result.append(Segment(tuple(nodes)))
    return result


def _is_unpacked(node: fx.Node) -> bool:
    """Return whether a module's output is a tuple, from which the next operation takes an element."""
    return node.op == "call_module" and any(
        user.target is operator.getitem and isinstance(user.args[1], int) for user in node.users
    )


def part(root: nn.Module, segments: Sequence[Segment], name: str) -> nn.Module:
    """Return neighboring segments as a module, which shares its submodules and parameters with ``root``.

    Args:
        root: The module that was traced.
        segments: The segments, in order.
        name: Name of the module's class.
    """
    nodes = [node for segment in segments for node in segment.nodes]
    source = nodes[0].graph
    graph = fx.Graph(tracer_cls=Tracer)
    inner = set(nodes)
    start = graph.placeholder("x")
    copies: dict[fx.Node, fx.Node] = {}

    def copied(node: fx.Node) -> fx.Node:
        if node in copies:
            return copies[node]
        if node in inner or node.op == "get_attr":
            copies[node] = graph.node_copy(node, copied)
            return copies[node]
        return start  # the only output of earlier operations that these read

    for node in nodes:
        copied(node)
    output = next(node for node in source.nodes if node.op == "output")
    is_last = set(nodes[-1].users) <= {output}
    graph.output(fx.map_arg(output.args[0], copied) if is_last else copies[nodes[-1]])
    if any(_works_in_place(root, user) for user in start.users if user.args[:1] == (start,)):
        _clone(graph, start)  # the layer before still reads its output, and gradients may start here
    return fx.GraphModule(root, graph, class_name=name)


def _works_in_place(root: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.endswith("_") or name in IN_PLACE or bool(node.kwargs.get("inplace"))


def _clone(graph: fx.Graph, start: fx.Node) -> None:
    with graph.inserting_after(start):
        clone = graph.call_function(Tensor.clone, (start,))
    start.replace_all_uses_with(clone, delete_user_cb=lambda user: user is not clone)
