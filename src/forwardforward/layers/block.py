"""The block of a layer: modules of torch and of users, whose outputs have several forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from forwardforward._utils.annotations import describe

__all__ = ["block_of", "check_batch_first", "run_block"]

Block = TypeVar("Block", bound=nn.Module)


def check_batch_first(block: nn.Module) -> None:
    """Check that recurrent and attention modules have the batch as the first dimension."""
    recurrent_or_attention = (nn.RNNBase, nn.MultiheadAttention)
    for part in block.modules():
        if isinstance(part, recurrent_or_attention) and not part.batch_first:
            raise ValueError(f"block must be constructed with batch_first=True, got {describe(part)}")


def run_block(block: nn.Module, x: Tensor) -> Tensor:
    """Return the block's output, of several values the first."""
    if isinstance(block, nn.MultiheadAttention):
        output: Any = block(x, x, x, need_weights=False)
    else:
        output = block(x)
    if isinstance(output, Tensor):  # torch 2.6 cannot compile the checks of other types
        return output
    if isinstance(output, Mapping):
        output = next(iter(output.values()), None)
    elif isinstance(output, tuple | list):
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(
            f"block must return a tensor, or a tuple or mapping that begins with one, got {describe(output)}"
        )
    return output


def block_of(layer: nn.Module, kind: type[Block]) -> Block:
    """Return the block of a layer that makes its block itself.

    Args:
        layer: The layer.
        kind: Class of the block.

    Raises:
        ValueError: If the block has been replaced by a module of another class.
    """
    block = layer.block
    if not isinstance(block, kind):
        raise ValueError(
            f"block of {type(layer).__name__} must be {kind.__name__}, got {describe(block)}; FFLayer(block) "
            "accepts any block"
        )
    return block
