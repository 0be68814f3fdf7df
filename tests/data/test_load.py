import hashlib
import sys
import urllib.request
from pathlib import Path

import pytest
import torch

from forwardforward.data import available, load
from forwardforward.data.sources._official import _OnlyHTTPS, download_file


def test_available():
    assert available() == (
        *("cifar10", "cifar100", "diabetes", "digit-pairs", "digits"),
        *("fashion-mnist", "imdb", "mnist", "svhn"),
    )


def test_unknown_name():
    with pytest.raises(
        ValueError, match=r"name of the data must be one of cifar10, .*svhn or the path of an .npz file, got 'minst'"
    ):
        load("minst")


def test_a_path_that_is_not_an_npz_file_is_refused_as_a_name_is() -> None:
    with pytest.raises(ValueError, match=r"^name of the data must be one of .*, got \w*Path\('\.'\)"):
        load(Path("."))


def test_digit_pairs_share_no_digit_between_splits():
    pytest.importorskip("sklearn")
    splits, digits = load("digit-pairs"), load("digits")
    assert (splits.input_shape, splits.num_classes, splits.class_names) == ((1, 8, 16), 10, tuple("0123456789"))
    for pairs, singles in ((splits.train, digits.train), (splits.test, digits.test)):
        images = {
            tuple(image.flatten().tolist()): int(label)
            for image, label in zip(singles.inputs, singles.targets, strict=True)
        }
        for image, labels in zip(pairs.inputs[:50], pairs.targets[:50], strict=True):
            halves = {images[tuple(half.flatten().tolist())] for half in image.split(8, dim=2)}
            assert set(labels.nonzero().flatten().tolist()) == halves


def test_diabetes():
    pytest.importorskip("sklearn")
    splits = load("diabetes")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (264, 89, 89)
    assert (splits.num_classes, splits.input_shape, splits.train.targets.dtype) == (None, (10,), torch.float32)
    means = [part.targets.mean() for part in (splits.train, splits.validation, splits.test)]
    assert max(means) - min(means) < 3  # stratified by the target
    assert len(splits.train_and_validation) == 353


def test_digits():
    pytest.importorskip("sklearn")
    splits = load("digits")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (1077, 360, 360)
    assert (splits.name, splits.num_classes, splits.input_shape) == ("digits", 10, (1, 8, 8))
    assert splits.class_names == tuple("0123456789")
    for part in (splits.train, splits.validation, splits.test):
        assert part.inputs.dtype == torch.float32
        assert (part.inputs.min(), part.inputs.max()) == (0, 1)
        share = torch.bincount(part.targets) / len(part)
        assert (share - 0.1).abs().max() < 0.01
    assert torch.equal(splits.test.targets, load("digits").test.targets)


def test_digits_split_is_stable():
    pytest.importorskip("sklearn")
    assert load("digits").test.targets[:12].tolist() == [1, 5, 8, 1, 5, 9, 6, 7, 8, 1, 1, 0]


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        (
            "digits",
            "sklearn",
            r"the data set \'digits\' needs scikit-learn: pip install scikit-learn$",
        ),
        ("svhn", "scipy", r"the data set 'svhn' needs scipy: pip install scipy$"),
    ],
)
def test_missing_package(monkeypatch, tmp_path, name, module, message):
    monkeypatch.setenv("FORWARDFORWARD_DATA", str(tmp_path))
    for part in (module, f"{module}.datasets", f"{module}.io"):
        monkeypatch.setitem(sys.modules, part, None)
    with pytest.raises(ImportError, match=message):
        load(name)


def test_downloads_are_over_https_only(tmp_path):
    with pytest.raises(ValueError, match="url must begin with https://, got http://a.b/c"):
        download_file("http://a.b/c", "0" * 64, tmp_path / "c")
    handler = _OnlyHTTPS()
    request = urllib.request.Request("https://a.b/c")
    with pytest.raises(OSError, match="https://a.b/c redirects to http://a.b/c, which is not https"):
        handler.redirect_request(request, None, 302, "Found", {}, "http://a.b/c")
    assert handler.redirect_request(request, None, 302, "Found", {}, "https://d.e/c").full_url == "https://d.e/c"


def test_a_download_is_written_only_with_the_right_sum(tmp_path, server):
    server({"c": b"content"})
    with pytest.raises(RuntimeError, match="https://a.b/c must have the SHA-256 000"):
        download_file("https://a.b/c", "0" * 64, tmp_path / "folder" / "c")
    assert list((tmp_path / "folder").iterdir()) == []
    download_file("https://a.b/c", hashlib.sha256(b"content").hexdigest(), tmp_path / "folder" / "c", progress=False)
    assert (tmp_path / "folder" / "c").read_bytes() == b"content"
