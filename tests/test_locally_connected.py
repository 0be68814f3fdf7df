"""Local receptive fields without weight sharing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward.layers import FFLayer, LocallyConnected2d


@pytest.mark.parametrize(
    ("kernel_size", "size", "stride", "padding", "bias"),
    [
        (3, 5, 1, 0, True),
        (3, (5, 4), 1, 1, False),
        (2, (5, 6), 2, 0, True),
        (3, (4, 7), 3, 2, True),
        (4, (4, 6), 1, 0, True),
        (1, (2, 3), 2, 0, False),
    ],
)
def test_every_position_has_other_filters(
    kernel_size: int, size: int | tuple[int, int], stride: int, padding: int, bias: bool
) -> None:
    block = LocallyConnected2d(2, 3, kernel_size, size, stride, padding, bias).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
    height, width = (size, size) if isinstance(size, int) else size
    x = torch.randn(2, 2, height, width, dtype=torch.float64)
    maps = block(x)
    rows = (height + 2 * padding - kernel_size) // stride + 1
    columns = (width + 2 * padding - kernel_size) // stride + 1
    assert maps.shape == (2, 3, rows, columns)
    weight = block.weight.view(rows, columns, 3, 2, kernel_size, kernel_size).tolist()
    images = x.tolist()
    for n in range(2):
        for o in range(3):
            for r in range(rows):
                for c in range(columns):
                    z = block.bias[o, r, c].item() if bias else 0.0
                    for i in range(2):
                        for a in range(kernel_size):
                            for b in range(kernel_size):
                                y, q = r * stride + a - padding, c * stride + b - padding
                                if 0 <= y < height and 0 <= q < width:
                                    z += weight[r][c][o][i][a][b] * images[n][i][y][q]
                    assert maps[n, o, r, c].item() == pytest.approx(z, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_with_equal_weights_it_is_a_convolution(stride: int, padding: int) -> None:
    convolution = nn.Conv2d(2, 4, 3, stride, padding).double()
    block = LocallyConnected2d(2, 4, 3, (6, 5), stride, padding).double()
    with torch.no_grad():
        block.weight.copy_(convolution.weight.flatten(1).expand_as(block.weight))
        block.bias.copy_(convolution.bias.view(-1, 1, 1).expand_as(block.bias))
    x = torch.randn(3, 2, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(block(x), convolution(x), rtol=1e-12, atol=1e-12)
    # and its gradients, summed over positions, are the convolution's
    block(x).square().sum().backward(), convolution(x).square().sum().backward()
    torch.testing.assert_close(block.weight.grad.sum(0).view_as(convolution.weight), convolution.weight.grad)


def test_initial_weights_have_the_standard_deviation_of_the_fan_in_and_biases_are_zero() -> None:
    block = LocallyConnected2d(4, 30, 5, 12)
    assert block.weight.shape == (64, 30, 100)
    assert block.weight.std().item() == pytest.approx(0.1, rel=0.02)
    assert block.bias.shape == (30, 8, 8)
    assert not block.bias.any()
    assert LocallyConnected2d(4, 30, 5, 12, bias=False).bias is None


def test_a_network_of_local_fields_learns() -> None:
    layers = [
        FFLayer(LocallyConnected2d(2, 4, 3, size=6), activation=nn.ReLU()),
        FFLayer(LocallyConnected2d(4, 4, 2, size=4, stride=2), activation=nn.ReLU()),
    ]
    model = ff.FFSequential(
        *layers,
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.BatchNorm(),
        peer=ff.normalization.PeerNormalization(),
        label_encoder=ff.label_encoders.RandomChannel(3, 6),
    )
    batch = torch.rand(9, 1, 6, 6), torch.arange(9) % 3
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.05)
    results = [model.step(batch, optimizer, generator=torch.Generator().manual_seed(0)) for _ in range(15)]
    for layer in range(2):
        assert results[-1].layers[layer].loss < results[0].layers[layer].loss
    assert model.predict(batch[0]).shape == (9,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 0}, "^in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "^out_channels must be at least 1, got 0"),
        ({"kernel_size": 0}, "^kernel_size must be at least 1, got 0"),
        ({"stride": 0}, "^stride must be at least 1, got 0"),
        ({"size": (6, 0)}, r"^size\[1\] must be at least 1, got 0"),
        ({"padding": -1}, "^padding must be at least 0, got -1"),
        ({"kernel_size": 7}, r"^kernel_size must fit into the padded input, got 7 for \(6, 6\)"),
        ({"kernel_size": 4, "size": (9, 3)}, r"^kernel_size must fit .* got 4 for \(9, 3\)"),
        ({"kernel_size": 4, "size": (9, 2), "stride": 5}, r"^kernel_size must fit .* got 4 for \(9, 2\)"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocallyConnected2d(**{"in_channels": 1, "out_channels": 2, "kernel_size": 3, "size": 6, **options})


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (2, 2, 6, 5), (2, 6, 6), (2, 72)], ids=str)
def test_inputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^x must be \(rows, 2, 6, 6\), got \(2, "):
        LocallyConnected2d(2, 4, 3, 6)(torch.rand(shape))


def test_repr_shows_the_constructors_arguments() -> None:
    assert repr(LocallyConnected2d(2, 4, 3, 6)) == (
        "LocallyConnected2d(2, 4, kernel_size=3, size=(6, 6), stride=1, padding=0, bias=True)"
    )
