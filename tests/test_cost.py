"""What makes steps cheap changes no result: pools before ReLUs, channels last, compiled layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward.layers.pool import MaxPool2d
from forwardforward.training import Compiled


@pytest.mark.parametrize("size", [2, 3, (1, 2)])
def test_the_pools_gradient_is_torchs(size: int | tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 7, 8, dtype=torch.float64, requires_grad=True)
    ours, theirs = MaxPool2d(size), nn.MaxPool2d(size)
    assert repr(ours) == repr(theirs)
    assert torch.equal(ours(maps), theirs(maps))
    assert torch.equal(ours(maps.detach()), theirs(maps))
    weights = torch.randn_like(theirs(maps))
    found, wanted = (torch.autograd.grad((pool(maps) * weights).sum(), maps)[0] for pool in (ours, theirs))
    assert torch.equal(found, wanted)
    torch.autograd.gradcheck(ours, maps)


@pytest.mark.parametrize("order", [ff.layers.NORMALIZE_FIRST, ff.layers.TRANSFORM_FIRST])
def test_pooling_before_the_relu_changes_nothing(order: tuple[str, ...]) -> None:
    class Slow(nn.ReLU):  # not the ReLU itself, so that it comes first
        pass

    found = []
    for activation in (nn.ReLU(), Slow()):
        torch.manual_seed(0)
        layer = ff.FFConv2d(3, 4, 3, padding=1, activation=activation, pool=2, order=order)
        layer.normalize_by(ff.normalization.BatchNorm())
        x = torch.randn(5, 3, 6, 6, requires_grad=True)
        out = layer(x)
        out.square().sum().backward()
        found.append((out.detach(), x.grad, layer.block.weight.grad))
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)


def test_peer_normalization_sees_the_whole_maps() -> None:
    layer = ff.FFConv2d(3, 4, 3, padding=1, pool=2, peer=ff.normalization.PeerNormalization())
    found = layer.run(torch.randn(2, 3, 6, 6))
    assert found.pre_activations.shape == found.activated.shape == (2, 4, 6, 6)
    assert found.read.shape == (2, 4, 3, 3)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="channels stay where they are")
@pytest.mark.parametrize("normalization", [ff.normalization.BatchNorm(), ff.normalization.RMSNorm()])
def test_maps_keep_their_channels_last(normalization: nn.Module) -> None:
    layers = [ff.FFConv2d(3, 4, 3, normalization=normalization), ff.FFConv2d(4, 6, 3, pool=2)]
    x = torch.randn(2, 3, 9, 9)
    for layer in layers:
        wanted = layer.block(x if layer.normalization is None else layer.normalization(x)).relu()
        x = layer(x)
        torch.testing.assert_close(x, wanted if layer.pool is None else layer.pool(wanted))
        assert x.is_contiguous(memory_format=torch.channels_last)


def network() -> tuple[ff.FFSequential, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(12, 10),
        ff.FFLinear(10, 8),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(theta="width"),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Overlay(4),
    )
    return model, (torch.rand(20, 12), torch.randint(4, (20,)))


def trained(**options: Any) -> ff.FFSequential:
    model, data = network()
    ff.fit(model, data, epochs=2, batch_size=10, progress=False, **options)
    return model


def same_weights(a: nn.Module, b: nn.Module) -> None:
    for one, other in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.fixture
def traced_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile without a backend, which takes seconds; the tracing is what may go wrong with our layers."""
    real: Callable[..., Any] = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: real(function, backend="eager"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("traced_alone")
def test_compiled_layers_learn_the_same() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = trained(compile=True)
    assert not [one for one in caught if "torch.compile" in str(one.message)]
    same_weights(model, trained())
    assert "local_loss" not in model.stack[0].__dict__


def test_a_compiler_that_fails_is_done_without_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def broken(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            tries.append(1)
            raise RuntimeError("No working C++ compiler found\nand much more")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(UserWarning, match=r"without torch.compile, which failed: No working C\+\+ compiler found$"):
        model = trained(compile=True)
    assert len(tries) == 1
    same_weights(model, trained())


def test_a_python_that_torch_cannot_compile_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(function: Callable[..., Any]) -> Callable[..., Any]:
        raise RuntimeError("torch.compile is not supported here")

    monkeypatch.setattr(torch, "compile", unsupported)
    with pytest.warns(UserWarning, match="not supported here"):
        same_weights(trained(compile=True), trained())


def test_a_layers_own_error_is_not_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    model, (images, labels) = network()
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    compiled = Compiled(model)
    with compiled, pytest.raises(ValueError, match="in_features must be"):
        model.step((images[:, :11], labels), optimizer)
    assert not compiled.failed
