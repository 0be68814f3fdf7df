"""Initial weights of linear layers and convolutions."""

from __future__ import annotations

from typing import Literal

from torch import nn

__all__ = ["Init", "he_uniform"]

#: Names of the initial weights: each layer's default, or :func:`he_uniform`.
Init = Literal["default", "he_uniform"]


def he_uniform(module: nn.Linear | nn.Conv2d) -> None:
    r"""Draw weights from :math:`U(-\sqrt{6 / n}, \sqrt{6 / n})` for :math:`n` inputs per output, and set biases to 0.

    Source: He et al. (2015), arXiv 1502.01852, for layers with ReLU.
    """
    nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
    if module.bias is not None:
        nn.init.zeros_(module.bias)
