"""Similarity matching, its embedding, and objectives on pooled activations."""

from __future__ import annotations

import math

import pytest
import torch

import forwardforward as ff
from forwardforward.losses import SimilarityMatching
from forwardforward.objectives import BatchObjective, ClassObjective, Embedding, PooledObjective, SimilarityEmbedding
from forwardforward.pooling import LimitedPool, SpatialPool


def cosine(a: list[float], b: list[float]) -> float:
    a, b = ([value - sum(row) / len(row) for value in row] for row in (a, b))
    length = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / length


def test_the_loss_is_the_distance_of_the_similarity_matrices() -> None:
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).tolist()
    labels = [0, 2, 1, 2, 0]
    codes = [[float(k == label) for k in range(3)] for label in labels]
    expected = 0.0
    for i in range(5):
        for j in range(5):
            expected += (cosine(rows[i], rows[j]) - cosine(codes[i], codes[j])) ** 2 / 25
    actual = SimilarityMatching(3)(torch.tensor(rows), torch.tensor(labels))
    assert float(actual) == pytest.approx(expected, rel=1e-5)


def test_several_labels_are_compared_as_rows() -> None:
    rows = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).tolist()
    labels = [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
    expected = 0.0
    for i in range(4):
        for j in range(4):
            expected += (cosine(rows[i], rows[j]) - cosine(labels[i], labels[j])) ** 2 / 16
    loss = SimilarityMatching(3)
    for targets in (torch.tensor(labels), torch.tensor(labels) > 0.5):
        assert float(loss(torch.tensor(rows), targets)) == pytest.approx(expected, rel=1e-5)
    assert bool(loss(torch.tensor(rows), torch.ones(4, 3)).isfinite())  # labels without variance
    with pytest.raises(ValueError, match="^targets must have 3 labels per sample, got 2$"):
        loss(torch.tensor(rows), torch.ones(4, 2))


def test_rows_without_variance_have_a_finite_gradient() -> None:
    rows = torch.ones(3, 4, requires_grad=True)
    SimilarityMatching(2)(rows, torch.tensor([0, 1, 0])).backward()
    assert rows.grad is not None
    assert bool(rows.grad.isfinite().all())


def test_maps_become_the_standard_deviation_of_each_channel() -> None:
    embedding = SimilarityEmbedding()
    maps = torch.rand(2, 3, 4, 4)
    rows = embedding(maps)
    convolved = torch.nn.functional.conv2d(maps, embedding.map.weight, padding=1)  # type: ignore[union-attr]
    for i in range(2):
        for channel in range(3):
            values = convolved[i, channel].flatten().tolist()
            mean = sum(values) / 16
            expected = math.sqrt(sum((value - mean) ** 2 for value in values) / 15)
            assert float(rows[i, channel].detach()) == pytest.approx(expected, rel=1e-4)


def test_rows_and_single_positions_are_mapped_only() -> None:
    rows = torch.rand(2, 5)
    embedding = SimilarityEmbedding(dimensions=3)
    torch.testing.assert_close(embedding(rows), rows @ embedding.map.weight.T)  # type: ignore[union-attr, operator]
    assert SimilarityEmbedding(4, kernel_size=1)(torch.rand(2, 3, 1, 1)).shape == (2, 4)
    assert SimilarityEmbedding(4, stride=2)(torch.rand(2, 3, 5, 5)).shape == (2, 4)
    with pytest.raises(ValueError, match="kernel_size must be odd, got 2"):
        SimilarityEmbedding(kernel_size=2)


def test_a_pooled_objective_is_the_sum_of_the_objectives_on_pooled_rows() -> None:
    torch.manual_seed(0)
    classes = ClassObjective(ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy(), weight=0.25)
    contrast = BatchObjective(ff.losses.SupervisedContrastive(), Embedding(4), 2.0)
    objective = PooledObjective(classes + contrast, SpatialPool(2))
    maps, labels = torch.rand(6, 5, 4, 4), torch.arange(6) % 3
    local = objective(maps, ff.Batch(maps, labels))
    rows = SpatialPool(2)(maps)
    assert isinstance(classes.goodness, ff.goodness.LearnedProjection)
    logits = classes.goodness(rows)
    expected = 0.25 * torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(local.parts["CrossEntropy"], expected)
    torch.testing.assert_close(local.loss, sum(local.parts.values()))
    torch.testing.assert_close(objective.goodness_of(maps), logits)
    assert (objective.num_classes, objective.has_goodness, objective.uses_negatives) == (3, True, False)


def test_a_network_with_a_pooled_objective_trains_and_classifies() -> None:
    objective = PooledObjective(
        ClassObjective(ff.goodness.LearnedProjection(3, init="zeros"), ff.losses.CrossEntropy()), SpatialPool(2)
    )
    model = ff.FFSequential(ff.FFConv2d(1, 6, 3, padding=1), objective=objective, input_shape=(1, 4, 4))
    assert not bool(model[0].objective.objective.goodness.weight.any())
    images = torch.rand(12, 1, 4, 4)
    ff.fit(model, (images, torch.arange(12) % 3), epochs=1, progress=False)
    assert bool(model[0].objective.objective.goodness.weight.any())
    assert model.predict(images).shape == (12,)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((128, 32, 32), (4, 4)),
        ((256, 32, 32), (2, 4)),
        ((256, 16, 16), (2, 4)),
        ((512, 8, 8), (2, 2)),
        ((4, 3, 3), (3, 3)),
    ],
)
def test_the_limited_pool_halves_height_and_width_in_turn(
    shape: tuple[int, int, int], expected: tuple[int, int]
) -> None:
    maps = torch.rand(1, *shape)
    means = torch.nn.functional.adaptive_avg_pool2d(maps, expected)
    torch.testing.assert_close(LimitedPool(2048)(maps), means.flatten(1))


@pytest.mark.parametrize(("side", "count"), [(7, 3), (15, 2), (5, 4), (3, 4)])
def test_overlapping_patches_agree_with_torch(side: int, count: int) -> None:
    maps = torch.rand(2, 3, side, side + 1, dtype=torch.float64, requires_grad=True)
    pooled = SpatialPool(count)(maps)
    reference = torch.nn.functional.adaptive_avg_pool2d(maps, count).flatten(1)
    torch.testing.assert_close(pooled, reference)
    direction = torch.rand_like(pooled)
    (gradient,) = torch.autograd.grad(pooled, maps, direction)
    (expected,) = torch.autograd.grad(reference, maps, direction)
    torch.testing.assert_close(gradient, expected)


def test_the_temperature_follows_its_schedule() -> None:
    loss = ff.losses.SupervisedContrastive(0.2, schedule=ff.lr_schedules.Ramp(4.0, 0.5))
    rows, labels = torch.randn(6, 4), torch.arange(6) % 2
    for progress, temperature in ((0.0, 0.8), (1.0, 0.1)):
        loss.set_progress(progress)
        torch.testing.assert_close(loss(rows, labels), ff.losses.SupervisedContrastive(temperature)(rows, labels))


def test_an_embedding_normalizes_its_input_or_its_output() -> None:
    rows = torch.randn(8, 5)
    for place in ("input", "output"):
        embedding = Embedding(3, normalize=place)  # type: ignore[arg-type]
        embeddings = embedding(rows)
        assert embedding.linear is not None
        weight, bias = embedding.linear.weight, embedding.linear.bias
        normalized = (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt()
        if place == "input":
            expected = normalized @ weight.T + bias
        else:
            product = rows @ weight.T
            expected = (product - product.mean(0)) / (product.var(0, correction=0) + 1e-5).sqrt()
        torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=1e-5)
