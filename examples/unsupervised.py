"""Features learned without labels, and a linear classifier on them.

A positive sample is an image, a negative sample a hybrid of two images in large patches. To discriminate the two,
layers have to learn shapes. The layers are trained without labels, and a linear head on the last layer with labels. The
figure compares it with a head on untrained layers. The layers are narrow, so that the quality of each feature matters.

    python examples/unsupervised.py
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import forwardforward as ff

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="digits", help="digits, mnist or fashion-mnist")
parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="output folder of the figure")
args = parser.parse_args()

data = ff.data.load(args.data, args.data_dir)
negatives = ff.negatives.HybridMask(blurs=3 if args.data == "digits" else 10)


def no_updates(depth, epoch, step, epochs):
    """Return no groups of layers to update: only the head is trained."""
    return []


errors = {}
for name, schedule in {"random features": no_updates, "learned features": ff.update_schedules.Joint()}.items():
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(data.train.inputs[0].numel(), 50),
        ff.FFLinear(50, 50),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(alpha=4.0),
        normalization=ff.normalization.RMSNorm(),
        negatives=negatives,
        head=ff.heads.LinearHead(num_classes=10),
    )
    settings = {"epochs": args.epochs, "batch_size": 50, "schedule": schedule, "progress": False}
    history = ff.fit(model, data.train, validation=data.validation, **settings)
    errors[name] = history.validation("error")
    print(f"{name}: test error of the linear head {ff.evaluate(model, data.test).error:.2f} %")

figure = Figure(figsize=(10, 3.6), layout="constrained")
samples, filters, curves = figure.subfigures(1, 3, width_ratios=[0.5, 1, 1.4])
images = data.test.inputs[1:5]
hybrids = negatives(images, None, None, None, torch.Generator().manual_seed(0)).inputs[4:]
axes = samples.subplots(4, 2)
for row, pair in zip(axes, zip(images, hybrids, strict=True), strict=True):
    for axis, image in zip(row, pair, strict=True):
        axis.imshow(image[0], cmap="gray_r")
        axis.set(xticks=[], yticks=[])
axes[0, 0].set_title("image", fontsize=10)
axes[0, 1].set_title("hybrid", fontsize=10)
weights = model.layers[0].block.weight.detach()
strongest = weights[weights.norm(dim=1).topk(25).indices].unflatten(1, data.input_shape)[:, 0]
for axis, weight in zip(filters.subplots(5, 5).flat, strongest, strict=True):
    axis.imshow(weight, cmap="PuOr", vmin=-weight.abs().max(), vmax=weight.abs().max())
    axis.set_axis_off()
filters.suptitle("weights of layer 0", fontsize=10)
axis = curves.subplots()
for (name, values), color in zip(errors.items(), ["gray", "tab:blue"], strict=True):
    axis.plot(range(1, len(values) + 1), values, color=color, marker=".", label=name)
axis.set(xlabel="epoch", ylabel="validation error of the head, %", ylim=(0, None))
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "unsupervised.png", dpi=80)
