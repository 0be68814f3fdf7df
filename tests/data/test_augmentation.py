"""Augmentation against plain loops over single images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forwardforward.data import (
    Augmentation,
    Compose,
    Cutout,
    RandomCrop,
    RandomFlip,
    RandomRotation,
)

AUGMENTATIONS = [
    RandomCrop(2),
    RandomCrop(3, fill=0.5),
    RandomFlip(),
    RandomRotation(40),
    RandomCrop(3, fill="mean"),
    Cutout(3),
    Compose(RandomCrop(1), RandomFlip(), RandomRotation(10), Cutout(2)),
]
each = pytest.mark.parametrize("augment", AUGMENTATIONS, ids=repr)
sizes = st.tuples(*[st.integers(1, high) for high in (5, 3, 9, 9)])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(images, count, seed=0):
    return torch.rand(len(images), count, generator=seeded(seed)).tolist()


def crop(image, padding, fill, top, left):
    channels, height, width = image.shape
    out = torch.full_like(image, fill)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                row, column = i + top - padding, j + left - padding
                if 0 <= row < height and 0 <= column < width:
                    out[c, i, j] = image[c, row, column]
    return out


def rotate(image, angle):
    """Bilinear interpolation at the source of each pixel, in double precision."""
    channels, height, width = image.shape
    out = torch.zeros_like(image, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            u, v = j - (width - 1) / 2, i - (height - 1) / 2
            x = u * math.cos(angle) - v * math.sin(angle) + (width - 1) / 2
            y = u * math.sin(angle) + v * math.cos(angle) + (height - 1) / 2
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        weight = (1 - abs(y - row)) * (1 - abs(x - column))
                        for c in range(channels):
                            out[c, i, j] += weight * float(image[c, row, column])
    return out


def cut(image, size, row, column):
    out = image.clone()
    for i in range(row - size // 2, row - size // 2 + size):
        for j in range(column - size // 2, column - size // 2 + size):
            if 0 <= i < image.shape[1] and 0 <= j < image.shape[2]:
                out[:, i, j] = 0
    return out


@given(shape=sizes, padding=st.integers(0, 12), fill=st.sampled_from([0.0, 0.5, -2.0]), seed=st.integers(0, 99))
def test_crop_is_the_loop(shape, padding, fill, seed):
    images = torch.rand(shape)
    out = RandomCrop(padding, fill)(images, seeded(seed))
    for image, result, (top, left) in zip(images, out, draws(images, 2, seed), strict=True):
        shift = [int(draw * (2 * padding + 1)) for draw in (top, left)]
        assert torch.equal(result, crop(image, padding, fill, *shift))


@given(shape=sizes, padding=st.integers(0, 12), seed=st.integers(0, 99))
def test_a_crop_with_the_mean_is_the_loop_per_channel(shape, padding, seed):
    images = torch.rand(shape)
    out = RandomCrop(padding, fill="mean")(images, seeded(seed))
    for image, result, (top, left) in zip(images, out, draws(images, 2, seed), strict=True):
        shift = [int(draw * (2 * padding + 1)) for draw in (top, left)]
        expected = torch.cat([crop(channel[None], padding, float(channel.mean()), *shift) for channel in image])
        torch.testing.assert_close(result, expected)


@given(shape=sizes, seed=st.integers(0, 99))
def test_flip_is_the_loop(shape, seed):
    images = torch.rand(shape)
    out = RandomFlip(0.3)(images, seeded(seed))
    for image, result, (draw,) in zip(images, out, draws(images, 1, seed), strict=True):
        assert torch.equal(result, image.flip(2) if draw < 0.3 else image)


@given(shape=sizes, degrees=st.floats(0, 180), seed=st.integers(0, 99))
def test_rotation_is_the_loop(shape, degrees, seed):
    images = torch.rand(shape)
    out = RandomRotation(degrees)(images, seeded(seed))
    exact = RandomRotation(degrees)(images.double(), seeded(seed))
    for image, result, precise, (draw,) in zip(images, out, exact, draws(images, 1, seed), strict=True):
        # Rounding decides whether a position is beyond a border, but the pixel there then has almost no weight.
        expected = rotate(image, math.radians(degrees) * (2 * draw - 1))
        torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(precise, expected, atol=1e-9, rtol=0)


@given(shape=sizes, size=st.integers(1, 12), seed=st.integers(0, 99))
def test_cutout_is_the_loop(shape, size, seed):
    images = torch.rand(shape) + 1
    out = Cutout(size)(images, seeded(seed))
    for image, result, (row, column) in zip(images, out, draws(images, 2, seed), strict=True):
        assert torch.equal(result, cut(image, size, int(row * shape[2]), int(column * shape[3])))


def test_compose_is_one_after_the_other():
    images, generator = torch.rand(6, 3, 8, 8), seeded()
    expected = Cutout(3)(RandomCrop(2)(images, generator), generator)
    assert torch.equal(Compose(RandomCrop(2), Cutout(3))(images, seeded()), expected)
    assert torch.equal(Compose(lambda x, g: x + 1)(images), images + 1)
    assert torch.equal(Compose()(images), images)


@given(shape=sizes)
def test_identities(shape):
    images = torch.rand(shape)
    always = RandomFlip(1)
    assert torch.equal(RandomCrop(0)(images), images)
    assert torch.equal(always(images), images.flip(3))
    assert torch.equal(always(always(images)), images)
    assert torch.equal(RandomFlip(0)(images), images)
    torch.testing.assert_close(RandomRotation(0)(images), images, atol=1e-6, rtol=0)


@given(shape=sizes, seed=st.integers(0, 99))
@each
def test_values_stay_in_range(augment, shape, seed):
    out = augment(torch.rand(shape), seeded(seed))
    assert out.shape == shape
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6


@each
def test_one_image_does_not_depend_on_the_others(augment):
    images = torch.rand(8, 3, 9, 7)
    out = augment(images, seeded())
    for i in range(8):
        others = torch.randn(8, 3, 9, 7) * 100
        others[i] = images[i]
        assert torch.equal(augment(others, seeded())[i], out[i])


@pytest.mark.parametrize("augment", AUGMENTATIONS[:-1], ids=repr)
def test_the_first_images_do_not_depend_on_the_size_of_the_batch(augment):
    images = torch.rand(40, 3, 9, 7)
    assert torch.equal(augment(images, seeded())[:5], augment(images[:5], seeded()))


@each
def test_each_image_has_independent_random_numbers(augment):
    image = torch.rand(1, 3, 9, 9)
    kinds = augment(image.expand(200, -1, -1, -1), seeded()).flatten(1).unique(dim=0)
    assert len(kinds) >= (2 if isinstance(augment, RandomFlip) else 20)


@each
def test_the_generator_decides(augment):
    images = torch.rand(8, 3, 9, 9)
    before = images.clone()
    first = augment(images, seeded(3))
    torch.manual_seed(1)
    assert torch.equal(augment(images, seeded(3)), first)
    assert not torch.equal(augment(images, seeded(4)), first)
    torch.manual_seed(3)
    assert torch.equal(augment(images), first)
    assert torch.equal(images, before)


def test_positions_are_uniform():
    image = torch.arange(1.0, 26).view(1, 1, 5, 5)
    images = image.expand(50_000, -1, -1, -1)
    centers = RandomCrop(2)(images, seeded())[:, 0, 2, 2]
    assert (torch.bincount(centers.long(), minlength=26)[1:] / 2000 - 1).abs().max() < 0.1
    flipped = RandomFlip(0.25)(images, seeded())[:, 0, 0, 0] == 5
    assert abs(flipped.float().mean() - 0.25) < 0.01
    holes = (Cutout(1)(images, seeded()) == 0).float().mean((0, 1))
    assert (holes * 25 - 1).abs().max() < 0.1


def test_positive_angles_turn_counterclockwise():
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 2] = 1  # right of the center
    generator = seeded(0)
    (draw,) = torch.rand(1, generator=seeded(0)).tolist()
    turned = RandomRotation(180)(image, generator)[0, 0]
    angle = math.pi * (2 * draw - 1)
    row, column = divmod(int(turned.argmax()), 3)
    assert (column - 1, 1 - row) == (round(math.cos(angle)), round(math.sin(angle)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@each
def test_random_numbers_do_not_depend_on_the_type(augment, dtype):
    images = torch.rand(4, 3, 8, 8)
    out = augment(images.to(dtype), seeded())
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), augment(images, seeded()), atol=2e-2, rtol=0)


@each
def test_keeps_the_memory_format(augment):
    images = torch.rand(4, 3, 8, 8)
    out = augment(images.to(memory_format=torch.channels_last), seeded())
    assert out.is_contiguous(memory_format=torch.channels_last)
    expected = augment(images, seeded())
    assert expected.is_contiguous()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(augment(images.transpose(2, 3), seeded()), augment(images.mT.contiguous(), seeded()))


@each
def test_gradients_pass(augment):
    images = torch.rand(4, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: augment(x, seeded()), images)


@each
def test_an_empty_batch_stays_one(augment):
    assert augment(torch.rand(0, 3, 8, 8), seeded()).shape == (0, 3, 8, 8)


@each
def test_repr_is_the_constructor_call(augment):
    scope = {kind.__name__: kind for kind in (Compose, Cutout, RandomCrop, RandomFlip, RandomRotation)}
    assert repr(eval(repr(augment), scope)) == repr(augment)


def test_repr():
    assert repr(RandomCrop(np.int64(2))) == "RandomCrop(padding=2, fill=0.0)"
    assert repr(Compose(RandomFlip(), Cutout(8))) == "Compose(RandomFlip(p=0.5), Cutout(size=8))"


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: RandomCrop(-1), ValueError, "padding must be in .0, 4096., got -1"),
        (lambda: RandomCrop(1.5), TypeError, "padding must be a whole number, got 1.5"),
        (lambda: RandomCrop(2, math.nan), ValueError, "fill must be a finite number, got nan"),
        (lambda: RandomCrop(2, None), TypeError, "fill must be a number or 'mean' or 'reflect', got None"),
        (lambda: RandomCrop(2, "median"), ValueError, "fill must be a number or 'mean' or 'reflect', got 'median'"),
        (lambda: RandomFlip(1.1), ValueError, r"p must be in \[0, 1\], got 1.1"),
        (lambda: RandomFlip(math.nan), ValueError, "p must be a finite number, got nan"),
        (lambda: RandomRotation(-1), ValueError, r"degrees must be in \[0, 180\], got -1"),
        (lambda: RandomRotation(181), ValueError, r"degrees must be in \[0, 180\], got 181"),
        (lambda: Cutout(0), ValueError, "size must be at least 1, got 0"),
        (lambda: Cutout("8"), TypeError, "size must be a whole number, got '8'"),
        (lambda: Compose(RandomFlip(), 3), TypeError, r"augmentations\[1\] must be callable, got 3"),
    ],
)
def test_bad_arguments_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


@each
def test_bad_images_are_refused(augment):
    with pytest.raises(ValueError, match=r"images must have shape \(batch, .*\), got \(5, 784\)"):
        augment(torch.rand(5, 784), seeded())
    with pytest.raises(TypeError, match=r"images must be floating-point, got torch.uint8"):
        augment(torch.zeros(5, 1, 28, 28, dtype=torch.uint8), seeded())
    with pytest.raises(ValueError, match=r"generator must be on the images' device meta, got one on cpu"):
        augment(torch.rand(5, 1, 28, 28, device="meta"), seeded())


def test_base_class():
    with pytest.raises(NotImplementedError):
        Augmentation()(torch.rand(1, 1, 2, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@each
def test_on_a_gpu(augment):
    images = torch.rand(40, 3, 9, 7, device="cuda")
    generator = torch.Generator("cuda")
    out = augment(images, generator.manual_seed(0))
    assert out.device == images.device
    assert torch.equal(augment(images, generator.manual_seed(0)), out)
    others = torch.cat((images[:3], torch.randn_like(images[3:])))
    assert torch.equal(augment(others, generator.manual_seed(0))[:3], out[:3])
