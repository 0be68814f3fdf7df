import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from forwardforward.data import TensorData


def numbered(n: int, num_classes: int = 3) -> TensorData:
    """Sample i has the value i, so that any order can be checked."""
    return TensorData(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n) % num_classes)


def test_attributes():
    data = TensorData(torch.rand(5, 1, 4, 4), torch.tensor([0, 3, 1, 1, 0]))
    assert len(data) == 5
    assert data.num_classes == 4
    assert data.input_shape == (1, 4, 4)
    assert repr(data) == "TensorData(inputs=float32[5, 1, 4, 4], targets=int64[5], num_classes=4)"
    assert TensorData(data.inputs, data.targets, num_classes=10).num_classes == 10


def test_a_floating_point_tensor_is_not_copied():
    inputs = torch.rand(3, 2, dtype=torch.float64)
    assert TensorData(inputs).inputs is inputs


def test_uint8_images_become_float32_between_0_and_1():
    for images in (torch.tensor([[0, 51, 255]], dtype=torch.uint8), np.array([[0, 51, 255]], dtype=np.uint8)):
        inputs = TensorData(images).inputs
        assert inputs.dtype == torch.float32
        torch.testing.assert_close(inputs, torch.tensor([[0, 0.2, 1]]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(3, 2),
        np.arange(6, dtype=">f4").reshape(3, 2),
        np.arange(5.0, -1, -1)[::-1].reshape(3, 2),
        np.broadcast_to(np.arange(2.0), (3, 2)),
    ],
    ids=["float64", "big-endian", "negative stride", "read-only"],
)
def test_numpy_floats_become_float32(array):
    data = TensorData(array, np.array([0, 1, 2], dtype=np.int16))
    assert data.inputs.dtype == torch.float32
    assert data.targets.dtype == torch.int64
    np.testing.assert_array_equal(data.inputs.numpy(), array)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integer_labels_become_int64(dtype):
    assert TensorData(np.zeros((2, 1)), np.array([0, 7], dtype=dtype)).targets.tolist() == [0, 7]


@pytest.mark.parametrize(
    ("inputs", "targets", "error", "message"),
    [
        (
            torch.zeros(0, 3),
            torch.zeros(0).long(),
            ValueError,
            r"inputs must not be empty, got shape \(0, 3\)",
        ),
        (torch.zeros(2, 3), torch.zeros(3).long(), ValueError, "each of the 2 inputs, got 3"),
        (torch.tensor([[0.0], [torch.nan]]), None, ValueError, "inputs must be finite.*sample 1"),
        (torch.tensor([[-torch.inf], [0.0]]), None, ValueError, "inputs must be finite.*sample 0"),
        (np.array([[1e300]]), None, ValueError, "inputs must be finite"),
        (torch.zeros(2), None, ValueError, r"inputs must have shape \(N, ...\).*got \(2,\)"),
        (torch.zeros(2, 3).long(), None, TypeError, "inputs must be floating-point or uint8.*got torch.int64"),
        ([[0.0]], None, TypeError, "inputs must be a tensor or an array, got"),
        (np.array([["a"]]), None, TypeError, "inputs must be an array of numbers, got <U1"),
        (torch.zeros(2, 3), torch.tensor([0, torch.nan]), ValueError, "targets must be finite, got NaN.*sample 1"),
        (torch.zeros(2, 3), torch.tensor([[0.0], [torch.inf]]), ValueError, "targets must be finite.*sample 1"),
        (torch.zeros(2, 3), torch.zeros(2, 1, 1), ValueError, r"targets must be 1-D.*got shape \(2, 1, 1\)"),
        (
            torch.zeros(2, 3),
            torch.tensor([[0, 2], [1, 0]]),
            ValueError,
            r"must be 0 and 1 if they are integers.*0\.\.2",
        ),
        (torch.zeros(2, 3), torch.zeros(2, 2).to(torch.complex64), TypeError, "targets must be .*got torch.complex64"),
        (torch.zeros(2, 3), [0.5, "a"], TypeError, "targets must be all strings or all integers, got 0.5"),
        (
            torch.zeros(2, 3),
            [[0.5, 1], [2.0]],
            TypeError,
            "targets must be numbers of one kind, or rows of equal length",
        ),
        (torch.zeros(2, 3), torch.zeros(2).bool(), TypeError, "targets must be integer.*got torch.bool"),
        (
            torch.zeros(2, 3),
            torch.tensor([0, -1]),
            ValueError,
            "targets must be class labels of at least 0, got -1",
        ),
        (torch.zeros(2, 3), torch.zeros(2, 1).long(), ValueError, r"targets must be 1-D.*got shape \(2, 1\)"),
        (
            torch.zeros(2, 3),
            torch.zeros(2, device="meta").long(),
            ValueError,
            "targets must be on .* cpu, got meta",
        ),
    ],
)
def test_bad_data_is_refused(inputs, targets, error, message):
    with pytest.raises(error, match=message):
        TensorData(inputs, targets)


def test_bad_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="targets must be below num_classes=2, got label 2"):
        TensorData(torch.zeros(3, 1), torch.arange(3), num_classes=2)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        TensorData(torch.zeros(3, 1), num_classes=0)


def test_targets_that_are_no_class_indices():
    inputs = torch.zeros(4, 2)
    values = TensorData(inputs, np.array([0.5, 1.5, 2.5, 3.5]))
    assert repr(values) == "TensorData(inputs=float32[4, 2], targets=float32[4], num_classes=None)"
    assert values[1:3].targets.tolist() == [1.5, 2.5]
    with pytest.raises(ValueError, match="num_classes is unknown: the targets are real numbers"):
        _ = values.num_classes
    with pytest.raises(ValueError, match="num_classes must be None for targets that are real numbers, got 3"):
        TensorData(inputs, [0.5, 1.5, 2.5, 3.5], num_classes=3)
    labels = torch.tensor([[True, False, True], [False] * 3, [True] * 3, [False] * 3])
    several = TensorData(inputs, labels, class_names=("a", "b", "c"))
    assert several.num_classes == 3
    assert [len(y) for _, y in several.batches(2, torch.Generator())] == [2, 2]
    assert torch.equal(TensorData(inputs, labels.long().tolist()).targets, labels.long())
    with pytest.raises(ValueError, match="targets must have num_classes=2 columns"):
        TensorData(inputs, labels, num_classes=2)
    joined = TensorData.concatenate(several, several)
    assert joined.targets.shape == (8, 3)
    with pytest.raises(ValueError, match="targets of the same shape and type"):
        TensorData.concatenate(values, TensorData(inputs, torch.zeros(4, 3)))


def test_unlabelled():
    data = TensorData(torch.rand(4, 2))
    assert data[1][1] is None
    assert data[:2].targets is None
    assert all(targets is None for _, targets in data.batches(3, torch.Generator()))
    assert repr(data) == "TensorData(inputs=float32[4, 2], targets=None, num_classes=None)"
    with pytest.raises(ValueError, match="num_classes is unknown"):
        _ = data.num_classes


def test_indexing():
    data = numbered(6)
    for index in (4, -2, np.int64(4), torch.tensor(4)):
        x, y = data[index]
        assert (x.tolist(), y.item()) == ([4.0], 1)
    mask = torch.zeros(6, dtype=torch.bool)
    mask[[1, 4]] = True
    for index in (slice(1, None, 3), torch.tensor([1, 4]), mask):
        part = data[index]
        assert isinstance(part, TensorData)
        assert (part.inputs.flatten().tolist(), part.targets.tolist()) == ([1, 4], [1, 1])
        assert part.num_classes == 3


def test_bad_indices_are_refused():
    data = numbered(6)
    with pytest.raises(IndexError):
        data[6]
    with pytest.raises(ValueError, match="index must select at least one sample, got none of 6"):
        data[6:]
    with pytest.raises(TypeError, match=r"index must be an integer.*got a str"):
        data["0"]
    with pytest.raises(TypeError, match=r"index must be a 1-D tensor, got shape \(1, 1\)"):
        data[torch.zeros(1, 1).long()]


def test_to():
    moved = numbered(3).to("meta")
    assert moved.inputs.device.type == moved.targets.device.type == "meta"
    assert moved.num_classes == 3
    assert TensorData(torch.zeros(1, 1)).to("cpu").targets is None
    assert numbered(3).to("cpu", torch.float64).inputs.dtype == torch.float64
    assert TensorData(torch.zeros(2, 3).long(), num_embeddings=4).to("cpu", torch.float64).inputs.dtype == torch.int32


@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), shuffle=st.booleans(), drop_last=st.booleans())
def test_batches_visit_each_sample_once(n, batch_size, shuffle, drop_last):
    data = numbered(n)
    generator = torch.Generator().manual_seed(0) if shuffle else None
    if drop_last and batch_size > n:
        with pytest.raises(ValueError, match="batch_size must be at most"):
            data.batches(batch_size, generator, drop_last)
        return
    batches = list(data.batches(batch_size, generator, drop_last))
    assert len(batches) == data.num_batches(batch_size, drop_last)
    seen = [int(x) for inputs, _ in batches for x in inputs]
    assert [int(y) for _, targets in batches for y in targets] == [i % 3 for i in seen]
    assert len(seen) == (n - n % batch_size if drop_last else n)
    assert len(set(seen)) == len(seen)
    if not shuffle:
        assert seen == sorted(seen)
    sizes = [len(inputs) for inputs, _ in batches]
    assert all(size == batch_size for size in sizes[: -1 if not drop_last else None])
    assert min(sizes) > 1 or 1 in (n, batch_size)
    assert max(sizes) <= batch_size + (n % batch_size == 1)


def test_a_last_batch_of_one_is_merged_into_the_previous_one():
    def sizes(n, batch_size, drop_last=False):
        return [len(inputs) for inputs, _ in numbered(n).batches(batch_size, None, drop_last)]

    assert sizes(7, 3) == [3, 4]
    assert sizes(4, 3) == [4]
    assert sizes(8, 3) == [3, 3, 2]
    assert sizes(7, 3, drop_last=True) == [3, 3]
    assert sizes(3, 1) == [1, 1, 1]
    assert sizes(1, 3) == [1]


def test_shuffling_is_the_permutation_of_the_generator():
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    batches = numbered(20).batches(6, torch.Generator().manual_seed(3))
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]).flatten().long(), order)


def test_batches_in_order_are_views():
    data = numbered(4)
    inputs, _ = next(data.batches(2))
    assert inputs.data_ptr() == data.inputs.data_ptr()


def test_bad_batch_size_is_refused_at_the_call():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        numbered(3).batches(0)


def test_concatenate():
    both = TensorData.concatenate(numbered(3), TensorData(torch.ones(1, 1), torch.tensor([1]), num_classes=7))
    assert both.inputs.flatten().tolist() == [0, 1, 2, 1]
    assert both.targets.tolist() == [0, 1, 2, 1]
    assert both.num_classes == 7
    unlabeled = TensorData(torch.ones(2, 1))
    assert TensorData.concatenate(unlabeled, unlabeled).targets is None
    with pytest.raises(ValueError, match="must both have targets or both have none"):
        TensorData.concatenate(numbered(3), unlabeled)
    with pytest.raises(ValueError, match=r"inputs of the same shape, got \(1,\) and \(2,\)"):
        TensorData.concatenate(unlabeled, TensorData(torch.ones(2, 2)))
    with pytest.raises(ValueError, match="inputs of the same type"):
        TensorData.concatenate(unlabeled, TensorData(torch.ones(2, 1).double()))


def test_works_in_a_data_loader():
    loader = DataLoader(numbered(5), batch_size=2)
    assert [(x.shape, y.tolist()) for x, y in loader] == [((2, 1), [0, 1]), ((2, 1), [2, 0]), ((1, 1), [1])]
    assert len(list(numbered(5))) == 5


# Embedding indices


def test_indices_become_int32():
    data = TensorData(torch.tensor([[0, 3]]), num_embeddings=4)
    assert data.inputs.dtype == torch.int32
    assert TensorData.concatenate(data, data).inputs.tolist() == [[0, 3]] * 2


@pytest.mark.parametrize(
    ("inputs", "num_embeddings", "error", "message"),
    [
        (torch.tensor([[0, 3]]), 3, ValueError, r"inputs must be embedding indices in 0\.\.2, got 0\.\.3"),
        (torch.tensor([[0, -1]]), 3, ValueError, r"in 0\.\.2, got -1\.\.0"),
        (torch.tensor([[0.5]]), 3, TypeError, "inputs must be integers if num_embeddings is set, got torch.float32"),
        (torch.tensor([[True]]), 3, TypeError, "inputs must be integers"),
        (torch.tensor([1]), 3, ValueError, "at least two dimensions"),
        (torch.zeros(0, 2).int(), 3, ValueError, "must not be empty"),
        (torch.tensor([[0, 2**33]]), 2**40, ValueError, r"num_embeddings must be in \[1, 2147483648\]"),
        (torch.tensor([[0, 2]]), 10.5, TypeError, "num_embeddings must be a whole number"),
        (torch.tensor([[0, 2]]), None, TypeError, "for embedding indices, such as word indices, set num_embeddings="),
    ],
)
def test_bad_indices_of_embeddings_are_refused(inputs, num_embeddings, error, message):
    with pytest.raises(error, match=message):
        TensorData(inputs, num_embeddings=num_embeddings)


# Class names

LABELS = ["dog", "cat", "élan", "dog"]


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        tuple(LABELS),
        np.array(LABELS),
        np.array(LABELS, dtype=object),
        np.array(LABELS)[::-1][::-1],
        np.array([label.encode() for label in LABELS]),
        list(np.array(LABELS)),
    ],
    ids=["list", "tuple", "U", "object", "strides", "S", "list of numpy strings"],
)
def test_string_labels_become_indices_of_sorted_names(labels):
    data = TensorData(torch.rand(4, 2), labels)
    assert data.class_names == ("cat", "dog", "élan")
    assert all(type(name) is str for name in data.class_names)
    assert (data.targets.dtype, data.targets.tolist()) == (torch.int64, [1, 0, 2, 1])
    assert data.num_classes == 3


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20))
def test_names_and_indices_give_the_labels_back(labels):
    data = TensorData(torch.zeros(len(labels), 1), labels)
    assert list(data.class_names) == sorted(set(labels))
    assert [data.class_names[index] for index in data.targets] == labels


def test_given_class_names():
    names = ("élan", "dog", "cat", "cow")
    data = TensorData(torch.rand(4, 2), LABELS, class_names=names)
    assert (data.class_names, data.num_classes, data.targets.tolist()) == (names, 4, [1, 2, 0, 1])
    data = TensorData(torch.rand(2, 2), np.array([3, 0]), class_names=np.array(names))
    assert (data.class_names, data.num_classes, data.targets.tolist()) == (names, 4, [3, 0])
    data = TensorData(torch.rand(2, 2), class_names=names)
    assert (data.class_names, data.num_classes, data.targets) == (names, 4, None)


def test_class_names_are_kept():
    data = TensorData(torch.rand(4, 2), LABELS)
    mask = torch.tensor([True, False, False, True])
    for derived in (
        data[1:],
        data[torch.tensor([3, 1])],
        data[mask],
        data.to("meta"),
        TensorData.concatenate(data, data),
    ):
        assert derived.class_names == ("cat", "dog", "élan")
        assert derived.num_classes == 3
    other = TensorData(torch.rand(2, 2), ["dog", "cat"])
    for a, b in ((data, other), (other, TensorData(torch.rand(2, 2), torch.tensor([0, 1])))):
        with pytest.raises(ValueError, match=r"a and b must have the same class names, got \('cat', 'dog'.* and"):
            TensorData.concatenate(a, b)


def test_repr_shows_class_names():
    data = TensorData(torch.rand(2, 2), ["b", "a"])
    assert repr(data) == "TensorData(inputs=float32[2, 2], targets=int64[2], num_classes=2, class_names=('a', 'b'))"
    many = TensorData(torch.rand(1, 1), class_names=[f"c{i}" for i in range(11)])
    assert repr(many).endswith("num_classes=11, class_names=('c0', 'c1', 'c2', ..., 'c10'))")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"targets": ["a"]}, ValueError, "targets must have one label for each of the 2 inputs, got 1"),
        ({"targets": []}, ValueError, "targets must have one label for each of the 2 inputs, got 0"),
        ({"targets": [0, 1.0]}, TypeError, "targets must be all integers or all real numbers, got 1.0 for sample 1"),
        ({"targets": "ab"}, TypeError, "targets must be a tensor, an array, a sequence, .*, got 'ab'"),
        ({"targets": ["a", 1]}, TypeError, "targets must be all strings or all integers, got 1 for sample 1"),
        ({"targets": [None, "a"]}, TypeError, "all strings or all integers, got None for sample 0"),
        ({"targets": np.array(["a", np.nan], dtype=object)}, TypeError, "got nan for sample 1"),
        ({"targets": np.array([0, 1], dtype=object)}, TypeError, "targets must be an array of numbers, got object"),
        ({"targets": ["a", ""]}, ValueError, "class names or integers, got an empty string for sample 1"),
        ({"targets": np.array([["a"], ["b"]])}, ValueError, r"targets must be 1-D.*got shape \(2, 1\)"),
        ({"targets": ["a", "b"], "num_classes": 3}, ValueError, "one name for each of the 3 classes, got 2"),
        (
            {"targets": ["a", "b"], "class_names": ("b", "c")},
            ValueError,
            r"targets must be among the class names \('b', 'c'\), got 'a'",
        ),
        ({"targets": torch.tensor([0, 2]), "class_names": ("b", "c")}, ValueError, "must be below num_classes=2, got"),
        ({"class_names": "bc"}, TypeError, "class_names must be a sequence of strings.*, got 'bc'"),
        ({"class_names": (0, 1)}, TypeError, r"class_names\[0\] must be a string, got 0"),
        ({"class_names": ()}, ValueError, r"class_names must not be empty, got \(\)"),
        ({"class_names": ("a", "")}, ValueError, r"class_names must not be empty, got \('a', ''\)"),
        ({"class_names": ("a", "b", "a")}, ValueError, "class_names must be distinct, got 'a' more than once"),
    ],
)
def test_bad_class_names_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        TensorData(torch.zeros(2, 3), **arguments)


class Labels(torch.utils.data.Dataset):
    """Labels without an end that iteration would notice."""

    def __init__(self, names=None):
        self.names = names

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return index % 2 if self.names is None else self.names[index % 2]


def test_a_data_set_of_labels_ends_at_its_length():
    data = TensorData(torch.rand(4, 2), Labels())
    assert data.targets.tolist() == [0, 1, 0, 1]
    named = TensorData(torch.rand(4, 2), Labels(("cat", "dog")))
    assert named.class_names == ("cat", "dog")
    assert named.targets.tolist() == [0, 1, 0, 1]


class Endless(torch.utils.data.IterableDataset):
    def __len__(self):
        return 3

    def __iter__(self):
        return iter([0, 1, 2])


def test_a_data_set_that_is_only_iterable_has_labels():
    assert TensorData(torch.rand(3, 2), Endless()).targets.tolist() == [0, 1, 2]


def test_a_number_of_classes_is_known_in_either_order():
    x, y = torch.rand(2, 2), torch.tensor([0, 4999])
    sparse, known = TensorData(x, y), TensorData(x, y, num_classes=5000)
    for pair in ((sparse, known), (known, sparse)):
        assert TensorData.concatenate(*pair).num_classes == 5000
