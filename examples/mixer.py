"""An MLP-Mixer of your own, trained with local objectives and by backpropagation.

The module is plain PyTorch, written for backpropagation. `ff.from_module` makes one layer of each block, with its own
objective. The figure compares the validation errors, and shows the test error of each block alone.

    python examples/mixer.py
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn

import forwardforward as ff

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="digits", help="digits, mnist, fashion-mnist or cifar10")
parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="output folder of the figure")
args = parser.parse_args()


class MixerBlock(nn.Module):
    """Mixes positions, then features, both with a skip connection."""

    def __init__(self, positions, features):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.mix_positions = nn.Sequential(nn.Linear(positions, 64), nn.GELU(), nn.Linear(64, positions))
        self.mix_features = nn.Sequential(nn.Linear(features, 128), nn.GELU(), nn.Linear(128, features))

    def forward(self, x):
        x = x + self.mix_positions(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mix_features(self.norm2(x))


class Mixer(nn.Module):
    """16 patches, four blocks, and a linear classifier of the mean over the patches."""

    def __init__(self, channels, side, features=64):
        super().__init__()
        self.patches = nn.Conv2d(channels, features, side // 4, stride=side // 4)
        self.blocks = nn.Sequential(*(MixerBlock(16, features) for _ in range(4)))
        self.classifier = nn.Linear(features, 10)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        return self.classifier(self.blocks(x).mean(1))


data = ff.data.load(args.data, args.data_dir)
channels, side, _ = data.input_shape
torch.manual_seed(0)
local = ff.from_module(Mixer(channels, side), num_classes=10)
blocks = [layer.block for layer in ff.from_module(Mixer(channels, side), num_classes=10)]
backpropagation = ff.baselines.Backpropagation(*blocks, ff.pooling.MeanPool(), num_classes=10)

figure = Figure(figsize=(8, 3.6), layout="constrained")
curves, bars = figure.subplots(1, 2, width_ratios=[2, 1])
for name, model, color in [("local objectives", local, "tab:blue"), ("backpropagation", backpropagation, "black")]:
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=3e-3)
    history = ff.fit(
        model, data.train, validation=data.validation, epochs=args.epochs, optimizer=optimizer, progress=False
    )
    result = ff.evaluate(model, data.test)
    print(f"{name}: test error {result.error:.2f} %")
    errors = history.validation("error")
    curves.plot(range(1, len(errors) + 1), errors, color=color, label=f"{name}: test {result.error:.1f} %")
    if result.layer_errors is not None:
        bars.bar(range(len(model)), result.layer_errors, color=color)
curves.set(xlabel="epoch", ylabel="validation error, %", yscale="log")
curves.legend(frameon=False)
bars.set(xlabel="block", ylabel="test error of a block alone, %", xticks=range(len(local)))
for axis in (curves, bars):
    axis.spines[["top", "right"]].set_visible(False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "mixer.png", dpi=80)
