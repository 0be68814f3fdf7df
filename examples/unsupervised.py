"""
Unsupervised features and a linear classifier
=============================================

A positive sample is an image, a negative sample a hybrid of two images in large patches. To discriminate the two,
layers have to learn shapes. The layers are trained without labels, and a linear head on the last layer with labels.
It is compared with a head on untrained layers. The layers are narrow, so that the quality of each feature matters.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")
negatives = ff.negatives.HybridMask(blurs=3)  # 10 for the larger images of MNIST


def train(schedule):
    """Return a network and its history."""
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(64, 50),
        ff.FFLinear(50, 50),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(alpha=4.0),
        normalization=ff.normalization.RMSNorm(),
        negatives=negatives,
        head=ff.heads.LinearHead(num_classes=10),
    )
    settings = {"epochs": 30, "batch_size": 50, "schedule": schedule, "progress": False}
    return model, ff.fit(model, data.train, validation=data.validation, **settings)


def no_updates(depth, epoch, step, epochs):
    """Return no groups of layers to update: only the head is trained."""
    return []


untrained, untrained_history = train(no_updates)
model, history = train(ff.update_schedules.Joint())
for name, network in {"random features": untrained, "learned features": model}.items():
    print(f"{name}: test error of the linear head {ff.evaluate(network, data.test).error:.2f} %")

# %%
# Images and their hybrids, the 25 largest weight vectors of the first layer, and the error of the head.

figure = plt.figure(figsize=(10, 3.6), layout="constrained")
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
largest = weights[weights.norm(dim=1).topk(25).indices].unflatten(1, data.input_shape)[:, 0]
for axis, weight in zip(filters.subplots(5, 5).flat, largest, strict=True):
    axis.imshow(weight, cmap="PuOr", vmin=-largest.abs().max(), vmax=largest.abs().max())
    axis.set_axis_off()
filters.suptitle("weights of layer 0, one color scale", fontsize=10)
axis = curves.subplots()
for name, values, color, marker in [
    ("random features", untrained_history, "gray", "s"),
    ("learned features", history, "tab:blue", "o"),
]:
    errors = values.validation("error")
    axis.plot(range(1, len(errors) + 1), errors, color=color, marker=marker, markersize=4, label=name)
axis.set(xlabel="epoch", ylabel="validation error of the head, %", ylim=(0, None))
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()
