import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forwardforward.data import Splits, TensorData, split
from forwardforward.data.splits import stratified


def numbered(targets: list[int]) -> TensorData:
    return TensorData(torch.arange(len(targets), dtype=torch.float32)[:, None], torch.tensor(targets))


def numbers(data: TensorData) -> list[int]:
    return data.inputs.flatten().long().tolist()


@given(targets=st.lists(st.integers(0, 4), min_size=3, max_size=80), seed=st.integers(0, 99), cuts=st.data())
def test_split_is_an_exact_stratified_partition(targets, seed, cuts):
    n = len(targets)
    test_size = cuts.draw(st.integers(1, n - 2))
    validation_size = cuts.draw(st.integers(1, n - test_size - 1))
    sizes = (n - validation_size - test_size, validation_size, test_size)
    data = numbered(targets)
    train, validation, test = split(data, sizes, seed)

    assert (len(train), len(validation), len(test)) == sizes
    assert sorted(numbers(train) + numbers(validation) + numbers(test)) == list(range(n))
    for part in (train, validation, test):
        assert numbers(part) == sorted(numbers(part))
        assert part.num_classes == data.num_classes
    total, left, last = (
        torch.bincount(torch.tensor(labels), minlength=5)
        for labels in (targets, train.targets.tolist() + validation.targets.tolist(), test.targets.tolist())
    )
    assert (last - total * test_size / n).abs().max() < 1 + 1e-4
    middle = torch.bincount(validation.targets, minlength=5)
    assert (middle - left * validation_size / (n - test_size)).abs().max() < 1 + 1e-4


def test_split_depends_on_the_seed_alone():
    data = numbered([0, 1] * 50)
    torch.manual_seed(1)
    first = split(data, (0.6, 0.2, 0.2), seed=5)
    torch.manual_seed(2)
    second = split(data, (60, 20, 20), seed=5)
    assert [numbers(part) for part in first] == [numbers(part) for part in second]
    assert numbers(split(data, (60, 20, 20), seed=6)[2]) != numbers(first[2])


def test_split_stays_what_it_was():
    """Published figures hang on the fixed splits, so a change in torch must not pass unseen."""
    assert numbers(split(numbered([0, 1, 2] * 4), (6, 3, 3), seed=0)[2]) == [1, 6, 11]


def test_split_without_labels():
    a, b = split(TensorData(torch.arange(9.0)[:, None]), (6, 3), seed=0)
    assert sorted(numbers(a) + numbers(b)) == list(range(9))


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ((5, 4), ValueError, r"sizes must add up to the 10 samples, got \[5, 4\]"),
        ((0.5, 0.4), ValueError, r"sizes must add up to 1, got \[0.5, 0.4\]"),
        ((5, 0.5), TypeError, "sizes must be all integers or all fractions"),
        ((10, 0), ValueError, "sizes must leave at least one sample a part"),
        ((0.99, 0.01), ValueError, "sizes must leave at least one sample a part"),
        ((11, -1), ValueError, "sizes must leave at least one sample a part"),
        ((), ValueError, "sizes must add up"),
    ],
)
def test_bad_sizes_are_refused(sizes, error, message):
    with pytest.raises(error, match=message):
        split(numbered([0, 1] * 5), sizes, seed=0)


def test_train_and_validation_in_file_order():
    splits = stratified("mine", numbered([0, 1, 2] * 10), (18, 6, 6), seed=0)
    both = numbers(splits.train_and_validation)
    assert both == sorted(both)
    assert set(both) == set(range(30)) - set(numbers(splits.test))
    with_test = stratified("mine", numbered([0, 1, 2] * 10), (25, 5), seed=0, test=numbered([2, 1, 0]))
    assert numbers(with_test.train_and_validation) == list(range(30))
    assert numbers(with_test.test) == [0, 1, 2]


def test_file_order_defaults_to_train_then_validation():
    a, b = numbered([0, 1]), numbered([1])
    assert numbers(Splits("mine", a, b, a, 2, (1,)).train_and_validation) == [0, 1, 0]


def test_to_moves_all_parts():
    moved = stratified("mine", numbered([0, 1] * 5), (6, 2, 2), seed=0).to("meta")
    assert {part.inputs.device.type for part in (moved.train, moved.validation, moved.test)} == {"meta"}
    assert moved.train_and_validation.inputs.device.type == "meta"


def test_parts_that_do_not_fit_are_refused():
    a = numbered([0, 1])
    with pytest.raises(ValueError, match=r"test must have inputs of shape \(1,\), got \(2,\)"):
        Splits("mine", a, a, TensorData(torch.ones(1, 2)), 2, (1,))
    with pytest.raises(ValueError, match="validation must have at most 2 classes, got 3"):
        Splits("mine", a, numbered([2]), a, 2, (1,))
    with pytest.raises(ValueError, match="sizes must be 3 numbers, got 2"):
        stratified("mine", a, (1, 1), seed=0)


def coloured(seed: int = 0, dtype: torch.dtype = torch.float32) -> Splits:
    """Splits of images whose channels have scales and places of their own, other ones in each part."""
    generator = torch.Generator().manual_seed(seed)
    scale, place = torch.tensor([1.0, 20, 0.1]).view(3, 1, 1), torch.tensor([0.0, 500, -3]).view(3, 1, 1)
    parts = []
    for n, shift in ((30, 0), (9, 1), (6, 2)):
        images = torch.randn(n, 3, 5, 4, generator=generator) * scale + place + shift
        parts.append(TensorData(images.to(dtype), torch.arange(n) % 3))
    return Splits("mine", *parts, num_classes=3, input_shape=(3, 5, 4), file_order=torch.arange(39).flip(0))


def test_standardized_is_measured_on_the_training_part():
    splits = coloured()
    result = splits.standardized()
    for channel in range(3):
        pixels = [float(x) for x in splits.train.inputs[:, channel].flatten()]
        mean = sum(pixels) / len(pixels)
        deviation = (sum((x - mean) ** 2 for x in pixels) / len(pixels)) ** 0.5
        for before, after in (
            (splits.train, result.train),
            (splits.validation, result.validation),
            (splits.test, result.test),
        ):
            expected = (before.inputs[:, channel] - mean) / deviation
            torch.testing.assert_close(after.inputs[:, channel], expected, atol=1e-4, rtol=1e-4)
    std, mean = torch.std_mean(result.train.inputs, (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(3), atol=1e-5, rtol=0)
    again = result.standardized()
    torch.testing.assert_close(again.test.inputs, result.test.inputs, atol=1e-4, rtol=1e-4)


def test_standardized_keeps_all_but_the_inputs():
    splits = coloured()
    kept = splits.train.inputs.clone()
    result = splits.standardized()
    assert torch.equal(splits.train.inputs, kept)
    assert (result.name, result.num_classes, result.input_shape) == ("mine", 3, (3, 5, 4))
    assert torch.equal(result.file_order, splits.file_order)
    assert torch.equal(result.train_and_validation.targets, splits.train_and_validation.targets)
    assert torch.equal(result.test.targets, splits.test.targets)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_standardized_keeps_the_type(dtype):
    result = coloured(dtype=dtype).standardized()
    for part in (result.train, result.validation, result.test):
        assert part.inputs.dtype == dtype
    assert result.train.inputs.float().mean((0, 2, 3)).abs().max() < 1e-2


def test_standardized_only_shifts_constant_channels():
    train, test = torch.full((4, 2), 0.1), torch.full((1, 2), 0.6)
    train[:, 1] = torch.tensor([1.0, 1, 3, 3])
    splits = Splits("mine", TensorData(train), TensorData(test), TensorData(test), 2, (2,)).standardized()
    assert splits.train.inputs.tolist() == [[0, -1], [0, -1], [0, 1], [0, 1]]
    torch.testing.assert_close(splits.test.inputs, torch.tensor([[0.5, -1.4]]))
    assert splits.train.targets is None


def test_standardized_is_for_rows_too():
    splits = stratified("mine", TensorData(torch.rand(30, 7) * torch.arange(7), torch.arange(30) % 3), (18, 6, 6), 0)
    result = splits.standardized()
    assert result.train.inputs[:, 0].unique().tolist() == [0]
    torch.testing.assert_close(result.train.inputs.mean(0), torch.zeros(7), atol=1e-6, rtol=0)
    torch.testing.assert_close(result.train.inputs[:, 1:].std(0, correction=0), torch.ones(6))
    torch.testing.assert_close(result.train_and_validation.targets, splits.train_and_validation.targets)
