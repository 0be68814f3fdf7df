"""Modules written for backpropagation, trained with local objectives by `ff.from_module` and by backpropagation.

    python -m benchmarks.from_module --data-dir DIR                                   all rows
    python -m benchmarks.from_module resnet18,resnet18-backprop --data-dir DIR        some rows
    python -m benchmarks.from_module resnet18 --validation --epochs 1                 to choose settings
    python -m benchmarks.from_module --render                                         only writes the page's table

The rows are torchvision's unchanged ResNet-18, an MLP-Mixer and a transformer encoder of image patches on CIFAR-10, and
the two small ones on the digits of scikit-learn; each is trained with local objectives and by backpropagation with the
same optimizer, batch size and number of epochs. Weights are random at the start. The test set is read once, after the
last epoch. The memory is the peak of the tensors that one step creates, without weights and their gradients, as in
benchmarks.memory.

Each row is written to benchmarks/results/from_module.json as soon as it is finished, and rows that the file contains
are not run again without `--again`. Epochs are checkpointed in `--work`: the same command resumes an interrupted row.
"""

from __future__ import annotations

import argparse
import copy
import json
import shlex
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import forwardforward as ff
from benchmarks.command_line import (
    Parser,
    bounded,
    check_names,
    one_line_errors,
    several,
    shell_command,
)
from benchmarks.machine import describe_machine
from benchmarks.markdown import table
from benchmarks.memory.meters import activation_peak
from benchmarks.pages import ROOT, filled, write
from forwardforward.network import Network

RESULTS = ROOT / "benchmarks" / "results" / "from_module.json"
PAGE = ROOT / "docs" / "your_own_model.md"

#: End of the names of rows that are trained by backpropagation.
BACKPROP = "-backprop"


# Modules in plain PyTorch


class MixerBlock(nn.Module):
    """Mixes positions, then features, both with a skip connection (Tolstikhin et al. 2021, arXiv 2105.01601)."""

    def __init__(self, positions: int, features: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.mix_positions = _perceptron(positions, 64)
        self.mix_features = _perceptron(features, 2 * features)

    def forward(self, x: Tensor) -> Tensor:
        """Return sequences of the same shape, ``(rows, positions, features)``."""
        x = x + self.mix_positions(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = x + self.mix_features(self.norm2(x))
        return mixed


def _perceptron(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Patches(nn.Module):
    """Square patches with learned positions, blocks, and a linear classifier of the mean over the patches.

    Args:
        shape: Shape of an image.
        side: Patches along each side.
        features: Number of features.
        blocks: The blocks.
        classes: Number of classes.
    """

    def __init__(self, shape: Sequence[int], side: int, features: int, blocks: nn.Module, classes: int) -> None:
        super().__init__()
        size = shape[1] // side
        self.patches = nn.Conv2d(shape[0], features, size, size)
        self.positions = nn.Parameter(0.02 * torch.randn(1, side * side, features))
        self.blocks = blocks
        self.classifier = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        x = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.classifier(self.blocks(x).mean(1))
        return logits


def resnet18(shape: Sequence[int], classes: int) -> nn.Module:
    """Return torchvision's network, with convolutions in the memory layout that is fast on CPUs."""
    from torchvision.models import resnet18 as make

    module: nn.Module = make(num_classes=classes)
    return module.to(memory_format=torch.channels_last)


def mixer(shape: Sequence[int], classes: int) -> nn.Module:
    """Return four blocks on 8x8 patches, of smaller images on 4x4."""
    side, features = (8, 128) if shape[1] >= 32 else (4, 64)
    blocks = nn.Sequential(*(MixerBlock(side * side, features) for _ in range(4)))
    return Patches(shape, side, features, blocks, classes)


def transformer(shape: Sequence[int], classes: int) -> nn.Module:
    """Return torch's own encoder of four blocks on 8x8 patches, of smaller images on 4x4."""
    side, features = (8, 128) if shape[1] >= 32 else (4, 64)
    block = nn.TransformerEncoderLayer(
        features, 4, 2 * features, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
    )
    return Patches(shape, side, features, nn.TransformerEncoder(block, 4, enable_nested_tensor=False), classes)


class Setting(NamedTuple):
    """A module, its data and the hyperparameters of both trainings."""

    make: Callable[[Sequence[int], int], nn.Module]
    data: str
    epochs: int
    batch_size: int
    lr: float
    flips: bool = True


SETTINGS = {
    "resnet18": Setting(resnet18, "cifar10", 3, 256, 2e-3),
    "mixer": Setting(mixer, "cifar10", 5, 128, 1e-3),
    "transformer": Setting(transformer, "cifar10", 5, 128, 1e-3),
    "mixer-digits": Setting(mixer, "digits", 20, 100, 3e-3, flips=False),
    "transformer-digits": Setting(transformer, "digits", 20, 100, 3e-3, flips=False),
}
ROWS = tuple(name + end for name in SETTINGS for end in ("", BACKPROP))


# Training


def make_model(setting: Setting, data: ff.data.Splits, backpropagation: bool) -> Network:
    """Return the network of a row."""
    preprocessing = ff.preprocessing.Preprocessing(standardize=True)
    local = ff.from_module(
        setting.make(data.input_shape, data.num_classes), data.num_classes, preprocessing=preprocessing
    )
    if not backpropagation:
        local.setup(data.input_shape)
        return local
    return ff.baselines.Backpropagation(
        *(layer.block for layer in local),
        ff.pooling.MeanPool(1),
        num_classes=data.num_classes,
        preprocessing=preprocessing,
        input_shape=data.input_shape,
    )


def peak_of_step(model: Network, setting: Setting, data: ff.data.TensorData, autocast: torch.dtype | None) -> int:
    """Return the peak in bytes of the tensors of one step of a copy of a network."""
    network = copy.deepcopy(model)
    network.preprocessing.fit(data.inputs[: setting.batch_size])
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1e-4)
    assert data.targets is not None
    batch = data.inputs[: setting.batch_size], data.targets[: setting.batch_size]
    return activation_peak(network, lambda: network.step(batch, optimizer, autocast=autocast))[0]


def train(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train the network of a row, and return its figures.

    Args:
        name: Name of the row.
        options: Options of the command line.
    """
    setting = SETTINGS[name.removesuffix(BACKPROP)]
    data = ff.data.load(setting.data, options.data_dir)
    training = data.train if options.validation else data.train_and_validation
    if options.images:
        training = training[: options.images]
    epochs, batch_size, lr = (
        getattr(setting, key) if getattr(options, key) is None else getattr(options, key)
        for key in ("epochs", "batch_size", "lr")
    )
    setting = setting._replace(epochs=epochs, batch_size=batch_size, lr=lr)
    torch.manual_seed(options.seed)
    model = make_model(setting, data, name.endswith(BACKPROP))
    peak = peak_of_step(model, setting, training, torch.bfloat16 if options.precision == "bf16" else None)
    options.work.mkdir(parents=True, exist_ok=True)
    history = ff.fit(
        model,
        training,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=lr, lr_schedule=ff.lr_schedules.Cosine(), fused=True),
        augment=ff.data.RandomFlip() if setting.flips else None,
        precision=options.precision,
        seed=options.seed,
        progress=not options.no_progress,
        checkpoint=None if options.validation else options.work / f"{name}.pt",
        resume=not options.validation,
    )
    result = ff.evaluate(model, data.validation if options.validation else data.test)
    layers = result.layer_errors
    return {
        "data": setting.data,
        "split": "validation" if options.validation else "test",
        "samples": len(training),
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "precision": options.precision,
        "seed": options.seed,
        "layers": len(model),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "epoch_seconds": [round(record["seconds"], 2) for record in history],
        "accuracy": round(result.accuracy, 2),
        "layer_accuracies": None if layers is None else [round(100 - error, 2) for error in layers],
        "peak_bytes": peak,
        "machine": describe_machine("cpu"),
    }


# The page's table


def render(rows: dict[str, Any]) -> str:
    """Return the table of all rows; those that the file does not contain are not run."""
    cells = []
    for name in ROWS:
        row = rows.get(name)
        module = name.removesuffix(BACKPROP)
        setting = SETTINGS[module]
        kind = "backpropagation" if name.endswith(BACKPROP) else "local objectives"
        first = [f"{module.removesuffix('-digits')}, {setting.data}, {kind}", str(setting.epochs)]
        if row is None:
            cells.append([*first, "not run", "", "", "", ""])
            continue
        seconds = statistics.median(row["epoch_seconds"])
        layers = "" if row["layer_accuracies"] is None else ", ".join(f"{a:.1f}" for a in row["layer_accuracies"])
        peak = f"{row['peak_bytes'] / 2**20:.1f}"
        machine = row["machine"]
        cpu = f"{machine['cpu']}, {' and '.join(machine['bf16_units']) or 'no bf16 units'}"
        cells.append([first[0], str(row["epochs"]), f"{row['accuracy']:.2f}", layers, f"{seconds:.1f}", peak, cpu])
    columns = [
        "network, data, training",
        "epochs",
        "test accuracy, %",
        "of each layer",
        "seconds per epoch",
        "peak, MiB",
        "CPU",
    ]
    return table(columns, cells)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the rows, print, and write results and table.

    Args:
        arguments: Words after the program's name; default: those of the process.
    """
    parser = Parser(prog="python -m benchmarks.from_module", description=__doc__)
    parser.add_argument("rows", nargs="?", type=several(str), default=ROWS, metavar="ROW,...", help=", ".join(ROWS))
    parser.add_data_dir()
    parser.add_argument("--epochs", type=bounded(int, 1))
    parser.add_argument("--batch-size", type=bounded(int, 2))
    parser.add_argument("--lr", type=bounded(float, 0))
    parser.add_argument("--images", type=bounded(int, 2), help="train on the first images only")
    parser.add_argument("--seed", type=bounded(int, 0), default=0)
    parser.add_argument("--precision", choices=("float32", "bf16"), default="bf16")
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--validation", action="store_true", help="evaluate on the validation split, and write nothing")
    parser.add_argument("--again", action="store_true", help="run rows that the file contains, too")
    parser.add_argument("--no-progress", action="store_true")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "from_module", help="folder of the checkpoints")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the results; the page shows the default one")
    parser.add_argument("--render", action="store_true", help="train nothing, write the page's table")
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    with one_line_errors(
        parser.prog, "--batch-size", resume=shlex.join(["python", "-m", "benchmarks.from_module", *words])
    ):
        check_names("ROW", options.rows, ROWS)
        for name in () if options.render else options.rows:
            rows = _read(options.out)
            if name in rows and not options.again and not options.validation:
                continue
            row = {"command": shell_command("benchmarks.from_module", words), **train(name, options)}
            print(
                f"{name}: {row['accuracy']:.2f} % {row['split']} accuracy, seconds {row['epoch_seconds']}", flush=True
            )
            if not options.validation:
                write(options.out, json.dumps({**rows, name: row}, indent=1) + "\n")
                (options.work / f"{name}.pt").unlink()
            else:
                print(json.dumps(row["layer_accuracies"]))
        if options.out == RESULTS and not options.validation:
            write(PAGE, filled(PAGE, "from-module", render(_read(RESULTS))))


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


if __name__ == "__main__":
    main()
