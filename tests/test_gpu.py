"""Training, prediction and files on a GPU, beside the same on the CPU.

FORWARDFORWARD_TEST_DEVICE=cpu runs them without a GPU, as a test of the tests.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import forwardforward as ff
from forwardforward.cli import main
from forwardforward.recipes import RECIPES, Recipe
from tests.replicas import cases
from tests.test_cuda_graphs import ChangesTheFactor, Scaled
from tests.test_recipes import GROUPED
from tests.test_recipes import RECIPES as ON_IMAGES

DEVICE = os.environ.get("FORWARDFORWARD_TEST_DEVICE", "cuda")
needs_cuda = pytest.mark.skipif(DEVICE != "cuda", reason="a CUDA graph needs a GPU")
pytestmark = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a GPU")

SHAPE = (1, 8, 8)
ON_TEXTS = [name for name, recipe in RECIPES.items() if recipe.representation is not None]

#: Recipes whose steps can be recorded: those of a baseline are not one function.
RECORDED = [name for name in ON_IMAGES if RECIPES[name].baseline is None]

#: Recipes whose masks differ between the forms of the step.
WITH_DROPOUT = ("mono-dropout", "hcl-ff", "predsim", "predsim-fast")

#: Recipes whose steps are compiled here: a pair and a class objective, batch normalization, hard labels, convolutions.
COMPILED = ("hinton", "mono", "best-mlp", "whitened-small")


class NextLabel(ff.negatives.LabelNegatives):
    """The next label: negatives without random numbers, which differ between devices."""

    def wrong_labels(self, labels: Any, num_classes: int, scores: Any, generator: Any) -> torch.Tensor:
        return (labels + 1) % num_classes


class StopAfterOneEpoch(ff.training.Callback):
    def on_epoch_end(self, state: Any) -> None:
        state.stop = True


def images(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.arange(count) % 10


def texts(recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    has_indices = recipe.representation is not None and recipe.representation.num_embeddings is not None
    inputs = (
        torch.randint(1, 100, (12, 16), dtype=torch.int32, generator=generator)
        if has_indices
        else torch.randn(12, 16, generator=generator)
    )
    return inputs, torch.arange(12) % 2


def trained(name: str, double: bool = False, **options: Any) -> tuple[ff.Network, torch.Tensor, ff.training.History]:
    """A recipe's network, trained on the GPU, its inputs, and the history."""
    recipe = RECIPES[name]
    torch.manual_seed(0)
    if recipe.representation is None:
        recipe, data, classes = recipe.replace(widths=GROUPED.get(name, (12, 12))), images(), 10
    else:
        recipe, data, classes = recipe.replace(widths=(6,) * len(recipe.widths)), texts(recipe), 2
    model = recipe.model(tuple(data[0].shape[1:]), classes)
    model = model.double() if double else model
    options = {"epochs": 2, "batch_size": len(data[0]) // 2, "augment": None, "progress": False, **options}
    if recipe.representation is not None:
        del options["augment"]
    history = recipe.fit(model, data, validation=data, **{"device": DEVICE, **options})
    return model, data[0], history


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", [*ON_IMAGES, *ON_TEXTS])
def test_a_network_that_was_trained_on_the_gpu_has_the_same_scores_on_the_cpu(name: str, precision: str) -> None:
    model, inputs, history = trained(name, precision=precision)
    assert all(p.device.type == DEVICE and p.isfinite().all() for p in model.parameters())
    assert history[-1]["validation"]["error"] >= 0
    on_gpu = model.scores(inputs.to(DEVICE))
    assert on_gpu.device.type == DEVICE
    on_cpu = model.cpu().scores(inputs)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=2e-3, atol=2e-3 * float(on_cpu.abs().max()))


@pytest.mark.parametrize("kind", ["pair", "per_class"])
def test_a_step_is_the_same_on_both_devices(kind: str) -> None:
    inputs, labels = cases.data(kind)
    states = []
    for device in ("cpu", DEVICE):
        torch.manual_seed(0)
        # the head's labels, too, are drawn
        model = cases.pair(head=None, negatives=NextLabel()) if kind == "pair" else cases.per_class()
        model.preprocessing.fit(inputs)
        model.to(device)
        optimizer = cases.sgd()
        for _ in range(3):
            model.step((inputs.to(device), labels.to(device)), optimizer)
        states.append(model.cpu())
    assert cases.difference(*states) < 1e-9


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_steps_train(name: str) -> None:
    with without_fallback():
        model, inputs, _ = trained(name, compile=True)
    assert all(p.isfinite().all() for p in model.parameters())
    assert model.predict(inputs.to(DEVICE)).shape == (len(inputs),)


@pytest.mark.parametrize("kind", cases.NETWORKS)
def test_replicas_train(kind: str) -> None:
    inputs, labels = cases.data(kind)
    members = ff.replicate(cases.NETWORKS[kind], cases.SEEDS)
    history = ff.fit(
        members, (inputs, labels), epochs=2, batch_size=10, optimizer=cases.sgd(), device=DEVICE, progress=False
    )
    assert len(history) == 2
    assert all(p.device.type == DEVICE and p.isfinite().all() for p in members.parameters())


@pytest.mark.parametrize("recipe", ["hinton", "mono", "trifecta-s", "whitened-small"])
def test_a_run_resumes_and_is_used_on_either_device(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--widths", "12,12", "--epochs", "1", "--no-progress"]
    folder = str(tmp_path / "run")
    assert main(["train", "digits", "--recipe", recipe, "--device", DEVICE, "--out", folder, *sizes]) == 0
    assert main(["train", "--resume", folder, "--epochs", "2", "--no-progress"]) == 0
    assert main(["train", "--resume", folder, "--epochs", "3", "--device", "cpu", "--no-progress"]) == 0
    for device in ("cpu", DEVICE):
        assert main(["evaluate", folder, "--device", device]) == 0
    assert "error" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", ["hinton", "whitened-small"])
def test_an_interrupted_training_resumes_exactly(recipe: str, tmp_path: Path) -> None:
    """Two epochs at once equal one epoch, a checkpoint, and another epoch in a new network."""

    def run(name: str, *callbacks: ff.training.Callback, resume: bool = False) -> ff.Network:
        torch.manual_seed(0)
        small = RECIPES[recipe].replace(widths=(12, 12))
        model = small.model(SHAPE, 10)
        options: dict[str, Any] = {"epochs": 2, "batch_size": 20, "augment": None, "progress": False}
        path = tmp_path / name
        small.fit(model, images(), device=DEVICE, checkpoint=path, resume=resume, callbacks=callbacks, **options)
        return model

    at_once = run("a")
    run("b", StopAfterOneEpoch())
    in_parts = run("b", resume=True)
    torch.testing.assert_close(at_once.state_dict(), in_parts.state_dict(), rtol=1e-5, atol=1e-6)


def test_a_pretrained_network_predicts() -> None:
    model = ff.pretrained("cifar10-small", device=DEVICE)
    inputs = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(model.scores(inputs.to(DEVICE)).cpu(), model.cpu().scores(inputs), rtol=1e-2, atol=1e-2)


@contextlib.contextmanager
def without_fallback() -> Iterator[None]:
    """Fails if a step was not compiled or not recorded; torch's compiler has warnings of its own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [str(w.message) for w in caught if "training continues" in str(w.message)] == []


@pytest.mark.parametrize("name", [name for name in RECORDED if name not in WITH_DROPOUT])
@needs_cuda
def test_steps_of_a_cuda_graph_equal_the_others(name: str) -> None:
    """In float64 and by SGD: Adam divides rounding by rounding where a gradient is zero."""
    states = []
    for cuda_graph in (False, True):
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.01, momentum=0.9)
        with without_fallback():
            model, _, _ = trained(name, double=True, epochs=4, cuda_graph=cuda_graph, optimizer=optimizer)
        states.append(model.state_dict())
    torch.testing.assert_close(states[1], states[0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", RECORDED)
@needs_cuda
def test_every_recipe_trains_in_a_cuda_graph(name: str, precision: str, replays: list[Any]) -> None:
    with without_fallback():
        model, _, history = trained(name, epochs=4, cuda_graph=True, precision=precision)
    assert all(p.isfinite().all() for p in model.parameters())
    assert history[-1]["validation"]["error"] >= 0
    assert replays


@needs_cuda
def test_a_cuda_graph_of_compiled_steps_trains() -> None:
    with without_fallback():
        model, _, _ = trained("mono", epochs=4, cuda_graph=True, compile=True)
    expected, _, _ = trained("mono", epochs=4)
    for a, b in zip(expected.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", cases.NETWORKS)
@needs_cuda
def test_replicas_in_a_cuda_graph_equal_the_others(kind: str) -> None:
    states = []
    for cuda_graph in (False, True):
        torch.manual_seed(0)
        members = ff.replicate(cases.NETWORKS[kind], cases.SEEDS)
        options: dict[str, Any] = {"epochs": 4, "batch_size": 9, "optimizer": cases.sgd(), "progress": False}
        with without_fallback():
            ff.fit(members, cases.data(kind), device=DEVICE, cuda_graph=cuda_graph, **options)
        states.append(members.state_dict())
    torch.testing.assert_close(states[1], states[0], rtol=1e-6, atol=1e-8)


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The graphs that were replayed, in order."""
    graphs: list[Any] = []
    replay = torch.cuda.CUDAGraph.replay

    def counted(graph: Any) -> None:
        graphs.append(graph)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    return graphs


class Waits(ff.goodness.MeanOfSquares):
    """A goodness that waits for the device."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        goodness = super().forward(x)
        return goodness if goodness.sum().item() >= 0 else -goodness


def pairs(goodness: torch.nn.Module, dropout: float = 0.0) -> ff.FFSequential:
    torch.manual_seed(0)
    block = torch.nn.Sequential(torch.nn.Linear(64, 12), torch.nn.ReLU(), torch.nn.Dropout(dropout))
    return ff.FFSequential(
        ff.FFLayer(block),
        ff.FFLinear(12, 12),
        goodness=goodness,
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Overlay(10),
        input_shape=SHAPE,
    )


def fitted(model: ff.FFSequential, **options: Any) -> dict[str, torch.Tensor]:
    options = {"epochs": 3, "batch_size": 8, "progress": False, "optimizer": cases.sgd(), **options}
    ff.fit(model, images(), device=DEVICE, **options)
    return {name: value.cpu() for name, value in model.state_dict().items()}


@needs_cuda
def test_a_step_that_waits_for_the_device_is_trained_without_a_graph() -> None:
    """With dropout, since torch below 2.13 refuses random numbers after a failed recording."""
    with pytest.warns(UserWarning, match="training continues layer by layer, without a CUDA graph: "):
        weights = fitted(pairs(Waits(), dropout=0.5), cuda_graph=True)
    assert all(value.isfinite().all() for value in weights.values())


@needs_cuda
def test_a_change_of_an_attribute_is_recorded_anew(replays: list[Any]) -> None:
    expected = fitted(pairs(Scaled()), callbacks=[ChangesTheFactor()])
    actual = fitted(pairs(Scaled()), callbacks=[ChangesTheFactor()], cuda_graph=True)
    assert len({id(graph) for graph in replays}) == 3  # epochs
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@needs_cuda
def test_each_replay_draws_other_masks(replays: list[Any]) -> None:
    """The same batch under other masks has another loss."""

    values: list[float] = []

    class Losses(ff.training.Callback):
        def on_step_end(self, state: Any, result: Any) -> None:
            values.append(float(result.layers[0].loss))

    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1e-12)
    model = pairs(ff.goodness.MeanOfSquares(), dropout=0.5)
    fitted(model, cuda_graph=True, epochs=8, batch_size=40, optimizer=optimizer, callbacks=[Losses()])
    assert len(replays) == 6
    assert len(set(values)) == 8


@needs_cuda
def test_a_training_in_a_graph_resumes(tmp_path: Path, replays: list[Any]) -> None:
    def run(**options: Any) -> dict[str, torch.Tensor]:
        optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.01, fused=True)
        return fitted(pairs(ff.goodness.MeanOfSquares()), cuda_graph=True, optimizer=optimizer, **options)

    expected, path = run(), tmp_path / "checkpoint.pt"
    run(checkpoint=path, callbacks=[StopAfterOneEpoch()])
    actual = run(checkpoint=path, resume=True)
    assert replays
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_graph_on_a_device_that_is_not_current() -> None:
    model, _, history = trained("mono", epochs=4, cuda_graph=True, device="cuda:1")
    assert history[-1]["layers"][0]["loss"] < history[0]["layers"][0]["loss"]
    assert all(p.device.index == 1 for p in model.parameters())
