"""Optimizations with equal results: pools before ReLUs, channels last, compiled steps."""

from __future__ import annotations

import inspect
import platform
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed
from torch.utils._python_dispatch import TorchDispatchMode

import forwardforward as ff
from forwardforward.layers.pool import MaxPool2d
from forwardforward.step import WholeStep
from forwardforward.training import CompiledStep


@pytest.mark.parametrize("size", [2, 3, (1, 2)])
def test_the_pools_gradient_is_torchs(size: int | tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 7, 8, dtype=torch.float64, requires_grad=True)
    ours, theirs = MaxPool2d(size), nn.MaxPool2d(size)
    assert repr(ours) == repr(theirs)
    assert torch.equal(ours(maps), theirs(maps))
    assert torch.equal(ours(maps.detach()), theirs(maps))
    weights = torch.randn_like(theirs(maps))
    ours_gradient, expected = (torch.autograd.grad((pool(maps) * weights).sum(), maps)[0] for pool in (ours, theirs))
    assert torch.equal(ours_gradient, expected)
    torch.autograd.gradcheck(ours, maps)


def test_autocast_leaves_the_pools_gradient_in_bfloat16() -> None:
    dtypes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if function is torch.ops.aten.max_unpool2d.default:
                dtypes.append(result.dtype)
            return result

    maps = torch.rand(2, 3, 4, 4).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16), Watch():
        MaxPool2d(2)(maps).sum().backward()
    assert dtypes == [torch.bfloat16]
    assert maps.grad is not None
    assert maps.grad.sum() == 2 * 3 * 4


@pytest.mark.parametrize("order", [ff.layers.NORMALIZE_FIRST, ff.layers.TRANSFORM_FIRST])
def test_pooling_before_the_relu_gives_the_same_result_and_gradient(order: tuple[str, ...]) -> None:
    class Slow(nn.ReLU):  # not the ReLU itself, so the pool comes after it
        pass

    results = []
    for activation in (nn.ReLU(), Slow()):
        torch.manual_seed(0)
        normalization = ff.normalization.BatchNorm()
        layer = ff.FFConv2d(3, 4, 3, padding=1, activation=activation, pool=2, order=order, normalization=normalization)
        x = torch.randn(5, 3, 6, 6, requires_grad=True)
        values = layer.outputs(x)
        assert values.activation.shape == ((5, 4, 3, 3) if type(activation) is nn.ReLU else (5, 4, 6, 6))
        values.output.square().sum().backward()
        results.append((values.output.detach(), x.grad, layer.block.weight.grad))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)


def test_peer_normalization_reads_the_maps_before_the_pool() -> None:
    layer = ff.FFConv2d(3, 4, 3, padding=1, pool=2, peer=ff.normalization.PeerNormalization())
    values = layer.outputs(torch.randn(2, 3, 6, 6))
    assert values.pre_activation.shape == values.activation.shape == (2, 4, 6, 6)
    assert values.goodness_input.shape == values.output.shape == (2, 4, 3, 3)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="maps keep their memory layout")
@pytest.mark.parametrize("normalization", [ff.normalization.BatchNorm(), ff.normalization.RMSNorm()])
def test_maps_keep_their_channels_last(normalization: nn.Module) -> None:
    layers = [ff.FFConv2d(3, 4, 3, normalization=normalization), ff.FFConv2d(4, 6, 3, pool=2)]
    x = torch.randn(2, 3, 9, 9)
    for layer in layers:
        if isinstance(layer.normalization, ff.normalization.BatchNorm):
            layer.eval()(x)  # creates its statistics
        expected = layer.block(x if layer.normalization is None else layer.normalization(x)).relu()
        x = layer(x)
        torch.testing.assert_close(x, expected if layer.pool is None else layer.pool(expected))
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


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    for first, second in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


@pytest.fixture
def traced_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile without a backend, which takes seconds, to test the tracing of the library's layers."""
    real: Callable[..., Any] = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend="eager", **options))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("traced_alone")
def test_a_compiled_step_learns_the_same() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = trained(compile=True)
    assert not [warning for warning in caught if "torch.compile" in str(warning.message)]
    assert_same_weights(model, trained())
    assert "local_loss" not in model[0].__dict__


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_overlapping_updates_with_a_smaller_last_batch_learn_the_same_with_the_real_compiler() -> None:
    def run(compile: bool) -> ff.FFSequential:
        model, (images, labels) = network()
        data = torch.cat([images, images[:6] / 2]), torch.cat([labels, labels[:6]])
        schedule = ff.update_schedules.Overlapping(2, None)
        ff.fit(model, data, epochs=2, batch_size=12, schedule=schedule, compile=compile, progress=False)
        return model

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "training continues layer by layer")
        model = run(compile=True)
    assert_same_weights(model, run(compile=False))


def test_the_whole_step_without_a_compiler_learns_the_same() -> None:
    results = []
    for whole in (None, WholeStep()):
        model, batch = network()
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
        for seed in range(3):
            model.step(batch, optimizer, generator=torch.Generator().manual_seed(seed), whole_step=whole)
        results.append(model)
    assert_same_weights(*results)


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain error", "error of the backend"])
def test_training_continues_without_a_compiler_that_fails_and_warns_once(
    wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []
    # New versions of torch ask for a third argument.
    backend_arguments = [None] * (len(inspect.signature(BackendCompilerFailed).parameters) - 2)

    def broken(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            tries.append(1)
            error = RuntimeError("No working C++ compiler found\nand much more")
            raise BackendCompilerFailed(broken, error, *backend_arguments) if wrapped else error

        return run

    monkeypatch.setattr(torch, "compile", broken)
    message = r"layer by layer, without torch.compile: (RuntimeError: )?No working C\+\+ compiler found$"
    with pytest.warns(UserWarning, match=message) as caught:
        model = trained(compile=True)
    assert len(tries) == len(caught) == 1
    assert_same_weights(model, trained())


def test_a_block_that_torch_func_cannot_transform_is_trained_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(torch.autograd.Function):  # without setup_context
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
            return 2 * x

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
            return 2 * gradient

    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            doubled: Tensor = Old.apply(super().forward(x))
            return doubled

    def run(compile: bool) -> ff.FFSequential:
        torch.manual_seed(0)
        model = ff.FFSequential(
            ff.FFLayer(Doubled(12, 10), activation=nn.ReLU()),
            goodness=ff.goodness.ClassGroups(2),
            loss=ff.losses.CrossEntropy(),
        )
        data = torch.rand(20, 12), torch.arange(20) % 2
        ff.fit(model, data, epochs=1, batch_size=10, compile=compile, progress=False)
        return model

    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    with pytest.warns(UserWarning, match="layer by layer, without torch.compile: .*setup_context"):
        model = run(compile=True)
    assert_same_weights(model, run(compile=False))


def test_training_continues_on_a_python_that_torch_cannot_compile_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        raise RuntimeError("torch.compile is not supported here")

    monkeypatch.setattr(torch, "compile", unsupported)
    with pytest.warns(UserWarning, match="not supported here"):
        assert_same_weights(trained(compile=True), trained())


def test_batches_of_another_size_are_trained_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def compiler(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            sizes.append(len(arguments[3].images))
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", compiler)
    model, (images, labels) = network()
    dataset = list(zip(images, labels, strict=True))
    for data in ((images, labels), dataset, torch.utils.data.DataLoader(dataset, batch_size=8)):
        sizes.clear()
        ff.fit(model, data, epochs=2, batch_size=8, compile=True, progress=False)
        assert sizes == [8, 8] * 2  # not those of 4
    ff.fit(model, (images[:9], labels[:9]), batch_size=8, epochs=1, compile=True, progress=False)
    assert sizes[4:] == [9]  # one batch, which a last sample has joined


def test_a_run_resumes_in_the_compiled_form_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    trained(compile=True, checkpoint=tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match="compile"):
        trained(checkpoint=tmp_path / "run.ckpt", resume=True)


def test_the_bar_shows_that_a_step_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr("forwardforward.training.progress.Progress.show", lambda self, text: texts.append(text))
    trained(compile=True, schedule=ff.update_schedules.Greedy())
    assert texts == ["compiling the training step"] * 2  # for each layer


def test_an_old_torch_trains_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1")
    with pytest.warns(UserWarning, match=r"layer by layer.*tested with torch 2\.6 or newer, got 2\.5\.1") as caught:
        trained(compile=True)
    assert len(caught) == 1


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs the functions of x86 CPUs")
def test_bfloat16_without_units_for_it_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported") if hasattr(torch.cpu, name)]
    for name in names:
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    if not names:
        pytest.skip("this torch does not tell")
    with pytest.warns(UserWarning, match="precision='bf16' is slower than 'float32' on this CPU") as caught:
        trained(precision="bf16")
    assert len(caught) == 1
    monkeypatch.setattr(torch.cpu, names[0], lambda: True)
    trained(precision="bf16")


def test_tf32_lasts_for_the_training() -> None:
    precisions = []

    class Watch(ff.training.Callback):
        def on_step_end(self, state: Any, result: Any) -> None:
            precisions.append(torch.get_float32_matmul_precision())

    before = torch.get_float32_matmul_precision()
    trained(precision="tf32", callbacks=[Watch()])
    assert set(precisions) == {"high"}
    assert torch.get_float32_matmul_precision() == before


def test_a_layers_own_error_is_not_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    model, (images, labels) = network()
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    step = CompiledStep(model)
    with pytest.raises(ValueError, match="in_features must be"):
        step((images[:, :11], labels), optimizer)
    assert step.whole_step is not None
