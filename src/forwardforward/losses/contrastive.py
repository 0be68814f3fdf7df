"""Contrastive losses: the batch's embeddings against each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.arguments import Fraction, PositiveFloat, checked
from forwardforward._utils.numerics import accumulator, full_precision
from forwardforward._utils.plugins import calling
from forwardforward.losses.base import BatchLoss


@checked
class SupervisedContrastive(BatchLoss):
    r"""Supervised contrastive loss over the batch's embeddings.

    With unit embeddings :math:`e_i`, :math:`s_{ij} = e_i \cdot e_j / T` and :math:`P_i` the other samples of
    sample :math:`i`'s class,

    .. math:: L = \mathrm{mean}_{i: P_i \ne \emptyset} \; -\frac1{|P_i|} \sum_{p \in P_i}
              \log \frac{\exp s_{ip}}{\sum_{j \ne i} \exp s_{ij}}

    A batch in which no class occurs twice has loss 0.

    Args:
        temperature: :math:`T`, positive.
        schedule: Factor on the temperature, ``progress -> factor`` with progress from 0 to 1; default: constant.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Source: Khosla et al., Supervised Contrastive Learning (2020), arXiv 2004.11362; in Forward-Forward
    networks, HCL-FF (2026), arXiv 2605.24797.

    Example:
        >>> SupervisedContrastive()(torch.eye(2), torch.tensor([0, 1]))
        tensor(0.)
    """

    factor: Tensor

    def __init__(self, temperature: PositiveFloat = 0.1, schedule: Callable[[float], float] | None = None) -> None:
        super().__init__()
        self.temperature = temperature
        self.schedule = schedule
        if schedule is not None:
            with calling("schedule", schedule, "progress -> factor"):
                self.register_buffer("factor", torch.tensor(float(schedule(0.0))))

    def set_progress(self, progress: float) -> None:
        """Set the schedule's factor.

        Args:
            progress: Progress of the training, from 0 to 1; set by ``fit`` in each epoch.
        """
        if self.schedule is not None:
            self.factor.fill_(self.schedule(progress))

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of embeddings ``(batch, dimensions)`` with labels ``(batch,)``."""
        units = F.normalize(embeddings.flatten(1).to(accumulator(embeddings)), dim=1)
        itself = torch.eye(len(units), dtype=torch.bool, device=units.device)
        temperature = self.temperature if self.schedule is None else self.temperature * self.factor
        with full_precision(units):
            similarity = (units @ units.T / temperature).masked_fill(itself, float("-inf"))
        log_share = similarity - similarity.logsumexp(1, keepdim=True)
        same = (targets[:, None] == targets[None, :]) & ~itself
        partners = same.sum(1)
        per_sample = -log_share.masked_fill(~same, 0).sum(1) / partners.clamp(min=1)
        return per_sample.sum() / (partners > 0).sum().clamp(min=1)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"temperature={self.temperature}" + ("" if self.schedule is None else f", schedule={self.schedule}")


@checked
@dataclass(frozen=True)
class FallingTemperature:
    r"""A factor on a temperature: linear from ``first`` to 1, then along half a cosine from 1 to ``last``.

    Args:
        first: Factor at the start.
        last: Factor at the end.
        warmup: Share of the training until the factor is 1, in [0, 1].

    Example:
        >>> [FallingTemperature()(progress) for progress in (0.0, 0.05, 1.0)]
        [4.0, 1.0, 0.5]
    """

    first: PositiveFloat = 4.0
    last: PositiveFloat = 0.5
    warmup: Fraction = 0.05

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1."""
        if progress < self.warmup or self.warmup == 1:
            return self.first + (1 - self.first) * progress / self.warmup
        phase = (progress - self.warmup) / (1 - self.warmup)
        return self.last + (1 - self.last) * (1 + math.cos(math.pi * phase)) / 2
