import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward.batches import Batch, LabeledInput
from forwardforward.goodness import LearnedProjection, MeanOfSquares, SumOfSquares
from forwardforward.label_encoders import Border, Concatenation, Overlay
from forwardforward.layers import FFLayer, FFLinear
from forwardforward.layers.defaults import Defaults
from forwardforward.losses import SymBa, Threshold
from forwardforward.normalization import BatchNorm, GroupNorm, Identity, LayerNorm, PeerNormalization, RMSNorm
from forwardforward.objectives import PairObjective

NORMS = {
    "rms": RMSNorm,
    "layer": LayerNorm,
    "batch": BatchNorm,
    "batch, learned": partial(BatchNorm, affine=True),
    "running": partial(BatchNorm, statistics="running"),
    "identity": Identity,
    "none": lambda: None,
    "group": partial(GroupNorm, 2),
    "custom": lambda: nn.Sequential(nn.BatchNorm1d(12), nn.LayerNorm(12)),
}
AFFINE = set(NORMS) - {"group", "custom"}


class Joining(FFLinear):
    """The plain way: image and label are joined before the layer."""

    def check_input(self, x):
        return super().check_input(x.joined() if isinstance(x, LabeledInput) else x)


class Counting(FFLinear):
    """Counts the products that the labels of an image share."""

    shared_products = 0

    def split_forward(self, x, affine):
        self.shared_products += 1
        return super().split_forward(x, affine)


def make_layer(kind, normalization, peer=False, **options):
    return kind(
        12,
        7,
        normalization=NORMS[normalization](),
        peer=PeerNormalization(strength=0.5) if peer else None,
        goodness=SumOfSquares(),
        loss=Threshold("width"),
        **options,
    ).double()


@pytest.mark.parametrize("normalization", NORMS)
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"activation": nn.GELU()}, {"peer": True}],
    ids=["plain", "no bias", "another activation", "peer normalization"],
)
@pytest.mark.parametrize("encoder", [Overlay(3), Concatenation(3, scale=2.0), Border(3)], ids=repr)
def test_the_shared_product_equals_the_joined_one(encoder, normalization, options):
    """Activations, loss and gradients agree to 1e-10, over steps in which running statistics move."""
    shape = (1, 3, 3) if isinstance(encoder, Concatenation) else (1, 3, 4)
    encoder = copy.deepcopy(encoder).double()
    shared, plain = make_layer(Counting, normalization, **options), make_layer(Joining, normalization, **options)
    with torch.no_grad():
        for parameter in shared.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    plain.load_state_dict(shared.state_dict())
    for _ in range(2):
        labels = torch.randint(3, (2, 6))
        batch = Batch(encoder(torch.rand(6, *shape, dtype=torch.float64), labels), labels[0], has_negatives=True)
        results = []
        for layer in (shared, plain):
            layer.zero_grad()
            activations, local = layer.local_loss(batch.inputs, batch)
            local.loss.backward()
            gradients = [p.grad for p in layer.parameters()]
            results.append((activations.detach(), local.loss.detach(), gradients, layer.state_dict()))
        torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)
    assert shared.shared_products == (2 if normalization in AFFINE else 0)


@pytest.mark.parametrize("normalization", NORMS)
def test_candidates_share_the_product_too(normalization):
    shared, plain = make_layer(Counting, normalization).eval(), make_layer(Joining, normalization).eval()
    plain.load_state_dict(shared.state_dict())
    candidates = Overlay(3).double().candidates(torch.rand(5, 12, dtype=torch.float64))
    torch.testing.assert_close(shared(candidates), plain(candidates), rtol=1e-10, atol=1e-10)
    assert shared.shared_products == (normalization in AFFINE)


@pytest.mark.parametrize("normalization", sorted(AFFINE - {"none"}))
def test_autocast_multiplies_in_bfloat16(normalization):
    """The shared layer's activations are bfloat16, as the plain one's, and close to the float32 ones."""
    layer = make_layer(FFLinear, normalization).float()
    x = Overlay(3)(torch.rand(4, 12), torch.randint(3, (2, 4)))
    exact = copy.deepcopy(layer)(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x)
        assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), exact, rtol=0.05, atol=0.05)


def test_a_dense_layer_follows_its_formula():
    layer = make_layer(FFLinear, "rms")
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    rows = x.flatten(1)
    rows = rows / rows.square().mean(1, keepdim=True).add(1e-8).sqrt()
    expected = (rows @ layer.block.weight.T + layer.block.bias).clamp(min=0)
    torch.testing.assert_close(layer(x), expected)


def test_initial_weights_have_the_standard_deviation_of_the_fan_in_and_biases_are_zero():
    layer = FFLinear(400, 300)
    assert layer.block.weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert not layer.block.bias.any()
    assert FFLinear(4, 3, bias=False).block.bias is None


def test_hes_uniform_weights_end_at_the_root_of_six_over_the_fan_in_and_biases_are_zero():
    for block, inputs in (
        (FFLinear(150, 400, init="he_uniform").block, 150),
        (ff.FFConv2d(8, 300, 5, init="he_uniform").block, 8 * 25),
        (ff.FFConv2d(8, 600, 5, groups=4, init="he_uniform").block, 2 * 25),
    ):
        end = math.sqrt(6 / inputs)
        weights = block.weight.detach().flatten()
        assert 0.999 * end < weights.max().item() <= end
        assert -end <= weights.min().item() < -0.999 * end
        ordered = weights.sort().values[:: len(weights) // 100]  # uniform: quantiles on a line
        torch.testing.assert_close(ordered, torch.linspace(-end, end, len(ordered)), rtol=0, atol=0.05 * end)
        assert not block.bias.any()
    assert FFLinear(4, 3, bias=False, init="he_uniform").block.bias is None


def test_a_wrong_number_of_features_is_refused():
    layer = make_layer(FFLinear, "rms")
    with pytest.raises(
        ValueError, match="^in_features must be the input's number of features, got 12 for inputs of 11$"
    ):
        layer(torch.ones(2, 11))
    labeled = Concatenation(3)(torch.ones(2, 12), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"got 12 for inputs of 15 \(with the label\)"):
        layer(labeled)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0)], ids=str)
def test_sizes_must_be_positive(sizes):
    with pytest.raises(ValueError, match="features must be at least 1, got 0"):
        FFLinear(*sizes)


def test_peer_normalization_needs_visible_pre_activations():
    block = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with pytest.raises(ValueError, match="peer normalization acts on pre-activations"):
        FFLayer(block, peer=PeerNormalization())
    with pytest.raises(ValueError, match="peer normalization acts on pre-activations"):
        ff.FFSequential(
            FFLayer(block),
            goodness=SumOfSquares(),
            loss=SymBa(),
            label_encoder=Overlay(2),
            peer=PeerNormalization(),
        )
    FFLayer(nn.Linear(4, 3), activation=nn.ReLU(), peer=PeerNormalization())


def test_peer_normalization_takes_the_width_from_any_block():
    model = ff.FFSequential(
        FFLayer(nn.Sequential(nn.Linear(4, 3), nn.Flatten()), activation=nn.ReLU()),
        goodness=SumOfSquares(),
        loss=SymBa(),
        label_encoder=Overlay(2),
        peer=PeerNormalization(),
        input_shape=(4,),
    )
    assert model[0].peer.means.tolist() == [0.5, 0.5, 0.5]


def test_peer_normalization_reads_positive_samples_only():
    layer = make_layer(FFLinear, "none", peer=True)
    labels = torch.tensor([[0, 1], [1, 2]])
    x = Overlay(3).double()(torch.rand(2, 12, dtype=torch.float64), labels)
    activations, _ = layer.local_loss(x, Batch(x, labels[0], has_negatives=True))
    torch.testing.assert_close(layer.peer.means, 0.9 * 0.5 + 0.1 * activations[:2].mean(0))


def test_the_loss_and_its_peer_term_are_parts():
    layer = make_layer(FFLinear, "none", peer=True)
    x = torch.rand(6, 12, dtype=torch.float64)
    peer = copy.deepcopy(layer.peer)
    _, local = layer.local_loss(x, Batch(x, has_negatives=True))
    outputs = layer.outputs(x)
    expected = peer(outputs.pre_activation[:3], outputs.activation[:3])
    torch.testing.assert_close(local.parts["PeerNormalization"], expected)
    torch.testing.assert_close(local.parts["Threshold"] + expected, local.loss)


def test_a_layer_takes_an_objective_or_its_parts():
    with pytest.raises(ValueError, match="^objective must not be given with goodness or loss: it contains both"):
        FFLinear(4, 3, objective=PairObjective(SumOfSquares(), SymBa()), loss=SymBa())
    with pytest.raises(ValueError, match="^a layer has no loss: pass loss= or objective= to the layer"):
        FFLinear(4, 3).adopt(Defaults())
    with pytest.raises(ValueError, match="^layer 1: a layer has no loss"):
        ff.FFSequential(FFLinear(4, 3, goodness=LearnedProjection(2), loss=ff.losses.CrossEntropy()), FFLinear(3, 3))
    with pytest.raises(ValueError, match="^the layer has no objective: pass goodness= and loss=, or objective="):
        FFLinear(4, 3).local_loss(torch.ones(2, 4), Batch(torch.ones(2, 4)))


def test_a_layer_is_complete_with_an_objective():
    layer = FFLinear(4, 3, objective=PairObjective(SumOfSquares(), Threshold(1.0)))
    x = torch.rand(6, 4)
    activations, local = layer.local_loss(x, Batch(x, has_negatives=True))
    torch.testing.assert_close(activations, layer(x))
    local.loss.backward()
    assert layer.block.weight.grad.any()


def test_plugins_are_set_up_by_the_layer():
    layer = FFLinear(
        4,
        3,
        goodness=LearnedProjection(2),
        loss=ff.losses.CrossEntropy(),
        normalization=BatchNorm(),
        peer=PeerNormalization(),
    )
    assert layer.is_set_up
    assert layer.normalization.running_mean.shape == (4,)
    assert layer.peer.means.shape == (3,)
    assert layer.objective.goodness.weight.shape == (2, 3)


def test_a_second_setup_leaves_parameters_unchanged():
    layer = FFLinear(4, 3, goodness=LearnedProjection(2), loss=ff.losses.CrossEntropy(), normalization=BatchNorm())
    before = copy.deepcopy(layer.state_dict())
    model = ff.FFSequential(layer)
    torch.testing.assert_close(model[0].state_dict(), before)


def test_the_dry_run_changes_neither_mode_nor_statistics():
    block = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    before = copy.deepcopy(block.state_dict())
    layer = FFLayer(block, normalization=BatchNorm(), input_shape=(4,))
    assert all(part.training for part in layer.modules())
    torch.testing.assert_close(block.state_dict(), before)
    assert not layer.normalization.running_mean.any()


def test_a_setup_failure_leaves_no_hooks_behind():
    block = nn.Linear(4, 3)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        FFLayer(block, input_shape=(5,))
    assert not block._forward_hooks


# Custom plug-ins: any callable of the right signature


def test_plain_functions_serve_as_plugins():
    def goodness(activations):
        return activations.abs().sum(1)

    def loss(positive, negative):
        return (1 + negative - positive).clamp(min=0).mean()

    def normalization(x):
        return x - x.mean(1, keepdim=True)

    model = ff.FFSequential(
        nn.Sequential(nn.Linear(8, 6), nn.Tanh()),
        FFLinear(6, 5),
        objective=PairObjective(goodness, loss),
        normalization=normalization,
        label_encoder=Overlay(3),
        classifier=lambda goodness: goodness[:, -1],
        input_shape=(8,),
    )
    images, labels = torch.rand(4, 8), torch.tensor([0, 1, 2, 0])
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    result = model.step((images, labels), optimizer, generator=torch.Generator().manual_seed(0))
    assert all(not torch.equal(before[name], value) for name, value in model.named_parameters())
    assert torch.equal(model.predict(images), model.layer_goodness(images)[:, -1].argmax(1))
    joined = Overlay(3)(images, torch.stack([labels, labels])).joined()
    assert 0 <= result.layers[0].accuracy <= 1
    block = model.layers[0].block
    torch.testing.assert_close(model.layers[0](joined), block(joined - joined.mean(1, keepdim=True)))


def test_a_custom_affine_normalization_is_shared():
    class Halve(ff.normalization.Normalization):
        def forward(self, x):
            return x / 2

        def as_affine(self, x):
            return ff.normalization.Affine(column_scale=x.images.new_full((x.features,), 0.5))

    layer = Counting(12, 7, normalization=Halve())
    x = Overlay(3)(torch.rand(4, 12), torch.randint(3, (2, 4)))
    torch.testing.assert_close(layer(x), layer(x.joined()))
    assert layer.shared_products == 1


def test_a_block_may_fold_a_labeled_image_back_into_a_map():
    convolution = FFLayer(nn.Sequential(nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 4, 3)), activation=nn.ReLU())
    model = ff.FFSequential(
        convolution,
        FFLinear(4 * 16, 5),
        goodness=MeanOfSquares(),
        loss=SymBa(),
        normalization=RMSNorm(),
        label_encoder=Overlay(3),
        peer=PeerNormalization(),
    )
    images, labels = torch.rand(4, 1, 6, 6), torch.tensor([0, 1, 2, 0])
    model.step((images, labels), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert model.layers[0].peer.means.shape == (4,)
    assert model(images).shape == (4, 5)
    assert model.layer_goodness(images).shape == (4, 2, 3)


def test_repr_shows_the_plugins_once():
    model = ff.FFSequential(FFLinear(4, 3, goodness=SumOfSquares(), loss=SymBa()), label_encoder=Overlay(2))
    text = repr(model)
    assert "None" not in text
    assert text.count("SumOfSquares()") == text.count("SymBa(alpha=4.0)") == 1


def test_shapes_are_known_behind_any_sequence_of_blocks():
    block = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    assert FFLayer(block).setup((1, 8, 8)) == (8, 3, 3)
    assert FFLayer(nn.Sequential(nn.Linear(3, 4), nn.ELU())).setup((3,)) == (4,)
    model = ff.FFSequential(
        FFLayer(nn.Conv2d(2, 1, 1)), FFLayer(block), goodness=SumOfSquares(), loss=SymBa(),
        label_encoder=ff.label_encoders.RandomChannel(3, 8), negatives=ff.negatives.HardLabel(), input_shape=(1, 8, 8),
    )  # fmt: skip
    assert model.head.linear.in_features == 8 * 2 * 2
    assert model.head_logits(torch.rand(2, 1, 8, 8)).shape == (2, 3)


def test_peer_normalization_needs_the_pre_activations():
    layer = FFLayer(nn.Linear(4, 3), activation=nn.ReLU(inplace=True))
    with pytest.raises(ValueError, match=r"acts on pre-activations, which .* overwrites: use inplace=False"):
        ff.FFSequential(
            layer, goodness=SumOfSquares(), loss=SymBa(), label_encoder=Overlay(2), peer=PeerNormalization()
        )


def test_a_layer_may_do_without_the_networks_peer_normalization():
    model = ff.FFSequential(
        FFLinear(4, 3), FFLinear(3, 3, peer=False), goodness=SumOfSquares(), loss=SymBa(),
        label_encoder=Overlay(2), peer=PeerNormalization(),
    )  # fmt: skip
    assert [layer.peer is None for layer in model.layers] == [False, True]


@pytest.mark.parametrize(
    "activation", [torch.relu, lambda x: x.clamp(min=0), nn.ReLU()], ids=["function", "lambda", "module"]
)
def test_an_activation_is_a_module_or_a_function(activation):
    torch.manual_seed(0)
    model = ff.FFSequential(
        FFLinear(8, 6, activation=activation), goodness=LearnedProjection(2), loss=ff.losses.CrossEntropy()
    )
    assert model(torch.randn(5, 8)).min() == 0
    model.step((torch.rand(5, 8), torch.arange(5) % 2), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
