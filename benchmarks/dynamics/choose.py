"""The sweep on validation images by which optimizer, learning rate and threshold were chosen; the paper states none.

All settings of one optimizer are trained together, as members with their own learning rates and thresholds. The test
set is not read.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from benchmarks.dynamics.measure import Measurement
from benchmarks.dynamics.settings import BATCH_SIZE, OPTIMIZERS, PAPER, Setting, network
from benchmarks.dynamics.train import AUTOCAST, Options, splits_of
from benchmarks.markdown import table
from benchmarks.pages import write
from forwardforward.replicas import ReplicaOptimizer, Replicas

__all__ = ["choice_table", "choose"]

RATES = {"adam": (1e-4, 3e-4, 1e-3), "sgd": (1e-4, 1e-3, 1e-2)}
THETAS = (0.3, 0.5, 1.0, 2.0)
SEEDS = (0, 1)
DEPTH, WIDTH, EPOCHS = 8, 100, 5


def choose(options: Options, images: int = 0, epochs: int = EPOCHS, width: int = WIDTH, data: str = "mnist") -> str:
    """Train every setting on the training split, measure the validation split, write ``choice.json``, return the table.

    Args:
        options: Where and how.
        images: Number of training images; 0 for all of the training split.
        epochs: Number of epochs.
        width: Units per layer.
        data: Data set.
    """
    splits = splits_of(data, options.data_dir)
    train = splits.train[:images] if images else splits.train
    rows: list[dict[str, Any]] = []
    for name in OPTIMIZERS:
        settings = [
            dataclasses.replace(PAPER, optimizer=name, lr=lr, theta=theta)
            for lr, theta in itertools.product(RATES[name], THETAS)
        ]
        members = [(setting, seed) for setting in settings for seed in SEEDS]
        layers, model = _train(members, splits, train, options, epochs, width)
        for index, setting in enumerate(settings):
            part = slice(index * len(SEEDS), (index + 1) * len(SEEDS))
            accuracies = [round(float(value), 4) for value in layers[part].mean(0)]
            row = {"optimizer": name, "lr": setting.lr, "theta": setting.theta}
            rows.append({**row, "layers": accuracies, "model": round(float(model[part].mean()), 4)})
    content = {"depth": DEPTH, "width": width, "epochs": epochs, "batch_size": BATCH_SIZE, "rows": rows}
    write(options.out / "choice.json", json.dumps(content, indent=1) + "\n")
    return choice_table(options.out)


def _train(
    members: list[tuple[Setting, int]], splits: ff.data.Splits, train: Any, options: Options, epochs: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return layer and model accuracies of all members on the validation split."""
    networks = []
    for setting, seed in members:
        torch.manual_seed(seed)
        networks.append(network(setting, DEPTH, width, splits.input_shape, splits.num_classes))
    replicas = Replicas(networks, [seed for _, seed in members])
    ff.fit(
        replicas,
        train,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        optimizer=ReplicaOptimizer([OPTIMIZERS[setting.optimizer](setting.lr) for setting, _ in members]),
        device=options.device,
        precision=options.resolved_precision,  # type: ignore[arg-type]
        compile=options.compile,
        progress=options.progress,
    )
    measurement = Measurement(replicas, splits.validation, AUTOCAST[options.resolved_precision], options.compile)
    layers, model, _ = measurement()
    return layers, model


def choice_table(folder: Path) -> str:
    """Return the table of the sweep, "Not run." if there is none.

    Args:
        folder: Folder with ``choice.json``.
    """
    path = folder / "choice.json"
    if not path.exists():
        return "Not run."
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        [
            row["optimizer"],
            f"{row['lr']:g}",
            f"{row['theta']:g}",
            f"{100 * row['model']:.2f}",
            f"{100 * row['layers'][0]:.1f}",
            f"{100 * sum(row['layers']) / len(row['layers']):.1f}",
            f"{100 * row['layers'][-1]:.1f}",
        ]
        for row in content["rows"]
    ]
    head = ("optimizer", "learning rate", "threshold / width", "model accuracy, %")
    text = table((*head, "first layer, %", "mean of the layers, %", "last layer, %"), rows)
    return (
        f"{text}\n\nDepth {content['depth']}, width {content['width']}, {content['epochs']} epochs of the training "
        f"split in batches of {content['batch_size']}, {len(SEEDS)} seeds, accuracy on the validation split."
    )
