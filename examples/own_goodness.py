"""
Your own goodness
=================

A goodness maps a layer's activations to one number per sample. The mean of squares is dominated by a few large
activations. The goodness below limits the contribution of each unit to one, so that it measures the share of active
units. It is compared with two goodness functions of the library.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")


def active_units(activations):
    """Map activations (batch, ...) to the share of active units, (batch,)."""
    squares = activations.flatten(1).square()
    return (squares / (1 + squares)).mean(1)


def train(goodness):
    """Return a network trained with a goodness."""
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(64 + 10, 300),
        ff.FFLinear(300, 300),
        goodness=goodness,
        loss=ff.losses.SymBa(alpha=4.0),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Concatenation(num_classes=10),
    )
    ff.fit(model, data.train, epochs=20, batch_size=50, progress=False)
    return model


models = {
    "mean of squares": train(ff.goodness.MeanOfSquares()),
    "mean of the 5 % largest squares": train(ff.goodness.TopK(0.05)),
    "active units": train(active_units),
}

# %%
# The distribution of the goodness of the last layer, for test images with true and with wrong labels: the further the
# curves are apart, the better the goodness separates them. Each goodness has its own unit.

images, labels = data.test.inputs, data.test.targets
shares = torch.linspace(0, 100, len(labels))
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained", sharey=True)
for axis, (name, model) in zip(axes, models.items(), strict=True):
    error = ff.evaluate(model, data.test).error
    print(f"{name}: test error {error:.2f} %")
    for kind, targets, color in [("wrong", (labels + 1) % 10, "tab:orange"), ("true", labels, "tab:blue")]:
        last_layer = model.goodness(images, targets)[:, -1]
        axis.plot(last_layer.sort().values, shares, color=color, label=f"{kind} label")
    axis.set(title=f"{name}\ntest error {error:.1f} %", xlabel="goodness of the last layer")
    axis.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("images with at most this goodness, %")
axes[0].legend(frameon=False)
plt.show()
