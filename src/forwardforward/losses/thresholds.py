"""Thresholds of pair losses: what may be given, and what one layer makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from forwardforward._utils.checks import check_positive

OwnTheta = float | str | Callable[[float, int], float]
Theta = OwnTheta | Sequence[OwnTheta]
T = TypeVar("T", bound=OwnTheta)


@dataclass(frozen=True)
class Uniform:
    r"""The same share of the scale for all layers, :math:`\theta = k \, s`.

    :math:`s` is the goodness's scale (the layer's width for the sum of squares), so ``Uniform(1)`` is ``"width"``.
    Pass it as ``theta``, or a sequence of such, one per layer.

    Args:
        k: The share, positive.

    Raises:
        ValueError: If ``k`` is not positive.

    Example:
        >>> Uniform(0.5)(1000.0, 2)
        500.0
    """

    k: float = 1.0

    def __post_init__(self) -> None:
        check_positive("k", self.k)

    def __call__(self, scale: float, layer: int) -> float:
        """Return the threshold for a goodness of this ``scale``, the same for every ``layer``."""
        return self.k * scale


@dataclass(frozen=True)
class Pyramidal:
    r"""Thresholds that grow with depth, :math:`\theta_l = k \, s \, l` for layers :math:`l = 1, 2, \dots`.

    :math:`s` is the goodness's scale (the layer's width for the sum of squares). Pass it as ``theta``.

    Args:
        k: The slope; the paper names 0.3 to 0.5 without giving a formula, so this one is ours.

    Source: Extending the Forward Forward Algorithm (2023), arXiv 2307.04205.

    Example:
        >>> Pyramidal(0.5)(1000.0, 2)
        1500.0
    """

    k: float = 0.4

    def __post_init__(self) -> None:
        check_positive("k", self.k)

    def __call__(self, scale: float, layer: int) -> float:
        """Return the threshold of ``layer``, counted from 0, for a goodness of this ``scale``."""
        return self.k * scale * (layer + 1)


def of_layer(name: str, theta: T | Sequence[T], layer: int) -> T:
    """Return the threshold of one layer, as it was given.

    Args:
        name: What the caller's user calls the threshold.
        theta: One threshold for all layers, or a sequence of one per layer.
        layer: The layer's place in the stack, from 0.

    Raises:
        ValueError: If a sequence is too short.
    """
    if isinstance(theta, str) or not isinstance(theta, Sequence):
        return theta
    if layer >= len(theta):
        raise ValueError(f"{name} must hold one value per layer, got {len(theta)} for layer {layer}")
    return theta[layer]


def reads_scale(theta: OwnTheta) -> bool:
    """Return whether a threshold is computed from the goodness's scale."""
    return isinstance(theta, str) or callable(theta)


def computed(theta: OwnTheta, scale: float | None, layer: int) -> float:
    """Return a threshold in units of goodness.

    Args:
        theta: The threshold of the layer: a number, ``"width"`` for the scale itself, or a callable of the two below.
        scale: The goodness's scale; a number needs none.
        layer: The layer's place in the stack, from 0.

    Raises:
        ValueError: If the scale is needed and not given.
    """
    if isinstance(theta, str) or callable(theta):
        if scale is None:
            raise ValueError(f"scale must be given for theta={theta!r}, got None")
        theta = scale if isinstance(theta, str) else theta(scale, layer)
    return float(theta)
