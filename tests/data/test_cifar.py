import hashlib
import io
import pickle
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from forwardforward.data import load
from forwardforward.data.sources import cifar

pytestmark = pytest.mark.filterwarnings("ignore:.*the official file has")

BINARY = {
    "cifar10": ("cifar-10-batches-bin", [f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin"),
    "cifar100": ("cifar-100-binary", ["train.bin"], "test.bin"),
}
PICKLED = {"cifar10": ("cifar-10-batches-py", "CIFAR10"), "cifar100": ("cifar-100-python", "CIFAR100")}
CLASSES = {"cifar10": 10, "cifar100": 100}
NAMES = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "cifar100": tuple(f"class_{i}" for i in range(100)),
}


def pixels(numbers):
    """Image i has the value i in the corner of its first channel; other pixels encode channel, row and column."""
    images = np.empty((len(numbers), 3, 32, 32), dtype=np.uint8)
    images[:] = np.arange(3)[:, None, None] * 70 + np.arange(32)[:, None] + np.arange(32)
    images[:, 0, 0, 0] = numbers
    return images


def write_records(path, name, numbers):
    labels = np.asarray(numbers)[:, None] % CLASSES[name]
    columns = [labels, pixels(numbers).reshape(len(numbers), -1)]
    if name == "cifar100":
        columns.insert(0, labels // 5)  # the coarse label
    path.write_bytes(np.concatenate(columns, 1).astype(np.uint8).tobytes())


def write_binary(root, name, train=20, test=3):
    folder, train_files, test_file = BINARY[name]
    (root / folder).mkdir(parents=True)
    for file, numbers in zip(train_files, np.array_split(np.arange(train), len(train_files)), strict=True):
        write_records(root / folder / file, name, numbers)
    write_records(root / folder / test_file, name, np.arange(test))
    if name == "cifar100":
        (root / folder / "fine_label_names.txt").write_text("\n".join([*NAMES[name], ""]))
    return root / folder


@pytest.fixture
def write_pickled(monkeypatch):
    """Write files of the pickled release and register their checksums with torchvision."""
    datasets = pytest.importorskip("torchvision.datasets")

    def write(root, name, train=20, test=3):
        folder_name, class_name = PICKLED[name]
        dataset = getattr(datasets, class_name)
        folder = root / folder_name
        folder.mkdir(parents=True)

        def dump(file, content):
            (folder / file).write_bytes(pickle.dumps(content))
            return hashlib.md5((folder / file).read_bytes()).hexdigest()

        def entry(numbers):
            key = "labels" if name == "cifar10" else "fine_labels"
            data = pixels(numbers).reshape(len(numbers), -1)
            return {"data": data, key: [int(i) % CLASSES[name] for i in numbers], "coarse_labels": [0] * len(numbers)}

        parts = np.array_split(np.arange(train), len(dataset.train_list))
        train_list = [[file, dump(file, entry(p))] for (file, _), p in zip(dataset.train_list, parts, strict=True)]
        test_list = [[file, dump(file, entry(np.arange(test)))] for file, _ in dataset.test_list]
        meta = {**dataset.meta, "md5": dump(dataset.meta["filename"], {dataset.meta["key"]: list(NAMES[name])})}
        for attribute, value in (("train_list", train_list), ("test_list", test_list), ("meta", meta)):
            monkeypatch.setattr(dataset, attribute, value)
        return folder

    return write


def check(splits, name):
    assert (splits.name, splits.num_classes, splits.input_shape) == (name, CLASSES[name], (3, 32, 32))
    assert splits.class_names == NAMES[name]
    for part, expected in (
        (splits.train, np.arange(18)),
        (splits.validation, np.arange(18, 20)),
        (splits.test, np.arange(3)),
        (splits.train_and_validation, np.arange(20)),
    ):
        torch.testing.assert_close(part.inputs, torch.from_numpy(pixels(expected)) / 255)
        assert part.targets.tolist() == [int(i) % CLASSES[name] for i in expected]


@pytest.mark.parametrize("name", BINARY)
def test_binary_release_needs_no_torchvision(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    write_binary(tmp_path, name)
    check(load(name, tmp_path), name)


@pytest.mark.parametrize("name", PICKLED)
def test_pickled_release(tmp_path, name, write_pickled):
    write_pickled(tmp_path, name)
    check(load(name, tmp_path), name)


def test_pickled_release_replaces_an_incomplete_binary_release(tmp_path, write_pickled):
    (write_binary(tmp_path, "cifar10") / "data_batch_2.bin").unlink()
    write_pickled(tmp_path, "cifar10")
    check(load("cifar10", tmp_path), "cifar10")


def test_binary_release_without_names(tmp_path):
    (write_binary(tmp_path, "cifar100") / "fine_label_names.txt").unlink()
    assert load("cifar100", tmp_path).class_names is None


@pytest.mark.parametrize("content", ["", "apple\nbaby\n", "apple\n" * 100])
def test_corrupted_names(tmp_path, content):
    (write_binary(tmp_path, "cifar100") / "fine_label_names.txt").write_text(content)
    with pytest.raises(ValueError, match=r"fine_label_names.txt is corrupted: class_names must .*; delete it to load"):
        load("cifar100", tmp_path)


def test_missing_files(tmp_path, write_pickled):
    with pytest.raises(
        FileNotFoundError,
        match=r"'cifar100' is not in .*: missing the folder cifar-100-python, and train.bin, test.bin in "
        r"cifar-100-binary; pass download=True",
    ):
        load("cifar100", tmp_path)
    assert not list(tmp_path.iterdir())
    (write_binary(tmp_path, "cifar10") / "data_batch_2.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"and data_batch_2.bin in cifar-10-batches-bin"):
        load("cifar10", tmp_path)
    (write_pickled(tmp_path, "cifar10") / "batches.meta").unlink()
    with pytest.raises(FileNotFoundError, match=r"cifar-10-batches-py: missing batches.meta; delete the folder"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("cut", [0, 1, 3072, 3074, 3 * 3073 + 1])
def test_truncated_binary_file(tmp_path, cut):
    path = write_binary(tmp_path, "cifar10") / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        ValueError, match=rf"data_batch_3.bin is corrupted: it must have 3073 bytes per image, got {cut} bytes"
    ):
        load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "left", "official"),
    [
        ("cifar10", "data_batch_3.bin", 3, "10,000"),
        ("cifar10", "test_batch.bin", 2, "10,000"),
        ("cifar100", "train.bin", 19, "50,000"),
        ("cifar100", "test.bin", 2, "10,000"),
    ],
)
def test_a_file_truncated_between_images_causes_a_warning(tmp_path, name, file, left, official):
    path = write_binary(tmp_path, name) / file
    size = 3073 if name == "cifar10" else 3074
    path.write_bytes(path.read_bytes()[:-size])
    warning = rf"{file} may be corrupted: it has {left} images, the official file has {official}; delete it"
    with pytest.warns(UserWarning, match=warning):
        load(name, tmp_path)


@pytest.mark.parametrize(("name", "label"), [("cifar10", 10), ("cifar100", 100)])
def test_labels_out_of_range(tmp_path, name, label):
    folder = write_binary(tmp_path, name)
    path = folder / BINARY[name][2]
    content = bytearray(path.read_bytes())
    content[0 if name == "cifar10" else 1] = label
    path.write_bytes(content)
    with pytest.raises(
        ValueError,
        match=rf"{path.name} in .* are corrupted: targets must be below num_classes={label}, got label {label}; ",
    ):
        load(name, tmp_path)


def test_corrupted_pickled_file_is_not_unpickled(tmp_path, write_pickled):
    folder = write_pickled(tmp_path, "cifar10")
    (folder / "test_batch").write_bytes(b"cos\nabort\n(tR.")
    with pytest.raises(ValueError, match=r"the files in .*cifar-10-batches-py are corrupted: .*; delete them"):
        load("cifar10", tmp_path)


def test_too_few_images(tmp_path):
    write_binary(tmp_path, "cifar10", train=9)
    with pytest.raises(ValueError, match="'cifar10' in .* must have at least 10 training images, got 9"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("name", BINARY)
def test_default_folder_downloads(tmp_path, monkeypatch, server, name):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(write_binary(tmp_path / "source", name), BINARY[name][0])
        link = tarfile.TarInfo(f"{BINARY[name][0]}/readme.html")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    release = {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100}[name]
    changed = replace(release, sha256=hashlib.sha256(archive.getvalue()).hexdigest())
    monkeypatch.setattr(cifar, name.upper(), changed)
    monkeypatch.setenv("FORWARDFORWARD_DATA", str(tmp_path))
    opened = server({release.archive: archive.getvalue()})
    with pytest.raises(FileNotFoundError):
        load(name, download=False)
    check(load(name), name)
    assert opened == [f"https://www.cs.toronto.edu/~kriz/{release.archive}"]
    files = {*BINARY[name][1], BINARY[name][2], *(["fine_label_names.txt"] if name == "cifar100" else [])}
    assert {path.name for path in (tmp_path / BINARY[name][0]).iterdir()} == files
    assert not (tmp_path / release.archive).exists()


def test_failed_download(tmp_path, server):
    server({})
    with pytest.raises(
        ConnectionError,
        match=r"^could not download the data set 'cifar100' \(Error downloading\); without a network, put the files "
        r"train.bin, test.bin of the binary release into DIR/cifar-100-binary and pass data_dir=DIR$",
    ):
        load("cifar100", tmp_path, download=True)


@pytest.mark.shared_data
@pytest.mark.filterwarnings("error")
def test_real_cifar10(shared_data_dir):
    splits = load("cifar10", shared_data_dir)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (45_000, 5_000, 10_000)
    assert (splits.num_classes, splits.input_shape) == (10, (3, 32, 32))
    assert splits.train.targets[:5].tolist() == [6, 9, 9, 4, 1]
    assert splits.test.targets[:5].tolist() == [3, 8, 8, 0, 6]
    assert torch.bincount(splits.test.targets).tolist() == [1000] * 10
    assert torch.bincount(splits.train_and_validation.targets).tolist() == [5000] * 10
    for part in (splits.train, splits.validation, splits.test):
        assert part.inputs.dtype == torch.float32
        assert (part.inputs.min(), part.inputs.max()) == (0, 1)


@pytest.mark.shared_data
def test_real_cifar10_channel_means(shared_data_dir):
    # The usual channel means of the 50,000 training images.
    means = load("cifar10", shared_data_dir).train_and_validation.inputs.mean((0, 2, 3))
    torch.testing.assert_close(means, torch.tensor([0.4914, 0.4822, 0.4465]), atol=1e-4, rtol=0)
