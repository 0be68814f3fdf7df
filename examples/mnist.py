"""
A first network
===============

Every layer is trained with its own objective: high goodness for an image with its true label, low goodness for the
same image with a wrong label. The predicted class is the label with the highest goodness.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digits")  # 8x8 digits that come with scikit-learn; "mnist" and "fashion-mnist" are downloaded
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
ff.fit(model, data.train, validation=data.validation, epochs=20, batch_size=50, progress=False)
print(ff.evaluate(model, data.test))

# %%
# The goodness of every label, for eight test images; up to two of them are misclassified.

images, labels = data.test.inputs, data.test.targets
goodness = model.scores(images)
predictions = goodness.argmax(1)
is_correct = predictions == labels
indices = torch.cat([(~is_correct).nonzero()[:2], is_correct.nonzero()])[:8].flatten()

figure, axes = plt.subplots(4, 4, figsize=(10, 5.6), height_ratios=[1, 1.2, 1, 1.2], layout="constrained")
pictures, bars = axes[[0, 2]].flatten(), axes[[1, 3]].flatten()
for picture, bar, i in zip(pictures, bars, indices.tolist(), strict=True):
    picture.imshow(images[i, 0], cmap="gray_r")
    picture.set_title(f"label {labels[i]}, predicted {predictions[i]}", fontsize=10)
    picture.set_axis_off()
    colors = ["tab:blue" if label == labels[i] else "lightgray" for label in range(10)]
    if not is_correct[i]:
        colors[predictions[i]] = "tab:orange"
    bar.bar(range(10), goodness[i], color=colors)
    bar.set(xticks=range(10), ylim=(0, 1.05 * goodness[indices].max()))
    bar.spines[["top", "right"]].set_visible(False)
figure.supylabel("goodness")
figure.supxlabel("label (blue: true label, orange: wrong prediction)")
plt.show()
