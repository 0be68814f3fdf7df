"""Whitened patches, and networks behind a preprocessing that changes the shape."""

from __future__ import annotations

import math

import pytest
import torch

import forwardforward as ff
from forwardforward.preprocessing import PatchWhitening

IMAGES = torch.rand(40, 3, 7, 6, generator=torch.Generator().manual_seed(0))


def patches_of(images: torch.Tensor, size: int) -> torch.Tensor:
    """Return all patches as rows, by loops."""
    rows = []
    for image in images:
        for top in range(image.shape[1] - size + 1):
            for left in range(image.shape[2] - size + 1):
                rows.append(image[:, top : top + size, left : left + size].flatten())
    return torch.stack(rows)


def signed(maps: torch.Tensor) -> torch.Tensor:
    """Return the whitened values from the maps of both signs."""
    positive, negative = maps.chunk(2, dim=1)
    return positive - negative


def test_whitened_patches_are_uncorrelated_with_variance_one() -> None:
    preprocessing = PatchWhitening(2, eps=1e-9).fit(IMAGES)
    rows = signed(preprocessing(IMAGES)).movedim(1, -1).flatten(0, 2).double()
    torch.testing.assert_close(rows.mean(0), torch.zeros(12, dtype=torch.float64), atol=1e-4, rtol=0)
    covariance = rows.T @ rows / len(rows)
    torch.testing.assert_close(covariance, torch.eye(12, dtype=torch.float64), atol=1e-3, rtol=0)


def test_filters_agree_with_the_formula() -> None:
    preprocessing = PatchWhitening(2, eps=0.1).fit(IMAGES)
    patches = patches_of(IMAGES, 2).double()
    values, vectors = torch.linalg.eigh(torch.cov(patches.T, correction=0))
    expected = (patches - patches.mean(0)) @ vectors / (values + 0.1 * values.mean()).sqrt()
    maps = preprocessing(IMAGES)
    assert maps.shape == (40, 24, 6, 5)
    assert bool((maps >= 0).all())
    actual = signed(maps).movedim(1, -1).flatten(0, 2).double()
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_batches_of_bytes_give_the_filters_of_one_tensor() -> None:
    images = (IMAGES * 255).byte()
    whole = PatchWhitening(3).fit(images)
    parts = PatchWhitening(3).fit(iter(images.split(7)))
    assert whole.filters is not None
    assert parts.filters is not None
    torch.testing.assert_close(whole.filters.abs(), parts.filters.abs(), atol=1e-3, rtol=1e-3)


def test_constant_images_give_finite_maps() -> None:
    preprocessing = PatchWhitening().fit(torch.full((3, 1, 4, 4), 0.5))
    assert bool(preprocessing(torch.rand(2, 1, 4, 4)).isfinite().all())


def network() -> ff.FFSequential:
    projection = ff.goodness.LearnedProjection(3, pool=ff.pooling.SpatialPool(2))
    return ff.FFSequential(
        ff.FFConv2d(24, 6, 3, padding=1),
        goodness=projection,
        loss=ff.losses.CrossEntropy(),
        preprocessing=PatchWhitening(),
    )


def test_a_network_is_set_up_for_the_maps_and_keeps_the_filters() -> None:
    model = network()
    with pytest.raises(RuntimeError, match="not known"):
        model.load_state_dict({})
    ff.fit(model, (IMAGES, torch.arange(40) % 3), epochs=1, batch_size=8, progress=False)
    assert model.input_shape == (3, 7, 6)
    assert model[0].input_shape == (24, 6, 5)
    assert bool(model.preprocessing.fitted)
    other = network()
    other.setup((3, 7, 6))
    with pytest.raises(ValueError, match="must be fitted"):
        other.predict(IMAGES)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.predict(IMAGES), model.predict(IMAGES))


@pytest.mark.parametrize("baseline", [ff.baselines.Backpropagation, ff.baselines.Pepita])
def test_baselines_accept_a_preprocessing_that_changes_the_shape(baseline: type[ff.baselines.Baseline]) -> None:
    block = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24 * 30, 5))
    layer = ff.FFLayer(block, activation=torch.nn.ReLU())
    model = baseline(layer, num_classes=3, preprocessing=PatchWhitening(), input_shape=(3, 7, 6))
    ff.fit(model, (IMAGES, torch.arange(40) % 3), epochs=1, progress=False)
    assert model.predict(IMAGES).shape == (40,)


def test_wrong_images_are_refused_by_name() -> None:
    preprocessing = PatchWhitening().fit(IMAGES)
    with pytest.raises(ValueError, match=r"images must have shape \(channels, height, width\) with 3 channels"):
        preprocessing(torch.rand(2, 1, 7, 6))
    with pytest.raises(ValueError, match="at least one sample"):
        PatchWhitening().fit([])
    with pytest.raises(ValueError, match="size must be at most the images' 4 x 4, got 5"):
        PatchWhitening(5).fit(torch.rand(2, 1, 4, 4))
    with pytest.raises(ValueError, match="patches"):
        PatchWhitening().setup((6,))


def test_replicas_behind_whitened_patches() -> None:
    model = ff.replicate(lambda: _set_up(network()), seeds=[0, 1])
    ff.fit(model, (IMAGES, torch.arange(40) % 3), epochs=1, batch_size=20, progress=False)
    assert math.isfinite(float(model.members[0][0].block.weight.detach().sum()))


def _set_up(model: ff.FFSequential) -> ff.FFSequential:
    model.setup((3, 7, 6))
    return model


@pytest.mark.parametrize("shape", [(3, 4), (0, 1, 4, 4), (3, 1, 0, 4), (3, 1, 4)])
def test_inputs_that_are_not_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^inputs must "):
        PatchWhitening().fit(torch.rand(shape))


def test_shapes_of_other_types_are_refused() -> None:
    for preprocessing in (PatchWhitening(), ff.preprocessing.Preprocessing()):
        with pytest.raises(TypeError, match="^input_shape must be a sequence of whole numbers, got 5$"):
            preprocessing.output_shape(5)  # type: ignore[arg-type]


def test_the_shape_of_an_image_that_is_too_small_is_that_of_the_raw_image() -> None:
    model = ff.recipes.get("whitened").replace(widths=(6, 8), views=None).model((3, 16, 16), 10)
    model.preprocessing.fit(torch.rand(20, 3, 16, 16))
    message = r"^images must have shape \(3, 16, 16\), as those of the setup, got \(3, 2, 2\)$"
    with pytest.raises(ValueError, match=message):
        model.predict(torch.rand(2, 3, 2, 2))
