import subprocess
import sys

import pytest
import torch

from forwardforward.data import available, load


def test_available():
    assert available() == ("cifar10", "cifar100", "digits", "fashion-mnist", "imdb", "mnist", "svhn")


def test_unknown_name():
    with pytest.raises(
        ValueError, match=r"name must be one of cifar10, .*svhn or the path of an .npz file, got 'minst'"
    ):
        load("minst")


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
            r'the data set \'digits\' needs scikit-learn: pip install "forwardforward\[data\]"',
        ),
        (
            "mnist",
            "torchvision",
            r'the data set \'mnist\' needs torchvision: pip install "forwardforward\[vision\]"',
        ),
        ("fashion-mnist", "torchvision", r"the data set 'fashion-mnist' needs torchvision"),
        ("cifar100", "torchvision", r"the data set 'cifar100' needs torchvision"),
        ("svhn", "torchvision", r"the data set 'svhn' needs torchvision"),
        ("svhn", "scipy", r"the data set 'svhn' needs scipy: pip install \"forwardforward\[data\]\""),
    ],
)
def test_missing_package(monkeypatch, tmp_path, name, module, message):
    if module == "scipy":
        pytest.importorskip("torchvision")
    monkeypatch.setenv("FORWARDFORWARD_DATA", str(tmp_path))
    for part in (module, f"{module}.datasets", f"{module}.io"):
        monkeypatch.setitem(sys.modules, part, None)
    with pytest.raises(ImportError, match=message):
        load(name)


def test_import_loads_nothing_optional():
    code = (
        "import sys, forwardforward.data; print({'torchvision', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
