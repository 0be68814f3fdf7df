"""Networks with different seeds, made by one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from forwardforward._utils.arguments import checked
from forwardforward.replicas.network import Replicas

__all__ = ["replicate"]


@checked
def replicate(make_model: Callable[[], nn.Module], seeds: Sequence[int]) -> Replicas:
    """Return networks of one architecture with different seeds, to be trained together.

    Each equals ``torch.manual_seed(seed); model = make_model()``, trained by ``fit(model, train, seed=seed)``. The
    caller's random state is restored.

    Args:
        make_model: Makes a network, an :class:`~forwardforward.FFSequential`.
        seeds: One random seed per network, of its weights and its training.

    Raises:
        TypeError: If ``make_model`` returns something else.
        ValueError: If the networks cannot be trained together, see :class:`Replicas`.

    Example:
        >>> import forwardforward as ff
        >>> def make_model():
        ...     return ff.FFSequential(
        ...         ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ...     )
        >>> replicas = replicate(make_model, seeds=range(30))
        >>> data = torch.rand(20, 8), torch.arange(20) % 2
        >>> history = ff.fit(replicas, data, validation=data, epochs=1, progress=False)
        >>> len(history.members), len(ff.evaluate(replicas, data).members)
        (30, 30)
    """
    members = []
    with torch.random.fork_rng():
        for seed in seeds:
            torch.manual_seed(seed)
            members.append(make_model())
    return Replicas(members, seeds)
