"""Your own goodness: a function from a layer's activations to one number per sample.

The mean of squares is dominated by a few large activations. The goodness below bounds the contribution of each unit by
one, so that it measures the share of active units. The figure compares the separation of true and wrong labels.

    python examples/own_goodness.py
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import forwardforward as ff

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="digits", help="digits, mnist or fashion-mnist")
parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="output folder of the figure")
args = parser.parse_args()


def active_units(activations):
    """Map activations (batch, ...) to the share of active units, (batch,)."""
    squares = activations.flatten(1).square()
    return (squares / (1 + squares)).mean(1)


data = ff.data.load(args.data, args.data_dir)
images, labels = data.test.inputs, data.test.targets
wrong_labels = (labels + 1) % 10

figure = Figure(figsize=(10, 3.4), layout="constrained")
axes = figure.subplots(1, 3)
candidates = {
    "mean of squares": ff.goodness.MeanOfSquares(),
    "mean of the 5 % largest squares": ff.goodness.TopK(0.05),
    "active units": active_units,
}
for axis, (name, goodness) in zip(axes, candidates.items(), strict=True):
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(images[0].numel() + 10, 300),
        ff.FFLinear(300, 300),
        goodness=goodness,
        loss=ff.losses.SymBa(alpha=4.0),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Concatenation(num_classes=10),
    )
    ff.fit(model, data.train, epochs=args.epochs, batch_size=50, progress=False)
    error = ff.evaluate(model, data.test).error
    print(f"{name}: test error {error:.2f} %")
    axis.set_title(f"{name}\ntest error {error:.1f} %", fontsize=10)

    for kind, targets, color in [("wrong", wrong_labels, "tab:orange"), ("true", labels, "tab:blue")]:
        last_layer = model.goodness(images, targets)[:, -1].numpy()
        axis.hist(last_layer, bins=40, color=color, alpha=0.7, label=f"{kind} label")
    axis.set_xlabel("goodness of the last layer")
    axis.set_yticks([])
    axis.spines[["top", "right", "left"]].set_visible(False)
axes[0].legend(frameon=False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "own_goodness.png", dpi=80)
