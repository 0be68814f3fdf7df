"""Preprocessing: from raw inputs to what the first layer reads, as a module of the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, checked

__all__ = ["Array", "Preprocessing"]

#: What a network accepts as raw inputs and as labels.
Array = Tensor | NDArray[Any]


@checked
class Preprocessing(nn.Module):
    r"""Conversion of raw inputs to floating point, and optional standardization.

    Inputs of type uint8 are divided by 255; floating inputs of any precision keep their values. With ``standardize``,
    each channel is then shifted and scaled with the mean and standard deviation of the training data,

    .. math:: x'_{n,c,i,j} = \frac{x_{n,c,i,j} - \mu_c}{\sigma_c}, \qquad
              \mu_c = \operatorname*{mean}_{n,i,j} x_{n,c,i,j}, \qquad
              \sigma_c^2 = \operatorname*{mean}_{n,i,j} (x_{n,c,i,j} - \mu_c)^2

    The channels are the second dimension of the inputs; of rows (N, D), every column is a channel. A channel that is
    constant in the training data is shifted only. :func:`~forwardforward.fit` fits the statistics on its training data,
    and they are part of the model's state dict, so a saved model accepts raw inputs.

    Args:
        standardize: Whether to shift and scale each channel.

    Example:
        >>> preprocessing = Preprocessing(standardize=True)
        >>> _ = preprocessing.fit(torch.tensor([[0.0, 1.0], [4.0, 1.0]]))
        >>> preprocessing(torch.tensor([[4.0, 2.0]]))
        tensor([[1., 1.]])
    """

    mean: Tensor | None
    std: Tensor | None
    fitted: Tensor | None

    def __init__(self, standardize: bool = False) -> None:
        super().__init__()
        self.standardize = standardize
        self.register_buffer("mean", None)
        self.register_buffer("std", None)
        self.register_buffer("fitted", torch.tensor(False) if standardize else None)

    @checked
    def setup(self, input_shape: Sequence[PositiveInt]) -> None:
        """Create the statistics, as those of data with mean 0 and standard deviation 1.

        Args:
            input_shape: Shape of one raw input.
        """
        if self.standardize and (self.mean is None or self.mean.shape[0] != input_shape[0]):
            assert self.fitted is not None
            shape = (input_shape[0], *[1] * (len(input_shape) - 1))
            self.mean = torch.zeros(shape, device=self.fitted.device)
            self.std = torch.ones(shape, device=self.fitted.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        mean = state_dict.get(f"{prefix}mean")
        if self.mean is None and isinstance(mean, Tensor):  # a model that has not read an input yet
            self.setup(tuple(mean.shape))
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @property
    def is_set_up(self) -> bool:
        """Whether the shape of the statistics is known."""
        return not self.standardize or self.mean is not None

    @property
    def needs_fit(self) -> bool:
        """Whether the statistics have not been fitted yet."""
        return self.standardize and not bool(self.fitted)

    @checked
    @torch.no_grad()
    def fit(self, inputs: Array | Iterable[Array]) -> Preprocessing:
        """Measure mean and standard deviation of each channel.

        Args:
            inputs: Raw training inputs, ``(samples, ...)``, or batches of them.

        Raises:
            TypeError: If the inputs are not of a floating type or uint8.
            ValueError: If there are none.
        """
        if not self.standardize:
            return self
        batches = [inputs] if isinstance(inputs, Tensor | np.ndarray) else inputs
        count = 0
        shift: Tensor | None = None
        shape: tuple[int, ...] = ()
        for batch in batches:
            x = to_float(batch).double()
            if not len(x):
                continue
            shape = tuple(x.shape[1:])
            rows = x.movedim(1, -1).reshape(-1, x.shape[1])
            if shift is None:  # sums around a value of the data's size lose no digits
                shift, lowest, highest = rows.mean(0), rows.amin(0), rows.amax(0)
                total, squares = torch.zeros_like(shift), torch.zeros_like(shift)
            lowest, highest = lowest.minimum(rows.amin(0)), highest.maximum(rows.amax(0))
            count, rows = count + len(rows), rows - shift
            total, squares = total + rows.sum(0), squares + rows.square().sum(0)
        if shift is None:
            raise ValueError("inputs must contain at least one sample, got none")
        self.setup(shape)
        assert self.mean is not None
        assert self.std is not None
        assert self.fitted is not None
        variance = (squares / count - (total / count).square()).clamp(min=0)
        self.mean.copy_((shift + total / count).view_as(self.mean))
        self.std.copy_(variance.sqrt().masked_fill(lowest == highest, 1.0).view_as(self.std))
        self.fitted.fill_(True)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return preprocessed inputs, of the same shape.

        Args:
            x: Raw inputs, floating or uint8, ``(batch, ...)``.

        Raises:
            ValueError: If they have other channels or dimensions than the statistics.
        """
        x = to_float(x)
        if self.mean is None or self.std is None:
            return x
        if x.dim() != self.mean.dim() + 1 or x.shape[1] != self.mean.shape[0]:
            raise ValueError(
                f"images must have shape ({', '.join(['channels', 'height', 'width'][: self.mean.dim()])}) with "
                f"{self.mean.shape[0]} channels, as those that the statistics are of, got {tuple(x.shape[1:])}"
            )
        return (x - self.mean.to(x.dtype)) / self.std.to(x.dtype)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"standardize={self.standardize}"


def to_tensor(inputs: Any, name: str = "images") -> Tensor:
    """Return raw inputs as a plain tensor.

    Args:
        inputs: A tensor or a numpy array.
        name: Name of the argument, for a message.

    Raises:
        TypeError: If they are something else.
    """
    if isinstance(inputs, Tensor):
        if inputs.layout != torch.strided:
            raise TypeError(f"{name} must be a dense tensor, got one of layout {inputs.layout}")
        return inputs if type(inputs) is Tensor else inputs.as_subclass(Tensor)
    if not isinstance(inputs, np.ndarray):
        raise TypeError(f"{name} must be a tensor or a numpy array, got {type(inputs).__name__}")
    try:
        # torch accepts neither foreign byte orders nor negative strides, and warns of read-only memory
        return torch.from_numpy(np.require(inputs, inputs.dtype.newbyteorder("="), ["C", "W"]))
    except TypeError:
        raise TypeError(f"{name} must be an array of numbers, got {inputs.dtype}") from None


def to_float(inputs: Any) -> Tensor:
    """Return raw inputs as floating-point numbers; uint8 is divided by 255.

    Raises:
        TypeError: If they are of another type.
    """
    x = to_tensor(inputs)
    if x.dtype == torch.uint8:
        return x.float().div_(255)  # in place: half the memory traffic
    if not x.is_floating_point():
        raise TypeError(f"images must be of a floating type or uint8, got {x.dtype}")
    return x
