"""
Your own negative sampler
=========================

A sampler chooses the wrong label of each negative sample. A uniformly sampled wrong label is often an easy one, such
as 0 for an image of a 1. The sampler below prefers labels of similar classes, whose mean images are close,
independently of the network. It is compared with two samplers of the library.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff


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


data = ff.data.load("digits")
similar_class = SimilarClass(data.train.inputs, data.train.targets, temperature=0.15)
histories = {}
for sampler in [ff.negatives.RandomLabel(), ff.negatives.HardLabel(), similar_class]:
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFLinear(64 + 10, 300),
        ff.FFLinear(300, 300),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SwishSymBa(alpha=4.0),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Concatenation(num_classes=10),
        negatives=sampler,
    )
    name = type(sampler).__name__
    histories[name] = ff.fit(model, data.train, validation=data.validation, epochs=20, batch_size=50, progress=False)
    print(f"{name}: test error {ff.evaluate(model, data.test).error:.2f} %")

# %%
# The probability of each wrong label, and the validation error over the epochs.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
image = left.imshow(similar_class.probabilities, cmap="Blues")
figure.colorbar(image, ax=left, label="probability")
left.set(xlabel="wrong label", ylabel="true label", xticks=range(10), yticks=range(10), title="SimilarClass")
for (name, history), color, marker in zip(histories.items(), ["gray", "tab:blue", "tab:orange"], "sDo", strict=True):
    errors = history.validation("error")
    right.plot(range(1, len(errors) + 1), errors, color=color, marker=marker, markersize=4, label=name)
right.set(xlabel="epoch", ylabel="validation error, %", yscale="log", title="validation error")
right.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
right.minorticks_off()
right.legend(frameon=False)
right.spines[["top", "right"]].set_visible(False)
plt.show()
