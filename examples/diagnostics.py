"""
Reading the diagnostics of a run that fails
===========================================

The history of a run contains the loss, the separation of goodness, the gradient norm and other metrics of every layer
and epoch. Two runs differ only in the learning rate. With the larger rate layer 0 still trains; the history shows
that the later layers do not: their losses stay high, and each layer is worse than the layer before.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")
histories = {}
for lr in (0.001, 0.03):
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(64 + 10, 300),
        ff.FFLinear(300, 300),
        ff.FFLinear(300, 300),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(theta="width"),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Concatenation(num_classes=10),
    )
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=lr)
    histories[lr] = history = ff.fit(
        model, data.train, validation=data.validation, epochs=15, batch_size=50, optimizer=optimizer, progress=False
    )
    for layer, metrics in enumerate(history[-1]["layers"]):
        error = history[-1]["validation"]["layer_errors"][layer]
        print(f"learning rate {lr}, layer {layer}: loss {metrics['loss']:.2f}, validation error {error:.1f} %")

# %%
# The same metrics over the epochs, with one scale for both learning rates.

keys = ["loss", "separation", "gradient_norm"]
figure, axes = plt.subplots(2, 4, figsize=(10, 4.4), layout="constrained", sharex=True, sharey="col")
for row, (lr, history) in zip(axes, histories.items(), strict=True):
    epochs = range(1, len(history) + 1)
    for layer, (color, marker) in enumerate([("tab:blue", "o"), ("tab:orange", "s"), ("black", "^")]):
        curves = [history.layer(layer, key) for key in keys]
        curves.append([record["validation"]["layer_errors"][layer] for record in history])
        for axis, curve in zip(row, curves, strict=True):
            axis.plot(epochs, curve, color=color, marker=marker, markersize=3, label=f"layer {layer}")
    row[0].set_ylabel(f"learning rate {lr}")
for axis, title in zip(axes[0], ["loss", "separation", "gradient norm", "validation error, %"], strict=True):
    axis.set_title(title)
axes[0, 0].set(yscale="log", ylim=(0.1, 1000))
axes[0, 2].set(yscale="log", ylim=(5, 1000))
axes[0, 0].legend(frameon=False)
figure.supxlabel("epoch")
for axis in axes.flat:
    axis.spines[["top", "right"]].set_visible(False)
plt.show()
