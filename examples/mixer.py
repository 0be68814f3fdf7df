"""
An MLP-Mixer of your own
========================

An MLP-Mixer of your own, trained with local objectives and by backpropagation.

The module is plain PyTorch, written for backpropagation. `ff.from_module` makes one layer of each block, with its own
objective.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import forwardforward as ff


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


data = ff.data.load("digits")
channels, side, _ = data.input_shape
torch.manual_seed(0)
local = ff.from_module(Mixer(channels, side), num_classes=10)
blocks = [layer.block for layer in ff.from_module(Mixer(channels, side), num_classes=10)]
backpropagation = ff.baselines.Backpropagation(*blocks, ff.pooling.MeanPool(), num_classes=10)

histories, results = {}, {}
for name, model in {"local objectives": local, "backpropagation": backpropagation}.items():
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=3e-3)
    options = {"epochs": 20, "optimizer": optimizer, "progress": False}
    histories[name] = ff.fit(model, data.train, validation=data.validation, **options)
    results[name] = ff.evaluate(model, data.test)
    print(f"{name}: test error {results[name].error:.2f} %")

# %%
# The validation errors, and the test error of each block alone.

figure, (curves, bars) = plt.subplots(1, 2, figsize=(8, 3.6), width_ratios=[2, 1], layout="constrained")
for (name, history), color in zip(histories.items(), ["tab:blue", "black"], strict=True):
    errors = history.validation("error")
    curves.plot(range(1, len(errors) + 1), errors, color=color, label=f"{name}: test {results[name].error:.1f} %")
curves.set(xlabel="epoch", ylabel="validation error, %", ylim=(0, None))
curves.locator_params(axis="x", integer=True)
curves.legend(frameon=False)
bars.bar(range(len(local)), results["local objectives"].layer_errors, color="tab:blue")
bars.set(xlabel="block", ylabel="test error of a block alone, %", xticks=range(len(local)))
for axis in (curves, bars):
    axis.spines[["top", "right"]].set_visible(False)
plt.show()
