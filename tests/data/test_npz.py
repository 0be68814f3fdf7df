import zipfile

import numpy as np
import pytest
import torch

from forwardforward.data import load


def numbered(n, shape=(1,), num_classes=3):
    x = np.broadcast_to(np.arange(n, dtype=np.float32).reshape(n, *[1] * len(shape)), (n, *shape))
    return x, np.arange(n) % num_classes


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_training_and_test_arrays(tmp_path):
    x, y = numbered(60, (2, 2))
    splits = load(save(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x[:5], y_test=y[:5], extra=x))
    assert splits.name == "mine"
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (50, 10, 5)
    assert (splits.num_classes, splits.input_shape) == (3, (1, 2, 2))
    assert splits.train_and_validation.inputs[:, 0, 0, 0].tolist() == list(range(60))
    assert splits.test.inputs[:, 0, 0, 0].tolist() == list(range(5))
    assert torch.bincount(splits.validation.targets).tolist() in ([3, 3, 4], [3, 4, 3], [4, 3, 3])


def test_one_pair_of_arrays(tmp_path):
    x, y = numbered(50, (4,))
    splits = load(str(save(tmp_path / "mine.npz", x=x, y=y)))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 10, 10)
    assert splits.input_shape == (4,)
    assert torch.equal(load(tmp_path / "mine.npz").test.inputs, splits.test.inputs)


def test_channels_stay(tmp_path):
    x, y = numbered(10, (3, 2, 2))
    assert load(save(tmp_path / "mine.npz", x=x, y=y)).input_shape == (3, 2, 2)


def test_uint8_images_are_scaled(tmp_path):
    x = np.full((10, 2, 2), 51, dtype=np.uint8)
    splits = load(save(tmp_path / "mine.npz", x=x, y=np.zeros(10, dtype=np.uint8)))
    torch.testing.assert_close(splits.test.inputs, torch.full((2, 1, 2, 2), 0.2))


def test_classes_seen_in_one_part_only_count(tmp_path):
    x, y = numbered(12)
    splits = load(save(tmp_path / "mine.npz", x_train=x, y_train=y * 0, x_test=x, y_test=y))
    assert splits.num_classes == splits.train.num_classes == splits.test.num_classes == 3


@pytest.mark.parametrize("dtype", ["U", "S"])
def test_string_labels(tmp_path, dtype):
    x, y = numbered(60)
    names = np.array(["dog", "cat", "élan" if dtype == "U" else "elk"]).astype(dtype)
    splits = load(save(tmp_path / "mine.npz", x=x, y=names[y]))
    expected = ("cat", "dog", "élan" if dtype == "U" else "elk")
    for part in (splits, splits.train, splits.validation, splits.test, splits.train_and_validation):
        assert part.class_names == expected
        assert part.num_classes == 3
    for inputs, target in splits.train_and_validation:
        assert expected[target] == ("dog", "cat", expected[2])[int(inputs) % 3]


def test_training_and_test_set_share_class_names(tmp_path):
    x, y = numbered(12, num_classes=2)
    y_train, y_test = np.array(["b", "d"])[y], np.array(["a", "d"])[y]
    splits = load(save(tmp_path / "mine.npz", x_train=x, y_train=y_train, x_test=x, y_test=y_test))
    assert splits.class_names == splits.train.class_names == splits.test.class_names == ("a", "b", "d")
    assert splits.train_and_validation.targets.tolist() == [1, 2] * 6
    assert splits.test.targets.tolist() == [0, 2] * 6


def test_integer_labels_have_no_names(tmp_path):
    x, y = numbered(12)
    assert load(save(tmp_path / "mine.npz", x=x, y=y)).class_names is None


X, Y = numbered(12)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        (
            {"x_train": X, "y_train": Y},
            ValueError,
            "must contain the arrays x_train, y_train, x_test, y_test, or x, y, got",
        ),
        ({}, ValueError, "or x, y, got none"),
        ({"x": X, "y": Y[:5]}, ValueError, "mine.npz, inputs=x, targets=y: targets must have one label"),
        ({"x": X[:, 0], "y": Y}, ValueError, r"x must have shape \(N, D\), .*, got \(12,\)"),
        ({"x": X.astype(int), "y": Y}, TypeError, "inputs must be floating-point or uint8.*torch.int64"),
        ({"x": X * np.nan, "y": Y}, ValueError, "inputs must be finite"),
        ({"x": X, "y": Y * 1.0}, TypeError, "targets must be integer class labels"),
        ({"x": X, "y": Y - 1}, ValueError, "of at least 0, got -1"),
        ({"x": X, "y": Y[:, None]}, ValueError, "targets must be 1-D"),
        (
            {"x": X, "y": np.array([None] * 12)},
            ValueError,
            "y must be an array of numbers or strings, got Python objects",
        ),
        ({"x": X, "y": np.array(["a", ""] * 6)}, ValueError, "got an empty string for sample 1"),
        ({"x": X, "y": np.array(["a"] * 12)[:, None]}, ValueError, r"targets must be 1-D.*got shape \(12, 1\)"),
        ({"x": X, "y": np.array([b"\xff"] * 12)}, ValueError, r"targets must be text in UTF-8, got b'\\xff'"),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": np.array(["a"] * 12)},
            TypeError,
            "y_train and y_test must both be strings or both be integers, got int64 and <U1",
        ),
        ({"x": X, "y": Y.astype("datetime64[s]")}, TypeError, "targets must be an array of numbers, got datetime64"),
        ({"x": X[:2], "y": Y[:2]}, ValueError, "mine.npz is too small to split: sizes must leave"),
        (
            {"x_train": X, "y_train": Y, "x_test": X.repeat(2, 1), "y_test": Y},
            ValueError,
            r"x_train and x_test must have inputs of the same shape, got \(1,\) and \(2,\)",
        ),
    ],
)
def test_bad_arrays(tmp_path, arrays, error, message):
    with pytest.raises(error, match=message):
        load(save(tmp_path / "mine.npz", **arrays))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"file .*gone\.npz does not exist"):
        load(tmp_path / "gone.npz")
    with pytest.raises(FileNotFoundError, match=r"file gone\.npz does not exist"):
        load("gone.npz")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load(tmp_path)


def test_other_files(tmp_path):
    np.save(tmp_path / "mine.npy", X)
    (tmp_path / "empty.npz").touch()
    for name in ("mine.npy", "empty.npz"):
        with pytest.raises(ValueError, match=r"must be an \.npz file"):
            load(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("x", b"text")
        archive.writestr("y", b"text")
    with pytest.raises(ValueError, match="x must be an array"):
        load(tmp_path / "mine.npz")


def test_corrupted_file(tmp_path):
    path = save(tmp_path / "mine.npz", x=np.random.default_rng(0).random((50, 100)), y=np.zeros(50, dtype=int))
    content = bytearray(path.read_bytes())
    content[5000] ^= 255
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match="x must be an array of numbers or strings, got Python objects or corrupted data"
    ):
        load(path)
