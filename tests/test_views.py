"""Test-time averaging over views."""

from __future__ import annotations

import pytest
import torch

import forwardforward as ff
from forwardforward.views import Mirror

IMAGES = torch.rand(9, 2, 5, 6, generator=torch.Generator().manual_seed(0))


def conv_model(**options: object) -> ff.FFSequential:
    torch.manual_seed(0)
    return ff.FFSequential(
        ff.FFConv2d(2, 6, 3, padding=1),
        ff.FFConv2d(6, 6, 3, padding=1),
        goodness=ff.goodness.LearnedProjection(3, pool=ff.pooling.SpatialPool(2)),
        loss=ff.losses.CrossEntropy(),
        input_shape=(2, 5, 6),
        **options,  # type: ignore[arg-type]
    )


def test_views_are_the_image_and_its_mirror_image() -> None:
    plain, mirrored = Mirror()(IMAGES)
    assert torch.equal(plain, IMAGES)
    for column in range(6):
        assert torch.equal(mirrored[..., column], IMAGES[..., 5 - column])


def test_moved_views_reflect_at_the_border() -> None:
    views = Mirror(shift=2)(IMAGES)
    padded = torch.nn.functional.pad(IMAGES, [2] * 4, mode="reflect")
    assert len(views) == 6
    assert torch.equal(views[2], padded[:, :, 4:, 4:])  # moved by -2: shows what is 2 pixels below and to the right
    assert torch.equal(views[4], padded[:, :, :5, :6])
    assert torch.equal(views[5], views[4].flip(3))
    assert torch.equal(Mirror(shift=1)((IMAGES * 255).byte())[3].float(), Mirror(1)((IMAGES * 255).byte().float())[3])


def test_goodness_and_scores_are_means_over_the_views() -> None:
    plain, averaged = conv_model(), conv_model(views=Mirror())
    expected = (plain.layer_goodness(IMAGES) + plain.layer_goodness(IMAGES.flip(3))) / 2
    torch.testing.assert_close(averaged.layer_goodness(IMAGES), expected)
    torch.testing.assert_close(averaged.scores(IMAGES), expected.sum(1))
    labels = torch.arange(9) % 3
    torch.testing.assert_close(averaged.goodness(IMAGES, labels), expected[torch.arange(9), :, labels])


def test_training_and_features_see_the_image_alone() -> None:
    plain, averaged = conv_model(), conv_model(views=Mirror())
    assert torch.equal(plain(IMAGES), averaged(IMAGES))
    for model in (plain, averaged):
        ff.fit(model, (IMAGES, torch.arange(9) % 3), epochs=1, batch_size=3, progress=False)
    for a, b in zip(plain.parameters(), averaged.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_baseline_averages_its_logits() -> None:
    layer = ff.FFConv2d(2, 4, 3, padding=1)
    model = ff.baselines.Backpropagation(layer, num_classes=3, input_shape=(2, 5, 6), views=Mirror())
    model.eval()
    with torch.no_grad():
        expected = (model(IMAGES) + model(IMAGES.flip(3))) / 2
    torch.testing.assert_close(model.scores(IMAGES), expected)


def test_views_of_another_shape_or_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="views must return a list of batches of the images' shape"):
        conv_model(views=lambda images: [images[:, :, :3]]).scores(IMAGES)
    with pytest.raises(TypeError, match="views must return a list"):
        conv_model(views=lambda images: images).scores(IMAGES)
    with pytest.raises(ValueError, match="images must be"):
        Mirror()(torch.rand(3, 8))
    with pytest.raises(ValueError, match="shift must be below"):
        Mirror(shift=5)(IMAGES)


def test_replicas_refuse_views() -> None:
    with pytest.raises(ValueError, match="views"):
        ff.replicate(lambda: conv_model(views=Mirror()), seeds=[0, 1])


def test_arguments_of_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="^images must be a tensor, got "):
        Mirror()((IMAGES, IMAGES))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^function must return a tensor, got None$"):
        ff.views.mean_over_views(Mirror(), IMAGES, lambda images: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="^function must be callable, got 3$"):
        ff.views.mean_over_views(Mirror(), IMAGES, 3)  # type: ignore[arg-type]
