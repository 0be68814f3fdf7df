"""Your own negative sampler: the wrong label of each negative sample.

A uniformly sampled wrong label is often an easy one, such as 0 for an image of a 1. The sampler below prefers labels of
similar classes, whose mean images are close, independently of the network. The figure compares it with the library's.

    python examples/own_negatives.py
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


class SimilarClass(ff.negatives.LabelNegatives):
    """Samples a wrong label by the distance of the mean images, P(k | y) ~ exp(-d(y, k) / temperature)."""

    def __init__(self, images, labels, temperature):
        means = torch.stack([images[labels == k].flatten(1).mean(0) for k in range(10)])
        distances = torch.cdist(means, means)
        distances = (distances / distances.mean()).fill_diagonal_(torch.inf)
        self.probabilities = (-distances / temperature).softmax(1)

    def wrong_labels(self, labels, num_classes, scores, generator):
        probabilities = self.probabilities.to(labels.device)[labels]
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


data = ff.data.load(args.data, args.data_dir)
similar_class = SimilarClass(data.train.inputs, data.train.targets, temperature=0.15)
samplers = {
    "RandomLabel": (ff.negatives.RandomLabel(), "gray"),
    "HardLabel": (ff.negatives.HardLabel(), "tab:blue"),
    "SimilarClass": (similar_class, "tab:orange"),
}

figure = Figure(figsize=(9, 3.8), layout="constrained")
left, right = figure.subplots(1, 2)
for name, (sampler, color) in samplers.items():
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(data.train.inputs[0].numel() + 10, 300),
        ff.FFLinear(300, 300),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SwishSymBa(alpha=4.0),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Concatenation(num_classes=10),
        negatives=sampler,
    )
    history = ff.fit(model, data.train, validation=data.validation, epochs=args.epochs, batch_size=50, progress=False)
    print(f"{name}: test error {ff.evaluate(model, data.test).error:.2f} %")
    errors = history.validation("error")
    right.plot(range(1, len(errors) + 1), errors, color=color, marker=".", label=name)

image = left.imshow(similar_class.probabilities, cmap="Blues")
figure.colorbar(image, ax=left, label="probability")
left.set(xlabel="wrong label", ylabel="true label", xticks=range(10), yticks=range(10), title="SimilarClass")
right.set(xlabel="epoch", ylabel="validation error, %", yscale="log", title="validation error")
right.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
right.minorticks_off()
right.legend(frameon=False)
right.spines[["top", "right"]].set_visible(False)
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "own_negatives.png", dpi=80)
