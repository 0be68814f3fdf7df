import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forwardforward.labels import Border, Concatenation, LabelEncoder, Overlay


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
every = pytest.mark.parametrize("encoder", ENCODERS, ids=repr)


@every
def test_the_input_stays_as_it_was(encoder):
    x = images()
    before = x.clone()
    encoder(x, torch.tensor([0, 1, 2, 3])).joined()
    assert torch.equal(x, before)


@every
def test_several_labels_an_image_come_copy_by_copy(encoder):
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
    found = encoder.neutral(x)
    assert len(found) == 4
    torch.testing.assert_close(found.joined(), encoder.candidates(x).joined().view(4, 4, -1).mean(0))


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
    with pytest.raises(ValueError, match=r"^labels must lie in 0\.\.3 for 4 classes"):
        encoder(images(), torch.tensor(labels))


@every
def test_labels_must_be_one_an_image(encoder):
    with pytest.raises(ValueError, match="^labels must be one an image, got 3 labels for 4 images"):
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


def test_encoders_hold_nothing_to_save():
    assert not Overlay(3).state_dict()


def test_repr():
    assert repr(Overlay(10)) == "Overlay(num_classes=10)"
    assert repr(Border(10, scale=2.0)) == "Border(num_classes=10, scale=2.0)"


def test_a_users_encoder_is_a_few_lines():
    class LastRow(LabelEncoder):
        def place(self, images):
            rows = images.flatten(1).clone()
            columns = torch.arange(rows.shape[1] - self.num_classes, rows.shape[1])
            rows[:, columns] = 0
            return rows, columns, rows.shape[1]

    assert LastRow(2)(torch.ones(1, 4), torch.tensor([1])).joined().tolist() == [[1, 1, 0, 1]]
