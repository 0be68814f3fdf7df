"""Layer specifications: where in the network a plug-in is used, and the shape of its input."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeInt, checked
from forwardforward._utils.plugins import one_line

__all__ = ["LayerSpec", "NeedsSetup", "Plugin", "example_inputs", "setup_plugin"]


def example_inputs(
    rows: int, shape: Sequence[int], num_embeddings: int | None, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    """Return inputs on which a network can be tried, ``(rows, ...)``: zeros, or indices of a table.

    Args:
        rows: Number of inputs.
        shape: Shape of one input.
        num_embeddings: Size of the table; None for floating-point inputs.
        dtype: Type of floating-point inputs.
        device: Device.
    """
    if num_embeddings is None:
        return torch.zeros(rows, *shape, dtype=dtype, device=device)
    # different ones, since torch's encoder refuses a sample of padding alone, which is usually index 0
    indices = (1 + torch.arange(math.prod(shape), device=device) % max(num_embeddings - 1, 1)) % num_embeddings
    return indices.reshape(1, *shape).repeat(rows, *[1] * len(shape))


@checked
@dataclass(frozen=True)
class LayerSpec:
    """Where a plug-in is used.

    Attributes:
        index: Index of the layer, from 0.
        shape: Shape of one sample of the plug-in's input, ``(features, ...)``.
        scale: For losses: the goodness of a sample whose activations all have magnitude one; None if the goodness has
            no scale.
        device: Device of the layer.
        dtype: Dtype of the layer.
        lowest: For losses: the lowest goodness that a sample can have; None if it has no bound, or none is known.

    Example:
        >>> LayerSpec(index=0, shape=(8, 4, 4)).size
        128
    """

    index: NonNegativeInt
    shape: tuple[int, ...]
    scale: float | None = None
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    lowest: float | None = None

    @classmethod
    def of(cls, x: Tensor) -> LayerSpec:
        """Return the specification for a plug-in that is used alone, at its first call.

        Args:
            x: The plug-in's input, ``(batch, features, ...)``.
        """
        return cls(0, tuple(x.shape[1:]), device=x.device, dtype=x.dtype)

    def zeros(self) -> Tensor:
        """Return one sample of zeros, ``(1, features, ...)``."""
        return torch.zeros(1, *self.shape, device=self.device, dtype=self.dtype)

    @property
    def features(self) -> int:
        """Number of features (channels), the first dimension of a sample.

        Raises:
            ValueError: If the samples are single numbers.
        """
        if not self.shape:
            raise ValueError("shape must have a first dimension, the features, for this plug-in, got ()")
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values per sample."""
        return math.prod(self.shape)


@runtime_checkable
class NeedsSetup(Protocol):
    """A plug-in with parameters, buffers or settings that depend on its layer.

    A layer calls :meth:`setup` in a dry run on one sample of zeros, before the plug-in is first used, and again when
    the layer becomes part of a network, where its index may be another one.

    Example:
        >>> class Scale:
        ...     def setup(self, spec):
        ...         self.factor = spec.size**-0.5
        >>> isinstance(Scale(), NeedsSetup)
        True
    """

    def setup(self, spec: LayerSpec) -> None:
        """Create what depends on the layer.

        Args:
            spec: The layer's place and the shape of the plug-in's input.
        """
        ...


@checked
def setup_plugin(plugin: object, spec: LayerSpec, name: str = "plugin") -> None:
    """Set up a plug-in that depends on its layer; others are unchanged.

    Values that a module has from an earlier setup are restored if their shapes are the same, so a layer that was used
    alone keeps its weights in a network.

    Args:
        plugin: Any plug-in.
        spec: Where it is used.
        name: Name of the argument that it was passed as, for the message of an error.

    Raises:
        TypeError: If it has a method ``setup`` of another kind.
    """
    if not isinstance(plugin, NeedsSetup):
        return
    if not isinstance(plugin, nn.Module):
        plugin.setup(spec)
        return
    before = {name: value.detach().clone() for name, value in plugin.state_dict().items()}
    known = set(plugin.modules())
    try:
        plugin.setup(spec)
    except TypeError as error:
        if type(plugin).__module__.startswith("forwardforward.objectives"):  # the message names its plug-in
            raise
        raise TypeError(f"{name} must have setup(spec), got {describe(plugin)}: {one_line(error)}") from error
    for part in set(plugin.modules()) - known:  # a new module is in training mode, but the dry run has one sample
        part.training = plugin.training
    plugin.to(spec.device, spec.dtype)
    with torch.no_grad():
        for name, value in plugin.state_dict(keep_vars=True).items():
            if name in before and before[name].shape == value.shape:
                value.copy_(before[name])


class Plugin:
    """Mixin of the plug-ins' base classes: refuses misspelt names of their optional methods and attributes.

    Raises:
        TypeError: When a subclass is defined, if one of its names is close to a declared name that it does not define.

    Example:
        >>> import forwardforward as ff
        >>> class Noise(ff.negatives.Negatives):
        ...     need_labels = False
        Traceback (most recent call last):
        ...
        TypeError: Noise.need_labels is not a declared name of Negatives: did you mean needs_labels?
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Compare the names of a subclass with those of its base classes."""
        super().__init_subclass__(**options)
        bases = [base for base in cls.__mro__[1:] if Plugin in base.__bases__]  # those that declare names
        declared = {name for base in bases for name in vars(base) if not name.startswith("_")}
        declared |= {"setup", "set_progress", "forward"} if bases and issubclass(cls, nn.Module) else set()
        for name in vars(cls):
            if name.startswith("_") or name in declared:
                continue
            close = difflib.get_close_matches(name, sorted(declared - set(vars(cls))), n=1, cutoff=0.85)
            if close:
                raise TypeError(
                    f"{cls.__name__}.{name} is not a declared name of {bases[0].__name__}: did you mean {close[0]}?"
                )
