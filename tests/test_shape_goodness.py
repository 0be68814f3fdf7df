"""Goodness of the largest activations and of heavy tails, and the label in every layer."""

from __future__ import annotations

import math

import pytest
import torch

import forwardforward as ff
from forwardforward import recipes
from forwardforward.goodness import Burstiness, EntmaxEnergy, MeanOfSquares, WithoutLabel
from forwardforward.goodness.shape import entmax15
from forwardforward.recipes.architectures import LabelInEveryLayer


def entmax_by_bisection(values: list[float]) -> list[float]:
    low, high = max(values) / 2 - 1, max(values) / 2
    for _ in range(200):
        middle = (low + high) / 2
        total = sum(max(0.0, value / 2 - middle) ** 2 for value in values)
        low, high = (middle, high) if total > 1 else (low, middle)
    return [max(0.0, value / 2 - low) ** 2 for value in values]


def test_entmax_solves_its_equation() -> None:
    rows = 3 * torch.randn(20, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[0] = 0.0
    expected = torch.tensor([entmax_by_bisection(row) for row in rows.tolist()], dtype=torch.float64)
    torch.testing.assert_close(entmax15(rows), expected)
    goodness = EntmaxEnergy()(rows)
    torch.testing.assert_close(goodness, (expected * rows.square()).sum(1))


def test_the_gradient_of_entmax_is_exact() -> None:
    rows = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(EntmaxEnergy(), rows)
    assert torch.autograd.gradcheck(Burstiness(), rows)
    constant = torch.ones(1, 4, requires_grad=True)
    EntmaxEnergy()(constant).sum().backward()
    assert constant.grad is not None
    assert bool(constant.grad.isfinite().all())


def test_burstiness_is_the_excess_kurtosis_at_any_scale() -> None:
    values = [0.0, 0.0, 0.5, 3.0, 0.1]
    mean = sum(values) / 5
    second = sum((v - mean) ** 2 for v in values) / 5
    fourth = sum((v - mean) ** 4 for v in values) / 5
    expected = fourth / second**2 - 3
    for factor in (1.0, 10.0):
        assert float(Burstiness()(factor * torch.tensor([values]))) == pytest.approx(expected, rel=1e-4)
    assert math.isfinite(float(Burstiness()(torch.zeros(1, 4))))


def test_a_goodness_without_the_label_ignores_the_code() -> None:
    goodness = WithoutLabel(2, MeanOfSquares())
    rows = torch.rand(3, 6)
    changed = rows.clone()
    changed[:, -2:] = 9.0
    assert torch.equal(goodness(rows), goodness(changed))
    torch.testing.assert_close(goodness(rows), rows[:, :4].square().mean(1))
    assert goodness.scale(6) == MeanOfSquares().scale(4)


def test_every_layer_reads_the_label() -> None:
    torch.manual_seed(0)
    model = ff.FFSequential(
        *LabelInEveryLayer()((11,), widths=(5, 4, 3), num_classes=3),
        goodness=WithoutLabel(3, MeanOfSquares()),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Concatenation(3),
        input_shape=(8,),
    )
    images = torch.rand(6, 8)
    outputs = [model.activations(images, torch.full((6,), label)) for label in range(3)]
    for index in range(3):
        for label in range(3):
            code = outputs[label][index][:, -3:]
            assert torch.equal(code, code[:1].expand(6, 3))
            assert int(code[0].argmax()) == label
    assert [layer.block.block[0].in_features for layer in model] == [11, 8, 7]
    ff.fit(model, (images, torch.arange(6) % 3), epochs=1, batch_size=3, progress=False)
    assert model.predict(images).shape == (6,)


def test_the_recipe_with_the_label_in_every_layer() -> None:
    recipe = recipes.get("selective").replace(widths=(12, 10))
    model = recipe.model((1, 4, 4), 3)
    recipe.fit(model, (torch.rand(12, 1, 4, 4), torch.arange(12) % 3), epochs=1, batch_size=6, progress=False)
    assert model.predict(torch.rand(4, 1, 4, 4)).shape == (4,)
    with pytest.raises(ValueError, match="num_classes must be below the"):
        recipe.replace(goodness=WithoutLabel(40, MeanOfSquares())).model((1, 4, 4), 3)
