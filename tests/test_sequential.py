import copy
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import forwardforward as ff
from forwardforward.batches import Batch
from forwardforward.goodness import LearnedProjection, MeanOfSquares, Negated, SumOfSquares
from forwardforward.label_encoders import Concatenation, Overlay
from forwardforward.losses import CrossEntropy, Pyramidal, SupervisedContrastive, SymBa, Threshold
from forwardforward.negatives import HardGoodness, HardLabel, HybridMask, LabelNegatives, RandomLabel
from forwardforward.normalization import BatchNorm, Identity, LayerNorm, PeerNormalization, RMSNorm
from forwardforward.objectives import BatchObjective, ClassObjective, PairObjective
from forwardforward.update_schedules import EndToEnd, Greedy, Joint

F64 = torch.float64
WIDTHS = (8, 7, 6)


def dense(*widths):
    return [ff.FFLinear(a, b) for a, b in zip([12, *widths], widths, strict=False)]


def paired(*layers, **options):
    """A network of pair objectives with the label in its input."""
    defaults = {
        "goodness": SumOfSquares(),
        "loss": Threshold("width"),
        "normalization": RMSNorm(),
        "labels": Overlay(3),
    }
    return ff.FFSequential(*(layers or dense(*WIDTHS)), **{**defaults, **options}).double()


def classes(*layers, **options):
    """A network of class objectives that sees images alone."""
    defaults = {"goodness": LearnedProjection(3), "loss": CrossEntropy(), "normalization": RMSNorm()}
    return ff.FFSequential(*(layers or dense(*WIDTHS)), **{**defaults, **options}).double()


def hybrids(**options):
    """A network of pair objectives without labels, and a head."""
    defaults = {"labels": None, "negatives": HybridMask(1), "num_classes": 3}
    return paired(ff.FFLinear(16, 8), ff.FFLinear(8, 7), **{**defaults, **options})


NETWORKS = {
    "pair": paired,
    "pair, peer and batch normalization": lambda: paired(
        normalization=BatchNorm(), peer=PeerNormalization(strength=0.3)
    ),
    "pair, head": lambda: paired(negatives=HardLabel(), normalization=LayerNorm()),
    "pair, goodness": lambda: paired(negatives=HardGoodness(), normalization=BatchNorm(statistics="running")),
    "class": classes,
    "class, batch normalization": lambda: classes(normalization=BatchNorm(affine=True)),
    "hybrid": hybrids,
}
every = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def batch_for(model, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = model.stack[0].in_features
    return torch.rand(size, features, dtype=F64, generator=generator), torch.randint(3, (size,), generator=generator)


def sgd(lr=0.1, **options):
    return ff.LocalOptimizer(torch.optim.SGD, lr=lr, **options)


def step(model, optimizer, seed=0, **options):
    return model.step(batch_for(model, seed=seed), optimizer, generator=torch.Generator().manual_seed(seed), **options)


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model, before):
    """Which layers (or the head) hold a parameter or statistic that is not as before."""
    moved = set()
    for name, value in model.state_dict().items():
        if not torch.equal(value, before[name]):
            moved.add(name.split(".")[1] if name.startswith("layers.") else name.split(".")[0])
    return moved


def unroll(model, made):
    """By hand: every layer's local loss at the weights as they are, each cut off from the one before."""
    x, losses = made.inputs, []
    for layer in model.stack:
        h, local = layer.local_loss(x, made)
        losses.append(local.loss)
        x = h.detach()
    return losses


def make_batch(model, seed=0):
    """The batch that a step with this seed sees; for networks whose negatives need no scores."""
    images, labels = batch_for(model, seed=seed)
    if model.negatives is None:
        return Batch(images, labels)
    return model.negatives(images, labels, model.labels, None, torch.Generator().manual_seed(seed))


# Training


@pytest.mark.parametrize(
    "make", [NETWORKS["pair"], NETWORKS["pair, peer and batch normalization"], classes], ids=[0, 1, 2]
)
@pytest.mark.parametrize(
    "factory", [torch.optim.SGD, torch.optim.Adam, ff.optimizers.SmoothedSGD], ids=lambda f: f.__name__
)
def test_a_step_a_layer_equals_one_fused_step_after_the_pass(make, factory):
    """Layers pass on activations of before their update, so nobody sees another's new weights."""
    model = make()
    fused = copy.deepcopy(model)
    local = ff.LocalOptimizer(factory, lr=0.05)
    optimizer = factory(list(fused.parameters()), lr=0.05)
    for seed in range(4):
        result = step(model, local, seed)
        optimizer.zero_grad()
        losses = unroll(fused, make_batch(fused, seed))
        torch.stack(losses).sum().backward()
        optimizer.step()
        for i, loss in enumerate(losses):
            torch.testing.assert_close(result.layers[i].loss, loss.detach(), rtol=1e-12, atol=1e-12)
        for (name, ours), theirs in zip(model.state_dict().items(), fused.state_dict().values(), strict=True):
            torch.testing.assert_close(ours, theirs, msg=name, rtol=1e-12, atol=1e-12)


@every
def test_gradients_stop_at_layer_borders(make):
    """No layer's loss reaches a parameter of another: freezing the others changes no gradient."""
    whole = make()
    alone = [copy.deepcopy(whole) for _ in whole.stack]
    step(whole, sgd())
    for i, model in enumerate(alone):
        for j, layer in enumerate(model.stack):
            layer.requires_grad_(j == i)
        step(model, sgd())
        for ours, theirs in zip(whole.stack[i].parameters(), model.stack[i].parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)
        for j, layer in enumerate(model.stack):
            if j != i:
                assert all(p.grad is None for p in layer.parameters())


@pytest.mark.parametrize("make", [paired, classes], ids=["pair", "class"])
def test_end_to_end_is_autograd_of_the_summed_losses(make):
    model = make()
    images, labels = batch_for(model)
    made = make_batch(model)
    x, total = made.inputs, 0
    for layer in model.stack:
        x, local = layer.local_loss(x, made)
        total = total + local.loss
    expected = torch.autograd.grad(total, list(model.parameters()))
    model.step((images, labels), sgd(), generator=torch.Generator().manual_seed(0), groups=EndToEnd()(3, 0, 0, 1))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=1e-12)
    local_model = make()
    local_model.load_state_dict(model.state_dict())
    step(local_model, sgd())
    assert not torch.allclose(local_model.stack[0].block.weight.grad, model.stack[0].block.weight.grad)


def test_groups_of_neighbours_overlap_as_one_likes():
    """A schedule of users' own: gradients flow inside a group and stop at its border."""
    model = paired()
    made = make_batch(model)
    h0, first = model.stack[0].local_loss(made.inputs, made)
    _, second = model.stack[1].local_loss(h0, made)
    expected = torch.autograd.grad(first.loss + second.loss, list(model.stack[0].parameters()))
    result = step(model, sgd(), groups=[range(0, 2), range(2, 3)])
    for parameter, gradient in zip(model.stack[0].parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=1e-12)
    assert list(result.layers) == [0, 1, 2]


@pytest.mark.parametrize(
    "make", [paired, classes, lambda: paired(peer=PeerNormalization())], ids=["pair", "class", "peer"]
)
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_greedy_leaves_the_others_untouched(make, layer):
    model = make()
    before = snapshot(model)
    result = step(model, sgd(), groups=Greedy()(3, layer, 0, 3))
    assert changed(model, before) == {str(layer)}
    assert list(result.layers) == [layer]


@pytest.mark.parametrize(
    ("make", "layer"), [(hybrids, 0), (hybrids, 1), (paired, 1)], ids=["before a head", "behind it", "between"]
)
def test_greedy_leaves_the_others_statistics_untouched(make, layer):
    model = make()
    for one in model.stack:
        one.normalization = BatchNorm(features=one.in_features).double()
    before = snapshot(model)
    step(model, sgd(), groups=[range(layer, layer + 1)])
    assert changed(model, before) - {"head"} == {str(layer)}


def test_greedy_shares_out_the_epochs():
    turns = [Greedy()(3, epoch, 0, 7)[0][0] for epoch in range(7)]
    assert turns == [0, 0, 0, 1, 1, 2, 2]
    assert [Greedy()(4, epoch, 0, 60)[0][0] for epoch in (0, 14, 15, 59)] == [0, 0, 1, 3]


@pytest.mark.parametrize("schedule", [Joint(), Greedy(), EndToEnd()], ids=repr)
@every
def test_every_schedule_trains_every_kind_of_network(make, schedule):
    model = make()
    optimizer = sgd(0.01)
    for epoch in range(len(model)):
        result = step(model, optimizer, epoch, groups=schedule(len(model), epoch, 0, len(model)), monitor=True)
        assert set(result.gradient_norms) == set(result.layers)
        for i, local in result.layers.items():
            assert local.loss.isfinite()
            assert not local.loss.requires_grad
            norm = torch.cat([p.grad.flatten() for p in model.stack[i].parameters()]).norm()
            torch.testing.assert_close(result.gradient_norms[i], norm)


@pytest.mark.parametrize("kind", ["without parameters", "frozen"])
def test_a_layer_that_cannot_learn_passes_activations_on(kind):
    model = paired(
        ff.FFLinear(12, 8), nn.Tanh() if kind == "without parameters" else ff.FFLinear(8, 8), ff.FFLinear(8, 7)
    )
    model.stack[1].requires_grad_(False)
    before = snapshot(model)
    step(model, sgd())
    assert changed(model, before) == {"0", "2"}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
@pytest.mark.parametrize("make", [paired, classes, NETWORKS["pair, head"]], ids=["pair", "class", "head"])
def test_any_integer_type_of_label(make, dtype):
    model, twin = make(), make()
    twin.load_state_dict(model.state_dict())
    images, labels = batch_for(model)
    for one, targets in ((model, labels), (twin, labels.to(dtype))):
        one.step((images, targets), sgd(), generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_losses_fall():
    for make in (paired, classes):
        model, optimizer = make(), sgd(0.05)
        found = [step(model, optimizer, 0) for _ in range(30)]
        for i in range(3):
            assert found[-1].layers[i].loss < found[0].layers[i].loss


def test_activations_of_a_layer_are_freed_before_the_next_layers_backward():
    """Peak memory does not grow with depth: only what a layer hands on outlives its update."""
    alive, peak = [], []

    class Watched(nn.Module):
        """Makes an intermediate tensor that its own backward needs, and counts those that are still there."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(12))

        def forward(self, x):
            middle = (x * self.weight).sin()
            alive.append(weakref.ref(middle))
            found = middle * self.weight
            peak.append(sum(one() is not None for one in alive))
            return found

    def peak_of(groups):
        alive.clear(), peak.clear()
        model = ff.FFSequential(*[Watched() for _ in range(6)], goodness=LearnedProjection(3, 12), loss=CrossEntropy())
        model.step((torch.rand(4, 12), torch.tensor([0, 1, 2, 0])), sgd(), groups=groups)
        return max(peak)

    assert peak_of(None) == 1
    assert peak_of(EndToEnd()(6, 0, 0, 1)) == 6


def test_saved_tensors_are_gone_before_the_next_layer_runs():
    """The same with what autograd itself saves, in bytes: no more for twelve layers than for three."""

    class Held:
        """A saved tensor, counted for as long as autograd keeps it."""

        now = most = 0

        def __init__(self, tensor):
            self.tensor = tensor
            self.size = tensor.numel()
            Held.now += self.size
            Held.most = max(Held.most, Held.now)

        def __del__(self):
            Held.now -= self.size

    def most(depth, groups=None):
        model = paired(*dense(*[12] * depth), normalization=LayerNorm())
        Held.most = Held.now = 0
        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            step(model, sgd(), groups=groups)
        assert Held.now == 0
        return Held.most

    assert most(12) == most(3)
    assert most(12, EndToEnd()(12, 0, 0, 1)) > 3 * most(3)


# Passes that only look


@pytest.mark.parametrize("training", [True, False])
@every
def test_looking_changes_nothing(make, training):
    """Scores, losses and classification leave statistics alone, and every module's mode as it was."""
    model = make()
    step(model, sgd())
    model.train(training)
    model.stack[0].normalization.train(not training)  # modes may be mixed
    modes = [module.training for module in model.modules()]
    before = snapshot(model)
    images, labels = batch_for(model)
    model.predict(images)
    model.predict_proba(images)
    model.local_losses((images, labels))
    if model.layers_classify:
        model.layer_goodness(images)
        model.goodness(images, labels)
    if model.head is not None:
        model.head_logits(images)
    assert not changed(model, before)
    assert [module.training for module in model.modules()] == modes


def test_modes_are_restored_after_an_error():
    def failing(activations):
        raise RuntimeError("no goodness today")

    model = ff.FFSequential(ff.FFLinear(12, 4), goodness=failing, loss=SymBa(), label_encoder=Overlay(3))
    with pytest.raises(RuntimeError, match="no goodness today"):
        model.predict(torch.rand(2, 12))
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("negatives", [HardLabel(), HardGoodness()], ids=repr)
def test_scoring_passes_leave_batch_and_peer_statistics(negatives):
    """A step moves the statistics once, by the training pass, whatever the negatives asked before."""
    model = paired(negatives=negatives, normalization=BatchNorm(), peer=PeerNormalization())
    fixed = copy.deepcopy(model)
    images, labels = batch_for(model)
    drawn = []

    class Remember(LabelNegatives):
        scores = negatives.scores

        def wrong_labels(self, labels, num_classes, scores, generator):
            drawn.append(negatives.wrong_labels(labels, num_classes, scores, generator))
            return drawn[-1]

    class Repeat(LabelNegatives):
        def wrong_labels(self, labels, num_classes, scores, generator):
            return drawn[-1]

    model.negatives, fixed.negatives = Remember(), Repeat()
    optimizers = sgd(), sgd()
    for seed in range(3):
        model.step((images, labels), optimizers[0], generator=torch.Generator().manual_seed(seed))
        fixed.step((images, labels), optimizers[1])
    for (name, ours), theirs in zip(model.state_dict().items(), fixed.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)


def test_hard_negatives_are_told_of_before_the_update():
    """Head negatives see the head's logits; goodness negatives the goodness summed over all layers but the first."""
    told = []

    class Ask(RandomLabel):
        def wrong_labels(self, labels, num_classes, scores, generator):
            told.append(scores.clone())
            return super().wrong_labels(labels, num_classes, scores, generator)

    for kind in ("head", "goodness"):
        negatives = Ask()
        negatives.scores = kind
        model = paired(negatives=negatives)
        if model.head is not None:
            nn.init.normal_(model.head.linear.weight)
        images, labels = batch_for(model)
        expected = model.head_logits(images) if kind == "head" else model.layer_goodness(images)[:, 1:].sum(1)
        model.step((images, labels), sgd())
        torch.testing.assert_close(told.pop(), expected)


def test_local_losses_are_those_of_the_next_step():
    model = paired(peer=PeerNormalization(strength=0.0))
    found = model.local_losses(batch_for(model), torch.Generator().manual_seed(0))
    result = step(model, sgd())
    for i, local in enumerate(found):
        torch.testing.assert_close(local, result.layers[i])


# Classification


@pytest.mark.parametrize("labels", [Overlay(3), Overlay(3, scale=2.0), Concatenation(3)], ids=repr)
@pytest.mark.parametrize(
    "normalization", [RMSNorm(), LayerNorm(), BatchNorm(), Identity()], ids=lambda n: type(n).__name__
)
def test_layer_goodness_is_one_pass_a_label(labels, normalization):
    width = 15 if isinstance(labels, Concatenation) else 12
    model = paired(
        ff.FFLinear(width, 8), ff.FFLinear(8, 7), ff.FFLinear(7, 6), labels=labels, normalization=normalization
    )
    images, targets = torch.rand(5, 12, dtype=F64), torch.tensor([0, 1, 2, 0, 1])
    model.step((images, targets), sgd())  # running statistics of some kind
    found = model.layer_goodness(images)
    model.eval()
    for k in range(3):
        code = torch.zeros(5, 3, dtype=F64)
        code[:, k] = labels.scale
        x = torch.cat([images, code], 1) if width == 15 else torch.cat([code, images[:, 3:]], 1)
        for i, layer in enumerate(model.stack):
            x = (layer.normalization(x) @ layer.block.weight.T + layer.block.bias).clamp(min=0)
            torch.testing.assert_close(found[:, i, k], x.square().sum(1), rtol=1e-10, atol=1e-10)
    picked = model.goodness(images, targets)
    torch.testing.assert_close(picked, found[torch.arange(5), :, targets])


@pytest.mark.parametrize("make", [paired, classes], ids=["pair", "class"])
@pytest.mark.parametrize("chunk", [1, 11, 12, 13, 24, 30, 100])
def test_chunks_change_nothing(make, chunk):
    model = make()
    images, _ = batch_for(model)
    expected = model.layer_goodness(images)
    widest = []
    for layer in model.stack:
        layer.activation.register_forward_hook(lambda module, args, out: widest.append(out.numel()))
    model.chunk = chunk
    torch.testing.assert_close(model.layer_goodness(images), expected, rtol=1e-12, atol=1e-12)
    assert max(widest) <= max(chunk, 8)  # one image with one label at least


def test_the_heads_chunks_change_nothing():
    model = paired(head=ff.classifiers.LinearHead(3), classifier=ff.classifiers.Head())
    nn.init.normal_(model.head.linear.weight)
    images, _ = batch_for(model)
    expected = model.predict_proba(images)
    model.chunk = 1
    torch.testing.assert_close(model.predict_proba(images), expected, rtol=1e-12, atol=1e-12)


@every
def test_an_images_class_does_not_depend_on_its_company(make):
    model = make()
    step(model, sgd())
    model.eval()
    images, _ = batch_for(model, 8)
    whole = model.scores(images)
    torch.testing.assert_close(torch.cat([model.scores(one) for one in images.split(1)]), whole)
    torch.testing.assert_close(model.scores(images.flip(0)), whole.flip(0))


@given(seed=st.integers(0, 2**16))
def test_renaming_the_classes_renames_the_answers(seed):
    """Label symmetry: with the label's weights permuted, so is the goodness of the labels."""
    generator = torch.Generator().manual_seed(seed)
    model = paired()
    images = torch.rand(4, 12, dtype=F64, generator=generator)
    order = torch.randperm(3, generator=generator)
    expected = model.layer_goodness(images)[..., order]
    with torch.no_grad():
        weight = model.stack[0].block.weight
        weight[:, :3] = weight[:, order]
    torch.testing.assert_close(model.layer_goodness(images), expected)


def test_what_the_model_gives():
    """Features of the last layer: under the neutral label where labels are part of the input."""
    model = paired()
    images, labels = batch_for(model)
    x = torch.cat([torch.full((6, 3), 1 / 3, dtype=F64), images[:, 3:]], 1)
    for layer in model.stack:
        x = layer(x)
    torch.testing.assert_close(model(images), x)
    torch.testing.assert_close(model.activations(images)[2], x)
    found = model.activations(images, labels)
    assert [h.shape[1] for h in found.values()] == list(WIDTHS)
    torch.testing.assert_close(
        torch.stack([h.square().sum(1) for h in found.values()], 1), model.goodness(images, labels)
    )
    plain = classes()
    torch.testing.assert_close(plain(images), plain.stack[2](plain.stack[1](plain.stack[0](images))))


def test_features_hold_one_layer_at_a_time():
    model, alive = classes(), []

    def look(layer, args, out):
        held.append(weakref.ref(out))
        alive.append(sum(one() is not None for one in held))

    held = []
    for layer in model:
        layer.register_forward_hook(look)
    with torch.no_grad():
        model(batch_for(model)[0])
    assert alive == [1, 2, 2]  # a layer's input and output


@pytest.mark.parametrize("make", [paired, classes], ids=["pair", "class"])
def test_the_goodness_of_given_labels_takes_one_pass(make):
    model, rows = make(), []
    images, labels = batch_for(model)
    expected = model.layer_goodness(images)[torch.arange(6), :, labels]
    model.stack[1].activation.register_forward_hook(lambda module, args, out: rows.append(len(out)))
    model.chunk = 40  # five rows at once
    torch.testing.assert_close(model.goodness(images, labels.int()), expected, rtol=1e-12, atol=1e-12)
    assert sum(rows) in (6, 7)  # one more to find the largest layer


def test_layers_are_reached_as_those_of_a_list():
    model = classes()
    assert list(model) == model.stack == [model[0], model[1], model[-1]]
    with pytest.raises(IndexError):
        model[3]
    with pytest.raises(TypeError, match="slice"):
        model[:2]
    with pytest.raises(TypeError, match="data must be TensorData, .* got a FFSequential"):
        ff.evaluate(model, model)


def test_class_goodness_classifies_by_all_layers():
    model = classes()
    images, _ = batch_for(model)
    h, expected = model.activations(images), 0
    for i, layer in enumerate(model.stack):
        expected = expected + h[i] @ layer.objective.goodness.weight.T
    torch.testing.assert_close(model.scores(images), expected)


# Plug-ins


def test_defaults_are_copied_not_shared():
    given_ones = {"goodness": SumOfSquares(), "loss": Threshold("width"), "normalization": BatchNorm()}
    peer = PeerNormalization()
    model = paired(**given_ones, peer=peer)
    parts = [[layer.objective.goodness, layer.objective.loss, layer.normalization, layer.peer] for layer in model.stack]
    everything = [id(part) for layer in parts for part in layer] + [id(one) for one in (*given_ones.values(), peer)]
    assert len(set(everything)) == len(everything)
    assert [len(layer.peer.means) for layer in model.stack] == list(WIDTHS)
    assert [len(layer.normalization.running_mean) for layer in model.stack] == [12, 8, 7]
    assert peer.features is None  # the one that was given is left as it was


def test_each_layer_may_have_its_own():
    objective = PairObjective(Negated(SumOfSquares()), Threshold(-2.0))
    own = ff.FFLinear(
        12,
        8,
        activation=nn.Tanh(),
        goodness=MeanOfSquares(),
        loss=SymBa(2.0),
        normalization=LayerNorm(),
        peer=PeerNormalization(0.5),
    )
    model = paired(own, ff.FFLinear(8, 7), ff.FFLinear(7, 6, objective=objective), peer=PeerNormalization(0.1))
    first, second, third = model.stack
    assert repr(first.objective.loss) == "SymBa(alpha=2.0)"
    assert isinstance(first.objective.goodness, MeanOfSquares)
    assert isinstance(first.normalization, LayerNorm)
    assert isinstance(first.activation, nn.Tanh)
    assert first.peer.strength == 0.5
    assert isinstance(second.objective.goodness, SumOfSquares)
    assert isinstance(second.normalization, RMSNorm)
    assert second.peer.strength == 0.1
    assert third.objective is objective
    made = make_batch(model)
    x, expected = made.inputs, []
    losses = [SymBa(2.0), Threshold(7.0), Threshold(-2.0)]
    for i, layer in enumerate(model.stack):
        h = layer(x).detach()
        g = h.square().mean(1) if i == 0 else h.square().sum(1)
        g = -g if i == 2 else g
        peer = copy.deepcopy(layer.peer)
        z = layer.pre_activations(x).detach()
        expected.append(losses[i](g[:6], g[6:]) + peer(z[:6], h[:6]))
        x = h
    result = step(model, sgd())
    for i in range(3):
        torch.testing.assert_close(result.layers[i].loss, expected[i])


@pytest.mark.parametrize(
    ("theta", "expected"),
    [("width", [8, 7, 6]), (Pyramidal(0.5), [4, 7, 9]), ([1.0, "width", 3.0], [1, 7, 3]), (2.0, [2, 2, 2])],
    ids=str,
)
def test_thresholds_by_layer(theta, expected):
    model = paired(loss=Threshold(theta))
    found = [one.objective.loss.threshold(one.objective.goodness.scale(one.features)) for one in model.stack]
    assert found == expected
    with pytest.raises(ValueError, match="^theta must hold one value per layer, got 2 for layer 2"):
        paired(loss=Threshold([1.0, 2.0]))


def test_several_objectives_of_a_layer_add_up():
    """Class and batch objectives at once, as in HCL-FF."""

    def make():
        torch.manual_seed(0)
        one = ClassObjective(LearnedProjection(3, 8), CrossEntropy())
        return one, ff.FFLinear(12, 8, normalization=RMSNorm())

    images, labels = torch.rand(6, 12, dtype=F64), torch.tensor([0, 0, 1, 1, 2, 2])
    objective, layer = make()
    contrast = BatchObjective(SupervisedContrastive())
    layer.objective = objective + contrast
    model = ff.FFSequential(layer).double()
    h = model(images).detach()
    expected = CrossEntropy()(h @ objective.goodness.weight.T, labels) + SupervisedContrastive()(h, labels)
    result = model.step((images, labels), sgd())
    torch.testing.assert_close(result.layers[0].loss, expected.detach())
    assert model.predict(images).shape == (6,)


def test_a_batch_objective_alone_classifies_by_a_head():
    model = ff.FFSequential(*dense(8, 7), loss=SupervisedContrastive(), normalization=RMSNorm(), num_classes=3)
    images, labels = torch.rand(6, 12), torch.tensor([0, 0, 1, 1, 2, 2])
    before = snapshot(model)
    model.step((images, labels), sgd())
    assert changed(model, before) == {"0", "1", "head"}
    assert not model.layers_classify
    with pytest.raises(ValueError, match="batch objective alone"):
        model.layer_goodness(images)
    assert torch.equal(model.predict(images), model.head_logits(images).argmax(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ff.FFSequential(), "^layers must hold at least one"),
        (
            lambda: paired(ff.FFLinear(12, 8), ff.FFLinear(8, 7, goodness=LearnedProjection(3), loss=CrossEntropy())),
            "^layers must all have pair objectives or none",
        ),
        (lambda: classes(label_encoder=Overlay(3)), "^labels must be None"),
        (lambda: classes(negatives=RandomLabel()), "^negatives must be None"),
        (lambda: paired(labels=None), r"^labels must be given for RandomLabel\(\)"),
        (lambda: paired(labels=None, negatives=HardLabel()), r"^labels must be given for HardLabel\(\)"),
        (lambda: paired(num_classes=4), r"^num_classes must be the same everywhere, got \[3, 4\]"),
        (lambda: paired(head=ff.classifiers.LinearHead(5)), "^num_classes must be the same everywhere"),
        (lambda: classes(num_classes=4), "^num_classes must be the same everywhere"),
        (lambda: paired(goodness=None), "^goodness must be given"),
        (lambda: paired(loss=None), "^layer 0 has no loss"),
        (lambda: paired(loss=CrossEntropy()), "^goodness must be per class"),
    ],
)
def test_plugins_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (torch.rand(2, 12), None, ValueError, "^labels must be given"),
        (torch.rand(2, 12), torch.tensor([0]), ValueError, "^labels must be one per image"),
        (torch.rand(2, 12), torch.tensor([0, 3]), ValueError, r"^labels must lie in 0\.\.2"),
        (torch.rand(2, 12), torch.tensor([-1, 2]), ValueError, r"^labels must lie in 0\.\.2"),
        (torch.rand(2, 12), torch.tensor([0.0, 1.0]), TypeError, "^labels must be of an integer type"),
        (torch.zeros(2, 12, dtype=torch.uint8), torch.tensor([0, 1]), TypeError, "^images must be a tensor of a float"),
        ([[0.0] * 12], torch.tensor([0]), TypeError, "^images must be a tensor of a float type, got list"),
        (torch.rand(0, 12), torch.zeros(0, dtype=torch.long), ValueError, "^images must hold at least one"),
        (torch.rand(2, 11), torch.tensor([0, 1]), ValueError, "^in_features must be"),
    ],
)
@pytest.mark.parametrize("make", [paired, classes], ids=["pair", "class"])
def test_bad_batches_are_refused_and_nothing_is_lost(make, images, labels, error, message):
    model = make().float()
    before = snapshot(model)
    with pytest.raises(error, match=message):
        model.step((images, labels), sgd())
    assert not changed(model, before)


def test_labels_of_a_network_without_labels():
    model = classes().float()
    with pytest.raises(ValueError, match="^labels must be None"):
        model.activations(torch.rand(2, 12), torch.tensor([0, 1]))
    assert model.goodness(torch.rand(2, 12), torch.tensor([0, 1])).shape == (2, 3)
    with pytest.raises(ValueError, match="^labels must lie in"):
        model.goodness(torch.rand(2, 12), torch.tensor([0, 5]))


# State


@every
def test_state_round_trip(make):
    """A fresh model with the state, running statistics and peer means included, answers alike and goes on alike."""
    model, optimizer = make(), sgd(momentum=0.9)
    for seed in range(3):
        step(model, optimizer, seed)
    other, second = make(), sgd(momentum=0.9)
    other.load_state_dict(model.state_dict())
    second.attach(other).load_state_dict(copy.deepcopy(optimizer.state_dict()))
    images, _ = batch_for(model)
    assert torch.equal(other.scores(images), model.scores(images))
    for seed in (5, 6):
        step(model, optimizer, seed)
        step(other, second, seed)
    for (name, ours), theirs in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_plain_torch_keys():
    model = paired(*dense(8, 7), normalization=BatchNorm(), peer=PeerNormalization(), negatives=HardLabel())
    one = ["block.weight", "block.bias", "normalization.running_mean", "normalization.running_var", "peer.means"]
    expected = {f"layers.{i}.{name}" for i in range(2) for name in one}
    assert set(model.state_dict()) == expected | {"head.linear.weight", "head.linear.bias"}


def test_the_same_generator_gives_the_same_step():
    for make in NETWORKS.values():
        model = make()
        twin = copy.deepcopy(model)
        step(model, sgd(), 3)
        torch.rand(7)  # the global generator is not asked
        step(twin, sgd(), 3)
        for ours, theirs in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs)


def test_units_are_the_layers_and_the_head():
    assert list(paired().parameter_groups()) == ["0", "1", "2"]
    assert list(paired(negatives=HardLabel()).parameter_groups()) == ["0", "1", "2", "head"]
    assert len(paired()) == 3


@every
def test_autocast_multiplies_in_bfloat16_and_keeps_float32_weights(make):
    model = make().float()
    products, seen = [], []
    for layer in model.stack:
        layer.block.register_forward_hook(lambda module, args, out: products.append(out.dtype))
        layer.objective.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    images, labels = (t.float() if t.is_floating_point() else t for t in batch_for(model))
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.01)
    for seed in range(3):
        result = model.step(
            (images, labels), optimizer, generator=torch.Generator().manual_seed(seed), autocast=torch.bfloat16
        )
    assert set(seen) == set(products) == {torch.bfloat16}
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
    for local in result.layers.values():
        assert local.loss.dtype == torch.float32
        assert local.loss.isfinite()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.predict(images).shape == (6,)


def test_a_sampler_that_asks_for_scores_of_no_kind_is_refused():
    class Shouts(RandomLabel):
        scores = "Head"

    with pytest.raises(ValueError, match="negatives must have scores of None, 'head' or 'goodness', got 'Head'"):
        paired(*dense(*WIDTHS), negatives=Shouts())


@pytest.mark.parametrize("kind", ["stack", "baseline"])
def test_an_autocast_of_the_callers_holds(kind):
    seen = []

    class Looks(nn.Linear):
        def forward(self, x):
            found = super().forward(x)
            seen.append(found.dtype)
            return found

    layer = ff.FFLayer(Looks(12, 8), activation=nn.ReLU())
    model = paired(layer).float() if kind == "stack" else ff.baselines.Backpropagation(layer, num_classes=3)
    batch, optimizer = (torch.rand(4, 12), torch.tensor([0, 1, 2, 0])), ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.step(batch, optimizer)
    assert seen
    assert set(seen) == {torch.bfloat16}
