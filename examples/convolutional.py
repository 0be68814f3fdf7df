"""A convolutional network with a per-class goodness in every layer.

Each layer maps its feature maps to one goodness per class by a small learned projection and is trained with
cross-entropy: no negative samples, no label in the input, one pass to classify. The figure shows the strongest maps
and the class probabilities of each layer for two images.

    python examples/convolutional.py                                      # the 8x8 digits
    python examples/convolutional.py --data cifar10 --device cuda         # downloads CIFAR-10, or pass --data-dir
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
parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="output folder of the figure")
args = parser.parse_args()

data = ff.data.load(args.data, args.data_dir)
torch.manual_seed(0)
model = ff.FFSequential(
    ff.FFConv2d(data.input_shape[0], 40, 3, padding=1),
    ff.FFConv2d(40, 80, 3, padding=1, pool=2),
    ff.FFConv2d(80, 160, 3, padding=1),
    goodness=ff.goodness.LearnedProjection(num_classes=10, pool=ff.pooling.SpatialPool(2)),
    loss=ff.losses.CrossEntropy(),
    normalization=ff.normalization.BatchNorm(affine=True),
    preprocessing=ff.preprocessing.Preprocessing(standardize=True),
).to(args.device)
augment = ff.data.Compose(ff.data.RandomCrop(4, fill="mean"), ff.data.RandomFlip())
ff.fit(
    model,
    data.train,
    validation=data.validation,
    epochs=args.epochs,
    optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=3e-3, lr_schedule=ff.lr_schedules.Cosine()),
    augment=augment if args.data == "cifar10" else None,
)
result = ff.evaluate(model, data.test)
print("test", result)

# Two test images with the strongest maps and the class probabilities of each layer
images = data.test.inputs[:2].to(args.device)
model.eval()
activations = model.activations(images)
probabilities = model.layer_goodness(images).softmax(2).cpu()

figure = Figure(figsize=(10, 4.6), layout="constrained")
for image_index, subfigure in enumerate(figure.subfigures(1, 2, wspace=0.05)):
    axes = subfigure.subplots(len(model) + 1, 4, width_ratios=[1, 1, 1, 2.5])
    for axis in axes.flat:
        axis.set_axis_off()
    axes[0, 1].imshow(images[image_index].cpu().permute(1, 2, 0), cmap="gray_r")
    for layer in range(len(model)):
        maps = activations[layer][image_index].detach().cpu()
        for axis, channel in zip(axes[layer + 1], maps.flatten(1).mean(1).topk(3).indices, strict=False):
            axis.imshow(maps[channel], cmap="viridis")
        axes[layer + 1, 0].set_title(f"layer {layer}", loc="left", fontsize=9)
        colors = ["tab:blue" if label == data.test.targets[image_index] else "gray" for label in range(10)]
        axis = axes[layer + 1, 3]
        axis.set_axis_on()
        axis.bar(range(10), probabilities[image_index, layer], color=colors)
        axis.set(xticks=range(10), yticks=[0, 1], ylim=(0, 1))
        axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("class (blue: true class)")
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "convolutional.png", dpi=80)
