"""Learning-rate schedules: callables from the progress of a training, 0 to 1, to a factor on the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from forwardforward._utils.arguments import NonNegativeFloat, OpenFraction, PositiveInt, Probability, checked

__all__ = ["Cooldown", "Cosine", "FromTorch", "Ramp", "Steps"]


@checked
@dataclass(frozen=True)
class Cooldown:
    r"""A constant factor of 1, then linear to 0.

    :math:`\min(1, (1 - t) / (1 - start))` at progress :math:`t`, evaluated at the middle of each epoch.
    ``Cooldown(0.5)`` is Hinton's.

    Args:
        start: Progress at which the factor begins to fall, in [0, 1).
        warmup: Share of the training in which the factor first rises linearly to 1, at most ``start``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> Cooldown(0.5)(0.75)
        0.5
        >>> [round(Cooldown(0.2, warmup=0.2)(progress), 2) for progress in (0.1, 0.2, 0.6)]
        [0.5, 1.0, 0.5]
    """

    start: Probability = 0.5
    warmup: Probability = 0.0

    def __post_init__(self) -> None:
        if self.warmup > self.start:
            raise ValueError(f"warmup must be at most start, {self.start}, got {self.warmup}")

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1."""
        if progress < self.warmup:
            return progress / self.warmup
        return min(1.0, (1 - progress) / (1 - self.start))

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Cooldown({self.start}" + (f", warmup={self.warmup})" if self.warmup else ")")


@checked
@dataclass(frozen=True)
class Ramp:
    r"""A linear factor from ``first`` to ``last``, :math:`f_0 + (f_1 - f_0) t` at progress :math:`t`.

    Args:
        first: Factor :math:`f_0` at the start, at least 0.
        last: Factor :math:`f_1` at the end, at least 0.

    Raises:
        ValueError: If a factor is negative.

    Example:
        >>> Ramp(0.0, 1.0)(0.5)
        0.5
    """

    first: NonNegativeFloat
    last: NonNegativeFloat

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1."""
        return self.first + (self.last - self.first) * progress

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Ramp({self.first}, {self.last})"


@checked
@dataclass(frozen=True)
class Cosine:
    r"""A factor that moves along half a cosine, from 1 to ``floor``.

    :math:`f + (1 - f) (1 + \cos \pi t) / 2` at progress :math:`t`, evaluated at the middle of each epoch.

    Args:
        floor: Factor :math:`f` at the end, at least 0; above 1, the factor rises.
        warmup: Share of the training in which the factor first rises linearly to 1, in [0, 1).

    Raises:
        ValueError: If an argument is out of range.

    Source: Loshchilov and Hutter, SGDR (2017), arXiv 1608.03983, without restarts.

    Example:
        >>> Cosine(floor=0.1)(0.5)
        0.55
    """

    floor: NonNegativeFloat = 0.0
    warmup: Probability = 0.0

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1."""
        if progress < self.warmup:
            return progress / self.warmup
        phase = (progress - self.warmup) / (1 - self.warmup)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * phase)) / 2

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Cosine(floor={self.floor}" + (f", warmup={self.warmup})" if self.warmup else ")")


@checked
@dataclass(frozen=True)
class Steps:
    """A piecewise constant factor: 1, then from each progress on the factor given for it.

    ``Steps({0.4: 0.5, 0.8: 0.1})`` is the schedule of the Trifecta's deep network (500 epochs, changes after 200 and
    400), ``Steps({0.75: 0.1})`` that of its shallow network.

    Args:
        factors: Factor from each progress on, by progress in (0, 1).

    Raises:
        ValueError: If a progress is out of range or a factor is negative.

    Example:
        >>> [Steps({0.4: 0.5, 0.8: 0.1})(progress) for progress in (0.2, 0.4, 0.9)]
        [1.0, 0.5, 0.1]
    """

    factors: Mapping[OpenFraction, NonNegativeFloat]

    def __post_init__(self) -> None:
        # a copy, since the caller may change the argument
        object.__setattr__(self, "factors", dict(sorted(self.factors.items())))

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1."""
        passed = [factor for start, factor in self.factors.items() if progress >= start]
        return passed[-1] if passed else 1.0

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Steps({self.factors})"


@checked
class FromTorch:
    """The factors of one of torch's learning-rate schedulers, with one scheduler step per epoch.

    Args:
        scheduler: Class of :mod:`torch.optim.lr_scheduler` whose factors depend on the epoch only.
        epochs: Number of epochs of the training.
        **options: Arguments of the scheduler after the optimizer.

    Raises:
        TypeError: If the options are not those of the scheduler, or it needs a metric, as ``ReduceLROnPlateau`` does.
        ValueError: If an option is out of range, or the scheduler ends before the last epoch.

    Example:
        >>> schedule = FromTorch(torch.optim.lr_scheduler.StepLR, epochs=4, step_size=2)
        >>> [round(schedule((epoch + 0.5) / 4), 2) for epoch in range(4)]
        [1.0, 1.0, 0.1, 0.1]
    """

    def __init__(self, scheduler: Callable[..., Any], epochs: PositiveInt, **options: Any) -> None:
        self.scheduler = scheduler
        self.epochs = epochs
        self.options = options
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        self._factors: list[float] = []
        try:
            stepper = scheduler(optimizer, **options)
            for _ in range(epochs):
                self._factors.append(float(optimizer.param_groups[0]["lr"]))
                optimizer.step()
                stepper.step()
        except TypeError as error:
            raise TypeError(f"scheduler must depend on the epoch only, with its options: {error}") from error
        except (ValueError, ArithmeticError) as error:
            name = getattr(scheduler, "__name__", type(scheduler).__name__)
            raise ValueError(f"options must be those of {name} for {epochs} epochs: {error}") from error

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1."""
        return self._factors[min(int(progress * self.epochs), self.epochs - 1)]

    def __repr__(self) -> str:
        """Return the constructor call."""
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"FromTorch({self.scheduler.__name__}, epochs={self.epochs}{options})"
