"""Mixup and cutmix against plain loops over single images."""

import pytest
import torch

from forwardforward.data import Augmentation, Compose, CutMix, Mixup, RandomFlip
from forwardforward.data.mixing import _beta

IMAGES = torch.rand(7, 2, 5, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.eye(7)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(alpha: float) -> tuple[list[int], list[float], torch.Generator]:
    generator = seeded()
    partner = torch.randperm(7, generator=generator).tolist()
    return partner, _beta(7, alpha, torch.device("cpu"), generator).tolist(), generator


def test_mixup() -> None:
    images, targets = Mixup(0.7).mix(IMAGES, TARGETS, seeded())
    partner, share, _ = draws(0.7)
    for i in range(7):
        expected = share[i] * IMAGES[i] + (1 - share[i]) * IMAGES[partner[i]]
        torch.testing.assert_close(images[i], expected)
        torch.testing.assert_close(targets[i], share[i] * TARGETS[i] + (1 - share[i]) * TARGETS[partner[i]])


def test_cutmix() -> None:
    images, targets = CutMix().mix(IMAGES, TARGETS, seeded())
    partner, share, generator = draws(1.0)
    center = torch.rand(7, 2, generator=generator).tolist()
    for i in range(7):
        side = (1 - share[i]) ** 0.5
        spans = []
        for position, size in zip(center[i], (5, 6), strict=True):
            length = round(side * size)
            first = int(position * size) - length // 2
            spans.append(range(max(0, first), min(size, first + length)))
        expected = IMAGES[i].clone()
        for row in spans[0]:
            for column in spans[1]:
                expected[:, row, column] = IMAGES[partner[i]][:, row, column]
        assert torch.equal(images[i], expected)
        remaining = 1 - len(spans[0]) * len(spans[1]) / 30
        torch.testing.assert_close(targets[i], remaining * TARGETS[i] + (1 - remaining) * TARGETS[partner[i]])


def test_shares_follow_the_beta_distribution_also_for_extreme_parameters() -> None:
    for alpha in (1e-4, 0.2, 1.0, 1e4):
        shares = _beta(4000, alpha, torch.device("cpu"), seeded())
        assert bool(((shares >= 0) & (shares <= 1)).all())
        assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
        assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)


def test_a_composition_mixes_targets_in_order() -> None:
    both = Compose(RandomFlip(), Mixup(0.5))
    assert both.mixes_targets
    assert not Compose(RandomFlip()).mixes_targets
    generator = seeded()
    images, targets = Mixup(0.5).mix(RandomFlip()(IMAGES, generator), TARGETS, generator)
    composed = both.mix(IMAGES, TARGETS, seeded())
    assert torch.equal(composed[0], images)
    assert torch.equal(composed[1], targets)
    assert torch.equal(Compose(lambda x, g: 2 * x).mix(IMAGES, TARGETS)[0], 2 * IMAGES)
    with pytest.raises(TypeError, match=r"mixes targets too: call mix\(images, targets, generator\)"):
        both(IMAGES, seeded())


@pytest.mark.parametrize(
    ("images", "targets", "error", "message"),
    [
        (IMAGES, torch.arange(7), TypeError, "targets must be a floating-point tensor .*, got a tensor of torch.int64"),
        (IMAGES.long(), TARGETS, TypeError, "images must be a floating-point tensor .*, got a tensor of torch.int64"),
        (IMAGES, TARGETS[:5], ValueError, "targets must be one per image, got 5 for 7 images"),
    ],
)
def test_images_and_targets_of_other_forms_are_refused(images, targets, error, message) -> None:
    with pytest.raises(error, match=message):
        Mixup().mix(images, targets)


def test_cutmix_needs_images() -> None:
    with pytest.raises(ValueError, match=r"images must have shape \(batch, channels, height, width\), got \(7, 60\)"):
        CutMix().mix(IMAGES.flatten(1), TARGETS)
    assert CutMix().mix(IMAGES[:0], TARGETS[:0])[0].shape == (0, 2, 5, 6)


@pytest.mark.parametrize("augment", [RandomFlip(), Compose(RandomFlip()), Mixup()], ids=repr)
def test_targets_of_another_type_or_number_are_refused_also_where_they_are_not_mixed(augment: Augmentation) -> None:
    images = torch.rand(4, 1, 6, 6)
    with pytest.raises(TypeError, match="^targets must be a tensor, got 'classes'$"):
        augment.mix(images, "classes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^targets must be a floating-point tensor"):
        augment.mix(images, torch.arange(4))
    with pytest.raises(ValueError, match="^targets must be one per image, got 3 for 4 images$"):
        augment.mix(images, torch.rand(3, 2))


def test_parameters_of_the_beta_distribution_are_bounded() -> None:
    for kind in (Mixup, CutMix):
        assert kind(1e6).mix(torch.rand(4, 1, 6, 6), torch.eye(4))[0].isfinite().all()
        with pytest.raises(ValueError, match=r"^alpha must be in \[1e-06, 1000000.0\], got 1e\+308$"):
            kind(1e308)


@pytest.mark.parametrize("alpha", [1e-6, 1e-3])
def test_shares_of_a_small_alpha_are_finite(alpha):
    images, targets = Mixup(alpha).mix(torch.rand(50, 1, 6, 6), torch.eye(50))
    assert images.isfinite().all()
    torch.testing.assert_close(targets.sum(1), torch.ones(50))
    with pytest.raises(ValueError, match=r"^alpha must be in \[1e-06, 1000000.0\], got 1e-40$"):
        Mixup(1e-40)
