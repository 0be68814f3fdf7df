"""Checks of the arguments of a step."""

from __future__ import annotations

import torch

from forwardforward._utils.arguments import checked
from forwardforward.step.micro_batches import MicroBatches
from forwardforward.step.share import Share
from forwardforward.step.whole import WholeStep
from forwardforward.update_schedules import Groups

__all__ = ["check_step"]


@checked
def check_step(
    groups: Groups | None = None,
    generator: torch.Generator | None = None,
    autocast: torch.dtype | None = None,
    monitor: bool = False,
    whole_step: WholeStep | None = None,
    validate: bool = True,
    micro_batches: MicroBatches | None = None,
    share: Share | None = None,
) -> None:
    """Check the arguments of a user's step by their annotations; those of :func:`~forwardforward.fit` are valid."""
