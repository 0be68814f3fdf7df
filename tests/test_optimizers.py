import copy
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import forwardforward as ff
from forwardforward.lr_schedules import Cooldown, Cosine, Steps
from forwardforward.optimizers import LocalOptimizer, SmoothedSGD
from forwardforward.update_schedules import EndToEnd, Joint, Overlapping


class Groups(nn.Module):
    """A model of two layers and a head, without the other parts of a network."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Linear(3, 2) for name in ("0", "1", "head")})

    def parameter_groups(self):
        return dict(self.parts.items())

    def backward(self):
        for part in self.parts.values():
            part(torch.randn(5, 3)).square().sum().backward()


@pytest.mark.parametrize(("smoothing", "cost"), [(0.9, 0.01), (0.9, 0.0), (0.5, 0.1), (0.0, 0.1)])
def test_smoothed_sgd_is_its_formula(smoothing, cost):
    """g <- s g + (1 - s) grad from zero; w <- w - lr (g + cost w), the cost on weights only."""
    weight = nn.Parameter(torch.randn(2, 3, dtype=torch.float64))
    bias = nn.Parameter(torch.randn(2, dtype=torch.float64))
    optimizer = SmoothedSGD([weight, bias], lr=0.1, smoothing=smoothing, weight_cost=cost)
    expected = [weight.detach().clone(), bias.detach().clone()]
    smooth = [torch.zeros_like(e) for e in expected]
    for _ in range(4):
        gradients = [torch.randn_like(e) for e in expected]
        weight.grad, bias.grad = (g.clone() for g in gradients)
        optimizer.step()
        for i, gradient in enumerate(gradients):
            smooth[i] = smoothing * smooth[i] + (1 - smoothing) * gradient
            expected[i] = expected[i] - 0.1 * (smooth[i] + (cost * expected[i] if i == 0 else 0))
        torch.testing.assert_close(weight.detach(), expected[0], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(bias.detach(), expected[1], rtol=1e-12, atol=1e-14)


def test_smoothed_sgd_does_not_change_parameters_without_a_gradient():
    weight = nn.Parameter(torch.ones(2, 3))
    SmoothedSGD([weight], lr=0.1, weight_cost=0.5).step()
    assert (weight == 1).all()


def test_smoothed_sgd_continues_from_its_state():
    weight = nn.Parameter(torch.randn(2, 3))
    other = nn.Parameter(weight.detach().clone())
    first = SmoothedSGD([weight], weight_cost=0.1)
    weight.grad = torch.randn(2, 3)
    first.step()
    second = SmoothedSGD([other])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    with torch.no_grad():
        other.copy_(weight)
    weight.grad = torch.randn(2, 3)
    other.grad = weight.grad.clone()
    first.step(), second.step()
    assert torch.equal(weight, other)


def test_a_param_group_has_its_own_weight_cost():
    costly, free = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = SmoothedSGD([{"params": [costly], "weight_cost": 0.5}, {"params": [free]}], lr=0.1)
    costly.grad = free.grad = torch.zeros(2, 2)
    optimizer.step()
    torch.testing.assert_close(costly.detach(), torch.full((2, 2), 0.95))
    assert (free == 1).all()


def test_a_param_group_has_its_own_smoothing():
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": parameters[:1], "smoothing": 0.5}, {"params": parameters[1:]}]
    optimizer = SmoothedSGD(groups, lr=1.0)
    for p in parameters:
        p.grad = torch.ones(1)
    optimizer.step()
    assert [round(p.item(), 6) for p in parameters] == [-0.5, -0.1]
    assert groups[0]["smoothing"] == 0.5  # the caller's dictionary is unchanged


@pytest.mark.parametrize("options", [{"smoothing": 2.0}, {"smoothing": math.nan}, {"weight_cost": -1.0}])
def test_options_of_a_param_group_are_checked(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        SmoothedSGD([{"params": [torch.nn.Parameter(torch.zeros(1))], **options}], lr=1.0)


def test_a_param_group_added_later_has_the_same_defaults():
    first, second = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = SmoothedSGD([first], lr=0.1, weight_cost=0.5)
    optimizer.add_param_group({"params": [second]})
    first.grad = second.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.equal(first, second)


@pytest.mark.parametrize("options", [{"smoothing": 1.0}, {"smoothing": -0.1}, {"weight_cost": -1.0}], ids=str)
def test_smoothed_sgd_refuses_arguments_out_of_range(options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))} must be"):
        SmoothedSGD([nn.Parameter(torch.ones(2))], **options)


def test_cooldown_is_constant_and_then_falls_linearly():
    half = Cooldown(0.5)
    assert [half(t) for t in (0, 0.25, 0.5, 0.75, 0.875, 1)] == pytest.approx([1, 1, 1, 0.5, 0.25, 0])
    assert [Cooldown(0)(t) for t in (0, 0.3, 1)] == pytest.approx([1, 0.7, 0])
    assert repr(Cooldown(0.5)) == "Cooldown(0.5)"
    for start in (-0.1, 1.0):
        with pytest.raises(ValueError, match="^start must be in"):
            Cooldown(start)


FACTORIES = {
    "class": (torch.optim.Adam, {"lr": 0.01}),
    "class with momentum": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    "partial": (partial(torch.optim.AdamW, weight_decay=0.1), {"lr": 0.01}),
    "lambda": (lambda parameters, lr=0.5: torch.optim.RMSprop(list(parameters), lr=lr), {"lr": 0.01}),
    "bare lambda": (lambda parameters: torch.optim.SGD(parameters, lr=0.01), {}),
    "groups": (
        lambda parameters, lr: torch.optim.SGD(
            [
                {"params": [p for p in parameters if p.dim() > 1]},
                {"params": [p for p in parameters if p.dim() < 2], "lr": 10 * lr},
            ],
            lr=lr,
        ),
        {"lr": 0.01},
    ),
    "ours": (SmoothedSGD, {"lr": 0.01, "weight_cost": 0.001}),
}
every_factory = pytest.mark.parametrize(("factory", "options"), FACTORIES.values(), ids=FACTORIES)


@every_factory
def test_every_factory_makes_the_same_steps_as_without_the_library(factory, options):
    torch.manual_seed(1)
    model = Groups()
    other = copy.deepcopy(model)
    local = LocalOptimizer(factory, **options).attach(model)
    optimizers = [factory(list(part.parameters()), **options) for part in other.parameter_groups().values()]
    for seed in range(3):
        for network in (model, other):
            torch.manual_seed(seed)
            network.zero_grad()
            network.backward()
        local.step()
        for optimizer in optimizers:
            optimizer.step()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@every_factory
def test_state_round_trip(factory, options):
    """With the state loaded, a new optimizer continues like the first one, at its learning rate."""
    model = Groups()
    first = LocalOptimizer(factory, lr_schedule=Cooldown(0), **options).attach(model)
    model.backward()
    first.set_progress(0.5)
    first.step()
    other = copy.deepcopy(model)
    second = LocalOptimizer(factory, lr_schedule=Cooldown(0), **options).attach(other)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    rates = dict.fromkeys(model.parameter_groups(), 0.005)
    assert second.learning_rates() == first.learning_rates() == pytest.approx(rates)
    for seed in (1, 2):
        for network, optimizer in ((model, first), (other, second)):
            torch.manual_seed(seed)
            optimizer.zero_grad()
            network.backward()
            optimizer.set_progress(0.6)
            optimizer.step()
    assert second.learning_rates() == pytest.approx(dict.fromkeys(model.parameter_groups(), 0.004))
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_state_of_other_parameter_groups_is_refused():
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(Groups())
    with pytest.raises(ValueError, match=r"^state must have the parameter groups \['0', '1', 'head'\], got \['0'\]"):
        optimizer.load_state_dict({"0": {}})


@pytest.mark.parametrize("name", [{}, {"0": 1}, 0, "1.bias", (0,)], ids=repr)
def test_names_of_groups_are_checked(name: Any) -> None:
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(Groups())
    for method in (optimizer.step, optimizer.zero_grad):
        with pytest.raises(ValueError, match="^names must be those of parameter groups, 0, 1, head, got "):
            method("0", name)


def test_overrides_win_over_the_options_of_a_layer():
    model = Groups()
    model.parts["1"].optimizer_options = {"lr": 0.2, "momentum": 0.5}
    optimizer = LocalOptimizer(
        torch.optim.SGD, lr=0.1, overrides={"head": {"lr": 1.0}, "1": {"lr": 0.3}}, lr_schedule=Cooldown(0.5)
    ).attach(model)
    assert optimizer.learning_rates() == {"0": 0.1, "1": 0.3, "head": 1.0}
    assert optimizer.state_dict()["1"]["param_groups"][0]["momentum"] == 0.5
    optimizer.set_progress(0.75)
    assert optimizer.learning_rates() == pytest.approx({"0": 0.05, "1": 0.15, "head": 0.5})
    optimizer.set_progress(0.1)
    assert optimizer.learning_rates() == pytest.approx({"0": 0.1, "1": 0.3, "head": 1.0})


def test_the_schedule_applies_to_every_param_group_of_a_factory():
    optimizer = LocalOptimizer(FACTORIES["groups"][0], lr=0.01, lr_schedule=lambda t: 1 - t).attach(Groups())
    optimizer.set_progress(0.75)
    groups = optimizer.state_dict()["0"]["param_groups"]
    assert [group["lr"] for group in groups] == pytest.approx([0.0025, 0.025])


def test_an_override_of_an_unknown_parameter_group_is_refused():
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1, overrides={"3": {"lr": 1.0}, "hed": {}})
    message = r"^overrides must name parameter groups of the model, 0, 1, head, got \['3', 'hed'\]"
    with pytest.raises(ValueError, match=message):
        optimizer.attach(Groups())


def test_steps_and_gradients_of_a_parameter_group_are_separate_from_the_others():
    model = Groups()
    before = copy.deepcopy(model.state_dict())
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
    model.backward()
    optimizer.step("1")
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"parts.1.weight", "parts.1.bias"}
    optimizer.zero_grad("1")
    assert [p.grad is None for p in model.parameters()] == [False, False, True, True, False, False]
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_attaching_again_keeps_the_state():
    model = Groups()
    optimizer = LocalOptimizer(torch.optim.Adam, lr=0.1).attach(model)
    model.backward()
    optimizer.step()
    assert optimizer.attach(model).state_dict()["0"]["state"]
    assert not optimizer.attach(Groups()).state_dict()["0"]["state"]


@pytest.mark.parametrize("names", [("0", "1"), (("0", "1"),)], ids=["apart", "together"])
def test_frozen_groups_and_groups_without_parameters_are_not_updated(names):
    model = Groups()
    model.parts["0"].requires_grad_(False)
    model.parts["1"] = nn.ReLU()
    before = copy.deepcopy(model.state_dict())
    optimizer = LocalOptimizer(SmoothedSGD, lr=0.1, weight_cost=0.5).attach(model)
    assert list(optimizer.state_dict()) == ["0", "head"]
    gradients(model.parts["head"], 0)
    optimizer.zero_grad(*names)
    optimizer.step(*names)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.parts["head"].weight.grad is not None


def test_options_of_a_layer_reach_its_optimizer():
    model = ff.FFSequential(
        ff.FFLinear(4, 3, optimizer_options={"lr": 0.5}),
        ff.FFLinear(3, 3),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Overlay(2),
    )
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
    assert optimizer.learning_rates() == {"0": 0.5, "1": 0.1}


def test_the_repr_is_the_constructor_call():
    optimizer = LocalOptimizer(torch.optim.Adam, lr=0.001, overrides={"head": {"lr": 0.1}}, lr_schedule=Cooldown(0.5))
    assert (
        repr(optimizer) == "LocalOptimizer(Adam, lr_schedule=Cooldown(0.5), overrides={'head': {'lr': 0.1}}, lr=0.001)"
    )


# Learning-rate factors


@given(progress=st.floats(0, 1), floor=st.floats(0, 2), warmup=st.floats(0, 0.9))
def test_cosine_is_its_formula(progress, floor, warmup):
    """A straight line from 0 to 1 over the warm-up, then half a cosine from 1 to the floor, which may be above."""
    factor = Cosine(floor, warmup)(progress)
    if progress < warmup:
        expected = progress / warmup
    else:
        share = (progress - warmup) / (1 - warmup)
        expected = floor + (1 - floor) * (1 + math.cos(math.pi * share)) / 2
    assert factor == pytest.approx(expected, abs=1e-12)
    assert 0 <= factor <= max(1, floor)
    assert Cosine(floor, warmup)(1.0) == pytest.approx(floor)
    assert Cosine(floor, warmup)(warmup) == pytest.approx(1)


def test_cosine_has_the_values_of_an_example():
    assert [Cosine()(t) for t in (0, 1 / 3, 0.5, 2 / 3, 1)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert [Cosine(0.2, warmup=0.5)(t) for t in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx([0, 0.5, 1, 0.6, 0.2])
    for options in ({"floor": -0.1}, {"warmup": -0.1}, {"warmup": 1.0}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))} must be (in|at least 0)"):
            Cosine(**options)
    assert repr(Cosine()) == "Cosine(floor=0.0)"
    assert repr(Cosine(0.1, warmup=0.2)) == "Cosine(floor=0.1, warmup=0.2)"


@given(factors=st.dictionaries(st.floats(0.01, 0.99), st.floats(0, 10), max_size=4), progress=st.floats(0, 1))
def test_steps_is_the_factor_of_the_last_start(factors, progress):
    expected = 1.0
    for start in sorted(factors):
        if progress >= start:
            expected = factors[start]
    assert Steps(factors)(progress) == expected


def test_steps_has_the_values_of_an_example():
    shuffled = Steps({0.8: 0.1, 0.4: 0.5})
    assert [shuffled(t) for t in (0, 0.39, 0.4, 0.79, 0.8, 1)] == [1, 1, 0.5, 0.5, 0.1, 0.1]
    assert repr(shuffled) == repr(Steps({0.4: 0.5, 0.8: 0.1})) == "Steps({0.4: 0.5, 0.8: 0.1})"
    for factors in ({0.0: 0.5}, {1.0: 0.5}, {0.5: -0.1}, {0.5: 0.1, 1.5: 0.1}):
        with pytest.raises(ValueError, match=r"^(every key of )?factors.* must be (in \(0, 1\)|at least 0), got"):
            Steps(factors)


def test_a_parameter_group_may_have_its_own_schedule():
    model = Groups()
    model.parts["1"].optimizer_options = {"lr_schedule": Cooldown(0)}
    optimizer = LocalOptimizer(
        torch.optim.SGD,
        lr=0.1,
        lr_schedule=Cooldown(0.5),
        overrides={"head": {"lr_schedule": Steps({0.2: 0.5}), "lr": 1.0}},
    ).attach(model)
    for progress in (0.0, 0.1, 0.6, 0.9, 0.3):
        optimizer.set_progress(progress)
        assert optimizer.learning_rates() == pytest.approx(
            {
                "0": 0.1 * Cooldown(0.5)(progress),
                "1": 0.1 * Cooldown(0)(progress),
                "head": 1.0 * Steps({0.2: 0.5})(progress),
            }
        )
    constant = LocalOptimizer(torch.optim.SGD, lr=0.1, lr_schedule=Cooldown(0), overrides={"0": {"lr_schedule": None}})
    constant.attach(model).set_progress(0.75)
    assert constant.learning_rates() == pytest.approx({"0": 0.1, "1": 0.025, "head": 0.025})


# Parameter groups that share an optimizer


def gradients(model, seed):
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)


GROUPABLE = {
    "sgd": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    "adam": (torch.optim.Adam, {"lr": 0.01}),
    "partial": (partial(torch.optim.AdamW, weight_decay=0.1), {"lr": 0.01}),
    "ours": (SmoothedSGD, {"lr": 0.01, "weight_cost": 0.1}),
}
groupable = pytest.mark.parametrize(("factory", "options"), GROUPABLE.values(), ids=GROUPABLE)


@groupable
def test_groups_with_a_shared_optimizer_take_the_same_first_step_as_apart(factory, options):
    """Only the state differs: each set of groups has its own."""
    model = Groups()
    other = copy.deepcopy(model)
    together, apart = (LocalOptimizer(factory, **options).attach(network) for network in (model, other))
    for network, optimizer, names in ((model, together, [("0", "1")]), (other, apart, ["0", "1"])):
        before = copy.deepcopy(network.parts["head"].state_dict())
        gradients(network, 0)
        optimizer.step(*names)
        assert all(torch.equal(v, before[k]) for k, v in network.parts["head"].state_dict().items())
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert list(together.state_dict()) == ["0", "1", "head", "0+1"]
    assert list(apart.state_dict()) == ["0", "1", "head"]
    if factory is not SmoothedSGD:  # which creates its state at construction
        assert not together.state_dict()["0"]["state"]
    assert len(together.state_dict()["0+1"]["state"]) == 4


@groupable
def test_each_set_of_groups_has_its_own_state_if_they_alternate(factory, options):
    """The reference: one torch optimizer for each set, all for the same parameters."""
    model = Groups()
    other = copy.deepcopy(model)
    local = LocalOptimizer(factory, **options).attach(model)
    optimizers = {
        names: factory([{"params": list(other.parts[name].parameters())} for name in names], **options)
        for names in (("0",), ("1",), ("0", "1"), ("1", "head"), ("0", "1", "head"))
    }
    turns = [("0", "1"), ("0",), ("1", "head"), ("0", "1"), ("0", "1", "head"), ("1",), ("0", "1"), ("1", "head")]
    for seed, names in enumerate(turns):
        for network in (model, other):
            gradients(network, seed)
        local.step(names if seed % 2 else list(names))
        optimizers[names].step()
        for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(ours, theirs)


@groupable
def test_state_round_trip_with_shared_optimizers(factory, options):
    model = Groups()
    first = LocalOptimizer(factory, lr_schedule=Cooldown(0), **options).attach(model)
    first.set_progress(0.5)
    for seed, names in enumerate([("0", "1"), "head", ("0", "1"), ("1", "head")]):
        gradients(model, seed)
        first.step(names)
    other = copy.deepcopy(model)
    second = LocalOptimizer(factory, lr_schedule=Cooldown(0), **options).attach(other)
    state = copy.deepcopy(first.state_dict())
    second.load_state_dict(state)
    assert list(second.state_dict()) == list(state) == ["0", "1", "head", "0+1", "1+head"]
    assert second.learning_rates() == first.learning_rates()
    for seed, names in enumerate([("1", "head"), ("0", "1"), "0", ("0", "1", "head")]):
        for network, optimizer in ((model, first), (other, second)):
            optimizer.set_progress(0.6)
            gradients(network, seed)
            optimizer.step(names)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_groups_with_a_shared_optimizer_have_their_own_rates_and_schedules():
    model = Groups()
    optimizer = LocalOptimizer(
        torch.optim.SGD,
        lr=0.1,
        lr_schedule=Cooldown(0),
        overrides={"1": {"lr": 1.0, "weight_decay": 0.5}, "head": {"lr_schedule": Steps({0.5: 0.3})}},
    ).attach(model)
    optimizer.set_progress(0.6)  # before the shared optimizer is made
    gradients(model, 0)
    before = copy.deepcopy(model)
    optimizer.step(("0", "1", "head"))
    for name, rate, decay in (("0", 0.04, 0), ("1", 0.4, 0.5), ("head", 0.03, 0)):
        for p, old in zip(model.parts[name].parameters(), before.parts[name].parameters(), strict=True):
            torch.testing.assert_close(p.detach(), old.detach() - rate * (p.grad + decay * old.detach()))
    optimizer.set_progress(0.2)
    assert optimizer.learning_rates() == pytest.approx({"0": 0.08, "1": 0.8, "head": 0.1})
    assert [g["lr"] for g in optimizer.state_dict()["0+1+head"]["param_groups"]] == pytest.approx([0.08, 0.8, 0.1])


def test_the_gradients_of_several_groups_are_freed_together():
    model = Groups()
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
    gradients(model, 0)
    optimizer.zero_grad(("0", "1"))
    assert [p.grad is None for p in model.parameters()] == [True, True, True, True, False, False]


def test_groups_without_parameters_are_not_named_in_the_state():
    model = Groups()
    model.parts["0"] = nn.ReLU()
    optimizer = LocalOptimizer(torch.optim.Adam, lr=0.1).attach(model)
    gradients(model.parts["1"], 0)
    optimizer.step(("0", "1"))
    assert list(optimizer.state_dict()) == ["1", "head"]
    assert len(optimizer.state_dict()["1"]["state"]) == 2


@pytest.mark.parametrize(
    ("factory", "options", "override"),
    [
        (SmoothedSGD, {"lr": 0.1}, {"smoothing": 0.0}),
        (lambda parameters, rate: torch.optim.SGD(parameters, lr=rate), {"rate": 0.1}, {"rate": 0.5}),
    ],
    ids=["SmoothedSGD", "lambda"],
)
def test_overrides_apply_in_a_shared_optimizer(factory, options, override):
    model = Groups()
    other = copy.deepcopy(model)
    for network, names in ((model, [("0", "1")]), (other, ["0", "1"])):
        optimizer = LocalOptimizer(factory, overrides={"0": override}, **options).attach(network)
        gradients(network, 0)
        optimizer.step(*names)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_factory_that_sorts_parameters_makes_a_shared_optimizer():
    factory, options = FACTORIES["groups"]
    model = Groups()
    optimizer = LocalOptimizer(factory, **options).attach(model)
    gradients(model, 0)
    optimizer.step(("0", "1"))


def test_a_loaded_state_replaces_that_of_every_set_of_groups():
    model = Groups()
    optimizer = LocalOptimizer(torch.optim.Adam, lr=0.1).attach(model)
    state = copy.deepcopy(optimizer.state_dict())
    gradients(model, 0)
    optimizer.step(("0", "1"))
    optimizer.load_state_dict(state)
    assert not optimizer.state_dict().get("0+1", {"state": {}})["state"]


# Networks whose parameters change between trainings


def network():
    layers = ff.FFLinear(6, 20), ff.FFLinear(20, 20), ff.FFLinear(20, 20)
    return ff.FFSequential(
        *layers,
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.BatchNorm(affine=True),
        label_encoder=ff.label_encoders.Overlay(2),
        head=ff.heads.LinearHead(2),
    )


def baseline():
    return ff.baselines.Backpropagation(ff.FFLinear(6, 20), ff.FFLinear(20, 20), num_classes=2)


def train(model, optimizer, **options):
    data = torch.rand(20, 6, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
    ff.fit(model, data, epochs=1, batch_size=10, optimizer=optimizer, progress=False, **options)


def changed(model, before):
    return {name for name, p in model.named_parameters() if name not in before or not torch.equal(p, before[name])}


def snapshot(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


models = pytest.mark.parametrize("make", [network, baseline])
STATEFUL = {**GROUPABLE, "state at construction": (torch.optim.Adagrad, {"lr": 0.01}), "groups": FACTORIES["groups"]}
stateful = pytest.mark.parametrize(("factory", "options"), STATEFUL.values(), ids=STATEFUL)
SCHEDULES = [Joint(), Overlapping(2, "step"), Overlapping(2, None), EndToEnd()]
kinds = pytest.mark.parametrize(  # every factory, and Adam with every schedule
    ("factory", "options", "schedule"),
    [(*case, Joint()) for case in STATEFUL.values()] + [(*STATEFUL["adam"], schedule) for schedule in SCHEDULES[1:]],
    ids=[*STATEFUL, *map(repr, SCHEDULES[1:])],
)


@kinds
@models
def test_a_layer_that_is_unfrozen_trains_with_the_same_optimizer(make, schedule, factory, options):
    model, optimizer = make(), LocalOptimizer(factory, **options)
    model.layers[0].requires_grad_(False)
    before = snapshot(model)
    train(model, optimizer, schedule=schedule)
    assert changed(model, before) == {name for name in before if not name.startswith("layers.0.")}
    model.layers[0].requires_grad_(True)
    before = snapshot(model)
    train(model, optimizer, schedule=schedule)
    assert changed(model, before) == set(before)


@stateful
@models
def test_a_layer_that_is_frozen_after_a_training_does_not_change_and_trains_again_when_unfrozen(make, factory, options):
    """Neither momentum nor weight decay nor an old gradient may change it."""
    model, optimizer = make(), LocalOptimizer(factory, **options)
    train(model, optimizer)
    model.layers[0].requires_grad_(False)
    before = snapshot(model)
    train(model, optimizer)
    assert changed(model, before) == {name for name in before if not name.startswith("layers.0.")}
    model.layers[0].requires_grad_(True)
    before = snapshot(model)
    train(model, optimizer)
    assert changed(model, before) == set(before)


@stateful
@models
def test_weights_assigned_by_load_state_dict_train(make, factory, options):
    model, optimizer = make(), LocalOptimizer(factory, **options)
    train(model, optimizer)
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    before = snapshot(model)
    train(model, optimizer)
    assert changed(model, before) == set(before)


def test_assigned_weights_keep_the_optimizers_state():
    """The same weights, assigned, train on as if they had never been assigned."""
    model = network()
    optimizer = LocalOptimizer(torch.optim.Adam, lr=0.01)
    for schedule in (Joint(), Overlapping(2, None)):
        train(model, optimizer, schedule=schedule)
    other = copy.deepcopy(model)
    second = LocalOptimizer(torch.optim.Adam, lr=0.01).attach(other)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.load_state_dict(copy.deepcopy(other.state_dict()), assign=True)
    for schedule in (Joint(), Overlapping(2, None)):
        train(model, optimizer, schedule=schedule)
        train(other, second, schedule=schedule)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@stateful
def test_assigned_weights_of_another_precision_train(factory, options, dtype):
    model, optimizer = network(), LocalOptimizer(factory, **options)
    train(model, optimizer)
    state = {
        name: value.to(dtype) if value.is_floating_point() else value for name, value in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    before = snapshot(model)
    train(model, optimizer)
    assert changed(model, before) == set(before)
    assert {p.dtype for p in model.parameters()} == {dtype}


@stateful
@models
def test_a_model_whose_precision_changes_trains_on_with_its_state(make, factory, options):
    model, optimizer = make(), LocalOptimizer(factory, **options)
    train(model, optimizer)
    model.double()
    before = snapshot(model)
    train(model, optimizer)
    assert changed(model, before) == set(before)
    states = [values for state in optimizer.state_dict().values() for values in state["state"].values()]
    assert {float(values["step"]) for values in states if "step" in values} <= {4}  # the steps of both trainings
    assert {v.dtype for values in states for v in values.values() if torch.is_tensor(v) and v.dim()} <= {torch.float64}


@kinds
@models
def test_a_replaced_block_trains_and_is_saved(make, factory, options, schedule):
    model, optimizer = make(), LocalOptimizer(factory, **options)
    for step_schedule in (Joint(), schedule):
        train(model, optimizer, schedule=step_schedule)
    model.layers[0].block = nn.Linear(6, 20, bias=False)
    before = snapshot(model)
    train(model, optimizer, schedule=schedule)
    assert changed(model, before) == set(before)
    other = LocalOptimizer(factory, **options).attach(model)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    before = snapshot(model)
    train(model, other, schedule=schedule)
    assert changed(model, before) == set(before)


@kinds
@models
def test_a_parametrization_added_after_a_training_trains_and_is_saved(make, factory, options, schedule, tmp_path):
    model, optimizer = make(), LocalOptimizer(factory, **options)
    for step_schedule in (Joint(), schedule):
        train(model, optimizer, schedule=step_schedule)
    nn.utils.parametrizations.weight_norm(model.layers[0].block)
    before = snapshot(model)
    assert "layers.0.block.parametrizations.weight.original0" in before
    train(model, optimizer, schedule=schedule, checkpoint=tmp_path / "c.pt")
    assert changed(model, before) == set(before)
    nn.utils.parametrize.remove_parametrizations(model.layers[0].block, "weight")
    before = snapshot(model)
    train(model, optimizer, schedule=schedule)
    assert changed(model, before) == set(before)
    optimizer.state_dict()


# Checkpoints


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda: LocalOptimizer(torch.optim.Adam, lr=np.float64(1e-3)),
        lambda: LocalOptimizer(torch.optim.Adam, lr=np.float32(1e-3), betas=(np.float64(0.9), np.float32(0.99))),
        lambda: LocalOptimizer(torch.optim.Adam, lr=1e-3, amsgrad=np.bool_(True)),
        lambda: LocalOptimizer(torch.optim.Adam, lr=np.array(1e-3)),
        lambda: LocalOptimizer(torch.optim.Adam, lr=1e-3, overrides={"0": {"lr": np.float64(1e-2)}}),
        lambda: LocalOptimizer(torch.optim.Adam, lr=1e-3, lr_schedule=lambda progress: np.float64(0.5)),
        lambda: LocalOptimizer(partial(torch.optim.Adam, lr=np.float64(1e-3))),
        lambda: LocalOptimizer(lambda parameters, **kw: torch.optim.Adam(parameters, lr=np.float64(1e-3), **kw)),
        lambda: LocalOptimizer(torch.optim.Adam, lr=torch.tensor(1e-3)),
    ],
    ids=["lr", "betas", "flag", "array", "override", "schedule", "partial", "factory", "tensor"],
)
def test_a_run_with_numpys_numbers_resumes_from_its_checkpoint(make_optimizer, tmp_path):
    data = torch.rand(20, 6), torch.arange(20) % 2

    def run(epochs, path, resume=False):
        torch.manual_seed(0)
        model = network()
        model[1].optimizer_options = {"eps": np.float64(1e-7)}
        options = {"epochs": epochs, "batch_size": np.int64(10), "seed": np.int64(3), "progress": False}
        ff.fit(model, data, optimizer=make_optimizer(), checkpoint=path, resume=resume, **options)
        return model

    uninterrupted = run(3, tmp_path / "a.pt")
    run(2, tmp_path / "b.pt")
    resumed = run(3, tmp_path / "b.pt", resume=True)
    weights = uninterrupted.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in resumed.state_dict().items())
    ff.training.load_weights(tmp_path / "a.pt", network())


def test_an_option_that_a_checkpoint_cannot_contain_is_refused_by_name(tmp_path):
    class Policy(torch.optim.SGD):
        def __init__(self, parameters, lr, policy):
            super().__init__(parameters, lr=lr)
            self.param_groups[0]["policy"] = policy

    model, optimizer = network(), LocalOptimizer(Policy, lr=0.1, policy=object())
    message = r"^0\.param_groups\[0\]\.policy must be a number, a string or a tensor to be saved, got object"
    with pytest.raises(TypeError, match=message):
        optimizer.attach(model).state_dict()
    with pytest.raises(TypeError, match=message):
        train(model, optimizer, checkpoint=tmp_path / "c.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, SmoothedSGD], ids=lambda kind: kind.__name__)
@models
def test_a_torch_optimizer_is_refused_by_step_and_fit_in_the_same_words(make, kind):
    model = make()
    message = (
        r"^optimizer must be an instance of LocalOptimizer.*, such as ff.LocalOptimizer\(torch.optim.Adam, lr=...\)"
    )
    for optimizer in (kind(model.parameters(), lr=0.1), kind):
        with pytest.raises(TypeError, match=message):
            model.step((torch.rand(4, 6), torch.arange(4) % 2), optimizer)
        with pytest.raises(TypeError, match=message):
            train(model, optimizer)


def test_an_optimizer_that_computes_the_loss_itself_is_refused_by_name():
    with pytest.raises(TypeError, match=r"^factory must return an optimizer that updates once .*, got LBFGS, which"):
        LocalOptimizer(torch.optim.LBFGS, lr=0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lr": "fast"}, TypeError, r"^lr must be a number, got 'fast'"),
        ({"lr": True}, TypeError, r"^lr must be a number, got True"),
        ({"lr": float("inf")}, ValueError, r"^lr must be a finite number, got inf"),
        ({"lr": float("nan")}, ValueError, r"^lr must be a finite number, got nan"),
        ({"lr": -1.0}, ValueError, r"^options must be those of the optimizer Adam: Invalid learning rate: -1\.0"),
        ({"weight_decay": "much"}, TypeError, r"^weight_decay must be a number, got 'much'"),
        ({"learning_rate": 0.1}, TypeError, r"^options must be those of the optimizer Adam: .*'learning_rate'"),
        ({"lr_schedule": 0.5}, TypeError, r"^lr_schedule must be callable or None, such as ff\.lr_schedules"),
        ({"lr_schedule": lambda: 1.0}, TypeError, r"^lr_schedule must be callable with 1 argument, got"),
        ({"overrides": 3}, TypeError, r"^overrides must be a dictionary or None, got 3"),
        ({"others": torch.optim.SGD}, TypeError, r"^others must be a pair or None, got the class SGD"),
        ({"others": (torch.optim.SGD, {"lr": -1})}, ValueError, r"^options must be those of the optimizer SGD"),
    ],
)
def test_wrong_options_are_refused_at_construction(arguments, error, message):
    with pytest.raises(error, match=message):
        LocalOptimizer(torch.optim.Adam, **arguments)


def test_a_torch_scheduler_is_refused_and_its_factors_are_available():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(
        TypeError, match=r"^lr_schedule must be callable or None, such as ff\.lr_schedules\.Cooldown\(\)"
    ):
        LocalOptimizer(torch.optim.SGD, lr=0.1, lr_schedule=torch.optim.lr_scheduler.StepLR(optimizer, 3))
    with pytest.raises(TypeError, match=r"^scheduler must depend on the epoch only, with its options: .*metrics"):
        ff.lr_schedules.FromTorch(torch.optim.lr_scheduler.ReduceLROnPlateau, epochs=3)
    model = Groups()
    schedule = ff.lr_schedules.FromTorch(torch.optim.lr_scheduler.CosineAnnealingLR, epochs=6, T_max=6)
    local = LocalOptimizer(torch.optim.SGD, lr=0.1, lr_schedule=schedule).attach(model)
    plain = torch.optim.SGD(Groups().parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(plain, T_max=6)
    for epoch in range(6):
        local.set_progress((epoch + 0.5) / 6)
        assert local.learning_rates() == pytest.approx(
            dict.fromkeys(model.parameter_groups(), plain.param_groups[0]["lr"])
        )
        plain.step()
        scheduler.step()
    assert repr(schedule) == "FromTorch(CosineAnnealingLR, epochs=6, T_max=6)"


class OnlyMatrices(torch.optim.SGD):
    """Refuses other parameters than matrices, as Muon does."""

    def __init__(self, params, lr=0.1):
        params = list(params)
        if any(p.dim() != 2 for p in params):
            raise ValueError("only matrices")
        super().__init__(params, lr=lr)


def test_matrices_and_other_parameters_have_optimizers_of_their_own():
    model = Groups()
    before = copy.deepcopy(model)
    local = LocalOptimizer(OnlyMatrices, lr=0.5, others=(torch.optim.SGD, {"lr": 0.25}))
    local.attach(model)
    model.backward()
    local.step()
    for (_, p), (_, old) in zip(model.named_parameters(), before.named_parameters(), strict=True):
        assert torch.allclose(p, old - (0.5 if p.dim() == 2 else 0.25) * p.grad)
    assert local.learning_rates() == {
        name + suffix: lr for name in model.parameter_groups() for suffix, lr in (("", 0.5), (".others", 0.25))
    }
    with pytest.raises(ValueError, match="only matrices"):
        LocalOptimizer(OnlyMatrices, lr=0.5).attach(model)
    assert "others=(SGD, {'lr': 0.25})" in repr(local)


def per_class():
    torch.manual_seed(0)
    return ff.FFSequential(
        ff.FFLinear(6, 5), ff.FFLinear(5, 4), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
    )


def rates_of(model, local):
    """The learning rate of each parameter."""
    groups = [group for name in model.parameter_groups() for o in local.optimizers(name) for group in o.param_groups]
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    return {name: rates[id(p)] for name, p in model.named_parameters()}


def test_objectives_have_options_of_their_own_and_those_of_their_layer():
    model = per_class()
    model[1].optimizer_options = {"momentum": 0.5}
    overrides = {"objective": {"lr": 0.2}, "1": {"lr_schedule": Cooldown(0.0), "weight_decay": 0.25}}
    local = LocalOptimizer(torch.optim.SGD, lr=0.1, overrides=overrides).attach(model)
    local.set_progress(0.5)
    expected = {
        name: (0.2 if ".objective." in name else 0.1) * (0.5 if name.startswith("layers.1.") else 1.0)
        for name, _ in model.named_parameters()
    }
    assert rates_of(model, local) == pytest.approx(expected)
    assert local.learning_rates() == pytest.approx({"0": 0.1, "0.objective": 0.2, "1": 0.05, "1.objective": 0.1})
    (optimizer,) = local.optimizers("1")
    assert [(g["momentum"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.5, 0.25)] * 2
    assert set(map(id, local.parameters("1"))) == set(map(id, model[1].parameters()))
    single = LocalOptimizer(torch.optim.SGD, lr=0.1, overrides={"1.objective": {"lr": 0.3}}).attach(per_class())
    assert single.learning_rates() == pytest.approx({"0": 0.1, "0.objective": 0.1, "1": 0.1, "1.objective": 0.3})


@pytest.mark.parametrize("schedule", [Joint(), Overlapping(2, "step")], ids=["joint", "overlapping"])
def test_objectives_with_the_options_of_their_layer_train_as_without(schedule):
    trained = []
    for overrides in ({}, {"objective": {}}):
        model = per_class()
        train(model, LocalOptimizer(torch.optim.Adam, lr=0.01, overrides=overrides), schedule=schedule)
        trained.append(model.state_dict())
    assert all(torch.equal(value, trained[1][name]) for name, value in trained[0].items())


def test_a_run_with_options_of_objectives_resumes(tmp_path):
    def run(epochs, path, resume=False):
        model = per_class()
        local = LocalOptimizer(torch.optim.Adam, lr=0.01, overrides={"objective": {"lr": 0.05}}, clip_norm=0.1)
        data = torch.rand(20, 6, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
        options = {"epochs": epochs, "batch_size": 5, "progress": False}
        ff.fit(model, data, optimizer=local, checkpoint=path, resume=resume, **options)
        return model.state_dict()

    expected = run(3, tmp_path / "a.pt")
    run(1, tmp_path / "b.pt")
    resumed = run(3, tmp_path / "b.pt", resume=True)
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())


def test_options_of_objectives_are_refused_for_a_model_without_any():
    with pytest.raises(ValueError, match=r"^overrides must name parameter groups of the model, .*'objective'"):
        LocalOptimizer(torch.optim.SGD, lr=0.1, overrides={"objective": {"lr": 0.2}}).attach(Groups())


def test_objectives_and_kinds_of_parameters_divide_a_layer_together():
    model = per_class()
    others = (torch.optim.SGD, {"lr": 0.25})
    local = LocalOptimizer(OnlyMatrices, lr=0.5, overrides={"objective": {"lr": 0.125}}, others=others).attach(model)
    expected = {
        name: 0.25 if p.dim() != 2 else 0.125 if ".objective." in name else 0.5 for name, p in model.named_parameters()
    }
    assert rates_of(model, local) == expected


def test_optimizers_by_kind_of_parameter_train_convolutions_and_resume(tmp_path):
    matrices = getattr(torch.optim, "Muon", OnlyMatrices)

    def trained(epochs, checkpoint, resume=False):
        torch.manual_seed(0)
        model = ff.FFSequential(
            ff.FFConv2d(1, 4, 3),
            ff.FFLinear(16, 6),
            goodness=ff.goodness.LearnedProjection(3),
            loss=ff.losses.CrossEntropy(),
        )
        local = LocalOptimizer(matrices, lr=0.01, others=(torch.optim.AdamW, {"lr": 1e-3}))
        train = torch.rand(20, 1, 4, 4), torch.arange(20) % 3
        schedule = ff.update_schedules.Overlapping(2, "step")
        options = {"schedule": schedule, "optimizer": local, "checkpoint": checkpoint, "resume": resume}
        ff.fit(model, train, epochs=epochs, batch_size=5, progress=False, **options)
        return model

    expected = trained(3, tmp_path / "a.pt").state_dict()
    trained(1, tmp_path / "b.pt")
    resumed = trained(3, tmp_path / "b.pt", resume=True).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())


@pytest.mark.parametrize(("saved", "limit"), [(1e-4, None), (1e-4, 1.0), (None, 0.5)])
def test_a_loaded_state_keeps_the_limits_of_the_optimizer(saved: float | None, limit: float | None) -> None:
    model = ff.FFSequential(ff.FFLinear(6, 5), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy())
    state = ff.LocalOptimizer(torch.optim.SGD, lr=1.0, clip_norm=saved).attach(model).state_dict()
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1.0, clip_norm=limit).attach(model)
    optimizer.load_state_dict(state)
    groups = [group for torch_optimizer in optimizer.optimizers() for group in torch_optimizer.param_groups]
    assert {group.get("clip_norm") for group in groups} == {limit} == {optimizer.clip_norm_of("0")}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": math.nan}, r"overrides\['0'\]\['lr'\] must be a finite number, got nan"),
        ({"lr_schedule": 0.5}, r"overrides\['0'\]\['lr_schedule'\]"),
    ],
    ids=str,
)
def test_overrides_are_checked_as_the_options_are(values: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        ff.LocalOptimizer(torch.optim.SGD, lr=0.1, overrides={"0": values})


@pytest.mark.parametrize("factor", [-0.05, math.nan, math.inf])
def test_a_schedules_factor_out_of_range_is_refused(factor: float) -> None:
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1, lr_schedule=lambda p: factor if p else 1.0)
    optimizer.attach(
        ff.FFSequential(
            ff.FFLinear(6, 5),
            goodness=ff.goodness.SumOfSquares(),
            loss=ff.losses.SymBa(),
            label_encoder=ff.label_encoders.Overlay(2),
            negatives=ff.negatives.RandomLabel(),
        )
    )
    with pytest.raises(
        ValueError, match=f"lr_schedule must return a factor of at least 0, got {factor} at progress 0.5"
    ):
        optimizer.set_progress(0.5)


@pytest.mark.parametrize(
    ("scheduler", "epochs", "options"),
    [
        (torch.optim.lr_scheduler.StepLR, 3, {"step_size": 0}),
        (torch.optim.lr_scheduler.OneCycleLR, 5, {"max_lr": 1.0, "total_steps": 4}),
    ],
)
def test_torchs_schedulers_refuse_in_words(scheduler: Any, epochs: int, options: dict[str, Any]) -> None:
    message = f"options must be those of {scheduler.__name__} for {epochs} epochs: "
    with pytest.raises(ValueError, match=message):
        ff.lr_schedules.FromTorch(scheduler, epochs, **options)


def test_a_copy_follows_its_own_model() -> None:
    model = network()
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
    optimizer.attach(model)
    other, copied = copy.deepcopy((model, optimizer))
    before = copy.deepcopy(model.state_dict())
    other.layers[0].block = nn.Linear(other.layers[0].block.in_features, other.layers[0].block.out_features)
    copied.attach(other)
    for p in other.parameters():
        p.grad = torch.ones_like(p)
    weight = other.layers[0].block.weight.detach().clone()
    copied.step()
    torch.testing.assert_close(other.layers[0].block.weight.detach(), weight - 0.1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
