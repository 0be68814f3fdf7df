"""Small parts of the recipes with the smallest errors: schedules, crops, skip connections, heads beside goodness."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward.classifiers import SumOverLayers, WithHead
from forwardforward.data import Kornia, RandomCrop
from forwardforward.layers import SkipConnection
from forwardforward.losses import FallingTemperature
from forwardforward.lr_schedules import Cooldown
from forwardforward.recipes.architectures import DeeperForward, Dense, LocalVGG


def test_a_cooldown_may_begin_with_a_warmup() -> None:
    schedule = Cooldown(0.25, warmup=0.25)
    assert [schedule(t) for t in (0.0, 0.125, 0.25, 0.625, 1.0)] == [0.0, 0.5, 1.0, 0.5, 0.0]
    assert repr(schedule) == "Cooldown(0.25, warmup=0.25)"
    with pytest.raises(ValueError, match="warmup must be at most start, 0.1, got 0.2"):
        Cooldown(0.1, warmup=0.2)


def test_crops_reflect_at_the_border() -> None:
    images = torch.rand(50, 2, 5, 6)
    crops = RandomCrop(2, fill="reflect")(images, torch.Generator().manual_seed(0))
    padded = nn.functional.pad(images, [2] * 4, mode="reflect")
    windows = padded.unfold(2, 5, 1).unfold(3, 6, 1)  # (batch, channels, 5 shifts, 5 shifts, 5, 6)
    for crop, places in zip(crops, windows, strict=True):
        assert bool((places == crop[:, None, None]).all((0, 3, 4)).any())
    with pytest.raises(ValueError, match="padding must be below the images' height and width"):
        RandomCrop(5, fill="reflect")(images)


def test_maps_are_concatenated_class_by_class() -> None:
    x, earlier = torch.rand(2, 6, 3, 3), torch.rand(2, 3, 3, 3)
    joined = SkipConnection(1, concatenate=True, groups=3)(x, earlier)
    expected = [channel for k in range(3) for channel in (x[:, 2 * k], x[:, 2 * k + 1], earlier[:, k])]
    assert torch.equal(joined, torch.stack(expected, dim=1))
    with pytest.raises(ValueError, match="groups must divide the channels, 6 and 4, got 3"):
        SkipConnection(1, concatenate=True, groups=3)(x, torch.rand(2, 4, 3, 3))


def test_the_last_width_may_keep_its_size() -> None:
    strides = [
        [layer.block.stride[0] for layer in DeeperForward(keeps_last_size=keeps)((3, 8, 8), (10, 20, 40), 10)[1:]]
        for keeps in (False, True)
    ]
    assert strides == [[1] * 4 + [2, 1, 1, 1] * 2, [1] * 4 + [2, 1, 1, 1] + [1] * 4]


def test_goodness_and_head_are_averaged_as_probabilities() -> None:
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(6, 5),
        ff.FFLinear(5, 4),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        head=ff.heads.LinearHead(3),
        classifier=WithHead(SumOverLayers(slice(-1, None))),
    )
    images, labels = torch.rand(12, 6), torch.arange(12) % 3
    ff.fit(model, (images, labels), epochs=2, batch_size=4, progress=False)
    goodness, logits = model.layer_goodness(images)[:, -1], model.head_logits(images)
    expected = (goodness.softmax(1) + logits.softmax(1)) / 2
    torch.testing.assert_close(model.scores(images).exp(), expected)
    error = 100 * float((expected.argmax(1) != labels).float().mean())
    assert ff.evaluate(model, (images, labels)).error == pytest.approx(error)
    with pytest.raises(ValueError, match="head must be given for classifier=WithHead"):
        ff.FFSequential(
            ff.FFLinear(6, 5),
            goodness=ff.goodness.LearnedProjection(3),
            loss=ff.losses.CrossEntropy(),
            classifier=WithHead(),
        )


def test_layers_are_chosen_beside_a_head() -> None:
    classifier = WithHead()
    classifier.choose(torch.tensor([[[5.0, 0.0], [0.0, 1.0]]]), torch.tensor([1]))
    assert classifier.classifier.layers == slice(1, 2)


def test_the_temperature_falls_to_one_and_on() -> None:
    factors = [0.2 * FallingTemperature()(progress) for progress in (0.0, 0.025, 0.05, 0.525, 1.0)]
    assert factors == pytest.approx([0.8, 0.5, 0.2, 0.15, 0.1])
    assert [FallingTemperature(warmup=1.0)(progress) for progress in (0.0, 0.5, 1.0)] == [4.0, 2.5, 1.0]
    assert [FallingTemperature(warmup=0.0)(progress) for progress in (0.0, 1.0)] == [1.0, 0.5]


def test_dense_layers_drop_their_inputs_in_training_only() -> None:
    torch.manual_seed(0)
    layers = Dense(input_dropout=0.5, dropout=0.25)((1, 4, 4), (200, 10), 10)
    assert [layer.block[1].p for layer in layers] == [0.5, 0.25]
    x = torch.rand(3, 1, 4, 4)
    first = layers[0]
    assert not torch.equal(first(x), first(x))
    first.eval()
    weight, bias = first.block[2].weight, first.block[2].bias
    torch.testing.assert_close(first(x), nn.functional.linear(x.flatten(1), weight, bias).relu())
    assert repr(Dense(dropout=0.25)) == "Dense(dropout=0.25)"


def test_local_vgg_refuses_widths_and_images_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="widths must contain more than the 1 dense layers"):
        LocalVGG()((3, 8, 8), (10,), 10)
    with pytest.raises(ValueError, match="input_shape must be large enough for 2 pools"):
        LocalVGG(pools=(0, 1))((3, 3, 3), (10, 10, 10), 10)


def test_transforms_of_kornia_are_reproducible_and_differ_between_images() -> None:
    pytest.importorskip("kornia")
    augment = Kornia({"RandomResizedCrop": {"size": (8, 8), "scale": (0.4, 0.6)}, "RandomGrayscale": {"p": 0.5}})
    images = torch.rand(1, 3, 8, 8).expand(6, -1, -1, -1).clone()
    before = torch.random.get_rng_state()
    first = augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(first, augment(images, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, augment(images, torch.Generator().manual_seed(1)))
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.shape == images.shape
    assert len({tuple(image.flatten().tolist()) for image in first}) == 6
    for wrong in ({"RandomNothing": {}}, {"RandomGrayscale": {"q": 1}}):
        with pytest.raises(ValueError, match="transforms"):
            Kornia(wrong)(images)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["RandomMixUpV2", "RandomCutMixV2", "RandomMosaic", "RandomTransplantation"])
def test_transforms_that_mix_samples_are_refused(name: str) -> None:
    pytest.importorskip("kornia")
    with pytest.raises(ValueError, match=f"transforms must not mix images.*got '{name}': use ff.data.Mixup"):
        Kornia({name: {"p": 1.0}})(torch.rand(2, 3, 8, 8))


def test_kornia_is_named_with_its_extra_if_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kornia.augmentation", None)
    with pytest.raises(ImportError, match=r"needs kornia: pip install kornia$"):
        Kornia({"RandomGrayscale": {}})(torch.rand(2, 3, 8, 8))
