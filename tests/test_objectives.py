"""Objectives: which kind a goodness and a loss make, what each refuses, and their transforms by torch.func."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

import forwardforward as ff
from forwardforward.batches import Batch
from forwardforward.goodness import (
    ClassGroups,
    HiddenProjection,
    LearnedProjection,
    MeanOfSquares,
    Prototypes,
    RandomProjection,
    SumOfSquares,
)
from forwardforward.layers import MaxPool2d
from forwardforward.losses import (
    BatchLoss,
    ClassLoss,
    CrossEntropy,
    PairLoss,
    SuperclassCrossEntropy,
    SupervisedContrastive,
    SymBa,
)
from forwardforward.objectives import (
    BatchObjective,
    ClassObjective,
    Embedding,
    PairObjective,
    SumObjective,
)
from forwardforward.objectives.make import make_objective
from forwardforward.pooling import SpatialPool
from forwardforward.specs import LayerSpec


def three_classes(h: Tensor) -> Tensor:
    return h[:, :3]


def test_a_goodness_that_nothing_would_read_is_refused() -> None:
    with pytest.raises(ValueError, match="goodness must be None for the loss SupervisedContrastive"):
        make_objective(SumOfSquares(), SupervisedContrastive())


def test_a_loss_without_a_base_class_is_refused() -> None:
    class Margin(nn.Module):
        contract = "pairs"  # states nothing: the base class counts

        def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
            return (negative - positive).mean()

    with pytest.raises(TypeError, match="^loss must be a PairLoss, ClassLoss or BatchLoss, got Margin; state the kind"):
        make_objective(SumOfSquares(), Margin())


def test_a_pair_objective_needs_pairs() -> None:
    objective = PairObjective(SumOfSquares(), SymBa())
    with pytest.raises(ValueError, match="^batch must have positive and negative samples for a pair objective"):
        objective(torch.ones(4, 3), Batch(torch.ones(4, 3)))


def test_mixed_kinds_are_named() -> None:
    pair, per_class = PairObjective(SumOfSquares(), SymBa()), ClassObjective(three_classes, CrossEntropy())
    with pytest.raises(ValueError, match="got PairObjective, ClassObjective"):
        SumObjective(pair, per_class)


@pytest.mark.parametrize(
    ("base", "scale"), [(PairLoss, 12.0), (ClassLoss, None), (BatchLoss, None)], ids=["pair", "class", "batch"]
)
def test_losses_of_every_kind_are_set_up_with_their_layer(base: type[nn.Module], scale: float | None) -> None:
    class Own(base):  # type: ignore[misc,valid-type]
        spec: LayerSpec | None = None

        def setup(self, spec: LayerSpec) -> None:
            self.spec = spec

        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return first.sum() + second.sum()

    goodness = {PairLoss: SumOfSquares(), ClassLoss: three_classes, BatchLoss: None}[base]
    objective = make_objective(goodness, Own())
    objective.setup(LayerSpec(2, (12,)))
    assert objective.loss.spec == LayerSpec(2, (12,), scale)  # type: ignore[union-attr]


def test_an_own_pair_loss_may_have_its_own_accuracy() -> None:
    class Mine(PairLoss):
        def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
            return (negative - positive).mean()

        def accuracy(self, positive: Tensor, negative: Tensor) -> Tensor:
            return (positive > 2 * negative).float().mean()

    h = torch.tensor([[3.0], [3.0], [2.0], [1.0]])
    local = PairObjective(SumOfSquares(), Mine())(h, Batch(h, has_negatives=True))
    assert local.accuracy == 1


def test_a_per_class_goodness_function_without_num_classes_classifies() -> None:
    torch.manual_seed(0)
    model = ff.FFSequential(ff.FFLinear(6, 5), ff.FFLinear(5, 4), goodness=three_classes, loss=CrossEntropy())
    assert model.layers_classify
    assert model.head is None
    assert model.num_classes == 3
    model.step((torch.randn(7, 6), torch.arange(7) % 3), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert model.scores(torch.randn(7, 6)).shape == (7, 3)


def test_an_embedding_names_the_pool_that_maps_need() -> None:
    embedding = Embedding(16)
    embedding.setup(LayerSpec(0, (8,)))
    with pytest.raises(
        ValueError, match=r"^activations must have 8 values per sample .* got 288; pool=SpatialPool\(2\) accepts maps"
    ):
        embedding(torch.ones(4, 8, 6, 6))
    pooled = Embedding(16, pool=SpatialPool(2))
    pooled.setup(LayerSpec(0, (8, 6, 6)))
    assert pooled(torch.ones(4, 8, 6, 6)).shape == (4, 16)
    assert pooled(torch.ones(4, 8, 9, 5)).shape == (4, 16)


def test_a_sum_classifies_by_the_part_that_does() -> None:
    both = BatchObjective(SupervisedContrastive()) + ClassObjective(LearnedProjection(3), CrossEntropy())
    assert both.has_goodness
    assert both.num_classes == 3
    assert both.goodness_of(torch.ones(2, 5)).shape == (2, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "goodness",
    [
        LearnedProjection(3),
        RandomProjection(3),
        Prototypes(3),
        ClassGroups(4),
        SumOfSquares(),
        MeanOfSquares(),
    ],
    ids=lambda plugin: type(plugin).__name__,
)
def test_goodness_of_products_in_bfloat16_is_float32(goodness: nn.Module) -> None:
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = nn.functional.linear(torch.randn(5, 4), torch.randn(8, 4))
        assert h.dtype == torch.bfloat16
        result = goodness(h)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, goodness(h.float()))


@pytest.mark.parametrize(
    "loss",
    [SupervisedContrastive(), SuperclassCrossEntropy([0, 0, 1, 1, 0, 1, 0, 1])],
    ids=lambda plugin: type(plugin).__name__,
)
def test_losses_of_products_in_bfloat16_are_float32(loss: nn.Module) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(6, 8), torch.tensor([0, 1, 0, 1, 2, 2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(x, y)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, loss(x, y))


@pytest.mark.parametrize("plugin", [Embedding(4), HiddenProjection(3)], ids=lambda plugin: type(plugin).__name__)
def test_a_learned_layer_of_products_in_bfloat16_has_outputs_in_float32(plugin: nn.Module) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert plugin(torch.randn(5, 8).bfloat16()).dtype == torch.float32


# Transforms of torch.func

TRANSFORMED: dict[str, Callable[[], nn.Module]] = {
    "SumOfSquares": SumOfSquares,
    "MeanOfSquares": MeanOfSquares,
    "ClassGroups": lambda: ClassGroups(3),
    "MaxPool2d": lambda: MaxPool2d(2),
}


def input_of(name: str, shape: tuple[int, ...] | None = None) -> Tensor:
    shape = shape or (4, 6, 4, 4)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def weighted(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a scalar function of the module's output whose gradient differs between the values of the output."""

    def function(x: Tensor) -> Tensor:
        output = module(x)
        weights = torch.linspace(0.5, 2.0, output.numel(), dtype=output.dtype).view(output.shape)
        return (weights * output).sum()

    return function


def autograd(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf), leaf)
    return gradient


def shapes_of(name: str) -> list[tuple[int, ...]]:
    return [(4, 6, 4, 4)] if name == "MaxPool2d" else [(4, 6), (4, 6, 4, 4)]


CASES = [(name, shape) for name in TRANSFORMED for shape in shapes_of(name)]
transformed = pytest.mark.parametrize(("name", "shape"), CASES, ids=str)


@transformed
def test_grad_equals_plain_autograd(name: str, shape: tuple[int, ...]) -> None:
    function, x = weighted(TRANSFORMED[name]()), input_of(name, shape)
    torch.testing.assert_close(grad(function)(x), autograd(function, x))


@transformed
def test_vmap_equals_the_batch(name: str, shape: tuple[int, ...]) -> None:
    module, x = TRANSFORMED[name](), input_of(name, shape)
    expected = module(x)
    torch.testing.assert_close(vmap(lambda sample: module(sample[None])[0])(x), expected)
    leaf = x.clone().requires_grad_()  # under vmap, with a graph outside
    mapped = vmap(lambda sample: module(sample[None])[0])(leaf)
    torch.testing.assert_close(mapped, expected)
    (gradient,) = torch.autograd.grad(mapped.square().sum(), leaf)
    torch.testing.assert_close(gradient, autograd(lambda v: module(v).square().sum(), x))


@transformed
def test_vmap_of_grad_equals_the_gradient_of_each_sample(name: str, shape: tuple[int, ...]) -> None:
    function, x = weighted(TRANSFORMED[name]()), input_of(name, shape)
    per_sample = vmap(grad(lambda sample: function(sample[None])))(x)
    expected = torch.cat([autograd(function, sample[None]) for sample in x])
    torch.testing.assert_close(per_sample, expected)


@transformed
def test_grad_of_vmap_equals_plain_autograd(name: str, shape: tuple[int, ...]) -> None:
    module, x = TRANSFORMED[name](), input_of(name, shape)
    mapped = grad(lambda v: vmap(lambda sample: module(sample[None])[0])(v).square().sum())(x)
    torch.testing.assert_close(mapped, autograd(lambda v: module(v).square().sum(), x))


@transformed
def test_jacobians_equal_plain_autograd(name: str, shape: tuple[int, ...]) -> None:
    module, x = TRANSFORMED[name](), input_of(name, shape)[:2]
    with warnings.catch_warnings():  # torch has no batching rule for the unpooling of maps with channels last
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        jacobian = jacrev(module)(x).flatten(0, -x.dim() - 1)
    outputs = module(x).flatten()
    assert len(jacobian) == len(outputs)
    for index in range(len(outputs)):
        torch.testing.assert_close(jacobian[index], autograd(lambda v, i=index: module(v).flatten()[i], x))


@pytest.mark.parametrize("name", ["SumOfSquares", "MeanOfSquares", "ClassGroups"])
def test_second_derivatives_equal_plain_autograd(name: str) -> None:
    module, x = TRANSFORMED[name](), input_of(name)

    def penalty(v: Tensor) -> Tensor:
        return grad(lambda w: module(w).square().sum())(v).square().sum()

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(leaf).square().sum(), leaf, create_graph=True)
    torch.testing.assert_close(grad(penalty)(x), torch.autograd.grad(gradient.square().sum(), leaf)[0])


def test_a_pool_accepts_single_maps_and_channels_last_under_transforms() -> None:
    ours, theirs, x = weighted(MaxPool2d(2)), weighted(nn.MaxPool2d(2)), input_of("MaxPool2d")
    for sample in x:
        torch.testing.assert_close(autograd(ours, sample), autograd(theirs, sample))
        torch.testing.assert_close(grad(ours)(sample), autograd(theirs, sample))
    torch.testing.assert_close(vmap(grad(ours))(x), torch.stack([autograd(theirs, sample) for sample in x]))
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(grad(ours)(last), autograd(theirs, x))
    batches = torch.stack([last, 2 * last])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        mapped = vmap(grad(ours))(batches)
    torch.testing.assert_close(mapped, torch.stack([autograd(theirs, batch) for batch in batches]))


@pytest.mark.parametrize("goodness", [SumOfSquares, MeanOfSquares])
def test_gradients_of_a_layers_local_loss_per_sample_equal_plain_autograd(goodness: type[nn.Module]) -> None:
    """As in programs that need the gradient of every sample by itself, such as those for differential privacy."""
    layer = ff.FFConv2d(2, 6, 3, pool=2, goodness=goodness(), loss=SymBa(), input_shape=(2, 6, 6)).double()
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    pairs = torch.rand(3, 2, 2, 6, 6, dtype=torch.float64)

    class Local(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, pair: Tensor) -> Tensor:
            return self.layer.local_loss(pair, Batch(pair, has_negatives=True))[1].loss

    def loss(values: dict[str, Tensor], pair: Tensor) -> Tensor:
        return functional_call(Local(), {f"layer.{name}": value for name, value in values.items()}, (pair,))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        per_sample = vmap(grad(loss), in_dims=(None, 0))(parameters, pairs)
    for index, pair in enumerate(pairs):
        expected = torch.autograd.grad(Local()(pair), list(layer.parameters()))
        for (name, _), value in zip(layer.named_parameters(), expected, strict=True):
            torch.testing.assert_close(per_sample[name][index], value)


def test_an_embedding_that_normalizes_over_the_batch_refuses_one_sample_in_training() -> None:
    embedding = ff.objectives.Embedding(4)
    layer = ff.FFLinear(8, 6, objective=ff.objectives.BatchObjective(ff.losses.SupervisedContrastive(), embedding))
    with pytest.raises(ValueError, match="^images must be at least two per batch for an embedding, .* got 1$"):
        layer.local_loss(torch.rand(1, 8), ff.Batch(torch.rand(1, 8), torch.tensor([0])))
    assert embedding.eval()(torch.rand(1, 8)).shape == (1, 4)


def test_a_batch_loss_of_several_labels_trains_beside_a_class_objective() -> None:
    def similarity(embeddings: Tensor, labels: Tensor) -> Tensor:
        return (embeddings @ embeddings.T - labels.float() @ labels.float().T).square().mean()

    kind = ff.targets.MultiLabel()
    objective = ClassObjective(LearnedProjection(3), ff.losses.BinaryCrossEntropy()) + BatchObjective(
        similarity, Embedding(4), target_kind=kind
    )
    model = ff.FFSequential(ff.FFLinear(8, 6), ff.FFLinear(6, 5), objective=objective)
    history = ff.fit(model, (torch.rand(12, 8), torch.rand(12, 3) > 0.5), epochs=1, batch_size=6, progress=False)
    assert all(layer["parts"]["similarity"] > 0 for layer in history[-1]["layers"])
