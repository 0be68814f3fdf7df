"""
A small transformer encoder
===========================

A small transformer encoder of image patches, each block trained with its own objective.

The module is plain PyTorch, with torch's own encoder. Each block classifies by a linear map of the mean over its
patches, so that every patch has a share in the goodness of a class.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import forwardforward as ff


class Transformer(nn.Module):
    """16 patches with learned positions, three blocks, and a linear classifier of the mean over the patches."""

    def __init__(self, channels, side, features=64):
        super().__init__()
        self.patches = nn.Conv2d(channels, features, side // 4, stride=side // 4)
        self.positions = nn.Parameter(0.1 * torch.randn(1, 16, features))
        block = nn.TransformerEncoderLayer(features, 4, 128, 0.1, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(block, 3, enable_nested_tensor=False)
        self.classifier = nn.Linear(features, 10)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.classifier(self.encoder(x).mean(1))


data = ff.data.load("digits")
channels, side, _ = data.input_shape
torch.manual_seed(0)
local = ff.from_module(Transformer(channels, side), num_classes=10)
blocks = [layer.block for layer in ff.from_module(Transformer(channels, side), num_classes=10)]
backpropagation = ff.baselines.Backpropagation(*blocks, ff.pooling.MeanPool(), num_classes=10)
for name, model in [("local objectives", local), ("backpropagation", backpropagation)]:
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=3e-3)
    ff.fit(model, data.train, epochs=20, optimizer=optimizer, progress=False)
    print(f"{name}: test {ff.evaluate(model, data.test)}")

# %%
# Each patch's share in the goodness of the true class, by block.

images, labels = data.test.inputs[:5], data.test.targets[:5]
local.eval()
activations = local.activations(images)
shares = []
for layer, block in zip(local, activations.values(), strict=True):
    weight = layer.objective.goodness.weight  # (classes, features)
    shares.append((block * weight[labels][:, None]).sum(2).unflatten(1, (4, 4)).detach() / 16)
limit = max(float(share.abs().max()) for share in shares)

figure, axes = plt.subplots(len(shares) + 1, len(images), figsize=(8, 5.8), layout="constrained")
for column, image in enumerate(images):
    axes[0, column].imshow(image.permute(1, 2, 0), cmap="gray_r")
    axes[0, column].set_title(f"class {labels[column]}", fontsize=10)
    for row, share in enumerate(shares, start=1):
        drawing = axes[row, column].imshow(share[column], cmap="RdBu_r", vmin=-limit, vmax=limit)
for row, axis in enumerate(axes[:, 0]):
    axis.set_ylabel(f"block {row - 1}" if row else "image")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
figure.colorbar(drawing, ax=axes[1:], label="share of a patch in the goodness of the true class")
plt.show()
