"""The same layers trained with local objectives and with backpropagation.

Layers are ordinary modules: a Forward-Forward network and a baseline are built from the same layers, and fit and
evaluate accept both. The figure compares two local objectives with backpropagation and feedback alignment.

    python examples/backpropagation.py
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import forwardforward as ff

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="digits", help="digits, mnist or fashion-mnist")
parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="output folder of the figure")
args = parser.parse_args()

data = ff.data.load(args.data, args.data_dir)
pixels = data.train.inputs[0].numel()


def dense_layers(in_features):
    """Return three layers of 300 units."""
    sizes = [(in_features, 300), (300, 300), (300, 300)]
    return [ff.FFLinear(*size, normalization=ff.normalization.RMSNorm()) for size in sizes]


def pairs():
    """Pairs of true and wrong labels; the label is part of the input."""
    return ff.FFSequential(
        *dense_layers(pixels + 10),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SwishSymBa(alpha=4.0),
        label_encoder=ff.label_encoders.Concatenation(num_classes=10),
        negatives=ff.negatives.HardLabel(),
    )


def per_class():
    """One goodness per class in every layer."""
    goodness = ff.goodness.LearnedProjection(num_classes=10)
    return ff.FFSequential(*dense_layers(pixels), goodness=goodness, loss=ff.losses.CrossEntropy())


def backpropagation():
    """Exact gradients through all layers."""
    return ff.baselines.Backpropagation(*dense_layers(pixels), num_classes=10)


def feedback_alignment():
    """Errors propagated through fixed random weights."""
    return ff.baselines.FeedbackAlignment(*dense_layers(pixels), num_classes=10)


figure = Figure(figsize=(8, 4), layout="constrained")
axis = figure.subplots()
styles = zip(["tab:blue", "deepskyblue", "black", "tab:orange"], ["o", "s", "D", "^"], strict=True)
for build, (color, marker) in zip([pairs, per_class, backpropagation, feedback_alignment], styles, strict=True):
    torch.manual_seed(0)
    model = build()
    history = ff.fit(model, data.train, validation=data.validation, epochs=args.epochs, batch_size=50, progress=False)
    name = build.__name__.replace("_", " ")
    error = ff.evaluate(model, data.test).error
    print(f"{name}: test error {error:.2f} %, {history.seconds / len(history):.2f} seconds per epoch")
    errors = history.validation("error")
    axis.plot(range(1, len(errors) + 1), errors, color=color, marker=marker, label=f"{name}: test {error:.1f} %")
axis.set(xlabel="epoch", ylabel="validation error, %", yscale="log")
axis.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
axis.minorticks_off()
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "backpropagation.png", dpi=80)
