"""Thresholds of pair losses: the forms that are accepted, and the value for one layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from forwardforward._utils.arguments import PositiveFloat, checked

LayerTheta = float | str | Callable[[float, int], float]
Theta = LayerTheta | Sequence[LayerTheta]
T = TypeVar("T", bound=LayerTheta)


@checked
@dataclass(frozen=True)
class Uniform:
    r"""The same multiple of the scale for all layers, :math:`\theta = k \, s`.

    :math:`s` is the goodness's scale (the layer's width for the sum of squares), so ``Uniform(1)`` is ``"width"``.
    Pass it as ``theta``, or a sequence of such, one per layer.

    Args:
        k: The factor, positive.

    Raises:
        ValueError: If ``k`` is not positive.

    Example:
        >>> Uniform(0.5)(1000.0, 2)
        500.0
    """

    k: PositiveFloat = 1.0

    def __call__(self, scale: float, layer: int) -> float:
        """Return the threshold for a goodness of this ``scale``, the same for every ``layer``."""
        return self.k * scale


@checked
@dataclass(frozen=True)
class Pyramidal:
    r"""Thresholds that grow with depth, :math:`\theta_l = k \, s \, (l + 1)` for layers :math:`l = 0, 1, \dots`.

    :math:`s` is the goodness's scale (the layer's width for the sum of squares). Pass it as ``theta``.

    Args:
        k: The slope; the paper names 0.3 to 0.5 without a formula, so this formula is the library's.

    Source: Extending the Forward Forward Algorithm (2023), arXiv 2307.04205.

    Example:
        >>> Pyramidal(0.5)(1000.0, 2)
        1500.0
    """

    k: PositiveFloat = 0.4

    def __call__(self, scale: float, layer: int) -> float:
        """Return the threshold of ``layer``, counted from 0, for a goodness of this ``scale``."""
        return self.k * scale * (layer + 1)


def layer_value(name: str, theta: T | Sequence[T], layer: int) -> T:
    """Return the threshold of one layer, in the form that the user gave.

    Args:
        name: Name of the argument, for the message.
        theta: One threshold for all layers, or a sequence of one per layer.
        layer: Index of the layer, from 0.

    Raises:
        ValueError: If a sequence is too short.
    """
    if isinstance(theta, str) or not isinstance(theta, Sequence):
        return theta
    if layer >= len(theta):
        raise ValueError(f"{name} must contain one value per layer, got {len(theta)} for layer {layer}")
    return theta[layer]


def needs_scale(theta: LayerTheta) -> bool:
    """Return whether a threshold is computed from the goodness's scale."""
    return isinstance(theta, str) or callable(theta)


def threshold_value(theta: LayerTheta, scale: float | None, layer: int) -> float:
    """Return a threshold in units of goodness.

    Args:
        theta: The layer's threshold: a number, ``"width"`` for the scale itself, or a callable ``(scale, layer)``.
        scale: The goodness's scale; None if it has none.
        layer: Index of the layer, from 0.

    Raises:
        ValueError: If the scale is needed and there is none.
    """
    if isinstance(theta, str) or callable(theta):
        if scale is None:
            raise ValueError(
                f"goodness must define scale(features) for theta={theta!r}, such as SumOfSquares() does; "
                "or give theta as a number"
            )
        theta = scale if isinstance(theta, str) else theta(scale, layer)
    return float(theta)
