import struct

import numpy as np
import pytest
import torch

from forwardforward.data import load

FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
DIGITS = tuple("0123456789")


@pytest.fixture(autouse=True)
def datasets():
    return pytest.importorskip("torchvision.datasets")


def write_idx(path, array):
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def write_set(root, name="mnist", train=12, test=3):
    """Write idx files in the official format; all pixels of image i are i."""
    folder = root / FOLDERS[name] / "raw"
    folder.mkdir(parents=True)
    for part, n in (("train", train), ("t10k", test)):
        images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None], (n, 28, 28))
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(n, dtype=np.uint8) % 10)
    return folder


@pytest.mark.parametrize("name", FOLDERS)
def test_validation_is_the_last_sixth(tmp_path, name, datasets):
    write_set(tmp_path, name)
    splits = load(name, tmp_path)
    assert (splits.name, splits.num_classes, splits.input_shape) == (name, 10, (1, 28, 28))
    assert splits.class_names == (DIGITS if name == "mnist" else tuple(datasets.FashionMNIST.classes))
    for part, expected in (
        (splits.train, range(10)),
        (splits.validation, range(10, 12)),
        (splits.test, range(3)),
        (splits.train_and_validation, range(12)),
    ):
        numbers = torch.tensor(expected)
        torch.testing.assert_close(part.inputs, (numbers / 255)[:, None, None, None].expand(-1, 1, 28, 28))
        assert torch.equal(part.targets, numbers % 10)


def test_default_folder(tmp_path, monkeypatch):
    write_set(tmp_path / "a")
    monkeypatch.setenv("FORWARDFORWARD_DATA", str(tmp_path / "a"))
    assert len(load("mnist").train) == 10
    monkeypatch.delenv("FORWARDFORWARD_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    write_set(tmp_path / ".cache" / "forwardforward", train=24)
    assert len(load("mnist").train) == 20


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'mnist' is not in .*raw: missing train-images.*download=True"):
        load("mnist", tmp_path)
    assert not list(tmp_path.iterdir())
    folder = write_set(tmp_path)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="missing t10k-labels-idx1-ubyte "):
        load("mnist", str(tmp_path))


def test_default_folder_downloads(tmp_path, monkeypatch, datasets):
    monkeypatch.setenv("FORWARDFORWARD_DATA", str(tmp_path))
    monkeypatch.setattr(datasets.MNIST, "download", lambda self: write_set(tmp_path))
    with pytest.raises(FileNotFoundError):
        load("mnist", download=False)
    assert len(load("mnist").train) == 10


@pytest.mark.parametrize("error", [RuntimeError("Error\ndownloading"), OSError("Error downloading")])
def test_failed_download(tmp_path, monkeypatch, datasets, error):
    def download(self):
        raise error

    monkeypatch.setattr(datasets.MNIST, "download", download)
    with pytest.raises(
        ConnectionError, match=r"^could not download .* \(Error downloading\); without .* data_dir=DIR$"
    ):
        load("mnist", tmp_path, download=True)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"text and more text", bytes([0, 0, 8, 1, 0, 0, 0, 9, 1])])
@pytest.mark.filterwarnings("ignore")
def test_corrupted_files(tmp_path, content):
    folder = write_set(tmp_path)
    (folder / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"the train-\* files in .* are corrupted: .*; delete them to download them again"
    ):
        load("mnist", tmp_path)


def test_labels_out_of_range(tmp_path):
    folder = write_set(tmp_path)
    write_idx(folder / "t10k-labels-idx1-ubyte", np.full(3, 10, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"the t10k-\* files.*targets must be below num_classes=10, got label 10"):
        load("mnist", tmp_path)


def test_too_few_images(tmp_path):
    write_set(tmp_path, train=5)
    with pytest.raises(ValueError, match="must have at least 6 training images, got 5"):
        load("mnist", tmp_path)


@pytest.mark.shared_data
def test_real_mnist(shared_data_dir):
    splits = load("mnist", shared_data_dir)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (50_000, 10_000, 10_000)
    assert (splits.num_classes, splits.input_shape) == (10, (1, 28, 28))
    assert splits.train.targets[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.test.targets[:5].tolist() == [7, 2, 1, 0, 4]
    assert (splits.train.inputs.min(), splits.train.inputs.max()) == (0, 1)
    pixels = splits.train_and_validation.inputs
    torch.testing.assert_close(pixels.mean().item(), 0.1307, atol=1e-4, rtol=0)
    torch.testing.assert_close(pixels.std().item(), 0.3081, atol=1e-4, rtol=0)
