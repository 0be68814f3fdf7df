"""Negatives: wrong labels, hybrid images and self-contrast."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import forwardforward as ff
from forwardforward.label_encoders import Overlay
from forwardforward.negatives import HardGoodness, HardLabel, HybridMask, LabelNegatives, RandomLabel, SelfContrast


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def counts(wrong, labels, classes):
    """How often each wrong label was drawn for each true one, (classes, classes)."""
    return torch.bincount(labels * classes + wrong, minlength=classes**2).view(classes, classes)


SAMPLERS = [RandomLabel(), HardLabel(), HardGoodness(), HardGoodness(temperature=0.1)]


@given(seed=st.integers(0, 2**16), classes=st.integers(2, 12), spread=st.sampled_from([0.0, 1.0, 50.0, 1e6]))
def test_a_wrong_label_is_never_the_true_one(seed, classes, spread):
    labels = torch.randint(classes, (40,), generator=generator(seed))
    scores = spread * torch.randn(40, classes, generator=generator(seed + 1))
    scores.scatter_add_(1, labels[:, None], torch.full((40, 1), spread))  # the true label scores well
    for sampler in SAMPLERS:
        wrong = sampler.wrong_labels(labels, classes, scores, generator(seed))
        assert wrong.shape == labels.shape
        assert ((wrong >= 0) & (wrong < classes) & (wrong != labels)).all(), sampler


def test_random_labels_are_uniform():
    classes, each = 5, 8000
    labels = torch.arange(classes).repeat(each)
    result = counts(RandomLabel().wrong_labels(labels, classes, None, generator()), labels, classes)
    expected = each / (classes - 1)
    for true in range(classes):
        others = [result[true, k].item() for k in range(classes) if k != true]
        chi_square = sum((n - expected) ** 2 / expected for n in others)
        assert chi_square < 16.3  # three degrees of freedom: one in a thousand lies above


@pytest.mark.parametrize("shift", [0.0, -1000.0, 1000.0])
def test_hard_labels_follow_the_heads_probabilities(shift):
    """The softmax of the head's logits, the true label taken out and the rest made to sum to one."""
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    count = 40_000
    labels = torch.full((count,), 3)
    scores = (logits + shift).expand(count, 4)
    result = counts(HardLabel().wrong_labels(labels, 4, scores, generator()), labels, 4)[3] / count
    expected = logits[:3].softmax(0)
    torch.testing.assert_close(result[:3], expected, atol=0.01, rtol=0)
    assert result[3] == 0


def test_hard_labels_may_be_given_as_log_probabilities():
    logits, labels = torch.randn(50, 6), torch.randint(6, (50,))
    drawn = [HardLabel().wrong_labels(labels, 6, s, generator()) for s in (logits, logits.log_softmax(1))]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("true", [0, 2])
def test_classes_of_probability_zero_are_never_drawn_as_long_as_another_wrong_class_remains(true):
    inf = float("inf")
    count, labels = 3000, torch.full((3000,), true)
    scores = torch.tensor([0.0, -inf, -1.0, -inf]).expand(count, 4)
    wrong = HardLabel().wrong_labels(labels, 4, scores, generator())
    assert wrong.unique().tolist() == [2 - true]
    certain = torch.full((count, 4), -inf).index_fill(1, torch.tensor([true]), 0.0)  # all wrong ones are impossible
    shares = counts(HardLabel().wrong_labels(labels, 4, certain, generator()), labels, 4)[true] / count
    expected = torch.full((4,), 1 / 3).index_fill(0, torch.tensor([true]), 0.0)
    torch.testing.assert_close(shares, expected, atol=0.03, rtol=0)


def test_hard_goodness_prefers_high_goodness():
    goodness = torch.tensor([100.0, 300.0, 200.0, 900.0])
    count = 20_000
    labels = torch.full((count,), 3)
    shares = {}
    for temperature in (0.1, 1.0, 100.0):
        sampler = HardGoodness(temperature)
        wrong = sampler.wrong_labels(labels, 4, goodness.expand(count, 4), generator())
        shares[temperature] = counts(wrong, labels, 4)[3] / count
        standard = (goodness - goodness.mean()) / goodness.std()
        expected = (standard[:3] / temperature).softmax(0)
        torch.testing.assert_close(shares[temperature][:3], expected, atol=0.015, rtol=0)
    assert shares[1.0][1] > shares[1.0][2] > shares[1.0][0]
    assert shares[0.1][1] > shares[1.0][1] > shares[100.0][1]


@given(seed=st.integers(0, 2**16), factor=st.floats(0.1, 1e4), shift=st.floats(-1e3, 1e3))
def test_hard_goodness_reads_goodness_in_any_unit(seed, factor, shift):
    goodness = torch.randn(20, 5, dtype=torch.float64, generator=generator(seed))
    labels = torch.randint(5, (20,), generator=generator(seed))
    plain = HardGoodness().wrong_labels(labels, 5, goodness, generator(seed))
    scaled = HardGoodness().wrong_labels(labels, 5, factor * goodness + shift, generator(seed))
    assert torch.equal(plain, scaled)


def test_equal_goodness_gives_uniform_labels():
    labels = torch.zeros(9000, dtype=torch.long)
    wrong = HardGoodness().wrong_labels(labels, 4, torch.full((9000, 4), 7.0), generator())
    result = counts(wrong, labels, 4)[0, 1:] / 9000
    torch.testing.assert_close(result, torch.full((3,), 1 / 3), atol=0.02, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_label_negatives_are_the_same_images_with_another_label(sampler):
    images, labels = torch.rand(6, 9), torch.tensor([0, 1, 2, 0, 1, 2])
    batch = sampler(images, labels, Overlay(3), torch.randn(6, 3), generator())
    assert batch.has_negatives
    assert torch.equal(batch.targets, labels)
    positive, negative = batch.inputs.joined().chunk(2)
    assert torch.equal(positive[:, :3].argmax(1), labels)
    assert (negative[:, :3].argmax(1) != labels).all()
    assert torch.equal(positive[:, 3:], images[:, 3:])
    assert torch.equal(negative[:, 3:], images[:, 3:])


@pytest.mark.parametrize("sampler", [*SAMPLERS, HybridMask(), SelfContrast()], ids=repr)
def test_the_same_generator_gives_the_same_batch(sampler):
    images, labels, scores = torch.rand(6, 9), torch.tensor([0, 1, 2, 0, 1, 2]), torch.randn(6, 3)
    inputs = [sampler(images, labels, Overlay(3), scores, generator(5)).inputs for _ in range(2)]
    first, second = (x if isinstance(x, torch.Tensor) else x.joined() for x in inputs)
    assert torch.equal(first, second)


@pytest.mark.parametrize("sampler", [HardLabel(), HardGoodness()], ids=repr)
def test_hard_negatives_need_scores(sampler):
    with pytest.raises(ValueError, match="^scores must be given"):
        sampler.wrong_labels(torch.tensor([0]), 3, None, None)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize(
    ("labels", "encoder"), [(None, Overlay(3)), (torch.tensor([0, 1]), None)], ids=["labels", "encoder"]
)
def test_label_negatives_need_labels_and_an_encoder(sampler, labels, encoder):
    with pytest.raises(ValueError, match="^(labels|label_encoder) must be given for .*, which combines images"):
        sampler(torch.rand(2, 9), labels, encoder, torch.randn(2, 3), None)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_any_integer_type_of_label(sampler, dtype):
    labels = torch.tensor([0, 1, 2, 2])
    scores = torch.randn(4, 3)
    result = sampler(torch.rand(4, 9), labels.to(dtype), Overlay(3), scores, generator()).inputs.joined()
    assert torch.equal(result[:4, :3].argmax(1), labels)
    assert (result[4:, :3].argmax(1) != labels).all()


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match="^temperature must be positive"):
        HardGoodness(temperature=0)
    with pytest.raises(ValueError, match="^blurs must be at least 0"):
        HybridMask(blurs=-1)


def test_repr():
    assert repr(RandomLabel()) == "RandomLabel()"
    assert repr(HardGoodness(2.0)) == "HardGoodness(temperature=2.0)"
    assert repr(HybridMask(6)) == "HybridMask(blurs=6)"


def test_an_own_sampler_is_a_few_lines():
    class Next(LabelNegatives):
        def wrong_labels(self, labels, num_classes, scores, generator):
            return (labels + 1) % num_classes

    batch = Next()(torch.rand(3, 5), torch.tensor([0, 1, 2]), Overlay(3), None, None)
    assert batch.inputs.joined()[3:, :3].argmax(1).tolist() == [1, 2, 0]


# Hybrid images


def numbered(batch, shape):
    """Images of a single value each, so that a pixel identifies its image."""
    return torch.arange(1.0, batch + 1).view(-1, *[1] * len(shape)).expand(batch, *shape)


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 8, 8), (3, 6, 10)], ids=str)
@pytest.mark.parametrize("batch", [2, 3, 16])
def test_hybrids_mix_two_different_images(shape, batch):
    images = numbered(batch, shape)
    made = HybridMask(blurs=1)(images, None, None, None, generator())
    assert made.has_negatives
    assert made.targets is None
    positive, negative = made.inputs.chunk(2)
    assert torch.equal(positive, images)
    partners = []
    for image, hybrid in zip(images, negative, strict=True):
        values = set(hybrid.unique().tolist())
        other = values - {image.flatten()[0].item()}
        assert len(values) == 2
        assert len(other) == 1
        partners += other
    assert len(set(partners)) == batch  # every image is the other half of exactly one hybrid
    if len(shape) == 3:  # all channels are cut alike
        assert (negative == negative[:, :1]).all()


@given(seed=st.integers(0, 2**16), batch=st.integers(2, 9))
def test_no_image_meets_itself(seed, batch):
    images = numbered(batch, (1, 6, 6))
    hybrid = HybridMask(blurs=0)(images, None, None, None, generator(seed)).inputs[batch:]
    for image, mixture in zip(images, hybrid, strict=True):
        assert mixture.unique().numel() == 2, image


def test_masks_are_half_and_half():
    masks = HybridMask().masks(400, 28, 28, torch.empty(0), generator())
    assert masks.shape == (400, 28, 28)
    assert masks.dtype == torch.bool
    assert masks.float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_masks_are_blurred_bits_cut_at_one_half():
    """Each blur weighs a pixel's neighbours 1/4, 1/2, 1/4 in both directions; at the edge what is left of them."""
    bits = torch.rand(3, 7, 9, generator=generator(4)).round()

    def blur(line):
        result = []
        for i, value in enumerate(line):
            near = [(0.5, value)] + [(0.25, line[j]) for j in (i - 1, i + 1) if 0 <= j < len(line)]
            result.append(sum(w * v for w, v in near) / sum(w for w, _ in near))
        return result

    for count, image in enumerate(bits):
        rows = image.tolist()
        for _ in range(3):
            rows = [blur(row) for row in rows]
            rows = [list(row) for row in zip(*[blur(list(c)) for c in zip(*rows, strict=True)], strict=True)]
        values = torch.tensor(rows)
        clear = (values - 0.5).abs() > 1e-5  # a tie may fall either way
        result = HybridMask(blurs=3).masks(3, 7, 9, torch.empty(0), generator(4))[count]
        assert clear.float().mean() > 0.9
        assert torch.equal((values > 0.5)[clear], result[clear])


def test_masks_are_smooth():
    """The more blurs, the larger the patches: the fewer neighbours differ."""
    edges = []
    for blurs in (0, 1, 4, 10):
        masks = HybridMask(blurs).masks(100, 28, 28, torch.empty(0), generator())
        edges.append((masks[:, 1:] != masks[:, :-1]).float().mean().item())
    assert edges[0] == pytest.approx(0.5, abs=0.02)
    assert edges == sorted(edges, reverse=True)
    assert edges[-1] < 0.15


def test_a_hybrid_needs_two_square_images():
    with pytest.raises(ValueError, match="^images must be at least two per batch for HybridMask"):
        HybridMask()(torch.rand(1, 1, 8, 8), None, None, None, None)
    with pytest.raises(ValueError, match="^images must be"):
        HybridMask()(torch.rand(4, 10), None, None, None, None)


def test_a_hybrid_keeps_the_labels():
    labels = torch.tensor([3, 1])
    assert HybridMask()(torch.rand(2, 9), labels, None, None, generator()).targets is labels


# Self-contrast


@given(seed=st.integers(0, 2**16), batch=st.integers(2, 9), shape=st.sampled_from([(4,), (2, 3, 3)]))
def test_an_image_with_itself_against_an_image_with_another(seed, batch, shape):
    """Every image is the other image of exactly one pair."""
    images = 10.0 ** torch.arange(batch).view(-1, *[1] * len(shape)).expand(batch, *shape).double()
    before = images.clone()
    made = SelfContrast()(images, None, None, None, generator(seed))
    assert made.has_negatives
    assert made.targets is None
    positive, negative = made.inputs.chunk(2)
    assert torch.equal(images, before)
    partners = []
    for i in range(batch):
        assert torch.equal(positive[i], images[i])
        others = [j for j in range(batch) if torch.equal(negative[i], (images[i] + images[j]) / 2)]
        assert len(others) == 1
        assert others != [i]
        partners += others
    assert sorted(partners) == list(range(batch))


def test_a_linear_layer_sees_a_contrasted_pair_as_two_inputs_of_shared_weights():
    images = torch.rand(4, 6, dtype=torch.float64)
    linear = torch.nn.Linear(6, 3, bias=False).double()
    made = SelfContrast()(images, None, None, None, generator())
    for i, other in enumerate(2 * made.inputs[4:] - images):
        torch.testing.assert_close(2 * linear(made.inputs[4 + i]), linear(images[i]) + linear(other))


def test_self_contrast_needs_two_images():
    with pytest.raises(ValueError, match="^images must be at least two per batch for SelfContrast, got 1"):
        SelfContrast()(torch.rand(1, 6), None, None, None, None)
    assert repr(SelfContrast()) == "SelfContrast()"


def test_self_contrast_trains_a_network_without_labels_in_its_input():
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFConv2d(1, 4, 3, pool=2),
        ff.FFConv2d(4, 6, 2),
        goodness=ff.goodness.MeanOfSquaresByPosition(),
        loss=ff.losses.TwoThreshold(1.0, 0.5),
        normalization=ff.normalization.BatchNorm(),
        negatives=SelfContrast(),
        head=ff.heads.LinearHead(3, pool=ff.pooling.SpatialPool(2)),
    )
    batch = torch.rand(12, 1, 8, 8), torch.arange(12) % 3
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.05)
    result = [model.step(batch, optimizer, generator=generator(0)) for _ in range(20)]
    for layer in range(2):
        assert result[-1].layers[layer].loss < result[0].layers[layer].loss
    assert result[-1].head.loss < result[0].head.loss
    assert model.predict(batch[0]).shape == (12,)
    model.step((batch[0], None), optimizer)  # no layer needs labels


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf, -torch.inf, 6e4, -6e4])
def test_no_score_makes_the_true_label_a_wrong_one(value, classes):
    labels = torch.randint(classes, (300,), generator=generator())
    is_true = nn.functional.one_hot(labels, classes).bool()
    first = torch.arange(classes).expand(300, classes) == 0
    for place in (is_true, first, ~is_true, torch.ones_like(is_true)):
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            scores = torch.randn(300, classes, generator=generator()).masked_fill(place, value).to(dtype)
            for sampler in (HardLabel(), HardGoodness(), HardGoodness(temperature=0.01)):
                wrong = sampler.wrong_labels(labels, classes, scores, generator())
                assert ((wrong >= 0) & (wrong < classes) & (wrong != labels)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_an_impossible_class_is_not_drawn_in_any_precision(dtype):
    labels = torch.randint(1, 4, (300,), generator=generator())
    scores = torch.randn(300, 4, generator=generator()).to(dtype)
    scores[:, 0] = -torch.inf
    assert (HardLabel().wrong_labels(labels, 4, scores, generator()) != 0).all()
