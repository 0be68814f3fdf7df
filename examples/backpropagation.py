"""
The same layers trained by backpropagation
==========================================

Layers are ordinary modules: a Forward-Forward network and a baseline are built from the same layers, and ``fit`` and
``evaluate`` accept both. Two local objectives are compared with backpropagation and feedback alignment.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")


def dense_layers(in_features):
    """Return three layers of 300 units."""
    sizes = [(in_features, 300), (300, 300), (300, 300)]
    return [ff.FFLinear(*size, normalization=ff.normalization.RMSNorm()) for size in sizes]


def pairs():
    """Pairs of true and wrong labels; the label is part of the input."""
    return ff.FFSequential(
        *dense_layers(64 + 10),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SwishSymBa(alpha=4.0),
        label_encoder=ff.label_encoders.Concatenation(num_classes=10),
        negatives=ff.negatives.HardLabel(),
    )


def per_class():
    """One goodness per class in every layer."""
    goodness = ff.goodness.LearnedProjection(num_classes=10)
    return ff.FFSequential(*dense_layers(64), goodness=goodness, loss=ff.losses.CrossEntropy())


def backpropagation():
    """Exact gradients through all layers."""
    return ff.baselines.Backpropagation(*dense_layers(64), num_classes=10)


def feedback_alignment():
    """Errors propagated through fixed random weights."""
    return ff.baselines.FeedbackAlignment(*dense_layers(64), num_classes=10)


results = {}
for build in [pairs, per_class, backpropagation, feedback_alignment]:
    torch.manual_seed(0)
    model = build()
    history = ff.fit(model, data.train, validation=data.validation, epochs=10, batch_size=50, progress=False)
    name, error = build.__name__.replace("_", " "), ff.evaluate(model, data.test).error
    print(f"{name}: test error {error:.2f} %")
    results[f"{name}: test {error:.1f} %"] = history.validation("error")

# %%
# The validation error over the epochs.

figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
styles = [("tab:blue", "o"), ("tab:orange", "s"), ("black", "D"), ("gray", "^")]
for (label, errors), (color, marker) in zip(results.items(), styles, strict=True):
    axis.plot(range(1, len(errors) + 1), errors, color=color, marker=marker, label=label)
axis.set(xlabel="epoch", ylabel="validation error, %", yscale="log")
axis.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
axis.minorticks_off()
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()
