"""A normalization's learned scale is applied to the weights of a linear block."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import forwardforward as ff
from forwardforward.layers.feedback import use_random_feedback
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


class Products(TorchDispatchMode):
    """Counts products for gradients: of a convolution's input of several maps, and of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.of_input = 0
        self.matrices = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution_backward.default and len(args[1]) > 1:
            self.of_input += args[-1][0]
        if func is torch.ops.aten.mm.default and min(*args[0].shape, args[1].shape[1]) > 1:
            self.matrices += 1
        return func(*args, **(kwargs or {}))


def test_the_gradient_of_the_scale_takes_no_product_with_the_weights() -> None:
    layer, x = make("padded")
    with Products() as products:
        gradients(layer, x)
    assert products.of_input == 0
    with Products() as products:
        gradients(layer, x.requires_grad_())  # needed by the layer below
    assert products.of_input == 1
    layer, x = make("dense")
    with Products() as products:
        gradients(layer, x)
    assert products.matrices == 1  # the gradient of the weights; the output is an addmm
    with Products() as products:
        gradients(layer, x.requires_grad_())
    assert products.matrices == 2


def changed_block(block: nn.Module, change: str) -> nn.Module:
    """Return a block that computes something else than its class does with its weights."""
    if change == "subclass":

        class Doubled(type(block)):  # type: ignore[misc]
            def forward(self, x: Tensor) -> Tensor:
                return 2 * super().forward(x)

        block.__class__ = Doubled
    elif change == "patched":
        forward = block.forward
        block.forward = lambda x: 2 * forward(x)
    elif change == "feedback":
        use_random_feedback(block)
    else:
        getattr(block, f"register_{change}")(lambda module, *values: None)
    return block


@pytest.mark.parametrize(
    "change", ["subclass", "patched", "feedback", "forward_hook", "forward_pre_hook", "full_backward_hook"]
)
@pytest.mark.parametrize("name", ["dense", "padded"])
def test_a_block_with_another_forward_or_with_hooks_is_called(name: str, change: str) -> None:
    layer, x = make(name)
    layer.block = changed_block(layer.block, change)
    calls = []
    layer.block.register_forward_hook(lambda module, inputs, output: calls.append(output.detach()))
    layer.train()
    torch.testing.assert_close(layer(x), layer.block(layer.normalization(x)).relu())
    assert len(calls) == 2
    _, of_parameters = gradients(layer, x)
    layer.zero_grad()
    good = layer.block(layer.normalization(x)).relu().square().flatten(1).mean(1)
    layer.objective.loss(good[:5], good[5:]).backward()
    for key, parameter in layer.named_parameters():
        torch.testing.assert_close(of_parameters[key], parameter.grad, msg=key)


@pytest.mark.parametrize("labeled", [False, True])
def test_a_normalization_with_another_forward_is_called(labeled: bool) -> None:
    class Clamped(ff.normalization.BatchNorm):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).clamp(-0.1, 0.1)

    layer = ff.FFLinear(6, 3, normalization=Clamped(affine=True), **PLUGINS)
    x = torch.rand(8, 6)
    inputs: Any = ff.label_encoders.Overlay(3)(x, torch.arange(8) % 3) if labeled else x
    rows = inputs.joined() if labeled else x
    expected = layer.block(layer.normalization(rows)).relu()
    torch.testing.assert_close(layer(inputs), expected)


@pytest.mark.parametrize("name", ["dense", "padded"])
def test_a_parametrization_of_the_weights_is_computed_once(name: str) -> None:
    class Counted(nn.Module):
        count = 0

        def forward(self, weight: Tensor) -> Tensor:
            Counted.count += 1
            return weight

    layer, x = make(name)
    nn.utils.parametrize.register_parametrization(layer.block, "weight", Counted())
    Counted.count = 0
    gradients(layer, x)
    assert Counted.count == 1


@pytest.mark.parametrize("name", ["dense", "padded"])
def test_precisions_may_differ(name: str) -> None:
    layer, x = make(name)
    layer.to(torch.bfloat16)
    layer.normalization.float()
    _, of_parameters = gradients(layer, x.bfloat16())
    layer, x = make(name)
    _, expected = gradients(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        _, autocast = gradients(layer.float(), x.float())
    for key, gradient in expected.items():
        size = gradient.norm()
        assert (of_parameters[key] - gradient).norm() < 0.05 * size, key
        assert (autocast[key] - gradient).norm() < 0.05 * size, key


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, for forward mode
@pytest.mark.parametrize("name", ["dense", "padded"])
def test_forward_mode(name: str) -> None:
    layer, x = make(name, "running")
    layer.eval()
    tangent = torch.rand_like(x)
    _, derivative = torch.func.jvp(layer, (x,), (tangent,))
    numerical = (layer(x + 1e-6 * tangent) - layer(x - 1e-6 * tangent)) / 2e-6
    torch.testing.assert_close(derivative, numerical, rtol=1e-4, atol=1e-6)
    ones = torch.rand(6, 3), torch.rand(1, 3)
    _, derivative = torch.func.jvp(add_to_all, ones, ones)
    torch.testing.assert_close(derivative, ones[0] + ones[1])


class Scaled(ff.normalization.Normalization):
    """A normalization of a user."""

    def __init__(self, form: str = "affine") -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((3,), 2.0))
        self.form = form
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale

    def split_affine(self, x: Tensor) -> Any:
        self.calls += 1
        affine = ff.normalization.Affine(column_scale=self.scale)
        forms = {"affine": (x, affine), "alone": affine, "rows": (x, affine._replace(row_scale=x[None, :, :1]))}
        return forms[self.form]


def test_a_normalization_of_your_own_may_have_a_learned_scale() -> None:
    layer, x = ff.FFLinear(3, 2, normalization=Scaled(), **PLUGINS), torch.rand(4, 3)
    layer.normalization.calls = 0
    output = layer(x)
    assert layer.normalization.calls == 1
    torch.testing.assert_close(output, layer.block(2 * x).relu())
    output.sum().backward()
    assert layer.normalization.scale.grad.shape == (3,)


def test_what_split_affine_returns_is_checked() -> None:
    x = torch.rand(4, 3)
    with pytest.raises(TypeError, match="split_affine must return a tensor and an Affine, or None, got Affine"):
        ff.FFLinear(3, 2, normalization=Scaled("alone"), **PLUGINS)(x)
    with pytest.raises(ValueError, match="split_affine must return an Affine of columns, got scales"):
        ff.FFLinear(3, 2, normalization=Scaled("rows"), **PLUGINS)(x)


@pytest.mark.parametrize("count", [0, 1, 2, FEW_ROWS, FEW_ROWS + 1, 20])
@pytest.mark.parametrize("inner", [(3, 2), (1, 2)])
def test_the_sum_with_one_row_has_the_gradients_of_a_plain_sum(count: int, inner: tuple[int, int]) -> None:
    rows = torch.rand(count, *inner, dtype=F64, requires_grad=True)
    one = torch.rand(1, 3, 2, dtype=F64, requires_grad=True)
    weights = torch.rand(count, 3, 2, dtype=F64)
    total = add_to_all(rows, one)
    assert total.grad_fn.name() == ("_AddToAllBackward" if inner == (3, 2) else "AddBackward0")
    torch.testing.assert_close(total, rows + one)
    for a, b in zip(
        torch.autograd.grad((weights * total).sum(), (rows, one)),
        torch.autograd.grad((weights * (rows + one)).sum(), (rows, one)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
