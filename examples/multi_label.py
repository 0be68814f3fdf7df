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
# Test images with the predicted labels, and the probability of each label.

images = data.test.inputs[:6]
predicted, probabilities = model.predict(images), model.predict_proba(images)
figure, axes = plt.subplots(2, 6, figsize=(10, 3.4), layout="constrained")
for column, (top, bottom) in enumerate(axes.T):
    top.imshow(images[column, 0], cmap="gray_r")
    top.set_title(" and ".join(str(label) for label in predicted[column].nonzero().flatten().tolist()), fontsize=10)
    top.axis("off")
    bottom.bar(range(10), probabilities[column].tolist(), color="tab:blue")
    bottom.set(ylim=(0, 1), xticks=range(10), ylabel="" if column else "probability")
    bottom.spines[["top", "right"]].set_visible(False)
plt.show()
