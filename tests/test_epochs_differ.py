"""Epochs differ in the order of the samples, negatives, dropout and augmentation, and so do runs with other seeds."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import forwardforward as ff
from forwardforward.training import Callback, FitState
from forwardforward.training.randomness import derive_generator

SAMPLES, BATCH, EPOCHS = 24, 8, 3
INPUTS = torch.arange(SAMPLES).float()[:, None].expand(-1, 4) / SAMPLES  # the first value names the sample
LABELS = torch.arange(SAMPLES) % 3


class Recorder(Callback):
    """Collects what is recorded in each epoch, by kind."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, list[Tensor]]] = [defaultdict(list)]

    def on_epoch_end(self, state: FitState) -> None:
        self.epochs.append(defaultdict(list))

    def record(self, kind: str, values: Tensor) -> None:
        self.epochs[-1][kind].append(values.detach().clone())

    def of(self, kind: str) -> list[Tensor]:
        return [torch.cat(epoch[kind]) for epoch in self.epochs[:-1]]


class RecordedNegatives(ff.negatives.RandomLabel):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def wrong_labels(
        self, labels: Tensor, num_classes: int, scores: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        wrong = super().wrong_labels(labels, num_classes, scores, generator)
        self._recorder.record("negatives", (wrong - labels) % num_classes)
        self._recorder.record("numbers of negatives", torch.rand(4, generator=generator))
        return wrong


class RecordedDropout(nn.Dropout):
    recorder: Recorder

    def forward(self, x: Tensor) -> Tensor:
        mask = super().forward(torch.ones_like(x))
        if self.training:
            self.recorder.record("dropout", mask.flatten())
        return x * mask


def records(train: Any = (INPUTS, LABELS), seed: int = 0) -> Recorder:
    recorder = Recorder()
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(4 + 3, 6, activation=nn.Sequential(nn.ReLU(), RecordedDropout())),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Concatenation(3),
        negatives=RecordedNegatives(recorder),
    )
    model.layers[0].activation[1].recorder = recorder  # afterwards, since a network copies its layers

    def augment(images: Tensor, generator: torch.Generator | None) -> Tensor:
        recorder.record("order", (images[:, 0] * SAMPLES).round())
        recorder.record("augmentation", torch.rand(len(images), generator=generator))
        return images

    ff.fit(
        model,
        train,
        validation=(INPUTS, LABELS),
        epochs=EPOCHS,
        batch_size=BATCH,
        seed=seed,
        augment=augment,
        callbacks=[recorder],
        progress=False,
    )
    return recorder


@pytest.mark.parametrize("kind", ["order", "negatives", "dropout", "augmentation"])
def test_epochs_and_seeds_differ(kind: str) -> None:
    epochs = [*records().of(kind), *records(seed=1).of(kind)]
    assert len(epochs) == 2 * EPOCHS
    for index, values in enumerate(epochs):
        assert len(values) >= SAMPLES
        for other in epochs[:index]:
            assert not torch.equal(values, other)


def test_every_epoch_reads_every_sample_once() -> None:
    for order in records().of("order"):
        assert order.sort().values.tolist() == list(range(SAMPLES))


@pytest.mark.parametrize("kind", ["data set", "loader"])
def test_epochs_of_data_sets_and_loaders_differ_in_order(kind: str) -> None:
    samples = ff.TensorData(INPUTS, LABELS)
    pairs = [samples[index] for index in range(SAMPLES)]
    train = pairs if kind == "data set" else DataLoader(pairs, BATCH, shuffle=True, generator=torch.Generator())
    orders = records(train).of("order")
    assert all(order.sort().values.tolist() == list(range(SAMPLES)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == EPOCHS


def test_dropout_and_augmentation_differ_from_step_to_step() -> None:
    epoch = records().epochs[0]
    for kind in ("dropout", "augmentation"):
        steps = epoch[kind]
        assert len(steps) == SAMPLES // BATCH
        assert len({tuple(step.tolist()) for step in steps}) == len(steps)


def test_no_two_purposes_share_their_random_numbers() -> None:
    purposes = ("order", "negatives", "augmentation", "torch", "callbacks", "evaluation", "preprocessing")
    numbers = [torch.rand(2, generator=derive_generator(0, 1, purpose)) for purpose in purposes]
    assert len({tuple(values.tolist()) for values in numbers}) == len(purposes)
    recorder = records()
    first_of_augmentation, first_of_negatives = (
        recorder.epochs[0][kind][0][:4] for kind in ("augmentation", "numbers of negatives")
    )
    assert not torch.equal(first_of_augmentation, first_of_negatives)
