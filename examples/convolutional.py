"""
A convolutional network
=======================

Each layer maps its feature maps to one goodness per class by a small learned projection and is trained with cross-
entropy: no negative samples, no label in the input, one pass to classify.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")  # "cifar10" and "svhn" are downloaded; train them with device="cuda"
torch.manual_seed(0)
model = ff.FFSequential(
    ff.FFConv2d(data.input_shape[0], 40, 3, padding=1),
    ff.FFConv2d(40, 80, 3, padding=1, pool=2),
    ff.FFConv2d(80, 160, 3, padding=1),
    goodness=ff.goodness.LearnedProjection(num_classes=10, pool=ff.pooling.SpatialPool(2)),
    loss=ff.losses.CrossEntropy(),
    normalization=ff.normalization.BatchNorm(affine=True),
    preprocessing=ff.preprocessing.Preprocessing(standardize=True),
)
optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=3e-3, lr_schedule=ff.lr_schedules.Cosine())
ff.fit(model, data.train, validation=data.validation, epochs=12, optimizer=optimizer, progress=False)
print(ff.evaluate(model, data.test))

# %%
# Two test images, with the three strongest maps of each layer, each map on its own color scale, and the class
# probabilities by layer.

images, labels = data.test.inputs[:2], data.test.targets[:2]
model.eval()
activations = model.activations(images)
predictions, probabilities = model.predict(images), model.layer_goodness(images).softmax(2)

figure = plt.figure(figsize=(10, 4.8), layout="constrained")
for i, subfigure in enumerate(figure.subfigures(1, 2, wspace=0.05)):
    axes = subfigure.subplots(len(model) + 1, 4, width_ratios=[1, 1, 1, 2.5])
    for axis in axes.flat:
        axis.set_axis_off()
    axes[0, 1].imshow(images[i].permute(1, 2, 0), cmap="gray_r")
    axes[0, 1].set_title(f"label {labels[i]}, predicted {predictions[i]}", fontsize=10)
    axes[0, 3].set_title("probability of each class", y=0, fontsize=10)
    for layer in range(len(model)):
        maps = activations[layer][i].detach()
        for axis, channel in zip(axes[layer + 1], maps.flatten(1).mean(1).topk(3).indices, strict=False):
            axis.imshow(maps[channel], cmap="viridis")
        axes[layer + 1, 0].set_title(f"layer {layer}", loc="left", fontsize=9)
        colors = ["tab:blue" if label == labels[i] else "gray" for label in range(10)]
        axis = axes[layer + 1, 3]
        axis.set_axis_on()
        axis.bar(range(10), probabilities[i, layer], color=colors)
        axis.set(xticks=range(10), yticks=[0, 1], ylim=(0, 1))
        axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("class (blue: true class)")
plt.show()
