"""Both forms of the local step, for every recipe and every update schedule."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward.layers import SkipConnection
from forwardforward.recipes import RECIPES, Recipe
from forwardforward.step import Stack, WholeStep, check_groups
from forwardforward.update_schedules import EndToEnd, Greedy, Joint, Overlapping, Schedule, Staggered

#: The recipes whose targets are classes; tests/test_targets.py has the others.
NAMES = [name for name, recipe in RECIPES.items() if recipe.baseline is None and recipe.target_kind.has_one_class]


def small(name: str, widths: tuple[int, ...] | None = None) -> tuple[Recipe, ff.FFSequential, tuple[Tensor, Tensor]]:
    """A recipe on the digits, its model, and a batch."""
    recipe = RECIPES[name].for_dataset("digits")
    if widths is not None:
        recipe = recipe.replace(widths=widths)
    words = recipe.representation is not None
    shape, classes = ((20,), 2) if words else ((1, 8, 8), 10)
    if words:
        recipe = recipe.replace(widths=tuple(12 for _ in recipe.widths))
    torch.manual_seed(0)
    model: Any = recipe.model(shape, classes)
    images = torch.rand(16, *shape)
    if model.num_embeddings is not None:
        images = torch.randint(0, model.num_embeddings, (16, *shape))
    model.preprocessing.fit(images)
    labels = torch.arange(16) % classes
    if isinstance(model.stack[0], ff.layers.FFEmbeddingBag) and model.stack[0].needs_fit:
        model.stack[0].fit([(images, nn.functional.one_hot(labels, classes).float())])
    return recipe, model, (images, labels)


def step(model: ff.FFSequential, batch: tuple[Tensor, Tensor], optimizer: ff.LocalOptimizer, **options: Any) -> Any:
    """One step with fixed random numbers."""
    torch.manual_seed(5)
    return model.step(batch, optimizer, generator=torch.Generator().manual_seed(3), **options)


def difference(a: nn.Module, b: nn.Module) -> float:
    """The largest difference of two models' weights and buffers."""
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max(float((x.double() - y.double()).abs().max()) for x, y in pairs if x.numel())


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_agree_for_every_recipe_and_its_schedule(name: str) -> None:
    recipe, model, (images, labels) = small(name)
    model.double()
    batch = (images.double() if images.is_floating_point() else images, labels)
    other = copy.deepcopy(model)
    optimizers = recipe.local_optimizer(), recipe.local_optimizer()
    before = copy.deepcopy(model)
    for index in range(2):
        groups = recipe.schedule(len(model), 0, index, 40)
        layerwise = step(model, batch, optimizers[0], groups=groups, monitor=True)
        whole = step(other, batch, optimizers[1], groups=groups, monitor=True, whole_step=WholeStep())
        assert layerwise.layers.keys() == whole.layers.keys()
        for layer, local in layerwise.layers.items():
            for figure in ("loss", "positive", "negative", "accuracy"):
                expected, got = getattr(local, figure), getattr(whole.layers[layer], figure)
                assert (expected is None) == (got is None)
                assert expected is None or abs(float(expected) - float(got)) < 1e-10
            assert local.parts.keys() == whole.layers[layer].parts.keys()
            norms = layerwise.gradient_norms[layer], whole.gradient_norms[layer]
            assert float(norms[0]) == pytest.approx(float(norms[1]), abs=1e-10)
        assert (layerwise.head is None) == (whole.head is None)
    assert difference(model, other) < 1e-10
    assert difference(model, before) > 1e-6


class Doubled(nn.Module):
    """A block with dropout and two buffers: one is changed in place at each call, one is assigned."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)
        self.dropout = nn.Dropout(0.3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("average", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
            self.average = 0.9 * self.average + 0.1 * x.mean()
        return self.dropout(self.linear(x))


def deep(learned_label: bool, depth: int = 5) -> ff.FFSequential:
    """A network with a learned label or none, batch normalization, dropout, peers, a skip connection and a head."""
    torch.manual_seed(0)
    if learned_label:
        blocks = [ff.FFConv2d(2 if i == 0 else 3, 3, 3, padding=1) for i in range(depth)]
        blocks[3] = ff.FFConv2d(3, 3, 3, padding=1, residual=SkipConnection(2))
        model = ff.FFSequential(
            *blocks,
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            normalization=ff.normalization.BatchNorm(affine=True),
            peer=ff.normalization.PeerNormalization(),
            label_encoder=ff.label_encoders.LearnedChannel(3, 4),
            head=ff.heads.LinearHead(3, label="random"),
            input_shape=(1, 4, 4),
        )
    else:
        layers = [ff.FFLayer(Doubled(16), activation=nn.ReLU()) for _ in range(depth)]
        layers[4] = ff.FFLayer(Doubled(16), activation=nn.ReLU(), residual=SkipConnection(3))
        model = ff.FFSequential(
            *layers,
            goodness=ff.goodness.LearnedProjection(3),
            loss=ff.losses.CrossEntropy(),
            normalization=ff.normalization.RMSNorm(),
            head=ff.heads.LinearHead(3),
            input_shape=(16,),
        )
    return model.double()


@pytest.mark.parametrize("learned_label", [True, False])
@pytest.mark.parametrize(
    "schedule",
    [
        Joint(),
        Greedy(),
        Staggered.evenly(5),
        Overlapping(2, "step"),
        Overlapping(2, None),
        Overlapping(3, None),
        Overlapping(5, "epoch"),
        EndToEnd(),
    ],
    ids=repr,
)
def test_both_forms_agree_for_every_schedule(schedule: Schedule, learned_label: bool) -> None:
    model = deep(learned_label)
    other = copy.deepcopy(model)
    shape = (8, 1, 4, 4) if learned_label else (8, 16)
    batch = torch.rand(shape, dtype=torch.float64), torch.arange(8) % 3
    optimizers = [ff.LocalOptimizer(torch.optim.AdamW, lr=1e-2, weight_decay=0.5) for _ in range(2)]
    for index in range(4):
        groups = schedule(5, 2 * index, index, 10)
        step(model, batch, optimizers[0], groups=groups)
        step(other, batch, optimizers[1], groups=groups, whole_step=WholeStep())
        assert difference(model, other) < 1e-10
    # each layer has a state of its own where groups overlap, in both forms
    assert optimizers[0].state_dict().keys() == optimizers[1].state_dict().keys()
    if not learned_label:  # every layer runs once per step, also if groups overlap
        steps = [check_groups(schedule(5, 2 * index, index, 10), 5) for index in range(4)]
        counts = [sum(any(layer in group.layers for group in groups) for groups in steps) for layer in range(5)]
        assert [float(layer.block.calls) for layer in model] == counts


def test_the_whole_function_is_pure() -> None:
    model = deep(learned_label=True)
    batch = model.make_batch(torch.rand(8, 1, 4, 4, dtype=torch.float64), torch.arange(8) % 3, None, None)
    stack = Stack(model.stack, [(str(i),) for i in range(5)])
    before = copy.deepcopy(model.state_dict())
    groups = check_groups(Overlapping(2, None)(5, 0, 0, 1), 5)
    first, second = (WholeStep().gradients(stack, batch, groups) for _ in range(2))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    for layer in range(5):
        assert first.parameters[layer].keys() == {key for key, _ in model[layer].named_parameters()}
        assert all(torch.equal(value, second.parameters[layer][key]) for key, value in first.parameters[layer].items())
        assert not torch.equal(first.buffers[layer]["peer.means"], before[f"layers.{layer}.peer.means"])
    assert first.codebook is not None
    assert float(first.codebook.abs().max()) > 0


def test_frozen_and_parametrized_layers_agree() -> None:
    model = deep(learned_label=False)
    model[1].requires_grad_(False)
    nn.utils.parametrizations.weight_norm(model[2].block.linear)
    other = copy.deepcopy(model)
    batch = torch.rand(8, 16, dtype=torch.float64), torch.arange(8) % 3
    frozen = copy.deepcopy(model[1].state_dict())
    for candidate, whole in ((model, None), (other, WholeStep())):
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
        step(candidate, batch, optimizer, groups=Overlapping(2, None)(5, 0, 0, 1), whole_step=whole)
    assert difference(model, other) < 1e-10
    weights = {key for key, _ in model[1].named_parameters()}
    assert all(torch.equal(frozen[key], model[1].state_dict()[key]) for key in weights)


def test_a_frozen_first_layer_agrees() -> None:
    model = deep(learned_label=False, depth=5)
    model[0].requires_grad_(False)
    other = copy.deepcopy(model)
    batch = torch.rand(8, 16, dtype=torch.float64), torch.arange(8) % 3
    for candidate, whole in ((model, None), (other, WholeStep())):
        step(candidate, batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1), whole_step=whole)
    assert difference(model, other) < 1e-10


@pytest.mark.parametrize("whole", [False, True])
def test_a_step_without_groups_changes_nothing(whole: bool) -> None:
    model = ff.FFSequential(
        ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy(), input_shape=(8,)
    )
    before = copy.deepcopy(model)
    batch = torch.rand(4, 8), torch.tensor([0, 1, 2, 0])
    options = {"whole_step": WholeStep()} if whole else {}
    result = step(model, batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1), groups=[], **options)
    assert result.layers == {}
    assert difference(model, before) == 0


def test_another_shape_is_compiled_when_it_occurs_twice_in_succession(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []

    def compiler(function: Any, **options: Any) -> Any:
        compiled.append(size)
        return function

    monkeypatch.setattr(torch, "compile", compiler)
    model = deep(learned_label=False)
    optimizer, whole = ff.LocalOptimizer(torch.optim.SGD, lr=0.1), WholeStep(compile=True)
    for size in (8, 8, 5, 8, 5, 5, 5, 4, 4, 8):
        batch = torch.rand(size, 16, dtype=torch.float64), torch.arange(size) % 3
        step(model, batch, optimizer, whole_step=whole)
    assert compiled == [8, 5]  # of a third shape there may be more, so it is not compiled


def test_an_lstm_block_trains_layerwise_with_one_message() -> None:
    model = ff.FFSequential(
        nn.LSTM(4, 6, batch_first=True),
        nn.Linear(6, 5),
        goodness=ff.goodness.LearnedProjection(2),
        loss=ff.losses.CrossEntropy(),
        input_shape=(3, 4),
    )
    before = copy.deepcopy(model.state_dict())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ff.fit(
            model, (torch.rand(20, 3, 4), torch.arange(20) % 2), epochs=2, batch_size=5, compile=True, progress=False
        )
    messages = [str(warning.message) for warning in caught]
    assert messages == [
        "training continues layer by layer, without torch.compile: layers.0.block is a recurrent LSTM, "
        "which cannot be traced"
    ]
    assert not torch.equal(before["layers.0.block.weight_ih_l0"], model.state_dict()["layers.0.block.weight_ih_l0"])


@pytest.fixture
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled form of the step without a compiler."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)


@pytest.mark.usefixtures("_uncompiled")
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("factory", "options", "known"),
    [
        (torch.optim.SGD, {"weight_decay": 0.1}, True),
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, True),
        (torch.optim.SGD, {"momentum": 0.9, "maximize": True}, True),
        (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.5}, False),
        (torch.optim.Adam, {"weight_decay": 0.1}, True),
        (torch.optim.Adam, {"amsgrad": True}, True),
        (torch.optim.AdamW, {"weight_decay": 0.3, "maximize": True, "betas": [0.8, 0.9]}, True),
        (ff.optimizers.SmoothedSGD, {"weight_cost": 0.1}, True),
        (torch.optim.RMSprop, {}, False),
    ],
)
def test_updates_inside_the_step_are_the_optimizers(
    factory: Any, options: dict[str, Any], known: bool, fused: bool
) -> None:
    if fused:
        if factory is torch.optim.RMSprop:
            pytest.skip("it has no fused kernel")
        options = {**options, "fused": True}
    model = deep(learned_label=False, depth=5)
    model[1].requires_grad_(False)
    model[1].block.linear.weight.requires_grad_(True)
    other = copy.deepcopy(model)
    batch = torch.rand(8, 16, dtype=torch.float64), torch.arange(8) % 3
    optimizers = [
        ff.LocalOptimizer(
            factory, lr=0.01, lr_schedule=ff.lr_schedules.Cosine(), overrides={"2": {"lr": 0.03}}, **options
        )
        for _ in range(2)
    ]
    whole = WholeStep(compile=True)
    for index in range(6):
        groups = [Overlapping(2, None), Joint()][index % 2](5, 0, 0, 1)
        for optimizer in optimizers:
            optimizer.set_progress(index / 10)
        inside = {"whole_step": whole} if index != 3 else {}  # one step by torch's optimizers in between
        results = step(model, batch, optimizers[0], groups=groups, monitor=True), None
        results = results[0], step(other, batch, optimizers[1], groups=groups, monitor=True, **inside)
        for layer, norm in results[0].gradient_norms.items():
            assert float(norm) == pytest.approx(float(results[1].gradient_norms[layer]), abs=1e-10)
    assert difference(model, other) < 1e-10
    states = [optimizer.state_dict() for optimizer in optimizers]
    assert states[0].keys() == states[1].keys()
    keys = [key for plan in whole._plans.values() for key in plan.compiled]
    assert all(bool(key) == known for key in keys)
    optimizers[0].load_state_dict(copy.deepcopy(states[1]))
    step(other, batch, optimizers[1], whole_step=whole)
    step(model, batch, optimizers[0])
    assert difference(model, other) < 1e-10


class Limited(torch.optim.SGD):
    """SGD that limits the weights after each step."""

    def step(self, closure: Any = None) -> Any:
        super().step(closure)
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p.clamp_(-0.1, 0.1)


@pytest.mark.usefixtures("_uncompiled")
def test_an_optimizers_own_step_and_hooks_are_kept() -> None:
    def hooked(parameters: Any, **options: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, **options)
        optimizer.register_step_post_hook(lambda *_: [p.data.clamp_(-0.1, 0.1) for p in parameters])
        return optimizer

    for factory in (Limited, hooked):
        model = deep(learned_label=False)
        batch = torch.rand(8, 16, dtype=torch.float64), torch.arange(8) % 3
        step(model, batch, ff.LocalOptimizer(factory, lr=0.1), whole_step=WholeStep(compile=True))
        assert max(float(p.detach().abs().max()) for p in model.layers.parameters()) <= 0.1


def test_a_layer_that_changes_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded: list[bool] = []

    def compiler(function: Any, **options: Any) -> Any:
        guarded.append(options["options"] is None)
        return function

    monkeypatch.setattr(torch, "compile", compiler)
    monkeypatch.setattr("forwardforward._utils.compilation.HAS_GUARD_FILTER", True)
    model = deep(learned_label=False)
    optimizer, whole = ff.LocalOptimizer(torch.optim.SGD, lr=0.1, momentum=0.9), WholeStep(compile=True)
    batch = torch.rand(8, 16, dtype=torch.float64), torch.arange(8) % 3

    def run() -> None:
        step(model, batch, optimizer, whole_step=whole)

    run()
    run()
    assert guarded == [False]
    model[0].block.dropout.p = 0.1
    run()
    assert guarded == [False, True]
    model[0].block.dropout.p = 0.2  # torch's guards notice it
    run()
    assert guarded == [False, True]
    model.double()
    model[1].requires_grad_(False)
    before = copy.deepcopy(model[1].block.linear.weight)
    run()
    assert torch.equal(model[1].block.linear.weight, before)
    model[2].block.linear.weight = nn.Parameter(torch.zeros(16, 16, dtype=torch.float64))
    run()
    assert float(model[2].block.linear.weight.detach().abs().max()) > 0


#: Networks of many equal layers, cut to as many as show every kind of layer: compiling takes seconds per layer.
SHORTER = {"trifecta-d": (16, 16, 32), "trifecta-fcn": (20, 20), "deeperforward": (20,), "hcl-ff": (20,)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, inside the compiler
@pytest.mark.parametrize("name", NAMES)
def test_the_whole_step_of_every_recipe_compiles_as_one_graph(name: str) -> None:
    recipe, model, batch = small(name, SHORTER.get(name))
    torch.compiler.reset()
    other = copy.deepcopy(model)
    random = nn.Dropout | nn.Dropout2d
    dropout = any(getattr(layer, "dropout", 0) for layer in model) or any(
        isinstance(m, random) for m in model.modules()
    )
    optimizers = [ff.LocalOptimizer(torch.optim.SGD, lr=1e-3) for _ in range(2)]
    groups = recipe.schedule(len(model), 0, 1, 40)
    whole_step = WholeStep(compile=True)
    for _ in range(2):
        layerwise = step(model, batch, optimizers[0], groups=groups)
        whole = step(other, batch, optimizers[1], groups=groups, whole_step=whole_step)
    assert layerwise.layers.keys() == whole.layers.keys()
    if not dropout:  # the compiler's random numbers differ from eager ones
        assert difference(model, other) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, inside the compiler
def test_more_sets_of_groups_than_torch_compiles_of_one_function() -> None:
    import torch._dynamo

    model = deep(learned_label=False, depth=5).float()
    optimizer, whole = ff.LocalOptimizer(torch.optim.SGD, lr=0.1), WholeStep(compile=True)
    batch = torch.rand(8, 16), torch.arange(8) % 3
    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"
    with torch._dynamo.config.patch({limit: 1}):
        for epoch in range(5):
            result = step(model, batch, optimizer, groups=Greedy()(5, epoch, 0, 5), whole_step=whole)
            assert list(result.layers) == [epoch]
        step(model, (batch[0][:5], batch[1][:5]), optimizer, groups=Greedy()(5, 0, 0, 5), whole_step=whole)
