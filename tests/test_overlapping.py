"""Overlapping local updates: gradients reach the layers of their groups and no others."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward.update_schedules import EndToEnd, Greedy, Group, Joint, Overlapping, Staggered


def network(
    depth: int = 4, label_encoder: ff.label_encoders.LabelEncoder | None = None, convolutions: bool = False
) -> ff.FFSequential:
    torch.manual_seed(0)
    if convolutions:
        channels = [1 if label_encoder is None else 2, *[4] * depth]
        layers = [ff.FFConv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(channels)]
    else:
        layers = [ff.FFLinear(16, 16) for _ in range(depth)]
    return ff.FFSequential(
        *layers,
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=label_encoder or ff.label_encoders.Overlay(4),
        input_shape=(1, 4, 4) if convolutions else None,
    ).double()


def batch(n: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(n, 1, 4, 4, generator=generator, dtype=torch.float64)
    return images, torch.randint(4, (n,), generator=generator)


def gradients_by_graph(model: ff.FFSequential, groups: list[Group], negatives_seed: int) -> dict[str, Tensor]:
    """Return gradients by definition: of each group's losses, on a graph that begins at the group's first layer."""
    model = copy.deepcopy(model)
    images, labels = batch()
    total: dict[str, Tensor] = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for group in groups:
        generator = torch.Generator().manual_seed(negatives_seed)
        batch_of_pairs = model.negatives(images, labels, model.label_encoder, None, generator)
        x = batch_of_pairs.inputs
        for i in range(group.layers[0]):
            x = model.stack[i](x).detach()
        losses = []
        for i in group.layers:
            x, local = model.stack[i].local_loss(x, batch_of_pairs)
            if i in group.objectives:
                losses.append(local.loss)
        inside = [
            (n, p) for n, p in model.named_parameters() if any(n.startswith(f"layers.{i}.") for i in group.layers)
        ]
        if group.layers[0] == 0:
            inside += [(n, p) for n, p in model.named_parameters() if n.startswith("label_encoder.")]
        gradients = torch.autograd.grad(torch.stack(losses).sum(), [p for _, p in inside], allow_unused=True)
        for (name, _), gradient in zip(inside, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient
    return total


def step_gradients(model: ff.FFSequential, groups: list[Group | range], seed: int = 3) -> dict[str, Tensor]:
    """Return the gradients of a step, with an optimizer that changes nothing."""
    model = copy.deepcopy(model)
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.0)
    model.step(batch(), optimizer, groups=groups, generator=torch.Generator().manual_seed(seed))
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("alternate", ["epoch", "step", None])
def test_gradients_are_those_of_each_groups_graph(size: int, alternate: str | None, convolutions: bool) -> None:
    encoder = ff.label_encoders.LearnedChannel(4, 4) if convolutions else None
    model = network(label_encoder=encoder, convolutions=convolutions)
    schedule = Overlapping(size, alternate)
    for phase in range(size if alternate else 1):
        groups = schedule(4, phase, phase, 9)
        expected = gradients_by_graph(model, list(groups), 3)
        actual = step_gradients(model, list(groups))
        for name, gradient in expected.items():
            torch.testing.assert_close(actual[name], gradient, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_a_layer_outside_every_group_gets_no_gradient() -> None:
    gradients = step_gradients(network(), [Group(range(1, 3), range(2, 3))])
    reached = {name.split(".")[1] for name, gradient in gradients.items() if gradient.abs().sum() > 0}
    assert reached == {"1", "2"}


def test_the_losses_of_all_layers_of_a_range_are_summed() -> None:
    model = network()
    groups = [range(0, 2), range(2, 4)]
    expected = gradients_by_graph(model, [Group(g, g) for g in groups], 3)
    for name, gradient in step_gradients(model, list(groups)).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12)


def test_groups_of_one_layer_are_the_joint_schedule() -> None:
    for epoch in range(3):
        groups = Overlapping(1)(4, epoch, 0, 3)
        assert [g.layers for g in groups] == Joint()(4, epoch, 0, 3)
        assert all(g.layers == g.objectives for g in groups)


@pytest.mark.parametrize("alternate", ["epoch", "step", None])
def test_updates_use_activations_from_before_the_step(alternate: str | None) -> None:
    """Whatever the optimizer does, the losses of a step are those of the weights before it."""
    model = network()
    still, moving = copy.deepcopy(model), copy.deepcopy(model)
    groups = Overlapping(2, alternate)(4, 0, 0, 1)
    kwargs = {"groups": groups}
    a = still.step(
        batch(), ff.LocalOptimizer(torch.optim.SGD, lr=0.0), generator=torch.Generator().manual_seed(1), **kwargs
    )
    b = moving.step(
        batch(), ff.LocalOptimizer(torch.optim.SGD, lr=9.0), generator=torch.Generator().manual_seed(1), **kwargs
    )
    for layer in range(4):
        assert a.layers[layer].loss == b.layers[layer].loss
    assert any((p != q).any() for p, q in zip(still.parameters(), moving.parameters(), strict=True))


def test_a_learned_label_encoder_is_updated_with_the_first_layer_only() -> None:
    model = network(label_encoder=ff.label_encoders.LearnedChannel(4, 4), convolutions=True)
    before = model.label_encoder.codebook.detach().clone()
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1.0)
    model.step(batch(), optimizer, groups=[range(1, 2)])
    assert torch.equal(model.label_encoder.codebook, before)
    model.step(batch(), optimizer, groups=[range(0, 1)])
    assert not torch.equal(model.label_encoder.codebook, before)


def test_each_set_of_groups_has_its_own_optimizer_state() -> None:
    model = network()
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=1e-3)
    olu = Overlapping(2, "step")
    for step in range(3):
        model.step(batch(), optimizer, groups=olu(4, 0, step, 1))
    state = optimizer.state_dict()
    assert {"0+1", "2+3", "0", "1+2"} <= set(state)
    steps = {name: int(values["state"][0]["step"]) for name, values in state.items() if values["state"]}
    assert steps == {"0+1": 2, "2+3": 2, "0": 1, "1+2": 1}


def test_a_learned_label_encoder_shares_the_optimizer_of_the_first_layers_group() -> None:
    model = network(label_encoder=ff.label_encoders.LearnedChannel(4, 4), convolutions=True)
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=1e-3)
    olu = Overlapping(2, "step")
    for step in range(3):
        model.step(batch(), optimizer, groups=olu(4, 0, step, 1))
    state = optimizer.state_dict()
    steps = {name: int(values["state"][0]["step"]) for name, values in state.items() if values["state"]}
    assert steps == {"0+label_encoder+1": 2, "2+3": 2, "0+label_encoder": 1, "1+2": 1}


def test_a_run_with_overlapping_updates_resumes_bit_for_bit(tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = ff.TensorData(*batch(40), num_classes=4)

    def run(epochs: int, path, resume: bool = False) -> ff.FFSequential:  # type: ignore[no-untyped-def]
        torch.manual_seed(0)
        model = network(label_encoder=ff.label_encoders.LearnedChannel(4, 4), convolutions=True)
        ff.fit(
            model,
            data,
            epochs=epochs,
            batch_size=10,
            schedule=Overlapping(2, "epoch"),
            progress=False,
            checkpoint=path,
            resume=resume,
        )
        return model

    uninterrupted = run(5, tmp_path / "a.pt")
    run(2, tmp_path / "b.pt")
    resumed = run(5, tmp_path / "b.pt", resume=True)
    for a, b in zip(uninterrupted.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_staggered_layers_are_updated_in_their_windows() -> None:
    schedule = Staggered.evenly(3, share=0.5)
    active = [[g[0] for g in schedule(3, epoch, 0, 8)] for epoch in range(8)]
    assert active == [[0], [0], [0, 1], [0, 1], [1, 2], [1, 2], [2], [2]]
    with pytest.raises(ValueError, match="windows must be one per layer, got 3 for 4 layers"):
        schedule(4, 0, 0, 8)
    with pytest.raises(ValueError, match="windows must be pairs"):
        Staggered([(0.5, 0.2)])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([range(3, 5)], "runs of neighboring layers of 0..3"),
        ([range(0, 4, 2)], "runs of neighboring layers"),
        ([range(2, 3), range(0, 1)], "order of their last layers"),
        ([Group(range(0, 1), range(1, 2))], "contain the layers whose objectives count"),
    ],
)
def test_bad_groups_are_refused(groups: list[range], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network().step(batch(), ff.LocalOptimizer(torch.optim.SGD, lr=0.1), groups=groups)


@pytest.mark.parametrize(("size", "alternate", "name"), [(0, "epoch", "size"), (2, "batch", "alternate")])
def test_bad_overlapping_is_refused(size: int, alternate: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        Overlapping(size, alternate)


@pytest.mark.parametrize("schedule", [Joint(), Greedy(), EndToEnd(), Overlapping(3, None), Staggered([(0, 1)])])
def test_the_repr_of_a_schedule_is_its_constructor_call(schedule: object) -> None:
    names = {kind.__name__: kind for kind in (Joint, Greedy, EndToEnd, Overlapping, Staggered)}
    assert repr(eval(repr(schedule), names)) == repr(schedule)


def test_gradients_pass_through_frozen_layers() -> None:
    model = network()
    for parameter in model.layers[1].parameters():
        parameter.requires_grad_(False)
    gradients = step_gradients(model, [Group(range(0, 3), range(2, 3))])
    expected = gradient_through_frozen_layer(model)
    torch.testing.assert_close(gradients["layers.0.block.weight"], expected, rtol=1e-9, atol=1e-12)


def gradient_through_frozen_layer(model: ff.FFSequential) -> Tensor:
    images, labels = batch()
    batch_of_pairs = model.negatives(images, labels, model.label_encoder, None, torch.Generator().manual_seed(3))
    x = batch_of_pairs.inputs
    for i in range(3):
        x, local = model.stack[i].local_loss(x, batch_of_pairs)
    weight = model.stack[0].block.weight
    assert isinstance(weight, nn.Parameter)
    return torch.autograd.grad(local.loss, weight)[0]


def test_every_layer_learns_if_an_epoch_is_one_step():
    torch.manual_seed(0)
    model = ff.FFSequential(
        *[ff.FFLinear(6, 6) for _ in range(3)],
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
    )
    before = [layer.block.weight.detach().clone() for layer in model.stack]
    data = torch.randn(20, 6), torch.arange(20) % 3
    ff.fit(model, data, epochs=2, batch_size=20, schedule=Overlapping(2, "step"), progress=False)
    assert not any(torch.equal(a, layer.block.weight) for a, layer in zip(before, model.stack, strict=True))
