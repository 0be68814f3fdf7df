"""Mixup: means of two images and of their labels, for a network with one goodness per class.

Targets become probabilities of the classes, which the cross-entropy accepts. The figure shows mixed digits with the
share of each label.

    python examples/mixup.py
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
for augment in (None, ff.data.Mixup(0.2)):
    torch.manual_seed(0)
    recipe = ff.recipes.get("mono-mixup").replace(widths=(300, 300), augment=augment)
    model = recipe.model(data.input_shape, data.num_classes)
    recipe.fit(model, data.train, epochs=args.epochs, batch_size=50, progress=False)
    print(f"augment={augment}: validation {ff.evaluate(model, data.validation)}")

images, classes = data.train[:8].inputs, data.train[:8].targets
targets = torch.nn.functional.one_hot(classes, data.num_classes).float()
mixed, shares = ff.data.Mixup(1.0).mix(images, targets, torch.Generator().manual_seed(0))
figure = Figure(figsize=(10, 1.9), layout="constrained")
for axis, image, share in zip(figure.subplots(1, 8), mixed, shares, strict=True):
    axis.imshow(image[0], cmap="gray_r")
    names = [f"{data.class_names[k]}: {share[k]:.2f}" for k in share.argsort(descending=True)[:2] if share[k] > 0]
    axis.set_title("\n".join(names), fontsize=10)
    axis.axis("off")
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "mixup.png", dpi=80)
