import gzip
import hashlib
import importlib
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from forwardforward.data import load

mnist = importlib.import_module("forwardforward.data.sources.mnist")  # the package's name is the function

FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


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
def test_validation_is_the_last_sixth(tmp_path, name):
    write_set(tmp_path, name)
    splits = load(name, tmp_path)
    assert (splits.name, splits.num_classes, splits.input_shape) == (name, 10, (1, 28, 28))
    assert splits.class_names == (DIGITS if name == "mnist" else CLOTHES)
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


@pytest.mark.parametrize("name", FOLDERS)
def test_default_folder_downloads(tmp_path, monkeypatch, server, name):
    source = write_set(tmp_path / "source", name)
    files = {f"{file.name}.gz": gzip.compress(file.read_bytes()) for file in source.iterdir()}
    release = mnist.MNIST if name == "mnist" else mnist.FASHION_MNIST
    sums = tuple(hashlib.sha256(files[f"{file}.gz"]).hexdigest() for file in mnist.FILES)
    monkeypatch.setattr(mnist, release.folder.replace("Fashion", "FASHION_"), replace(release, sha256=sums))
    monkeypatch.setenv("FORWARDFORWARD_DATA", str(tmp_path))
    opened = server(files)
    with pytest.raises(FileNotFoundError):
        load(name, download=False)
    assert opened == []
    assert len(load(name).train) == 10
    assert {url.rpartition("/")[2] for url in opened} == files.keys()
    assert all(url.startswith("https://") for url in opened)
    assert {path.name for path in (tmp_path / FOLDERS[name] / "raw").iterdir()} == set(mnist.FILES)


def test_failed_download(tmp_path, server):
    server({})
    with pytest.raises(
        ConnectionError, match=r"^could not download .* \(Error downloading\); without .* data_dir=DIR$"
    ):
        load("mnist", tmp_path, download=True)


def test_other_files_from_the_server_are_refused(tmp_path, server):
    server({f"{file}.gz": gzip.compress(b"other") for file in mnist.FILES})
    with pytest.raises(ConnectionError, match=r"train-images-idx3-ubyte.gz must have the SHA-256 440fcabf.*, got "):
        load("mnist", tmp_path, download=True)
    assert list((tmp_path / "MNIST" / "raw").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"text and more text", bytes([0, 0, 8, 1, 0, 0, 0, 9, 1])])
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
