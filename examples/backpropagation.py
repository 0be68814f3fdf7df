"""The same stack, trained without and with errors sent backward.

Layers are plain modules: the list that makes a Forward-Forward network makes a baseline too, and fit and evaluate take
both. The picture compares two local objectives with backpropagation and with feedback alignment.

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
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="folder of the picture")
args = parser.parse_args()

data = ff.data.load(args.data, args.data_dir)
pixels = data.train.inputs[0].numel()


def stack(inputs):
    """Return three layers of 300 units."""
    return [
        ff.FFLinear(*sizes, normalization=ff.normalization.RMSNorm()) for sizes in [(inputs, 300), *[(300, 300)] * 2]
    ]


def pairs():
    """Right against wrong labels: the label is part of the input."""
    return ff.FFSequential(
        *stack(pixels + 10),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SwishSymBa(alpha=4.0),
        label_encoder=ff.label_encoders.Concatenation(num_classes=10),
        negatives=ff.negatives.HardLabel(),
    )


def per_class():
    """A goodness for every class, in every layer."""
    goodness = ff.goodness.LearnedProjection(num_classes=10)
    return ff.FFSequential(*stack(pixels), goodness=goodness, loss=ff.losses.CrossEntropy())


def backpropagation():
    """The exact gradient, from the output back to the first layer."""
    return ff.baselines.Backpropagation(*stack(pixels), num_classes=10)


def feedback_alignment():
    """Errors sent backward through random weights."""
    return ff.baselines.FeedbackAlignment(*stack(pixels), num_classes=10)


figure = Figure(figsize=(8, 4), layout="constrained")
axis = figure.subplots()
styles = zip(["tab:blue", "deepskyblue", "black", "tab:orange"], ["o", "s", "D", "^"], strict=True)
for make, (color, marker) in zip([pairs, per_class, backpropagation, feedback_alignment], styles, strict=True):
    torch.manual_seed(0)
    model = make()
    history = ff.fit(model, data.train, validation=data.validation, epochs=args.epochs, batch_size=50, progress=False)
    name = make.__name__.replace("_", " ")
    error = ff.evaluate(model, data.test).error
    print(f"{name}: test error {error:.2f} %, {history.seconds / len(history):.2f} seconds an epoch")
    errors = history.validation("error")
    axis.plot(range(1, len(errors) + 1), errors, color=color, marker=marker, label=f"{name}: test {error:.1f} %")
axis.set(xlabel="epoch", ylabel="validation error, %", yscale="log")
axis.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
axis.minorticks_off()
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "backpropagation.png", dpi=80)
