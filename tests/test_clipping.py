"""Tests of clipped gradients, each layer by itself, in every form of the step."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward.step import WholeStep

X, Y = torch.rand(12, 8, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def network(**options: Any) -> ff.FFSequential:
    torch.manual_seed(0)
    plugins = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy(), **options}
    return ff.FFSequential(ff.FFLinear(8, 6), ff.FFLinear(6, 5), head=ff.heads.LinearHead(3), **plugins)


def pairs() -> ff.FFSequential:
    return network(
        goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa(), label_encoder=ff.label_encoders.Overlay(3)
    )


def steps(before: nn.Module, after: nn.Module, groups: tuple[str, ...] = ("0", "1", "head")) -> dict[str, float]:
    """The norm of each module's update."""
    pair = before.parameter_groups(), after.parameter_groups()
    return {
        name: float(
            sum((a - b).detach().square().sum() for a, b in zip(*(p[name].parameters() for p in pair), strict=True))
        )
        ** 0.5
        for name in groups
    }


def updated(model: ff.FFSequential, **options: Any) -> ff.FFSequential:
    model = copy.deepcopy(model)
    whole = options.pop("whole", None)
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1.0, **options)
    model.step((X, Y), optimizer, whole_step=whole, generator=torch.Generator().manual_seed(0))
    return model


@pytest.mark.parametrize("make", [network, pairs])
@pytest.mark.parametrize("whole", [False, True])
def test_each_layers_gradient_has_at_most_the_norm(make: Any, whole: bool) -> None:
    model = make()
    free = steps(model, updated(model))
    limit = sorted(free.values())[1] * 1.01  # between the norms: some gradients are shortened, others are not
    clipped = updated(model, clip_norm=limit, whole=WholeStep() if whole else None)
    norms = steps(model, clipped)
    assert any(free[name] > limit for name in free)
    for name, norm in norms.items():
        assert norm == pytest.approx(min(free[name], limit), rel=1e-4), name


def test_the_direction_is_unchanged() -> None:
    model = network()
    free, clipped = updated(model), updated(model, clip_norm=1e-3)
    for layer, a, b in zip(model, free, clipped, strict=True):
        before, *after = (nn.utils.parameters_to_vector(x.parameters()).detach() for x in (layer, a, b))
        moves = [vector - before for vector in after]
        assert float(nn.functional.cosine_similarity(*moves, dim=0)) > 1 - 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
def test_the_compiled_step_clips_too() -> None:
    for make in (network, pairs):
        model = make()
        a, b = updated(model, clip_norm=0.01), updated(model, clip_norm=0.01, whole=WholeStep(compile=True))
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_single_groups_have_their_own_limits() -> None:
    model = network()
    free = steps(model, updated(model))
    model[1].optimizer_options["clip_norm"] = 0.002
    norms = steps(model, updated(model, clip_norm=0.001, overrides={"head": {"clip_norm": None}}))
    assert norms["0"] == pytest.approx(0.001, rel=1e-3)
    assert norms["1"] == pytest.approx(0.002, rel=1e-3)
    assert norms["head"] == pytest.approx(free["head"], rel=1e-5)


def test_matrices_and_others_of_a_layer_are_clipped_together() -> None:
    model = network()
    norms = steps(model, updated(model, clip_norm=0.001, others=(torch.optim.SGD, {"lr": 1.0})))
    assert norms == pytest.approx(dict.fromkeys(norms, 0.001), rel=1e-3)


OBJECTIVES = {"objective": {"lr": 2.0}}


def parts(before: nn.Module, after: nn.Module) -> dict[str, float]:
    """The norm of the update of each layer, and of its objective."""
    moves: dict[str, list[torch.Tensor]] = {}
    for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True):
        part = ".".join(name.split(".")[1:2] + (["objective"] if ".objective." in name else []))
        moves.setdefault(part, []).append((a - b).detach().flatten())
    return {part: float(torch.cat(move).norm()) for part, move in moves.items()}


@pytest.mark.parametrize("whole", [False, True])
def test_the_gradient_of_an_objective_with_own_options_is_clipped_by_itself(whole: bool) -> None:
    model = network()
    free = parts(model, updated(model, whole=WholeStep() if whole else None))
    limit = 0.5 * min(free[part] for part in ("0", "0.objective", "1", "1.objective"))
    options: dict[str, Any] = {"overrides": OBJECTIVES, "clip_norm": limit}
    clipped = parts(model, updated(model, whole=WholeStep() if whole else None, **options))
    for layer in ("0", "1"):
        assert clipped[layer] == pytest.approx(limit, rel=1e-3)
        assert clipped[f"{layer}.objective"] == pytest.approx(2 * limit, rel=1e-3)  # the learning rate is 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
def test_the_compiled_step_clips_objectives_by_themselves() -> None:
    model = network()
    options: dict[str, Any] = {"overrides": {**OBJECTIVES, "1": {"clip_norm": 0.02}}, "clip_norm": 0.01}
    a, b = updated(model, **options), updated(model, **options, whole=WholeStep(compile=True))
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("overrides", [{}, OBJECTIVES])
def test_replicas_clip_each_member_by_itself(overrides: dict[str, Any]) -> None:
    replicas = ff.replicate(network, seeds=[0, 1])
    with torch.no_grad():
        replicas.members[1][0].block.weight.mul_(0.1)
    members = [copy.deepcopy(member) for member in replicas.members]
    options: dict[str, Any] = {"batch_size": 12, "epochs": 1, "progress": False}
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1.0, clip_norm=0.3, overrides=overrides)
    ff.fit(replicas, (X, Y), optimizer=optimizer, **options)
    for index, member in enumerate(members):
        ff.fit(member, (X, Y), seed=index, optimizer=copy.deepcopy(optimizer), **options)
        for p, q in zip(member.parameters(), replicas.members[index].parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_a_baseline_clips_the_whole_network() -> None:
    torch.manual_seed(0)
    model = ff.baselines.Backpropagation(ff.FFLinear(8, 6), ff.FFLinear(6, 5), num_classes=3)
    before = copy.deepcopy(model)
    model.step((X, Y), ff.LocalOptimizer(torch.optim.SGD, lr=1.0, clip_norm=0.001))
    assert steps(before, model, ("network",))["network"] == pytest.approx(0.001, rel=1e-3)


@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_a_limit_must_be_positive(value: float) -> None:
    for options in ({"clip_norm": value}, {"overrides": {"0": {"clip_norm": value}}}):
        with pytest.raises(ValueError, match="^clip_norm must be"):
            ff.LocalOptimizer(torch.optim.SGD, lr=1.0, **options)
    with pytest.raises(TypeError, match="^clip_norm must be"):
        ff.LocalOptimizer(torch.optim.SGD, lr=1.0, overrides={"0": {"clip_norm": "1"}})


def test_the_limit_is_part_of_the_description_that_a_resumed_run_is_compared_by() -> None:
    assert (
        repr(ff.LocalOptimizer(torch.optim.SGD, clip_norm=0.5, lr=0.1)) == "LocalOptimizer(SGD, lr=0.1, clip_norm=0.5)"
    )
