"""The embedding of similarity matching: a linear map, and its spread over the positions of maps."""

from __future__ import annotations

from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.convolution import Conv2d
from forwardforward._utils.numerics import accumulator
from forwardforward.specs import LayerSpec


@checked
class SimilarityEmbedding(nn.Module):
    r"""A linear map of the activations; of maps, the standard deviation of each channel over the positions.

    Maps ``(batch, channels, height, width)`` of at least two positions become rows of one number per channel,
    :math:`e_{ic} = \operatorname{std}_p (W * h_i)_{cp}` with a convolution :math:`W` without bias; other activations
    become rows :math:`W h_i`.

    Args:
        dimensions: Number of channels of :math:`W`, or values per embedding; default: that of the activations.
        kernel_size: Side of the kernels, odd. 3 is the source's; 1 takes a ninth of the arithmetic.
        stride: Stride of the convolution. 2 takes a quarter of the arithmetic.

    Raises:
        ValueError: If an argument is not positive, or ``kernel_size`` is even.

    Source: Nøkland and Eidnes, Training Neural Networks with Local Error Signals (ICML 2019), arXiv 1901.06656, and
    their program.

    Example:
        >>> import torch
        >>> SimilarityEmbedding()(torch.rand(5, 8, 4, 4)).shape
        torch.Size([5, 8])
    """

    map: nn.Conv2d | nn.Linear | None

    def __init__(
        self, dimensions: PositiveInt | None = None, kernel_size: PositiveInt = 3, stride: PositiveInt = 1
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        self.dimensions, self.kernel_size, self.stride = dimensions, kernel_size, stride
        self.map = None

    def setup(self, spec: LayerSpec) -> None:
        """Create the linear map.

        Args:
            spec: Shape of the activations.
        """
        maps = len(spec.shape) == 3
        features = spec.features if maps else spec.size
        previous = self.map
        if isinstance(previous, nn.Conv2d if maps else nn.Linear) and _inputs(previous) == features:
            return
        dimensions = features if self.dimensions is None else self.dimensions
        if maps:
            padding = self.kernel_size // 2
            self.map = Conv2d(features, dimensions, self.kernel_size, self.stride, padding, bias=False)
        else:
            self.map = nn.Linear(features, dimensions, bias=False)

    def forward(self, activations: Tensor) -> Tensor:
        """Return embeddings ``(batch, dimensions)``."""
        if self.map is None:  # used alone
            self.setup(LayerSpec.of(activations))
            self.to(activations.device, accumulator(activations))
        assert self.map is not None
        if activations.dim() != 4:
            rows: Tensor = self.map(activations.flatten(1))
            return rows
        values: Tensor = self.map(activations).flatten(2)
        values = values.to(accumulator(values))
        return values.std(2) if values.shape[2] > 1 else values.flatten(1)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"dimensions={self.dimensions}, kernel_size={self.kernel_size}, stride={self.stride}"


def _inputs(module: nn.Conv2d | nn.Linear) -> int:
    return module.in_channels if isinstance(module, nn.Conv2d) else module.in_features
