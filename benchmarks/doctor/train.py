"""Trains the runs of the lists in folders."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from benchmarks.doctor.spoilings import Spoiled
from forwardforward.data import load
from forwardforward.recipes import get
from forwardforward.runs import Run, RunConfig
from forwardforward.training import TrainingDiverged

__all__ = ["train"]


def train(spoiled: Spoiled, folder: Path) -> None:
    """Train a run in a new folder; a training that diverges ends there.

    Args:
        spoiled: The run.
        folder: Its folder.
    """
    splits = load(spoiled.dataset)
    if spoiled.data is not None:
        splits = spoiled.data(splits, torch.Generator().manual_seed(0))
    recipe = get(spoiled.recipe).for_dataset(spoiled.dataset).replace(**spoiled.changes)
    config = RunConfig.from_recipe(recipe, spoiled.dataset, threads=1, validation=spoiled.validation)
    run = Run.create(folder, config, recipe=recipe, splits=splits)
    with contextlib.suppress(TrainingDiverged):
        run.train(progress=False)
