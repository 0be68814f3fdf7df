import copy
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import forwardforward as ff
from forwardforward.batches import Batch
from forwardforward.goodness import LearnedProjection, MeanOfSquares, Negated, SumOfSquares
from forwardforward.heads import LinearHead
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


def pair_network(*layers, **options):
    """A network of pair objectives with the label in its input."""
    defaults = {
        "goodness": SumOfSquares(),
        "loss": Threshold("width"),
        "normalization": RMSNorm(),
        "label_encoder": Overlay(3),
    }
    return ff.FFSequential(*(layers or dense(*WIDTHS)), **{**defaults, **options}).double()


def class_network(*layers, **options):
    """A network of class objectives that sees images alone."""
    defaults = {"goodness": LearnedProjection(3), "loss": CrossEntropy(), "normalization": RMSNorm()}
    return ff.FFSequential(*(layers or dense(*WIDTHS)), **{**defaults, **options}).double()


def hybrid_network(**options):
    """A network of pair objectives without labels, and a head."""
    defaults = {"label_encoder": None, "negatives": HybridMask(1), "num_classes": 3}
    return pair_network(ff.FFLinear(16, 8), ff.FFLinear(8, 7), **{**defaults, **options})


NETWORKS = {
    "pair": pair_network,
    "pair, peer and batch normalization": lambda: pair_network(
        normalization=BatchNorm(), peer=PeerNormalization(strength=0.3)
    ),
    "pair, head": lambda: pair_network(negatives=HardLabel(), normalization=LayerNorm()),
    "pair, goodness": lambda: pair_network(negatives=HardGoodness(), normalization=BatchNorm(statistics="running")),
    "class": class_network,
    "class, batch normalization": lambda: class_network(normalization=BatchNorm(affine=True)),
    "hybrid": hybrid_network,
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def batch_for(model, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = model.stack[0].block.in_features
    return torch.rand(size, features, dtype=F64, generator=generator), torch.randint(3, (size,), generator=generator)


def sgd(lr=0.1, **options):
    return ff.LocalOptimizer(torch.optim.SGD, lr=lr, **options)


def step(model, optimizer, seed=0, **options):
    return model.step(batch_for(model, seed=seed), optimizer, generator=torch.Generator().manual_seed(seed), **options)


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model, before):
    """Return the layers (or the head) with a parameter or statistic that differs from before."""
    names = set()
    for name, value in model.state_dict().items():
        if not torch.equal(value, before[name]):
            names.add(name.split(".")[1] if name.startswith("layers.") else name.split(".")[0])
    return names


def unroll(model, batch):
    """Return every layer's local loss at the current weights, each layer detached from the one before."""
    x, losses = batch.inputs, []
    for layer in model.stack:
        h, local = layer.local_loss(x, batch)
        losses.append(local.loss)
        x = h.detach()
    return losses


def make_batch(model, seed=0):
    """Return the batch of a step with this seed, for networks whose negatives need no scores."""
    images, labels = batch_for(model, seed=seed)
    if model.negatives is None:
        return Batch(images, labels)
    return model.negatives(images, labels, model.label_encoder, None, torch.Generator().manual_seed(seed))


# Training


@pytest.mark.parametrize(
    "make",
    [NETWORKS["pair"], NETWORKS["pair, peer and batch normalization"], class_network],
    ids=["pair", "pair, peer and batch normalization", "class"],
)
@pytest.mark.parametrize(
    "factory", [torch.optim.SGD, torch.optim.Adam, ff.optimizers.SmoothedSGD], ids=lambda f: f.__name__
)
def test_one_step_per_layer_equals_one_fused_step_after_the_pass(make, factory):
    """Every layer reads outputs from before the updates of the layers before it."""
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


@every_network
def test_gradients_stop_at_layer_borders(make):
    """No layer's loss reaches a parameter of another layer: freezing the others changes no gradient."""
    together = make()
    copies = [copy.deepcopy(together) for _ in together.stack]
    step(together, sgd())
    for i, model in enumerate(copies):
        for j, layer in enumerate(model.stack):
            layer.requires_grad_(j == i)
        step(model, sgd())
        for ours, theirs in zip(together.stack[i].parameters(), model.stack[i].parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)
        for j, layer in enumerate(model.stack):
            if j != i:
                assert all(p.grad is None for p in layer.parameters())


@pytest.mark.parametrize("make", [pair_network, class_network], ids=["pair", "class"])
def test_end_to_end_is_autograd_of_the_summed_losses(make):
    model = make()
    images, labels = batch_for(model)
    batch = make_batch(model)
    x, total = batch.inputs, 0
    for layer in model.stack:
        x, local = layer.local_loss(x, batch)
        total = total + local.loss
    expected = torch.autograd.grad(total, list(model.parameters()))
    model.step((images, labels), sgd(), generator=torch.Generator().manual_seed(0), groups=EndToEnd()(3, 0, 0, 1))
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=1e-12)
    local_model = make()
    local_model.load_state_dict(model.state_dict())
    step(local_model, sgd())
    assert not torch.allclose(local_model.stack[0].block.weight.grad, model.stack[0].block.weight.grad)


def test_gradients_flow_inside_a_group_and_stop_at_its_border():
    model = pair_network()
    batch = make_batch(model)
    h0, first = model.stack[0].local_loss(batch.inputs, batch)
    _, second = model.stack[1].local_loss(h0, batch)
    expected = torch.autograd.grad(first.loss + second.loss, list(model.stack[0].parameters()))
    result = step(model, sgd(), groups=[range(0, 2), range(2, 3)])
    for parameter, gradient in zip(model.stack[0].parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=1e-12)
    assert list(result.layers) == [0, 1, 2]


@pytest.mark.parametrize(
    "make", [pair_network, class_network, lambda: pair_network(peer=PeerNormalization())], ids=["pair", "class", "peer"]
)
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_greedy_leaves_the_other_layers_unchanged(make, layer):
    model = make()
    before = snapshot(model)
    result = step(model, sgd(), groups=Greedy()(3, layer, 0, 3))
    assert changed(model, before) == {str(layer)}
    assert list(result.layers) == [layer]


@pytest.mark.parametrize(
    ("make", "layer"),
    [(hybrid_network, 0), (hybrid_network, 1), (pair_network, 1)],
    ids=["before the head's layer", "the head's layer", "between two layers"],
)
def test_greedy_leaves_the_statistics_of_the_other_layers_unchanged(make, layer):
    model = make(normalization=BatchNorm())
    before = snapshot(model)
    step(model, sgd(), groups=[range(layer, layer + 1)])
    assert changed(model, before) - {"head"} == {str(layer)}


def test_greedy_divides_the_epochs_among_the_layers():
    assert [Greedy()(3, epoch, 0, 7)[0][0] for epoch in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    assert [Greedy()(4, epoch, 0, 60)[0][0] for epoch in (0, 14, 15, 59)] == [0, 0, 1, 3]


@pytest.mark.parametrize("schedule", [Joint(), Greedy(), EndToEnd()], ids=repr)
@every_network
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
def test_a_layer_that_cannot_learn_passes_its_activations_to_the_next(kind):
    middle = ff.FFLayer(nn.Tanh()) if kind == "without parameters" else ff.FFLinear(8, 8)
    model = pair_network(ff.FFLinear(12, 8), middle, ff.FFLinear(8, 7))
    model.stack[1].requires_grad_(False)
    before = snapshot(model)
    step(model, sgd())
    assert changed(model, before) == {"0", "2"}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
@pytest.mark.parametrize("make", [pair_network, class_network, NETWORKS["pair, head"]], ids=["pair", "class", "head"])
def test_labels_may_have_any_integer_type(make, dtype):
    model, twin = make(), make()
    twin.load_state_dict(model.state_dict())
    images, labels = batch_for(model)
    for network, targets in ((model, labels), (twin, labels.to(dtype))):
        network.step((images, targets), sgd(), generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_losses_decrease():
    for make in (pair_network, class_network):
        model, optimizer = make(), sgd(0.05)
        results = [step(model, optimizer, 0) for _ in range(30)]
        for i in range(3):
            assert results[-1].layers[i].loss < results[0].layers[i].loss


def test_activations_of_a_layer_are_freed_before_the_next_layers_backward():
    """Peak memory does not grow with depth: of a layer's tensors, only its output outlives its update."""
    intermediate, peak = [], []

    class Counted(nn.Module):
        """Makes an intermediate tensor that its own backward needs, and counts those that still exist."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(12))

        def forward(self, x):
            middle = (x * self.weight).sin()
            intermediate.append(weakref.ref(middle))
            output = middle * self.weight
            peak.append(sum(reference() is not None for reference in intermediate))
            return output

    def peak_of(groups):
        layers = [Counted() for _ in range(6)]
        model = ff.FFSequential(*layers, goodness=LearnedProjection(3), loss=CrossEntropy(), input_shape=(12,))
        intermediate.clear(), peak.clear()
        model.step((torch.rand(4, 12), torch.tensor([0, 1, 2, 0])), sgd(), groups=groups)
        return max(peak)

    assert peak_of(None) == 1
    assert peak_of(EndToEnd()(6, 0, 0, 1)) == 6


def test_saved_tensors_are_freed_before_the_next_layer_runs():
    """The same for the tensors that autograd itself saves: no more values for twelve layers than for three."""

    class Saved:
        """A saved tensor, counted for as long as autograd keeps it."""

        current = most = 0

        def __init__(self, tensor):
            self.tensor = tensor
            self.size = tensor.numel()
            Saved.current += self.size
            Saved.most = max(Saved.most, Saved.current)

        def __del__(self):
            Saved.current -= self.size

    def most(depth, groups=None):
        model = pair_network(*dense(*[12] * depth), normalization=LayerNorm())
        Saved.most = Saved.current = 0
        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            step(model, sgd(), groups=groups)
        assert Saved.current == 0
        return Saved.most

    assert most(12) == most(3)
    assert most(12, EndToEnd()(12, 0, 0, 1)) > 3 * most(3)


# Passes without an update


@pytest.mark.parametrize("training", [True, False])
@every_network
def test_prediction_changes_neither_state_nor_modes(make, training):
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
    def goodness(activations):
        if fails:
            raise RuntimeError("no goodness")
        return activations.square().sum(1)

    fails = False
    model = ff.FFSequential(
        ff.FFLinear(12, 4), goodness=goodness, loss=SymBa(), label_encoder=Overlay(3), input_shape=(12,)
    )
    fails = True
    with pytest.raises(RuntimeError, match="no goodness"):
        model.predict(torch.rand(2, 12))
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("negatives", [HardLabel(), HardGoodness()], ids=repr)
def test_scoring_passes_leave_batch_and_peer_statistics_unchanged(negatives):
    """A step updates the statistics once, in the training pass, whatever scores the negatives need."""
    model = pair_network(negatives=negatives, normalization=BatchNorm(), peer=PeerNormalization())
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

    for network in (model, fixed):
        network.setup(images.shape[1:])
    model.negatives, fixed.negatives = Remember(), Repeat()
    optimizers = sgd(), sgd()
    for seed in range(3):
        model.step((images, labels), optimizers[0], generator=torch.Generator().manual_seed(seed))
        fixed.step((images, labels), optimizers[1])
    for (name, ours), theirs in zip(model.state_dict().items(), fixed.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)


@pytest.mark.parametrize("kind", ["head", "goodness"])
def test_hard_negatives_receive_scores_from_before_the_update(kind):
    """Logits of the head, or the goodness summed over all layers but the first."""
    received = []

    class Recording(RandomLabel):
        scores = kind

        def wrong_labels(self, labels, num_classes, scores, generator):
            received.append(scores.clone())
            return super().wrong_labels(labels, num_classes, scores, generator)

    model = pair_network(negatives=Recording())
    if model.head is not None:
        nn.init.normal_(model.head.linear.weight)
    images, labels = batch_for(model)
    expected = model.head_logits(images) if kind == "head" else model.layer_goodness(images)[:, 1:].sum(1)
    model.step((images, labels), sgd())
    torch.testing.assert_close(received.pop(), expected)


def test_local_losses_are_those_of_the_next_step():
    model = pair_network(peer=PeerNormalization(strength=0.0))
    losses = model.local_losses(batch_for(model), torch.Generator().manual_seed(0))
    result = step(model, sgd())
    for i, local in enumerate(losses):
        torch.testing.assert_close(local, result.layers[i])


# Classification


@pytest.mark.parametrize("encoder", [Overlay(3), Overlay(3, scale=2.0), Concatenation(3)], ids=repr)
@pytest.mark.parametrize(
    "normalization", [RMSNorm(), LayerNorm(), BatchNorm(), Identity()], ids=lambda n: type(n).__name__
)
def test_layer_goodness_is_that_of_one_pass_per_label(encoder, normalization):
    width = 15 if isinstance(encoder, Concatenation) else 12
    model = pair_network(
        ff.FFLinear(width, 8), ff.FFLinear(8, 7), ff.FFLinear(7, 6), label_encoder=encoder, normalization=normalization
    )
    images, targets = torch.rand(5, 12, dtype=F64), torch.tensor([0, 1, 2, 0, 1])
    model.step((images, targets), sgd())  # gives running statistics other than the initial ones
    goodness = model.layer_goodness(images)
    model.eval()
    for k in range(3):
        code = torch.zeros(5, 3, dtype=F64)
        code[:, k] = encoder.scale
        x = torch.cat([images, code], 1) if width == 15 else torch.cat([code, images[:, 3:]], 1)
        for i, layer in enumerate(model.stack):
            x = (layer.normalization(x) @ layer.block.weight.T + layer.block.bias).clamp(min=0)
            torch.testing.assert_close(goodness[:, i, k], x.square().sum(1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model.goodness(images, targets), goodness[torch.arange(5), :, targets])


@pytest.mark.parametrize("make", [pair_network, class_network], ids=["pair", "class"])
@pytest.mark.parametrize("chunk_size", [1, 11, 12, 13, 24, 30, 100])
def test_the_chunk_size_does_not_change_the_goodness(make, chunk_size):
    model = make()
    images, _ = batch_for(model)
    expected = model.layer_goodness(images)
    sizes = []
    for layer in model.stack:
        layer.activation.register_forward_hook(lambda module, args, out: sizes.append(out.numel()))
    model.chunk_size = chunk_size
    torch.testing.assert_close(model.layer_goodness(images), expected, rtol=1e-12, atol=1e-12)
    assert max(sizes) <= max(chunk_size, 8)  # at least one image with one label


def test_the_chunk_size_does_not_change_the_heads_answers():
    model = pair_network(head=LinearHead(3), classifier="head")
    nn.init.normal_(model.head.linear.weight)
    images, _ = batch_for(model)
    expected = model.predict_proba(images)
    model.chunk_size = 1
    torch.testing.assert_close(model.predict_proba(images), expected, rtol=1e-12, atol=1e-12)


@every_network
def test_an_images_scores_do_not_depend_on_the_other_images(make):
    model = make()
    step(model, sgd())
    model.eval()
    images, _ = batch_for(model, 8)
    scores = model.scores(images)
    torch.testing.assert_close(torch.cat([model.scores(image) for image in images.split(1)]), scores)
    torch.testing.assert_close(model.scores(images.flip(0)), scores.flip(0))


@given(seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_permuting_the_labels_weights_permutes_the_goodness(seed):
    generator = torch.Generator().manual_seed(seed)
    model = pair_network()
    images = torch.rand(4, 12, dtype=F64, generator=generator)
    order = torch.randperm(3, generator=generator)
    expected = model.layer_goodness(images)[..., order]
    with torch.no_grad():
        weight = model.stack[0].block.weight
        weight[:, :3] = weight[:, order]
    torch.testing.assert_close(model.layer_goodness(images), expected)


def test_the_output_is_that_of_the_last_layer_under_the_neutral_label():
    model = pair_network()
    images, labels = batch_for(model)
    x = torch.cat([torch.full((6, 3), 1 / 3, dtype=F64), images[:, 3:]], 1)
    for layer in model.stack:
        x = layer(x)
    torch.testing.assert_close(model(images), x)
    torch.testing.assert_close(model.activations(images)[2], x)
    outputs = model.activations(images, labels)
    assert [h.shape[1] for h in outputs.values()] == list(WIDTHS)
    torch.testing.assert_close(
        torch.stack([h.square().sum(1) for h in outputs.values()], 1), model.goodness(images, labels)
    )
    plain = class_network()
    torch.testing.assert_close(plain(images), plain.stack[2](plain.stack[1](plain.stack[0](images))))


def test_the_forward_pass_keeps_one_layers_output_at_a_time():
    model = class_network()
    outputs, counts = [], []

    def count(layer, args, out):
        outputs.append(weakref.ref(out))
        counts.append(sum(reference() is not None for reference in outputs))

    for layer in model:
        layer.register_forward_hook(count)
    with torch.no_grad():
        model(batch_for(model)[0])
    assert counts == [1, 2, 2]  # a layer's input and output


@pytest.mark.parametrize("make", [pair_network, class_network], ids=["pair", "class"])
def test_the_goodness_of_given_labels_takes_one_pass(make):
    model, rows = make(), []
    images, labels = batch_for(model)
    expected = model.layer_goodness(images)[torch.arange(6), :, labels]
    model.stack[1].activation.register_forward_hook(lambda module, args, out: rows.append(len(out)))
    model.chunk_size = 40  # three rows per chunk
    torch.testing.assert_close(model.goodness(images, labels.int()), expected, rtol=1e-12, atol=1e-12)
    assert rows == [3, 3]


def test_layers_are_indexed_as_in_a_list():
    model = class_network()
    assert list(model) == model.stack == [model[0], model[1], model[-1]]
    with pytest.raises(IndexError):
        model[3]
    with pytest.raises(TypeError, match="slice"):
        model[:2]
    with pytest.raises(TypeError, match="data must be TensorData, .* got a FFSequential"):
        ff.evaluate(model, model)


def test_class_goodness_classifies_by_all_layers():
    model = class_network()
    images, _ = batch_for(model)
    h, expected = model.activations(images), 0
    for i, layer in enumerate(model.stack):
        expected = expected + h[i] @ layer.objective.goodness.weight.T
    torch.testing.assert_close(model.scores(images), expected)


# Plug-ins


def test_defaults_are_copied_not_shared():
    defaults = {"goodness": SumOfSquares(), "loss": Threshold("width"), "normalization": BatchNorm()}
    peer = PeerNormalization()
    model = pair_network(**defaults, peer=peer)
    parts = [[layer.objective.goodness, layer.objective.loss, layer.normalization, layer.peer] for layer in model.stack]
    ids = [id(part) for layer in parts for part in layer] + [id(plugin) for plugin in (*defaults.values(), peer)]
    assert len(set(ids)) == len(ids)
    assert [len(layer.peer.means) for layer in model.stack] == list(WIDTHS)
    assert [len(layer.normalization.running_mean) for layer in model.stack] == [12, 8, 7]
    assert peer.means is None  # the user's objects are not changed
    assert defaults["normalization"].running_mean is None


def test_each_layer_may_have_its_own_plug_ins():
    objective = PairObjective(Negated(SumOfSquares()), Threshold(-2.0))
    complete = ff.FFLinear(
        12,
        8,
        activation=nn.Tanh(),
        goodness=MeanOfSquares(),
        loss=SymBa(2.0),
        normalization=LayerNorm(),
        peer=PeerNormalization(0.5),
    )
    model = pair_network(
        complete, ff.FFLinear(8, 7), ff.FFLinear(7, 6, objective=objective), peer=PeerNormalization(0.1)
    )
    first, second, third = model.stack
    assert repr(first.objective.loss) == "SymBa(alpha=2.0)"
    assert isinstance(first.objective.goodness, MeanOfSquares)
    assert isinstance(first.normalization, LayerNorm)
    assert isinstance(first.activation, nn.Tanh)
    assert first.peer.strength == 0.5
    assert isinstance(second.objective.goodness, SumOfSquares)
    assert isinstance(second.normalization, RMSNorm)
    assert second.peer.strength == 0.1
    assert repr(third.objective) == repr(objective)
    assert third.objective is not objective  # plug-ins of layers are copied too
    batch = make_batch(model)
    x, expected = batch.inputs, []
    losses = [SymBa(2.0), Threshold(7.0), Threshold(-2.0)]
    for i, layer in enumerate(model.stack):
        h = layer(x).detach()
        g = h.square().mean(1) if i == 0 else h.square().sum(1)
        g = -g if i == 2 else g
        peer = copy.deepcopy(layer.peer)
        z = layer.outputs(x).pre_activation.detach()
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
    model = pair_network(loss=Threshold(theta))
    assert [layer.objective.loss.threshold for layer in model.stack] == expected
    with pytest.raises(ValueError, match="^layer 2: theta must contain one value per layer, got 2 for layer 2"):
        pair_network(loss=Threshold([1.0, 2.0]))


def test_several_objectives_of_a_layer_add_up():
    """A class and a batch objective of one layer, as in HCL-FF."""
    images, labels = torch.rand(6, 12, dtype=F64), torch.tensor([0, 0, 1, 1, 2, 2])
    objective = ClassObjective(LearnedProjection(3), CrossEntropy()) + BatchObjective(SupervisedContrastive())
    model = ff.FFSequential(ff.FFLinear(12, 8, objective=objective, normalization=RMSNorm())).double()
    h = model(images).detach()
    weight = model[0].objective.objectives[0].goodness.weight
    expected = CrossEntropy()(h @ weight.T, labels) + SupervisedContrastive()(h, labels)
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
    with pytest.raises(ValueError, match="^every layer must have a per-class goodness, got .* in layer 0"):
        model.layer_goodness(images)
    assert torch.equal(model.predict(images), model.head_logits(images).argmax(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ff.FFSequential(), "^layers must contain at least one"),
        (
            lambda: pair_network(
                ff.FFLinear(12, 8), ff.FFLinear(8, 7, goodness=LearnedProjection(3), loss=CrossEntropy())
            ),
            "^layers must all have pair objectives or none",
        ),
        (lambda: class_network(label_encoder=Overlay(3)), "^label_encoder must be None"),
        (lambda: class_network(negatives=RandomLabel()), "^negatives must be None"),
        (lambda: pair_network(label_encoder=None), r"^label_encoder must be given for RandomLabel\(\)"),
        (
            lambda: pair_network(label_encoder=None, negatives=HardLabel()),
            r"^label_encoder must be given for HardLabel\(\)",
        ),
        (lambda: pair_network(num_classes=4), r"^num_classes must be the same everywhere, got \[3, 4\]"),
        (lambda: pair_network(head=LinearHead(5)), "^num_classes must be the same everywhere"),
        (lambda: class_network(num_classes=4), "^num_classes must be the same everywhere"),
        (lambda: pair_network(goodness=None), "^layer 0: goodness must be given"),
        (lambda: pair_network(loss=None), "^layer 0: a layer has no loss: pass loss= or objective="),
        (lambda: pair_network(loss=CrossEntropy()), "^layer 0: goodness must be per class"),
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
        (torch.rand(2, 12), torch.tensor([0, 3]), ValueError, r"^labels must be in 0\.\.2 for 3 classes"),
        (torch.rand(2, 12), torch.tensor([-1, 2]), ValueError, r"^labels must be in 0\.\.2 for 3 classes"),
        (torch.rand(2, 12), torch.tensor([0.0, 1.0]), TypeError, "^labels must be of an integer type"),
        (torch.zeros(2, 12, dtype=torch.int32), torch.tensor([0, 1]), TypeError, "^images must be of a floating type"),
        ([[0.0] * 12], torch.tensor([0]), TypeError, "^images must be a tensor or a numpy array, got list"),
        (torch.rand(0, 12), torch.zeros(0, dtype=torch.long), ValueError, "^images must contain at least one"),
        (torch.rand(2, 11), torch.tensor([0, 1]), ValueError, "^in_features must be"),
    ],
)
@pytest.mark.parametrize("make", [pair_network, class_network], ids=["pair", "class"])
def test_bad_batches_are_refused_and_the_state_is_unchanged(make, images, labels, error, message):
    model = make().float()
    before = snapshot(model)
    with pytest.raises(error, match=message):
        model.step((images, labels), sgd())
    assert not changed(model, before)


def test_a_network_without_labels_in_its_input_refuses_labels_for_its_activations():
    model = class_network().float()
    with pytest.raises(ValueError, match="^labels must be None"):
        model.activations(torch.rand(2, 12), torch.tensor([0, 1]))
    assert model.goodness(torch.rand(2, 12), torch.tensor([0, 1])).shape == (2, 3)
    with pytest.raises(ValueError, match="^labels must be in"):
        model.goodness(torch.rand(2, 12), torch.tensor([0, 5]))


# State


@every_network
def test_state_round_trip(make):
    """A new model with the state, with running statistics and peer means, predicts and trains alike."""
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


def test_the_state_dict_has_plain_torch_keys():
    model = pair_network(*dense(8, 7), normalization=BatchNorm(), peer=PeerNormalization(), negatives=HardLabel())
    names = ["block.weight", "block.bias", "normalization.running_mean", "normalization.running_var", "peer.means"]
    expected = {f"layers.{i}.{name}" for i in range(2) for name in names}
    assert set(model.state_dict()) == expected | {"head.linear.weight", "head.linear.bias", "label_encoder.codebook"}


def test_the_same_generator_gives_the_same_step():
    for make in NETWORKS.values():
        model = make()
        twin = copy.deepcopy(model)
        step(model, sgd(), 3)
        torch.rand(7)  # the global generator is not used
        step(twin, sgd(), 3)
        for ours, theirs in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs)


def test_parameter_groups_are_the_layers_and_the_head():
    assert list(pair_network().parameter_groups()) == ["0", "1", "2"]
    assert list(pair_network(negatives=HardLabel()).parameter_groups()) == ["0", "1", "2", "head"]
    assert len(pair_network()) == 3


@every_network
def test_autocast_multiplies_in_bfloat16_and_keeps_float32_weights(make):
    model = make().float()
    products, activations = [], []
    images, labels = (t.float() if t.is_floating_point() else t for t in batch_for(model))
    model.setup(images.shape[1:])
    for layer in model.stack:
        layer.block.register_forward_hook(lambda module, args, out: products.append(out.dtype))
        layer.objective.register_forward_pre_hook(lambda module, args: activations.append(args[0].dtype))
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.01)
    for seed in range(3):
        result = model.step(
            (images, labels), optimizer, generator=torch.Generator().manual_seed(seed), autocast=torch.bfloat16
        )
    assert set(activations) == set(products) == {torch.bfloat16}
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
    for local in result.layers.values():
        assert local.loss.dtype == torch.float32
        assert local.loss.isfinite()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.predict(images).shape == (6,)


def test_a_sampler_that_needs_scores_of_no_kind_is_refused():
    with pytest.raises(TypeError, match="^scores must be None, 'head' or 'goodness' in Loud, got 'Head'"):

        class Loud(RandomLabel):
            scores = "Head"


@pytest.mark.parametrize("kind", ["stack", "baseline"])
def test_the_callers_autocast_applies_to_a_step(kind):
    dtypes = []

    class Recording(nn.Linear):
        def forward(self, x):
            output = super().forward(x)
            dtypes.append(output.dtype)
            return output

    layer = ff.FFLayer(Recording(12, 8), activation=nn.ReLU(), input_shape=(12,))
    model = pair_network(layer).float() if kind == "stack" else ff.baselines.Backpropagation(layer, num_classes=3)
    dtypes.clear()
    batch, optimizer = (torch.rand(4, 12), torch.tensor([0, 1, 2, 0])), ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.step(batch, optimizer)
    assert dtypes
    assert set(dtypes) == {torch.bfloat16}


# Use from a user's program


def small_network(kind="class", *layers, **options):
    """Return a network in float32 for images of 12 values."""
    return (pair_network if kind == "pair" else class_network)(*layers, **options).float()


def baseline():
    return ff.baselines.Backpropagation(*dense(8, 7), num_classes=3)


def convolutions(**options):
    """Return a network whose parameters are created at the first batch."""
    layers = ff.FFConv2d(1, 4, 3), ff.FFConv2d(4, 4, 3)
    plugins = {"goodness": LearnedProjection(3), "loss": CrossEntropy(), "normalization": BatchNorm(affine=True)}
    return ff.FFSequential(*layers, **{**plugins, **options})


KINDS = {
    "class": small_network,
    "pair": lambda: small_network("pair"),
    "head": lambda: small_network("pair", negatives=HardLabel()),
    "baseline": baseline,
}
kinds = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def data(size=30, dtype=torch.float32):
    images = torch.rand(size, 12, generator=torch.Generator().manual_seed(0))
    return images.to(dtype), torch.arange(size) % 3


def train(model, inputs, labels, **options):
    options = {"epochs": 1, "batch_size": 10, "progress": False, **options}
    return ff.fit(model, (inputs, labels), **options)


@pytest.mark.parametrize("form", ["layerwise", "whole"])
@kinds
def test_a_forward_hook_on_a_layer_receives_every_batch_and_no_dry_run(make, form):
    model = make()
    rows = {index: [] for index in range(len(model))}
    for index, layer in enumerate(model.layers):
        layer.register_forward_hook(lambda module, args, out, index=index: rows[index].append(len(out)))
    images, labels = data(100)
    copies = 2 if model.uses_negatives else 1
    whole = ff.step.WholeStep() if form == "whole" else None
    passes = 1 if model.head is None or not model.uses_negatives else 2  # the scores of the negatives
    model.step((images[:10], labels[:10]), sgd(), whole_step=whole)
    for counts in rows.values():
        assert counts == ([10] if passes == 2 else []) + [10 * copies]
        counts.clear()
    train(model, images, labels)
    for counts in rows.values():
        assert sum(counts) == 100 * (copies + passes - 1)
        assert len(counts) == 10 * passes
        counts.clear()
    candidates = 3 if model.uses_negatives else 1
    for batch_size, batches in ((1000, 1), (30, 4)):
        for method in (model.predict, model.predict_proba):
            method(images, batch_size=batch_size)
            for counts in rows.values():
                assert sum(counts) == 100 * candidates
                assert len(counts) == batches
                counts.clear()
    ff.evaluate(model, (images, labels), batch_size=50)
    for counts in rows.values():
        assert sum(counts) >= 100 * candidates
        assert set(counts) <= {50, 100, 150}


def test_a_forward_hook_receives_no_dry_run_of_a_network_that_is_set_up_by_its_first_batch():
    for use in (
        lambda model, images, labels: model.predict(images),
        lambda model, images, labels: model.step((images, labels), sgd()),
        lambda model, images, labels: train(model, images, labels, batch_size=6),
    ):
        model, rows = convolutions(), []
        model[0].register_forward_hook(lambda module, args, out, rows=rows: rows.append(len(out)))
        use(model, torch.rand(6, 1, 8, 8), torch.arange(6) % 3)
        assert rows == [6]


CONTEXTS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
}
contexts = pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)


@pytest.mark.parametrize("form", ["layerwise", "whole"])
@contexts
@kinds
def test_a_step_without_the_callers_gradients_trains(make, context, form):
    model = make()
    twin, before = copy.deepcopy(model), snapshot(model)
    images, labels = data(10)
    options = {"whole_step": ff.step.WholeStep()} if form == "whole" else {}
    for network, surroundings in ((twin, torch.enable_grad), (model, context)):
        optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.01)
        with surroundings():
            for seed in range(2):
                batch = images.clone(), labels.clone()  # inference tensors in inference mode
                network.step(batch, optimizer, generator=torch.Generator().manual_seed(seed), **options)
    assert changed(model, before) >= {"0", "1"}
    for ours, theirs in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


@contexts
@kinds
def test_fit_without_the_callers_gradients_trains(make, context):
    model = make()
    twin = copy.deepcopy(model)
    before = snapshot(model)
    train(twin, *data())
    with context():
        train(model, *data(), validation=data())
        assert torch.is_grad_enabled() is False
    assert changed(model, before) >= {"0", "1"}
    for ours, theirs in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


@contexts
def test_a_network_that_is_set_up_by_a_prediction_without_gradients_trains(context):
    model = convolutions(preprocessing=ff.preprocessing.Preprocessing(standardize=True))
    images, labels = torch.rand(12, 1, 8, 8), torch.arange(12) % 3
    with context(), pytest.raises(ValueError, match="^preprocessing must be fitted before the first step or predict"):
        model.predict(images)
    before = snapshot(model)
    train(model, images, labels)
    assert changed(model, before) >= {"0", "1", "preprocessing"}
    baseline = ff.baselines.Backpropagation(ff.FFConv2d(1, 4, 3), num_classes=3)
    with context():
        baseline.predict(images)
    before = snapshot(baseline)
    train(baseline, images, labels)
    assert changed(baseline, before) == {"0", "output"}


@contexts
def test_a_layer_that_is_set_up_by_a_prediction_without_gradients_trains(context):
    layer = ff.FFConv2d(1, 4, 3, goodness=LearnedProjection(3), loss=CrossEntropy(), normalization=BatchNorm())
    images, labels = torch.rand(6, 1, 8, 8), torch.arange(6) % 3
    with context():
        layer(images)
    _, local = layer.local_loss(images, Batch(images, labels))
    local.loss.backward()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("form", ["layerwise", "whole"])
@kinds
def test_a_step_leaves_no_gradient_in_the_callers_encoder(make, form):
    model, encoder = make(), nn.Linear(5, 12)
    for groups in (None, EndToEnd()(len(model), 0, 0, 1)):
        whole = ff.step.WholeStep() if form == "whole" else None
        images = encoder(torch.rand(6, 5))
        model.step((images, torch.arange(6) % 3), sgd(), groups=groups, whole_step=whole)
        assert images.grad_fn is not None
        assert all(p.grad is None for p in encoder.parameters())


@pytest.mark.parametrize("kind", ["class", "pair"])
def test_gradients_of_the_networks_output_stop_at_layer_borders(kind):
    """A loss of the user's on ``model(x)`` trains the last layer only; ``nn.Sequential(*model)`` has no borders."""
    model = small_network(kind)
    images, labels = data(6)
    nn.functional.cross_entropy(model(images), labels).backward()
    assert [layer.block.weight.grad is not None for layer in model] == [False, False, True]
    model.zero_grad()
    for output in model.activations(images).values():
        output.sum().backward()
    expected = []
    x = model._input(images)
    for layer in model:
        h = layer(x)
        expected.append(torch.autograd.grad(h.sum(), layer.block.weight)[0])
        x = h.detach()
    for layer, gradient in zip(model, expected, strict=True):
        torch.testing.assert_close(layer.block.weight.grad, gradient)
    model.zero_grad()
    nn.functional.cross_entropy(nn.Sequential(*model)(images), labels).backward()
    assert all(layer.block.weight.grad is not None for layer in model)


def test_gradients_of_the_networks_output_stop_at_skip_connections():
    layers = dense(8), [ff.FFLinear(8, 8)], [ff.FFLinear(8, 8, residual=ff.layers.SkipConnection(2))]
    model = class_network(*(layer for part in layers for layer in part))
    model(batch_for(model)[0]).sum().backward()
    assert [layer.block.weight.grad is not None for layer in model] == [False, False, True]


@pytest.mark.parametrize(
    ("layers", "name", "index"),
    [
        ([nn.Flatten(), ff.FFLinear(12, 8)], "Flatten", 0),
        ([nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 7)], "ReLU", 1),
        ([ff.FFLinear(12, 8), nn.Dropout(0.5), ff.FFLinear(8, 7)], "Dropout", 1),
        ([ff.FFLinear(12, 8), nn.Identity()], "Identity", 1),
        ([ff.FFLinear(12, 8), nn.Sequential(nn.ReLU(), nn.Dropout())], "Sequential", 1),
    ],
    ids=["first", "between", "dropout", "last", "nested"],
)
@pytest.mark.parametrize("kind", ["class", "pair"])
def test_modules_without_parameters_are_refused_with_the_layer_to_write(kind, layers, name, index):
    message = (
        rf"(?s)^layers must have parameters to learn, got {name}.* as layer {index}; make it part of a layer's block"
    )
    with pytest.raises(ValueError, match=message):
        small_network(kind, *layers)
    model = small_network(kind)
    with pytest.raises(ValueError, match=r"^layers must have parameters to learn, got Tanh\(\) as layer 3"):
        model.append(nn.Tanh())
    assert len(model) == 3


def test_modules_without_parameters_may_be_part_of_a_layers_block():
    model = class_network(
        ff.FFLayer(nn.Sequential(nn.Flatten(), nn.Linear(12, 8)), activation=nn.ReLU()),
        nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 7), nn.ReLU()),
        input_shape=(1, 3, 4),
    ).float()
    before = snapshot(model)
    train(model, torch.rand(20, 1, 3, 4), torch.arange(20) % 3)
    assert changed(model, before) == {"0", "1"}


CONVERSIONS = {
    "float64": lambda images: images.double(),
    "float16": lambda images: images.half(),
    "bfloat16": lambda images: images.bfloat16(),
    "numpy float64": lambda images: images.double().numpy(),
    "numpy float32": lambda images: images.numpy(),
    "numpy, reversed": lambda images: np.ascontiguousarray(images.flip(0).numpy())[::-1],
    "numpy, big-endian": lambda images: images.numpy().astype(">f8"),
    "numpy, read-only": lambda images: np.broadcast_to(images.numpy(), images.shape),
    "requires grad": lambda images: images.clone().requires_grad_(),
}


def methods_of(model):
    """Return every method that accepts images, as functions of images and labels with a comparable result."""
    methods = {
        "predict": lambda x, y: model.predict(x),
        "predict_proba": lambda x, y: model.predict_proba(x),
        "scores": lambda x, y: model.scores(x),
        "activations": lambda x, y: torch.cat([h.detach() for h in model.activations(x).values()], 1),
        "forward": lambda x, y: model(x).detach(),
        "evaluate": lambda x, y: torch.tensor(ff.evaluate(model, (x, y)).error),
    }
    if model.layers_classify:
        methods["goodness"] = lambda x, y: model.goodness(x, torch.as_tensor(y))
        methods["layer_goodness"] = lambda x, y: model.layer_goodness(x)
    if isinstance(model, ff.FFSequential):
        generator = torch.Generator().manual_seed
        methods["local_losses"] = lambda x, y: torch.stack([t.loss for t in model.local_losses((x, y), generator(0))])
    if model.head is not None:
        methods["head_logits"] = lambda x, y: model.head_logits(x)
    return methods


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
@kinds
def test_every_method_accepts_images_of_every_floating_type_and_numpy_arrays(make, convert):
    model = make()
    images, labels = data(6)
    images = images.bfloat16().float()  # the same values in every precision but float16
    for name, method in methods_of(model).items():
        expected, actual = method(images, labels), method(convert(images), labels)
        torch.testing.assert_close(
            actual, expected, msg=lambda text, name=name: f"{name}: {text}", rtol=1e-2, atol=1e-2
        )
        assert actual.dtype == expected.dtype
    twin = copy.deepcopy(model)
    for network, inputs in ((model, convert(images)), (twin, images)):
        network.step((inputs, labels), sgd(), generator=torch.Generator().manual_seed(0))
        if not getattr(inputs, "requires_grad", False):
            train(network, inputs, labels)
    for ours, theirs in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)
        assert ours.dtype == torch.float32 or not ours.is_floating_point()


@kinds
def test_every_method_divides_bytes_by_255(make):
    model = make()
    pixels = torch.randint(256, (6, 12), dtype=torch.uint8)
    labels = torch.arange(6) % 3
    for convert in (lambda x: x, lambda x: x.numpy()):
        for name, method in methods_of(model).items():
            actual, expected = method(convert(pixels), labels), method(pixels.float() / 255, labels)
            torch.testing.assert_close(actual, expected, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(
    ("convert", "error", "message"),
    [
        (lambda x: x.int(), TypeError, "^images must be of a floating type or uint8, got torch.int32"),
        (lambda x: x > 0.5, TypeError, "^images must be of a floating type or uint8, got torch.bool"),
        (lambda x: x + 1j, TypeError, "^images must be of a floating type or uint8, got torch.complex64"),
        (lambda x: x.long().numpy(), TypeError, "^images must be of a floating type or uint8, got torch.int64"),
        (lambda x: x[0], ValueError, r"^images must be \(batch, ...\), such as image\[None\]"),
        (lambda x: x[:0], ValueError, "^images must contain at least one image"),
        (lambda x: x.tolist(), TypeError, "^images must be a tensor or a numpy array, got list"),
        (lambda x: np.array([["a"] * 12]), TypeError, "^images must be an array of numbers, got <U1"),
    ],
    ids=["int", "bool", "complex", "numpy int", "one image", "no image", "list", "text"],
)
@kinds
def test_every_method_refuses_images_of_another_kind_with_one_message(make, convert, error, message):
    model = make()
    images, labels = data(6)
    inputs = convert(images)
    methods = methods_of(model)
    del methods["evaluate"]  # reads data sets, whose messages are those of TensorData
    if isinstance(inputs, list):
        del methods["predict"], methods["predict_proba"]  # a list is a data set there
    methods["step"] = lambda x, y: model.step((x, y), sgd())
    for method in methods.values():
        with pytest.raises(error, match=message):
            method(inputs, labels)


@pytest.mark.parametrize(
    ("make", "value"),
    [(make, value) for make in KINDS.values() for value in (float("inf"), float("nan"))]
    + [(KINDS["pair"], 3e25), (KINDS["head"], 3e25)],  # whose square is infinite in float32
)
def test_infinite_scores_are_refused_as_nan_is(make, value):
    model = make()
    for layer in model.layers:
        layer.normalization = Identity()
    images, labels = data(6)
    images[2] = value
    methods = methods_of(model)
    for name in ("predict", "predict_proba", "evaluate"):
        with pytest.raises(ValueError, match=r"(scores|inputs) must be finite, got NaN or infinity"):
            methods[name](images, labels)


class Points(torch.Tensor):
    """A tensor subclass, as torchvision's ``Image``."""


class Answers(torch.Tensor):
    """Another one, which cannot be combined with the first."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if any(kind is Points for kind in types):
            return NotImplemented
        return super().__torch_function__(function, types, args, kwargs or {})


@kinds
def test_images_and_labels_may_be_different_tensor_subclasses(make):
    model = make()
    twin = copy.deepcopy(model)
    images, labels = data()
    points, answers = images.as_subclass(Points), labels.as_subclass(Answers)
    for name, method in methods_of(model).items():
        actual = method(points, answers)
        assert type(actual) is torch.Tensor
        torch.testing.assert_close(actual, method(images, labels), msg=lambda text, name=name: f"{name}: {text}")
    loader = torch.utils.data.DataLoader([(points[i], answers[i]) for i in range(30)], batch_size=10)
    for network, inputs, targets in ((model, points, answers), (twin, images, labels)):
        network.step((inputs, targets), sgd(), generator=torch.Generator().manual_seed(0))
        train(network, inputs, targets)
        ff.fit(network, loader, epochs=1, progress=False)
        assert ff.evaluate(network, loader).samples == 30
    for (name, ours), theirs in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        assert type(ours) is torch.Tensor
        assert torch.equal(ours, theirs), name
