from dataclasses import replace

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
    with pytest.raises(ValueError, match="^seed must be"):
        split(data, (60, 20, 20), seed=-1)


def test_split_is_stable():
    """Published results depend on the fixed splits, so that a change in torch must be noticed."""
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
        ((10, 0), ValueError, "sizes must leave at least one sample per part"),
        ((0.99, 0.01), ValueError, "sizes must leave at least one sample per part"),
        ((11, -1), ValueError, "sizes must leave at least one sample per part"),
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


@pytest.mark.parametrize("order", [torch.tensor([0, 1, 1]), torch.zeros(3, dtype=torch.complex64), torch.arange(2)])
def test_a_file_order_that_is_none_is_refused(order):
    with pytest.raises(ValueError, match=r"^file_order must contain each of 0..2 once, got "):
        Splits("mine", numbered([0, 1]), numbered([1]), numbered([0]), 2, (1,), order)


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
    with pytest.raises(ValueError, match="sizes must have 3 elements, got 2"):
        stratified("mine", a, (1, 1), seed=0)


def named(labels: list[str], class_names: tuple[str, ...] | None = None) -> TensorData:
    return TensorData(torch.arange(len(labels), dtype=torch.float32)[:, None], labels, class_names=class_names)


def test_class_names_are_those_of_the_parts():
    data = named(["dog", "cat", "elk"] * 10)
    splits = stratified("mine", data, (18, 6, 6), seed=0)
    assert splits.class_names == ("cat", "dog", "elk")
    assert splits.train_and_validation.class_names == splits.to("meta").class_names == splits.class_names
    assert replace(splits, name="other").class_names == splits.class_names
    assert {part.class_names for part in split(data, (18, 6, 6), seed=0)} == {splits.class_names}
    with_test = stratified("mine", data, (25, 5), seed=0, test=named(["elk"], data.class_names))
    assert with_test.test.targets.tolist() == [2]
    assert "class_names=('cat', 'dog', 'elk')" in repr(splits)
    unnamed = stratified("mine", numbered([0, 1] * 5), (6, 2, 2), seed=0)
    assert unnamed.class_names is None
    assert "class_names" not in repr(unnamed)


def test_class_names_can_be_set_for_all_parts():
    a, b = numbered([0, 1]), numbered([1])
    splits = Splits("mine", a, b, a, 3, (1,), class_names=["x", "y", "z"])
    for part in (splits, splits.train, splits.validation, splits.test, splits.train_and_validation):
        assert part.class_names == ("x", "y", "z")
        assert part.num_classes == 3
    assert (a.class_names, a.num_classes) == (None, 2)  # the caller's data do not change
    assert replace(splits, train=b).train.class_names == ("x", "y", "z")


def test_class_names_that_differ_are_refused():
    a, b = named(["x", "y"]), numbered([0, 1])
    for parts, message in (
        ((a, b, a), r"validation must have the class names \('x', 'y'\), got None"),
        ((a, a, named(["x", "z"])), r"test must have the class names \('x', 'y'\), got \('x', 'z'\)"),
        ((b, b, a), r"test must have the class names None, got \('x', 'y'\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Splits("mine", *parts, 2, (1,))
    with pytest.raises(ValueError, match=r"train must have the class names \('y', 'x'\), got \('x', 'y'\)"):
        Splits("mine", a, a, a, 2, (1,), class_names=("y", "x"))
    with pytest.raises(ValueError, match="class_names must have one name for each of the 3 classes, got 2"):
        Splits("mine", a, a, a, 3, (1,))


@pytest.mark.parametrize("seeds", [(0, 7)])
def test_real_targets_are_split_at_random_and_evenly(seeds):
    values = torch.randn(1000, generator=torch.Generator().manual_seed(1))
    data = TensorData(torch.arange(1000.0)[:, None], values)
    first, second = (split(data, (0.8, 0.1, 0.1), seed) for seed in seeds)
    assert [len(part) for part in first] == [800, 100, 100]
    assert not torch.equal(first[2].targets, second[2].targets)
    for part in (*first, *second):
        assert abs(part.targets.mean() - values.mean()) < 0.05
    highest = int(values.argmax())
    tested = [highest in split(data, (0.8, 0.1, 0.1), seed)[2].inputs for seed in range(60)]
    assert 0 < sum(tested) < 30


def test_a_tiny_part_leaves_the_others_even():
    data = TensorData(torch.zeros(1000, 1), torch.arange(1000.0))
    means = torch.stack([split(data, (699, 300, 1), seed)[1].targets.mean() for seed in range(20)])
    assert (means - 499.5).abs().max() < 2


@pytest.mark.parametrize("targets", [torch.arange(10.0), torch.zeros(10), torch.tensor([1.0, 2.0]).repeat(5)], ids=str)
def test_few_or_equal_real_targets_are_split_exactly(targets):
    parts = split(TensorData(torch.arange(10.0)[:, None], targets), (0.6, 0.2, 0.2), seed=3)
    assert [len(part) for part in parts] == [6, 2, 2]
    assert torch.equal(torch.cat([part.inputs for part in parts]).flatten().sort().values, torch.arange(10.0))


def test_parts_with_few_of_many_classes_keep_their_number():
    data = TensorData(torch.rand(8000, 2), torch.arange(2000).repeat(4))
    assert data[:500].num_classes == 2000
    splits = stratified("faces", data, (0.8, 0.1, 0.1), 0)
    assert splits.num_classes == splits.test.num_classes == 2000
    assert TensorData.concatenate(data[:3], data[:5]).num_classes == 2000
    stray = TensorData(torch.rand(2, 2), torch.tensor([0, 5_000_000]))
    for sparse in (stray, stray[:1], TensorData.concatenate(stray, data), TensorData.concatenate(data, stray)):
        with pytest.raises(ValueError, match="num_classes is unknown: the targets have "):
            sparse.num_classes  # noqa: B018
