"""Pretexts against plain loops over single images and patches."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

import forwardforward as ff
from forwardforward.data import Splits, TensorData
from forwardforward.data.pretexts import Flip, Jigsaw, Pretext, PretextData, Rotation

PRETEXTS = [Rotation(), Flip(), Jigsaw(2, 5), Jigsaw()]
each = pytest.mark.parametrize("pretext", PRETEXTS, ids=repr)


def images(count: int = 12, size: tuple[int, ...] = (2, 7, 7), seed: int = 0) -> TensorData:
    return TensorData(torch.rand(count, *size, generator=torch.Generator().manual_seed(seed)), torch.arange(count) % 3)


def rearranged(pretext: Pretext, image: torch.Tensor, index: int) -> torch.Tensor:
    """One image, pixel by pixel or patch by patch."""
    out = image.clone()
    channels, height, width = image.shape
    if isinstance(pretext, Jigsaw):
        rows, columns = height // pretext.grid, width // pretext.grid
        top, left = height % pretext.grid // 2, width % pretext.grid // 2
        for position, patch in enumerate(int(digit) for digit in pretext.class_names[index]):
            (i, j), (k, m) = divmod(position, pretext.grid), divmod(patch, pretext.grid)
            for row, column in itertools.product(range(rows), range(columns)):
                source = image[:, top + k * rows + row, left + m * columns + column]
                out[:, top + i * rows + row, left + j * columns + column] = source
        return out
    for c, i, j in itertools.product(range(channels), range(height), range(width)):
        if isinstance(pretext, Flip):
            out[c, i, j] = image[c, i, width - 1 - j if index else j]
        else:
            k, m = [(i, j), (j, width - 1 - i), (height - 1 - i, width - 1 - j), (height - 1 - j, i)][index]
            out[c, i, j] = image[c, k, m]
    return out


@each
def test_images_are_rearranged_as_in_a_loop(pretext: Pretext) -> None:
    data = images()
    classes = torch.arange(12) % pretext.num_classes
    found = pretext.transform(data.inputs, classes)
    for image, index, result in zip(data.inputs, classes.tolist(), found, strict=True):
        assert torch.equal(result, rearranged(pretext, image, index))


@each
def test_a_data_set_holds_every_image_once_with_equal_shares_of_the_classes(pretext: Pretext) -> None:
    plain = images(40)
    data = pretext(plain, seed=3)
    assert data.class_names == pretext.class_names
    counts = torch.bincount(data.targets, minlength=pretext.num_classes)
    assert counts.max() - counts.min() <= 1
    assert not torch.equal(data.targets, pretext(plain, seed=4).targets)
    found = torch.cat([x for x, _ in data.batches(7)])
    for image, index, result in zip(plain.inputs, data.targets.tolist(), found, strict=True):
        assert torch.equal(result, rearranged(pretext, image, index))


@each
def test_a_shuffled_epoch_draws_other_classes(pretext: Pretext) -> None:
    plain = images(60)
    data = pretext(plain)
    forms = torch.stack([pretext.transform(plain.inputs, torch.full((60,), k)) for k in range(pretext.num_classes)], 1)
    drawn = torch.full((8, 60), -1)
    for seed in range(8):
        for x, y in data.batches(7, torch.Generator().manual_seed(seed)):
            is_form = (forms[None] == x[:, None, None]).flatten(3).all(3)  # (batch, images, classes)
            found = is_form.nonzero()
            assert torch.equal(found[:, 0], torch.arange(len(x)))
            assert torch.equal(found[:, 2], y)
            drawn[seed, found[:, 1]] = y
    assert (drawn >= 0).all()  # every image once per epoch
    counts = torch.bincount(drawn.flatten(), minlength=pretext.num_classes)
    assert (counts > 0.6 * drawn.numel() / pretext.num_classes).all()
    assert (drawn != drawn[0]).any(0).float().mean() > 0.9


def test_a_resumed_epoch_draws_the_same_classes() -> None:
    data = Rotation()(images(30)).to("cpu", torch.float64)[torch.arange(25)]
    assert isinstance(data, PretextData)
    every = list(data.batches(4, torch.Generator().manual_seed(0)))
    rest = list(data.batches(4, torch.Generator().manual_seed(0), skip=2))
    for (x, y), (x2, y2) in zip(every[2:], rest, strict=True):
        assert x.dtype == torch.float64
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_permutations_are_as_distant_as_possible() -> None:
    every = list(itertools.permutations(range(4)))
    chosen = [every[0]]
    while len(chosen) < 7:
        distances = [min(sum(a != b for a, b in zip(p, other, strict=True)) for other in chosen) for p in every]
        chosen.append(every[distances.index(max(distances))])
    assert Jigsaw(2, 7).class_names == tuple("".join(map(str, p)) for p in chosen)
    names = Jigsaw().class_names
    assert names[0] == "012345678"
    assert len(names) == len(set(names)) == 10
    assert all(all(a != b for a, b in zip(p, q, strict=True)) for p, q in itertools.combinations(names[:9], 2))
    assert {*Jigsaw(2, 24).class_names} == {"".join(map(str, p)) for p in every}


def test_splits_of_a_pretext() -> None:
    parts = [images(count, seed=count) for count in (30, 8, 9)]
    splits = Rotation().splits(
        Splits("mine", *parts, num_classes=3, input_shape=(2, 7, 7), file_order=torch.arange(38).flip(0))
    )
    assert (splits.num_classes, splits.class_names) == (4, ("0", "90", "180", "270"))
    both = splits.train_and_validation
    assert isinstance(both, PretextData)
    assert torch.equal(both.inputs[0], splits.validation.inputs[-1])
    assert both.targets is not None
    assert torch.equal(both.targets[:8].flip(0), splits.validation.targets)


def test_a_network_learns_a_pretext_and_is_measured_on_the_fixed_classes(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    splits = Rotation().splits(ff.data.load("digits"))

    def train(epochs: int, **options: object) -> ff.FFSequential:
        torch.manual_seed(0)
        model = ff.FFSequential(
            ff.FFLinear(64, 60), goodness=ff.goodness.LearnedProjection(4), loss=ff.losses.CrossEntropy()
        )
        settings = {"epochs": epochs, "batch_size": 50, "progress": False, "checkpoint": tmp_path / "c.pt"}
        ff.fit(model, splits.train, **settings, **options)
        return model

    train(1)
    resumed = train(3, resume=True)
    (tmp_path / "c.pt").unlink()
    model = train(3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True))
    assert model.class_names == splits.class_names
    assert ff.evaluate(model, splits.test).accuracy > 40  # of 25 by chance


def test_members_of_replicas_draw_the_classes_of_separate_trainings() -> None:
    data = Rotation()(images(20, (1, 4, 4)))

    def make() -> ff.FFSequential:
        return ff.FFSequential(
            *(ff.FFLinear(16, 6), ff.FFLinear(6, 5)),
            goodness=ff.goodness.RandomProjection(4),
            loss=ff.losses.CrossEntropy(),
        ).double()

    options = {"epochs": 2, "batch_size": 8, "progress": False}
    replicas = ff.replicate(make, [3, 5])
    ff.fit(replicas, data, **options)
    for index, seed in enumerate((3, 5)):
        torch.manual_seed(seed)
        model = make()
        ff.fit(model, data, seed=seed, **options)
        for a, b in zip(model.parameters(), replicas.member(index).parameters(), strict=True):
            torch.testing.assert_close(a, b)


class Twice(Flip):
    def sources(self, height: int, width: int) -> torch.Tensor:
        return super().sources(height, width) // 2 * 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Rotation()(images(size=(1, 4, 5))), "height and width must be equal for Rotation, got 4 and 5"),
        (lambda: Jigsaw()(images(size=(1, 2, 9))), "height and width must be at least 3 for Jigsaw.*got 2 and 9"),
        (lambda: Jigsaw(2, 25), "permutations must be at most the 24 of a grid of 2, got 25"),
        (lambda: Jigsaw(4), "grid must be"),
        (lambda: Flip()(TensorData(torch.rand(3, 5))), r"images must have shape \(batch, channels.*got \(3, 5\)"),
        (lambda: Flip().transform(torch.rand(3, 5), torch.zeros(3).long()), "images must have shape"),
        (
            lambda: Flip().transform(torch.rand(3, 1, 2, 2), torch.zeros(2).long()),
            r"labels must be one per image, \(3,\)",
        ),
        (lambda: Flip().transform(torch.rand(1, 1, 2, 2), torch.tensor([2])), "labels must be in 0..1 for 2 classes"),
        (lambda: Twice()(images()), r"sources must contain each of the 49 pixels once per class, \(2, 49\), for Twice"),
    ],
)
def test_slips(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()


def test_pretext_data_and_plain_samples_are_not_concatenated():
    pretext = Rotation()(images(4))
    plain = TensorData(images(4).inputs, torch.tensor([1, 1, 1, 1]), class_names=pretext.class_names)
    for pair in ((pretext, plain), (plain, pretext)):
        with pytest.raises(TypeError, match="a and b must be of one type, got (PretextData|TensorData) and "):
            TensorData.concatenate(*pair)
    joined = TensorData.concatenate(pretext, Rotation()(images(4)))
    assert isinstance(joined, PretextData)
    squares = images(4, (2, 8, 8))
    with pytest.raises(ValueError, match=r"a and b must have the same class names"):
        TensorData.concatenate(Rotation()(squares), Jigsaw(2, 4)(squares))
