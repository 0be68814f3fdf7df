"""Convolutions of small maps, and their gradients, as products, against torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from forwardforward._utils import convolution
from forwardforward._utils.convolution import Conv2d


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("side", "kernel"), [(7, 3), (3, 3), (2, 3), (2, 5), (3, (5, 1)), (12, 3)])
def test_gradients_agree_with_torch(
    dtype: torch.dtype,
    channels_last: bool,
    bias: bool,
    side: int,
    kernel: int | tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convolution, "POSITIONS", 64)
    torch.manual_seed(0)
    ours = Conv2d(
        6, 5, kernel, padding="same" if side == 12 else (kernel // 2 if isinstance(kernel, int) else (2, 0)), bias=bias
    )
    theirs = nn.Conv2d(6, 5, kernel, padding=ours.padding, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(4, 6, side, side)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    inputs = [maps.clone().contiguous(memory_format=layout).requires_grad_() for _ in range(2)]
    direction = torch.randn(4, 5, side, side)
    for module, x in zip((ours, theirs), inputs, strict=True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            output = module(x)
        assert output.dtype == dtype
        output.backward(direction.to(dtype))
    tolerance = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.15, "rtol": 0.02}
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, **tolerance)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, **tolerance)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 1), {"kernel_size": 3, "padding": 1}),
        ((2, 2), {"kernel_size": 3, "padding": 1, "stride": 2}),
        ((2, 3), {"kernel_size": 1, "stride": 3}),
        ((4, 3), {"kernel_size": (4, 3)}),
        ((1, 2), {"kernel_size": (5, 2), "padding": (2, 0)}),
        ((3, 1), {"kernel_size": (3, 3), "padding": (0, 1), "stride": (7, 1)}),
    ],
    ids=str,
)
def test_an_output_of_one_position_is_torchs(shape: tuple[int, int], options: dict[str, Any], bias: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = (kind(6, 5, bias=bias, **options).double() for kind in (Conv2d, nn.Conv2d))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 6, *shape, dtype=torch.float64, requires_grad=True)
    outputs = [module(x) for module in (ours, theirs)]
    assert outputs[0].shape == outputs[1].shape == (4, 5, 1, 1)
    assert "Convolution" not in type(outputs[0].grad_fn).__name__
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-12, atol=1e-12)
    direction = torch.randn(4, 5, 1, 1, dtype=torch.float64)
    gradients = [
        torch.autograd.grad(output, [x, *module.parameters()], direction)
        for output, module in zip(outputs, (ours, theirs), strict=True)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_the_product_is_used_for_small_maps_in_bfloat16_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "POSITIONS", 64)  # as on a CPU with AMX units
    module = Conv2d(3, 4, 3, padding=1, bias=False)
    assert "_Convolution" not in type(module(torch.rand(2, 3, 8, 8)).grad_fn).__name__
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for side, uses_product in ((8, True), (9, False)):
            output = module(torch.rand(2, 3, side, side))
            assert ("_Convolution" in type(output.grad_fn).__name__) is uses_product
        for other in (Conv2d(3, 4, 3, bias=False), Conv2d(3, 3, 3, padding=1, groups=3), Conv2d(3, 4, 2, padding=1)):
            assert "_Convolution" not in type(other(torch.rand(2, 3, 8, 8)).grad_fn).__name__


def test_gradients_by_transforms_and_of_several_members() -> None:
    module = Conv2d(3, 4, 3, padding=1, bias=False).bfloat16()
    x = torch.rand(2, 5, 3, 4, 4).bfloat16()

    def loss(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = torch.func.functional_call(module, {"weight": weight}, (x,))
        return output.square().sum()

    weights = torch.stack([module.weight.detach(), 2 * module.weight.detach()])
    gradients = torch.func.vmap(torch.func.grad(loss))(weights, x)
    for member in range(2):
        weight = weights[member].clone().requires_grad_()
        nn.functional.conv2d(x[member], weight, padding=1).square().sum().backward()
        torch.testing.assert_close(gradients[member], weight.grad, atol=0.05, rtol=0.02)
