import copy
from functools import partial

import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward.optimizers import Cooldown, LocalOptimizer, SmoothedSGD


class Units(nn.Module):
    """A model of two layers and a head, with nothing else of a network."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Linear(3, 2) for name in ("0", "1", "head")})

    def units(self):
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
    alone = [factory(list(part.parameters()), **options) for part in other.units().values()]
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
    one = LocalOptimizer(factory, schedule=Cooldown(0), **options).attach(model)
    model.backward()
    one.set_progress(0.5)
    one.step()
    other = copy.deepcopy(model)
    two = LocalOptimizer(factory, schedule=Cooldown(0), **options).attach(other)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    assert two.learning_rates() == one.learning_rates() == pytest.approx(dict.fromkeys(model.units(), 0.005))
    for seed in (1, 2):
        for net, optimizer in ((model, one), (other, two)):
            torch.manual_seed(seed)
            optimizer.zero_grad()
            net.backward()
            optimizer.set_progress(0.6)
            optimizer.step()
    assert two.learning_rates() == pytest.approx(dict.fromkeys(model.units(), 0.004))
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
        torch.optim.SGD, lr=0.1, overrides={"head": {"lr": 1.0}, "1": {"lr": 0.3}}, schedule=Cooldown(0.5)
    ).attach(model)
    assert optimizer.learning_rates() == {"0": 0.1, "1": 0.3, "head": 1.0}
    assert optimizer.state_dict()["1"]["param_groups"][0]["momentum"] == 0.5
    optimizer.set_progress(0.75)
    assert optimizer.learning_rates() == pytest.approx({"0": 0.05, "1": 0.15, "head": 0.5})
    optimizer.set_progress(0.1)
    assert optimizer.learning_rates() == pytest.approx({"0": 0.1, "1": 0.3, "head": 1.0})


def test_every_parameter_group_is_scheduled():
    optimizer = LocalOptimizer(FACTORIES["groups"][0], lr=0.01, schedule=lambda t: 1 - t).attach(Units())
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
        labels=ff.labels.Overlay(2),
    )
    optimizer = LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
    assert optimizer.learning_rates() == {"0": 0.5, "1": 0.1}


def test_repr():
    optimizer = LocalOptimizer(torch.optim.Adam, lr=0.001, overrides={"head": {"lr": 0.1}}, schedule=Cooldown(0.5))
    assert repr(optimizer) == "LocalOptimizer(Adam, schedule=Cooldown(0.5), overrides={'head': {'lr': 0.1}}, lr=0.001)"
