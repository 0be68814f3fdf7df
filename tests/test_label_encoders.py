"""Label encoders: where the code goes, what it is, and what learns and is saved."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import forwardforward as ff
from forwardforward.label_encoders import (
    Border,
    Concatenation,
    LabelChannel,
    LabelEncoder,
    LearnedChannel,
    Overlay,
    RandomChannel,
    WaveChannel,
)
from forwardforward.update_schedules import Group


def images(batch=4, size=5, channels=1):
    return torch.rand(batch, channels, size, size)


@pytest.mark.parametrize("shape", [(4, 12), (4, 1, 3, 4), (4, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_overlay(shape, scale):
    x, labels = torch.rand(shape), torch.tensor([2, 0, 1, 2])
    joined = Overlay(3, scale)(x, labels).joined()
    for i, label in enumerate(labels.tolist()):
        expected = x[i].flatten().tolist()
        expected[:3] = [0.0] * 3
        expected[label] = scale
        assert joined[i].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_border(channels):
    """Each class lights its own pixels of the first channel's border; the inside is the image's."""
    x, labels = images(channels=channels), torch.tensor([0, 3, 6, 2])
    joined = Border(7, scale=2.0)(x, labels).joined().view(4, channels, 5, 5)
    edge = [(r, c) for r in range(5) for c in range(5) if r in (0, 4) or c in (0, 4)]
    each = len(edge) // 7
    assert each == 2
    for i, label in enumerate(labels.tolist()):
        expected = x[i].clone()
        for place, (row, column) in enumerate(edge):
            lit = place < each * 7 and place % 7 == label
            expected[0, row, column] = 2.0 if lit else 0.0
        torch.testing.assert_close(joined[i], expected)


def test_concatenation():
    x, labels = torch.rand(4, 2, 3), torch.tensor([1, 0, 2, 2])
    encoder = Concatenation(3, scale=0.5)
    joined = encoder(x, labels)
    assert joined.features == 9
    for i, label in enumerate(labels.tolist()):
        code = [0.5 if k == label else 0.0 for k in range(3)]
        assert joined.joined()[i].tolist() == pytest.approx(x[i].flatten().tolist() + code)


ENCODERS = [Overlay(4, scale=2.0), Border(4), Concatenation(4, scale=3.0)]
CHANNELS = [
    RandomChannel(4, 5),
    LearnedChannel(4, (5, 5), scale=2.0),
    WaveChannel(4, 5, scale=0.5),
    LabelChannel(torch.rand(4, 5, 5)),
    LabelChannel(torch.rand(4, 2, 5, 5), learned=True),
]
every = pytest.mark.parametrize("encoder", [*ENCODERS, *CHANNELS], ids=repr)


@every
def test_the_input_stays_as_it_was(encoder):
    x = images()
    before = x.clone()
    encoder(x, torch.tensor([0, 1, 2, 3])).joined()
    assert torch.equal(x, before)


@every
def test_several_labels_per_image_come_copy_by_copy(encoder):
    x, labels = images(), torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    both = encoder(x, labels)
    assert len(both) == 8
    expected = torch.cat([encoder(x, labels[0]).joined(), encoder(x, labels[1]).joined()])
    assert torch.equal(both.joined(), expected)
    assert torch.equal(encoder(x, labels.T.contiguous().T).joined(), expected)  # labels of any stride


@every
def test_candidates_are_the_images_with_every_label(encoder):
    x = images()
    expected = torch.cat([encoder(x, torch.full((4,), k)).joined() for k in range(4)])
    assert torch.equal(encoder.candidates(x).joined(), expected)
    some = encoder.candidates(x, torch.tensor([3, 1])).joined()
    assert torch.equal(some, torch.cat([expected[12:], expected[4:8]]))


@every
def test_the_neutral_label_is_the_mean_of_all(encoder):
    x = images()
    result = encoder.neutral(x)
    assert len(result) == 4
    torch.testing.assert_close(result.joined().flatten(1), encoder.candidates(x).joined().view(4, 4, -1).mean(0))


def test_the_neutral_overlay_is_a_share_in_each_pixel():
    """Hinton's 0.1 for ten classes."""
    assert Overlay(10).neutral(torch.rand(1, 20)).joined()[0, :10].tolist() == pytest.approx([0.1] * 10)


@given(seed=st.integers(0, 2**16))
def test_encoding_belongs_to_the_sample(seed):
    generator = torch.Generator().manual_seed(seed)
    x, labels = torch.rand(5, 1, 4, 4, generator=generator), torch.randint(4, (5,), generator=generator)
    order = torch.randperm(5, generator=generator)
    for encoder in ENCODERS:
        assert torch.equal(encoder(x[order], labels[order]).joined(), encoder(x, labels).joined()[order])
    x = torch.rand(5, 3, 5, 5, generator=generator)
    for encoder in CHANNELS:
        assert torch.equal(encoder(x[order], labels[order]).joined(), encoder(x, labels).joined()[order])


@every
def test_codes_follow_the_images_type(encoder):
    for dtype in (torch.float64, torch.bfloat16):
        joined = encoder(images().to(dtype), torch.tensor([0, 1, 2, 3])).joined()
        assert joined.dtype == dtype


@every
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_any_integer_type_of_label(encoder, dtype):
    x, labels = images(), torch.tensor([0, 1, 3, 2])
    assert torch.equal(encoder(x, labels.to(dtype)).joined(), encoder(x, labels).joined())


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_labels_of_another_type_are_refused(encoder, dtype):
    with pytest.raises(TypeError, match="^labels must be of an integer type"):
        encoder(images(), torch.zeros(4, dtype=dtype))


@every
@pytest.mark.parametrize("labels", [[0, 1, 2, 4], [-1, 0, 1, 2]], ids=str)
def test_labels_out_of_range_are_refused(encoder, labels):
    with pytest.raises(ValueError, match=r"^labels must be in 0\.\.3 for 4 classes"):
        encoder(images(), torch.tensor(labels))


@every
def test_labels_must_be_one_per_image(encoder):
    with pytest.raises(ValueError, match="^labels must be one per image, got 3 labels for 4 images"):
        encoder(images(), torch.tensor([0, 1, 2]))


def test_more_classes_than_pixels():
    with pytest.raises(ValueError, match="^num_classes must be at most the image's 4 pixels.*got 5"):
        Overlay(5)(torch.rand(1, 4), torch.tensor([0]))
    with pytest.raises(ValueError, match="^num_classes must be at most the border's 8 pixels, got 9"):
        Border(9)(images(size=3), torch.tensor([0, 1, 2, 3]))
    Overlay(4)(torch.rand(1, 4), torch.tensor([0]))
    Border(8)(images(size=3), torch.tensor([0, 1, 2, 3]))


def test_a_border_needs_images():
    with pytest.raises(ValueError, match=r"^images must be \(batch, channels, height, width\)"):
        Border(3)(torch.rand(2, 16), torch.tensor([0, 1]))


@pytest.mark.parametrize("kind", [Overlay, Border, Concatenation])
def test_one_class_only_has_no_wrong_label(kind):
    with pytest.raises(ValueError, match="^num_classes must be at least 2, got 1"):
        kind(1)
    with pytest.raises(ValueError, match="^scale must be positive, got 0"):
        kind(3, scale=0)


def test_fixed_codes_are_saved_and_not_learned():
    """Also those of the library's encoders, so that an own encoder's codes are saved without a further step."""
    for encoder in ENCODERS:
        state = encoder.state_dict()
        assert list(state) == ["codebook"]
        assert torch.equal(state["codebook"], torch.eye(4) * encoder.scale)
        assert not list(encoder.parameters())


def test_repr():
    assert repr(Overlay(10)) == "Overlay(num_classes=10)"
    assert repr(Border(10, scale=2.0)) == "Border(num_classes=10, scale=2.0)"


def test_an_own_encoder_is_a_few_lines():
    class LastRow(LabelEncoder):
        def place(self, images):
            rows = images.flatten(1).clone()
            columns = torch.arange(rows.shape[1] - self.num_classes, rows.shape[1])
            rows[:, columns] = 0
            return rows, columns, rows.shape[1]

    assert LastRow(2)(torch.ones(1, 4), torch.tensor([1])).joined().tolist() == [[1, 1, 0, 1]]


class Appended(LabelEncoder):
    """Codes of any length after the last pixel."""

    def place(self, images):
        rows, code = images.flatten(1), self.codebook.shape[1]
        width = rows.shape[1]
        return rows, torch.arange(width, width + code, device=rows.device), width + code


class Assigned(Appended):
    def __init__(self):
        super().__init__(3)
        self.codebook = torch.randn(3, 5)


class AssignedParameter(Appended):
    def __init__(self):
        super().__init__(3)
        self.codebook = nn.Parameter(torch.randn(3, 5))


class Passed(Appended):
    def __init__(self):
        super().__init__(3, codebook=torch.randn(3, 5))


class PassedParameter(Appended):
    def __init__(self):
        super().__init__(3, codebook=nn.Parameter(torch.randn(3, 5)))


def own_network(encoder):
    return ff.FFSequential(
        ff.FFLinear(11, 8),
        ff.FFLinear(8, 7),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=encoder,
    )


@pytest.mark.parametrize("make", [Assigned, AssignedParameter, Passed, PassedParameter])
def test_an_own_code_book_survives_save_and_load(make, tmp_path):
    model, other = own_network(make()), own_network(make())
    data = torch.rand(30, 6), torch.arange(30) % 3
    ff.fit(model, data, epochs=2, batch_size=10, checkpoint=tmp_path / "run.pt", progress=False)
    assert not torch.equal(other.label_encoder.codebook, model.label_encoder.codebook)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert torch.equal(other.label_encoder.codebook, model.label_encoder.codebook)
    assert torch.equal(other.layer_goodness(data[0]), model.layer_goodness(data[0]))
    third = own_network(make())
    ff.training.load_weights(tmp_path / "run.pt", third)
    assert torch.equal(third.layer_goodness(data[0]), model.layer_goodness(data[0]))


@pytest.mark.parametrize("make", [Assigned, AssignedParameter, Passed, PassedParameter])
def test_own_code_books_learn_if_they_are_parameters(make):
    model = own_network(make())
    learned = isinstance(model.label_encoder.codebook, nn.Parameter)
    assert ("label_encoder" in model.parameter_groups()) == learned
    before = model.label_encoder.codebook.detach().clone()
    model.step((torch.rand(6, 6), torch.arange(6) % 3), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert torch.equal(model.label_encoder.codebook.detach(), before) != learned


def test_an_own_code_book_follows_the_network_to_another_type():
    model = own_network(Assigned()).double()
    assert model.label_encoder.codebook.dtype == torch.float64
    assert model.predict(torch.rand(3, 6)).shape == (3,)


def test_tensors_that_would_not_be_saved_are_refused():
    class Plain(Appended):
        def __init__(self):
            super().__init__(3, codebook=torch.randn(3, 5))
            self.codes = torch.randn(3, 5)

    message = r"^label_encoder.codes is a plain tensor, .* call register_buffer\('codes', tensor\)"
    with pytest.raises(ValueError, match=message):
        own_network(Plain())


def test_a_code_book_has_one_code_per_class():
    with pytest.raises(ValueError, match="^codebook must have one code for each of the 3 classes, got shape"):
        Appended(3, codebook=torch.randn(4, 5))
    with pytest.raises(ValueError, match=r"^codebook must have one code for each of the 3 classes, got shape \(\)"):
        Appended(3, codebook=torch.tensor(1.0))


# Label channels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("encoder", CHANNELS, ids=repr)
def test_label_maps_follow_the_images_channels(encoder, channels):
    x, labels = images(channels=channels), torch.tensor([2, 0, 3, 2])
    result = encoder(x, labels)
    maps = encoder.codebook.shape[1]
    assert result.features == channels + maps
    joined = result.joined()
    assert joined.shape == (4, channels + maps, 5, 5)
    for i, label in enumerate(labels.tolist()):
        for channel in range(channels):
            assert torch.equal(joined[i, channel], x[i, channel])
        for channel in range(maps):
            assert torch.equal(joined[i, channels + channel], encoder.codebook[label, channel])


@pytest.mark.parametrize("size", [6, (6, 9)], ids=str)
@pytest.mark.parametrize("kind", [RandomChannel, LearnedChannel, WaveChannel])
def test_channels_have_the_size_of_the_images(kind, size):
    height, width = (size, size) if isinstance(size, int) else size
    encoder = kind(3, size)
    assert encoder.codebook.shape == (3, 1, height, width)
    assert encoder(torch.rand(2, 1, height, width), torch.tensor([0, 2])).joined().shape == (2, 2, height, width)


@pytest.mark.parametrize("kind", [RandomChannel, LearnedChannel])
def test_drawn_channels_come_from_the_seed(kind):
    def draw(seed, scale=1.0):
        torch.manual_seed(seed)
        return kind(5, 20, scale).codebook

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))
    torch.testing.assert_close(draw(3, 2.5), 2.5 * draw(3))
    drawn = draw(0)
    assert abs(drawn.mean().item()) < 0.1
    assert drawn.std().item() == pytest.approx(1, abs=0.05)


def test_channels_are_saved_and_only_learned_ones_learn():
    for encoder in CHANNELS:
        other = LabelChannel(torch.zeros_like(encoder.codebook))
        other.load_state_dict(encoder.state_dict())
        assert torch.equal(other.codebook, encoder.codebook)
        learned = isinstance(encoder, LearnedChannel) or encoder is CHANNELS[-1]
        assert [name for name, _ in encoder.named_parameters()] == (["codebook"] if learned else [])


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 1, 4, 5), (3, 2, 4, 5)], ids=str)
def test_given_images_are_the_maps(shape):
    maps = torch.rand(shape)
    before = maps.clone()
    encoder = LabelChannel(maps, scale=3.0)
    torch.testing.assert_close(encoder.codebook, 3 * before.reshape(3, -1, 4, 5))
    assert torch.equal(maps, before)
    assert encoder.num_classes == 3


@pytest.mark.parametrize(
    ("classes", "size"), [(10, (7, 7)), (7, (6, 9)), (4, (28, 3)), (3, (1, 9)), (14, (4, 6))], ids=str
)
def test_waves_follow_their_formula(classes, size):
    """Every map is a wave of the discrete Fourier transform; two classes share a vector, the shortest come first."""
    height, width = size
    scale = 1.5
    maps = WaveChannel(classes, size, scale).codebook[:, 0].double()
    lengths, vectors = [], []
    for k in range(classes):
        power = torch.fft.fft2(maps[k]).abs()
        v, u = divmod(int(power.flatten().argmax()), width)
        u, v = (u if u <= width // 2 else u - width), (v if v <= height // 2 else v - height)
        if (u, v) < (0, 1):  # a real wave has two, which point opposite ways
            u, v = -u, -v
        for y in range(height):
            for x in range(width):
                angle = 2 * math.pi * (u * x / width + v * y / height) + (k % 2) * math.pi / 2
                expected = scale * math.sqrt(2) * math.cos(angle)
                assert maps[k, y, x].item() == pytest.approx(expected, abs=1e-5)
        vectors.append((u, v))
        lengths.append(u * u + v * v)
    assert lengths == sorted(lengths)
    assert all(vectors[k] == vectors[k + 1] for k in range(0, classes - 1, 2))
    assert len(set(vectors)) == (classes + 1) // 2


@given(height=st.integers(1, 8), width=st.integers(1, 8), data=st.data())
def test_waves_are_orthogonal(height, width, data):
    """As many as an image has waves: all but the constant and, along even sides, those of half a pixel's length."""
    vectors = {
        (u, v) for u in range(width) for v in range(height) if (2 * u != width or not u) and (2 * v != height or not v)
    } - {(0, 0)}
    if len(vectors) < 2:
        return
    classes = data.draw(st.integers(2, len(vectors)))
    waves = WaveChannel(classes, (height, width)).codebook.flatten(1).double()
    torch.testing.assert_close(
        waves @ waves.T / (height * width), torch.eye(classes, dtype=torch.float64), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(waves.mean(1), torch.zeros(classes, dtype=torch.float64), rtol=0, atol=1e-6)
    with pytest.raises(
        ValueError, match=f"^num_classes must be at most {len(vectors)} for waves over {height}x{width}"
    ):
        WaveChannel(len(vectors) + 1, (height, width))


def test_a_learned_map_gets_the_gradients_of_the_samples_with_its_label():
    encoder = LearnedChannel(4, (2, 3)).double()
    x = torch.rand(5, 1, 2, 3, dtype=torch.float64)
    labels = torch.tensor([[0, 2, 2, 0, 2], [2, 0, 0, 2, 0]])
    joined = encoder(x, labels).joined()
    weights = torch.randn_like(joined)
    (joined * weights).sum().backward()
    for k in range(4):
        expected = torch.zeros(2, 3, dtype=torch.float64)
        for row, label in enumerate(labels.flatten().tolist()):
            if label == k:
                expected += weights[row, 1]
        torch.testing.assert_close(encoder.codebook.grad[k, 0], expected)


@pytest.mark.parametrize(
    ("groups", "reached"),
    [
        ([range(0, 1)], True),
        ([range(0, 1), range(1, 2), range(2, 3)], True),
        ([Group(range(0, 2), range(1, 2))], True),
        ([Group(range(0, 3), range(2, 3))], True),
        ([range(1, 2), range(2, 3)], False),
        ([Group(range(1, 3), range(2, 3))], False),
        ([], False),
    ],
    ids=str,
)
def test_errors_reach_learned_maps_in_the_first_layers_group_alone(groups, reached):
    model = ff.FFSequential(
        ff.FFConv2d(2, 4, 3, padding=1),
        ff.FFConv2d(4, 4, 3, padding=1),
        ff.FFConv2d(4, 4, 3, padding=1),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=LearnedChannel(4, 5),
        input_shape=(1, 5, 5),
    )
    assert list(model.parameter_groups()) == ["0", "1", "2", "label_encoder"]
    before = model.label_encoder.codebook.detach().clone()
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1, overrides={"label_encoder": {"lr": 1.0}})
    model.step((images(8), torch.arange(8) % 4), optimizer, groups=groups)
    gradient = model.label_encoder.codebook.grad
    assert (gradient is not None and bool(gradient.any())) == reached
    expected = before - gradient if reached else before
    torch.testing.assert_close(model.label_encoder.codebook.detach(), expected)


@pytest.mark.parametrize("schedule", [ff.update_schedules.Joint(), ff.update_schedules.Overlapping(2, None)], ids=repr)
@pytest.mark.parametrize("kind", [RandomChannel, WaveChannel])
def test_fixed_maps_stay_unchanged(kind, schedule):
    model = ff.FFSequential(
        ff.FFConv2d(2, 4, 3),
        ff.FFConv2d(4, 4, 3),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=kind(4, 5),
    )
    before = model.label_encoder.codebook.clone()
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    model.step((images(), torch.arange(4)), optimizer, groups=schedule(2, 0, 0, 1))
    assert torch.equal(model.label_encoder.codebook, before)
    assert list(model.parameter_groups()) == ["0", "1"]


@pytest.mark.parametrize(
    "shape", [(4, 1, 5, 6), (4, 1, 6, 5), (4, 1, 4, 4), (4, 5, 5), (4, 25), (4, 1, 1, 5, 5)], ids=str
)
@pytest.mark.parametrize("encoder", CHANNELS, ids=repr)
def test_images_of_another_size_are_refused(encoder, shape):
    with pytest.raises(ValueError, match=r"^images must be \(batch, channels, 5, 5\), as the label maps are, got \(4"):
        encoder(torch.rand(shape), torch.tensor([0, 1, 2, 3]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LabelChannel(torch.rand(3, 4)), r"^maps must be floats of shape .* got torch.float32 \(3, 4\)"),
        (lambda: LabelChannel(torch.ones(3, 4, 4).long()), r"^maps must be floats .* got torch.int64 \(3, 4, 4\)"),
        (lambda: LabelChannel(torch.rand(1, 4, 4)), "^num_classes must be at least 2, got 1"),
        (lambda: LabelChannel(torch.rand(3, 4, 4), scale=0), "^scale must be positive, got 0"),
        (lambda: RandomChannel(1, 4), "^num_classes must be at least 2, got 1"),
        (lambda: WaveChannel(1, 4), "^num_classes must be at least 2, got 1"),
        (lambda: WaveChannel(0, 4), "^num_classes must be at least 2, got 0"),
        (lambda: LearnedChannel(3, 4, scale=-1.0), "^scale must be positive, got -1.0"),
        (lambda: RandomChannel(3, 0), "^size must be at least 1, got 0"),
        (lambda: LearnedChannel(3, (4, 0)), r"^size\[1\] must be at least 1, got 0"),
        (lambda: WaveChannel(3, (0, 4)), r"^size\[0\] must be at least 1, got 0"),
    ],
)
def test_channels_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [RandomChannel, LearnedChannel, WaveChannel])
def test_a_negative_number_of_classes(kind):
    with pytest.raises(ValueError, match="^num_classes must be at least 2, got -3"):
        kind(-3, 8)


def test_repr_of_channels():
    assert repr(RandomChannel(10, 28)) == "RandomChannel(num_classes=10, 28x28)"
    assert repr(LearnedChannel(10, (5, 4), 2.0)) == "LearnedChannel(num_classes=10, scale=2.0, 5x4)"


def test_labels_are_not_joined_to_whole_numbers():
    with pytest.raises(TypeError, match=r"images must be of a floating type, got torch\.uint8"):
        Overlay(2, scale=0.5)(torch.zeros(1, 4, dtype=torch.uint8), torch.tensor([1]))


def test_labels_in_a_column_are_one_per_image():
    images, labels = torch.rand(3, 4), torch.tensor([1, 0, 1])
    encoder = Overlay(2)
    assert torch.equal(encoder.join(images, labels[:, None]).joined(), encoder.join(images, labels).joined())


def test_no_images_have_no_labels():
    labeled = Overlay(2)(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert labeled.joined().shape == (0, 4)
