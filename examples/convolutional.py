"""A convolutional network whose layers each tell the classes apart.

Each layer has a goodness for every class, read off its maps by a small projection of its own, and is trained by
cross-entropy on the spot: no negatives, no label in the input, one pass to classify. The picture follows two images
through the layers.

    python examples/convolutional.py                                      # the 8x8 digits
    python examples/convolutional.py --data cifar10 --device cuda         # downloaded, or give --data-dir
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import forwardforward as ff

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="digits", help="digits, cifar10, svhn, mnist or fashion-mnist")
parser.add_argument("--data-dir", type=Path, help="folder of the data sets")
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--device", default="cpu")
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="folder of the picture")
args = parser.parse_args()

plain = ff.data.load(args.data, args.data_dir)
data = plain.standardized()
torch.manual_seed(0)
model = ff.FFSequential(
    ff.FFConv2d(data.input_shape[0], 40, 3, padding=1),
    ff.FFConv2d(40, 80, 3, padding=1, pool=2),
    ff.FFConv2d(80, 160, 3, padding=1),
    goodness=ff.goodness.LearnedProjection(num_classes=10, pool=ff.pooling.SpatialPool(2)),
    loss=ff.losses.CrossEntropy(),
    normalization=ff.normalization.BatchNorm(affine=True),
).to(args.device)
ff.fit(
    model,
    data.train,
    validation=data.validation,
    epochs=args.epochs,
    optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=3e-3, lr_schedule=ff.lr_schedules.Cosine()),
    augment=ff.data.Compose(ff.data.RandomCrop(4), ff.data.RandomFlip()) if args.data == "cifar10" else None,
)
result = ff.evaluate(model, data.test)
print("test", result)

# Two test images, the strongest maps that each layer makes of them, and what the layer says
images = data.test.inputs[:2].to(args.device)
model.eval()
activations = model.activations(images)
probabilities = model.layer_goodness(images).softmax(2).cpu()

figure = Figure(figsize=(10, 4.6), layout="constrained")
for half, number in zip(figure.subfigures(1, 2, wspace=0.05), range(2), strict=True):
    axes = half.subplots(len(model) + 1, 4, width_ratios=[1, 1, 1, 2.5])
    for axis in axes.flat:
        axis.set_axis_off()
    axes[0, 1].imshow(plain.test.inputs[number].permute(1, 2, 0), cmap="gray_r")
    for layer in range(len(model)):
        maps = activations[layer][number].detach().cpu()
        for axis, best in zip(axes[layer + 1], maps.flatten(1).mean(1).topk(3).indices, strict=False):
            axis.imshow(maps[best], cmap="viridis")
        axes[layer + 1, 0].set_title(f"layer {layer + 1}", loc="left", fontsize=9)
        truth = [label == data.test.targets[number] for label in range(10)]
        axis = axes[layer + 1, 3]
        axis.set_axis_on()
        axis.bar(range(10), probabilities[number, layer], color=["tab:blue" if true else "gray" for true in truth])
        axis.set(xticks=range(10), yticks=[0, 1], ylim=(0, 1))
        axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("class, the true one blue")
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "convolutional.png", dpi=80)
