"""Torch's default device does not matter to a network on another device.

Under the default device "meta", a tensor that is created without a device has no values, and any use of it with the
network's own tensors fails: the stand-in for a default device "cuda" on a machine without a GPU.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import forwardforward as ff
from forwardforward.data.splits import stratified

X = torch.rand(24, 16, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3


def pairs(**changes: Any) -> ff.FFSequential:
    plugins: dict[str, Any] = {
        "goodness": ff.goodness.SumOfSquares(),
        "loss": ff.losses.Threshold(theta="width"),
        "normalization": ff.normalization.BatchNorm(),
        "peer": ff.normalization.PeerNormalization(),
        "label_encoder": ff.label_encoders.Overlay(3),
    }
    return ff.FFSequential(ff.FFLinear(16, 8), ff.FFLinear(8, 6), **{**plugins, **changes})


def classes(**changes: Any) -> ff.FFSequential:
    plugins: dict[str, Any] = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
    return ff.FFSequential(ff.FFLinear(16, 8), ff.FFLinear(8, 6), **{**plugins, **changes})


def layers() -> tuple[ff.FFLinear, ff.FFLinear]:
    return ff.FFLinear(16, 8), ff.FFLinear(8, 6)


def without_labels(sampler: ff.negatives.Negatives) -> ff.FFSequential:
    return pairs(label_encoder=None, negatives=sampler, num_classes=3)


NETWORKS = {
    "random labels": pairs,
    "hard labels": lambda: pairs(negatives=ff.negatives.HardLabel()),
    "hard goodness": lambda: pairs(negatives=ff.negatives.HardGoodness()),
    "head under random labels": lambda: pairs(head=ff.heads.LinearHead(3, label="random"), classifier="head"),
    "masks": lambda: without_labels(ff.negatives.HybridMask()),
    "self-contrast": lambda: without_labels(ff.negatives.SelfContrast()),
    "ensemble": lambda: classes(classifier=ff.classifiers.LayerEnsemble()),
    "best interval": lambda: classes(
        classifier=ff.classifiers.BestInterval(), preprocessing=ff.preprocessing.Preprocessing(standardize=True)
    ),
    "contrastive": lambda: classes(goodness=None, loss=ff.losses.SupervisedContrastive(), num_classes=3),
    "backpropagation": lambda: ff.baselines.Backpropagation(*layers(), num_classes=3),
    "feedback alignment": lambda: ff.baselines.FeedbackAlignment(*layers(), num_classes=3),
    "pepita": lambda: ff.baselines.Pepita(*layers(), num_classes=3),
}


def trained(kind: str, data: Any, validation: Any, **options: Any) -> tuple[dict[str, torch.Tensor], Any, Any]:
    model = NETWORKS[kind]()
    options = {"epochs": 2, "batch_size": 8, "progress": False, "validation": validation, **options}
    ff.fit(model, data, optimizer=ff.LocalOptimizer(torch.optim.SGD, lr=0.1), **options)
    return model.state_dict(), ff.evaluate(model, validation), model.predict(X)


@pytest.mark.parametrize("as_rows", [False, True], ids=["tensors", "data set"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_training_and_evaluation_do_not_depend_on_the_default_device(
    kind: str, as_rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data: Any = list(zip(X, Y, strict=True)) if as_rows else ff.TensorData(X, Y)
    torch.manual_seed(0)
    expected = trained(kind, data, (X, Y))
    torch.manual_seed(0)
    make = NETWORKS[kind]()  # on the CPU
    monkeypatch.setitem(NETWORKS, kind, lambda: make)
    with torch.device("meta"):
        state, evaluation, predicted = trained(kind, data, (X, Y))
    assert evaluation == expected[1]
    assert torch.equal(predicted, expected[2])
    assert all(torch.equal(value, expected[0][name]) for name, value in state.items())


@pytest.mark.parametrize("kind", ["random labels", "backpropagation"])
def test_diagnostics_do_not_depend_on_the_default_device(kind: str) -> None:
    model = NETWORKS[kind]()
    expected = ff.diagnostics.probe(model, (X, Y), (X, Y), epochs=1, hidden=3)
    with torch.device("meta"):
        assert len(ff.diagnostics.probe(model, (X, Y), (X, Y), epochs=1, hidden=3)) == len(expected)
        if kind == "random labels":
            ff.diagnostics.goodness_distributions(model, (X, Y))


def test_data_do_not_depend_on_the_default_device() -> None:
    names = ["cat", "dog", "emu"] * 8

    def parts() -> list[torch.Tensor]:
        data = ff.TensorData(X, names)
        splits = stratified("pets", data, (0.5, 0.25, 0.25), seed=1)
        batches = [images for images, _ in data.batches(5, torch.Generator().manual_seed(3))]
        listed = ff.TensorData(X, Y.tolist()).targets
        assert data.targets is not None
        assert listed is not None
        return [data.targets, listed, splits.train.inputs, splits.train_and_validation.inputs, *batches]

    expected = parts()
    with torch.device("meta"):
        found = parts()
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))
