"""Comparison of networks that are to be trained together, and what their training cannot contain."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

from torch import fx, nn

from forwardforward.classifiers import WithHead
from forwardforward.layers.embedding import IndexLayer
from forwardforward.layers.weighted_bag import WeightedBag
from forwardforward.losses import BatchLoss, ClassLoss, PairLoss
from forwardforward.sequential import FFSequential

__all__ = ["check_members", "differing_numbers", "place_of_error"]

#: Modules whose random numbers are drawn inside the block, where a member cannot have its own.
RANDOM = (nn.modules.dropout._DropoutNd, nn.RReLU)

PLAIN = (bool, int, float, str, tuple, type(None))


def check_members(members: Sequence[FFSequential]) -> None:
    """Refuse networks that cannot be trained together.

    Args:
        members: The networks.

    Raises:
        TypeError: If one is not an ``FFSequential``.
        ValueError: If there is none, the shapes of one are not known, they differ in architecture, or a block is
            recurrent or draws random numbers.
    """
    if not members:
        raise ValueError("members must contain at least one network, got none")
    for index, member in enumerate(members):
        if not isinstance(member, FFSequential):
            raise TypeError(f"members must be instances of FFSequential, got {type(member).__name__} as member {index}")
        if not member.is_set_up:
            raise ValueError(
                "members must know the shape of their input: pass input_shape= to FFSequential, or call "
                "model.setup(shape)"
            )
        if member.views is not None:
            raise ValueError(f"members must not average over views, got views={member.views!r} of member {index}")
        if isinstance(member.classifier, WithHead):
            raise ValueError(f"members must classify by goodness or head, got both in member {index}: WithHead")
    for place, module in members[0].named_modules():
        if isinstance(module, nn.RNNBase):
            raise ValueError(
                f"members must not contain recurrent blocks, which torch.vmap does not support, got {place}: "
                f"{type(module).__name__}"
            )
        if isinstance(module, nn.EmbeddingBag) and not isinstance(members[0].get_submodule(_parent(place)), IndexLayer):
            raise ValueError(f"members must not contain an nn.EmbeddingBag, except FFEmbeddingBag, got one as {place}")
        if isinstance(module, WeightedBag):
            raise ValueError(f"members must not contain an FFEmbeddingBag with a weighting, got one as {place}")
        if isinstance(module, RANDOM) and vars(module).get("p") != 0:
            raise ValueError(
                f"members must not contain {type(module).__name__}, whose random numbers would differ from those of "
                f"separate trainings, got {place}; an embedding layer's own dropout= is supported"
            )
    if len({id(member) for member in members}) < len(members):
        raise ValueError("members must be distinct networks, got one of them twice")
    for index, member in enumerate(members[1:], start=1):
        difference = _difference(members[0], member)
        if difference is not None:
            raise ValueError(f"members must have the same architecture, got {difference} of members 0 and {index}")


def place_of_error(error: BaseException, network: nn.Module) -> str:
    """Return ``", got <place>: <class>"`` of the innermost module in whose method an error was raised.

    Args:
        error: The error.
        network: The network; empty for an error outside its modules.
    """
    places = {id(module): f", got {place}: {type(module).__name__}" for place, module in network.named_modules()}
    del places[id(network)]
    owners = [id(frame.f_locals.get("self")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((places[owner] for owner in reversed(owners) if owner in places), "")


def _parent(place: str) -> str:
    return place.rpartition(".")[0]


def _difference(a: FFSequential, b: FFSequential) -> str | None:
    """Return what differs between two networks, apart from weights and the numbers of losses; None if nothing does."""
    modules, others = dict(a.named_modules()), dict(b.named_modules())
    if modules.keys() != others.keys():
        return f"different modules, {sorted(set(modules) ^ set(others))[0]},"
    for place, module in modules.items():
        other = others[place]
        # each traced module has a class of its own; their code is an attribute, which is compared below
        traced = isinstance(module, fx.GraphModule) and isinstance(other, fx.GraphModule)
        if type(module) is not type(other) and not traced:
            return f"{type(module).__name__} and {type(other).__name__} as {place}"
        for name, value in vars(module).items():
            theirs = vars(other).get(name)
            if _is_number_of_loss(module, value, theirs) or name in ("optimizer_options", "class_names"):
                continue
            if _form(value) != _form(theirs):
                return f"{value} and {theirs} as {'.'.join(filter(None, (place, name)))}"
    states = a.state_dict(keep_vars=True), b.state_dict(keep_vars=True)
    for name, value in states[0].items():
        theirs = states[1][name]
        if (value.shape, value.dtype, value.device) != (theirs.shape, theirs.dtype, theirs.device):
            return f"{name} of shapes {tuple(value.shape)} and {tuple(theirs.shape)} or different dtypes or devices"
        if value.requires_grad != theirs.requires_grad:
            return f"{name}, which is frozen in one of them,"
        if name.startswith(("preprocessing.", "target_scaling.")) and not value.equal(theirs):
            return f"different statistics, {name},"
    return None


def _form(value: Any) -> Any:
    """Return what must agree of an attribute: a plain value itself, of other objects the class or name."""
    if isinstance(value, PLAIN):
        return type(value), value
    return getattr(value, "__qualname__", type(value).__qualname__)


def _is_number_of_loss(module: nn.Module, *values: Any) -> bool:
    return isinstance(module, PairLoss | ClassLoss | BatchLoss) and all(type(v) in (int, float) for v in values)


def differing_numbers(members: Sequence[FFSequential]) -> dict[str, list[float]]:
    """Return the numbers of losses that differ between members, such as thresholds, by their place in the network.

    Args:
        members: Networks of the same architecture.
    """
    numbers: dict[str, list[float]] = {}
    modules = [dict(member.named_modules()) for member in members]
    for place, module in modules[0].items():
        for name, value in vars(module).items():
            if _is_number_of_loss(module, value):
                values = [float(vars(other[place])[name]) for other in modules]
                if len(set(values)) > 1:
                    numbers[f"{place}.{name}"] = values
    return numbers
