"""Objectives: which one a goodness and a loss make, and what each refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward.batches import Batch
from forwardforward.goodness import (
    ClassGroups,
    LearnedProjection,
    MeanOfSquares,
    Prototypes,
    RandomProjection,
    SumOfSquares,
)
from forwardforward.losses import CrossEntropy, SuperclassCrossEntropy, SupervisedContrastive, SymBa
from forwardforward.objectives import (
    BatchObjective,
    ClassObjective,
    Embedding,
    PairObjective,
    SumObjective,
    objective,
)
from forwardforward.pooling import SpatialPool


def three_classes(h: Tensor) -> Tensor:
    return h[:, :3]


def test_a_goodness_that_nothing_would_read_is_refused() -> None:
    with pytest.raises(ValueError, match="goodness must be None for the loss SupervisedContrastive"):
        objective(SumOfSquares(), SupervisedContrastive())


def test_a_contract_that_does_not_exist_is_refused() -> None:
    loss = SymBa()
    loss.contract = "pairs"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="contract of 'pair', 'class' or 'batch', got 'pairs'"):
        objective(SumOfSquares(), loss)


def test_a_pair_objective_needs_pairs() -> None:
    made = PairObjective(SumOfSquares(), SymBa())
    with pytest.raises(ValueError, match="batch must hold positive and negative samples"):
        made(torch.ones(4, 3), Batch(torch.ones(4, 3)))


def test_mixed_contracts_are_named() -> None:
    pair, per_class = PairObjective(SumOfSquares(), SymBa()), ClassObjective(three_classes, CrossEntropy())
    with pytest.raises(ValueError, match="got PairObjective, ClassObjective"):
        SumObjective(pair, per_class)


def test_losses_of_every_contract_are_told_their_layer() -> None:
    class Told(nn.Module):
        layer: int | None = None

        def bind(self, layer: int) -> None:
            self.layer = layer

    for made in (PairObjective(SumOfSquares(), Told()), ClassObjective(three_classes, Told()), BatchObjective(Told())):
        made.bind(2, 5)
        assert made.loss.layer == 2  # type: ignore[attr-defined]


def test_a_loss_of_two_arguments_may_have_an_accuracy_of_two() -> None:
    class Mine(nn.Module):
        def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
            return (negative - positive).mean()

        def accuracy(self, positive: Tensor, negative: Tensor) -> Tensor:
            return (positive > 2 * negative).float().mean()

    h = torch.tensor([[3.0], [3.0], [2.0], [1.0]])
    local = PairObjective(SumOfSquares(), Mine())(h, Batch(h, paired=True))
    assert local.accuracy == 1


def test_a_per_class_goodness_that_does_not_tell_its_classes_still_classifies() -> None:
    torch.manual_seed(0)
    model = ff.FFSequential(ff.FFLinear(6, 5), ff.FFLinear(5, 4), goodness=three_classes, loss=CrossEntropy())
    assert model.layers_classify
    assert model.head is None
    model.step((torch.randn(7, 6), torch.arange(7) % 3), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert model.scores(torch.randn(7, 6)).shape == (7, 3)


def test_an_embedding_says_what_maps_need() -> None:
    embedding = Embedding(16)
    embedding.bind(8)
    with pytest.raises(ValueError, match="activations must come to 8 features a sample .* got 288"):
        embedding(torch.ones(4, 8, 6, 6))
    pooled = Embedding(16, pool=SpatialPool(2))
    pooled.bind(8)
    assert pooled(torch.ones(4, 8, 6, 6)).shape == (4, 16)


def test_a_sum_classifies_by_the_part_that_does() -> None:
    both = BatchObjective(SupervisedContrastive()) + ClassObjective(LearnedProjection(3, 5), CrossEntropy())
    assert both.classifies
    assert both.num_classes == 3
    assert both.goodness_of(torch.ones(2, 5)).shape == (2, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "goodness",
    [
        LearnedProjection(3, 8),
        RandomProjection(3, 8),
        Prototypes(3, 8),
        ClassGroups(4),
        SumOfSquares(),
        MeanOfSquares(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_goodness_of_products_in_bfloat16_is_float32(goodness: nn.Module) -> None:
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = nn.functional.linear(torch.randn(5, 4), torch.randn(8, 4))
        assert h.dtype == torch.bfloat16
        found = goodness(h)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, goodness(h.float()))


@pytest.mark.parametrize(
    "loss",
    [SupervisedContrastive(), SuperclassCrossEntropy([0, 0, 1, 1, 0, 1, 0, 1])],
    ids=lambda one: type(one).__name__,
)
def test_losses_of_products_in_bfloat16_are_float32(loss: nn.Module) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(6, 8), torch.tensor([0, 1, 0, 1, 2, 2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(x, y)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(x, y))


def test_an_embedding_of_products_in_bfloat16_is_float32() -> None:
    embedding = Embedding(4, features=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert embedding(torch.randn(5, 8).bfloat16()).dtype == torch.float32
