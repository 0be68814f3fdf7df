import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from forwardforward.data import TensorData


def numbered(n: int, num_classes: int = 3) -> TensorData:
    """Sample i holds the number i, so that any order can be read off."""
    return TensorData(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n) % num_classes)


def test_attributes():
    data = TensorData(torch.rand(5, 1, 4, 4), torch.tensor([0, 3, 1, 1, 0]))
    assert len(data) == 5
    assert data.num_classes == 4
    assert data.input_shape == (1, 4, 4)
    assert repr(data) == "TensorData(inputs=float32[5, 1, 4, 4], targets=int64[5], num_classes=4)"
    assert TensorData(data.inputs, data.targets, num_classes=10).num_classes == 10


def test_a_floating_tensor_is_taken_as_it_is():
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
        (torch.zeros(2, 3).long(), None, TypeError, "inputs must be floating or uint8.*got torch.int64"),
        ([[0.0]], None, TypeError, "inputs must be a tensor or a numpy array, got list"),
        (np.array([["a"]]), None, TypeError, "inputs must be an array of numbers, got <U1"),
        (torch.zeros(2, 3), torch.zeros(2), TypeError, "targets must be integer.*got torch.float32"),
        (torch.zeros(2, 3), np.zeros(2), TypeError, "targets must be integer.*got torch.float64"),
        (torch.zeros(2, 3), torch.zeros(2).bool(), TypeError, "targets must be integer.*got torch.bool"),
        (
            torch.zeros(2, 3),
            torch.tensor([0, -1]),
            ValueError,
            "targets must be class labels from 0 up, got -1",
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
    with pytest.raises(ValueError, match="labels out of range, must be below num_classes=2, got 2"):
        TensorData(torch.zeros(3, 1), torch.arange(3), num_classes=2)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        TensorData(torch.zeros(3, 1), num_classes=0)


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
    with pytest.raises(ValueError, match="at least one sample, got none of 6"):
        data[6:]
    with pytest.raises(TypeError, match=r"index must be an integer.*got a str"):
        data["0"]
    with pytest.raises(TypeError, match=r"index must be 1-D as a tensor, got shape \(1, 1\)"):
        data[torch.zeros(1, 1).long()]


def test_to():
    moved = numbered(3).to("meta")
    assert moved.inputs.device.type == moved.targets.device.type == "meta"
    assert moved.num_classes == 3
    assert TensorData(torch.zeros(1, 1)).to("cpu").targets is None
    assert numbered(3).to("cpu", torch.float64).inputs.dtype == torch.float64
    assert TensorData(torch.zeros(2, 3).long(), entries=4).to("cpu", torch.float64).inputs.dtype == torch.int32


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


def test_a_last_batch_of_one_joins_the_batch_before():
    def sizes(n, batch_size, drop_last=False):
        return [len(inputs) for inputs, _ in numbered(n).batches(batch_size, None, drop_last)]

    assert sizes(7, 3) == [3, 4]
    assert sizes(4, 3) == [4]
    assert sizes(8, 3) == [3, 3, 2]
    assert sizes(7, 3, drop_last=True) == [3, 3]
    assert sizes(3, 1) == [1, 1, 1]
    assert sizes(1, 3) == [1]


def test_shuffle_is_the_generators_permutation():
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
    unlabelled = TensorData(torch.ones(2, 1))
    assert TensorData.concatenate(unlabelled, unlabelled).targets is None
    with pytest.raises(ValueError, match="must both have targets or both have none"):
        TensorData.concatenate(numbered(3), unlabelled)
    with pytest.raises(ValueError, match=r"inputs of one shape, got \(1,\) and \(2,\)"):
        TensorData.concatenate(unlabelled, TensorData(torch.ones(2, 2)))
    with pytest.raises(ValueError, match="inputs of one type"):
        TensorData.concatenate(unlabelled, TensorData(torch.ones(2, 1).double()))


def test_serves_a_data_loader():
    loader = DataLoader(numbered(5), batch_size=2)
    assert [(x.shape, y.tolist()) for x, y in loader] == [((2, 1), [0, 1]), ((2, 1), [2, 0]), ((1, 1), [1])]
    assert len(list(numbered(5))) == 5
