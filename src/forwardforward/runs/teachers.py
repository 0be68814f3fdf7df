"""Unlabeled texts as training data, with the predictions of trained runs as targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.files import replacing
from forwardforward._utils.numerics import log_probabilities
from forwardforward.data import TensorData
from forwardforward.data.sources import UNLABELED_SOURCES
from forwardforward.data.text import TextEncoder
from forwardforward.network import Network
from forwardforward.runs.config import RunConfig
from forwardforward.runs.saved import read_saved

__all__ = ["check_teachers", "read_soft_labels", "soft_labels", "with_soft_labels", "write_soft_labels"]


#: Texts per batch of a teacher.
BATCH_SIZE = 1000


class Teacher(Protocol):
    """What is needed of a trained :class:`~forwardforward.runs.Run`."""

    folder: Path
    config: RunConfig

    @property
    def epochs_done(self) -> int:
        """Number of completed epochs."""

    @property
    def holds_out(self) -> bool:
        """Whether the validation split was held out."""

    def load(self) -> Network:
        """Return the trained model."""

    def text_encoder(self) -> TextEncoder:
        """Return the text encoder."""


def check_teachers(teachers: Sequence[Teacher], data: str, holds_out: bool) -> None:
    """Check, without reading the data, that runs can predict the unlabeled texts of a data set.

    Args:
        teachers: The runs; none are always accepted.
        data: Name of the data set that the teachers must have been trained on.
        holds_out: Whether the validation split is held out, which the teachers must then have held out too.

    Raises:
        ValueError: If the data set has no unlabeled texts, or a teacher has no completed epoch, was trained on other
            data, or was trained on a validation split that is held out here.
    """
    if teachers and data not in UNLABELED_SOURCES:
        names = ", ".join(UNLABELED_SOURCES)
        raise ValueError(f"teachers need a data set with unlabeled texts, {names}, got {Path(data).name}")
    for teacher in teachers:
        if teacher.config.data != data:
            raise ValueError(f"teachers must be runs on {data}, got {teacher.folder} on {teacher.config.data}")
        if holds_out and not teacher.holds_out:
            raise ValueError(
                "teachers must have held out the validation split, as those of train --validation, got "
                f"{teacher.folder}, which was trained on all training samples"
            )
        if not teacher.epochs_done:
            raise ValueError(f"teachers must be trained runs, got {teacher.folder} without a finished epoch")


def soft_labels(teachers: Sequence[Teacher], texts: Sequence[str]) -> Tensor:
    """Return the class probabilities of texts, those of the teachers' :class:`~forwardforward.runs.Ensemble`.

    Args:
        teachers: The teachers, see :func:`check_teachers`.
        texts: The texts.
    """
    parts = []
    for teacher in teachers:
        model, inputs = teacher.load(), teacher.text_encoder()(texts, "unlabeled")
        parts.append(torch.cat([log_probabilities(model.scores(batch)) for batch in inputs.split(BATCH_SIZE)]))
    return torch.stack(parts).mean(0).softmax(1)


def read_soft_labels(path: Path) -> Tensor:
    """Return the probabilities in a file of a run.

    Raises:
        CheckpointError: If it is corrupted.
    """
    return read_saved(path, "the soft labels", _checked, "; delete it to write it again")


def _checked(probabilities: Any) -> Tensor:
    """Return the content of a file of soft labels."""
    if not isinstance(probabilities, Tensor) or probabilities.dim() != 2:
        raise ValueError("not a table of probabilities")
    return probabilities


def write_soft_labels(path: Path, probabilities: Tensor) -> None:
    """Write probabilities, completely or not at all."""
    with replacing(path, "wb") as file:
        torch.save(probabilities, file)


def with_soft_labels(train: TensorData, inputs: Tensor, probabilities: Tensor) -> TensorData:
    """Return labeled samples, their classes as probabilities, followed by unlabeled ones.

    Args:
        train: The labeled samples.
        inputs: The unlabeled ones, ``(samples, ...)``.
        probabilities: Their targets, ``(samples, classes)``.

    Raises:
        ValueError: If there is not one row of probabilities per unlabeled sample.
    """
    assert train.targets is not None
    if len(probabilities) != len(inputs):
        raise ValueError(
            f"soft labels must be one row per unlabeled text, {len(inputs)}, got {len(probabilities)}: the texts have "
            "changed since the run began"
        )
    classes = F.one_hot(train.targets, probabilities.shape[1]).to(probabilities)
    return train._derive(torch.cat((train.inputs, inputs)), torch.cat((classes, probabilities)))
