"""
Several labels per image
========================

Which digits are on an image? Each label's goodness is compared with a threshold, not with that of the other labels, so
any number of labels may apply.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("digit-pairs")  # two digits side by side; targets are booleans, (samples, 10)
torch.manual_seed(0)
model = ff.FFSequential(
    ff.FFLinear(128, 300),
    ff.FFLinear(300, 300),
    goodness=ff.goodness.LearnedProjection(10),
    loss=ff.losses.BinaryCrossEntropy(),
    normalization=ff.normalization.RMSNorm(),
)
ff.fit(model, data.train, validation=data.validation, epochs=20, batch_size=50, progress=False)
print(ff.evaluate(model, data.test))

# %%
# Test images with the predicted labels, and the probability of each label. Labels above the line are predicted.

images, targets = data.test.inputs[:6], data.test.targets[:6]
predicted, probabilities = model.predict(images), model.predict_proba(images)
figure, axes = plt.subplots(2, 6, figsize=(10, 3.4), layout="constrained")
for column, (top, bottom) in enumerate(axes.T):
    top.imshow(images[column, 0], cmap="gray_r")
    names = " and ".join(str(label) for label in predicted[column].nonzero().flatten().tolist())
    top.set_title(f"predicted {names or 'none'}", fontsize=10)
    top.axis("off")
    colors = ["tab:blue" if is_true else "tab:orange" for is_true in targets[column]]
    bottom.bar(range(10), probabilities[column].tolist(), color=colors)
    bottom.axhline(0.5, color="black", linewidth=0.8)
    bottom.set(ylim=(0, 1), xticks=range(10), ylabel="" if column else "probability")
    bottom.tick_params(axis="x", labelsize=8)
    bottom.spines[["top", "right"]].set_visible(False)
figure.supxlabel("label (blue: true label, orange: other label)", fontsize=10)
plt.show()
