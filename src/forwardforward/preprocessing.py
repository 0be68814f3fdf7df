"""Preprocessing: from raw inputs to what the first layer reads, as a module of the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.arguments import PositiveFloat, PositiveInt, checked
from forwardforward._utils.checks import all_finite, check_image_shape

__all__ = ["Array", "PatchWhitening", "Preprocessing"]

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

    @checked
    def output_shape(self, input_shape: Sequence[PositiveInt]) -> tuple[int, ...]:
        """Return the shape of one preprocessed input.

        Args:
            input_shape: Shape of one raw input.
        """
        return tuple(input_shape)

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
        return self.fitted is not None and not bool(self.fitted)

    @checked
    @torch.no_grad()
    def fit(self, inputs: Array | Iterable[Array]) -> Preprocessing:
        """Measure mean and standard deviation of each channel.

        Args:
            inputs: Raw training inputs, ``(samples, ...)``, or batches of them.

        Raises:
            TypeError: If the inputs are not of a floating type or uint8.
            ValueError: If there are none, they are not finite, or batches have other channels.
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
            if x.dim() < 2 or (shape and x.shape[1] != shape[0]):
                expected = f"(samples, {shape[0]}, ...)" if shape else "(samples, ...)"
                raise ValueError(f"inputs must have shape {expected}, got {tuple(x.shape)}")
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
        if not all_finite(total):
            raise ValueError("inputs must be finite, got NaN or infinity")
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


@checked
class PatchWhitening(Preprocessing):
    r"""Conversion of images to whitened patches: a frozen first convolution, fitted without labels or gradients.

    Inputs of type uint8 are divided by 255. With the covariance :math:`U \operatorname{diag}(\lambda) U^\top` and the
    mean :math:`m` of all patches :math:`p` of :math:`s \times s` pixels in :math:`C` channels of the training images,
    and :math:`\bar\lambda` the mean eigenvalue, each patch becomes

    .. math:: x' = \max(0, (y, -y)), \qquad y_i = \frac{u_i^\top (p - m)}{\sqrt{\lambda_i + \epsilon \bar\lambda}}

    so that images ``(C, H, W)`` become maps ``(2 C s^2, H - s + 1, W - s + 1)``. :func:`~forwardforward.fit` fits the
    filters on its training data, and they are part of the model's state dict.

    Args:
        size: Side :math:`s` of the patches.
        eps: :math:`\epsilon`, which bounds the gain of patches' rare directions.

    Raises:
        ValueError: If images are smaller than a patch.

    Source: the first layer of fast networks for CIFAR-10 by Page (2019), How to train your ResNet, and Jordan (2024),
    94% on CIFAR-10 in 3.29 seconds on a single GPU, arXiv 2404.00498.

    Example:
        >>> preprocessing = PatchWhitening(size=2).fit(torch.rand(10, 3, 8, 8))
        >>> preprocessing(torch.rand(5, 3, 8, 8)).shape
        torch.Size([5, 24, 7, 7])
    """

    filters: Tensor | None
    shift: Tensor | None

    def __init__(self, size: PositiveInt = 2, eps: PositiveFloat = 5e-4) -> None:
        super().__init__()
        self.size = size
        self.eps = eps
        self.register_buffer("filters", None)
        self.register_buffer("shift", None)
        self.register_buffer("fitted", torch.tensor(False))

    @checked
    def setup(self, input_shape: Sequence[PositiveInt]) -> None:
        """Create the filters, which are zero before :meth:`fit`.

        Args:
            input_shape: Shape of one raw input.
        """
        self.output_shape(input_shape)
        if self.filters is None or self.filters.shape[1] != input_shape[0]:
            assert self.fitted is not None
            features = input_shape[0] * self.size**2
            self.filters = torch.zeros(features, input_shape[0], self.size, self.size, device=self.fitted.device)
            self.shift = torch.zeros(features, device=self.fitted.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        filters = state_dict.get(f"{prefix}filters")
        if self.filters is None and isinstance(filters, Tensor):  # a model that has not read an input yet
            self.setup(tuple(filters.shape[1:]))
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @property
    def is_set_up(self) -> bool:
        """Whether the shape of the filters is known."""
        return self.filters is not None

    @checked
    def output_shape(self, input_shape: Sequence[PositiveInt]) -> tuple[int, ...]:
        """Return the shape of the maps of one image.

        Args:
            input_shape: Shape of one raw image, ``(channels, height, width)``.
        """
        check_image_shape(input_shape, "patches")
        channels, height, width = input_shape
        if min(height, width) < self.size:
            raise ValueError(f"size must be at most the images' {height} x {width}, got {self.size}")
        return 2 * channels * self.size**2, height - self.size + 1, width - self.size + 1

    @checked
    @torch.no_grad()
    def fit(self, inputs: Array | Iterable[Array]) -> PatchWhitening:
        """Measure mean and covariance of the patches.

        Args:
            inputs: Raw training images, ``(samples, channels, height, width)``, or batches of them.

        Raises:
            TypeError: If the inputs are not of a floating type or uint8.
            ValueError: If there are none, or they are no images.
        """
        batches = [inputs] if isinstance(inputs, Tensor | np.ndarray) else inputs
        count, total, products = 0, torch.zeros(()), torch.zeros(())
        lowest: Tensor | None = None
        highest: Tensor | None = None
        shape: tuple[int, ...] = ()
        for batch in batches:
            x = to_float(batch)
            for images in x.split(1000):
                if images.dim() != 4 or not images.numel() or (shape and images.shape[1] != shape[0]):
                    channels = shape[0] if shape else "channels"
                    expected = f"(samples, {channels}, height, width)"
                    raise ValueError(f"inputs must have shape {expected}, got {tuple(x.shape)}")
                shape = tuple(images.shape[1:])
                self.output_shape(shape)
                patches = F.unfold(images, self.size).transpose(1, 2).flatten(0, 1).double()
                lowest = patches.amin(0) if lowest is None else lowest.minimum(patches.amin(0))
                highest = patches.amax(0) if highest is None else highest.maximum(patches.amax(0))
                count = count + len(patches)
                total, products = total.to(patches) + patches.sum(0), products.to(patches) + patches.T @ patches
        if lowest is None or highest is None:
            raise ValueError("inputs must contain at least one sample, got none")
        if not all_finite(total):
            raise ValueError("inputs must be finite, got NaN or infinity")
        self.setup(shape)
        assert self.filters is not None
        assert self.shift is not None
        assert self.fitted is not None
        mean = total / count
        covariance = products / count - torch.outer(mean, mean)
        values, vectors = torch.linalg.eigh(covariance)
        bound = (self.eps * values.mean()).clamp(min=torch.finfo(torch.float32).tiny)
        filters = vectors.T / (values.clamp(min=0) + bound).sqrt()[:, None]
        if torch.equal(lowest, highest):  # the covariance of constant images consists of rounding errors
            filters = torch.zeros_like(filters)
        self.filters.copy_(filters.view_as(self.filters))
        self.shift.copy_(-filters @ mean)
        self.fitted.fill_(True)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of whitened patches.

        Args:
            x: Raw images, floating or uint8, ``(batch, channels, height, width)``.

        Raises:
            ValueError: If they have other channels than the filters.
        """
        x = to_float(x)
        if self.filters is None or self.shift is None:
            self.setup(tuple(x.shape[1:]))
        assert self.filters is not None
        assert self.shift is not None
        if x.dim() != 4 or x.shape[1] != self.filters.shape[1]:
            raise ValueError(
                f"images must have shape (channels, height, width) with {self.filters.shape[1]} channels, as those "
                f"that the patches were measured on, got {tuple(x.shape[1:])}"
            )
        # Channels last is the layout that a following convolution needs on CPUs.
        x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        y = F.conv2d(x, self.filters.to(x.dtype), self.shift.to(x.dtype))
        return torch.cat([y, -y], dim=1).relu_()

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"size={self.size}, eps={self.eps}"


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
