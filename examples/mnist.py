"""Handwritten digits in ten lines.

Every layer is trained with its own objective: high goodness for an image with its true label and low goodness for the
same image with a wrong label. The predicted class is the label with the highest goodness, as the figure shows.

    python examples/mnist.py                 # scikit-learn's 8x8 digits
    python examples/mnist.py --data mnist    # downloads MNIST, or pass --data-dir
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

data = ff.data.load(args.data, args.data_dir)
torch.manual_seed(0)
model = ff.FFSequential(
    ff.FFLinear(data.train.inputs[0].numel(), 500),
    ff.FFLinear(500, 500),
    goodness=ff.goodness.MeanOfSquares(),
    loss=ff.losses.SwishSymBa(alpha=4.0),
    normalization=ff.normalization.RMSNorm(),
    label_encoder=ff.label_encoders.Overlay(num_classes=10),
    negatives=ff.negatives.HardLabel(),
)
ff.fit(model, data.train, validation=data.validation, epochs=args.epochs, batch_size=50)
result = ff.evaluate(model, data.test)
print("test", result)

# Goodness with every label for eight test images, two of them misclassified if possible
images, labels = data.test.inputs, data.test.targets
scores = model.scores(images)
predictions = scores.argmax(1)
is_correct = predictions == labels
indices = torch.cat([(~is_correct).nonzero()[:2], is_correct.nonzero()])[:8].flatten()

figure = Figure(figsize=(10, 5.2), layout="constrained")
axes = figure.subplots(4, 4, height_ratios=[1, 1.2, 1, 1.2])
for position, i in enumerate(indices.tolist()):
    row, column = 2 * (position // 4), position % 4
    axes[row, column].imshow(images[i, 0], cmap="gray_r")
    axes[row, column].set_axis_off()
    colors = ["tab:blue" if label == labels[i] else "lightgray" for label in range(10)]
    if not is_correct[i]:
        colors[predictions[i]] = "tab:orange"
    axes[row + 1, column].bar(range(10), scores[i], color=colors)
    axes[row + 1, column].set_xticks(range(10))
    axes[row + 1, column].spines[["top", "right"]].set_visible(False)
figure.supylabel("goodness")
figure.supxlabel("label (blue: true label, orange: wrong prediction)")
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "mnist.png", dpi=80)
