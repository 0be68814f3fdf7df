"""A normalization's learned scale is applied to the weights of a linear block."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import forwardforward as ff
from forwardforward.layers.linear_block import FEW_ROWS, add_to_all

F64 = torch.float64
PLUGINS = {"goodness": ff.goodness.MeanOfSquares(), "loss": ff.losses.SymBa()}

#: Arguments of a convolution with 4 channels.
CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "padded": {"kernel_size": 3, "padding": 1},
    "no bias": {"kernel_size": 3, "padding": "same", "bias": False},
    "strides": {"kernel_size": (3, 2), "stride": 2},
    "reflected": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    "one position": {"kernel_size": 5},
    "groups": {"kernel_size": 3, "groups": 2},
}


def make(name: str, statistics: Any = "batch") -> tuple[ff.FFLayer, Tensor]:
    torch.manual_seed(0)
    normalization = ff.normalization.BatchNorm(affine=True, statistics=statistics)
    if name == "dense":
        shape: tuple[int, ...] = (4,)
        layer: ff.FFLayer = ff.FFLinear(4, 6, normalization=normalization, **PLUGINS)
    else:
        shape = (4, 5, 5)
        layer = ff.FFConv2d(4, 6, **CONVOLUTIONS[name], input_shape=shape, normalization=normalization, **PLUGINS)
    layer.to(F64)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer, torch.rand(10, *shape, dtype=F64)


def gradients(layer: ff.FFLayer, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    layer.zero_grad()
    output, local = layer.local_loss(x, ff.Batch(x, has_negatives=True))
    local.loss.backward()
    return output.detach(), {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("statistics", ["batch", "running"])
@pytest.mark.parametrize("name", ["dense", *CONVOLUTIONS])
def test_outputs_and_gradients_are_those_of_the_operations_one_by_one(name: str, statistics: str) -> None:
    layer, x = make(name, statistics)
    output, of_parameters = gradients(layer, x)
    assert "normalization.weight" in of_parameters
    assert "normalization.bias" in of_parameters
    layer.normalization.running_mean.zero_()
    layer.normalization.running_var.fill_(1)
    expected = layer.block(layer.normalization(x)).relu()
    torch.testing.assert_close(output, expected.detach(), rtol=1e-12, atol=1e-12)
    good = expected.square().flatten(1).mean(1)
    layer.zero_grad()
    layer.objective.loss(good[:5], good[5:]).backward()
    for key, parameter in layer.named_parameters():
        torch.testing.assert_close(of_parameters[key], parameter.grad, rtol=1e-10, atol=1e-12, msg=key)


class InputGradients(TorchDispatchMode):
    """Counts products for the gradient of a convolution's input of more than one map."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution_backward.default and len(args[1]) > 1:
            self.count += args[-1][0]
        return func(*args, **(kwargs or {}))


def test_the_gradient_of_the_scale_takes_no_product_with_the_weights() -> None:
    layer, x = make("padded")
    with InputGradients() as products:
        gradients(layer, x)
    assert products.count == 0
    with InputGradients() as products:
        gradients(layer, x.requires_grad_())  # needed by the layer below
    assert products.count == 1


def test_hooks_of_the_block_and_of_the_normalization_are_called() -> None:
    layer, x = make("padded")
    output, of_parameters = gradients(layer, x)
    calls: list[str] = []
    for module in (layer.normalization, layer.block):
        module.register_forward_hook(lambda module, inputs, output: calls.append(type(module).__name__))
    with_hooks, others = gradients(layer, x)
    assert calls == ["BatchNorm", "Conv2d"]
    torch.testing.assert_close(with_hooks, output)
    torch.testing.assert_close(others, of_parameters)


def test_a_normalization_of_your_own_may_have_a_learned_scale() -> None:
    class Scaled(ff.normalization.Normalization):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.full((3,), 2.0))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

        def split_affine(self, x: Tensor) -> tuple[Tensor, ff.normalization.Affine]:
            return x, ff.normalization.Affine(column_scale=self.scale)

    layer, x = ff.FFLinear(3, 2, normalization=Scaled(), **PLUGINS), torch.rand(4, 3)
    torch.testing.assert_close(layer(x), layer.block(2 * x).relu())
    layer(x).sum().backward()
    assert layer.normalization.scale.grad.shape == (3,)


@pytest.mark.parametrize("count", [1, 2, FEW_ROWS, FEW_ROWS + 1, 20])
@pytest.mark.parametrize("inner", [(3, 2), (1, 2)])
def test_the_sum_with_one_row_has_the_gradients_of_a_plain_sum(count: int, inner: tuple[int, int]) -> None:
    rows = torch.rand(count, *inner, dtype=F64, requires_grad=True)
    one = torch.rand(1, 3, 2, dtype=F64, requires_grad=True)
    weights = torch.rand(count, 3, 2, dtype=F64)
    torch.testing.assert_close(add_to_all(rows, one), rows + one)
    for a, b in zip(
        torch.autograd.grad((weights * add_to_all(rows, one)).sum(), (rows, one)),
        torch.autograd.grad((weights * (rows + one)).sum(), (rows, one)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
