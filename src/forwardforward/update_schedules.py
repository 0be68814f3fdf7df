"""Update schedules: the layers that are updated in each step, and where gradients stop.

A schedule returns, for each step, the *groups* of layers to update. A group is a run of neighboring layers: the losses
of some of them are added, gradients flow inside the group and stop at its border. Groups of one layer are
Forward-Forward proper; one group of all layers is backpropagation of the summed local losses; a layer in no group runs
without an update, and layers after the last group do not run, unless a head reads their output. Groups may overlap: a
layer's gradient is then the sum over its groups. Any callable ``(depth, epoch, step, epochs) -> groups`` serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from forwardforward._utils.arguments import Fraction, PositiveFraction, PositiveInt, checked

__all__ = ["Blocks", "EndToEnd", "Greedy", "Group", "Groups", "Joint", "Overlapping", "Schedule", "Staggered"]


class Group(NamedTuple):
    """Layers that are updated together.

    Attributes:
        layers: A run of neighboring layers.
        objectives: The layers among them whose losses count.

    Example:
        >>> Group(layers=range(0, 2), objectives=range(1, 2))
        Group(layers=range(0, 2), objectives=range(1, 2))
    """

    layers: range
    objectives: range


#: The groups to update in one step, in the order of their last layers; a plain range counts every layer's loss.
Groups = Sequence[range | Group]


class Schedule(Protocol):
    """An update schedule: any callable of this form.

    Example:
        >>> def last_layer(depth, epoch, step, epochs):
        ...     return [range(depth - 1, depth)]
        >>> last_layer(3, 0, 0, 1)
        [range(2, 3)]
    """

    def __call__(self, depth: int, epoch: int, step: int, epochs: int, /) -> Groups:
        """Return the groups to update in one step.

        Args:
            depth: Number of layers.
            epoch: Index of the epoch, from 0.
            step: Index of the step in the epoch, from 0.
            epochs: Total number of epochs.
        """
        ...


class Joint:
    """Every layer in every step, each by itself.

    Example:
        >>> Joint()(depth=2, epoch=0, step=0, epochs=1)
        [range(0, 1), range(1, 2)]
    """

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> Groups:
        """Return one group per layer."""
        return [range(layer, layer + 1) for layer in range(depth)]

    def __repr__(self) -> str:
        """Return the constructor call."""
        return "Joint()"


class Greedy:
    """Layer by layer: each layer trains for an equal share of the epochs, on the finished layers before it.

    Example:
        >>> [Greedy()(depth=2, epoch=epoch, step=0, epochs=4) for epoch in range(4)]
        [[range(0, 1)], [range(0, 1)], [range(1, 2)], [range(1, 2)]]
    """

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> Groups:
        """Return the current layer.

        Raises:
            ValueError: If there are fewer epochs than layers.
        """
        if epochs < depth:
            raise ValueError(f"epochs must be at least one per layer for {self}, got {epochs} for {depth} layers")
        layer = epoch * depth // epochs
        return [range(layer, layer + 1)]

    def __repr__(self) -> str:
        """Return the constructor call."""
        return "Greedy()"


@checked
class Staggered:
    """Every layer by itself in its own window of the training: shallow layers start, and stop, before deeper ones.

    Args:
        windows: For each layer, the start and end of its updates as shares of the training, such as ``(0.0, 0.5)``.
            Epoch :math:`e` of :math:`E` is at its middle, :math:`(e + 1/2) / E`.

    Raises:
        ValueError: If a window is not in 0 to 1 or, when called, their number is not the network's depth.

    Source: the interleaved layer training of Papachristodoulou et al., CwComp (AAAI 2024), arXiv 2312.12668.

    Example:
        >>> Staggered([(0, 0.5), (0.25, 1)])(depth=2, epoch=3, step=0, epochs=4)
        [range(1, 2)]
    """

    def __init__(self, windows: Sequence[tuple[Fraction, Fraction]]) -> None:
        for start, end in windows:
            if start >= end:
                raise ValueError(f"windows must be pairs (start, end) with 0 <= start < end <= 1, got {(start, end)}")
        self.windows = tuple((start, end) for start, end in windows)

    @classmethod
    @checked
    def evenly(cls, depth: PositiveInt, share: PositiveFraction = 0.5) -> Staggered:
        """Return windows of equal length, the first at the start and the last at the end of the training.

        Args:
            depth: Number of layers.
            share: Length of each window, in (0, 1]; a single layer's is the whole training.

        Raises:
            ValueError: If ``depth`` is not positive or ``share`` out of range.
        """
        if depth == 1:
            return cls([(0.0, 1.0)])
        starts = [(1 - share) * layer / (depth - 1) for layer in range(depth)]
        return cls([(start, min(1.0, start + share)) for start in starts])

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> Groups:
        """Return the layers whose window contains the epoch."""
        if len(self.windows) != depth:
            raise ValueError(f"windows must be one per layer, got {len(self.windows)} for {depth} layers")
        progress = (epoch + 0.5) / epochs
        return [range(i, i + 1) for i, (start, end) in enumerate(self.windows) if start <= progress < end]

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Staggered({list(self.windows)})"


@checked
class Overlapping:
    """Overlapping local updates (OLU): a layer learns from its own objective and from those of the layers after it.

    A group consists of ``size`` neighboring layers, and the objective of its last layer counts. The groups' borders
    move by one layer from phase to phase, so that each layer is last in its group once in ``size`` phases. Groups at
    the start of the network are smaller, and layers after the last group are updated in the next phase. With ``size=1``
    this is :class:`Joint`.

    Args:
        size: Number of layers per group, at least 1; the Trifecta uses 2.
        alternate: ``"epoch"``, as in the paper, ``"step"``, as in its authors' program, or None: every objective in
            every step, with gradients ``size`` layers back (the second approach of the paper's appendix F).

    Raises:
        ValueError: If an argument is out of range.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130, after Laskin et al. (2020), arXiv 2012.03837.

    Example:
        >>> olu = Overlapping(size=2)
        >>> [list(group.layers) for group in olu(depth=4, epoch=0, step=0, epochs=2)]
        [[0, 1], [2, 3]]
        >>> [list(group.layers) for group in olu(depth=4, epoch=1, step=0, epochs=2)]
        [[0], [1, 2]]
    """

    def __init__(self, size: PositiveInt = 2, alternate: Literal["epoch", "step"] | None = "epoch") -> None:
        self.size = size
        self.alternate = alternate

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> Groups:
        """Return the groups of this phase."""
        size = min(self.size, depth)
        if self.alternate is None:
            lasts = range(depth)
        else:
            phase = (epoch if self.alternate == "epoch" else epoch + step) % size
            lasts = range((phase - 1) % size, depth, size)
        return [Group(range(max(0, last + 1 - size), last + 1), range(last, last + 1)) for last in lasts]

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Overlapping(size={self.size}, alternate={self.alternate!r})"


@checked
class Blocks:
    """Blocks of several layers, each trained as one unit by the objective of its last layer.

    Gradients flow through all layers of a block and stop at its border; blocks do not overlap. If the depth is not a
    multiple of ``size``, the last block is smaller. With ``size=1`` this is :class:`Joint`.

    Args:
        size: Number of layers per block.

    Raises:
        ValueError: If ``size`` is not positive.

    Source: named as future work in appendix G of Dooms et al., The Trifecta (2023), arXiv 2311.18130.

    Example:
        >>> [list(group.layers) for group in Blocks(size=2)(depth=5, epoch=0, step=0, epochs=1)]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, size: PositiveInt = 2) -> None:
        self.size = size

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> Groups:
        """Return one group per block."""
        blocks = [range(first, min(first + self.size, depth)) for first in range(0, depth, self.size)]
        return [Group(block, block[-1:]) for block in blocks]

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Blocks(size={self.size})"


class EndToEnd:
    """One group of all layers: backpropagation of the summed local losses, a baseline and not Forward-Forward.

    Gradients stop at a :class:`~forwardforward.layers.SkipConnection`, as with every schedule.

    Example:
        >>> EndToEnd()(depth=3, epoch=0, step=0, epochs=1)
        [range(0, 3)]
    """

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> Groups:
        """Return all layers as one group."""
        return [range(depth)]

    def __repr__(self) -> str:
        """Return the constructor call."""
        return "EndToEnd()"
