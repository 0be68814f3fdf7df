"""
Regression
==========

Real-valued targets are learned as the goodness of ordered bins. Every layer predicts the target by itself, and the
network by the mean of its layers.
"""

import matplotlib.pyplot as plt
import torch

import forwardforward as ff

data = ff.data.load("diabetes")  # ten features; the progression of the disease after one year
torch.manual_seed(0)
model = ff.FFSequential(
    ff.FFLinear(10, 100),
    ff.FFLinear(100, 100),
    goodness=ff.goodness.LearnedProjection(30),
    loss=ff.losses.OrdinalCrossEntropy(),
    normalization=ff.normalization.RMSNorm(),
    preprocessing=ff.preprocessing.Preprocessing(standardize=True),
)
ff.fit(model, data.train, validation=data.validation, epochs=20, batch_size=50, progress=False)
print(ff.evaluate(model, data.test))

# %%
# Predictions and targets; error bars are the spread of the bins' probabilities.

predicted, bins = model.predict(data.test), model.predict_proba(data.test)
centers = model.target_scaling.inverse(torch.linspace(-3, 3, 30))
spread = (bins @ centers.square() - (bins @ centers).square()).clamp(min=0).sqrt()
figure, axis = plt.subplots(figsize=(5, 4.5), layout="constrained")
axis.errorbar(data.test.targets, predicted, spread, fmt="o", markersize=4, elinewidth=0.5, color="tab:blue")
ends = [float(data.test.targets.min()), float(data.test.targets.max())]
axis.plot(ends, ends, color="black", linewidth=1, label="prediction = target")
axis.set(xlabel="target", ylabel="prediction", aspect="equal")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()
