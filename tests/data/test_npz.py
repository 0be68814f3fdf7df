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


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_last_become_channels_first(tmp_path, channels):
    x = np.random.default_rng(0).random((10, 6, 5, channels), dtype=np.float32)
    splits = load(save(tmp_path / "mine.npz", x=x, y=np.arange(10) % 2))
    assert splits.input_shape == (channels, 6, 5)
    torch.testing.assert_close(splits.train_and_validation.inputs[:, 0], torch.from_numpy(x[..., 0])[kept(splits, x)])


def kept(splits, x):
    """The indices of the training and validation samples in the file."""
    corners = splits.train_and_validation.inputs[:, 0, 0, 0]
    return [int((torch.from_numpy(x[:, 0, 0, 0]) == corner).nonzero()) for corner in corners]


def test_small_feature_maps_are_not_taken_for_channels_last(tmp_path):
    for shape in ((64, 3, 3), (3, 32, 3), (8, 4, 4)):
        x, y = numbered(10, shape)
        assert load(save(tmp_path / "mine.npz", x=x, y=y)).input_shape == shape


def npy(header, data=b""):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}\n"),
            "needs 4,000,000,000,000 bytes, got 0",
        ),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}\n"), "incomplete: its shape"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}\n", b"1234"), "needs 12 bytes, got 4"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}\n", b"1234"), "in numpy's format"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"1234"), "got Python objects"),
        (npy("{'descr': ['a'], 'fortran_order': False, 'shape': (1,)}\n", b"1234"), "in numpy's format"),
        (npy("{'descr': '<f4"), "in numpy's format"),
        (npy("(" * 9000), "in numpy's format"),
        (npy(" " * 30000), "in numpy's format"),
        (b"\x93NUMPY\x09\x00abc", "in numpy's format"),
        (b"\x80\x04N.", "in numpy's format"),
        (b"", "in numpy's format"),
    ],
)
def test_bad_headers(tmp_path, content, message):
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("x.npy", content)
        archive.writestr("y.npy", content)
    with pytest.raises(ValueError, match=rf"mine\.npz: x .*{message}") as caught:
        load(tmp_path / "mine.npz")
    assert "allow_pickle" not in str(caught.value)


def test_arrays_that_do_not_fit_into_memory_are_refused_with_their_size(tmp_path, monkeypatch):
    x, y = numbered(60, (100,))
    monkeypatch.setattr("forwardforward._utils.arrays._memory", lambda: 20_000)
    with pytest.raises(ValueError, match=r"x must fit into memory, 20,000 bytes, got 24,000 bytes of shape"):
        load(save(tmp_path / "mine.npz", x=x, y=y))


def test_any_damage_is_one_error_that_names_the_file(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, x=np.arange(120.0).reshape(60, 2), y=np.arange(60) % 3)
    content, random, messages = path.read_bytes(), np.random.default_rng(0), []
    for _ in range(200):
        damaged = bytearray(content)
        for position in random.integers(0, len(content), random.integers(1, 5)):
            damaged[position] = random.integers(256)
        path.write_bytes(damaged[: len(content) if random.random() < 0.7 else random.integers(len(content))])
        try:
            load(path)
        except (ValueError, TypeError) as error:
            messages.append(str(error))
    assert len(messages) > 150
    assert all(str(path) in message and "allow_pickle" not in message for message in messages)


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
        (
            {"x": X.astype(int), "y": Y},
            TypeError,
            r"x must be uint8 \(0 to 255\) or floating-point, got int64; its values .*: save x.astype\('uint8'\)",
        ),
        ({"x": X * np.nan, "y": Y}, ValueError, "inputs must be finite"),
        ({"x": (X * 300).astype("uint16"), "y": Y}, TypeError, r"got uint16; save x.astype\('float32'\), divided by"),
        ({"x": X - 1 > 0, "y": Y}, TypeError, r"got bool; save x.astype\('float32'\)"),
        ({"x": X, "y": Y * 1.0}, TypeError, r"y must contain .* per sample, got float64; save y.astype\('int64'\)"),
        ({"x": X, "y": Y > 1}, TypeError, r"got bool; save y.astype\('int64'\)"),
        ({"x": X, "y": Y + 0.5}, TypeError, "got float64, which are no classes"),
        ({"x": X, "y": Y * np.nan}, TypeError, "got float64, which are no classes"),
        ({"x": X, "y": Y + 1}, ValueError, "y must count classes from 0, got labels from 1; save y - 1"),
        ({"x": X, "y": Y - 1}, ValueError, "got labels from -1; save numpy.unique"),
        ({"x": X, "y": Y[:, None]}, ValueError, r"got shape \(12, 1\); save y.reshape\(-1\)"),
        ({"x": X, "y": np.eye(3)[Y]}, ValueError, r"got shape \(12, 3\); .* save y.argmax\(1\)"),
        (
            {"x_train": X, "y_train": Y + 1, "x_test": X, "y_test": Y + 1},
            ValueError,
            "y_train and y_test must count classes from 0, got labels from 1; save y_train - 1",
        ),
        (
            {"x": X, "y": np.array([None] * 12)},
            ValueError,
            "y must be an array of numbers or strings, got Python objects",
        ),
        ({"x": X, "y": np.array(["a", ""] * 6)}, ValueError, "got an empty string for sample 1"),
        ({"x": X, "y": np.array(["a"] * 12)[:, None]}, ValueError, r"got shape \(12, 1\); save y.reshape"),
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
    with pytest.raises(ValueError, match="x must be an array in numpy's format, got another format or corrupted data"):
        load(path)


def test_a_test_set_with_few_of_many_classes(tmp_path):
    classes = np.arange(2000).repeat(2)
    arrays = {"x_train": np.random.rand(4000, 2), "y_train": classes}
    arrays |= {"x_test": np.random.rand(500, 2), "y_test": np.arange(1500, 2000)}
    np.savez(tmp_path / "faces.npz", **arrays)
    splits = load(tmp_path / "faces.npz")
    assert splits.num_classes == splits.test.num_classes == 2000


def test_the_number_of_classes_does_not_depend_on_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "empty", lambda *shape, **options: torch.full(shape, torch.nan))
    x, y = np.random.rand(30, 4), np.arange(30) % 3
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert load(tmp_path / "own.npz").num_classes == 3
