import hashlib
import importlib

import numpy as np
import pytest
import torch

from forwardforward.data import load

svhn = importlib.import_module("forwardforward.data.sources.svhn")  # the package's name is the function


@pytest.fixture
def write_svhn():
    """Write .mat files in the official format."""
    io = pytest.importorskip("scipy.io")

    def write(root, train=20, test=3, **changed):
        root.mkdir(exist_ok=True)
        for part, n in (("train", train), ("test", test)):
            labels = np.arange(n, dtype=np.uint8)[:, None] % 10
            content = {"X": images(np.arange(n)).transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)}
            path = root / f"{part}_32x32.mat"
            io.savemat(path, {**content, **changed})

    return write


def images(numbers):
    """Image i has the value i in the corner of its first channel; other pixels encode channel, row and column."""
    out = np.empty((len(numbers), 3, 32, 32), dtype=np.uint8)
    out[:] = np.arange(3)[:, None, None] * 70 + np.arange(32)[:, None] + 2 * np.arange(32)
    out[:, 0, 0, 0] = numbers
    return out


def check(splits):
    assert (splits.name, splits.num_classes, splits.input_shape) == ("svhn", 10, (3, 32, 32))
    assert splits.class_names == tuple("0123456789")
    for part, expected in (
        (splits.train, np.arange(18)),
        (splits.validation, np.arange(18, 20)),
        (splits.test, np.arange(3)),
        (splits.train_and_validation, np.arange(20)),
    ):
        torch.testing.assert_close(part.inputs, torch.from_numpy(images(expected)) / 255)
        assert part.targets.tolist() == [int(i) % 10 for i in expected]


def test_validation_is_the_last_tenth(tmp_path, write_svhn):
    write_svhn(tmp_path)
    check(load("svhn", tmp_path))


def test_missing_files(tmp_path, write_svhn):
    with pytest.raises(
        FileNotFoundError, match=r"'svhn' is not in .*: missing train_32x32.mat, test_32x32.mat; pass download=True"
    ):
        load("svhn", tmp_path)
    write_svhn(tmp_path)
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"missing test_32x32.mat; pass"):
        load("svhn", tmp_path)


def test_truncated_file(tmp_path, write_svhn):
    write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"train_32x32.mat is corrupted: .*; delete it to download it again"):
        load("svhn", tmp_path)


def test_wrong_contents(tmp_path, write_svhn):
    write_svhn(tmp_path, y=np.full((20, 1), 11, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"_32x32.mat is corrupted: .*must be below num_classes=10"):
        load("svhn", tmp_path)


def test_too_few_images(tmp_path, write_svhn):
    write_svhn(tmp_path, train=9)
    with pytest.raises(ValueError, match="'svhn' in .* must have at least 10 training images, got 9"):
        load("svhn", tmp_path)


def test_default_folder_downloads(tmp_path, monkeypatch, write_svhn, server):
    monkeypatch.setenv("FORWARDFORWARD_DATA", str(tmp_path))
    write_svhn(tmp_path)
    content = (tmp_path / "test_32x32.mat").read_bytes()
    (tmp_path / "test_32x32.mat").unlink()
    monkeypatch.setitem(svhn.SHA256, "test_32x32.mat", hashlib.sha256(content).hexdigest())
    opened = server({"test_32x32.mat": content})
    with pytest.raises(FileNotFoundError):
        load("svhn", download=False)
    check(load("svhn"))
    assert opened == ["https://ufldl.stanford.edu/housenumbers/test_32x32.mat"]


def test_failed_download(tmp_path, server):
    pytest.importorskip("scipy.io")
    server({})
    with pytest.raises(
        ConnectionError,
        match=r"^could not download the data set 'svhn' \(Error downloading\); without a network, put the files "
        r"train_32x32.mat, test_32x32.mat into DIR and pass data_dir=DIR$",
    ):
        load("svhn", tmp_path, download=True)
