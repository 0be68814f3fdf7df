import copy
import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import forwardforward as ff
from forwardforward.lr_schedules import Cooldown, Cosine, Steps
from forwardforward.optimizers import LocalOptimizer, SmoothedSGD


class Units(nn.Module):
    """A model of two layers and a head, with nothing else of a network."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Linear(3, 2) for name in ("0", "1", "head")})

    def parameter_groups(self):
        return dict(self.parts.items())

    def backward(self):
        for part in self.parts.values():
            part(torch.randn(5, 3)).square().sum().backward()


@pytest.mark.parametrize(("smoothing", "cost"), [(0.9, 0.01), (0.9, 0.0), (0.5, 0.1), (0.0, 0.1)])
def test_smoothed_sgd(smoothing, cost):
    """g <- s g + (1 - s) grad from zero; w <- w - lr (g + cost w), the cost on weights alone."""
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


def test_smoothed_sgd_leaves_what_has_no_gradient():
    weight = nn.Parameter(torch.ones(2, 3))
    SmoothedSGD([weight], lr=0.1, weight_cost=0.5).step()
    assert (weight == 1).all()


def test_smoothed_sgd_goes_on_from_its_state():
    weight = nn.Parameter(torch.randn(2, 3))
    other = nn.Parameter(weight.detach().clone())
    one = SmoothedSGD([weight], weight_cost=0.1)
    weight.grad = torch.randn(2, 3)
    one.step()
    two = SmoothedSGD([other])
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    with torch.no_grad():
        other.copy_(weight)
    weight.grad = torch.randn(2, 3)
    other.grad = weight.grad.clone()
    one.step(), two.step()
    assert torch.equal(weight, other)


def test_a_parameter_group_has_its_own_weight_cost():
    one, two = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = SmoothedSGD([{"params": [one], "weight_cost": 0.5}, {"params": [two]}], lr=0.1)
    one.grad = two.grad = torch.zeros(2, 2)
    optimizer.step()
    torch.testing.assert_close(one.detach(), torch.full((2, 2), 0.95))
    assert (two == 1).all()


def test_a_parameter_group_added_later_is_like_the_first():
    one, two = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = SmoothedSGD([one], lr=0.1, weight_cost=0.5)
    optimizer.add_param_group({"params": [two]})
    one.grad = two.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.equal(one, two)


@pytest.mark.parametrize("options", [{"smoothing": 1.0}, {"smoothing": -0.1}, {"weight_cost": -1.0}], ids=str)
def test_smoothed_sgd_refuses(options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))} must be"):
        SmoothedSGD([nn.Parameter(torch.ones(2))], **options)


def test_cooldown():
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
every = pytest.mark.parametrize(("factory", "options"), FACTORIES.values(), ids=FACTORIES)


@every
def test_any_optimizer_makes_the_same_steps_as_by_itself(factory, options):
    torch.manual_seed(1)
    model = Units()
    other = copy.deepcopy(model)
    local = LocalOptimizer(factory, **options).attach(model)
    alone = [factory(list(part.parameters()), **options) for part in other.parameter_groups().values()]
    for seed in range(3):
        for one in (model, other):
            torch.manual_seed(seed)
            one.zero_grad()
            one.backward()
        local.step()
        for optimizer in alone:
            optimizer.step()
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@every
def test_state_round_trip(factory, options):
    """After loading into a fresh copy, both go on alike, at the learning rate of before."""
    model = Units()
    one = LocalOptimizer(factory, lr_schedule=Cooldown(0), **options).attach(model)
    model.backward()
    one.set_progress(0.5)
    one.step()
    other = copy.deepcopy(model)
    two = LocalOptimizer(factory, lr_schedule=Cooldown(0), **options).attach(other)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    assert two.learning_rates() == one.learning_rates() == pytest.approx(dict.fromkeys(model.parameter_groups(), 0.005))
    for seed in (1, 2):
        for net, optimizer in ((model, one), (other, two)):
            torch.manual_seed(seed)
            optimizer.zero_grad()
            net.backward()
            optimizer.set_progress(0.6)
            optimizer.step()
    assert two.learning_rates() == pytest.approx(dict.fromkeys(model.parameter_groups(), 0.004))
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_state_of_other_units_is_refused():
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(Units())
    with pytest.raises(ValueError, match="^state must hold the units"):
        optimizer.load_state_dict({"0": {}})


def test_overrides():
    model = Units()
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


def test_every_parameter_group_is_scheduled():
    optimizer = LocalOptimizer(FACTORIES["groups"][0], lr=0.01, lr_schedule=lambda t: 1 - t).attach(Units())
    optimizer.set_progress(0.75)
    groups = optimizer.state_dict()["0"]["param_groups"]
    assert [group["lr"] for group in groups] == pytest.approx([0.0025, 0.025])


def test_an_unknown_unit_is_refused():
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1, overrides={"3": {"lr": 1.0}, "hed": {}})
    with pytest.raises(ValueError, match=r"^overrides must name units of the model, got \['3', 'hed'\].*'head'"):
        optimizer.attach(Units())


def test_units_step_and_forget_by_themselves():
    model = Units()
    before = copy.deepcopy(model.state_dict())
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
    model.backward()
    optimizer.step("1")
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"parts.1.weight", "parts.1.bias"}
    optimizer.zero_grad("1")
    assert [p.grad is None for p in model.parameters()] == [False, False, True, True, False, False]
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_attaching_again_keeps_the_state():
    model = Units()
    optimizer = LocalOptimizer(torch.optim.Adam, lr=0.1).attach(model)
    model.backward()
    optimizer.step()
    assert optimizer.attach(model).state_dict()["0"]["state"]
    assert not optimizer.attach(Units()).state_dict()["0"]["state"]


def test_frozen_and_parameterless_units_are_left_out():
    model = Units()
    model.parts["0"].requires_grad_(False)
    model.parts["1"] = nn.ReLU()
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
    assert list(optimizer.state_dict()) == ["head"]
    optimizer.zero_grad("0", "1")
    optimizer.step("0", "1")


def test_options_of_a_layer_reach_its_optimizer():
    model = ff.FFSequential(
        ff.FFLinear(4, 3, optimizer={"lr": 0.5}),
        ff.FFLinear(3, 3),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Overlay(2),
    )
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
    assert optimizer.learning_rates() == {"0": 0.5, "1": 0.1}


def test_repr():
    optimizer = LocalOptimizer(torch.optim.Adam, lr=0.001, overrides={"head": {"lr": 0.1}}, lr_schedule=Cooldown(0.5))
    assert (
        repr(optimizer) == "LocalOptimizer(Adam, lr_schedule=Cooldown(0.5), overrides={'head': {'lr': 0.1}}, lr=0.001)"
    )


# Learning-rate factors


@given(progress=st.floats(0, 1), floor=st.floats(0, 1), warmup=st.floats(0, 0.9))
def test_cosine(progress, floor, warmup):
    """A straight line from 0 to 1 over the warm-up, then half a cosine from 1 to the floor."""
    found = Cosine(floor, warmup)(progress)
    if progress < warmup:
        expected = progress / warmup
    else:
        way = (progress - warmup) / (1 - warmup)
        expected = floor + (1 - floor) * (1 + math.cos(math.pi * way)) / 2
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0 <= found <= 1
    assert Cosine(floor, warmup)(1.0) == pytest.approx(floor)
    assert Cosine(floor, warmup)(warmup) == pytest.approx(1)


def test_cosine_by_hand():
    assert [Cosine()(t) for t in (0, 1 / 3, 0.5, 2 / 3, 1)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert [Cosine(0.2, warmup=0.5)(t) for t in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx([0, 0.5, 1, 0.6, 0.2])
    for options in ({"floor": -0.1}, {"floor": 1.1}, {"warmup": -0.1}, {"warmup": 1.0}):
        with pytest.raises(ValueError, match=f"^{next(iter(options))} must be in"):
            Cosine(**options)
    assert repr(Cosine()) == "Cosine(floor=0.0)"
    assert repr(Cosine(0.1, warmup=0.2)) == "Cosine(floor=0.1, warmup=0.2)"


@given(factors=st.dictionaries(st.floats(0.01, 0.99), st.floats(0, 10), max_size=4), progress=st.floats(0, 1))
def test_steps(factors, progress):
    expected = 1.0
    for start in sorted(factors):
        if progress >= start:
            expected = factors[start]
    assert Steps(factors)(progress) == expected


def test_steps_by_hand():
    shuffled = Steps({0.8: 0.1, 0.4: 0.5})
    assert [shuffled(t) for t in (0, 0.39, 0.4, 0.79, 0.8, 1)] == [1, 1, 0.5, 0.5, 0.1, 0.1]
    assert repr(shuffled) == repr(Steps({0.4: 0.5, 0.8: 0.1})) == "Steps({0.4: 0.5, 0.8: 0.1})"
    for factors in ({0.0: 0.5}, {1.0: 0.5}, {0.5: -0.1}, {0.5: 0.1, 1.5: 0.1}):
        with pytest.raises(ValueError, match=r"^factors must map progress in \(0, 1\) to factors of at least 0, got"):
            Steps(factors)


def test_a_unit_may_have_a_schedule_of_its_own():
    model = Units()
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


# Units that have an optimizer together


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
def test_units_together_and_apart_take_the_same_first_step(factory, options):
    """Only the state differs: a group has its own."""
    model = Units()
    other = copy.deepcopy(model)
    together, apart = (LocalOptimizer(factory, **options).attach(one) for one in (model, other))
    for one, optimizer, units in ((model, together, [("0", "1")]), (other, apart, ["0", "1"])):
        before = copy.deepcopy(one.parts["head"].state_dict())
        gradients(one, 0)
        optimizer.step(*units)
        assert all(torch.equal(v, before[k]) for k, v in one.parts["head"].state_dict().items())
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert list(together.state_dict()) == ["0", "1", "head", "0+1"]
    assert list(apart.state_dict()) == ["0", "1", "head"]
    if factory is not SmoothedSGD:  # which makes its state at once
        assert not together.state_dict()["0"]["state"]
    assert len(together.state_dict()["0+1"]["state"]) == 4


@groupable
def test_each_grouping_keeps_its_own_state_as_they_take_turns(factory, options):
    """The reference: one torch optimizer for each grouping, all on the same parameters."""
    model = Units()
    other = copy.deepcopy(model)
    local = LocalOptimizer(factory, **options).attach(model)
    groupings = {
        one: factory([{"params": list(other.parts[name].parameters())} for name in one], **options)
        for one in (("0",), ("1",), ("0", "1"), ("1", "head"), ("0", "1", "head"))
    }
    turns = [("0", "1"), ("0",), ("1", "head"), ("0", "1"), ("0", "1", "head"), ("1",), ("0", "1"), ("1", "head")]
    for seed, units in enumerate(turns):
        for one in (model, other):
            gradients(one, seed)
        local.step(units if seed % 2 else list(units))
        groupings[units].step()
        for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(ours, theirs)


@groupable
def test_state_round_trip_with_groups(factory, options):
    model = Units()
    one = LocalOptimizer(factory, lr_schedule=Cooldown(0), **options).attach(model)
    one.set_progress(0.5)
    for seed, units in enumerate([("0", "1"), "head", ("0", "1"), ("1", "head")]):
        gradients(model, seed)
        one.step(units)
    other = copy.deepcopy(model)
    two = LocalOptimizer(factory, lr_schedule=Cooldown(0), **options).attach(other)
    state = copy.deepcopy(one.state_dict())
    two.load_state_dict(state)
    assert list(two.state_dict()) == list(state) == ["0", "1", "head", "0+1", "1+head"]
    assert two.learning_rates() == one.learning_rates()
    for seed, units in enumerate([("1", "head"), ("0", "1"), "0", ("0", "1", "head")]):
        for net, optimizer in ((model, one), (other, two)):
            optimizer.set_progress(0.6)
            gradients(net, seed)
            optimizer.step(units)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_groups_units_have_their_own_rates_and_schedules():
    model = Units()
    optimizer = LocalOptimizer(
        torch.optim.SGD,
        lr=0.1,
        lr_schedule=Cooldown(0),
        overrides={"1": {"lr": 1.0, "weight_decay": 0.5}, "head": {"lr_schedule": Steps({0.5: 0.3})}},
    ).attach(model)
    optimizer.set_progress(0.6)  # before the group is made
    gradients(model, 0)
    before = copy.deepcopy(model)
    optimizer.step(("0", "1", "head"))
    for name, rate, decay in (("0", 0.04, 0), ("1", 0.4, 0.5), ("head", 0.03, 0)):
        for p, old in zip(model.parts[name].parameters(), before.parts[name].parameters(), strict=True):
            torch.testing.assert_close(p.detach(), old.detach() - rate * (p.grad + decay * old.detach()))
    optimizer.set_progress(0.2)
    assert optimizer.learning_rates() == pytest.approx({"0": 0.08, "1": 0.8, "head": 0.1})
    assert [g["lr"] for g in optimizer.state_dict()["0+1+head"]["param_groups"]] == pytest.approx([0.08, 0.8, 0.1])


def test_groups_forget_their_gradients_together():
    model = Units()
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
    gradients(model, 0)
    optimizer.zero_grad(("0", "1"))
    assert [p.grad is None for p in model.parameters()] == [True, True, True, True, False, False]


def test_units_without_parameters_leave_a_group():
    model = Units()
    model.parts["0"].requires_grad_(False)
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
def test_overrides_hold_in_a_group(factory, options, override):
    model = Units()
    other = copy.deepcopy(model)
    for one, units in ((model, [("0", "1")]), (other, ["0", "1"])):
        optimizer = LocalOptimizer(factory, overrides={"0": override}, **options).attach(one)
        gradients(one, 0)
        optimizer.step(*units)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_factory_that_sorts_parameters_serves_a_group():
    factory, options = FACTORIES["groups"]
    model = Units()
    optimizer = LocalOptimizer(factory, **options).attach(model)
    gradients(model, 0)
    optimizer.step(("0", "1"))


def test_a_loaded_state_replaces_every_groupings():
    model = Units()
    optimizer = LocalOptimizer(torch.optim.Adam, lr=0.1).attach(model)
    state = copy.deepcopy(optimizer.state_dict())
    gradients(model, 0)
    optimizer.step(("0", "1"))
    optimizer.load_state_dict(state)
    assert not optimizer.state_dict().get("0+1", {"state": {}})["state"]
