"""Steps in a CUDA graph, without a GPU: a stand-in computes anew what a graph would replay."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import forwardforward as ff
from forwardforward._utils.cuda_graphs import WARM_UP, CapturedFunction, RecordingError
from forwardforward.cli import main
from forwardforward.step.updates import Updates
from forwardforward.training import loop
from tests.replicas import cases


class StandIn(CapturedFunction):
    """Replays by calling the function with the recorded tensors, and writes to the tensors of the first result."""

    recorded = 0
    replayed = 0

    def _capture(self, arguments: list[Any], device: torch.device) -> Any:
        StandIn.recorded += 1
        # A recording does not compute: what it changes in place is restored.
        tensors = [value for value in pytree.tree_leaves(arguments) if isinstance(value, Tensor)]
        before = [tensor.clone() for tensor in tensors]
        self._result = self.function(*arguments)
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
        return self

    def replay(self) -> None:
        StandIn.replayed += 1
        assert self._arguments is not None
        for old, new in zip(*map(pytree.tree_leaves, (self._result, self.function(*self._arguments))), strict=True):
            if isinstance(old, Tensor):
                old.detach().copy_(new)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "recorded", 0)
    monkeypatch.setattr(StandIn, "replayed", 0)
    for module in ("step.whole", "replicas.functions", "replicas.optimizer"):
        monkeypatch.setattr(f"forwardforward.{module}.CapturedFunction", StandIn)


@pytest.fixture
def on_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "check_cuda_graph", lambda device, parallel: None)


# One function


def test_it_is_recorded_after_the_first_calls_and_then_replayed() -> None:
    function = StandIn(lambda weight, x: weight * x, persistent=(0,))
    weight = torch.tensor(2.0)
    results = [float(function(weight, torch.tensor(float(x)))) for x in range(WARM_UP + 3)]
    assert results == [2.0 * x for x in range(WARM_UP + 3)]
    assert (StandIn.recorded, StandIn.replayed) == (1, 3)


def test_persistent_arguments_are_read_and_changed_where_they_are() -> None:
    def add(total: Tensor, x: Tensor) -> Tensor:
        return total.add_(x).clone()

    function = StandIn(add, persistent=(0,))
    total = torch.zeros(2)
    for step in range(1, WARM_UP + 4):
        assert function(total, torch.ones(2)).tolist() == [step, step]
        assert total.tolist() == [step, step]
    total.zero_()  # in place: the recording still reads it
    assert function(total, torch.ones(2)).tolist() == [1, 1]
    assert StandIn.recorded == 1


def test_another_tensor_shape_or_value_is_recorded_anew() -> None:
    function = StandIn(lambda weight, x, factor: weight * x * factor, persistent=(0,))
    weight, other = torch.tensor(2.0), torch.tensor(3.0)

    def three(*arguments: Any) -> list[float]:
        return [function(*arguments).sum().item() for _ in range(WARM_UP + 1)]

    assert three(weight, torch.ones(1), 1) == [2.0] * (WARM_UP + 1)
    assert three(other, torch.ones(1), 1) == [3.0] * (WARM_UP + 1)
    assert three(other, torch.ones(4), 1) == [12.0] * (WARM_UP + 1)
    assert three(other, torch.ones(4), 2) == [24.0] * (WARM_UP + 1)
    assert StandIn.recorded == 4


def test_the_arguments_of_a_call_are_not_kept() -> None:
    function = StandIn(lambda one, x: x + one, persistent=(0,))
    one, x = torch.ones(()), torch.zeros(2)
    results = [function(one, x) for _ in range(WARM_UP + 1)]
    x += 10
    assert all(result.tolist() == [1, 1] for result in results)
    assert function(one, x).tolist() == [11, 11]


# Steps


def pair(**options: Any) -> ff.FFSequential:
    return cases.pair(**{"head": None, "negatives": ff.negatives.RandomLabel(), **options})


NETWORKS: dict[str, Callable[[], ff.FFSequential]] = {**cases.NETWORKS, "random labels": pair}
OPTIMIZERS = {
    "sgd": lambda: ff.LocalOptimizer(torch.optim.SGD, lr=0.01, momentum=0.9),
    "adam on the host": lambda: ff.LocalOptimizer(torch.optim.Adam, lr=0.01),
    "adam": lambda: ff.LocalOptimizer(torch.optim.Adam, lr=0.01, fused=True),
    "clipped": lambda: ff.LocalOptimizer(torch.optim.SGD, lr=0.01, clip_norm=0.1),
    "without a rule": lambda: ff.LocalOptimizer(torch.optim.RMSprop, lr=0.01),
}


def trained(kind: str, optimizer: str = "sgd", **options: Any) -> tuple[ff.FFSequential, ff.training.History]:
    torch.manual_seed(0)
    model = NETWORKS[kind]()
    options = {"epochs": 3, "batch_size": 5, "progress": False, **options}
    return model, ff.fit(model, cases.data(kind), optimizer=OPTIMIZERS[optimizer](), **options)


@pytest.mark.usefixtures("on_any_device")
@pytest.mark.parametrize("micro_batch_size", [None, 2])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_training_is_the_same_in_a_graph(kind: str, micro_batch_size: int | None) -> None:
    if kind == "words":
        pytest.skip("its dropout draws other masks in the whole form")
    if micro_batch_size is not None and kind in ("per_class", "learned_label"):
        pytest.skip("batch statistics of parts differ by design")
    expected, losses = trained(kind, micro_batch_size=micro_batch_size)
    actual, recorded = trained(kind, micro_batch_size=micro_batch_size, cuda_graph=True)
    assert StandIn.replayed > 0
    assert cases.difference(expected, actual) < 1e-9
    for a, b in zip(losses[-1]["layers"], recorded[-1]["layers"], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-9)


@pytest.mark.usefixtures("on_any_device")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_updates_in_or_after_the_graph(optimizer: str) -> None:
    expected, _ = trained("random labels", optimizer)
    actual, _ = trained("random labels", optimizer, cuda_graph=True)
    assert StandIn.replayed > 0
    assert cases.difference(expected, actual) < 1e-7


def test_states_on_another_device_than_the_parameters_are_noticed() -> None:
    parameter = torch.nn.Parameter(torch.empty(3, device="meta"))
    for options, expected in (({}, True), ({"fused": True}, False)):
        optimizer = torch.optim.Adam([{"params": [parameter], "parameter_group": "0"}], lr=torch.tensor(0.1).item())
        optimizer.param_groups[0].update(options)
        assert Updates([optimizer], [{"weight": parameter}]).counts_on_host is expected


@pytest.mark.usefixtures("on_any_device")
def test_states_on_the_host_are_updated_outside_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded operation on the CPU would not be repeated: the number of Adam's steps would stay 1."""
    monkeypatch.setattr(Updates, "counts_on_host", property(lambda self: True, lambda self, value: None), raising=False)
    counts: list[int] = []
    original = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *a: counts.append(1) or original(self, *a))
    trained("random labels", "adam", cuda_graph=True)
    assert StandIn.replayed > 0
    assert len(counts) == 3 * 8 * 2  # epochs, steps, layers


class Scaled(ff.goodness.MeanOfSquares):
    """A goodness with a number that is not a tensor."""

    factor = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * super().forward(x)


def scaled(goodness: nn.Module | None = None) -> ff.FFSequential:
    return ff.FFSequential(
        ff.FFLinear(12, 8),
        ff.FFLinear(8, 7),
        goodness=Scaled() if goodness is None else goodness,
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Overlay(3),
    ).double()


class ChangesTheFactor(ff.training.Callback):
    def on_epoch_end(self, state: Any) -> None:
        for layer in state.model.layers:
            layer.objective.goodness.factor += 1.0


@pytest.mark.usefixtures("on_any_device")
def test_an_attribute_that_changes_is_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "scaled", scaled)
    expected, _ = trained("scaled", callbacks=[ChangesTheFactor()])
    actual, _ = trained("scaled", callbacks=[ChangesTheFactor()], cuda_graph=True)
    assert StandIn.recorded == 3  # epochs
    assert cases.difference(expected, actual) < 1e-9


@pytest.mark.usefixtures("on_any_device")
def test_alternating_groups_have_graphs_of_their_own() -> None:
    schedule = ff.update_schedules.Overlapping(size=2, alternate="step")
    expected, _ = trained("per_class", schedule=schedule)
    actual, _ = trained("per_class", schedule=schedule, cuda_graph=True)
    assert StandIn.recorded == 2
    assert cases.difference(expected, actual) < 1e-9


@pytest.mark.usefixtures("on_any_device")
@pytest.mark.parametrize("kind", cases.NETWORKS)
def test_replicas_are_the_same_in_a_graph(kind: str) -> None:
    models = []
    for cuda_graph in (False, True):
        torch.manual_seed(0)
        members = ff.replicate(cases.NETWORKS[kind], cases.SEEDS)
        options: dict[str, Any] = {"epochs": 3, "batch_size": 5, "optimizer": cases.sgd(), "progress": False}
        ff.fit(members, cases.data(kind), cuda_graph=cuda_graph, **options)
        models.append(members)
    assert StandIn.replayed > 0
    assert cases.difference(*models) < 1e-9


@pytest.mark.usefixtures("on_any_device")
@pytest.mark.parametrize("replicas", [False, True])
def test_a_step_that_cannot_be_recorded_is_trained_without(replicas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: StandIn, arguments: list[Any], device: torch.device) -> Any:
        raise RecordingError("operation not permitted when stream is capturing")

    monkeypatch.setattr(StandIn, "_capture", fail)
    make = cases.NETWORKS["pair"]
    models = []
    for cuda_graph in (False, True):
        torch.manual_seed(0)
        model = ff.replicate(make, cases.SEEDS) if replicas else make()
        match = "^training continues (layer by layer, )?without a CUDA graph: operation not permitted"
        warns = pytest.warns(UserWarning, match=match)
        with warns if cuda_graph else contextlib.nullcontext():
            options: dict[str, Any] = {"epochs": 3, "batch_size": 5, "optimizer": cases.sgd(), "progress": False}
            ff.fit(model, cases.data("pair"), cuda_graph=cuda_graph, **options)
        models.append(model)
    assert cases.difference(*models) < 1e-9


class Counts(ff.goodness.MeanOfSquares):
    """A goodness with a number that changes in every call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return super().forward(x)


@pytest.mark.usefixtures("on_any_device")
def test_a_step_that_changes_every_time_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "scaled", lambda: scaled(Counts()))
    with pytest.warns(UserWarning, match="without a CUDA graph: something about the layers changes in every step"):
        actual, _ = trained("scaled", cuda_graph=True)
    expected, _ = trained("scaled")
    assert StandIn.recorded == 0
    assert cases.difference(expected, actual) < 1e-9


@pytest.mark.usefixtures("on_any_device")
def test_a_compiled_step_that_cannot_be_recorded_stays_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: StandIn, arguments: list[Any], device: torch.device) -> Any:
        raise RecordingError("no")

    functions: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: functions.append(function) or function)
    monkeypatch.setattr(StandIn, "_capture", fail)
    with pytest.warns(UserWarning, match="^training continues without a CUDA graph: no$"):
        actual, _ = trained("random labels", cuda_graph=True, compile=True)
    assert len(functions) == 2  # with the graph, and without
    expected, _ = trained("random labels")
    assert cases.difference(expected, actual) < 1e-9


@pytest.mark.usefixtures("on_any_device")
def test_a_head_reads_each_part_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its features of one part must not be those that the next replay writes."""

    def make() -> ff.FFSequential:
        head = ff.heads.LinearHead(3, normalize=False)
        model = ff.FFSequential(
            ff.FFLinear(12, 8),
            ff.FFLinear(8, 7),
            goodness=ff.goodness.LearnedProjection(3),
            loss=ff.losses.CrossEntropy(),
            head=head,
        )
        return model.double()

    monkeypatch.setitem(NETWORKS, "head", make)
    expected, _ = trained("head", batch_size=6, micro_batch_size=2)
    actual, _ = trained("head", batch_size=6, micro_batch_size=2, cuda_graph=True)
    assert StandIn.replayed > 0
    assert cases.difference(expected, actual) < 1e-9


@pytest.mark.usefixtures("on_any_device")
def test_replicas_with_clipped_gradients_record_the_gradients_only() -> None:
    models = []
    for cuda_graph in (False, True):
        torch.manual_seed(0)
        members = ff.replicate(cases.NETWORKS["pair"], cases.SEEDS)
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.01, clip_norm=0.1)
        options: dict[str, Any] = {"epochs": 3, "batch_size": 5, "optimizer": optimizer, "progress": False}
        ff.fit(members, cases.data("pair"), cuda_graph=cuda_graph, **options)
        models.append(members)
    assert StandIn.replayed > 0
    assert cases.difference(*models) < 1e-9


# Arguments


def test_a_graph_needs_a_gpu() -> None:
    with pytest.raises(ValueError, match="^cuda_graph must be False for device 'cpu', got True$"):
        ff.fit(cases.per_class(), cases.data("per_class"), cuda_graph=True)


def test_a_run_with_a_graph_resumes_on_a_cpu(tmp_path: Any) -> None:
    recipe = ff.recipes.get("mono").for_dataset("digits").replace(widths=(6,), epochs=1)
    config = ff.runs.RunConfig.from_recipe(recipe, "digits", cuda_graph=True)
    run = ff.runs.Run.create(tmp_path / "run", config)
    assert run.train(progress=False)["epochs"] == 1


def test_the_command_line_refuses_a_graph_without_a_gpu(one_line: Callable[..., str]) -> None:
    line = one_line(main, ["train", "digits", "--cuda-graph", "--device", "cpu"])
    assert "--cuda-graph must be left out on the device 'cpu'" in line


def test_the_command_line_refuses_a_graph_with_several_processes(
    one_line: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwardforward.cli.train.choose_device", lambda name: "cuda")
    line = one_line(main, ["train", "digits", "--cuda-graph", "--parallel", "data"])
    assert "--cuda-graph must be left out with --parallel" in line
