import copy
from functools import partial

import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward.batches import Batch, LabelledInput
from forwardforward.goodness import LearnedProjection, MeanOfSquares, SumOfSquares
from forwardforward.label_encoders import Border, Concatenation, Overlay
from forwardforward.layers import FFLayer, FFLinear
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
    "a user's": lambda: nn.Sequential(nn.BatchNorm1d(12), nn.LayerNorm(12)),
}
AFFINE = set(NORMS) - {"group", "a user's"}


class Joining(FFLinear):
    """The plain way: image and label are one input before the layer sees them."""

    def pre_activations(self, x):
        return super().pre_activations(x.joined() if isinstance(x, LabelledInput) else x)


class Counting(FFLinear):
    """Counts the rows that are multiplied with the image's part of the weights."""

    shared = 0

    def split_forward(self, x, affine):
        self.shared += 1
        return super().split_forward(x, affine)


def layer(kind, normalization, peer=False, **options):
    one = kind(12, 7, normalization=NORMS[normalization](), **options)
    if peer:
        one.peer = PeerNormalization(strength=0.5)
    one.compose(0, goodness=SumOfSquares(), loss=Threshold("width"))
    return one.double()


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
    ours, plain = layer(Counting, normalization, **options), layer(Joining, normalization, **options)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    plain.load_state_dict(ours.state_dict())
    for _ in range(2):
        labels = torch.randint(3, (2, 6))
        batch = Batch(encoder(torch.rand(6, *shape, dtype=torch.float64), labels), labels[0], paired=True)
        found = []
        for one in (ours, plain):
            one.zero_grad()
            activations, local = one.local_loss(batch.inputs, batch)
            local.loss.backward()
            found.append(
                (activations.detach(), local.loss.detach(), [p.grad for p in one.parameters()], one.state_dict())
            )
        torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
    assert ours.shared == (2 if normalization in AFFINE else 0)


@pytest.mark.parametrize("normalization", NORMS)
def test_candidates_share_too(normalization):
    ours, plain = layer(Counting, normalization).eval(), layer(Joining, normalization).eval()
    plain.load_state_dict(ours.state_dict())
    candidates = Overlay(3).double().candidates(torch.rand(5, 12, dtype=torch.float64))
    torch.testing.assert_close(ours(candidates), plain(candidates), rtol=1e-10, atol=1e-10)
    assert ours.shared == (normalization in AFFINE)


@pytest.mark.parametrize("normalization", sorted(AFFINE - {"none"}))
def test_autocast_multiplies_in_bfloat16(normalization):
    """The shared layer's activations are bfloat16, as the plain one's, and close to the float32 ones."""
    ours = layer(FFLinear, normalization).float()
    x = Overlay(3)(torch.rand(4, 12), torch.randint(3, (2, 4)))
    exact = copy.deepcopy(ours)(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ours(x)
        assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.05, atol=0.05)


def test_a_dense_layer():
    one = layer(FFLinear, "rms")
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    rows = x.flatten(1)
    rows = rows / rows.square().mean(1, keepdim=True).add(1e-8).sqrt()
    expected = (rows @ one.block.weight.T + one.block.bias).clamp(min=0)
    torch.testing.assert_close(one(x), expected)


def test_initial_weights():
    one = FFLinear(400, 300)
    assert one.block.weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert not one.block.bias.any()
    assert FFLinear(4, 3, bias=False).block.bias is None


def test_wrong_number_of_features():
    one = layer(FFLinear, "rms")
    with pytest.raises(
        ValueError, match="^in_features must be the input's number of features, got 12 for inputs of 11$"
    ):
        one(torch.ones(2, 11))
    labelled = Concatenation(3)(torch.ones(2, 12), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"got 12 for inputs of 15 \(label code included\)"):
        one(labelled)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0)], ids=str)
def test_sizes_must_be_positive(sizes):
    with pytest.raises(ValueError, match="features must be at least 1, got 0"):
        FFLinear(*sizes)


def test_peer_normalization_needs_visible_pre_activations():
    block = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with pytest.raises(ValueError, match="peer normalization acts on pre-activations"):
        FFLayer(block, features=3, peer=PeerNormalization())
    with pytest.raises(ValueError, match="peer normalization acts on pre-activations"):
        ff.FFSequential(
            FFLayer(block, features=3),
            goodness=SumOfSquares(),
            loss=SymBa(),
            label_encoder=Overlay(2),
            peer=PeerNormalization(),
        )
    FFLayer(nn.Linear(4, 3), activation=nn.ReLU(), features=3, peer=PeerNormalization())


def test_peer_normalization_needs_the_width():
    with pytest.raises(ValueError, match="^features must be given, PeerNormalization"):
        ff.FFSequential(
            FFLayer(nn.Sequential(nn.Linear(4, 3), nn.Flatten()), activation=nn.ReLU()),
            goodness=SumOfSquares(),
            loss=SymBa(),
            label_encoder=Overlay(2),
            peer=PeerNormalization(),
        )


def test_peer_normalization_sees_the_positives_alone():
    one = layer(FFLinear, "none", peer=True)
    labels = torch.tensor([[0, 1], [1, 2]])
    batch = Batch(Overlay(3).double()(torch.rand(2, 12, dtype=torch.float64), labels), labels[0], paired=True)
    activations, _ = one.local_loss(batch.inputs, batch)
    torch.testing.assert_close(one.peer.means, 0.9 * 0.5 + 0.1 * activations[:2].mean(0))


def test_a_whole_objective_or_its_parts():
    with pytest.raises(ValueError, match="^objective must not be given beside"):
        FFLinear(4, 3, objective=PairObjective(SumOfSquares(), SymBa()), loss=SymBa())
    with pytest.raises(ValueError, match="layer 0 has no loss"):
        FFLinear(4, 3).compose(0)
    with pytest.raises(RuntimeError, match="no objective yet"):
        FFLinear(4, 3).local_loss(torch.ones(2, 4), Batch(torch.ones(2, 4)))


def test_a_layer_stands_alone_with_an_objective():
    one = FFLinear(4, 3, objective=PairObjective(SumOfSquares(), Threshold(1.0)))
    x = torch.rand(6, 4)
    activations, local = one.local_loss(x, Batch(x, paired=True))
    torch.testing.assert_close(activations, one(x))
    local.loss.backward()
    assert one.block.weight.grad.any()


def test_plugins_are_shaped_by_the_layer():
    one = FFLinear(4, 3, goodness=LearnedProjection(2), loss=ff.losses.CrossEntropy(), normalization=BatchNorm())
    one.peer = PeerNormalization()
    one.compose(5)
    assert one.normalization.running_mean.shape == (4,)
    assert one.peer.means.shape == (3,)
    assert one.objective.goodness.weight.shape == (2, 3)


# Users' own plug-ins: any callable of the right signature serves


def test_a_users_callables():
    def goodness(activations):
        return activations.abs().sum(1)

    def loss(positive, negative):
        return (1 + negative - positive).clamp(min=0).mean()

    def normalization(x):
        return x - x.mean(1, keepdim=True)

    model = ff.FFSequential(
        nn.Sequential(nn.Linear(8, 6), nn.Tanh()),
        FFLinear(6, 5),
        goodness=goodness,
        loss=loss,
        normalization=normalization,
        label_encoder=Overlay(3),
        classifier=lambda model, images: model.layer_goodness(images)[:, -1],
    )
    images, labels = torch.rand(4, 8), torch.tensor([0, 1, 2, 0])
    before = copy.deepcopy(model.state_dict())
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    result = model.step((images, labels), optimizer, generator=torch.Generator().manual_seed(0))
    assert all(not torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.predict(images).shape == (4,)
    joined = Overlay(3)(images, torch.stack([labels, labels])).joined()
    assert 0 <= result.layers[0].accuracy <= 1
    block = model.layers[0].block
    torch.testing.assert_close(model.layers[0](joined), block(joined - joined.mean(1, keepdim=True)))


def test_a_users_affine_normalization_is_shared():
    class Halve(nn.Module):
        def forward(self, x):
            return x / 2

        def as_affine(self, x):
            return ff.normalization.Affine(column_scale=x.images.new_full((x.features,), 0.5))

    one = Counting(12, 7, normalization=Halve())
    x = Overlay(3)(torch.rand(4, 12), torch.randint(3, (2, 4)))
    torch.testing.assert_close(one(x), FFLinear.forward(one, x.joined()))
    assert one.shared == 1


def test_a_block_of_any_shape():
    """A convolution behind a labelled image that its own first module folds back into a map."""
    convolution = FFLayer(
        nn.Sequential(nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 4, 3)), activation=nn.ReLU(), features=4
    )
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
    assert model.stack[0].peer.means.shape == (4,)
    assert model(images).shape == (4, 5)
    assert model.layer_goodness(images).shape == (4, 2, 3)


def test_repr_shows_the_plugins_once():
    model = ff.FFSequential(FFLinear(4, 3, goodness=SumOfSquares(), loss=SymBa()), label_encoder=Overlay(2))
    text = repr(model)
    assert "None" not in text
    assert text.count("SumOfSquares()") == text.count("SymBa(alpha=4.0)") == 1


def test_maps_are_known_inside_a_sequence_of_blocks():
    block = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    layer = FFLayer(block)
    assert (layer.space, layer.in_features, layer.features) == (2, 1, 8)
    assert FFLayer(nn.Sequential(nn.Linear(3, 4), nn.ELU())).space == 0
    model = ff.FFSequential(
        FFLayer(nn.Conv2d(2, 1, 1)), layer, goodness=SumOfSquares(), loss=SymBa(),
        label_encoder=ff.label_encoders.RandomChannel(3, 8), negatives=ff.negatives.HardLabel(),
    )  # fmt: skip
    assert model.head_logits(torch.rand(2, 1, 8, 8)).shape == (2, 3)


def test_peer_normalization_needs_the_pre_activations():
    layer = FFLayer(nn.Linear(4, 3), activation=nn.ReLU(inplace=True))
    with pytest.raises(ValueError, match=r"acts on pre-activations, which .* overwrites: use inplace=False"):
        ff.FFSequential(
            layer, goodness=SumOfSquares(), loss=SymBa(), label_encoder=Overlay(2), peer=PeerNormalization()
        )


def test_one_layer_may_do_without_the_stacks_peer_normalization():
    model = ff.FFSequential(
        FFLinear(4, 3), FFLinear(3, 3, peer=False), goodness=SumOfSquares(), loss=SymBa(),
        label_encoder=Overlay(2), peer=PeerNormalization(),
    )  # fmt: skip
    assert [layer.peer is None for layer in model.stack] == [False, True]
