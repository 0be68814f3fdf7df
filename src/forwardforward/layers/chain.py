"""Running layers one after the other, with their skip connections."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from torch import Tensor

from forwardforward.batches import LabeledInput
from forwardforward.layers.layer import FFLayer
from forwardforward.layers.skip import SkipConnection, SkipTensors

__all__ = ["layer_outputs", "naming_layer", "run_layers", "setup_layers", "skip_tensors"]

Result = TypeVar("Result")


def skip_tensors(layers: Sequence[FFLayer]) -> SkipTensors:
    """Return the storage of the outputs that skip connections read in one pass.

    Args:
        layers: The layers, in order.

    Raises:
        ValueError: If a connection begins before the first layer.
    """
    return SkipTensors([layer.residual for layer in layers])


def run_layers(
    layers: Sequence[FFLayer],
    x: Tensor | LabeledInput,
    function: Callable[[FFLayer, Tensor | LabeledInput, Tensor | None], tuple[Tensor, Result]],
    cut: bool = True,
) -> Iterator[Result]:
    """Run layers one after the other, and iterate over their results; none is kept here longer than one layer.

    Args:
        layers: The layers, in order.
        x: Input of the first layer.
        function: ``(layer, input, skip) -> (output, result)``; the output is the next layer's input.
        cut: Whether gradients stop at layer borders.
    """
    skips = skip_tensors(layers)
    for index, layer in enumerate(layers):
        output, result = function(layer, x, skips.get(index))
        x = output.detach() if cut else output
        skips.store(index, x)
        yield result


def layer_outputs(layers: Sequence[FFLayer], x: Tensor | LabeledInput, cut: bool = True) -> Iterator[Tensor]:
    """Iterate over the outputs of the layers.

    Args:
        layers: The layers, in order.
        x: Input of the first layer.
        cut: Whether gradients stop at layer borders.
    """

    def output_of(layer: FFLayer, value: Tensor | LabeledInput, skip: Tensor | None) -> tuple[Tensor, Tensor]:
        output: Tensor = layer(value, skip=skip)
        return output, output

    return run_layers(layers, x, output_of, cut)


@contextlib.contextmanager
def naming_layer(index: int) -> Iterator[None]:
    """Context manager that names a layer in the errors of its plug-ins.

    Args:
        index: Index of the layer.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"layer {index}: {error}") from error


def setup_layers(layers: Sequence[FFLayer], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Set up layers in a dry run, and return the shapes of the first layer's input and of every output.

    Args:
        layers: The layers, in order.
        shape: Shape of one input of the first layer.

    Raises:
        ValueError: If a layer or a plug-in does not accept the shape of its input.
        TypeError: If a plug-in has the wrong type.
    """
    shapes = [shape]
    for index, layer in enumerate(layers):
        skip = layer.residual
        skip_shape = shapes[index - skip.distance + 1] if isinstance(skip, SkipConnection) else None
        try:
            with naming_layer(index):
                shapes.append(layer.setup(shapes[index], index, skip_shape))
        except (RuntimeError, IndexError, AssertionError) as error:  # torch's own, of a block, or the block's
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"layer {index} does not accept inputs of shape {shapes[index]}: {reason}") from error
    return shapes
